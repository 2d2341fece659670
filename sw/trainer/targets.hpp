// SPDX-License-Identifier: Apache-2.0
// The two things that forward gradients train: a quantized network on a device, and the
// same network in float32 with the same seeds, perturbations and steps. Plus evaluation of both.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "sw/base/label.hpp"
#include "sw/compiler/training.hpp"
#include "sw/data/dataset.hpp"
#include "sw/driver/session.hpp"
#include "sw/golden/golden.hpp"
#include "sw/quantizer/quantized.hpp"
#include "sw/trainer/forward_gradient.hpp"

namespace lastmile {

struct FixedOptions {
  spec::HardwareParams hardware;
  int batch = 64;
  int threads = 1;
  spec::Distribution distribution = spec::Distribution::sign_;
  std::uint64_t mask_seed = 0;
  // Layers below the first trainable one never change: their outputs are computed once per example.
  // Bits do not depend on it.
  bool cache_features = true;
};

// Highest layer that every path to the output passes and below which nothing trains; kNetworkInput
// if there is none.
[[nodiscard]] int frozen_prefix(const Network& network, std::span<const TensorTraining> training);

inline constexpr std::size_t kMostConfused = 1024;
struct Accuracy {
  std::int64_t correct = 0, examples = 0;
  double loss = 0;  // mean, nats; with Loss::reconstruction per element, real units squared
  // Examples by label and prediction, classes x classes; empty where nobody counted, or of more
  // than kMostConfused classes.
  std::vector<std::int64_t> confusion = {};
  // With Loss::reconstruction, where nothing is correct: of data with normal (0) and anomalous (1)
  // examples the loss of the normal ones, and how well the error tells them apart.
  bool reconstruction = false;
  std::optional<double> normal_loss = {}, area = {};
  [[nodiscard]] double percent() const {
    return examples == 0 ? 0 : 100.0 * static_cast<double>(correct) / static_cast<double>(examples);
  }
  // Per cent of each class's examples that are right; NaN for a class without any.
  [[nodiscard]] std::vector<double> per_class() const;
  // Mean of that over the classes with examples: chance is 100 / classes whatever the mix is.
  [[nodiscard]] double balanced() const;
  // Adds an example of `classes` to the confusion.
  void count(Label label, int predicted, std::size_t classes);
  // Both together; the loss weighs by examples.
  void add(const Accuracy& other);
};

// What a network says of one example.
struct Prediction {
  int label = 0;
  double confidence = 0;  // softmax of its logit; Loss::reconstruction: its squared error
};

// Points between accuracy and balanced accuracy from which on the mix of classes hides something.
inline constexpr double kBalancedApart = 2;

// Of squared errors per element, one for each example (Loss::reconstruction).
[[nodiscard]] Accuracy reconstruction_accuracy(std::span<const double> scores,
                                               std::span<const Label> labels,
                                               std::vector<Prediction>* predictions);

// Forward passes of a quantized network on a device; batches of any data set of its input shape.
// `predictions`: if there, one of each example is appended.
[[nodiscard]] Accuracy evaluate_fixed(const QuantizedNetwork& network, const Dataset& data,
                                      const DeviceOpener& open, const FixedOptions& options,
                                      std::vector<Prediction>* predictions = nullptr);
[[nodiscard]] Accuracy evaluate_float(const Golden<float>& golden, const FloatParams<float>& params,
                                      const Dataset& data,
                                      std::vector<Prediction>* predictions = nullptr);
// Of logits whose unit is `scale`: the first largest one, and its share of the softmax.
template <class T>
[[nodiscard]] Prediction prediction_of(std::span<const T> logits, double scale) {
  const auto best = std::max_element(logits.begin(), logits.end());
  double sum = 0;
  for (const T v : logits)
    sum += std::exp((static_cast<double>(v) - static_cast<double>(*best)) * scale);
  return {static_cast<int>(best - logits.begin()), 1 / sum};
}

// A mean loss in nats as the sum over the batch that a device would give. Throws Error(diverged) if
// the loss is not finite: the run diverged.
[[nodiscard]] std::int64_t loss_sum_of(double mean_nats, std::size_t examples);

class FixedTarget final : public ForwardGradientTarget {
 public:
  // `data` is what set_batch indexes; it is quantized (and pushed through the frozen layers) here
  // and not kept.
  FixedTarget(const QuantizedNetwork& network, std::span<const TensorTraining> training,
              const Dataset& data, const DeviceOpener& open, const FixedOptions& options);
  ~FixedTarget() override;

  void set_batch(std::span<const std::uint32_t> examples) override;
  std::int64_t loss_sum(spec::Polarity polarity, std::uint64_t seed) override;
  double loss(spec::Polarity polarity, std::uint64_t seed) override;
  void update(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
              std::uint32_t step_register) override;
  void announce(std::uint32_t step) override;

  // The network with the weights as they are on the device now.
  [[nodiscard]] QuantizedNetwork network() const;
  [[nodiscard]] Driver& driver();
  [[nodiscard]] Device& device();  // to annotate it, and for its report
  [[nodiscard]] int input_layer() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// Float32 reference: amplitudes of `training` are LSBs of `network`, so one LSB is the weight's
// scale (bias: input scale * weight scale) of its channel; nothing is rounded but the sum of the
// losses, to kLossFraction bits: finer than float32 itself has it.
class FloatTarget final : public ForwardGradientTarget {
 public:
  // cache_features: as in FixedOptions. `network` must outlive this.
  FloatTarget(const Golden<float>& golden, FloatParams<float>& params,
              const QuantizedNetwork& network, std::span<const TensorTraining> training,
              const Dataset& data, spec::Distribution distribution, std::uint64_t mask_seed,
              bool cache_features = true);
  ~FloatTarget() override;

  void set_batch(std::span<const std::uint32_t> examples) override;
  std::int64_t loss_sum(spec::Polarity polarity, std::uint64_t seed) override;
  double loss(spec::Polarity polarity, std::uint64_t seed) override;
  void update(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
              std::uint32_t step_register) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace lastmile
