// SPDX-License-Identifier: Apache-2.0
// The Verilated RTL as a cycle-accurate NPU: clocked in SystemC, AXI4 bridged to its initiator
// socket, register transactions turned into AXI4-Lite ones (they take the simulated time that those
// take). The clock stands still while nothing is to do.
#pragma once

#include <memory>

#include "sim/systemc/axi_bridge.hpp"
#include "sim/systemc/npu_target.hpp"

namespace lastmile::sim {

class NpuRtl : public NpuTarget {
 public:
  NpuRtl(sc_core::sc_module_name name, const Clock& clock, const PlatformOptions& options);

  [[nodiscard]] Counters counters() const override { return {pins_->counters()}; }
  [[nodiscard]] std::uint64_t edges() const { return edges_; }

 private:
  struct Access {
    bool pending = false, write = false, address_taken = false, data_taken = false;
    std::uint32_t offset = 0, value = 0;
  };

  std::uint32_t read_register(std::uint32_t offset, sc_time& delay) override;
  void write_register(std::uint32_t offset, std::uint32_t value, sc_time& delay) override;
  bool peek_register(std::uint32_t offset, std::uint32_t& value) const override;
  tlm::tlm_sync_enum response(Payload& p, tlm::tlm_phase& phase, sc_time& delay) override;

  void run_access(sc_time& delay, const Access& access);
  void tick();
  void cycle();
  void wake_up();

  std::unique_ptr<Pins> pins_;
  AxiBridge bridge_;
  sc_core::sc_event wake_, access_done_, access_free_;
  Access access_;
  std::uint64_t edges_ = 0, next_edge_ = 0;  // earliest cycle of the next edge
  unsigned idle_ = 0;                        // edges since there was something to do
  bool was_busy_ = false;
};

}  // namespace lastmile::sim
