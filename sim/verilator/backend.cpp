// SPDX-License-Identifier: Apache-2.0
#include "sim/verilator/backend.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "cmodel/spec/settings.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/number.hpp"
#include "sw/base/shared_object.hpp"

namespace lastmile::sim {
namespace {

template <class T>
void number(const std::string& name, const std::string& text, std::uint64_t most, T& to) {
  const auto value = parse_integer<std::uint64_t>(text, 0, most);
  if (!value)
    throw Error(ErrorKind::usage,
                fmt::format("backend option {}: \"{}\", expected 0 to {}", name, text, most));
  to = static_cast<T>(*value);
}

// A waveform that cannot be written is known before anything is simulated.
void check_trace(const SimulationOptions& o) {
  if (o.trace.empty()) {
    if (o.trace_from != 0 || o.trace_cycles != 0)
      throw Error(ErrorKind::usage,
                  "backend options trace_from and trace_cycles: expected trace=FILE with them");
    return;
  }
  if (kind_of(o.trace) == FileKind::stream)
    throw Error(ErrorKind::input,
                fmt::format("{}: is a device or a pipe, expected a file: a waveform's beginning is "
                            "written last",
                            o.trace));
  require_writable(o.trace);
  if (o.trace_cycles > UINT64_MAX - o.trace_from)
    throw Error(ErrorKind::usage, fmt::format("backend options trace_from={},trace_cycles={}: "
                                              "expected a sum below 2^64",
                                              o.trace_from, o.trace_cycles));
}

}  // namespace

BackendOptions parse_options(const DeviceOptions& options) {
  BackendOptions o;
  o.simulation.hardware = options.hardware;
  o.simulation.memory_bytes = (options.memory_bytes + 63) / 64 * 64;
  MemoryOptions& m = o.simulation.memory;
  for (const auto& [item, name, value] : spec::split_settings(options.extra)) {
    if (name == "latency") {
      number(name, value, 1000000, m.latency);
    } else if (name == "bandwidth") {
      number(name, value, 1024, m.bandwidth);
    } else if (name == "stall") {
      number(name, value, 99, m.stall);
    } else if (name == "reorder") {
      number(name, value, 2, m.reorder);
    } else if (name == "seed") {
      number(name, value, UINT64_MAX, m.seed);
    } else if (name == "read_error") {
      number(name, value, UINT64_MAX, m.read_error);
    } else if (name == "write_error") {
      number(name, value, UINT64_MAX, m.write_error);
    } else if (name == "decode_error") {
      number(name, value, 1, m.decode_error);
    } else if (name == "flip") {
      number(name, value, UINT64_MAX, m.flip);
    } else if (name == "hang") {
      number(name, value, UINT64_MAX, m.hang);
    } else if (name == "rand_reset") {
      number(name, value, 0x7fffffff, o.simulation.rand_reset);
    } else if (name == "trace") {
      o.simulation.trace = value;
    } else if (name == "trace_from") {
      number(name, value, UINT64_MAX, o.simulation.trace_from);
    } else if (name == "trace_cycles") {
      number(name, value, UINT64_MAX, o.simulation.trace_cycles);
    } else if (name == "max_cycles") {
      number(name, value, UINT64_MAX, o.max_cycles);
    } else if (name == "busy_writes") {
      number(name, value, UINT64_MAX, o.busy_writes);
    } else if (name == "checked") {
      number(name, value, 1, o.checked);
    } else if (name == "spans") {
      number(name, value, 1, o.spans);
    } else {
      throw Error(
          ErrorKind::usage,
          fmt::format(
              "backend option \"{}\", expected name=value with a name of latency, "
              "bandwidth, stall, reorder, seed, read_error, write_error, decode_error, "
              "flip, hang, rand_reset, trace, trace_from, trace_cycles, max_cycles, busy_writes, "
              "checked, spans",
              item));
    }
  }
  o.checked = o.checked || !o.simulation.trace.empty();
  check_trace(o.simulation);
  return o;
}

void TraceRange::mark(std::uint64_t cycle) {
  longest_ = std::max(longest_, cycle - start_);
  start_ = cycle;
}

void TraceRange::report(nlohmann::json& report, std::uint64_t cycle) const {
  if (options_.trace.empty()) return;
  const std::uint64_t longest = std::max(longest_, cycle - start_);
  const std::uint64_t end = options_.trace_from + std::max<std::uint64_t>(options_.trace_cycles, 1);
  report["trace"] = {{"file", options_.trace}, {"cycles", longest}, {"complete", longest >= end}};
}

std::string library_name(const spec::HardwareParams& hw, bool checked) {
  return fmt::format("{}x{}-b{}-s{}-a{}-q{}-t{}{}", hw.rows, hw.cols, hw.bus_bytes, hw.act_bytes,
                     hw.acc_depth, hw.rq_lanes, hw.training, checked ? "-checked" : "");
}

namespace {

// A symbol of build/rtl/<parameters>/npu.so, or, installed, of
// lib/lastmile/rtl/<parameters>/npu.so.
void* library_symbol(const spec::HardwareParams& hw, bool checked, const char* name) {
  namespace fs = std::filesystem;
  Dl_info self{};
  if (::dladdr(reinterpret_cast<void*>(&parse_options), &self) == 0 || self.dli_fname == nullptr)
    throw Error(ErrorKind::device, "rtl: the folder of the backend is unknown");
  const fs::path folder = fs::absolute(self.dli_fname).parent_path();
  const fs::path place = fs::path("rtl") / library_name(hw, checked) / "npu.so";
  std::error_code none;
  const fs::path file =
      fs::exists(folder / place, none) ? folder / place : folder.parent_path() / place;
  const std::string build = fmt::format(
      "`make rtl ROWS={} COLS={} BUS_BYTES={} ACT_BYTES={} ACC_DEPTH={} RQ_LANES={} "
      "TRAINING={}{}`",
      hw.rows, hw.cols, hw.bus_bytes, hw.act_bytes, hw.acc_depth, hw.rq_lanes, hw.training,
      checked ? " CHECKED=1" : "");
  void* handle = load_shared_object(file, "build it with " + build);
#ifdef LASTMILE_SIM_INTERFACE
  void* interface = ::dlsym(handle, kSimulationInterfaceSymbol);
  if (interface == nullptr ||
      reinterpret_cast<SimulationInterface>(interface)() != kSimulationInterface)
    throw Error(ErrorKind::device,
                fmt::format("rtl: {} was built from other sources; build it again with {}",
                            file.string(), build));
#endif
  void* symbol = ::dlsym(handle, name);
  if (symbol == nullptr)
    throw Error(ErrorKind::device, fmt::format("rtl: {} has no {}", file.string(), name));
  return symbol;
}

}  // namespace

std::unique_ptr<Simulation> open_simulation(const BackendOptions& options) {
  if (options.simulation.memory_bytes == 0 ||
      options.simulation.memory_bytes > (std::uint64_t{1} << 32))
    throw Error(ErrorKind::usage, fmt::format("memory_bytes is {}, expected 1 to 2^32",
                                              options.simulation.memory_bytes));
  void* symbol =
      library_symbol(options.simulation.hardware, options.checked, kOpenSimulationSymbol);
  return std::unique_ptr<Simulation>(reinterpret_cast<OpenSimulation>(symbol)(options.simulation));
}

MemoryOptions queue_memory(const BackendOptions& options, const Position& position, bool first) {
  MemoryOptions memory = options.simulation.memory;
  memory.seed = position.seed(memory.seed);
  if (!first) memory.read_error = memory.write_error = memory.flip = memory.hang = 0;
  return memory;
}

timing::MemoryTiming memory_timing(const BackendOptions& options) {
  return {.latency = options.simulation.memory.latency,
          .bytes_per_cycle = options.simulation.memory.bandwidth,
          .stall = options.simulation.memory.stall};
}

double rate(std::uint64_t cycles, double seconds) {
  return seconds <= 0 ? 0.0 : static_cast<double>(cycles) / seconds;
}

void report_speed(nlohmann::json& report, std::uint64_t cycles, const Stopwatch& queues) {
  report["seconds"] = queues.wall();
  report["cpu_seconds"] = queues.cpu();
  report["cycles_per_second"] = rate(cycles, queues.wall());
  report["cycles_per_cpu_second"] = rate(cycles, queues.cpu());
}

std::unique_ptr<Pins> open_pins(const spec::HardwareParams& hardware) {
  void* symbol = library_symbol(hardware, false, kOpenPinsSymbol);
  return std::unique_ptr<Pins>(reinterpret_cast<OpenPins>(symbol)(hardware));
}

void report_profile(nlohmann::json& report, const Profile& profile, const BackendOptions& options) {
  const auto cycles = static_cast<double>(profile.total(spec::Counter::cycles_));
  const auto predicted = static_cast<double>(profile.predicted_cycles());
  report["cycles"] = profile.total(spec::Counter::cycles_);
  report["predicted_cycles"] = profile.predicted_cycles();
  report["prediction_error"] = cycles > 0 ? 100.0 * (predicted - cycles) / cycles : 0.0;
  const spec::HardwareParams& hw = options.simulation.hardware;
  const std::uint64_t macs = profile.total(spec::Counter::macs_);
  report["macs"] = macs;
  report["utilisation"] =
      cycles > 0 ? static_cast<double>(macs) / (cycles * hw.rows * hw.cols) : 0.0;
  report["phases"] = profile.json(hw);
}

}  // namespace lastmile::sim
