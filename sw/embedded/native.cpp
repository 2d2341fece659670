// SPDX-License-Identifier: Apache-2.0
#include "sw/embedded/native.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdio>
#include <memory>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"

struct lm_port {
  lastmile::Device& device;
  lastmile::FixedTarget& target;
  lastmile::BatchSampler sampler;
  std::FILE* journal;
};

uint32_t lm_port_read(lm_port* port, uint32_t offset) { return port->device.read_register(offset); }
void lm_port_write(lm_port* port, uint32_t offset, uint32_t value) {
  port->device.write_register(offset, value);
}
int lm_port_wait(lm_port* port) { return port->device.wait_interrupt() ? 0 : 1; }
int lm_port_batch(lm_port* port, uint32_t step) {
  port->target.set_batch(port->sampler.batch(step));
  return 0;
}
int lm_port_append(lm_port* port, const uint8_t* record, uint32_t bytes) {
  return std::fwrite(record, 1, bytes, port->journal) == bytes && std::fflush(port->journal) == 0
             ? 0
             : 1;
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

}  // namespace

EmbeddedResult run_embedded(Device& device, FixedTarget& target, const EmbeddedRun& run) {
  const Program& p = target.driver().program();
  const ForwardGradientOptions& o = run.config.forward;
  std::vector<std::uint32_t> registers;
  for (std::uint32_t step = 0; step < o.steps; ++step) registers.push_back(step_register(o, step));
  std::array<std::uint64_t, LM_PROBES> probes{};
  for (int i = 0; i < LM_PROBES; ++i) probes[static_cast<std::size_t>(i)] = probe_seed(o.seed, i);

  lm_plan plan{};
  plan.hw0 = device.read_register(spec::reg::kHw0);  // the driver has compared them
  plan.hw1 = device.read_register(spec::reg::kHw1);
  plan.memory_limit =
      static_cast<std::uint32_t>(std::min<std::uint64_t>(device.memory_size(), UINT32_MAX));
  plan.forward_address = p.forward_address;
  plan.forward_count = static_cast<std::uint32_t>(p.forward.size());
  plan.update_address = p.update_address;
  plan.update_count = static_cast<std::uint32_t>(p.update.size());
  plan.batch_address = p.batch_address;
  plan.label_address = p.label_address;
  plan.out_address = p.output_address;
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
  lm_port port{device, target, BatchSampler(o.seed, run.examples, o.batch), file.get()};
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

}  // namespace lastmile
