// SPDX-License-Identifier: Apache-2.0
// Ranges that fit the data that a device meets, measured on the device and without labels.
#pragma once

#include <string>
#include <vector>

#include "sw/data/dataset.hpp"
#include "sw/quantizer/rescale.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

struct RescaleResult {
  QuantizedNetwork network;
  std::vector<std::string> widened;  // tensors whose ranges did not fit
  int rounds = 0;                    // of passes over the data
};

// Ranges whose ends more than `share` of the outputs reach are doubled until they do not, and then
// closed around what was seen; weights stay. What fits stays as it is. The input's range is its
// type's, and is not measured.
[[nodiscard]] RescaleResult rescale_on_device(const QuantizedNetwork& network, const Dataset& data,
                                              const DeviceOpener& open, const FixedOptions& options,
                                              double share);

}  // namespace lastmile
