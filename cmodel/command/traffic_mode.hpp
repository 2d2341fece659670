// SPDX-License-Identifier: Apache-2.0
// What decides a command's events and cycles besides its descriptor.
#pragma once

#include <cstdint>

#include "cmodel/numeric/random.hpp"

namespace lastmile::npu {

struct TrafficMode {
  bool weights_perturbed = false;
  bool bias_perturbed = false;
  numeric::Distribution distribution = numeric::Distribution::sign_;
  std::uint32_t pairs = 1;
  bool operator==(const TrafficMode&) const = default;
};

}  // namespace lastmile::npu
