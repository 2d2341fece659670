// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/memory.hpp"

#include <cstring>

namespace lastmile::sim {

MemoryTarget::MemoryTarget(sc_core::sc_module_name name, const Clock& clock,
                           const MemoryTiming& timing, std::uint64_t bytes, std::uint32_t bus_bytes)
    : sc_module(name),
      socket("socket"),
      clock_(clock),
      timing_(timing),
      bus_bytes_(bus_bytes),
      bytes_(bytes),
      banks_(timing.banks),
      due_("due", this, &MemoryTarget::due) {
  socket.register_b_transport(this, &MemoryTarget::b_transport);
  socket.register_nb_transport_fw(this, &MemoryTarget::nb_transport);
  socket.register_transport_dbg(this, &MemoryTarget::transport_dbg);
  socket.register_get_direct_mem_ptr(this, &MemoryTarget::get_direct_mem_ptr);
}

void MemoryTarget::set_timing(const MemoryTiming& timing) {
  timing_ = timing;
  banks_ = std::vector<Bank>(timing.banks);
  socket->invalidate_direct_mem_ptr(0, bytes_.size() - 1);
}

bool MemoryTarget::move(Payload& p) {
  const std::uint64_t address = p.get_address();
  const std::uint64_t length = p.get_data_length();
  if (p.get_command() == tlm::TLM_IGNORE_COMMAND) {
    p.set_response_status(tlm::TLM_OK_RESPONSE);
    return true;
  }
  const std::uint64_t width = p.get_streaming_width();
  if (length == 0 || width == 0) {
    p.set_response_status(tlm::TLM_BURST_ERROR_RESPONSE);
    return false;
  }
  const std::uint64_t reach = std::min(width, length);
  if (address > bytes_.size() || reach > bytes_.size() - address) {
    p.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
    return false;
  }
  const unsigned char* enable = p.get_byte_enable_ptr();
  const unsigned enables = p.get_byte_enable_length();
  std::byte* const at = bytes_.data() + address;
  unsigned char* const data = p.get_data_ptr();
  const bool read = p.is_read();
  if (enable == nullptr && width >= length) {
    if (read) {
      std::memcpy(data, at, length);
    } else {
      std::memcpy(at, data, length);
    }
  } else {
    for (std::uint64_t i = 0; i < length; ++i) {
      if (enable != nullptr && enable[i % enables] == 0) continue;
      std::byte& cell = at[i % width];
      if (read) {
        data[i] = std::to_integer<unsigned char>(cell);
      } else {
        cell = std::byte{data[i]};
      }
    }
  }
  p.set_dmi_allowed(timing_.dmi && timing_.banks == 0);
  p.set_response_status(tlm::TLM_OK_RESPONSE);
  return true;
}

std::uint64_t MemoryTarget::open_row(std::uint64_t at, std::uint64_t address) {
  const std::uint64_t line = address / timing_.row_bytes;
  Bank& bank = banks_[line % timing_.banks];
  const std::uint64_t row = line / timing_.banks;
  if (timing_.refresh_interval != 0) {
    const std::uint64_t refresh = at / timing_.refresh_interval;
    if (refresh != bank.refresh) {
      bank.refresh = refresh;
      bank.row = UINT64_MAX;
      ++count_.refreshes;
    }
    // A refresh is at the start of each interval but the first.
    const std::uint64_t since = at % timing_.refresh_interval;
    if (refresh != 0 && since < timing_.refresh_cycles) at += timing_.refresh_cycles - since;
  }
  std::uint64_t busy = 0;
  if (bank.row == UINT64_MAX) {
    ++count_.row_opens;
    busy = timing_.activate;
  } else if (bank.row != row) {
    ++count_.row_conflicts;
    busy = timing_.precharge + timing_.activate;
  } else {
    ++count_.row_hits;
  }
  bank.row = row;
  const std::uint64_t now = clock_.count(sc_core::sc_time_stamp());
  return bank.busy.reserve(now, at, busy) + busy;
}

std::uint64_t MemoryTarget::access(std::uint64_t at, const Payload& p) {
  std::uint64_t ready = at;
  const std::uint64_t first = p.get_address();
  const std::uint64_t last = first + std::max<std::uint64_t>(1, p.get_data_length());
  if (timing_.banks != 0)
    for (std::uint64_t a = first; a < last; a += timing_.row_bytes - a % timing_.row_bytes)
      ready = open_row(ready, a);
  ready += timing_.latency;
  // What a slower memory needs beyond the bus's own transfer time.
  if (timing_.bandwidth != 0 && timing_.bandwidth < bus_bytes_) {
    const std::uint64_t bytes = last - first;
    const std::uint64_t slow = (bytes + timing_.bandwidth - 1) / timing_.bandwidth;
    const std::uint64_t bus = (bytes + bus_bytes_ - 1) / bus_bytes_;
    Calendar& channel = p.is_write() ? writes_ : reads_;
    const std::uint64_t now = clock_.count(sc_core::sc_time_stamp());
    ready = channel.reserve(now, ready, slow) + slow - bus;
  }
  return ready - at;
}

void MemoryTarget::b_transport(Payload& p, sc_time& delay) {
  const std::uint64_t at = clock_.count_up(sc_core::sc_time_stamp() + delay);
  if (move(p)) {
    delay += clock_.cycles(access(at, p));
  } else {
    delay += clock_.cycles(timing_.latency);
  }
}

tlm::tlm_sync_enum MemoryTarget::nb_transport(Payload& p, tlm::tlm_phase& phase, sc_time& delay) {
  if (phase == tlm::END_RESP) {
    p.release();
    next_answer();
    return tlm::TLM_COMPLETED;
  }
  if (phase != tlm::BEGIN_REQ) {
    SC_REPORT_ERROR("memory", "nb_transport_fw: phase is neither BEGIN_REQ nor END_RESP");
    return tlm::TLM_ACCEPTED;
  }
  const sc_time offset = delay;
  b_transport(p, delay);
  if (!timing_.four_phases) {
    phase = tlm::BEGIN_RESP;  // ignored with TLM_COMPLETED
    return tlm::TLM_COMPLETED;
  }
  p.acquire();
  due_.notify(p, tlm::BEGIN_RESP, delay);
  phase = tlm::END_REQ;
  delay = offset;
  return tlm::TLM_UPDATED;
}

void MemoryTarget::due(Payload& p, const tlm::tlm_phase&) {
  if (responding_) {
    waiting_.push_back(&p);
  } else {
    answer(p);
  }
}

void MemoryTarget::answer(Payload& p) {
  responding_ = true;
  tlm::tlm_phase phase = tlm::BEGIN_RESP;
  sc_time delay = sc_core::SC_ZERO_TIME;
  const tlm::tlm_sync_enum back = socket->nb_transport_bw(p, phase, delay);
  if (back == tlm::TLM_ACCEPTED) return;
  p.release();
  next_answer();
}

void MemoryTarget::next_answer() {
  responding_ = false;
  if (waiting_.empty()) return;
  Payload* next = waiting_.front();
  waiting_.erase(waiting_.begin());
  responding_ = true;
  due_.notify(*next, tlm::BEGIN_RESP, sc_core::SC_ZERO_TIME);
  responding_ = false;
}

unsigned MemoryTarget::transport_dbg(Payload& p) {
  const std::uint64_t address = p.get_address();
  if (address >= bytes_.size() || p.get_command() == tlm::TLM_IGNORE_COMMAND) return 0;
  const auto n =
      static_cast<unsigned>(std::min<std::uint64_t>(p.get_data_length(), bytes_.size() - address));
  if (p.is_read()) {
    std::memcpy(p.get_data_ptr(), bytes_.data() + address, n);
  } else {
    std::memcpy(bytes_.data() + address, p.get_data_ptr(), n);
  }
  return n;
}

bool MemoryTarget::get_direct_mem_ptr(Payload& p, tlm::tlm_dmi& dmi) {
  dmi.set_start_address(0);
  dmi.set_end_address(bytes_.size() - 1);
  if (!timing_.dmi || timing_.banks != 0 || p.get_address() >= bytes_.size()) {
    dmi.allow_none();
    return false;
  }
  dmi.set_dmi_ptr(static_cast<unsigned char*>(static_cast<void*>(bytes_.data())));
  dmi.set_read_latency(clock_.cycles(timing_.latency));
  dmi.set_write_latency(clock_.cycles(timing_.latency));
  dmi.allow_read_write();
  return true;
}

}  // namespace lastmile::sim
