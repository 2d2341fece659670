// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/interconnect.hpp"

#include <string>

namespace lastmile::sim {

Interconnect::Interconnect(sc_core::sc_module_name name, const Clock& clock,
                           const BusTiming& timing, const std::vector<MapEntry>& map,
                           unsigned initiators)
    : sc_module(name),
      in("in", initiators),
      out("out", static_cast<unsigned>(map.size())),
      clock_(clock),
      timing_(timing),
      map_(map),
      targets_(map.size()),
      waited_(initiators),
      not_before_(initiators) {
  timing_.share.resize(initiators, 100);
  for (unsigned i = 0; i < initiators; ++i) {
    const int tag = static_cast<int>(i);
    in[i].register_b_transport(this, &Interconnect::b_transport, tag);
    in[i].register_nb_transport_fw(this, &Interconnect::nb_transport_fw, tag);
    in[i].register_transport_dbg(this, &Interconnect::transport_dbg, tag);
    in[i].register_get_direct_mem_ptr(this, &Interconnect::get_direct_mem_ptr, tag);
  }
  for (unsigned i = 0; i < map.size(); ++i) {
    const int tag = static_cast<int>(i);
    out[i].register_nb_transport_bw(this, &Interconnect::nb_transport_bw, tag);
    out[i].register_invalidate_direct_mem_ptr(this, &Interconnect::invalidate, tag);
  }
}

int Interconnect::decode(std::uint64_t address, std::uint64_t bytes) const {
  for (std::size_t i = 0; i < map_.size(); ++i) {
    const MapEntry& m = map_[i];
    if (address >= m.base && address - m.base < m.bytes && bytes <= m.bytes - (address - m.base))
      return static_cast<int>(i);
  }
  return -1;
}

std::uint64_t Interconnect::transfer(const Payload& p) const {
  if (p.get_command() == tlm::TLM_IGNORE_COMMAND) return 0;
  const std::uint64_t offset = p.get_address() % timing_.bytes;
  return (offset + p.get_data_length() + timing_.bytes - 1) / timing_.bytes;
}

void Interconnect::arbitrate(unsigned from, int to, const Payload& p, sc_time& delay) {
  const sc_time now = sc_core::sc_time_stamp();
  const std::uint64_t length = transfer(p);
  const std::size_t direction = p.is_write() ? 1 : 0;
  const std::uint64_t arrives = clock_.count_up(now + delay);
  const std::uint32_t share = timing_.share[from];
  std::uint64_t& not_before = not_before_[from][direction];
  const std::uint64_t wanted = share < 100 ? std::max(arrives, not_before) : arrives;
  const std::uint64_t start = targets_[static_cast<std::size_t>(to)].busy[direction].reserve(
      clock_.count(now), wanted, length);
  if (share < 100) not_before = start + length * 100 / std::max(1U, share);
  if (start == arrives) return;
  waited_[from] += start - arrives;
  delay = clock_.cycles(start) - now;
}

void Interconnect::b_transport(int from, Payload& p, sc_time& delay) {
  const std::uint64_t address = p.get_address();
  const int to = decode(address, std::min(p.get_data_length(), p.get_streaming_width()));
  if (to < 0) {
    p.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
    delay += clock_.cycles(timing_.latency);
    return;
  }
  const auto target = static_cast<unsigned>(to);
  arbitrate(static_cast<unsigned>(from), to, p, delay);
  delay += clock_.cycles(timing_.latency);
  p.set_address(address - map_[target].base);
  out[target]->b_transport(p, delay);
  p.set_address(address);
  delay += clock_.cycles(transfer(p));
}

tlm::tlm_sync_enum Interconnect::nb_transport_fw(int from, Payload& p, tlm::tlm_phase& phase,
                                                 sc_time& delay) {
  if (phase != tlm::BEGIN_REQ) {  // END_RESP of a transaction that is known
    const auto known = origin_.find(&p);
    if (known == origin_.end()) {
      SC_REPORT_ERROR("interconnect", "nb_transport_fw: unknown transaction");
      return tlm::TLM_COMPLETED;
    }
    const int to = decode(p.get_address(), 1);
    origin_.erase(known);
    return to < 0 ? tlm::TLM_COMPLETED
                  : out[static_cast<unsigned>(to)]->nb_transport_fw(p, phase, delay);
  }
  const std::uint64_t address = p.get_address();
  const int to = decode(address, std::min(p.get_data_length(), p.get_streaming_width()));
  if (to < 0) {
    p.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
    delay += clock_.cycles(timing_.latency);
    return tlm::TLM_COMPLETED;
  }
  const auto target = static_cast<unsigned>(to);
  arbitrate(static_cast<unsigned>(from), to, p, delay);
  delay += clock_.cycles(timing_.latency);
  p.set_address(address - map_[target].base);
  origin_[&p] = from;
  const tlm::tlm_sync_enum answer = out[target]->nb_transport_fw(p, phase, delay);
  p.set_address(address);
  if (answer == tlm::TLM_COMPLETED || (answer == tlm::TLM_UPDATED && phase == tlm::BEGIN_RESP)) {
    delay += clock_.cycles(transfer(p));
    if (answer == tlm::TLM_COMPLETED) origin_.erase(&p);
  }
  return answer;
}

tlm::tlm_sync_enum Interconnect::nb_transport_bw(int, Payload& p, tlm::tlm_phase& phase,
                                                 sc_time& delay) {
  const auto known = origin_.find(&p);
  if (known == origin_.end()) {
    SC_REPORT_ERROR("interconnect", "nb_transport_bw: unknown transaction");
    return tlm::TLM_COMPLETED;
  }
  const auto from = static_cast<unsigned>(known->second);
  if (phase == tlm::BEGIN_RESP) delay += clock_.cycles(transfer(p));
  const tlm::tlm_sync_enum answer = in[from]->nb_transport_bw(p, phase, delay);
  if (answer == tlm::TLM_COMPLETED || (answer == tlm::TLM_UPDATED && phase == tlm::END_RESP))
    origin_.erase(&p);
  return answer;
}

unsigned Interconnect::transport_dbg(int, Payload& p) {
  const std::uint64_t address = p.get_address();
  const int to = decode(address, 1);
  if (to < 0) return 0;
  const auto target = static_cast<unsigned>(to);
  p.set_address(address - map_[target].base);
  const unsigned n = out[target]->transport_dbg(p);
  p.set_address(address);
  return n;
}

bool Interconnect::get_direct_mem_ptr(int, Payload& p, tlm::tlm_dmi& dmi) {
  const std::uint64_t address = p.get_address();
  const int to = decode(address, 1);
  if (to < 0) {
    dmi.allow_none();
    return false;
  }
  const auto target = static_cast<unsigned>(to);
  const MapEntry& m = map_[target];
  p.set_address(address - m.base);
  const bool granted = out[target]->get_direct_mem_ptr(p, dmi);
  p.set_address(address);
  dmi.set_start_address(dmi.get_start_address() + m.base);
  dmi.set_end_address(std::min<sc_dt::uint64>(dmi.get_end_address(), m.bytes - 1) + m.base);
  if (granted) {
    dmi.set_read_latency(dmi.get_read_latency() + clock_.cycles(timing_.latency));
    dmi.set_write_latency(dmi.get_write_latency() + clock_.cycles(timing_.latency));
  }
  return granted;
}

void Interconnect::invalidate(int to, sc_dt::uint64 first, sc_dt::uint64 last) {
  const MapEntry& m = map_[static_cast<std::size_t>(to)];
  for (unsigned i = 0; i < in.size(); ++i)
    in[i]->invalidate_direct_mem_ptr(first + m.base,
                                     std::min<sc_dt::uint64>(last, m.bytes - 1) + m.base);
}

}  // namespace lastmile::sim
