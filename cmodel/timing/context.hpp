// SPDX-License-Identifier: Apache-2.0
// What the equations of a command share.
#pragma once

#include <cstdint>

#include "cmodel/timing/memory.hpp"
#include "cmodel/timing/timing.hpp"

namespace lastmile::timing {

constexpr U divide_up(U a, U b) { return (a + b - 1) / b; }

struct Context {
  Context(const spec::Descriptor& descriptor, const npu::TrafficMode& traffic,
          const spec::HardwareParams& hardware, const MemoryTiming& memory)
      : d(descriptor),
        mode(traffic),
        hw(hardware),
        op(static_cast<spec::Opcode>(descriptor.opcode)),
        bus(static_cast<U>(hardware.bus_bytes)),
        rows(static_cast<U>(hardware.rows)),
        cols(static_cast<U>(hardware.cols)),
        latency(memory.latency),
        reads(bus, memory),
        writes(bus, memory),
        writer(writes, memory.latency) {}

  // Bus words that bytes [address, address + bytes) touch.
  [[nodiscard]] U words(U address, U bytes) const {
    return bytes == 0 ? 0 : (address + bytes - 1) / bus - address / bus + 1;
  }

  // The fetch of the next descriptor, which asks in cycle 1.
  void fetch_next();

  const spec::Descriptor& d;
  const npu::TrafficMode& mode;
  const spec::HardwareParams& hw;
  spec::Opcode op;
  U bus, rows, cols, latency;
  Channel reads, writes;
  Writer writer;
  CommandTiming t;
};

// Each gives the cycle in which the engine says that it is done; the sequencer waits for the
// answers to writes from the next one on.
U matrix_time(Context& c);   // CONV2D, DEPTHWISE
U pool_time(Context& c);     // POOL
U element_time(Context& c);  // the engines that stream whole tensors

}  // namespace lastmile::timing
