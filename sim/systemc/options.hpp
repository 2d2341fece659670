// SPDX-License-Identifier: Apache-2.0
// What a platform is made of: address map, timing, faults. Plain values; times are in cycles of the
// platform's clock unless a name says otherwise.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::sim {

// Bus addresses. The NPU sees the same map as the host: its memory is at 0.
inline constexpr std::uint64_t kMemoryBase = 0;
inline constexpr std::uint64_t kRegisterBase = 0xf0000000;
inline constexpr std::uint64_t kRegisterBytes = 4096;

enum class NpuKind {
  model,  // C++ model, loosely timed
  rtl,    // Verilated RTL, clocked
};

struct MemoryTiming {
  std::uint32_t latency = 18;   // request to first beat; with banks: of a row hit
  std::uint32_t bandwidth = 0;  // bytes per cycle and direction; 0: as many as the bus carries
  // Banks: a row that is open answers after `latency`, a closed bank after latency + activate, a
  // bank with another row open after latency + precharge + activate.
  std::uint32_t banks = 0;  // 0: flat, every access takes `latency`
  std::uint32_t row_bytes = 2048;
  std::uint32_t activate = 14, precharge = 14;
  std::uint32_t refresh_interval = 7800, refresh_cycles = 350;  // all rows closed; 0: none
  bool dmi = true;           // granted while flat: with banks an access is not worth a constant
  bool four_phases = false;  // nb_transport: BEGIN_RESP at its time, not an early completion
};

struct BusTiming {
  std::uint32_t latency = 2;  // decoding and arbitration
  std::uint32_t bytes = 16;   // width
  // Most of a target's time that an initiator (by port) may take, per cent; absent: 100.
  std::vector<std::uint32_t> share;
};

// What goes wrong between an initiator and the bus. Counted in transactions of that initiator whose
// address is in [first, last), from arm() on; n = 0: none, n = 1: the first.
struct Fault {
  enum class Kind { none, error, delay, drop };
  Kind kind = Kind::none;
  std::uint64_t first = 0, last = UINT64_MAX;
  bool reads = true, writes = true;
  std::uint64_t n = 1;       // this one ...
  std::uint64_t count = 1;   // ... and so many in all; UINT64_MAX: from there on
  std::uint64_t cycles = 0;  // delay
};
struct InterruptFault {
  std::uint64_t n = 0;       // this rising edge; 0: none
  std::uint64_t count = 1;   // and so many in all
  std::uint64_t cycles = 0;  // late by; 0: lost
};

// A competing initiator: bursts to a private range of memory, verified when read back.
struct TrafficOptions {
  bool on = false;
  std::uint32_t burst_bytes = 256, bursts = 8;  // back to back, then a pause
  std::uint32_t pause = 200;
  std::uint32_t write_percent = 50;
  std::uint64_t bytes = 16384;  // of its range, behind the NPU's memory
  std::uint64_t seed = 1;
};

struct PlatformOptions {
  NpuKind npu = NpuKind::model;
  spec::HardwareParams hardware;
  std::uint64_t memory_bytes = 0;  // of the NPU; the platform rounds up to 4 KiB
  int threads = 1;                 // of the model
  std::uint32_t clock_ps = 1000;
  std::uint64_t quantum = 10000;   // temporal decoupling of loosely timed initiators
  std::uint32_t npu_burst = 4096;  // bytes of a loosely timed NPU's transactions
  std::uint32_t host_burst = 256;
  std::uint64_t irq_timeout = 100000000;  // after which the host gives up waiting
  std::uint64_t bus_timeout = 10000000;   // of one host access
  bool busy_writes = false;  // while a queue runs the host writes other values to the registers
                             // that it may set up for the next one, and then those of before
  MemoryTiming memory;
  BusTiming bus;
  TrafficOptions traffic;
};

}  // namespace lastmile::sim
