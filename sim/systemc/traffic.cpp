// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/traffic.hpp"

#include <cstring>

namespace lastmile::sim {
namespace {

std::uint64_t next(std::uint64_t& state) {  // xorshift64*
  state ^= state >> 12;
  state ^= state << 25;
  state ^= state >> 27;
  return state * 0x2545f4914f6cdd1dU >> 16;
}

}  // namespace

TrafficGenerator::TrafficGenerator(sc_core::sc_module_name name, const Clock& clock,
                                   const TrafficOptions& options, std::uint64_t address)
    : sc_module(name),
      socket("socket"),
      clock_(clock),
      options_(options),
      address_(address),
      random_(options.seed * 0x9e3779b97f4a7c15U + 1),
      expected_(options.bytes),
      buffer_(options.burst_bytes) {
  SC_HAS_PROCESS(TrafficGenerator);
  SC_THREAD(run);
}

void TrafficGenerator::run() {
  for (;;) {
    wait(go_);
    on_ = true;
    while (on_) {
      burst();
      wait(clock_.cycles(1 + options_.pause));
    }
  }
}

void TrafficGenerator::burst() {
  sc_time delay = sc_core::SC_ZERO_TIME;
  for (std::uint32_t i = 0; i < options_.bursts; ++i) {
    const std::uint64_t slots = options_.bytes / options_.burst_bytes;
    const std::uint64_t at = next(random_) % slots * options_.burst_bytes;
    const bool write = next(random_) % 100 < options_.write_percent;
    if (write)
      for (unsigned char& b : buffer_) b = static_cast<unsigned char>(next(random_));
    tlm::tlm_generic_payload p;
    set_up(p, write ? tlm::TLM_WRITE_COMMAND : tlm::TLM_READ_COMMAND, address_ + at, buffer_.data(),
           buffer_.size());
    socket->b_transport(p, delay);
    ++transactions_;
    if (!p.is_response_ok()) {
      ++wrong_;
    } else if (write) {
      std::memcpy(expected_.data() + at, buffer_.data(), buffer_.size());
    } else if (std::memcmp(expected_.data() + at, buffer_.data(), buffer_.size()) != 0) {
      ++wrong_;
    }
  }
  wait(delay);
}

}  // namespace lastmile::sim
