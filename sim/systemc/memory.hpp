// SPDX-License-Identifier: Apache-2.0
// The memory: a TLM-2.0 target with the timing of a DRAM. Addresses start at 0 and every answer
// costs what MemoryTiming says; the data transfer itself is the bus's, unless the memory is slower.
#pragma once

#include <tlm_utils/peq_with_cb_and_phase.h>
#include <tlm_utils/simple_target_socket.h>

#include <cstddef>
#include <span>
#include <vector>

#include "sim/systemc/base.hpp"

namespace lastmile::sim {

struct MemoryCount {
  std::uint64_t row_hits = 0, row_opens = 0, row_conflicts = 0, refreshes = 0;
};

class MemoryTarget : public sc_core::sc_module {
 public:
  tlm_utils::simple_target_socket<MemoryTarget> socket;

  MemoryTarget(sc_core::sc_module_name name, const Clock& clock, const MemoryTiming& timing,
               std::uint64_t bytes, std::uint32_t bus_bytes);

  // Other timing from now on; pointers handed out for direct access are taken back.
  void set_timing(const MemoryTiming& timing);
  [[nodiscard]] std::span<std::byte> bytes() { return bytes_; }
  [[nodiscard]] const MemoryCount& count() const { return count_; }

 private:
  using Payload = tlm::tlm_generic_payload;
  struct Bank {
    std::uint64_t row = UINT64_MAX;  // UINT64_MAX: none open
    std::uint64_t refresh = 0;       // number of the refresh that closed it last
    Calendar busy;
  };

  void b_transport(Payload& p, sc_time& delay);
  tlm::tlm_sync_enum nb_transport(Payload& p, tlm::tlm_phase& phase, sc_time& delay);
  unsigned transport_dbg(Payload& p);
  bool get_direct_mem_ptr(Payload& p, tlm::tlm_dmi& dmi);
  void due(Payload& p, const tlm::tlm_phase& phase);
  void answer(Payload& p);
  void next_answer();

  // Moves the data and sets the status; false if nothing was moved.
  bool move(Payload& p);
  // Cycles from `at` to the end of the answer, without the bus.
  std::uint64_t access(std::uint64_t at, const Payload& p);
  std::uint64_t open_row(std::uint64_t at, std::uint64_t address);

  Clock clock_;
  MemoryTiming timing_;
  std::uint32_t bus_bytes_;
  std::vector<std::byte> bytes_;
  std::vector<Bank> banks_;
  Calendar reads_, writes_;
  bool responding_ = false;        // between BEGIN_RESP and its end there is no other one
  std::vector<Payload*> waiting_;  // whose answer is due
  MemoryCount count_;
  tlm_utils::peq_with_cb_and_phase<MemoryTarget> due_;
};

}  // namespace lastmile::sim
