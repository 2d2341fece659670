// SPDX-License-Identifier: Apache-2.0
// What the modules share: SystemC and TLM headers, cycles as times, payloads, a calendar.
#pragma once

#include <algorithm>
#include <cstdint>
#include <iterator>
#include <map>
#include <memory>
#include <systemc>
#include <tlm>
#include <vector>

// After <systemc>, which it needs and does not include.
#include <tlm_utils/tlm_quantumkeeper.h>

#include "sim/systemc/options.hpp"

namespace lastmile::sim {

using sc_core::sc_time;

// Times as multiples of the clock period.
class Clock {
 public:
  explicit Clock(std::uint32_t picoseconds)
      : period_(static_cast<double>(picoseconds), sc_core::SC_PS) {}
  [[nodiscard]] sc_time period() const { return period_; }
  [[nodiscard]] sc_time cycles(std::uint64_t n) const {
    return sc_time::from_value(n * period_.value());
  }
  [[nodiscard]] std::uint64_t count(const sc_time& t) const { return t.value() / period_.value(); }
  // The first edge at or after t.
  [[nodiscard]] std::uint64_t count_up(const sc_time& t) const {
    return (t.value() + period_.value() - 1) / period_.value();
  }

 private:
  sc_time period_;
};

// Busy intervals of a resource that is asked for in any order of time: initiators that run ahead of
// the simulation reserve the future, and others still find the gaps before it.
class Calendar {
 public:
  // Takes `length` at the first gap that starts at or after `from`; returns its start. What ended
  // before `now` is forgotten.
  std::uint64_t reserve(std::uint64_t now, std::uint64_t from, std::uint64_t length) {
    while (!busy_.empty() && busy_.begin()->second < now) busy_.erase(busy_.begin());
    if (length == 0) return from;
    std::uint64_t start = from;
    auto next = busy_.upper_bound(start);
    if (next != busy_.begin()) start = std::max(start, std::prev(next)->second);
    while (next != busy_.end() && next->first < start + length) start = (next++)->second;
    std::uint64_t last = start + length;
    if (next != busy_.end() && next->first == last) {
      last = next->second;
      next = busy_.erase(next);
    }
    if (next != busy_.begin() && std::prev(next)->second == start) {
      std::prev(next)->second = last;
    } else {
      busy_.emplace_hint(next, start, last);
    }
    return start;
  }

 private:
  std::map<std::uint64_t, std::uint64_t> busy_;  // start to end, disjoint
};

// Bytes that a payload really moves.
[[nodiscard]] inline std::uint64_t enabled_bytes(const tlm::tlm_generic_payload& p) {
  const unsigned char* enable = p.get_byte_enable_ptr();
  if (enable == nullptr) return p.get_data_length();
  std::uint64_t n = 0;
  for (unsigned i = 0; i < p.get_data_length(); ++i)
    n += enable[i % p.get_byte_enable_length()] != 0 ? 1 : 0;
  return n;
}

// A payload for one blocking access.
inline void set_up(tlm::tlm_generic_payload& p, tlm::tlm_command command, std::uint64_t address,
                   void* data, std::size_t bytes) {
  p.set_command(command);
  p.set_address(address);
  p.set_data_ptr(static_cast<unsigned char*>(data));
  p.set_data_length(static_cast<unsigned>(bytes));
  p.set_streaming_width(static_cast<unsigned>(bytes));
  p.set_byte_enable_ptr(nullptr);
  p.set_byte_enable_length(0);
  p.set_dmi_allowed(false);
  p.set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
}

// Payloads for non-blocking transport, with a data and a byte enable buffer each.
class PayloadPool final : public tlm::tlm_mm_interface {
 public:
  explicit PayloadPool(std::size_t bytes) : bytes_(bytes) {}
  PayloadPool(const PayloadPool&) = delete;
  PayloadPool& operator=(const PayloadPool&) = delete;
  ~PayloadPool() override = default;

  // With one reference, set up but for its byte enables.
  tlm::tlm_generic_payload* take(tlm::tlm_command command, std::uint64_t address,
                                 std::size_t bytes) {
    if (free_.empty()) {
      entries_.push_back(std::make_unique<Entry>(this, bytes_));
      free_.push_back(entries_.back().get());
    }
    Entry* e = free_.back();
    free_.pop_back();
    set_up(*e, command, address, e->data.data(), bytes);
    e->acquire();
    return e;
  }
  // The buffer for byte enables of a payload of this pool.
  static unsigned char* enables(tlm::tlm_generic_payload& p) {
    return static_cast<Entry&>(p).enable.data();
  }
  void free(tlm::tlm_generic_payload* p) override {
    p->reset();
    free_.push_back(static_cast<Entry*>(p));
  }
  [[nodiscard]] std::size_t in_use() const { return entries_.size() - free_.size(); }

 private:
  struct Entry final : tlm::tlm_generic_payload {
    Entry(tlm::tlm_mm_interface* owner, std::size_t bytes)
        : tlm_generic_payload(owner), data(bytes), enable(bytes) {}
    std::vector<unsigned char> data, enable;
  };
  std::size_t bytes_;
  std::vector<std::unique_ptr<Entry>> entries_;
  std::vector<Entry*> free_;
};

}  // namespace lastmile::sim
