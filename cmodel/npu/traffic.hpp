// SPDX-License-Identifier: Apache-2.0
// Event counters of a command: the contract's sections from Tiles to Operations and commands in
// code. What only data decide (saturations, clipped and masked elements, updates) is counted by the
// engines.
#pragma once

#include "cmodel/npu/command_cache.hpp"
#include "cmodel/npu/counters.hpp"
#include "cmodel/npu/traffic_mode.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// d: valid, addresses resolved. Without COMMANDS and CMD_BYTES, and without the beats of the fetch.
[[nodiscard]] Counters command_traffic(const spec::Descriptor& d, const TrafficMode& mode,
                                       const spec::HardwareParams& hw);

// Remembers what command_traffic() said of each command.
class TrafficCache {
 public:
  explicit TrafficCache(const spec::HardwareParams& hw) : hw_(hw) {}
  [[nodiscard]] const Counters& of(const spec::Descriptor& d, const TrafficMode& mode);

 private:
  spec::HardwareParams hw_;
  CommandCache<Counters> cache_;
};

}  // namespace lastmile::npu
