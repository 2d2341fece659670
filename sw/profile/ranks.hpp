// SPDX-License-Identifier: Apache-2.0
// Where the figures of energy tables do not rank what they are figures of. A table is made of
// several sources; within one source a larger memory costs more and a smaller node less, across
// sources that need not be so, and then a comparison says more of the sources than of the nodes.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sw/profile/energy.hpp"

namespace lastmile::profile {

// A figure that should be at least another one, and is not.
struct RankFault {
  std::string cell, than;  // cells, or one cell of two technologies
  double value = 0, expected_at_least = 0;
  std::string why;
};

// Within a table: a larger macro, or an access of 256 bits against one of 64, that costs less.
[[nodiscard]] std::vector<RankFault> size_faults(const EnergyTable& table);
// Cells of the smaller node that cost more than the same cell of the larger one. Leakage is not
// expected to fall, and the memory off chip is the same chip: neither is looked at. Tables of one
// node, or of a technology that is not called by its node, have no order: empty.
[[nodiscard]] std::vector<RankFault> node_faults(const EnergyTable& a, const EnergyTable& b);

// {technology, file, hash, clock_mhz, voltage, cells: {name: {value, low, high, source}},
//  size_faults, node_faults: against the tables that ship}.
[[nodiscard]] nlohmann::json table_json(const EnergyTable& table);
// Why energies of two such objects are not to be compared; empty: they may be.
[[nodiscard]] std::string why_not_ranked(const nlohmann::json& a, const nlohmann::json& b);
// One line for people per technology that this table's energies must not be ranked against.
[[nodiscard]] std::vector<std::string> rank_notes(const nlohmann::json& table);

}  // namespace lastmile::profile
