// SPDX-License-Identifier: Apache-2.0
// One Verilated NPU at its pins: whoever holds it drives the clock and both buses cycle by cycle.
// Kept in the same npu.so as Simulation, which brings its own memory.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::sim {

inline constexpr std::size_t kMostBusBytes = 64;
using BusWord = std::array<std::byte, kMostBusBytes>;  // the first BUS_BYTES count

// Names as in rtl/top/npu.sv.
struct PinInputs {
  bool rst_n = true;
  // AXI4-Lite
  bool l_awvalid = false, l_wvalid = false, l_bready = false, l_arvalid = false, l_rready = false;
  std::uint16_t l_awaddr = 0, l_araddr = 0;
  std::uint32_t l_wdata = 0;
  // AXI4
  bool arready = false, rvalid = false, rlast = false, awready = false, wready = false,
       bvalid = false;
  std::uint8_t rid = 0, rresp = 0, bid = 0, bresp = 0;
  BusWord rdata{};
};
struct PinOutputs {
  bool irq = false;
  // AXI4-Lite; valid after settle() for the inputs of this cycle
  bool l_awready = false, l_wready = false, l_bvalid = false, l_arready = false, l_rvalid = false;
  std::uint32_t l_rdata = 0;
  // AXI4: depend on registers alone
  bool arvalid = false, rready = false, awvalid = false, wvalid = false, wlast = false,
       bready = false;
  std::uint8_t arid = 0, arlen = 0, arsize = 0, arburst = 0;
  std::uint8_t awid = 0, awlen = 0, awsize = 0, awburst = 0;
  std::uint32_t araddr = 0, awaddr = 0;
  std::uint64_t wstrb = 0;
  BusWord wdata{};
};

class Pins {
 public:
  Pins() = default;
  Pins(const Pins&) = delete;
  Pins& operator=(const Pins&) = delete;
  virtual ~Pins() = default;

  PinInputs in;
  PinOutputs out;  // after the last edge() or settle()

  virtual void settle() = 0;  // the AXI4-Lite outputs for these inputs, without an edge
  virtual void edge() = 0;    // a rising edge with these inputs
  [[nodiscard]] virtual bool busy() const = 0;
  [[nodiscard]] virtual std::array<std::uint64_t, spec::kCounters> counters() const = 0;
};

// `extern "C" Pins* lastmile_open_pins(const spec::HardwareParams&)`; starts in reset.
using OpenPins = Pins* (*)(const spec::HardwareParams&);
inline constexpr const char* kOpenPinsSymbol = "lastmile_open_pins";

}  // namespace lastmile::sim
