// SPDX-License-Identifier: Apache-2.0
// Counters and energy as tables: by phase, layer, command and component. For people, as JSON, and
// as CSV with stable columns.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sw/profile/energy.hpp"

namespace lastmile::profile {

// A part of a run: all commands of one phase, layer, or both. Everything per step.
struct Part {
  std::string phase, layer, name, opcode;  // what the part is of; empty: of all
  Counters counters;                       // of all steps
  CellCounts cells;                        // of all steps
};
[[nodiscard]] Part whole(const CounterFile& file, const EnergyTable& table);
[[nodiscard]] std::vector<Part> by_phase(const CounterFile& file, const EnergyTable& table);
[[nodiscard]] std::vector<Part> by_layer(const CounterFile& file, const EnergyTable& table);
[[nodiscard]] std::vector<Part> by_command(const CounterFile& file, const EnergyTable& table);

// Where a part's cycles went, exclusively: they sum to CYCLES.
struct Waterfall {
  std::uint64_t compute = 0;       // array multiplies
  std::uint64_t stall_load = 0;    // array waits for its input
  std::uint64_t stall_weight = 0;  // ... for weights
  std::uint64_t stall_drain = 0;   // ... for room in the accumulators
  std::uint64_t drain = 0;         // only requantization works
  std::uint64_t element = 0;       // pool, add, softmax, loss or update work
  std::uint64_t other = 0;         // filling and emptying of pipelines, waiting for memory, fetch
};
[[nodiscard]] Waterfall waterfall(const Part& part);
[[nodiscard]] double utilisation(const Part& part, const spec::HardwareParams& hw);

[[nodiscard]] nlohmann::json interval_json(const Interval& i);
// Energy of a step by component and phase, power, energy-delay product, pJ per MAC, per sample.
[[nodiscard]] nlohmann::json energy_json(const CounterFile& file, const EnergyTable& table);
[[nodiscard]] std::string energy_text(const CounterFile& file, const EnergyTable& table);
// Time, traffic and energy of a part, per step.
[[nodiscard]] nlohmann::json part_json(const Part& part, const CounterFile& file,
                                       const EnergyTable& table);

// layers.csv (phase, layer), ops.csv (command), engines.csv (phase, engine), energy.csv
// (component).
[[nodiscard]] std::string layers_csv(const CounterFile& file, const EnergyTable& table);
[[nodiscard]] std::string commands_csv(const CounterFile& file, const EnergyTable& table);

}  // namespace lastmile::profile
