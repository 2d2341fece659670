// SPDX-License-Identifier: Apache-2.0
// Pins around one Verilated `npu`; compiled with the parameters of its npu.so.
#include <verilated.h>

#include <cstring>
#include <memory>

#include "Vnpu.h"
#include "Vnpu___024root.h"
#include "sim/verilator/clocks.hpp"
#include "sim/verilator/pins.hpp"

namespace lastmile::sim {
namespace {

constexpr std::size_t kBus = P_BUS_BYTES;

class NpuPins final : public Pins {
 public:
  NpuPins()
      : context_(std::make_unique<VerilatedContext>()),
        top_(std::make_unique<Vnpu>(context_.get())) {
    start_clocks(*top_->rootp);
    in.rst_n = false;
    for (int i = 0; i < 4; ++i) edge();
    in.rst_n = true;
    edge();
  }

  // The model's scopes leave the thread's context, which another NPU may have changed.
  ~NpuPins() override { Verilated::threadContextp(context_.get()); }

  void settle() override {
    drive();
    settle_inputs(*top_);
    registers();
  }
  void edge() override {
    drive();
    settle_inputs(*top_);
    rise(*top_);
    registers();
    out.irq = top_->irq_o;
    out.rready = top_->m_axi_rready_o;
    out.bready = top_->m_axi_bready_o;
    out.arvalid = top_->m_axi_arvalid_o;
    if (out.arvalid) {
      out.arid = top_->m_axi_arid_o;
      out.araddr = top_->m_axi_araddr_o;
      out.arlen = top_->m_axi_arlen_o;
      out.arsize = top_->m_axi_arsize_o;
      out.arburst = top_->m_axi_arburst_o;
    }
    out.awvalid = top_->m_axi_awvalid_o;
    if (out.awvalid) {
      out.awid = top_->m_axi_awid_o;
      out.awaddr = top_->m_axi_awaddr_o;
      out.awlen = top_->m_axi_awlen_o;
      out.awsize = top_->m_axi_awsize_o;
      out.awburst = top_->m_axi_awburst_o;
    }
    out.wvalid = top_->m_axi_wvalid_o;
    if (out.wvalid) {
      out.wlast = top_->m_axi_wlast_o;
      out.wstrb = top_->m_axi_wstrb_o;
      std::memcpy(out.wdata.data(), &top_->m_axi_wdata_o, kBus);
    }
  }
  bool busy() const override { return top_->rootp->npu_sim__DOT__u_npu__DOT__busy; }
  std::array<std::uint64_t, spec::kCounters> counters() const override {
    std::array<std::uint64_t, spec::kCounters> c{};
    const auto& words =
        top_->rootp->npu_sim__DOT__u_npu__DOT__u_control__DOT__u_counters__DOT__count_q;
    static_assert(sizeof words == sizeof c);
    std::memcpy(c.data(), &words, sizeof c);
    return c;
  }

 private:
  void drive() {
    top_->rst_ni = in.rst_n;
    top_->s_axil_awvalid_i = in.l_awvalid;
    top_->s_axil_awaddr_i = static_cast<SData>(in.l_awaddr);
    top_->s_axil_wvalid_i = in.l_wvalid;
    top_->s_axil_wdata_i = in.l_wdata;
    top_->s_axil_wstrb_i = 15;
    top_->s_axil_bready_i = in.l_bready;
    top_->s_axil_arvalid_i = in.l_arvalid;
    top_->s_axil_araddr_i = static_cast<SData>(in.l_araddr);
    top_->s_axil_rready_i = in.l_rready;
    top_->m_axi_arready_i = in.arready;
    top_->m_axi_rvalid_i = in.rvalid;
    if (in.rvalid) {
      top_->m_axi_rid_i = in.rid;
      top_->m_axi_rresp_i = in.rresp;
      top_->m_axi_rlast_i = in.rlast;
      std::memcpy(&top_->m_axi_rdata_i, in.rdata.data(), kBus);
    }
    top_->m_axi_awready_i = in.awready;
    top_->m_axi_wready_i = in.wready;
    top_->m_axi_bvalid_i = in.bvalid;
    top_->m_axi_bid_i = in.bid;
    top_->m_axi_bresp_i = in.bresp;
  }
  void registers() {
    out.l_awready = top_->s_axil_awready_o;
    out.l_wready = top_->s_axil_wready_o;
    out.l_bvalid = top_->s_axil_bvalid_o;
    out.l_arready = top_->s_axil_arready_o;
    out.l_rvalid = top_->s_axil_rvalid_o;
    out.l_rdata = top_->s_axil_rdata_o;
  }

  std::unique_ptr<VerilatedContext> context_;
  std::unique_ptr<Vnpu> top_;
};

}  // namespace
}  // namespace lastmile::sim

extern "C" lastmile::sim::Pins* lastmile_open_pins(const lastmile::spec::HardwareParams&) {
  return new lastmile::sim::NpuPins();
}
