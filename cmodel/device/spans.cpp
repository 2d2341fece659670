// SPDX-License-Identifier: Apache-2.0
#include "cmodel/device/spans.hpp"

namespace lastmile {

void Spans::add(const std::string& phase, std::uint32_t command, std::string_view engine, int tile,
                std::uint64_t start, std::uint64_t end, std::uint64_t busy) {
  if (end <= start) return;
  nlohmann::json s = {{"phase", phase}, {"command", command}, {"engine", engine},
                      {"start", start}, {"end", end},         {"busy", busy}};
  if (tile >= 0) s["tile"] = tile;
  spans_.push_back(std::move(s));
}

void Spans::command(const std::string& phase, std::uint32_t command, std::uint64_t start,
                    const timing::CommandTiming& t) {
  add(phase, command, "COMMAND", -1, start, start + t.execution, t.execution);
  const auto put = [&](spec::Engine engine, int tile, const timing::EngineTime& e) {
    add(phase, command, spec::to_string(engine), tile, start + e.start, start + e.end, e.busy);
  };
  const bool pool = t.engine(spec::Engine::pool_).end != 0;
  for (std::size_t i = 0; i < t.tiles.size(); ++i) {
    const int tile = static_cast<int>(i);
    put(spec::Engine::load_, tile, t.tiles[i].load);
    put(pool ? spec::Engine::pool_ : spec::Engine::array_, tile, t.tiles[i].array);
    put(spec::Engine::drain_, tile, t.tiles[i].drain);
  }
  for (std::size_t i = 0; i < timing::kEngines; ++i) {
    const auto engine = static_cast<spec::Engine>(i);
    const bool by_tile = engine == spec::Engine::load_ || engine == spec::Engine::array_ ||
                         engine == spec::Engine::pool_ || engine == spec::Engine::drain_;
    if (t.tiles.empty() || !by_tile) put(engine, -1, t.engines[i]);
  }
}

}  // namespace lastmile
