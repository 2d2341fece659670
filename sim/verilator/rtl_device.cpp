// SPDX-License-Identifier: Apache-2.0
// Backend `rtl`: the Verilated NPU as a Device (liblastmile_rtl.so). Options: backend.hpp. A queue
// runs while the host waits for the interrupt.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "cmodel/spec/registers.hpp"
#include "sim/verilator/backend.hpp"
#include "sim/verilator/span_recorder.hpp"
#include "sw/base/stop.hpp"

namespace lastmile::sim {
namespace {

namespace reg = spec::reg;

class RtlDevice final : public Device {
 public:
  explicit RtlDevice(const DeviceOptions& options)
      : options_(parse_options(options)),
        trace_(options_.simulation),
        simulation_(open_simulation(options_)),
        predictor_(options.hardware, memory_timing(options_)) {}

  std::uint32_t read_register(std::uint32_t offset) override {
    return simulation_->read_register(offset);
  }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    if (offset == reg::kCtrl && spec::starts(value) && !simulation_->busy()) begin_queue();
    // A memory that has stopped for good answers again.
    if (offset == reg::kCtrl && spec::resets(value) && !first_)
      simulation_->restart(queue_memory(options_, position_, false));
    if (offset == reg::kQueueAddr) next_queue_ = value;
    if (offset == reg::kQueueCount) next_count_ = value;
    if (offset != reg::kCtrl) predictor_.write_register(offset, value);
    simulation_->write_register(offset, value);
  }
  void read_memory(std::uint32_t address, std::span<std::byte> to) override {
    const auto from = range(address, to.size());
    if (!to.empty()) std::memcpy(to.data(), from.data(), to.size());
  }
  void write_memory(std::uint32_t address, std::span<const std::byte> from) override {
    const auto to = range(address, from.size());
    if (!from.empty()) std::memcpy(to.data(), from.data(), from.size());
  }
  std::uint64_t memory_size() const override { return simulation_->memory().size(); }

  bool wait_interrupt() override {
    const std::uint64_t first = simulation_->cycles();
    queue_time_.start();
    const bool high = run_queue();
    queue_time_.stop();
    queue_cycles_ += simulation_->cycles() - first;
    return high;
  }
  void annotate(const std::string& what) override {
    position_.annotate(what);
    if (what != position_.step()) return;
    simulation_->mark();
    trace_.mark(simulation_->cycles());
  }
  std::string report() const override {
    const BusMonitor& bus = simulation_->monitor();
    nlohmann::json j = {{"simulated_cycles", simulation_->cycles()},
                        {"highest_address", bus.highest},
                        {"bus_read_beats", bus.read_beats},
                        {"bus_written_bytes", bus.written_bytes}};
    if (options_.spans) j["spans"] = spans_.json();
    report_speed(j, queue_cycles_, queue_time_);
    report_profile(j, profile_, options_);
    trace_.report(j, simulation_->cycles());
    return j.dump();
  }

 private:
  bool run_queue() {
    std::uint64_t left = options_.max_cycles;
    while (left > 0) {
      stop_if_asked();
      const std::uint64_t before = simulation_->cycles();
      const Stop stop = simulation_->run(options_.spans ? 1 : std::min(left, kAtATime));
      left -= std::min(left, simulation_->cycles() - before);
      if (options_.spans)
        spans_.cycle(position_.phase(), simulation_->cycles(), simulation_->counters());
      if (stop == Stop::commit) {
        const spec::DescriptorWords words = descriptor(simulation_->committed());
        Simulation::Counters now = simulation_->counters();
        ++now[static_cast<std::size_t>(spec::Counter::commands_)];
        const npu::Counters predicted = predictor_.commit(words);
        profile_.commit(position_.phase(), simulation_->committed(), spec::decode(words).opcode,
                        now, &predicted.value);
        simulation_->clear_written();
        if (options_.spans) {
          spans_.commit(position_.phase(), simulation_->cycles());
          const std::uint32_t next = simulation_->committed() + 1;
          // What lies behind the queue is no command.
          if (next < count_) spans_.begin_command(spec::decode(descriptor(next)), next);
        }
      } else if (stop != Stop::limit || left == 0) {
        return stop == Stop::interrupt;
      }
    }
    return false;
  }
  void begin_queue() {
    queue_ = next_queue_;
    count_ = next_count_;
    position_.begin_queue();
    profile_.begin_queue();
    predictor_.begin_queue();
    const MemoryOptions memory = queue_memory(options_, position_, first_);
    first_ = false;
    simulation_->restart(memory);
    simulation_->clear_written();
    if (options_.spans) {
      spans_.begin_queue(simulation_->cycles());
      spans_.begin_command(spec::decode(descriptor(0)), 0);
    }
  }
  [[nodiscard]] spec::DescriptorWords descriptor(std::uint32_t index) const {
    spec::DescriptorWords words{};
    const std::uint64_t at = std::uint64_t{queue_} + std::uint64_t{index} * spec::kDescBytes;
    const auto memory = simulation_->memory();
    if (at + spec::kDescBytes <= memory.size())
      std::memcpy(words.data(), memory.data() + at, spec::kDescBytes);
    return words;
  }
  [[nodiscard]] std::span<std::byte> range(std::uint32_t address, std::size_t bytes) const {
    const auto memory = simulation_->memory();
    if (bytes > memory.size() || address > memory.size() - bytes)
      throw std::out_of_range(
          fmt::format("rtl memory: {} bytes at {}, size {}", bytes, address, memory.size()));
    return memory.subspan(address, bytes);
  }

  BackendOptions options_;
  TraceRange trace_;
  std::unique_ptr<Simulation> simulation_;
  Position position_;
  Profile profile_;
  timing::Predictor predictor_;
  SpanRecorder spans_;
  std::uint32_t queue_ = 0, count_ = 0;  // address and commands of the queue that runs
  std::uint32_t next_queue_ = 0, next_count_ = 0;
  bool first_ = true;
  Stopwatch queue_time_;
  std::uint64_t queue_cycles_ = 0;
};

}  // namespace
}  // namespace lastmile::sim

extern "C" lastmile::Device* lastmile_open_device(const lastmile::DeviceOptions& options) {
  return new lastmile::sim::RtlDevice(options);
}
