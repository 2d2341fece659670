// SPDX-License-Identifier: Apache-2.0
// Energy = counters x a table of published figures. Every counter of a command becomes counts of
// cells of the table; energy is their sum of products, so that a cell's change changes the total by
// exactly its count.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "sw/profile/counters.hpp"

namespace lastmile::profile {

// Where energy goes.
enum class Component {
  array,        // multipliers and adders
  registers,    // operand, weight and pipeline registers of the array
  scratchpad,   // activation scratchpad
  accumulator,  // accumulator memories
  random,       // hash words and perturbation
  requant,      // requantization
  element,      // pool, add, softmax, loss, update arithmetic
  wire,         // bus port to on-chip memories
  control,      // sequencers, registers, clocks outside the data path
  leakage,      // of everything on chip
  memory,       // off chip
};
inline constexpr std::size_t kComponents = 11;
[[nodiscard]] std::string_view name_of(Component component);

// The cells that every table must have, no more and no less.
struct CellName {
  std::string name, unit;
  Component component;
};
[[nodiscard]] const std::vector<CellName>& cell_names();
// Index into cell_names(); throws std::out_of_range.
[[nodiscard]] std::size_t cell_index(std::string_view name);

struct Cell {
  double value = 0, low = 0, high = 0;  // pJ (leakage: uW)
  std::string source, boundary, confidence, rule;
};

struct EnergyTable {
  std::string file, technology;
  double voltage = 0, clock_mhz = 0, wire_mm = 0;
  std::string dram;         // whose cells count: ddr, lpddr4, lpddr5, hbm2
  std::string memory;       // what the memory is called: dram, or the description's name (dram.hpp)
  std::vector<Cell> cells;  // as cell_names()
  std::uint64_t hash = 0;   // XXH64 of the file
};
// Error(input) naming file, line, cell and field for whatever is missing, unknown or out of order
// (0 <= low <= value <= high).
[[nodiscard]] EnergyTable parse_energy_table(const std::string& text, const std::string& file);
[[nodiscard]] EnergyTable read_energy_table(const std::filesystem::path& path);
// A file, or the name of one of sw/share/energy.
[[nodiscard]] std::filesystem::path find_energy_table(const std::string& name);
void choose_dram(EnergyTable& table, const std::string& kind);  // Error(usage) if unknown
// 22 of "22nm"; 0 of a technology that is not called so.
[[nodiscard]] int node_of(const EnergyTable& table);

struct Interval {
  double low = 0, value = 0, high = 0;
  Interval& operator+=(const Interval& o);
  friend Interval operator*(const Interval& i, double f) {
    return {i.low * f, i.value * f, i.high * f};
  }
};

// How often each cell is used (leakage: microseconds times what leaks).
using CellCounts = std::vector<double>;
[[nodiscard]] CellCounts no_counts();
CellCounts& operator+=(CellCounts& a, const CellCounts& b);
// What a command's counters mean in cells. sw/profile/README.md states each formula.
[[nodiscard]] CellCounts cell_counts(const CommandCounters& command, const CounterFile& file,
                                     const EnergyTable& table);
[[nodiscard]] CellCounts cell_counts(const CounterFile& file, const EnergyTable& table);

[[nodiscard]] Interval energy_pj(const CellCounts& counts, const EnergyTable& table);
[[nodiscard]] std::array<Interval, kComponents> energy_by_component(const CellCounts& counts,
                                                                    const EnergyTable& table);
// a / b over everything the table's intervals allow; a cell has the same value in both.
[[nodiscard]] Interval energy_ratio(const CellCounts& a, const CellCounts& b,
                                    const EnergyTable& table);

}  // namespace lastmile::profile
