// SPDX-License-Identifier: Apache-2.0
// The interconnect: decodes the address map, lets one transaction at a time through to each target
// and direction, and passes direct access and debug access on. A transaction takes a target for as
// many cycles as its data need on the bus; it gets the first gap at or after its own time, so that
// initiators that run ahead of each other (temporal decoupling) still contend for the same cycles.
// Equal times: first come. An initiator's share of a target can be limited.
#pragma once

#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include <array>
#include <unordered_map>
#include <vector>

#include "sim/systemc/base.hpp"

namespace lastmile::sim {

struct MapEntry {
  std::uint64_t base = 0, bytes = 0;
};

class Interconnect : public sc_core::sc_module {
 public:
  template <class T>
  using Sockets = sc_core::sc_vector<T>;
  // One of `in` for each initiator, one of `out` for each entry of the map.
  Sockets<tlm_utils::simple_target_socket_tagged<Interconnect>> in;
  Sockets<tlm_utils::simple_initiator_socket_tagged<Interconnect>> out;

  Interconnect(sc_core::sc_module_name name, const Clock& clock, const BusTiming& timing,
               const std::vector<MapEntry>& map, unsigned initiators);

  // Cycles that an initiator waited for others.
  [[nodiscard]] std::uint64_t waited(unsigned initiator) const { return waited_[initiator]; }

 private:
  using Payload = tlm::tlm_generic_payload;
  struct Target {
    std::array<Calendar, 2> busy;  // reads, writes
  };

  void b_transport(int from, Payload& p, sc_time& delay);
  tlm::tlm_sync_enum nb_transport_fw(int from, Payload& p, tlm::tlm_phase& phase, sc_time& delay);
  tlm::tlm_sync_enum nb_transport_bw(int to, Payload& p, tlm::tlm_phase& phase, sc_time& delay);
  unsigned transport_dbg(int from, Payload& p);
  bool get_direct_mem_ptr(int from, Payload& p, tlm::tlm_dmi& dmi);
  void invalidate(int to, sc_dt::uint64 first, sc_dt::uint64 last);

  [[nodiscard]] int decode(std::uint64_t address, std::uint64_t bytes) const;
  // Makes room for a transaction that arrives after `delay`; adds what it waits.
  void arbitrate(unsigned from, int to, const Payload& p, sc_time& delay);
  [[nodiscard]] std::uint64_t transfer(const Payload& p) const;

  Clock clock_;
  BusTiming timing_;
  std::vector<MapEntry> map_;
  std::vector<Target> targets_;
  std::vector<std::uint64_t> waited_;
  std::vector<std::array<std::uint64_t, 2>> not_before_;  // of limited initiators
  std::unordered_map<Payload*, int> origin_;              // of transactions with phases to come
};

}  // namespace lastmile::sim
