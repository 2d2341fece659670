// SPDX-License-Identifier: Apache-2.0
// How long a command takes, predicted from its descriptor: equations beside each block of the
// hardware (one file per block), without data and without simulating cycles. Every time is in
// cycles since the one in which the sequencer starts the engine.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "cmodel/command/command_cache.hpp"
#include "cmodel/command/counters.hpp"
#include "cmodel/command/traffic_mode.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::timing {

// The memory behind the AXI4 master.
struct MemoryTiming {
  std::uint32_t latency = 20;  // cycles from an address to its first beat, and from the last write
                               // beat to its answer
  std::uint32_t bytes_per_cycle = 0;  // in each direction; 0: the bus width
  std::uint32_t stall = 0;  // per cent of cycles in which a channel stands still: the mean of many
  bool operator==(const MemoryTiming&) const = default;
};

// One engine during a command: first and last cycle (end exclusive), and how many of the cycles
// between it moved something. All zero: it took no part.
struct EngineTime {
  std::uint64_t start = 0;
  std::uint64_t end = 0;
  std::uint64_t busy = 0;
  // Another piece of work of the same engine; pieces come in order of time.
  void add(std::uint64_t first, std::uint64_t last, std::uint64_t work) {
    if (end == 0) start = first;
    if (last > end) end = last;
    busy += work;
  }
};

// CONV2D, DEPTHWISE and POOL: one tile of images, rows and columns, in the order of the hardware.
struct TileTime {
  EngineTime load;
  EngineTime array;  // POOL: the pool
  EngineTime drain;
};

inline constexpr std::size_t kEngines = spec::kAll<spec::Engine>.size();

struct CommandTiming {
  // Counters of kind "cycle"; the others are zero. CYCLES is that of a command whose descriptor was
  // there when the one before ended.
  npu::Counters counters;
  std::uint64_t execution = 0;  // from the start of the engine to the commit
  std::uint64_t fetch = 0;      // until the descriptor fetched beside it can be started
  std::uint64_t fetch_end = 0;  // the same if it is an END
  std::array<EngineTime, kEngines> engines;
  std::vector<TileTime> tiles;

  [[nodiscard]] EngineTime& engine(spec::Engine e) { return engines[static_cast<std::size_t>(e)]; }
  [[nodiscard]] const EngineTime& engine(spec::Engine e) const {
    return engines[static_cast<std::size_t>(e)];
  }
};

// d: valid, addresses resolved.
[[nodiscard]] CommandTiming predict(const spec::Descriptor& d, const npu::TrafficMode& mode,
                                    const spec::HardwareParams& hw, const MemoryTiming& memory);

// What of a descriptor decides its time: everything else is zero, addresses are reduced to their
// place in a bus word. predict() says the same of both, and layers of one shape become one.
[[nodiscard]] spec::Descriptor timed_part(const spec::Descriptor& d);

// What predict() said, for several machines: a profile opens one per variant of a network, and
// their commands are mostly the same. Machines on several threads may share it.
class Predictions {
 public:
  [[nodiscard]] CommandTiming of(const spec::Descriptor& d, const npu::TrafficMode& mode,
                                 const spec::HardwareParams& hw, const MemoryTiming& memory);

 private:
  struct Entry {
    spec::HardwareParams hw;
    MemoryTiming memory;
    npu::CommandCache<CommandTiming> cache;
  };
  std::mutex mutex_;
  std::vector<Entry> entries_;
};

// Remembers what predict() said of each command of one machine.
class TimingCache {
 public:
  TimingCache(const spec::HardwareParams& hw, const MemoryTiming& memory,
              std::shared_ptr<Predictions> shared = nullptr)
      : hw_(hw), memory_(memory), shared_(std::move(shared)) {}
  [[nodiscard]] const CommandTiming& of(const spec::Descriptor& d, const npu::TrafficMode& mode);

 private:
  spec::HardwareParams hw_;
  MemoryTiming memory_;
  std::shared_ptr<Predictions> shared_;
  npu::CommandCache<CommandTiming> cache_;
};

// The clock of a queue: a command starts when the one before is committed and its own descriptor,
// fetched meanwhile, is checked.
class QueueClock {
 public:
  QueueClock(const spec::HardwareParams& hw, const MemoryTiming& memory);
  void begin();
  // CYCLES from the last commit (or the start of the queue) to this command's.
  std::uint64_t command(const CommandTiming& t);
  // CYCLES from the last commit to the end of the queue. end: an END was met.
  std::uint64_t end(bool end);
  // Cycle in which the engine of the last command started, since the start of the queue.
  [[nodiscard]] std::uint64_t started() const { return started_; }

 private:
  std::uint64_t first_, first_end_;         // fetch of the first descriptor
  std::uint64_t descriptor_ = 0, end_ = 0;  // when the next one can be started
  std::uint64_t started_ = 0, committed_ = 0, counted_ = 0;
};

}  // namespace lastmile::timing
