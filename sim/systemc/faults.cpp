// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/faults.hpp"

namespace lastmile::sim {

using Kind = Fault::Kind;

BusFaults::BusFaults(sc_core::sc_module_name name, const Clock& clock)
    : sc_module(name), in("in"), out("out"), clock_(clock) {
  in.register_b_transport(this, &BusFaults::b_transport);
  in.register_nb_transport_fw(this, &BusFaults::nb_transport_fw);
  in.register_transport_dbg(this, &BusFaults::debug);
  in.register_get_direct_mem_ptr(this, &BusFaults::get_direct_mem_ptr);
  out.register_nb_transport_bw(this, &BusFaults::nb_transport_bw);
  out.register_invalidate_direct_mem_ptr(this, &BusFaults::invalidate);
}

void BusFaults::arm(const Fault& fault) {
  fault_ = fault;
  seen_ = hits_ = 0;
  if (fault.kind != Kind::none) in->invalidate_direct_mem_ptr(0, UINT64_MAX);
}

Kind BusFaults::meets(const Payload& p) {
  if (fault_.kind == Kind::none || p.get_address() >= fault_.last ||
      p.get_address() + p.get_data_length() <= fault_.first)
    return Kind::none;
  if (p.is_read() ? !fault_.reads : !fault_.writes) return Kind::none;
  ++seen_;
  if (seen_ < fault_.n || seen_ - fault_.n >= fault_.count) return Kind::none;
  ++hits_;
  return fault_.kind;
}

void BusFaults::b_transport(Payload& p, sc_time& delay) {
  switch (meets(p)) {
    case Kind::error:
      p.set_response_status(tlm::TLM_GENERIC_ERROR_RESPONSE);
      delay += clock_.cycles(1);
      return;
    case Kind::drop:
      p.set_response_status(tlm::TLM_GENERIC_ERROR_RESPONSE);
      delay += sc_time(1, sc_core::SC_SEC);
      return;
    case Kind::delay:
      out->b_transport(p, delay);
      delay += clock_.cycles(fault_.cycles);
      return;
    case Kind::none:
      out->b_transport(p, delay);
  }
}

tlm::tlm_sync_enum BusFaults::nb_transport_fw(Payload& p, tlm::tlm_phase& phase, sc_time& delay) {
  if (phase != tlm::BEGIN_REQ) return out->nb_transport_fw(p, phase, delay);
  const Kind kind = meets(p);
  if (kind == Kind::error) {
    p.set_response_status(tlm::TLM_GENERIC_ERROR_RESPONSE);
    delay += clock_.cycles(1);
    return tlm::TLM_COMPLETED;
  }
  if (kind == Kind::drop) {
    p.acquire();
    kept_.push_back(&p);
    phase = tlm::END_REQ;
    return tlm::TLM_UPDATED;
  }
  const tlm::tlm_sync_enum answer = out->nb_transport_fw(p, phase, delay);
  if (kind == Kind::delay && answer == tlm::TLM_COMPLETED) delay += clock_.cycles(fault_.cycles);
  return answer;
}

tlm::tlm_sync_enum BusFaults::nb_transport_bw(Payload& p, tlm::tlm_phase& phase, sc_time& delay) {
  return in->nb_transport_bw(p, phase, delay);
}
unsigned BusFaults::debug(Payload& p) { return out->transport_dbg(p); }
void BusFaults::invalidate(sc_dt::uint64 first, sc_dt::uint64 last) {
  in->invalidate_direct_mem_ptr(first, last);
}

bool BusFaults::get_direct_mem_ptr(Payload& p, tlm::tlm_dmi& dmi) {
  if (fault_.kind == Kind::none) return out->get_direct_mem_ptr(p, dmi);
  dmi.allow_none();  // direct access would go past the fault
  return false;
}

InterruptLine::InterruptLine(sc_core::sc_module_name name, const Clock& clock)
    : sc_module(name), in("in"), out("out"), clock_(clock) {
  SC_HAS_PROCESS(InterruptLine);
  SC_METHOD(change);
  sensitive << in;
  dont_initialize();
  SC_METHOD(rise);
  sensitive << late_;
  dont_initialize();
}

void InterruptLine::arm(const InterruptFault& fault) {
  fault_ = fault;
  seen_ = hits_ = 0;
}

void InterruptLine::change() {
  const bool level = in.read();
  if (level == level_) return;
  level_ = level;
  if (!level) {
    late_.cancel();
    out.write(false);
    return;
  }
  ++seen_;
  if (fault_.n == 0 || seen_ < fault_.n || seen_ - fault_.n >= fault_.count) {
    out.write(true);
    return;
  }
  ++hits_;
  if (fault_.cycles != 0) late_.notify(clock_.cycles(fault_.cycles));
}

void InterruptLine::rise() { out.write(true); }

}  // namespace lastmile::sim
