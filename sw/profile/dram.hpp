// SPDX-License-Identifier: Apache-2.0
// The memory off chip, in one description: what an access takes and what a bit costs. Cycles,
// energy, roofline and sweep of a profile, and the SystemC platform, read the same one.
// sw/share/memory has those that ship; its README says what the fields mean.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "sw/profile/energy.hpp"

namespace lastmile::profile {

struct Dram {
  std::string name = "flat";  // the backends' own memory: fixed cycles, as wide as the bus
  std::string file;           // empty: flat
  std::string energy;         // kind of the energy table; empty: the table's own
  std::optional<Cell> read_bit, write_bit;  // figures of its own in place of the table's
  double bandwidth_gbs = 0;                 // 10^9 bytes a second
  double latency_ns = 0;                    // of an open row, from command to first beat
  double interface_ns = 0;                  // controller, PHY and interconnect, there and back
  double activate_ns = 0, precharge_ns = 0;
  double refresh_interval_ns = 0, refresh_ns = 0;  // 0: none
  int banks = 0, row_bytes = 0;
  std::string source;
  [[nodiscard]] bool described() const { return !file.empty(); }
};

// Error(input) naming file, line and field.
[[nodiscard]] Dram parse_dram(const std::string& text, const std::string& file);
// "" or "flat", a name of sw/share/memory ("ddr" is ddr3), or a .toml file; Error(usage) for a name
// that is none of them.
[[nodiscard]] Dram find_dram(const std::string& name);

// What a backend's memory is told (options latency= and bandwidth=), in cycles of the NPU.
struct DramTiming {
  std::uint32_t latency = 20;         // from an address to its first beat
  std::uint32_t bytes_per_cycle = 0;  // and direction; 0: as many as the bus carries
  std::uint32_t stall = 0;            // per cent of the cycles
};
// A controller that closes a row after each burst of 256 bytes: every access opens one. Bandwidth
// is the interface's without refresh, or what the banks can open rows for, to the nearest byte per
// cycle.
[[nodiscard]] DramTiming timing_of(const Dram& dram, double clock_mhz);
// Options of a backend: empty for the flat memory, which is their own default.
[[nodiscard]] std::string backend_settings(const Dram& dram, double clock_mhz);
// The timing that a backend with these options works with.
[[nodiscard]] DramTiming timing_of_settings(const std::string& backend_options);
// Of "a=1,latency=9", what is about the memory: "latency=9".
[[nodiscard]] std::string memory_settings(const std::string& backend_options);

// The description's energy into the table.
void use_dram(EnergyTable& table, const Dram& dram);

}  // namespace lastmile::profile
