// SPDX-License-Identifier: Apache-2.0
// Backend `lockstep`: the C++ model and the Verilated NPU side by side behind one Device
// (liblastmile_lockstep.so). Options: sim/verilator/backend.hpp.
//
// A queue runs inside the register write that starts it. Whenever the RTL commits a command, the
// model executes the same one, and outputs, every byte written and all event counters must be
// equal; at the end of the queue status, error and loss registers. Before and after, both memories
// hold the same bytes, so the host reads those of the RTL. The first difference is an
// Error(mismatch). Bus errors and a watchdog that the options asked for (read_error, ...) are not
// differences: the model then takes over the RTL's memory.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <ctime>
#include <map>
#include <random>
#include <stdexcept>
#include <vector>

#include "cmodel/npu/npu.hpp"
#include "cmodel/spec/registers.hpp"
#include "sim/checkers/compare.hpp"
#include "sim/verilator/backend.hpp"
#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"

namespace lastmile::sim {
namespace {

namespace reg = spec::reg;
using spec::Counter;

// What the end of a queue leaves in registers.
constexpr std::array kResults = {
    reg::kStatus,  reg::kIrqStatus, reg::kErrorCode, reg::kErrorCommand, reg::kErrorInfo,
    reg::kCommand, reg::kLossLo,    reg::kLossHi,    reg::kCorrect,      reg::kExamples};

// Of registers that only LOSS writes.
bool of_loss(std::uint32_t offset) {
  return offset == reg::kLossLo || offset == reg::kLossHi || offset == reg::kCorrect ||
         offset == reg::kExamples;
}

class LockstepDevice final : public Device {
 public:
  explicit LockstepDevice(const DeviceOptions& options)
      : options_(parse_options(options)),
        trace_(options_.simulation),
        simulation_(open_simulation(options_)),
        memory_(simulation_->memory().size()),
        model_(options.hardware, memory_, options.threads, memory_timing(options_)),
        random_(options_.busy_writes) {}

  std::uint32_t read_register(std::uint32_t offset) override {
    const std::uint32_t rtl = simulation_->read_register(offset);
    const bool counter =
        offset >= reg::kCounter && offset < reg::kCounter + reg::kCounterStride * spec::kCounters;
    if (!faulty_ &&
        !(counter && !spec::kCounterIsEvent[(offset - reg::kCounter) / reg::kCounterStride]))
      same_register(offset, rtl);
    return rtl;
  }

  void write_register(std::uint32_t offset, std::uint32_t value) override {
    const bool control = offset == reg::kCtrl;
    const bool start = control && spec::starts(value);
    if (control && spec::resets(value)) {
      faulty_ = false;
      if (injected_) simulation_->restart(queue_memory(options_, position_, false));
    }
    if (start) begin_queue();
    simulation_->write_register(offset, value);
    if (!start) {
      model_.write_register(offset, value);
      return;
    }
    queue_time_.start();
    model_.start();
    run_queue();
    queue_time_.stop();
    queue_cycles_ += simulation_->cycles() - queue_cycle_;
  }

  void read_memory(std::uint32_t address, std::span<std::byte> to) override {
    const auto from = range(simulation_->memory(), address, to.size());
    if (to.empty()) return;
    std::memcpy(to.data(), from.data(), to.size());
    if (!faulty_ && std::memcmp(memory_.data() + address, to.data(), to.size()) != 0)
      differ("host read", fmt::format("{} bytes at 0x{:x}", to.size(), address), {}, {});
  }
  void write_memory(std::uint32_t address, std::span<const std::byte> from) override {
    const auto to = range(simulation_->memory(), address, from.size());
    if (from.empty()) return;
    std::memcpy(to.data(), from.data(), from.size());
    std::memcpy(memory_.data() + address, from.data(), from.size());
  }
  std::uint64_t memory_size() const override { return memory_.size(); }
  bool wait_interrupt() override { return simulation_->interrupt(); }

  void annotate(const std::string& what) override {
    position_.annotate(what);
    if (what != position_.step()) return;
    simulation_->mark();
    trace_.mark(simulation_->cycles());
    step_cycle_ = simulation_->cycles();
  }

  std::string report() const override {
    nlohmann::json j = {{"simulated_cycles", simulation_->cycles()},
                        {"queues", queues_},
                        {"commands", commands_},
                        {"compared", compared_},
                        {"differences", differences_},
                        {"cpu_seconds_checking", checking_time_.cpu()},
                        {"cycles_per_cpu_second_rtl",
                         rate(queue_cycles_, queue_time_.cpu() - checking_time_.cpu())}};
    report_speed(j, queue_cycles_, queue_time_);
    report_profile(j, profile_, options_);
    trace_.report(j, simulation_->cycles());
    if (!difference_.is_null()) j["difference"] = difference_;
    return j.dump();
  }

 private:
  void begin_queue() {
    position_.begin_queue();
    profile_.begin_queue();
    const MemoryOptions memory = queue_memory(options_, position_, queues_ == 0);
    injected_ = memory.read_error != 0 || memory.write_error != 0 || memory.hang != 0;
    ++queues_;
    simulation_->restart(memory);
    simulation_->clear_written();
    command_ = 0;
    queue_cycle_ = simulation_->cycles();
  }

  void run_queue() {
    for (;;) {
      const std::uint64_t used = simulation_->cycles() - queue_cycle_;
      if (used >= options_.max_cycles)
        differ("no end", fmt::format("the queue runs for {} cycles", used), {}, {});
      stop_if_asked();
      std::uint64_t limit = std::min(options_.max_cycles - used, kAtATime);
      if (options_.busy_writes != 0) limit = std::min<std::uint64_t>(limit, 1 + random_() % 500);
      const Stop stop = simulation_->run(limit);
      if (stop == Stop::limit) write_while_busy();
      checking_time_.start();
      if (stop == Stop::commit) commit();
      if (stop == Stop::interrupt || stop == Stop::idle) end_queue();
      checking_time_.stop();
      if (stop == Stop::interrupt || stop == Stop::idle) {
        restore_registers();
        return;
      }
    }
  }

  // Both sides run a queue with the registers as they were at its start: here the host sets up
  // another one meanwhile, badly.
  void write_while_busy() {
    if (options_.busy_writes == 0 || !simulation_->busy() || !model_.running()) return;
    const spec::Register& r = spec::kRegisters[random_() % spec::kRegisters.size()];
    if (!spec::latched(r)) return;
    const auto offset =
        r.offset + r.stride * static_cast<std::uint32_t>(random_() % std::max(r.count, 1U));
    overwritten_.try_emplace(offset, model_.read_register(offset));
    write_both(offset, static_cast<std::uint32_t>(random_()));
  }
  void restore_registers() {
    for (const auto& [offset, value] : overwritten_) write_both(offset, value);
    overwritten_.clear();
  }
  void write_both(std::uint32_t offset, std::uint32_t value) {
    simulation_->write_register(offset, value);
    model_.write_register(offset, value);
  }

  void commit() {
    if (simulation_->committed() != command_)
      differ("commit", "index of the command", simulation_->committed(), command_);
    model_.step();
    const auto code = static_cast<spec::Error>(model_.read_register(reg::kErrorCode));
    if (code != spec::Error::none_)
      differ("commit", fmt::format("the model ends in error {}", spec::to_string(code)), 0,
             static_cast<std::int64_t>(code));
    const spec::Descriptor& d = model_.last_command();
    check_memory(d);
    Simulation::Counters rtl = simulation_->counters();
    ++rtl[static_cast<std::size_t>(Counter::commands_)];
    // The next descriptor may be on its way already.
    check_counters(rtl, static_cast<std::uint64_t>(spec::kDescBytes / model_.hardware().bus_bytes));
    npu::Counters predicted = model_.last_timing().counters;
    predicted[Counter::cycles_] = model_.last_cycles();
    profile_.commit(position_.phase(), command_, d.opcode, rtl, &predicted.value);
    simulation_->clear_written();
    if (d.op() == spec::Opcode::loss_) loss_known_ = true;
    ++command_;
    ++commands_;
  }

  void check_memory(const spec::Descriptor& d) {
    const Region region = output_region(d);
    if (const auto found = compare_region(region, simulation_->memory(), memory_))
      differ(element_text(d, region, found->address), fmt::format("at 0x{:x}", found->address),
             found->rtl, found->model);
    compared_ += region.elements();
    for (const Range& r : simulation_->written()) {
      if (!region.holds(r))
        differ("write outside the output", fmt::format("0x{:x} to 0x{:x}", r.first, r.last), {},
               {});
    }
    if (simulation_->written_bytes() != region.bytes())
      differ("bytes written", "by the command",
             static_cast<std::int64_t>(simulation_->written_bytes()),
             static_cast<std::int64_t>(region.bytes()));
  }

  // fetched: read beats that the RTL may be ahead.
  void check_counters(const Simulation::Counters& rtl, std::uint64_t fetched = 0) {
    const npu::Counters& expected = model_.counters();
    for (std::size_t i = 0; i < rtl.size(); ++i) {
      if (!spec::kCounterIsEvent[i]) continue;
      ++compared_;
      const bool reads = static_cast<Counter>(i) == Counter::bus_read_beats_;
      if (rtl[i] - expected.value[i] > (reads ? fetched : 0))
        differ(fmt::format("counter {}", spec::kCounterName[i]), "since the start of the queue",
               static_cast<std::int64_t>(rtl[i]), static_cast<std::int64_t>(expected.value[i]));
    }
  }

  void end_queue() {
    const auto code = static_cast<spec::Error>(simulation_->read_register(reg::kErrorCode));
    if (injected_ && (code == spec::Error::bus_read_ || code == spec::Error::bus_write_ ||
                      code == spec::Error::watchdog_)) {
      faulty_ = true;
      loss_known_ = false;
      model_.write_register(reg::kCtrl, spec::kSoftReset);
      const auto bytes = simulation_->memory();
      std::memcpy(memory_.data(), bytes.data(), bytes.size());
      return;
    }
    // END and commands that are refused do not commit; the model reaches them here.
    if (model_.step()) differ("end of the queue", "the model would go on", {}, {});
    for (const std::uint32_t offset : kResults)
      same_register(offset, simulation_->read_register(offset));
    check_counters(simulation_->counters());
    if (!simulation_->written().empty())
      differ("write after the last command",
             fmt::format("at 0x{:x}", simulation_->written().front().first), {}, {});
  }

  void same_register(std::uint32_t offset, std::uint32_t rtl) {
    if (!loss_known_ && of_loss(offset)) return;
    const std::uint32_t expected = model_.read_register(offset);
    ++compared_;
    // After an error answers may still be due; the model's memory answers at once.
    if (offset == reg::kStatus) rtl &= ~reg::kStatusDraining.mask();
    if (rtl != expected)
      differ(fmt::format("register 0x{:03x} {}", offset, spec::register_name(offset)), "", rtl,
             expected);
  }

  // Of the command that has not committed yet, as it stands in memory.
  [[nodiscard]] std::string_view opcode() const {
    const std::uint64_t at = model_.parameter(reg::kQueueAddr) +
                             std::uint64_t{command_} * static_cast<std::uint64_t>(spec::kDescBytes);
    spec::DescriptorWords words;
    if (at + sizeof words > memory_.size()) return "?";
    std::memcpy(words.data(), memory_.data() + at, sizeof words);
    return spec::to_string(spec::decode(words).op());
  }

  [[noreturn]] void differ(const std::string& what, const std::string& where,
                           std::optional<std::int64_t> rtl, std::optional<std::int64_t> model) {
    ++differences_;
    simulation_->flush_trace();
    const std::uint64_t cycle = simulation_->cycles();
    difference_ = {{"step", position_.step()},
                   {"phase", position_.phase()},
                   {"command", command_},
                   {"opcode", opcode()},
                   {"what", what},
                   {"where", where},
                   {"cycle", cycle},
                   {"cycle_in_queue", cycle - queue_cycle_},
                   {"cycle_in_step", cycle - step_cycle_}};
    std::string values;
    if (rtl && model) {
      difference_["rtl"] = *rtl;
      difference_["model"] = *model;
      values = fmt::format(": RTL {}, model {}", *rtl, *model);
    }
    throw Error(ErrorKind::mismatch,
                fmt::format("lockstep: {}: command {} ({}): {}{}{}{}; cycle {} ({} of the queue, "
                            "{} of the step)",
                            position_.text(), command_, opcode(), what, where.empty() ? "" : " ",
                            where, values, cycle, cycle - queue_cycle_, cycle - step_cycle_));
  }

  [[nodiscard]] static std::span<std::byte> range(std::span<std::byte> memory,
                                                  std::uint32_t address, std::size_t bytes) {
    if (bytes > memory.size() || address > memory.size() - bytes)
      throw std::out_of_range(
          fmt::format("lockstep memory: {} bytes at {}, size {}", bytes, address, memory.size()));
    return memory.subspan(address, bytes);
  }

  BackendOptions options_;
  TraceRange trace_;
  std::unique_ptr<Simulation> simulation_;
  std::vector<std::byte> memory_;  // the model's
  npu::Npu model_;
  Position position_;
  Profile profile_;
  std::mt19937_64 random_;                              // of writes while a queue runs
  std::map<std::uint32_t, std::uint32_t> overwritten_;  // what the host had written before them
  bool injected_ = false;   // this queue runs with a fault from the options
  bool loss_known_ = true;  // no fault since the last LOSS: the model has executed it, too
  bool faulty_ = false;     // it struck: the registers differ until the next soft reset
  std::uint32_t command_ = 0;
  std::uint64_t queue_cycle_ = 0, step_cycle_ = 0, queue_cycles_ = 0;
  std::uint64_t queues_ = 0, commands_ = 0, compared_ = 0, differences_ = 0;
  Stopwatch queue_time_, checking_time_;
  nlohmann::json difference_;
};

}  // namespace
}  // namespace lastmile::sim

extern "C" lastmile::Device* lastmile_open_device(const lastmile::DeviceOptions& options) {
  return new lastmile::sim::LockstepDevice(options);
}
