// Adaptation of a network to new data in three ways that share data, trainable weights and seeds:
// fixed point on a device, the same in float, and float backpropagation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sw/app/pipeline.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

struct AdaptOptions {
  std::vector<std::string> layers = {"all"};  // "all", "head" or names
  bool biases = true;
  double eps = 0.02;   // e: perturbation relative to a tensor's RMS
  double step = 0.03;  // first step relative to a tensor's RMS, for the sum of all pairs
  double keep = 1.0;   // share of the weights that train (sparsity mask)
  ForwardGradientOptions forward;
  FixedOptions fixed;
  int evaluations = 10;            // points of the accuracy curve (0: only the end)
  int evaluation_examples = 2000;  // test examples of the curve; the end uses all
};

struct CurvePoint {
  std::uint32_t step = 0;
  std::uint64_t forward_passes = 0;  // of a batch
  double loss = 0;                   // training loss, running mean, nats
  double accuracy = 0;               // per cent, NaN where not evaluated
};

struct AdaptResult {
  Accuracy before, after;  // on the shifted test
  std::vector<CurvePoint> curve;
  std::uint64_t forward_passes = 0;
  double seconds = 0;
};

struct FixedResult : AdaptResult {
  QuantizedNetwork network;
  std::uint64_t peak_bytes = 0;  // NPU memory of the training program
  std::uint64_t peak_activation_bytes = 0;
  double host_bytes_per_step = 0;  // registers and losses, without the batch
  double batch_bytes_per_step = 0;
  std::string memory_text;  // what makes the peak
};

// Trainable tensors with their amplitudes. `step` is divided among the pairs (and by 127 for the
// scaled estimator).
[[nodiscard]] std::vector<TensorTraining> plan_training(const QuantizedNetwork& network,
                                                        const AdaptOptions& options);
[[nodiscard]] std::int64_t trained_weights(const QuantizedNetwork& network,
                                           const std::vector<TensorTraining>& plan);

// journal: written if not empty. resume: continue that journal if it exists (Error(journal) if it
// is of another run); else it is replaced.
[[nodiscard]] FixedResult adapt_fixed(const QuantizedNetwork& start, const Dataset& train,
                                      const Dataset& test, const AdaptOptions& options,
                                      const DeviceOpener& open,
                                      const std::filesystem::path& journal, bool resume,
                                      const ProgressOptions& progress, const Say& say);

// The base network of a journal plus its records: the adapted network, without data and without a
// forward pass.
[[nodiscard]] QuantizedNetwork replay_journal(const QuantizedNetwork& base,
                                              const std::filesystem::path& journal,
                                              std::optional<std::uint32_t> steps,
                                              const DeviceOpener& open, int threads,
                                              const ProgressOptions& progress);

// `start`: the float parameters of the folded network.
[[nodiscard]] AdaptResult adapt_float(const QuantizedNetwork& network, FloatParams<float> start,
                                      const Dataset& train, const Dataset& test,
                                      const AdaptOptions& options, const ProgressOptions& progress);

struct BackpropAdaptOptions {
  double learning_rate = 0.01;
  int epochs = 10;
};
[[nodiscard]] AdaptResult adapt_backprop(const Network& folded, FloatParams<float> start,
                                         const Dataset& train, const Dataset& test,
                                         const AdaptOptions& options,
                                         const BackpropAdaptOptions& backprop,
                                         const ProgressOptions& progress);

}  // namespace lastmile
