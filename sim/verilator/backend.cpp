#include "sim/verilator/backend.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <charconv>
#include <filesystem>

#include "sw/base/error.hpp"

namespace lastmile::sim {
namespace {

using spec::Counter;

template <class T>
void number(const std::string& name, const std::string& text, std::uint64_t most, T& to) {
  std::uint64_t value = 0;
  const auto [end, bad] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (bad != std::errc{} || end != text.data() + text.size() || value > most)
    throw Error(ErrorKind::usage,
                fmt::format("backend option {}: \"{}\", expected 0 to {}", name, text, most));
  to = static_cast<T>(value);
}

}  // namespace

BackendOptions parse_options(const DeviceOptions& options) {
  BackendOptions o;
  o.simulation.hardware = options.hardware;
  o.simulation.memory_bytes = (options.memory_bytes + 63) / 64 * 64;
  MemoryOptions& m = o.simulation.memory;
  std::string rest = options.extra;
  while (!rest.empty()) {
    const auto comma = rest.find(',');
    const std::string item = rest.substr(0, comma);
    rest = comma == std::string::npos ? "" : rest.substr(comma + 1);
    const auto equals = item.find('=');
    const std::string name = item.substr(0, equals);
    const std::string value = equals == std::string::npos ? "" : item.substr(equals + 1);
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
    } else if (name == "checked") {
      number(name, value, 1, o.checked);
    } else {
      throw Error(
          ErrorKind::usage,
          fmt::format(
              "backend option \"{}\", expected name=value with a name of latency, "
              "bandwidth, stall, reorder, seed, read_error, write_error, decode_error, "
              "flip, hang, rand_reset, trace, trace_from, trace_cycles, max_cycles, checked",
              item));
    }
  }
  o.checked = o.checked || !o.simulation.trace.empty();
  return o;
}

std::string library_name(const spec::HardwareParams& hw, bool checked) {
  return fmt::format("{}x{}-b{}-s{}-a{}-q{}-t{}{}", hw.rows, hw.cols, hw.bus_bytes, hw.act_bytes,
                     hw.acc_depth, hw.rq_lanes, hw.training, checked ? "-checked" : "");
}

std::unique_ptr<Simulation> open_simulation(const BackendOptions& options) {
  if (options.simulation.memory_bytes == 0 ||
      options.simulation.memory_bytes > (std::uint64_t{1} << 32))
    throw Error(ErrorKind::usage, fmt::format("memory_bytes is {}, expected 1 to 2^32",
                                              options.simulation.memory_bytes));
  namespace fs = std::filesystem;
  Dl_info self{};
  if (::dladdr(reinterpret_cast<void*>(&parse_options), &self) == 0 || self.dli_fname == nullptr)
    throw Error(ErrorKind::device, "rtl: the folder of the backend is unknown");
  const spec::HardwareParams& hw = options.simulation.hardware;
  const fs::path file = fs::absolute(self.dli_fname).parent_path().parent_path() / "rtl" /
                        library_name(hw, options.checked) / "npu.so";
  void* handle = ::dlopen(file.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (handle == nullptr)
    throw Error(
        ErrorKind::device,
        fmt::format("rtl: {} cannot be loaded ({}); build it with `make rtl ROWS={} "
                    "COLS={} BUS_BYTES={} ACT_BYTES={} ACC_DEPTH={} RQ_LANES={} "
                    "TRAINING={}{}`",
                    file.string(), ::dlerror(), hw.rows, hw.cols, hw.bus_bytes, hw.act_bytes,
                    hw.acc_depth, hw.rq_lanes, hw.training, options.checked ? " CHECKED=1" : ""));
  void* symbol = ::dlsym(handle, kOpenSimulationSymbol);
  if (symbol == nullptr)
    throw Error(ErrorKind::device,
                fmt::format("rtl: {} has no {}", file.string(), kOpenSimulationSymbol));
  return std::unique_ptr<Simulation>(reinterpret_cast<OpenSimulation>(symbol)(options.simulation));
}

void Position::annotate(const std::string& what) {
  if (what.starts_with("step ")) {
    step_ = what;
    phase_.clear();
    queue_ = 0;
  } else {
    phase_ = what;
  }
}

std::string Position::text() const {
  return fmt::format("{}{}{}, queue {}", step_, step_.empty() ? "" : ", ",
                     phase_.empty() ? "no phase" : phase_, queue_);
}

std::uint64_t Position::seed(std::uint64_t base) const {
  std::uint64_t h = base ^ 0xcbf29ce484222325U;  // FNV-1a
  for (const char c : step_) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3U;
  return (h ^ queue_) * 0x100000001b3U;
}

void Profile::commit(const std::string& phase, std::uint32_t command, std::uint32_t opcode,
                     const Simulation::Counters& now) {
  Entry& e = entries_[{phase, command}];
  e.opcode = opcode;
  ++e.runs;
  for (std::size_t i = 0; i < now.size(); ++i) e.sum[i] += now[i] - before_[i];
  before_ = now;
}

std::uint64_t Profile::total(spec::Counter which) const {
  std::uint64_t sum = 0;
  for (const auto& [key, e] : entries_) sum += e.sum[static_cast<std::size_t>(which)];
  return sum;
}

nlohmann::json Profile::json(const spec::HardwareParams& hw) const {
  const double multipliers = static_cast<double>(hw.rows) * hw.cols;
  nlohmann::json out = nlohmann::json::object();
  for (const auto& [key, e] : entries_) {
    const auto at = [&e = e](Counter c) { return e.sum[static_cast<std::size_t>(c)]; };
    const std::uint64_t cycles = at(Counter::cycles_);
    out[key.first].push_back(
        {{"command", key.second},
         {"opcode", spec::to_string(static_cast<spec::Opcode>(e.opcode))},
         {"runs", e.runs},
         {"cycles", cycles},
         {"macs", at(Counter::macs_)},
         {"utilisation", cycles == 0 ? 0.0
                                     : static_cast<double>(at(Counter::macs_)) /
                                           (static_cast<double>(cycles) * multipliers)},
         {"array_cycles", at(Counter::array_cycles_)},
         {"stall_load", at(Counter::stall_load_)},
         {"stall_weight", at(Counter::stall_weight_)},
         {"stall_drain", at(Counter::stall_drain_)},
         {"drain_cycles", at(Counter::drain_cycles_)},
         {"element_cycles", at(Counter::element_cycles_)},
         {"bus_read_beats", at(Counter::bus_read_beats_)},
         {"bus_write_beats", at(Counter::bus_write_beats_)}});
  }
  return out;
}

}  // namespace lastmile::sim
