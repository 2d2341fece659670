// SPDX-License-Identifier: Apache-2.0
// Whether the ranges that a quantized network stores fit the data that it meets.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "sw/quantizer/quantized.hpp"

namespace lastmile {

// One tensor that has a range of its own: the input, and outputs but those of pools and concats,
// which have their input's. The logits' is that of their 16 bits.
struct TensorFit {
  std::string name;  // "input" or the layer's
  double low = 0, high = 0;
  double seen_low = 0, seen_high = 0;  // of the values
  double below = 0, above = 0;         // shares of the values that are outside, by more than
                                       // rounding: these saturate
  [[nodiscard]] double outside() const { return below + above; }
};

// The float network with the weights of `network`, on x (whole examples, at least one): a value is
// judged before any other tensor's range cut it off.
[[nodiscard]] std::vector<TensorFit> range_fit(const QuantizedNetwork& network,
                                               std::span<const float> x, int threads = 1);

}  // namespace lastmile
