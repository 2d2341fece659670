// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/monitor.hpp"

#include <fmt/format.h>

#include <cstring>

namespace lastmile::sim {
namespace {

constexpr std::array<const char*, kRules> kNames = {"initial status",
                                                    "command",
                                                    "data pointer",
                                                    "data length",
                                                    "streaming width",
                                                    "byte enables",
                                                    "dmi hint",
                                                    "final status",
                                                    "attributes",
                                                    "write data",
                                                    "time",
                                                    "in flight",
                                                    "memory manager",
                                                    "phase order",
                                                    "request exclusion",
                                                    "response exclusion",
                                                    "dmi range",
                                                    "debug length"};

}  // namespace

const char* name_of(Rule rule) { return kNames[static_cast<std::size_t>(rule)]; }

Monitor::Monitor(sc_core::sc_module_name name, const Clock& clock, bool deep)
    : sc_module(name), in("in"), out("out"), clock_(clock), deep_(deep) {
  in.register_b_transport(this, &Monitor::b_transport);
  in.register_nb_transport_fw(this, &Monitor::nb_transport_fw);
  in.register_transport_dbg(this, &Monitor::transport_dbg);
  in.register_get_direct_mem_ptr(this, &Monitor::get_direct_mem_ptr);
  out.register_nb_transport_bw(this, &Monitor::nb_transport_bw);
  out.register_invalidate_direct_mem_ptr(this, &Monitor::invalidate);
}

BusCount Monitor::count() const {
  BusCount c = count_;
  c.unanswered = flights_.size();
  return c;
}

std::uint64_t Monitor::violations() const {
  std::uint64_t n = 0;
  for (const std::uint64_t b : broken_) n += b;
  return n;
}

void Monitor::violation(Rule rule, const std::string& what) {
  if (broken_[static_cast<std::size_t>(rule)]++ == 0)
    messages_.push_back(fmt::format("{} at {}: {}: {}", name(),
                                    sc_core::sc_time_stamp().to_string(), name_of(rule), what));
}

Monitor::Attributes Monitor::attributes_of(const Payload& p) const {
  Attributes a{p.get_command(),
               p.get_data_ptr(),
               p.get_data_length(),
               p.get_byte_enable_length(),
               p.get_streaming_width(),
               p.get_byte_enable_ptr(),
               {}};
  if (deep_ && p.is_write() && a.data != nullptr) a.copy.assign(a.data, a.data + a.length);
  return a;
}

void Monitor::check_request(const Payload& p) {
  if (p.get_response_status() != tlm::TLM_INCOMPLETE_RESPONSE)
    violation(Rule::initial_status, p.get_response_string());
  const auto command = static_cast<unsigned>(p.get_command());
  if (command > static_cast<unsigned>(tlm::TLM_IGNORE_COMMAND))
    violation(Rule::command, fmt::format("{}", command));
  if (p.is_dmi_allowed()) violation(Rule::dmi_hint, "set in the request");
  if (p.get_command() == tlm::TLM_IGNORE_COMMAND) return;
  if (p.get_data_ptr() == nullptr) violation(Rule::data_pointer, "null");
  if (p.get_data_length() == 0) violation(Rule::data_length, "0");
  if (p.get_streaming_width() == 0) violation(Rule::streaming_width, "0");
  const unsigned char* enable = p.get_byte_enable_ptr();
  if (enable == nullptr) return;
  if (p.get_byte_enable_length() == 0) violation(Rule::byte_enables, "length 0");
  for (unsigned i = 0; i < p.get_byte_enable_length(); ++i) {
    if (enable[i] != 0 && enable[i] != 0xff) {
      violation(Rule::byte_enables, fmt::format("byte {} is {:#x}", i, enable[i]));
      break;
    }
  }
}

void Monitor::check_answer(const Payload& p, const Attributes& a) {
  if (p.get_response_status() == tlm::TLM_INCOMPLETE_RESPONSE)
    violation(Rule::final_status, "TLM_INCOMPLETE_RESPONSE");
  if (p.get_command() != a.command || p.get_data_ptr() != a.data ||
      p.get_data_length() != a.length || p.get_byte_enable_ptr() != a.enable ||
      p.get_byte_enable_length() != a.enable_length || p.get_streaming_width() != a.width) {
    violation(Rule::attributes, "changed by the target");
  } else if (!a.copy.empty() && std::memcmp(a.copy.data(), a.data, a.length) != 0) {
    violation(Rule::write_data, "changed by the target");
  }
}

void Monitor::count_answer(const Payload& p, std::uint64_t begin, const sc_time& delay) {
  const std::uint64_t end = clock_.count(sc_core::sc_time_stamp() + delay);
  if (p.get_command() == tlm::TLM_IGNORE_COMMAND) return;
  const std::uint64_t cycles = end > begin ? end - begin : 0;
  count_.latency += cycles;
  count_.most = std::max(count_.most, cycles);
  ++(p.is_read() ? count_.reads : count_.writes);
  if (!p.is_response_ok()) {
    ++count_.errors;
  } else {
    (p.is_read() ? count_.read_bytes : count_.write_bytes) += enabled_bytes(p);
  }
}

void Monitor::later(const char* call, const sc_time& before, const sc_time& after) {
  if (after < before)
    violation(Rule::time,
              fmt::format("{}: {} before, {} after", call, before.to_string(), after.to_string()));
}

void Monitor::b_transport(Payload& p, sc_time& delay) {
  check_request(p);
  const auto [flight, fresh] = flights_.try_emplace(&p);
  if (!fresh) violation(Rule::in_flight, "b_transport of a payload that is in flight");
  flight->second.blocking = true;
  const Attributes before = attributes_of(p);
  const sc_time begin = sc_core::sc_time_stamp() + delay;
  const std::uint64_t cycle = clock_.count(begin);
  out->b_transport(p, delay);
  later("b_transport", begin, sc_core::sc_time_stamp() + delay);
  check_answer(p, before);
  count_answer(p, cycle, delay);
  flights_.erase(&p);
}

void Monitor::answered(Flight& flight, const Payload& p, const sc_time& delay) {
  check_answer(p, flight.attributes);
  count_answer(p, flight.begin, delay);
  flight.state = State::answered;
}

// A phase that came from the target, by return or backward call.
void Monitor::forward_phase(Flight& flight, const tlm::tlm_phase& phase) {
  if (phase == tlm::END_REQ) {
    if (flight.state != State::requested) violation(Rule::phase_order, "END_REQ twice or late");
    flight.state = State::accepted;
    requesting_ = nullptr;
  } else if (phase == tlm::BEGIN_RESP) {
    if (flight.state == State::answered) violation(Rule::phase_order, "BEGIN_RESP twice");
    if (flight.state == State::requested) requesting_ = nullptr;  // implies END_REQ
  } else {
    violation(Rule::phase_order, "target sends neither END_REQ nor BEGIN_RESP");
  }
}

tlm::tlm_sync_enum Monitor::nb_transport_fw(Payload& p, tlm::tlm_phase& phase, sc_time& delay) {
  const sc_time begin = delay;
  if (phase == tlm::BEGIN_REQ) {
    check_request(p);
    if (!p.has_mm() || p.get_ref_count() < 1)
      violation(Rule::memory_manager, "BEGIN_REQ without one, or without a reference");
    if (requesting_ != nullptr)
      violation(Rule::request_exclusion, "BEGIN_REQ before the END_REQ of another");
    const auto [at, fresh] = flights_.try_emplace(&p);
    if (!fresh) violation(Rule::in_flight, "BEGIN_REQ of a payload that is in flight");
    at->second.attributes = attributes_of(p);
    at->second.state = State::requested;
    at->second.begin = clock_.count(sc_core::sc_time_stamp() + delay);
    requesting_ = &p;
  } else if (phase == tlm::END_RESP) {
    const auto at = flights_.find(&p);
    if (at == flights_.end() || at->second.state != State::answered) {
      violation(Rule::phase_order, "END_RESP without BEGIN_RESP");
    } else {
      flights_.erase(at);
    }
    if (responding_ == &p) responding_ = nullptr;
    return out->nb_transport_fw(p, phase, delay);
  } else {
    violation(Rule::phase_order, "initiator sends neither BEGIN_REQ nor END_RESP");
  }
  const tlm::tlm_sync_enum answer = out->nb_transport_fw(p, phase, delay);
  later("nb_transport_fw", begin, delay);
  const auto at = flights_.find(&p);
  if (at == flights_.end()) return answer;  // answered on the backward path meanwhile
  if (answer == tlm::TLM_COMPLETED) {
    answered(at->second, p, delay);
    if (requesting_ == &p) requesting_ = nullptr;
    flights_.erase(at);
  } else if (answer == tlm::TLM_UPDATED) {
    forward_phase(at->second, phase);
    if (phase == tlm::BEGIN_RESP) {
      if (responding_ != nullptr)
        violation(Rule::response_exclusion, "BEGIN_RESP before the END_RESP of another");
      answered(at->second, p, delay);
      responding_ = &p;
    }
  }
  return answer;
}

tlm::tlm_sync_enum Monitor::nb_transport_bw(Payload& p, tlm::tlm_phase& phase, sc_time& delay) {
  const sc_time begin = delay;
  const auto at = flights_.find(&p);
  if (at == flights_.end()) {
    violation(Rule::phase_order, "backward call for a payload that is not in flight");
    return in->nb_transport_bw(p, phase, delay);
  }
  forward_phase(at->second, phase);
  const bool response = phase == tlm::BEGIN_RESP;
  if (response) {
    if (responding_ != nullptr)
      violation(Rule::response_exclusion, "BEGIN_RESP before the END_RESP of another");
    answered(at->second, p, delay);
    responding_ = &p;
  }
  const tlm::tlm_sync_enum answer = in->nb_transport_bw(p, phase, delay);
  later("nb_transport_bw", begin, delay);
  if (answer == tlm::TLM_COMPLETED ||
      (answer == tlm::TLM_UPDATED && response && phase == tlm::END_RESP)) {
    if (responding_ == &p) responding_ = nullptr;
    if (requesting_ == &p) requesting_ = nullptr;
    flights_.erase(&p);
  } else if (answer == tlm::TLM_UPDATED) {
    violation(Rule::phase_order, "initiator answers with a phase that is not END_RESP");
  }
  return answer;
}

unsigned Monitor::transport_dbg(Payload& p) {
  const unsigned n = out->transport_dbg(p);
  if (n > p.get_data_length()) violation(Rule::debug_length, fmt::format("{}", n));
  return n;
}

bool Monitor::get_direct_mem_ptr(Payload& p, tlm::tlm_dmi& dmi) {
  const std::uint64_t address = p.get_address();
  const bool granted = out->get_direct_mem_ptr(p, dmi);
  if (granted && (address < dmi.get_start_address() || address > dmi.get_end_address()))
    violation(Rule::dmi_range, fmt::format("{:#x} is outside", address));
  return granted;
}

void Monitor::invalidate(sc_dt::uint64 first, sc_dt::uint64 last) {
  in->invalidate_direct_mem_ptr(first, last);
}

}  // namespace lastmile::sim
