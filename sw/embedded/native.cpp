// SPDX-License-Identifier: Apache-2.0
#include "sw/embedded/native.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/compiler/compile.hpp"

namespace {

struct TrainingBoard {
  lastmile::FixedTarget& target;
  lastmile::BatchSampler sampler;
  std::FILE* journal;
};
struct ReadoutBoard {
  const lastmile::Program& program;
  const lastmile::Dataset& data;
  const lastmile::ReadoutSplit& split;
  const lastmile::TensorPlace& weights;
  std::array<std::vector<std::byte>, LM_COPIES> copies;
};

}  // namespace

struct lm_port {
  lastmile::Device& device;
  TrainingBoard* training;
  ReadoutBoard* readout;
};

uint32_t lm_port_read(lm_port* port, uint32_t offset) { return port->device.read_register(offset); }
void lm_port_write(lm_port* port, uint32_t offset, uint32_t value) {
  port->device.write_register(offset, value);
}
int lm_port_wait(lm_port* port) { return port->device.wait_interrupt() ? 0 : 1; }
int lm_port_batch(lm_port* port, uint32_t step) {
  port->training->target.set_batch(port->training->sampler.batch(step));
  return 0;
}
int lm_port_append(lm_port* port, const uint8_t* record, uint32_t bytes) {
  std::FILE* journal = port->training->journal;
  return std::fwrite(record, 1, bytes, journal) == bytes && std::fflush(journal) == 0 ? 0 : 1;
}
int lm_port_records(lm_port* port, uint32_t first) {
  const ReadoutBoard& b = *port->readout;
  const lastmile::Program& p = b.program;
  const auto batch = static_cast<std::size_t>(p.batch);
  const auto each = static_cast<std::size_t>(p.input.elements());
  const auto width = static_cast<std::size_t>(p.label_bytes);
  std::vector<std::int8_t> x;
  std::vector<std::byte> labels(batch * width, std::byte{0xff});
  for (std::size_t i = 0; i < batch && first + i < b.split.order.size(); ++i) {
    const std::size_t example = b.split.order[first + i];
    x.resize(x.size() + each);
    lastmile::quantize_activations(std::span(b.data.x).subspan(example * each, each), p.input_quant,
                                   std::span(x).last(each));
    std::memcpy(labels.data() + i * width, &b.data.y[example], width);
  }
  if (!x.empty()) port->device.write_memory(p.batch_address, std::as_bytes(std::span(x)));
  port->device.write_memory(p.readout->label_address + static_cast<std::uint32_t>(first * width),
                            labels);
  return 0;
}
int lm_port_keep(lm_port* port, uint32_t copy) {
  ReadoutBoard& b = *port->readout;
  b.copies[copy].resize(static_cast<std::size_t>(b.weights.rows) * b.weights.pitch);
  port->device.read_memory(b.weights.address, b.copies[copy]);
  return 0;
}
int lm_port_restore(lm_port* port, uint32_t copy) {
  port->device.write_memory(port->readout->weights.address, port->readout->copies[copy]);
  return 0;
}

namespace lastmile {
namespace {

static_assert(LM_PROBES == numeric::kScaleProbes && LM_MAX_PAIRS == spec::kMaxPairs);
static_assert(LM_COEF_MAX == 127);  // its seven bits and 254 = 2^8 - 2 are in lm_host.c

struct Close {
  void operator()(std::FILE* file) const { std::fclose(file); }
};

std::uint32_t last_word(const std::vector<std::uint8_t>& bytes, std::size_t end) {
  std::uint32_t v = 0;
  for (std::size_t i = 0; i < 4; ++i) v |= std::uint32_t{bytes[end - 4 + i]} << (8 * i);
  return v;
}

// What does not depend on the kind of run; the driver has compared the hardware.
lm_plan plan_for(Device& device, const Program& p) {
  lm_plan plan{};
  plan.hw0 = device.read_register(spec::reg::kHw0);
  plan.hw1 = device.read_register(spec::reg::kHw1);
  plan.memory_limit =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(device.memory_size(), UINT32_MAX));
  plan.batch_address = p.batch_address;
  plan.label_address = p.label_address;
  plan.out_address = p.output_address;
  plan.distribution = static_cast<std::uint32_t>(p.distribution);
  return plan;
}

}  // namespace

EmbeddedResult run_embedded(Device& device, FixedTarget& target, const EmbeddedRun& run) {
  if (target.driver().program().squared_error)
    throw Error(
        ErrorKind::usage,
        "the host in C reads losses from LOSS_LO and LOSS_HI, expected a program whose loss "
        "is cross-entropy; squared errors are added up by the driver alone");
  const Program& p = target.driver().program();
  const ForwardGradientOptions& o = run.config.forward;
  if (o.seed_rule != SeedRule::hashed)
    throw Error(ErrorKind::journal,
                fmt::format("{}: seed_rule is missing, expected hashed: the C host has this rule "
                            "alone",
                            run.path.string()));
  if (run.config.audit.every != 0)
    throw Error(
        ErrorKind::journal,
        fmt::format("{}: audit is set, expected none: the C host does not chain its records",
                    run.path.string()));
  if (run.config.hold_out != 0)
    throw Error(ErrorKind::journal,
                fmt::format("{}: hold_out is {}, expected none: the C host trains on all examples "
                            "and ends at the last step",
                            run.path.string(), run.config.hold_out));
  std::vector<std::uint32_t> registers;
  for (std::uint32_t step = 0; step < o.steps; ++step) registers.push_back(step_register(o, step));
  std::array<std::uint64_t, LM_PROBES> probes{};
  for (int i = 0; i < LM_PROBES; ++i) probes[static_cast<std::size_t>(i)] = probe_seed(o.seed, i);

  lm_plan plan = plan_for(device, p);
  plan.forward_address = p.forward_address;
  plan.forward_count = static_cast<std::uint32_t>(p.forward.size());
  plan.update_address = p.update_address;
  plan.update_count = static_cast<std::uint32_t>(p.update.size());
  plan.distribution = static_cast<std::uint32_t>(run.config.distribution);
  plan.pairs = static_cast<std::uint32_t>(o.pairs);
  plan.steps = std::min(o.steps, run.stop_after);
  plan.scaled = o.estimator == Estimator::scaled ? 1 : 0;
  plan.mask_seed = run.config.mask_seed;
  plan.seed = o.seed;
  plan.step_registers = registers.data();
  plan.probe_seeds = probes.data();

  std::vector<std::uint8_t> records;
  std::size_t header_end = 0;
  if (run.resume) {
    const Journal journal = read_journal(run.path);
    require_same_run(run.path.string(), journal.config, run.config);
    static_cast<void>(JournalWriter::resume(run.path, journal));  // cuts a torn tail
    records = read_file(run.path);
    header_end = records.size() - journal.records.size() * LM_RECORD_BYTES(plan.pairs);
  } else {
    static_cast<void>(JournalWriter::create(run.path, run.config));
    records = read_file(run.path);
    header_end = records.size();
  }
  const std::unique_ptr<std::FILE, Close> file(std::fopen(run.path.c_str(), "ab"));
  if (!file)
    throw Error(ErrorKind::journal,
                fmt::format("{}: cannot be opened for appending", run.path.string()));
  TrainingBoard board{target, BatchSampler(o.seed, run.examples, o.batch), file.get()};
  lm_port port{device, &board, nullptr};
  EmbeddedResult result;
  result.status = lm_open(&result.host, &port, &plan, last_word(records, header_end));
  for (std::size_t at = header_end; result.status == LM_OK && at < records.size();
       at += LM_RECORD_BYTES(plan.pairs))
    result.status = lm_replay(&result.host, records.data() + at);
  if (result.status == LM_OK) result.status = lm_run(&result.host);
  result.host.port = nullptr;
  result.host.plan = nullptr;
  return result;
}

EmbeddedReadoutResult run_embedded_readout(Device& device, FixedReadout& target,
                                           const Dataset& data, const ReadoutSplit& split,
                                           const ReadoutRunOptions& o) {
  check_options(o, split.train);
  const Program& p = target.driver().program();
  const ReadoutQueues& q = *p.readout;
  if (static_cast<std::size_t>(q.kept) < split.order.size())
    throw Error(ErrorKind::usage,
                fmt::format("places for {} records, expected {}: the C host has all of them in "
                            "memory",
                            q.kept, split.order.size()));
  // The target knows its records and its weights; the C host is given examples alone.
  const std::size_t places = static_cast<std::size_t>(q.kept) + static_cast<std::size_t>(p.batch);
  device.write_memory(q.record_address, std::vector<std::byte>(places * q.pitch));
  device.write_memory(q.label_address,
                      std::vector<std::byte>(places * static_cast<std::size_t>(p.label_bytes)));

  std::vector<std::uint32_t> registers;
  const std::uint32_t searched = search_steps(o);
  for (int rate = 0; rate < o.rates; ++rate) {
    for (const std::uint32_t steps : {searched, o.steps})
      for (std::uint32_t step = 0; step < steps; ++step)
        registers.push_back(readout_step_register(o, rate, step, steps));
  }
  lm_readout_plan plan{};
  plan.plan = plan_for(device, p);
  plan.plan.forward_address = q.score_address;
  plan.plan.forward_count = static_cast<std::uint32_t>(q.score.size());
  plan.plan.update_address = q.learn_address;
  plan.plan.update_count = static_cast<std::uint32_t>(q.learn.size());
  plan.plan.steps = o.steps;
  plan.plan.seed = learn_seed(o.seed, 0);
  plan.plan.step_registers = registers.data();
  plan.extract_address = q.extract_address;
  plan.extract_count = static_cast<std::uint32_t>(q.extract.size());
  plan.record_address = q.record_address;
  plan.pitch = q.pitch;
  plan.record_label_address = q.label_address;
  plan.label_bytes = static_cast<std::uint32_t>(p.label_bytes);
  plan.batch = static_cast<std::uint32_t>(o.batch);
  plan.train = static_cast<std::uint32_t>(split.train);
  plan.held = static_cast<std::uint32_t>(split.held());
  plan.rates = static_cast<std::uint32_t>(o.rates);
  plan.search_steps = searched;
  plan.snapshots = static_cast<std::uint32_t>(o.snapshots);
  plan.epoch_seed = epoch_seed(o.seed);

  ReadoutBoard board{p, data, split, *p.find_tensor(weight_tensor(p.output_layer)), {}};
  lm_port port{device, nullptr, &board};
  std::vector<std::uint16_t> order(split.train / static_cast<std::size_t>(o.batch));
  lm_readout run{};
  EmbeddedReadoutResult result;
  result.status = lm_readout_run(&run, &port, &plan, order.data());
  result.rate = static_cast<int>(run.rate);
  result.best_step = run.best_step;
  result.held_loss = static_cast<std::int64_t>(run.held_loss);
  result.host = run.host;
  result.host.port = nullptr;
  result.host.plan = nullptr;
  return result;
}

}  // namespace lastmile
