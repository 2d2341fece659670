// SPDX-License-Identifier: Apache-2.0
// Live bytes over a training step, by category, from the planner's lifetimes.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sw/compiler/program.hpp"

namespace lastmile::profile {

enum class Category { weights, parameters, commands, batch, losses, activations };
inline constexpr std::size_t kCategories = 6;
[[nodiscard]] std::string_view name_of(Category category);

// During one command (or, at the end, after the step).
struct MemoryPoint {
  std::string phase, command;
  std::array<std::uint64_t, kCategories> live{};   // off chip
  std::uint64_t scratchpad = 0, accumulators = 0;  // on chip: bytes of the tiles in flight
  [[nodiscard]] std::uint64_t total() const;
};

struct LiveTensor {
  std::string layer;
  std::uint64_t bytes = 0, address = 0;
};

struct MemoryProfile {
  std::vector<MemoryPoint> points;    // one step: commands in order, then the end
  std::vector<std::int64_t> changes;  // of live activation bytes, before and after each command
  std::size_t peak = 0;               // index of the point with the most live bytes
  std::vector<LiveTensor> live_at_peak;
  std::uint64_t peak_bytes = 0;           // live
  std::uint64_t footprint_bytes = 0;      // what the device must have: the planner's total
  std::uint64_t fragmentation_bytes = 0;  // activation bytes reserved but never live at once
  std::uint64_t on_chip_bytes = 0;        // of the hardware
  std::uint64_t on_chip_peak = 0;         // used by tiles
};

[[nodiscard]] MemoryProfile memory_profile(const Program& program, const Network& network,
                                           int pairs);

}  // namespace lastmile::profile
