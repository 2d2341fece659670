// SPDX-License-Identifier: Apache-2.0
// From float parameters and calibrated ranges to integers. Scales and rounding follow TensorFlow
// Lite's converter for int8; int16 weights are the same rule with 15 bits.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sw/quantizer/quantized.hpp"

namespace lastmile {

template <class T>
class Golden;  // sw/golden/golden.hpp
template <class T>
struct LayerParams;  // sw/golden/params.hpp

enum class CalibrationMethod {
  min_max,     // the extremes seen
  percentile,  // cuts (100 - percentile) / 2 per cent of the values off each end
  mse,         // the fraction of the min-max range with the least squared error on the histogram
};

// Ranges of one tensor, seen value by value: exact extremes and a histogram whose range doubles as
// needed. The order of the values does not matter as long as none is NaN or infinite
// (Error(input)).
class TensorRange {
 public:
  static constexpr std::size_t kBins = 4096;

  void observe(std::span<const float> values, const std::string& name);
  [[nodiscard]] std::int64_t count() const { return count_; }
  [[nodiscard]] float min() const { return min_; }
  [[nodiscard]] float max() const { return max_; }
  struct Interval {
    double low = 0, high = 0;
  };
  // Contains 0. A tensor that was never anything but 0 gives {0, 0}.
  [[nodiscard]] Interval interval(CalibrationMethod method, double percentile) const;

 private:
  [[nodiscard]] double bin_low(std::size_t bin) const;
  void widen(double magnitude);
  std::vector<std::int64_t> bins_;  // of [-range_, range_)
  double range_ = 0;
  std::int64_t count_ = 0;
  float min_ = 0, max_ = 0;
};

struct CalibrationRanges {
  TensorRange input;
  std::vector<TensorRange> layers;  // outputs after the activation
  TensorRange difference;           // Loss::reconstruction: output minus input
};

// Runs the float network on x (whole examples, at least one) and collects the range of every
// tensor. Error(input) naming the layer whose output is not finite.
[[nodiscard]] CalibrationRanges calibrate(const Golden<float>& golden,
                                          const FloatParams<float>& params,
                                          std::span<const float> x);

struct QuantizeOptions {
  WeightType weight_type = WeightType::w16;
  std::map<std::string, WeightType> layer_weights;  // layers of another width, by name; "head": the
                                                    // logits' layer
  CalibrationMethod method = CalibrationMethod::min_max;
  double percentile = 99.99;
  // Room for weights that will move: a channel's range is its largest weight times this.
  double weight_headroom = 1.25;
  double logit_headroom = 2.0;
  // Room for activations that calibration has not seen: both ends of every range but that of an
  // input whose type has one.
  double range_headroom = 1.0;
  // What the type of the network's input can hold, whatever calibration saw: bytes of a darker
  // sample would else clip when it gets brighter.
  std::optional<TensorRange::Interval> input_range;
  bool per_channel = true;  // false: one scale for all channels of a tensor, as in the seed paper
  // Smallest range of a channel as a fraction of the widest channel's range, so that channels that
  // start near zero can grow. Without a value: 1/8 (w16), 1/64 (w8).
  std::optional<double> channel_floor;
};

// Folds batch norm and quantizes. Error(input) naming layer, tensor and element for parameters that
// are not finite, and for scales that the requantization cannot represent; Error(usage) for options
// outside their ranges.
[[nodiscard]] QuantizedNetwork quantize(const Network& network, const FloatParams<float>& params,
                                        const CalibrationRanges& ranges,
                                        const QuantizeOptions& options = {});

// Deviation of a layer's outputs, by channel, that batch norm made on the data it was trained on.
[[nodiscard]] std::vector<float> trained_deviation(const LayerParams<float>& params);

// factor > 0 as a normalized multiplier. Factors below 2^-41 become 2^-41: no accumulator makes
// them 1. Error(input) naming `what` for a factor that is not finite and positive, or at least
// 2^30.
[[nodiscard]] Requant encode_requant(double factor, const std::string& what);
// TensorFlow Lite's asymmetric int8 of an interval that contains 0; {0, 0} gives scale 1, zero
// point 0.
[[nodiscard]] TensorQuant choose_quant(double low, double high);
// The int16 logits of a layer whose largest output is `largest` in magnitude. `in_scale`: of the
// layer's input.
[[nodiscard]] LogitQuant encode_logits(const Layer& layer, std::span<const float> weight_scale,
                                       double in_scale, double largest, double headroom);
// Clamp that an activation means on a quantized tensor.
[[nodiscard]] std::array<std::int32_t, 2> activation_clamp(Activation activation,
                                                           const TensorQuant& quant);
// TensorFlow Lite's parameters of an add: both addends shifted left by 20 and brought to twice the
// larger input scale.
[[nodiscard]] numeric::AddParams encode_add(const TensorQuant& a, const TensorQuant& b,
                                            const TensorQuant& out, Activation activation);
// Of a network with Loss::reconstruction whose output and input reach `range` apart. Twice that
// fits, and no step is finer than the output's own.
[[nodiscard]] DifferenceQuant encode_difference(const TensorQuant& output, const TensorQuant& input,
                                                const TensorRange::Interval& range);
[[nodiscard]] SoftmaxQuant encode_softmax(float input_scale, const std::string& what);
// The integers of an operator that computes with the scales of its inputs a and b (add, softmax),
// and the quantization of its output where the operator fixes it; false for any other operator.
bool encode_operator(const Layer& layer, const TensorQuant& a, const TensorQuant& b,
                     QuantizedLayer& q);

}  // namespace lastmile
