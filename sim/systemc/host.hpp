// SPDX-License-Identifier: Apache-2.0
// The host: software in a thread of the simulation, a TLM initiator and an interrupt input. What
// the software gets is a Device, so the driver and the trainer run as they are.
#pragma once

#include <tlm_utils/simple_initiator_socket.h>

#include <functional>
#include <memory>
#include <string>

#include "sim/systemc/base.hpp"
#include "sw/device/device.hpp"

namespace lastmile::sim {

class Host : public sc_core::sc_module {
 public:
  tlm_utils::simple_initiator_socket<Host> socket;
  sc_core::sc_in<bool> irq;
  sc_core::sc_out<bool> reset;  // of the NPU

  using Software = std::function<void(Host&)>;
  Host(sc_core::sc_module_name name, const Clock& clock, const PlatformOptions& options,
       Software software);

  // A device on this platform's NPU; the one opened before it is out of use then. Only inside the
  // software. Throws Error(device) for an access that the bus answers with an error or not at all;
  // its wait_interrupt sleeps until the line is high or irq_timeout has passed.
  [[nodiscard]] std::unique_ptr<Device> open(const DeviceOptions& options);
  // Resets the NPU with its reset line.
  void reset_npu();
  // The host computes (or sleeps) for that long.
  void spend(std::uint64_t cycles);

  void start() { go_.notify(sc_core::SC_ZERO_TIME); }
  [[nodiscard]] bool started() const { return started_; }
  [[nodiscard]] bool finished() const { return finished_; }
  [[nodiscard]] const sc_core::sc_event& finished_event() const { return done_; }
  // What the software threw; empty if it returned.
  [[nodiscard]] const std::string& failure() const { return failure_; }
  // Wall time of the software, seconds.
  [[nodiscard]] double seconds() const { return seconds_; }
  [[nodiscard]] std::uint64_t waits() const { return waits_; }
  [[nodiscard]] std::uint64_t register_reads() const { return register_reads_; }

 private:
  class TlmDevice;
  friend class TlmDevice;

  void run();
  void access(tlm::tlm_command command, std::uint64_t address, void* data, std::size_t bytes);
  bool wait_for_interrupt();

  Clock clock_;
  PlatformOptions options_;
  Software software_;
  tlm_utils::tlm_quantumkeeper local_;
  sc_core::sc_event go_, done_;
  std::string failure_;
  double seconds_ = 0;
  bool started_ = false, finished_ = false;
  std::uint64_t lease_ = 0;  // of the device opened last
  std::uint64_t waits_ = 0, register_reads_ = 0;
};

}  // namespace lastmile::sim
