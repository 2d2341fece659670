// SPDX-License-Identifier: Apache-2.0
// The counters of npu.toml as the model keeps them.
#pragma once

#include <cstdint>

#include "cmodel/spec/counters.hpp"

namespace lastmile::npu {

using spec::Counters;

// Outputs outside their type before the clamp.
struct Saturations {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  Saturations& operator+=(const Saturations& other) {
    low += other.low;
    high += other.high;
    return *this;
  }
};

}  // namespace lastmile::npu
