// SPDX-License-Identifier: Apache-2.0
// A bus monitor between one initiator and what it is bound to: counts transactions, bytes and
// latency, and holds both sides to the rules of the TLM-2.0 base protocol (IEEE 1666-2011, 14 and
// 15): payload attributes, order and exclusion of phases, annotated time. It changes nothing.
#pragma once

#include <tlm_utils/simple_initiator_socket.h>
#include <tlm_utils/simple_target_socket.h>

#include <array>
#include <string>
#include <unordered_map>
#include <vector>

#include "sim/systemc/base.hpp"

namespace lastmile::sim {

enum class Rule : std::size_t {
  initial_status,      // a request starts with TLM_INCOMPLETE_RESPONSE
  command,             // READ, WRITE or IGNORE
  data_pointer,        // there is data for a read or write
  data_length,         // more than 0
  streaming_width,     // more than 0
  byte_enables,        // a length if there is a pointer; values 0x00 and 0xff
  dmi_hint,            // a request starts without it
  final_status,        // an answer has another status than TLM_INCOMPLETE_RESPONSE
  attributes,          // targets change no attribute but address, status, data of reads, hint
  write_data,          // ... and no data of writes
  time,                // annotated time does not run backwards
  in_flight,           // a payload is not used again before it has come back
  memory_manager,      // non-blocking payloads are counted
  phase_order,         // BEGIN_REQ, END_REQ, BEGIN_RESP, END_RESP, from the side that may
  request_exclusion,   // one request without END_REQ at a time
  response_exclusion,  // one response without END_RESP at a time
  dmi_range,           // a granted range holds the address asked for
  debug_length,        // debug access moves at most what was asked for
};
inline constexpr std::size_t kRules = 18;
[[nodiscard]] const char* name_of(Rule rule);

struct BusCount {
  std::uint64_t reads = 0, writes = 0, read_bytes = 0, write_bytes = 0, errors = 0;
  std::uint64_t unanswered = 0;         // requests in flight
  std::uint64_t latency = 0, most = 0;  // cycles from request to answer, sum and largest
  [[nodiscard]] double mean_latency() const {
    const std::uint64_t n = reads + writes;
    return n == 0 ? 0 : static_cast<double>(latency) / static_cast<double>(n);
  }
};

class Monitor : public sc_core::sc_module {
 public:
  tlm_utils::simple_target_socket<Monitor> in;
  tlm_utils::simple_initiator_socket<Monitor> out;

  // deep: also compares the data of writes (a copy each).
  Monitor(sc_core::sc_module_name name, const Clock& clock, bool deep = false);

  [[nodiscard]] BusCount count() const;
  [[nodiscard]] std::uint64_t violations() const;
  [[nodiscard]] std::uint64_t violations(Rule rule) const {
    return broken_[static_cast<std::size_t>(rule)];
  }
  // The first one of each rule, as text.
  [[nodiscard]] const std::vector<std::string>& messages() const { return messages_; }

 private:
  using Payload = tlm::tlm_generic_payload;
  struct Attributes {
    tlm::tlm_command command = tlm::TLM_IGNORE_COMMAND;
    unsigned char* data = nullptr;
    unsigned length = 0, enable_length = 0, width = 0;
    unsigned char* enable = nullptr;
    std::vector<unsigned char> copy;
  };
  enum class State { requested, accepted, answered };
  struct Flight {
    Attributes attributes;
    State state = State::requested;
    std::uint64_t begin = 0;  // cycles
    bool blocking = false;
  };

  void b_transport(Payload& p, sc_time& delay);
  tlm::tlm_sync_enum nb_transport_fw(Payload& p, tlm::tlm_phase& phase, sc_time& delay);
  tlm::tlm_sync_enum nb_transport_bw(Payload& p, tlm::tlm_phase& phase, sc_time& delay);
  unsigned transport_dbg(Payload& p);
  bool get_direct_mem_ptr(Payload& p, tlm::tlm_dmi& dmi);
  void invalidate(sc_dt::uint64 first, sc_dt::uint64 last);

  void violation(Rule rule, const std::string& what);
  [[nodiscard]] Attributes attributes_of(const Payload& p) const;
  void check_request(const Payload& p);
  void check_answer(const Payload& p, const Attributes& before);
  void count_answer(const Payload& p, std::uint64_t begin, const sc_time& end);
  void later(const char* call, const sc_time& before, const sc_time& after);
  // Bookkeeping of an answer or the end of one; returns whether the transaction is over.
  void answered(Flight& flight, const Payload& p, const sc_time& delay);
  void forward_phase(Flight& flight, const tlm::tlm_phase& phase);

  Clock clock_;
  bool deep_;
  BusCount count_;
  std::array<std::uint64_t, kRules> broken_{};
  std::vector<std::string> messages_;
  std::unordered_map<const Payload*, Flight> flights_;
  const Payload* requesting_ = nullptr;  // between BEGIN_REQ and END_REQ
  const Payload* responding_ = nullptr;  // between BEGIN_RESP and END_RESP
};

}  // namespace lastmile::sim
