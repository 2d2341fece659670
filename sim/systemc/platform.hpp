// SPDX-License-Identifier: Apache-2.0
// One platform: host, NPU and a competing initiator, each behind a fault injector and a monitor, an
// interconnect, memory, an interrupt line. Ports of the interconnect: 0 host, 1 NPU, 2 traffic.
#pragma once

#include <memory>
#include <string>

#include "sim/systemc/faults.hpp"
#include "sim/systemc/host.hpp"
#include "sim/systemc/interconnect.hpp"
#include "sim/systemc/memory.hpp"
#include "sim/systemc/monitor.hpp"
#include "sim/systemc/npu_target.hpp"
#include "sim/systemc/traffic.hpp"

namespace lastmile::sim {

enum class Port { host, npu, traffic };
inline constexpr unsigned kPorts = 3;

class Platform : public sc_core::sc_module {
 public:
  Platform(sc_core::sc_module_name name, PlatformOptions options, Host::Software software);

  [[nodiscard]] Host& host() { return host_; }
  [[nodiscard]] NpuTarget& npu() { return *npu_; }
  [[nodiscard]] MemoryTarget& memory() { return memory_; }
  [[nodiscard]] Interconnect& bus() { return bus_; }
  [[nodiscard]] Monitor& monitor(Port port) { return monitors_[static_cast<unsigned>(port)]; }
  [[nodiscard]] BusFaults& faults(Port port) { return faults_[static_cast<unsigned>(port)]; }
  [[nodiscard]] InterruptLine& line() { return line_; }
  [[nodiscard]] TrafficGenerator& traffic() { return traffic_; }
  [[nodiscard]] sc_core::sc_signal<bool, sc_core::SC_MANY_WRITERS>& reset_line() { return reset_; }
  [[nodiscard]] const PlatformOptions& options() const { return options_; }

  [[nodiscard]] std::uint64_t violations();  // of all monitors
  // The NPU's bytes on the bus are those of its own counters.
  [[nodiscard]] bool bytes_match();

 private:
  PlatformOptions options_;
  Clock clock_;
  sc_core::sc_signal<bool, sc_core::SC_MANY_WRITERS> npu_irq_, host_irq_, reset_;
  Host host_;
  std::unique_ptr<NpuTarget> npu_;
  TrafficGenerator traffic_;
  sc_core::sc_vector<BusFaults> faults_;
  sc_core::sc_vector<Monitor> monitors_;
  Interconnect bus_;
  MemoryTarget memory_;
  InterruptLine line_;
};

// Runs platforms one after the other in one simulation, each until its host has finished or
// `most_cycles` of it have passed. Returns the names of those that did not finish.
[[nodiscard]] std::vector<std::string> run_platforms(const std::vector<Platform*>& platforms,
                                                     std::uint64_t most_cycles);

}  // namespace lastmile::sim
