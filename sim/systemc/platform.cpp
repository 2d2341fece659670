// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/platform.hpp"

#include <utility>

namespace lastmile::sim {
namespace {

PlatformOptions settled(PlatformOptions o) {
  o.memory_bytes = (o.memory_bytes + 4095) / 4096 * 4096;
  return o;
}

// Starts each platform when the one before it is done.
class Sequencer : public sc_core::sc_module {
 public:
  Sequencer(sc_core::sc_module_name name, const std::vector<Platform*>& platforms,
            std::uint64_t most_cycles)
      : sc_module(name), platforms_(platforms), most_cycles_(most_cycles) {
    SC_HAS_PROCESS(Sequencer);
    SC_THREAD(run);
  }
  [[nodiscard]] const std::vector<std::string>& unfinished() const { return unfinished_; }

 private:
  void run() {
    for (Platform* p : platforms_) {
      const Clock clock(p->options().clock_ps);
      if (p->options().traffic.on) p->traffic().start();
      p->host().start();
      wait(clock.cycles(most_cycles_), p->host().finished_event());
      p->traffic().stop();
      if (!p->host().finished()) unfinished_.emplace_back(p->basename());
    }
    sc_core::sc_stop();
  }

  std::vector<Platform*> platforms_;
  std::uint64_t most_cycles_;
  std::vector<std::string> unfinished_;
};

}  // namespace

Platform::Platform(sc_core::sc_module_name name, PlatformOptions options, Host::Software software)
    : sc_module(name),
      options_(settled(std::move(options))),
      clock_(options_.clock_ps),
      npu_irq_("npu_irq"),
      host_irq_("host_irq"),
      reset_("reset"),
      host_("host", clock_, options_, std::move(software)),
      npu_(make_npu("npu", clock_, options_)),
      traffic_("traffic", clock_, options_.traffic, options_.memory_bytes),
      faults_("faults", kPorts,
              [this](const char* n, std::size_t) { return new BusFaults(n, clock_); }),
      monitors_("monitors", kPorts,
                [this](const char* n, std::size_t) { return new Monitor(n, clock_); }),
      bus_("bus", clock_, options_.bus,
           {{kMemoryBase, options_.memory_bytes + options_.traffic.bytes},
            {kRegisterBase, kRegisterBytes}},
           kPorts),
      memory_("memory", clock_, options_.memory, options_.memory_bytes + options_.traffic.bytes,
              options_.bus.bytes),
      line_("line", clock_) {
  host_.socket.bind(faults_[0].in);
  npu_->memory.bind(faults_[1].in);
  traffic_.socket.bind(faults_[2].in);
  for (unsigned i = 0; i < kPorts; ++i) {
    faults_[i].out.bind(monitors_[i].in);
    monitors_[i].out.bind(bus_.in[i]);
  }
  bus_.out[0].bind(memory_.socket);
  bus_.out[1].bind(npu_->registers);
  npu_->irq(npu_irq_);
  line_.in(npu_irq_);
  line_.out(host_irq_);
  host_.irq(host_irq_);
  host_.reset(reset_);
  npu_->reset(reset_);
  // What loosely timed initiators may run ahead; one for the whole simulation.
  tlm_utils::tlm_quantumkeeper::set_global_quantum(clock_.cycles(options_.quantum));
}

std::uint64_t Platform::violations() {
  std::uint64_t n = 0;
  for (unsigned i = 0; i < kPorts; ++i) n += monitors_[i].violations();
  return n;
}

bool Platform::bytes_match() {
  const NpuTarget::Counters& counted = npu_->total();
  const BusCount bus = monitor(Port::npu).count();
  return bus.read_bytes == counted.read_bytes() && bus.write_bytes == counted.written_bytes();
}

std::vector<std::string> run_platforms(const std::vector<Platform*>& platforms,
                                       std::uint64_t most_cycles) {
  Sequencer sequencer("sequencer", platforms, most_cycles);
  sc_core::sc_start();
  return sequencer.unfinished();
}

}  // namespace lastmile::sim
