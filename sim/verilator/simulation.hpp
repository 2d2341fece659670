// SPDX-License-Identifier: Apache-2.0
// One Verilated NPU with its memory. The classes behind this interface are compiled once per set of
// hardware parameters, into build/rtl/<parameters>/npu.so; this is all that the devices built on it
// know of Verilator.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::sim {

// The memory behind the AXI4 master, and what it does to the NPU.
struct MemoryOptions {
  std::uint32_t latency = 20;  // cycles from an address to its first beat, from the last write beat
                               // to its answer
  std::uint32_t bandwidth = 0;  // bytes per cycle and direction; 0: as many as the bus carries
  std::uint32_t stall = 0;    // per cent of cycles in which a channel stands still, each for itself
  std::uint32_t reorder = 0;  // answers of different IDs: 0 in order, 1 bursts in any order, 2
                              // also beats of reads interleaved
  std::uint64_t seed = 1;     // of stalls and order
  // Faults, counted in bursts since the last restart() (the first is 1); 0: none.
  std::uint64_t read_error = 0;   // this read burst is answered with an error
  std::uint64_t write_error = 0;  // this write burst is
  bool decode_error = false;      // ... DECERR instead of SLVERR
  std::uint64_t flip = 0;         // in this write beat, the lowest bit written is inverted
  std::uint64_t hang = 0;  // with this burst, read or write, the memory stops answering for good
};

struct SimulationOptions {
  spec::HardwareParams hardware;
  std::uint64_t memory_bytes = 0;
  MemoryOptions memory;
  std::uint64_t rand_reset = 0;    // seed of the values that nothing has set; 0: all zero
  std::string trace;               // FST file; empty: none
  std::uint64_t trace_from = 0;    // cycles since the last mark()
  std::uint64_t trace_cycles = 0;  // 0: to the end
};

enum class Stop { commit, interrupt, idle, limit };

// Bytes [first, last) of memory.
struct Range {
  std::uint32_t first = 0;
  std::uint64_t last = 0;
};

// What the memory saw since the simulation was opened, whatever the NPU's own counters say.
struct BusMonitor {
  std::uint64_t highest = 0;  // end of the highest bus word that was read or written
  std::uint64_t read_beats = 0;
  std::uint64_t written_bytes = 0;  // strobed
};

// A register or memory of the NPU: `elements` words of `bits`. Scopes and names as Verilator has
// them.
struct StateVariable {
  std::string scope, name;
  std::uint32_t bits = 0, elements = 1;
};

class Simulation {
 public:
  using Counters = std::array<std::uint64_t, spec::kCounters>;

  Simulation() = default;
  Simulation(const Simulation&) = delete;
  Simulation& operator=(const Simulation&) = delete;
  virtual ~Simulation() = default;

  // AXI4-Lite transactions. std::runtime_error if one is not answered.
  virtual std::uint32_t read_register(std::uint32_t offset) = 0;
  virtual void write_register(std::uint32_t offset, std::uint32_t value) = 0;

  // Clocks until a command commits, the interrupt line is high, the NPU is idle, or `limit` cycles
  // have passed.
  virtual Stop run(std::uint64_t limit) = 0;
  [[nodiscard]] virtual bool interrupt() const = 0;
  [[nodiscard]] virtual bool busy() const = 0;
  [[nodiscard]] virtual std::uint32_t committed() const = 0;  // index of the last commit
  [[nodiscard]] virtual std::uint64_t cycles() const = 0;     // since reset
  // The counters as the registers hold them, without a transaction. At a commit COMMANDS does not
  // count the committed command yet.
  [[nodiscard]] virtual Counters counters() const = 0;

  [[nodiscard]] virtual std::span<std::byte> memory() = 0;
  // What the NPU wrote since the last clear: ranges in the order of the writes, and bytes.
  [[nodiscard]] virtual const std::vector<Range>& written() const = 0;
  [[nodiscard]] virtual std::uint64_t written_bytes() const = 0;
  virtual void clear_written() = 0;
  [[nodiscard]] virtual const BusMonitor& monitor() const = 0;

  // Stalls and order from now on depend on `seed` alone, faults are counted anew, a memory that had
  // stopped answers again.
  virtual void restart(const MemoryOptions& memory) = 0;
  // Cycle 0 of trace_from.
  virtual void mark() = 0;
  virtual void flush_trace() = 0;

  // Builds for fault injection only (sim.mk, INJECT=1): every variable, and a bit of one inverted
  // between two cycles, with all that depends on it. std::logic_error otherwise.
  [[nodiscard]] virtual std::vector<StateVariable> state() const {
    throw std::logic_error("this build is not for fault injection");
  }
  virtual void flip(std::size_t /*variable*/, std::uint32_t /*element*/, std::uint32_t /*bit*/) {
    throw std::logic_error("this build is not for fault injection");
  }
};

// `extern "C" Simulation* lastmile_open_simulation(const SimulationOptions&)`
using OpenSimulation = Simulation* (*)(const SimulationOptions&);
inline constexpr const char* kOpenSimulationSymbol = "lastmile_open_simulation";
// `extern "C" std::uint64_t lastmile_simulation_interface()`: a digest of this header and of the
// specification (sim.mk), so that a library built from others is refused, not called.
using SimulationInterface = std::uint64_t (*)();
inline constexpr const char* kSimulationInterfaceSymbol = "lastmile_simulation_interface";
#ifdef LASTMILE_SIM_INTERFACE
inline constexpr std::uint64_t kSimulationInterface = LASTMILE_SIM_INTERFACE;
#endif

}  // namespace lastmile::sim
