// SPDX-License-Identifier: Apache-2.0
// A competing initiator: bursts to a range of its own, which it verifies when it reads them back.
#pragma once

#include <tlm_utils/simple_initiator_socket.h>

#include <vector>

#include "sim/systemc/base.hpp"

namespace lastmile::sim {

class TrafficGenerator : public sc_core::sc_module {
 public:
  tlm_utils::simple_initiator_socket<TrafficGenerator> socket;

  // Its range is [address, address + options.bytes).
  TrafficGenerator(sc_core::sc_module_name name, const Clock& clock, const TrafficOptions& options,
                   std::uint64_t address);

  void start() { go_.notify(sc_core::SC_ZERO_TIME); }
  void stop() { on_ = false; }
  [[nodiscard]] std::uint64_t transactions() const { return transactions_; }
  [[nodiscard]] std::uint64_t wrong() const { return wrong_; }  // errors, and bytes not as written

 private:
  void run();
  void burst();

  Clock clock_;
  TrafficOptions options_;
  std::uint64_t address_, random_;
  std::vector<unsigned char> expected_, buffer_;
  sc_core::sc_event go_;
  bool on_ = false;
  std::uint64_t transactions_ = 0, wrong_ = 0;
};

}  // namespace lastmile::sim
