// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/axi_bridge.hpp"

#include <fmt/format.h>

#include <cstring>
#include <stdexcept>
#include <utility>

namespace lastmile::sim {

AxiBridge::AxiBridge(const Clock& clock, std::uint32_t bus_bytes, Forward forward)
    : clock_(clock),
      bus_(bus_bytes),
      forward_(std::move(forward)),
      pool_(std::size_t{kMostBeats} * bus_bytes) {}

AxiBridge::Burst AxiBridge::burst(tlm::tlm_command command, std::uint8_t id, std::uint32_t address,
                                  unsigned length, unsigned size, unsigned type) {
  if (type != 1 || (1U << size) != bus_ || length >= kMostBeats || address % bus_ != 0 ||
      address % 4096 + (length + 1) * bus_ > 4096)
    throw std::runtime_error(
        fmt::format("AXI4 protocol: burst of {} beats of {} bytes, type {}, at {:#x}", length + 1,
                    1U << size, type, address));
  Burst b;
  b.id = id;
  b.beats = length + 1;
  b.payload = pool_.take(command, address, std::size_t{b.beats} * bus_);
  return b;
}

void AxiBridge::answer(Burst& b, const sc_time& delay) const {
  b.answered = true;
  const std::uint64_t end = clock_.count_up(sc_core::sc_time_stamp() + delay);
  b.due = end - std::min<std::uint64_t>(end, b.beats);
}

void AxiBridge::issue(Burst& b) {
  tlm::tlm_phase phase = tlm::BEGIN_REQ;
  sc_time delay = sc_core::SC_ZERO_TIME;
  switch (forward_(*b.payload, phase, delay)) {
    case tlm::TLM_COMPLETED:
      answer(b, delay);
      return;
    case tlm::TLM_UPDATED:
      if (phase != tlm::BEGIN_RESP) return;  // END_REQ
      answer(b, delay);
      phase = tlm::END_RESP;
      static_cast<void>(forward_(*b.payload, phase, delay));
      return;
    case tlm::TLM_ACCEPTED:
      requesting_ = b.payload;
  }
}

tlm::tlm_sync_enum AxiBridge::response(Payload& p, tlm::tlm_phase& phase, sc_time& delay) {
  if (requesting_ == &p) requesting_ = nullptr;
  if (phase == tlm::END_REQ) return tlm::TLM_ACCEPTED;
  for (std::deque<Burst>* bursts : {&reads_, &writes_})
    for (Burst& b : *bursts)
      if (b.payload == &p && !b.answered) {
        answer(b, delay);
        return tlm::TLM_COMPLETED;
      }
  p.release();  // of a burst from before a reset
  return tlm::TLM_COMPLETED;
}

void AxiBridge::reset() {
  for (std::deque<Burst>* bursts : {&reads_, &writes_}) {
    for (const Burst& b : *bursts)
      if (b.answered) b.payload->release();  // others when their answer comes
    bursts->clear();
  }
  for (const Burst& b : filling_) b.payload->release();
  filling_.clear();
  requesting_ = nullptr;
  read_offered_ = answer_offered_ = false;
  held_read_.reset();
  held_write_.reset();
  held_word_.reset();
}

bool AxiBridge::active() const {
  for (const Burst& b : reads_)
    if (b.answered) return true;
  for (const Burst& b : writes_)
    if (b.answered) return true;
  return false;
}

std::uint8_t AxiBridge::code(const Burst& b) const {
  switch (b.payload->get_response_status()) {
    case tlm::TLM_OK_RESPONSE:
      return 0;
    case tlm::TLM_ADDRESS_ERROR_RESPONSE:
      return 3;  // DECERR
    default:
      return 2;  // SLVERR
  }
}

std::size_t AxiBridge::pick(const std::deque<Burst>& bursts, std::uint64_t now) const {
  for (std::size_t i = 0; i < bursts.size(); ++i) {
    const Burst& b = bursts[i];
    if (b.answered) return b.due <= now ? i : bursts.size();
    // Without an answer: those of other IDs may pass.
    std::size_t next = i + 1;
    while (next < bursts.size() && !(bursts[next].answered && bursts[next].due <= now)) ++next;
    for (; next < bursts.size(); ++next) {
      bool blocked = !bursts[next].answered || bursts[next].due > now;
      for (std::size_t j = 0; j < next && !blocked; ++j) blocked = bursts[j].id == bursts[next].id;
      if (!blocked) return next;
    }
    return bursts.size();
  }
  return bursts.size();
}

void AxiBridge::take_word(const PinOutputs& out) {
  Burst& b = filling_.front();
  if (out.wlast != (b.done + 1 == b.beats))
    throw std::runtime_error("AXI4 protocol: WLAST is not at the last beat");
  const std::size_t at = std::size_t{b.done} * bus_;
  std::memcpy(b.payload->get_data_ptr() + at, out.wdata.data(), bus_);
  unsigned char* enable = PayloadPool::enables(*b.payload) + at;
  const std::uint64_t full = bus_ == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bus_) - 1;
  if (out.wstrb == full) {
    std::memset(enable, 0xff, bus_);
  } else {
    b.enabled = true;
    for (std::uint32_t i = 0; i < bus_; ++i) enable[i] = (out.wstrb >> i & 1) != 0 ? 0xff : 0;
  }
  if (++b.done < b.beats) return;
  if (b.enabled) {
    b.payload->set_byte_enable_ptr(PayloadPool::enables(*b.payload));
    b.payload->set_byte_enable_length(b.payload->get_data_length());
  }
  writes_.push_back(b);
  filling_.pop_front();
  issue(writes_.back());
}

void AxiBridge::step(const PinOutputs& out, PinInputs& in) {
  const std::uint64_t now = clock_.count(sc_core::sc_time_stamp());
  in.arready = requesting_ == nullptr && reads_.size() < kMost;
  held_read_.step(out.arvalid, in.arready, [&] {
    return AddressSignals{out.araddr, out.arid, out.arlen, out.arsize, out.arburst};
  });
  if (out.arvalid && in.arready) {
    reads_.push_back(
        burst(tlm::TLM_READ_COMMAND, out.arid, out.araddr, out.arlen, out.arsize, out.arburst));
    issue(reads_.back());
  }
  if (!read_offered_) {
    in.rvalid = false;
    // A burst that has begun goes on; else whose turn it is.
    if (reads_.empty() || read_ >= reads_.size() || reads_[read_].done == 0)
      read_ = pick(reads_, now);
    if (read_ < reads_.size()) {
      const Burst& b = reads_[read_];
      std::memcpy(in.rdata.data(), b.payload->get_data_ptr() + std::size_t{b.done} * bus_, bus_);
      in.rid = b.id;
      in.rresp = code(b);
      in.rlast = b.done + 1 == b.beats;
      in.rvalid = read_offered_ = true;
    }
  }
  if (read_offered_ && out.rready) {
    read_offered_ = false;
    Burst& b = reads_[read_];
    if (++b.done == b.beats) {
      b.payload->release();
      reads_.erase(reads_.begin() + static_cast<std::ptrdiff_t>(read_));
      read_ = reads_.size();
    }
  }

  in.awready = writes_.size() + filling_.size() < kMost;
  held_write_.step(out.awvalid, in.awready, [&] {
    return AddressSignals{out.awaddr, out.awid, out.awlen, out.awsize, out.awburst};
  });
  if (out.awvalid && in.awready)
    filling_.push_back(
        burst(tlm::TLM_WRITE_COMMAND, out.awid, out.awaddr, out.awlen, out.awsize, out.awburst));
  in.wready = !filling_.empty() && requesting_ == nullptr;
  held_word_.step(out.wvalid, in.wready, [&] {
    return WordSignals<BusWord>{out.wdata, out.wstrb, out.wlast};
  });
  if (out.wvalid && in.wready) take_word(out);

  if (!answer_offered_) {
    in.bvalid = false;
    answer_ = pick(writes_, now);
    if (answer_ < writes_.size()) {
      in.bid = writes_[answer_].id;
      in.bresp = code(writes_[answer_]);
      in.bvalid = answer_offered_ = true;
    }
  }
  if (answer_offered_ && out.bready) {
    answer_offered_ = false;
    writes_[answer_].payload->release();
    writes_.erase(writes_.begin() + static_cast<std::ptrdiff_t>(answer_));
  }
}

}  // namespace lastmile::sim
