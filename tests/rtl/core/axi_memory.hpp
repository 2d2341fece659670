// SPDX-License-Identifier: Apache-2.0
// The simulation's memory (sim/verilator/axi_memory.hpp) behind a Verilated `npu` that has no
// registers on its inputs: what the memory chooses for the next cycle waits here until the edge is
// over.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>

#include "sim/verilator/axi_memory.hpp"

namespace bench {

// Top: a Verilated `npu`. Call drive() before the evaluation that settles a cycle's inputs and
// sample() after it, before the rising edge, once per cycle each.
template <class Top, int BusBytes>
class AxiMemory {
 public:
  explicit AxiMemory(std::uint64_t seed) : seed_(seed) { restart({}); }

  // What the memory holds from here on.
  void load(std::span<const std::byte> bytes) {
    memory_.load(bytes);
    loaded_ = bytes.size();
  }
  [[nodiscard]] std::span<const std::byte> bytes() { return memory_.bytes().first(loaded_); }
  // Latency, stalls and order from here on; the seed is this object's, another one each time.
  void restart(lastmile::sim::MemoryOptions options) {
    options.seed = seed_++;
    memory_.restart(options);
  }
  // A silent memory takes nothing and answers nothing more.
  void silence(bool on) { memory_.silence(on); }

  void drive(Top& top) {
    top.m_axi_arready_i = pins_.m_axi_arready_i;
    top.m_axi_rvalid_i = pins_.m_axi_rvalid_i;
    top.m_axi_rid_i = pins_.m_axi_rid_i;
    top.m_axi_rresp_i = pins_.m_axi_rresp_i;
    top.m_axi_rlast_i = pins_.m_axi_rlast_i;
    std::memcpy(&top.m_axi_rdata_i, pins_.m_axi_rdata_i.data(), BusBytes);
    top.m_axi_awready_i = pins_.m_axi_awready_i;
    top.m_axi_wready_i = pins_.m_axi_wready_i;
    top.m_axi_bvalid_i = pins_.m_axi_bvalid_i;
    top.m_axi_bid_i = pins_.m_axi_bid_i;
    top.m_axi_bresp_i = pins_.m_axi_bresp_i;
  }

  void sample(const Top& top) {
    pins_.m_axi_arvalid_o = top.m_axi_arvalid_o;
    pins_.m_axi_arid_o = top.m_axi_arid_o;
    pins_.m_axi_araddr_o = top.m_axi_araddr_o;
    pins_.m_axi_arlen_o = top.m_axi_arlen_o;
    pins_.m_axi_arsize_o = top.m_axi_arsize_o;
    pins_.m_axi_arburst_o = top.m_axi_arburst_o;
    pins_.m_axi_rready_o = top.m_axi_rready_o;
    pins_.m_axi_awvalid_o = top.m_axi_awvalid_o;
    pins_.m_axi_awid_o = top.m_axi_awid_o;
    pins_.m_axi_awaddr_o = top.m_axi_awaddr_o;
    pins_.m_axi_awlen_o = top.m_axi_awlen_o;
    pins_.m_axi_awsize_o = top.m_axi_awsize_o;
    pins_.m_axi_awburst_o = top.m_axi_awburst_o;
    pins_.m_axi_wvalid_o = top.m_axi_wvalid_o;
    pins_.m_axi_wlast_o = top.m_axi_wlast_o;
    pins_.m_axi_wstrb_o = top.m_axi_wstrb_o;
    std::memcpy(pins_.m_axi_wdata_o.data(), &top.m_axi_wdata_o, BusBytes);
    pins_.m_axi_bready_o = top.m_axi_bready_o;
    memory_.step(pins_);
  }

 private:
  // The AXI4 part of rtl/top/npu.sv.
  struct Pins {
    bool m_axi_arready_i = false, m_axi_rvalid_i = false, m_axi_rlast_i = false,
         m_axi_awready_i = false, m_axi_wready_i = false, m_axi_bvalid_i = false;
    std::uint8_t m_axi_rid_i = 0, m_axi_rresp_i = 0, m_axi_bid_i = 0, m_axi_bresp_i = 0;
    bool m_axi_arvalid_o = false, m_axi_rready_o = false, m_axi_awvalid_o = false,
         m_axi_wvalid_o = false, m_axi_wlast_o = false, m_axi_bready_o = false;
    std::uint8_t m_axi_arid_o = 0, m_axi_arlen_o = 0, m_axi_arsize_o = 0, m_axi_arburst_o = 0;
    std::uint8_t m_axi_awid_o = 0, m_axi_awlen_o = 0, m_axi_awsize_o = 0, m_axi_awburst_o = 0;
    std::uint32_t m_axi_araddr_o = 0, m_axi_awaddr_o = 0;
    std::uint64_t m_axi_wstrb_o = 0;
    std::array<std::byte, BusBytes> m_axi_rdata_i{}, m_axi_wdata_o{};
  };

  lastmile::sim::AxiMemory<Pins, BusBytes> memory_{0};
  Pins pins_;
  std::uint64_t seed_;
  std::size_t loaded_ = 0;
};

}  // namespace bench
