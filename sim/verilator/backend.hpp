// SPDX-License-Identifier: Apache-2.0
// What the devices on the Verilated NPU share: options, and the library of a parameter set.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "cmodel/device/profile.hpp"
#include "cmodel/timing/predictor.hpp"
#include "sim/verilator/pins.hpp"
#include "sim/verilator/simulation.hpp"
#include "sim/verilator/stopwatch.hpp"
#include "sw/device/device.hpp"

namespace lastmile::sim {

// DeviceOptions.extra, "key=value,...":
//   latency, bandwidth, stall, reorder, seed, read_error, write_error, decode_error, flip, hang,
//   rand_reset, trace (a file), trace_from, trace_cycles: see SimulationOptions
//   max_cycles    of one queue, after which the device gives up (default 10^9)
//   checked       1: the build with assertions (which waveforms need anyway)
//   busy_writes   lockstep: a seed, 0 for none: while a queue runs, other values are written to the
//                 registers that the host may set up for the next one
//   spans         1: the report says when each engine worked (cmodel/device/spans.hpp); slow
// Error(usage) names what is unknown or out of range.
struct BackendOptions {
  SimulationOptions simulation;
  std::uint64_t max_cycles = 1000000000;
  std::uint64_t busy_writes = 0;
  bool checked = false;
  bool spans = false;
};
[[nodiscard]] BackendOptions parse_options(const DeviceOptions& options);

// Cycles between two looks at whether a signal asks for an end: a fraction of a second.
inline constexpr std::uint64_t kAtATime = 200000;

// Whether the cycles of which a waveform was wanted have come. They count from the start of a step.
class TraceRange {
 public:
  explicit TraceRange(const SimulationOptions& options) : options_(options) {}
  // A step begins at this cycle.
  void mark(std::uint64_t cycle);
  // Adds "trace": file, cycles of the longest step so far, complete. Nothing without a waveform.
  void report(nlohmann::json& report, std::uint64_t cycle) const;

 private:
  SimulationOptions options_;
  std::uint64_t start_ = 0, longest_ = 0;
};

// Cycles over seconds; 0 without seconds.
[[nodiscard]] double rate(std::uint64_t cycles, double seconds);
// seconds, cpu_seconds, cycles_per_second, cycles_per_cpu_second of the queues.
void report_speed(nlohmann::json& report, std::uint64_t cycles, const Stopwatch& queues);
// The memory that the queue at `position` meets; `first`: with the faults of the options, which
// only the first queue meets.
[[nodiscard]] MemoryOptions queue_memory(const BackendOptions& options, const Position& position,
                                         bool first);
// What the cycle model is told of the memory; it knows nothing of the order of answers.
[[nodiscard]] timing::MemoryTiming memory_timing(const BackendOptions& options);
// Adds "cycles", "predicted_cycles", "prediction_error" (per cent of cycles), "macs",
// "utilisation" and "phases" to a report.
void report_profile(nlohmann::json& report, const Profile& profile, const BackendOptions& options);

// Folder of a parameter set under build/rtl, such as "16x16-b16-s65536-a512-q8-t1".
[[nodiscard]] std::string library_name(const spec::HardwareParams& hw, bool checked);
// Loads build/rtl/<name>/npu.so, found from where this code was loaded. Error(device) says what to
// build.
[[nodiscard]] std::unique_ptr<Simulation> open_simulation(const BackendOptions& options);
// The same library's NPU without a memory. Error(device) says what to build.
[[nodiscard]] std::unique_ptr<Pins> open_pins(const spec::HardwareParams& hardware);

}  // namespace lastmile::sim
