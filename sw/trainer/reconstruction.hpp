// SPDX-License-Identifier: Apache-2.0
// Networks with Loss::reconstruction: what their losses are in, and how well the error tells normal
// examples from others.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "sw/base/label.hpp"
#include "sw/graph/network.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile {

// A sum of losses over `examples` as a pass gives it, as a mean: nats per example, or the squared
// error per element in real units. 0 without examples.
[[nodiscard]] double mean_loss(const QuantizedNetwork& network, std::int64_t sum,
                               std::size_t examples);
// The inverse, rounded. Throws Error(diverged) if the loss is not finite: the run diverged.
[[nodiscard]] std::int64_t loss_sum_of(const QuantizedNetwork& network, double mean,
                                       std::size_t examples);

// Area under the receiver operating characteristic: how likely an example of class 1 has a larger
// score than one of class 0, ties counted as half. None unless there are examples of both classes
// and of no other.
[[nodiscard]] std::optional<double> area_under_curve(std::span<const double> scores,
                                                     std::span<const Label> labels);

// Error(input) if the network's loss is reconstruction: `what` cannot be done with it.
void require_labels(const Network& network, const std::string& what);

}  // namespace lastmile
