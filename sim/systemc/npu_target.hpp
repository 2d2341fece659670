// SPDX-License-Identifier: Apache-2.0
// The NPU as the platform sees it, whichever of the two is inside: a target socket for its
// registers (32-bit accesses, debug access, no direct access), an initiator socket for its memory
// traffic, an interrupt line, a reset line (high: reset).
#pragma once

#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include <memory>

#include "cmodel/spec/counters.hpp"
#include "sim/systemc/base.hpp"

namespace lastmile::sim {

class NpuTarget : public sc_core::sc_module {
 public:
  using Counters = spec::Counters;

  tlm_utils::simple_target_socket<NpuTarget> registers;
  tlm_utils::simple_initiator_socket<NpuTarget> memory;
  sc_core::sc_out<bool> irq;
  sc_core::sc_in<bool> reset;

  [[nodiscard]] virtual Counters counters() const = 0;  // since the start of the last queue
  // Counters of all queues together, each taken when it ended or was given up.
  [[nodiscard]] const Counters& total() const { return total_; }
  [[nodiscard]] std::uint64_t queues() const { return queues_; }

 protected:
  using Payload = tlm::tlm_generic_payload;
  NpuTarget(sc_core::sc_module_name name, const Clock& clock);

  // A register access that has been found legal; may wait.
  virtual std::uint32_t read_register(std::uint32_t offset, sc_time& delay) = 0;
  virtual void write_register(std::uint32_t offset, std::uint32_t value, sc_time& delay) = 0;
  // Without time and without side effects; false if the register cannot be seen so.
  virtual bool peek_register(std::uint32_t offset, std::uint32_t& value) const = 0;
  virtual tlm::tlm_sync_enum response(Payload& p, tlm::tlm_phase& phase, sc_time& delay);
  void queue_ended();

  Clock clock_;

 private:
  void b_transport(Payload& p, sc_time& delay);
  unsigned transport_dbg(Payload& p);
  bool get_direct_mem_ptr(Payload& p, tlm::tlm_dmi& dmi);

  Counters total_;
  std::uint64_t queues_ = 0;
};

[[nodiscard]] std::unique_ptr<NpuTarget> make_npu(const char* name, const Clock& clock,
                                                  const PlatformOptions& options);

}  // namespace lastmile::sim
