// SPDX-License-Identifier: Apache-2.0
// Adaptation of a network to new data in three ways that share data, trainable weights and seeds:
// fixed point on a device, the same in float, and float backpropagation.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sw/app/pipeline.hpp"
#include "sw/trainer/targets.hpp"
#include "sw/trainer/training_run.hpp"

namespace lastmile {

// What eps and step count in.
enum class AmplitudeUnit {
  rms,        // of the tensor's own root mean square (the paper's kernel-wise normalization)
  curvature,  // of the amplitude at which perturbing the tensor raises the loss by its share of
              // kCurvatureBudget: measured by forward passes at the start, so that no tensor's
              // curvature takes the whole step (an early convolution does, otherwise)
};
inline constexpr double kCurvatureBudget =
    0.01;  // nats (of a squared error: its share), mean of L+ and L- over L, all tensors together
inline constexpr int kCurvatureProbes = 8;   // pairs per tensor
inline constexpr int kCurvatureBatch = 256;  // examples of each

struct AdaptOptions {
  std::vector<std::string> layers = {"all"};  // "all", "head" or names
  bool biases = true;
  AmplitudeUnit unit = AmplitudeUnit::curvature;
  double eps = 3;      // e, in units of `unit`
  double step = 0.2;   // first step of the sum of all pairs, in units of `unit`
  double inner = 1.0;  // factor on both for tensors before the last layer with weights: the head
                       // learns with fewer pairs, so its share may be larger
  double keep = 1.0;   // share of the weights that train (sparsity mask)
  ForwardGradientOptions forward;
  FixedOptions fixed;
  RunLimits limits;
  std::uint32_t audit_every = 0;  // AuditConfig::every
  // Per cent of the examples that choose the result (held_out.hpp). Not given: kHoldOut, or what
  // the journal that is gone on with says.
  std::optional<int> hold_out;
  int evaluations = 10;            // points of the accuracy curve (0: only the end)
  int evaluation_examples = 2000;  // test examples of the curve; the end uses all
};

struct CurvePoint {
  std::uint32_t step = 0;
  std::uint64_t forward_passes = 0;  // of a batch
  double loss = 0;                   // training loss, running mean, nats
  double accuracy = 0;               // per cent, NaN where not evaluated
};

// What the held-out examples of a run said.
struct HeldResult {
  std::size_t examples = 0;
  std::uint32_t best_step = 0;           // the result has the weights after so many steps
  double start_loss = 0, best_loss = 0;  // mean, nats
  std::uint64_t passes = 0;              // of a batch, to measure them
  std::uint32_t diverged_at = 0;         // step at which the run ended because of it; 0: it did not
};

struct AdaptResult {
  Accuracy before, after;  // on the shifted test
  std::vector<CurvePoint> curve;
  std::uint64_t forward_passes = 0;
  std::optional<HeldResult> held;
  double seconds = 0;
  std::string device_report;  // JSON of the device that trained; empty: it has nothing to say
};

struct FixedResult : AdaptResult {
  QuantizedNetwork network;       // of the best point, where examples were held out
  RunEnd end = RunEnd::finished;  // stopped: `after` is not measured
  std::uint32_t steps = 0;        // done since the start of the run
  std::uint64_t peak_bytes = 0;   // NPU memory of the training program
  std::uint64_t peak_activation_bytes = 0;
  // Registers and losses, without the batch; the batch. NaN: all steps came from a journal.
  double host_bytes_per_step = 0;
  double batch_bytes_per_step = 0;
  std::string memory_text;  // what makes the peak
};

// Error(usage) for what can be known before anything is measured: names of layers, ranges.
void check_adapt_options(const Network& network, const AdaptOptions& options);

// Trainable tensors with their amplitudes. `step` is divided among the pairs (and for the scaled
// estimator so that it is the step of a pair whose difference is the root mean square of those at
// the start). Unit curvature measures on `train` with fixed-point passes: the same plan on every
// backend.
[[nodiscard]] std::vector<TensorTraining> plan_training(const QuantizedNetwork& network,
                                                        const AdaptOptions& options,
                                                        const Dataset& train,
                                                        const DeviceOpener& open);
[[nodiscard]] std::int64_t trained_weights(const QuantizedNetwork& network,
                                           const std::vector<TensorTraining>& plan);

// What the journal of an adaptation begins with.
[[nodiscard]] RunConfig run_config(const QuantizedNetwork& start, const Dataset& train,
                                   const AdaptOptions& options,
                                   std::span<const TensorTraining> plan);

// Where an adaptation is kept; an empty path: nowhere.
struct JournalFile {
  std::filesystem::path path;
  bool resume = false;   // go on with the file if it exists (it must be of this run); else replaced
  bool salvage = false;  // with resume: all before the first damaged record, whatever follows
  // Called before a new file is made, when all that could refuse the run has been looked at.
  std::function<void()> begins = {};
  [[nodiscard]] bool goes_on() const;  // there is a file, and the run goes on with it
};
// The options of a run on `train` in full: what it holds out (0 of too few examples, which is
// said), the batch (no larger than what is left to train on), and what the journal that it goes on
// with decides. adapt_fixed and adapt_float take such options.
[[nodiscard]] AdaptOptions settled(AdaptOptions options, const Dataset& train,
                                   const JournalFile& journal, const Say& say);
[[nodiscard]] FixedResult adapt_fixed(const QuantizedNetwork& start,
                                      std::span<const TensorTraining> plan, const Dataset& train,
                                      const Dataset& test, const AdaptOptions& options,
                                      const DeviceOpener& open, const JournalFile& journal,
                                      const ProgressOptions& progress, const Say& say);

// The base network of a journal plus its records: the adapted network, without data and without a
// forward pass. steps: those to its result unless given (Journal::result_step).
[[nodiscard]] QuantizedNetwork replay_journal(const QuantizedNetwork& base,
                                              const std::filesystem::path& journal,
                                              std::optional<std::uint32_t> steps, bool salvage,
                                              const DeviceOpener& open, const FixedOptions& how,
                                              const ProgressOptions& progress);

// `start`: the float parameters of the folded network. Holds out the same examples, and has its own
// best point.
[[nodiscard]] AdaptResult adapt_float(const QuantizedNetwork& network,
                                      std::span<const TensorTraining> plan,
                                      FloatParams<float> start, const Dataset& train,
                                      const Dataset& test, const AdaptOptions& options,
                                      const ProgressOptions& progress);

}  // namespace lastmile
