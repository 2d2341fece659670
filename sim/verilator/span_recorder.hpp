// SPDX-License-Identifier: Apache-2.0
// When the engines of the RTL worked: counters watched cycle by cycle, for traces. Tiles are told
// apart by what has been done since the command started: input bytes written into the scratchpad,
// multiply-accumulates, output bytes.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cmodel/device/spans.hpp"
#include "sim/verilator/simulation.hpp"

namespace lastmile::sim {

class SpanRecorder {
 public:
  void begin_queue(std::uint64_t now);
  void begin_command(const spec::Descriptor& d, std::uint32_t index);
  // After every cycle of the queue.
  void cycle(const std::string& phase, std::uint64_t now, const Simulation::Counters& counters);
  void commit(const std::string& phase, std::uint64_t now);
  [[nodiscard]] const nlohmann::json& json() const { return spans_.json(); }

 private:
  struct Track {
    std::string_view engine;
    spec::Counter counter;                    // moves when the engine works
    const std::vector<std::uint64_t>* tiles;  // progress at which each tile is done; null: no tiles
    spec::Counter progress;
  };
  struct Open {
    std::uint64_t start = 0, last = 0, busy = 0;
    int tile = -1;
  };
  static constexpr std::uint64_t kGap = 24;  // cycles without work that do not end a span
  static constexpr std::size_t kTracks = 8;
  [[nodiscard]] std::array<Track, kTracks> tracks() const;
  void close(const std::string& phase, const Track& track, Open& open);

  Spans spans_;
  std::array<Open, kTracks> open_{};
  Simulation::Counters before_{}, command_start_{};
  std::vector<std::uint64_t> load_, macs_, output_;
  std::uint64_t origin_ = 0, past_ = 0, command_from_ = 0;
  std::uint32_t command_ = 0;
  spec::Opcode opcode_ = spec::Opcode::end_;
};

}  // namespace lastmile::sim
