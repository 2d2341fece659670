// SPDX-License-Identifier: Apache-2.0
// Whether the integers of a quantized network are those of the float network: every scale, weight,
// bias, clamp and multiplier worked out again in double from the table in sw/quantizer's README.
#pragma once

#include <string>

#include "sw/golden/params.hpp"
#include "sw/quantizer/quantize.hpp"

namespace lastmile::networks {

// Throws std::runtime_error naming layer and number. `network` and `params` may have batch norm.
void check_scales(const QuantizedNetwork& q, const Network& network,
                  const FloatParams<float>& params, const CalibrationRanges& ranges,
                  const QuantizeOptions& options);

}  // namespace lastmile::networks
