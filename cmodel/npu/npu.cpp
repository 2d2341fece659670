// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/npu.hpp"

#include <stdexcept>
#include <string>
#include <utility>

#include "cmodel/command/traffic.hpp"
#include "cmodel/command/validate.hpp"
#include "cmodel/npu/array.hpp"
#include "cmodel/npu/depthwise.hpp"
#include "cmodel/npu/elementwise.hpp"
#include "cmodel/npu/loss.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/pool.hpp"
#include "cmodel/npu/update.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/spec/registers.hpp"
#include "cmodel/timing/predictor.hpp"

namespace lastmile::npu {

using spec::Counter;
using spec::Descriptor;
using spec::Opcode;

struct Npu::State {
  State(const spec::HardwareParams& params, std::span<std::byte> bytes, int threads,
        const timing::MemoryTiming& memory_timing, const Kernels& chosen,
        std::shared_ptr<timing::Predictions> predictions)
      : hw(params),
        memory(bytes),
        kernels(chosen),
        workers(threads),
        regs(params),
        array(kernels, workers.threads()),
        depthwise(kernels, workers.threads()),
        traffic(params),
        timing(params, memory_timing, std::move(predictions)),
        clock(params, memory_timing) {}

  Fault fetch(std::uint32_t index, Descriptor& d);
  void execute(const Descriptor& d);
  void compute(const Descriptor& d);
  const Counters& expected(const Descriptor& d);
  Perturbation weight_perturbation(const Descriptor& d) const;
  Perturbation bias_perturbation(const Descriptor& d) const;
  void count(const MatrixCount& c);

  spec::HardwareParams hw;
  Memory memory;
  const Kernels& kernels;
  Workers workers;
  RegisterFile regs;
  Array array;
  Depthwise depthwise;
  TrafficCache traffic;
  timing::TimingCache timing;
  timing::QueueClock clock;
  const timing::CommandTiming* last_timing = nullptr;
  std::uint64_t last_cycles = 0;
  Descriptor last;
  bool running = false;
  bool count_only = false;
};

Fault Npu::State::fetch(std::uint32_t index, Descriptor& d) {
  const std::uint64_t address = std::uint64_t{regs.parameter(spec::reg::kQueueAddr)} +
                                std::uint64_t{index} * spec::kDescBytes;
  if (address + spec::kDescBytes > memory.size())
    return {spec::Error::bus_read_, static_cast<std::uint32_t>(spec::Engine::fetch_)};
  spec::DescriptorWords words{};
  memory.copy_out(address, std::span<std::uint32_t>(words));
  regs.counters[Counter::cmd_bytes_] += spec::kDescBytes;
  regs.counters[Counter::bus_read_beats_] +=
      static_cast<std::uint64_t>(spec::kDescBytes / hw.bus_bytes);
  d = spec::decode(words);
  return {};
}

Perturbation Npu::State::weight_perturbation(const Descriptor& d) const {
  return {.on = regs.polarized() && d.has(spec::kFlagWTrain),
          .distribution = static_cast<Distribution>(regs.distribution()),
          .seed = regs.seed(),
          .mask_seed = regs.mask_seed(),
          .tensor = d.w_tensor,
          .eps = d.w_eps,
          .shift = static_cast<int>(d.w_eps_shift),
          .keep = d.w_keep,
          .minus = regs.polarity() == static_cast<std::uint32_t>(spec::Polarity::minus_),
          .limit = d.has(spec::kFlagW8) ? numeric::kW8Max : numeric::kW16Max};
}

Perturbation Npu::State::bias_perturbation(const Descriptor& d) const {
  Perturbation p = weight_perturbation(d);
  p.on = regs.polarized() && d.has(spec::kFlagBTrain) && d.has(spec::kFlagHasBias);
  p.tensor = d.b_tensor;
  p.eps = d.b_eps;
  p.shift = static_cast<int>(d.b_eps_shift);
  p.keep = d.b_keep;
  p.limit = numeric::kBiasMax;
  return p;
}

void Npu::State::count(const MatrixCount& c) {
  regs.counters[Counter::perturbed_] += c.perturbed.perturbed;
  regs.counters[Counter::clipped_] += c.perturbed.clipped;
  regs.counters[Counter::sat_low_] += c.saturated.low;
  regs.counters[Counter::sat_high_] += c.saturated.high;
}

void Npu::State::compute(const Descriptor& d) {
  const spec::OpcodeTraits& is = spec::traits(d.op());
  switch (is.result) {
    case spec::Result::none_:
      return;
    case spec::Result::elements_:
      if (is.layout == spec::Layout::rows_) {
        const Saturations s = run_rows(memory, d, kernels, workers);
        regs.counters[Counter::sat_low_] += s.low;
        regs.counters[Counter::sat_high_] += s.high;
      } else if (!is.weights) {
        run_pool(memory, d, kernels, workers);
      } else if (d.op() == Opcode::depthwise_) {
        count(depthwise.run(memory, d, weight_perturbation(d), bias_perturbation(d), workers));
      } else {
        count(array.run(memory, d, weight_perturbation(d), bias_perturbation(d), workers));
      }
      break;
    case spec::Result::losses_:
      regs.set_loss(run_loss(memory, d, regs.seed(), kernels, workers));
      break;
    case spec::Result::in_place_: {
      const UpdateCount c = run_update(memory, d, regs, kernels, workers);
      regs.counters[Counter::updated_] += c.updated;
      regs.counters[Counter::update_zero_] += c.zero;
      regs.counters[Counter::update_clipped_] += c.clipped;
      break;
    }
  }
}

void Npu::State::execute(const Descriptor& d) {
  if (d.op() == Opcode::end_) return;
  if (!count_only) compute(d);
  const TrafficMode mode = mode_of(d, regs);
  regs.counters += expected(d);
  last_timing = &timing.of(d, mode);
  const std::uint64_t before = regs.counters[Counter::cycles_];
  regs.counters += last_timing->counters;
  last_cycles = clock.command(*last_timing);
  regs.counters[Counter::cycles_] = before + last_cycles;
  ++regs.counters[Counter::commands_];
}

const Counters& Npu::State::expected(const Descriptor& d) {
  return traffic.of(d, mode_of(d, regs));
}

Npu::Npu(const spec::HardwareParams& hw, std::span<std::byte> memory, int threads,
         const timing::MemoryTiming& timing, const Kernels& kernels,
         std::shared_ptr<timing::Predictions> predictions) {
  if (const std::string_view bad = spec::bad_parameter(hw); !bad.empty()) {
    throw std::invalid_argument("hardware parameter " + std::string(bad) +
                                " outside the values npu.toml allows");
  }
  s_ = std::make_unique<State>(hw, memory, threads, timing, kernels, std::move(predictions));
}
Npu::~Npu() = default;

const spec::HardwareParams& Npu::hardware() const { return s_->hw; }
std::uint32_t Npu::read_register(std::uint32_t offset) const {
  return offset == spec::reg::kStatus && s_->running ? spec::reg::kStatusBusy.mask()
                                                     : s_->regs.read(offset);
}
std::uint32_t Npu::parameter(std::uint32_t offset) const { return s_->regs.parameter(offset); }
void Npu::reset() {
  s_->running = false;
  s_->regs.reset();
}
void Npu::count_only(bool on) { s_->count_only = on; }
bool Npu::interrupt() const { return s_->regs.interrupt(); }
const spec::Descriptor& Npu::last_command() const { return s_->last; }
const Counters& Npu::counters() const { return s_->regs.counters; }
const timing::CommandTiming& Npu::last_timing() const { return *s_->last_timing; }
std::uint64_t Npu::last_start() const { return s_->clock.started(); }
std::uint64_t Npu::last_cycles() const { return s_->last_cycles; }

void Npu::write_register(std::uint32_t offset, std::uint32_t value) {
  if (offset != spec::reg::kCtrl) {
    s_->regs.write(offset, value);
    return;
  }
  if (spec::resets(value)) {
    s_->running = false;
    s_->regs.soft_reset();
  } else if (spec::starts(value) && !s_->running) {
    start();
    s_->workers.enter([this] {
      while (step()) {
      }
    });
  }
}

void Npu::start() {
  RegisterFile& regs = s_->regs;
  regs.begin_queue();
  if (const Fault fault = validate_queue(regs)) {
    regs.fail(0, fault);
    return;
  }
  s_->clock.begin();
  s_->running = true;
}

bool Npu::step() {
  if (!prepare()) return false;
  execute();
  return commit();
}

bool Npu::prepare() {
  if (!s_->running) return false;
  RegisterFile& regs = s_->regs;
  Descriptor d;
  Fault fault = s_->fetch(regs.command(), d);
  if (!fault) fault = validate_command(d, regs, s_->hw, s_->last);
  if (!fault) fault = check_memory(s_->last, s_->memory.size());
  if (fault) {
    s_->running = false;
    regs.fail(regs.command(), fault);
    return false;
  }
  return true;
}

void Npu::execute() { s_->execute(s_->last); }

bool Npu::commit() {
  if (!s_->running) return false;
  RegisterFile& regs = s_->regs;
  const bool end = s_->last.op() == Opcode::end_;
  if (end || regs.command() + 1 == regs.parameter(spec::reg::kQueueCount)) {
    regs.counters[Counter::cycles_] += s_->clock.end(end);
    s_->running = false;
    regs.end_queue();
    return false;
  }
  regs.next_command();
  return true;
}

void Npu::fail(spec::Error code, std::uint32_t info) {
  if (!s_->running) return;
  s_->running = false;
  s_->regs.fail(s_->regs.command(), {code, info});
}

bool Npu::running() const { return s_->running; }
const Counters& Npu::expected() const {
  static const Counters kNothing{};
  return s_->last.op() == Opcode::end_ ? kNothing : s_->expected(s_->last);
}

}  // namespace lastmile::npu
