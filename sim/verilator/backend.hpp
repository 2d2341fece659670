// What the devices on the Verilated NPU share: options, the library of a parameter set, and what
// was measured per command.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "sim/verilator/simulation.hpp"
#include "sw/device/device.hpp"

namespace lastmile::sim {

// DeviceOptions.extra, "key=value,...":
//   latency, bandwidth, stall, reorder, seed, read_error, write_error, decode_error, flip, hang,
//   rand_reset, trace (a file), trace_from, trace_cycles: see SimulationOptions
//   max_cycles    of one queue, after which the device gives up (default 10^9)
//   checked       1: the build with assertions (which waveforms need anyway)
// Error(usage) names what is unknown or out of range.
struct BackendOptions {
  SimulationOptions simulation;
  std::uint64_t max_cycles = 1000000000;
  bool checked = false;
};
[[nodiscard]] BackendOptions parse_options(const DeviceOptions& options);

// Folder of a parameter set under build/rtl, such as "16x16-b16-s65536-a512-q8-t1".
[[nodiscard]] std::string library_name(const spec::HardwareParams& hw, bool checked);
// Loads build/rtl/<name>/npu.so, found from where this code was loaded. Error(device) says what to
// build.
[[nodiscard]] std::unique_ptr<Simulation> open_simulation(const BackendOptions& options);

// One "step ..." annotation and the queues that ran since.
class Position {
 public:
  // "step <k>" starts a step, anything else names the queue that comes next.
  void annotate(const std::string& what);
  void begin_queue() { ++queue_; }
  [[nodiscard]] const std::string& step() const { return step_; }
  [[nodiscard]] const std::string& phase() const { return phase_; }
  [[nodiscard]] std::string text() const;
  // Of the stalls of this queue: depends on the step and the queue's place in it, not on what ran
  // before, so that a step replayed alone meets the same ones.
  [[nodiscard]] std::uint64_t seed(std::uint64_t base) const;

 private:
  std::string step_, phase_;
  std::uint64_t queue_ = 0;
};

// Counters by phase and command.
class Profile {
 public:
  void begin_queue() { before_ = {}; }
  // At the commit of a command, or at the end of the queue for what follows the last one.
  void commit(const std::string& phase, std::uint32_t command, std::uint32_t opcode,
              const Simulation::Counters& now);
  [[nodiscard]] std::uint64_t total(spec::Counter which) const;
  // {phase: [{command, opcode, runs, cycles, macs, array_cycles, stalls...}]}
  [[nodiscard]] nlohmann::json json(const spec::HardwareParams& hw) const;

 private:
  struct Entry {
    std::uint32_t opcode = 0;
    std::uint64_t runs = 0;
    Simulation::Counters sum{};
  };
  Simulation::Counters before_{};
  std::map<std::pair<std::string, std::uint32_t>, Entry> entries_;
};

}  // namespace lastmile::sim
