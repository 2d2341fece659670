// SPDX-License-Identifier: Apache-2.0
// A step as a native Perfetto trace (TrackEvent protobuf): open it in ui.perfetto.dev. One cycle is
// one nanosecond of the trace, from 0. Field numbers are those of the published schema;
// perfetto.proto holds the part that is used.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "sw/profile/energy.hpp"

namespace lastmile::profile {

// `report`: of a backend opened with spans=1. A track per engine and bus channel below "NPU",
// slices named after command and tile, flows along each tile (load, array, drain), counter tracks:
// tiles in the scratchpad, bytes per cycle read and written, cumulative energy (pJ; from `file` and
// `table`, by command).
[[nodiscard]] std::string perfetto_trace(const nlohmann::json& report, const CounterFile& file,
                                         const Program& program, const EnergyTable& table);

}  // namespace lastmile::profile
