// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/npu_target.hpp"

#include <cstring>

#include "sim/systemc/npu_model.hpp"
#include "sim/systemc/npu_rtl.hpp"

namespace lastmile::sim {

NpuTarget::NpuTarget(sc_core::sc_module_name name, const Clock& clock)
    : sc_module(name),
      registers("registers"),
      memory("memory"),
      irq("irq"),
      reset("reset"),
      clock_(clock) {
  registers.register_b_transport(this, &NpuTarget::b_transport);
  registers.register_transport_dbg(this, &NpuTarget::transport_dbg);
  registers.register_get_direct_mem_ptr(this, &NpuTarget::get_direct_mem_ptr);
  memory.register_nb_transport_bw(this, &NpuTarget::response);
}

void NpuTarget::b_transport(Payload& p, sc_time& delay) {
  const std::uint64_t offset = p.get_address();
  p.set_dmi_allowed(false);
  if (p.get_command() == tlm::TLM_IGNORE_COMMAND) {
    p.set_response_status(tlm::TLM_OK_RESPONSE);
  } else if (offset % 4 != 0 || offset >= kRegisterBytes) {
    p.set_response_status(tlm::TLM_ADDRESS_ERROR_RESPONSE);
  } else if (p.get_data_length() != 4 || p.get_streaming_width() < 4) {
    p.set_response_status(tlm::TLM_BURST_ERROR_RESPONSE);
  } else if (enabled_bytes(p) != 4) {
    p.set_response_status(tlm::TLM_BYTE_ENABLE_ERROR_RESPONSE);
  } else {
    std::uint32_t word = 0;
    if (p.is_read()) {
      word = read_register(static_cast<std::uint32_t>(offset), delay);
      std::memcpy(p.get_data_ptr(), &word, 4);
    } else {
      std::memcpy(&word, p.get_data_ptr(), 4);
      write_register(static_cast<std::uint32_t>(offset), word, delay);
    }
    p.set_response_status(tlm::TLM_OK_RESPONSE);
  }
}

unsigned NpuTarget::transport_dbg(Payload& p) {
  const std::uint64_t offset = p.get_address();
  std::uint32_t word = 0;
  if (!p.is_read() || offset % 4 != 0 || offset >= kRegisterBytes || p.get_data_length() < 4 ||
      !peek_register(static_cast<std::uint32_t>(offset), word))
    return 0;
  std::memcpy(p.get_data_ptr(), &word, 4);
  return 4;
}

bool NpuTarget::get_direct_mem_ptr(Payload&, tlm::tlm_dmi& dmi) {
  dmi.set_start_address(0);
  dmi.set_end_address(kRegisterBytes - 1);
  dmi.allow_none();
  return false;
}

tlm::tlm_sync_enum NpuTarget::response(Payload&, tlm::tlm_phase&, sc_time&) {
  SC_REPORT_ERROR("npu", "a response to no request");
  return tlm::TLM_COMPLETED;
}

void NpuTarget::queue_ended() {
  total_ += counters();
  ++queues_;
}

std::unique_ptr<NpuTarget> make_npu(const char* name, const Clock& clock,
                                    const PlatformOptions& options) {
  if (options.npu == NpuKind::rtl) return std::make_unique<NpuRtl>(name, clock, options);
  return std::make_unique<NpuModel>(name, clock, options);
}

}  // namespace lastmile::sim
