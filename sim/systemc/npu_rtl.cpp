// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/npu_rtl.hpp"

#include "cmodel/spec/npu_identity.hpp"
#include "sim/verilator/backend.hpp"

namespace lastmile::sim {

namespace reg = spec::reg;

constexpr unsigned kIdleEdges = 8;  // until counters and the interrupt have settled

NpuRtl::NpuRtl(sc_core::sc_module_name name, const Clock& clock, const PlatformOptions& options)
    : NpuTarget(name, clock),
      pins_(open_pins(options.hardware)),
      bridge_(clock, static_cast<std::uint32_t>(options.hardware.bus_bytes),
              [this](Payload& p, tlm::tlm_phase& phase, sc_time& delay) {
                return memory->nb_transport_fw(p, phase, delay);
              }) {
  SC_HAS_PROCESS(NpuRtl);
  SC_METHOD(tick);
  sensitive << wake_;
  dont_initialize();
  SC_METHOD(wake_up);
  sensitive << reset;
  dont_initialize();
}

void NpuRtl::wake_up() {
  idle_ = 0;
  wake_.notify(sc_core::SC_ZERO_TIME);
}

void NpuRtl::tick() {
  const sc_time edge =
      clock_.cycles(std::max(next_edge_, clock_.count_up(sc_core::sc_time_stamp())));
  if (edge > sc_core::sc_time_stamp()) {
    next_trigger(edge - sc_core::sc_time_stamp());
    return;
  }
  cycle();
  next_edge_ = clock_.count(sc_core::sc_time_stamp()) + 1;
  if (idle_ < kIdleEdges) next_trigger(clock_.period());
}

void NpuRtl::cycle() {
  PinInputs& in = pins_->in;
  const PinOutputs& out = pins_->out;
  if (reset.read()) {
    bridge_.reset();
    in = PinInputs{};
    in.rst_n = false;
    if (was_busy_) queue_ended();
    was_busy_ = false;
    pins_->edge();
    irq.write(out.irq);
    return;
  }
  in.rst_n = true;
  bridge_.step(out, in);
  bool answered = false;
  if (access_.pending) {
    if (access_.write) {
      in.l_awvalid = !access_.address_taken;
      in.l_wvalid = !access_.data_taken;
      in.l_awaddr = static_cast<std::uint16_t>(access_.offset);
      in.l_wdata = access_.value;
      in.l_bready = true;
    } else {
      in.l_arvalid = !access_.address_taken;
      in.l_araddr = static_cast<std::uint16_t>(access_.offset);
      in.l_rready = true;
    }
    pins_->settle();
    if (access_.write) {
      access_.address_taken = access_.address_taken || out.l_awready;
      access_.data_taken = access_.data_taken || out.l_wready;
      answered = out.l_bvalid;
    } else {
      access_.address_taken = access_.address_taken || out.l_arready;
      answered = out.l_rvalid;
      access_.value = out.l_rdata;
    }
  }
  pins_->edge();
  ++edges_;
  if (answered) {
    in.l_awvalid = in.l_wvalid = in.l_arvalid = in.l_bready = in.l_rready = false;
    access_.pending = false;
    access_done_.notify(sc_core::SC_ZERO_TIME);
  }
  if (irq.read() != out.irq) irq.write(out.irq);
  const bool busy = pins_->busy();
  if (busy || access_.pending || bridge_.active()) {
    idle_ = 0;
  } else if (++idle_ == kIdleEdges / 2 && was_busy_) {
    was_busy_ = false;
    queue_ended();
  }
  was_busy_ = was_busy_ || busy;
}

void NpuRtl::run_access(sc_time& delay, const Access& access) {
  wait(delay);
  delay = sc_core::SC_ZERO_TIME;
  while (access_.pending) wait(access_free_);
  access_ = access;
  access_.pending = true;
  // A queue that follows another at once: the first one's counters are taken before.
  if (access.write && access.offset == reg::kCtrl && was_busy_ && !pins_->busy()) {
    was_busy_ = false;
    queue_ended();
  }
  wake_up();
  wait(access_done_);
  access_free_.notify(sc_core::SC_ZERO_TIME);
}

std::uint32_t NpuRtl::read_register(std::uint32_t offset, sc_time& delay) {
  run_access(delay, {.offset = offset});
  return access_.value;
}

void NpuRtl::write_register(std::uint32_t offset, std::uint32_t value, sc_time& delay) {
  run_access(delay, {.write = true, .offset = offset, .value = value});
}

bool NpuRtl::peek_register(std::uint32_t offset, std::uint32_t& value) const {
  if (offset == reg::kId) {
    value = spec::kMagic;
  } else if (offset == reg::kSpec) {
    value = spec::kSpecHash;
  } else if (offset >= reg::kCounter &&
             (offset - reg::kCounter) / reg::kCounterStride < spec::kCounters) {
    const std::uint64_t c = counters().value[(offset - reg::kCounter) / reg::kCounterStride];
    value = static_cast<std::uint32_t>((offset - reg::kCounter) % reg::kCounterStride != 0 ? c >> 32
                                                                                           : c);
  } else {
    return false;
  }
  return true;
}

tlm::tlm_sync_enum NpuRtl::response(Payload& p, tlm::tlm_phase& phase, sc_time& delay) {
  return bridge_.response(p, phase, delay);
}

}  // namespace lastmile::sim
