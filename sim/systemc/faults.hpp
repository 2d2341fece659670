// SPDX-License-Identifier: Apache-2.0
// Faults between one initiator and the bus, and on the interrupt line.
#pragma once

#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include <deque>

#include "sim/systemc/base.hpp"

namespace lastmile::sim {

// Answers, delays or swallows transactions. A swallowed blocking transaction comes back with an
// error status a simulated second later (its initiator has given up by then), a swallowed
// non-blocking one never.
class BusFaults : public sc_core::sc_module {
 public:
  tlm_utils::simple_target_socket<BusFaults> in;
  tlm_utils::simple_initiator_socket<BusFaults> out;

  BusFaults(sc_core::sc_module_name name, const Clock& clock);

  void arm(const Fault& fault);  // counts from here
  [[nodiscard]] std::uint64_t hits() const { return hits_; }

 private:
  using Payload = tlm::tlm_generic_payload;
  void b_transport(Payload& p, sc_time& delay);
  tlm::tlm_sync_enum nb_transport_fw(Payload& p, tlm::tlm_phase& phase, sc_time& delay);
  tlm::tlm_sync_enum nb_transport_bw(Payload& p, tlm::tlm_phase& phase, sc_time& delay);
  unsigned debug(Payload& p);
  bool get_direct_mem_ptr(Payload& p, tlm::tlm_dmi& dmi);
  void invalidate(sc_dt::uint64 first, sc_dt::uint64 last);
  [[nodiscard]] Fault::Kind meets(const Payload& p);

  Clock clock_;
  Fault fault_;
  std::uint64_t seen_ = 0, hits_ = 0;
  std::deque<Payload*> kept_;  // swallowed, still referenced
};

// From the NPU to the host: rising edges can be late or lost; a line that falls takes a late edge
// with it.
class InterruptLine : public sc_core::sc_module {
 public:
  sc_core::sc_in<bool> in;
  sc_core::sc_out<bool> out;

  InterruptLine(sc_core::sc_module_name name, const Clock& clock);
  void arm(const InterruptFault& fault);
  [[nodiscard]] std::uint64_t hits() const { return hits_; }

 private:
  void change();
  void rise();

  Clock clock_;
  InterruptFault fault_;
  std::uint64_t seen_ = 0, hits_ = 0;
  sc_core::sc_event late_;
  bool level_ = false;
};

}  // namespace lastmile::sim
