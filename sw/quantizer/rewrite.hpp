// SPDX-License-Identifier: Apache-2.0
// Layers that the array runs slowly as they are written, as the same function that it runs well.
#pragma once

#include "sw/golden/params.hpp"
#include "sw/graph/network.hpp"

namespace lastmile {

// A conv2d of as many groups as input channels is a depthwise_conv2d: the same products, sums and
// scales, so the same bits; a fraction of the cycles.
[[nodiscard]] Network depthwise_groups(const Network& network);
// Parameters of `network` (as given to the above) in the layouts of what it became.
[[nodiscard]] FloatParams<float> depthwise_groups(const Network& network,
                                                  FloatParams<float> params);

// A network whose logits come from a layer without weights (a pool, an addition) gets a fully
// connected one behind it that takes every class over: the loss reads 16-bit outputs, which only
// layers with weights have.
[[nodiscard]] Network weighted_head(const Network& network);
[[nodiscard]] FloatParams<float> weighted_head(const Network& network, FloatParams<float> params);

}  // namespace lastmile
