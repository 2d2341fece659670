// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/measure.hpp"

#include <fmt/format.h>

#include <utility>

#include "sw/base/rng.hpp"
#include "sw/base/stop.hpp"
#include "sw/trainer/host_rule.hpp"

namespace lastmile::profile {
namespace {

void load_random_batch(Driver& driver, const Program& p, Rng& rng) {
  const auto bytes = [&](std::int64_t each) {
    std::vector<std::int8_t> out(static_cast<std::size_t>(each * p.batch));
    for (std::int8_t& v : out) v = static_cast<std::int8_t>(static_cast<int>(rng.below(256)) - 128);
    return out;
  };
  const std::vector<std::int8_t> x = bytes(p.input.elements());
  if (p.squared_error) return driver.load_targets(x, bytes(p.output.elements()));
  std::vector<int> labels;
  if (p.classes != 0)
    for (int i = 0; i < p.batch; ++i)
      labels.push_back(static_cast<int>(rng.below(static_cast<std::uint64_t>(p.classes))));
  driver.load_batch(x, labels);
}

void step(Driver& driver, const MeasureOptions& o, std::uint64_t index) {
  std::vector<std::uint64_t> seeds;
  std::vector<std::int8_t> coefficients;
  for (int j = 0; j < o.pairs; ++j) {
    const std::uint64_t seed = numeric::pair_seed(o.seed, static_cast<std::uint32_t>(index), j);
    const std::int64_t plus = driver.forward(spec::Polarity::plus_, seed).loss_sum;
    const std::int64_t minus = driver.forward(spec::Polarity::minus_, seed).loss_sum;
    seeds.push_back(seed);
    coefficients.push_back(plus < minus ? -1 : 1);
  }
  driver.update(seeds, coefficients, 0x8000);
}

}  // namespace

Measurement measure(const QuantizedNetwork& network, const CompileOptions& compile_options,
                    const std::string& variant, const DeviceOpener& open, const MeasureOptions& o) {
  Measurement m;
  m.program = compile(network, o.hardware, compile_options);
  const Session session = open_session(m.program, open, o.threads);
  Driver& driver = *session.driver;
  Rng rng(o.seed, 1);
  const HostTraffic step_before = driver.traffic(Traffic::step),
                    batch_before = driver.traffic(Traffic::batch);
  for (std::uint64_t k = 0; k < o.steps; ++k) {
    stop_if_asked();
    session.device->annotate(fmt::format("step {}", k));
    load_random_batch(driver, m.program, rng);
    if (m.program.update.empty()) {
      static_cast<void>(driver.forward());
    } else {
      step(driver, o, k);
    }
  }
  CounterFile& f = m.file;
  f.network = network.network.name;
  f.variant = variant;
  f.backend = o.backend;
  f.memory = o.memory;
  f.hardware = o.hardware;
  f.weight_bits = network.weight_type == WeightType::w8 ? 8 : 16;
  f.batch = m.program.batch;
  f.pairs = m.program.update.empty() ? 0 : o.pairs;
  f.steps = o.steps;
  f.seed = o.seed;
  for (const TensorPlace& t : m.program.tensors) {
    const std::uint64_t bytes = t.elements() * static_cast<std::uint64_t>(t.bits / 8);
    f.weight_bytes += bytes;
    if (!t.trainable) continue;
    f.trained_bytes += bytes;
    f.trained_weights += t.elements();
  }
  f.host = driver.traffic(Traffic::step) - step_before;
  f.batch_traffic = driver.traffic(Traffic::batch) - batch_before;
  m.report = session.device->report();
  f.commands = commands_of_report(m.report);
  name_commands(f.commands, m.program, network.network);
  return m;
}

}  // namespace lastmile::profile
