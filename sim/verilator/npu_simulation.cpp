// SPDX-License-Identifier: Apache-2.0
// Simulation around one Verilated `npu`. Compiled once per set of hardware parameters (P_ROWS and
// the like come from sim.mk); P_CHECKED adds assertions and waveforms, which cost speed.
#include <verilated.h>
#if P_CHECKED
#include <verilated_fst_c.h>
#endif
#ifdef P_COVERAGE
#include <unistd.h>
#include <verilated_cov.h>

#include <cstdlib>
#endif

#if P_INJECT
#include <verilated_syms.h>
#endif

#include <cstring>
#include <memory>
#include <stdexcept>
#include <string>

#include "Vnpu.h"
#include "Vnpu___024root.h"
#include "sim/verilator/axi_memory.hpp"
#include "sim/verilator/clocks.hpp"
#include "sim/verilator/simulation.hpp"

namespace lastmile::sim {
namespace {

constexpr std::uint32_t kRegisterPatience = 100000;  // cycles

class NpuSimulation final : public Simulation {
 public:
  explicit NpuSimulation(const SimulationOptions& options)
      : options_(options),
        context_(std::make_unique<VerilatedContext>()),
        memory_(options.memory_bytes) {
    context_->randReset(options.rand_reset == 0 ? 0 : 2);
    if (options.rand_reset != 0)
      context_->randSeed(static_cast<int>(options.rand_reset & 0x7fffffff));
    context_->traceEverOn(!options.trace.empty());
    top_ = std::make_unique<Vnpu>(context_.get());
    start_clocks(*top_->rootp);
#if !P_CHECKED
    if (!options.trace.empty())
      throw std::runtime_error("this build has no waveforms: `make rtl CHECKED=1`");
#endif
    memory_.restart(options.memory);
    top_->m_axi_arready_i = top_->m_axi_rvalid_i = top_->m_axi_awready_i = 0;
    top_->m_axi_wready_i = top_->m_axi_bvalid_i = 0;
    top_->s_axil_awvalid_i = top_->s_axil_wvalid_i = top_->s_axil_bready_i = 0;
    top_->s_axil_arvalid_i = top_->s_axil_rready_i = 0;
    top_->rst_ni = 0;
    for (int i = 0; i < 4; ++i) cycle();
    top_->rst_ni = 1;
    cycle();
    cycles_ = 0;
#if P_CHECKED
    // Time begins after the reset: a waveform that held it would have two beginnings.
    if (!options.trace.empty()) {
      trace_ = std::make_unique<VerilatedFstC>();
      top_->trace(trace_.get(), 99);
      trace_->open(options.trace.c_str());
      if (!trace_->isOpen()) throw std::runtime_error(options.trace + ": cannot be written");
    }
#endif
  }
  ~NpuSimulation() override {
    flush_trace();
#ifdef P_COVERAGE
    static int written = 0;
    if (const char* folder = std::getenv("LASTMILE_COVERAGE"))
      context_->coveragep()->write(
          (folder + ("/" + std::to_string(getpid())) + "-" + std::to_string(written++) + ".dat")
              .c_str());
#endif
    // The model's scopes leave the thread's context, which another NPU may have changed.
    Verilated::threadContextp(context_.get());
  }

  std::uint32_t read_register(std::uint32_t offset) override {
    top_->s_axil_arvalid_i = 1;
    top_->s_axil_araddr_i = static_cast<SData>(offset);
    top_->s_axil_rready_i = 1;
    for (std::uint32_t i = 0; i < kRegisterPatience; ++i) {
      settle_inputs(*top_);
      const bool taken = top_->s_axil_arvalid_i && top_->s_axil_arready_o;
      const bool answered = top_->s_axil_rvalid_o;
      const std::uint32_t value = top_->s_axil_rdata_o;
      cycle();
      if (taken) top_->s_axil_arvalid_i = 0;
      if (answered) {
        top_->s_axil_rready_i = 0;
        return value;
      }
    }
    throw std::runtime_error("AXI4-Lite: no answer to a read of register " +
                             std::to_string(offset));
  }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    top_->s_axil_awvalid_i = top_->s_axil_wvalid_i = 1;
    top_->s_axil_awaddr_i = static_cast<SData>(offset);
    top_->s_axil_wdata_i = value;
    top_->s_axil_wstrb_i = 15;
    top_->s_axil_bready_i = 1;
    for (std::uint32_t i = 0; i < kRegisterPatience; ++i) {
      settle_inputs(*top_);
      const bool address = top_->s_axil_awvalid_i && top_->s_axil_awready_o;
      const bool data = top_->s_axil_wvalid_i && top_->s_axil_wready_o;
      const bool answered = top_->s_axil_bvalid_o;
      cycle();
      if (address) top_->s_axil_awvalid_i = 0;
      if (data) top_->s_axil_wvalid_i = 0;
      if (answered) {
        top_->s_axil_bready_i = 0;
        return;
      }
    }
    throw std::runtime_error("AXI4-Lite: no answer to a write of register " +
                             std::to_string(offset));
  }

  Stop run(std::uint64_t limit) override {
    in_access_ = committed_;
    if (in_access_) {
      committed_ = false;
      return Stop::commit;
    }
    for (std::uint64_t i = 0; i < limit; ++i) {
      if (interrupt()) return Stop::interrupt;
      if (!busy()) return Stop::idle;
      cycle();
      committed_ = false;
      if (top_->cmd_done_o) return Stop::commit;
    }
    return Stop::limit;
  }
  bool interrupt() const override { return top_->irq_o; }
  bool busy() const override { return top_->rootp->npu_sim__DOT__u_npu__DOT__busy; }
  std::uint32_t committed() const override { return top_->cmd_index_o; }
  std::uint64_t cycles() const override { return cycles_; }
  Counters counters() const override { return in_access_ ? at_commit_ : present_counters(); }

  std::span<std::byte> memory() override { return memory_.bytes(); }
  const std::vector<Range>& written() const override { return memory_.written(); }
  std::uint64_t written_bytes() const override { return memory_.written_bytes(); }
  void clear_written() override { memory_.clear_written(); }
  const BusMonitor& monitor() const override { return memory_.monitor(); }
  void restart(const MemoryOptions& memory) override { memory_.restart(memory); }
  void mark() override { mark_ = cycles_; }
#if P_INJECT
  std::vector<StateVariable> state() const override {
    std::vector<StateVariable> all;
    for (const auto& [scope, variable] : variables()) {
      const VerilatedVar& v = *variable;
      StateVariable s{scope->name(), v.name(), 1, 1};
      if (v.dims() > 0) s.bits = static_cast<std::uint32_t>(v.packed().elements());
      if (v.dims() > 1) s.elements = static_cast<std::uint32_t>(v.unpacked().elements());
      all.push_back(s);
    }
    return all;
  }
  void flip(std::size_t variable, std::uint32_t element, std::uint32_t bit) override {
    const VerilatedVar& v = *variables().at(variable).second;
    // Words of 8, 16, 32 and 64 bits, longer ones in words of 32.
    auto* bytes = static_cast<unsigned char*>(v.datap()) + std::size_t{element} * v.entSize();
    bytes[bit / 8] ^= static_cast<unsigned char>(1U << bit % 8);
    top_->eval();
  }
#endif
  void flush_trace() override {
#if P_CHECKED
    if (trace_) trace_->flush();
#endif
  }

 private:
#if P_INJECT
  [[nodiscard]] std::vector<std::pair<const VerilatedScope*, const VerilatedVar*>> variables()
      const {
    std::vector<std::pair<const VerilatedScope*, const VerilatedVar*>> all;
    for (const auto& [name, scope] : *context_->scopeNameMap()) {
      if (scope->varsp() == nullptr) continue;
      for (const auto& [variable, v] : *scope->varsp()) all.emplace_back(scope, &v);
    }
    return all;
  }
#endif
  Counters present_counters() const {
    Counters c;
    const auto& words =
        top_->rootp->npu_sim__DOT__u_npu__DOT__u_control__DOT__u_counters__DOT__count_q;
    static_assert(sizeof words == sizeof c);
    std::memcpy(c.data(), &words, sizeof c);
    return c;
  }
  void cycle() {
    if (top_->rst_ni) memory_.step(*top_);  // before that its outputs mean nothing
#if P_CHECKED
    top_->clk_i = top_->in_clk_i = 0;  // a falling edge for the waveform
    top_->eval();
    dump(0);
#endif
    rise(*top_);
    dump(1);
    ++cycles_;
    if (top_->rst_ni && top_->cmd_done_o) {
      committed_ = true;
      at_commit_ = present_counters();
    }
  }
  void dump([[maybe_unused]] std::uint64_t half) {
#if P_CHECKED
    if (!trace_) return;
    const std::uint64_t since = cycles_ - mark_;
    if (since < options_.trace_from) return;
    if (options_.trace_cycles != 0 && since >= options_.trace_from + options_.trace_cycles) return;
    trace_->dump(2 * cycles_ + half);
#endif
  }

  SimulationOptions options_;
  std::unique_ptr<VerilatedContext> context_;
  std::unique_ptr<Vnpu> top_;
#if P_CHECKED
  std::unique_ptr<VerilatedFstC> trace_;
#endif
  AxiMemory<Vnpu, P_BUS_BYTES> memory_;
  std::uint64_t cycles_ = 0, mark_ = 0;
  // A command that committed in a register access: run() reports it when it is called next, with
  // the counters of that cycle.
  bool committed_ = false, in_access_ = false;
  Counters at_commit_{};
};

}  // namespace
}  // namespace lastmile::sim

extern "C" lastmile::sim::Simulation* lastmile_open_simulation(
    const lastmile::sim::SimulationOptions& options) {
  return new lastmile::sim::NpuSimulation(options);
}

extern "C" std::uint64_t lastmile_simulation_interface() {
  return lastmile::sim::kSimulationInterface;
}
