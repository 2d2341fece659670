// SPDX-License-Identifier: Apache-2.0
// Other ranges for a quantized network, without touching a weight: zero points, requantization
// tables and biases (whose unit is that of their input) follow.
#pragma once

#include <optional>
#include <vector>

#include "sw/quantizer/quantize.hpp"

namespace lastmile {

struct NewRanges {
  std::optional<TensorRange::Interval> input;
  std::vector<std::optional<TensorRange::Interval>> layers;  // by layer; outputs with a range of
                                                             // their own
  std::optional<double> largest_logit;                       // that 16 bits must hold
};

// What has no new range keeps its own. Error(input) for a network with a concat, whose inputs'
// scales are tied together.
[[nodiscard]] QuantizedNetwork rescale(const QuantizedNetwork& network, const NewRanges& ranges);

}  // namespace lastmile
