// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <set>

#include "tests/compiler/run.hpp"
#include "tests/driver/fake_device.hpp"

using namespace lastmile;
using testing::FakeDevice;
namespace reg = lastmile::spec::reg;

namespace {

Program small_program(const CompileOptions& base = {}) {
  const QuantizedNetwork q = quantize_random(norm_case(), 3);
  CompileOptions o = base;
  o.batch = 4;
  o.training = train_all(q);
  return compile(q, {}, o);
}

const std::vector<std::int8_t> kBatch(4 * 60, std::int8_t{5});
const std::vector<int> kLabels = {0, 1, 2, 0};

}  // namespace

TEST_CASE("driver: a device of another kind is refused by what differs") {
  const Program p = small_program();
  const auto refused = [&](std::uint32_t offset, std::uint32_t flip) {
    FakeDevice device({}, 1 << 20);
    device.registers[offset] ^= flip;
    const std::string text = error_of([&] { Driver(device, p); });
    CHECK(device.bytes_written == 0);
    return text;
  };
  CHECK(mentions(refused(reg::kId, 1), {"ID", "0x4c4d4e51", "0x4c4d4e50"}));
  CHECK(mentions(refused(reg::kSpec, 1), {"SPEC"}));
  CHECK(mentions(refused(reg::kHw0, 16 ^ 8), {"ROWS is 8", "16"}));
  CHECK(mentions(refused(reg::kHw0, (16 ^ 32) << 8), {"COLS is 32"}));
  CHECK(mentions(refused(reg::kHw0, (16 ^ 64) << 16), {"BUS_BYTES is 64"}));
  CHECK(mentions(refused(reg::kHw0, (8U ^ 1U) << 24), {"RQ_LANES is 1"}));
  CHECK(mentions(refused(reg::kHw1, 512 ^ 64), {"ACC_DEPTH is 64", "512"}));
  CHECK(mentions(refused(reg::kHw1, (16 ^ 12) << 16), {"ACT_BYTES is 4096", "65536"}));
  CHECK(mentions(refused(reg::kHw1, 1 << 24), {"TRAINING is 0"}));
  FakeDevice small({}, p.memory.total_bytes - 1);
  CHECK(mentions(error_of([&] { Driver(small, p); }),
                 {"memory has", std::to_string(p.memory.total_bytes)}));
}

TEST_CASE("driver: the host moves only seeds, scalars and register words in a step") {
  const Program p = small_program();
  FakeDevice device({}, p.memory.total_bytes);
  Driver driver(device, p);
  driver.load_batch(kBatch, kLabels);
  const std::uint64_t seeds[] = {0x123456789abcdefU, 7};
  const std::int8_t coefficients[] = {1, -1};
  const auto step = [&] {
    for (const std::uint64_t seed : seeds) {
      (void)driver.forward(spec::Polarity::plus_, seed);
      (void)driver.forward(spec::Polarity::minus_, seed);
    }
    driver.update(seeds, coefficients, 0x8000);
  };
  step();
  const HostTraffic before = driver.traffic(Traffic::step);
  const std::uint64_t read = device.bytes_read, written = device.bytes_written;
  device.written.clear();
  device.reads = device.writes = 0;
  step();
  // No byte of memory, and the registers of the contract with the host: nothing that could be a
  // weight.
  CHECK(device.bytes_read == read);
  CHECK(device.bytes_written == written);
  std::set<std::uint32_t> allowed = {reg::kCtrl,       reg::kIrqStatus, reg::kPolarity,
                                     reg::kSeedLo,     reg::kSeedHi,    reg::kQueueAddr,
                                     reg::kQueueCount, reg::kStep,      reg::kPairs};
  for (std::uint32_t j = 0; j < 8; ++j)
    for (const std::uint32_t base : {reg::kPairSeedLo, reg::kPairSeedHi, reg::kPairCoef})
      allowed.insert(base + 16 * j);
  for (const auto& access : device.written) {
    CAPTURE(access.first);
    CHECK(allowed.contains(access.first));
  }
  // The driver's account is what the device saw.
  const HostTraffic moved = driver.traffic(Traffic::step) - before;
  CHECK(moved.register_reads == device.reads);
  CHECK(moved.register_writes == device.writes);
  CHECK(moved.bytes_read == 0);
  CHECK(moved.bytes_written == 0);
  CHECK(moved.bytes() == 4 * (device.reads + device.writes));
  CHECK(moved.bytes() <= 300);
}

TEST_CASE("driver: every byte and register access is accounted for, by kind") {
  const Program p = small_program();
  FakeDevice device({}, p.memory.total_bytes);
  Driver driver(device, p);
  CHECK(driver.traffic(Traffic::load).bytes_written == p.image.size());
  driver.load_batch(kBatch, kLabels);
  CHECK(driver.traffic(Traffic::batch) == HostTraffic{0, 0, 0, kBatch.size() + 4});
  (void)driver.forward();
  (void)driver.logits();
  (void)driver.counters();
  (void)driver.read_tensor(0);
  CHECK(driver.traffic(Traffic::result).bytes_read == 4 * 3 * 2);
  CHECK(driver.traffic(Traffic::debug).register_reads == 2 * spec::kCounters);
  HostTraffic sum;
  for (std::size_t kind = 0; kind < kTrafficKinds; ++kind)
    sum += driver.traffic(static_cast<Traffic>(kind));
  CHECK(sum == HostTraffic{device.reads, device.writes, device.bytes_read, device.bytes_written});
}

TEST_CASE("driver: results are read from the registers, sums in 64 bits") {
  const Program p = small_program();
  FakeDevice device({}, p.memory.total_bytes);
  Driver driver(device, p);
  device.on_start = [&] {
    device.registers[reg::kLossLo] = 0xfffffff0;
    device.registers[reg::kLossHi] = 3;
    device.registers[reg::kCorrect] = 2;
    device.registers[reg::kExamples] = 4;
  };
  const ForwardResult r = driver.forward();
  CHECK(r.loss_sum == 0x3fffffff0);
  CHECK(r.correct == 2);
  CHECK(r.mean_nats() ==
        doctest::Approx(static_cast<double>(0x3fffffff0) / (1 << 20) / 4 * 0.693147180559945));
  CHECK(ForwardResult{}.mean_nats() == 0);
}

TEST_CASE("driver: a failing command is named, and the device can go on") {
  const Program p = small_program();
  FakeDevice device({}, p.memory.total_bytes);
  Driver driver(device, p);
  const auto failure = [&](spec::Error code, std::uint32_t info) {
    device.irq = 2;
    device.registers[reg::kErrorCode] = static_cast<std::uint32_t>(code);
    device.registers[reg::kErrorCommand] = 1;
    device.registers[reg::kErrorInfo] = info;
    const std::string text = error_of([&] { (void)driver.forward(spec::Polarity::minus_, 1); });
    CHECK(device.written.back() == std::pair<std::uint32_t, std::uint32_t>{reg::kCtrl, 2});
    return text;
  };
  CHECK(mentions(failure(spec::Error::address_, static_cast<std::uint32_t>(spec::Field::w_addr)),
                 {"forward-", "ADDRESS", "command 1 (dw)", "w_addr"}));
  CHECK(mentions(failure(spec::Error::field_, static_cast<std::uint32_t>(spec::Field::stride_h)),
                 {"FIELD", "stride_h"}));
  CHECK(mentions(failure(spec::Error::shape_, 2), {"SHAPE", "rule K"}));
  CHECK(mentions(failure(spec::Error::tile_, 2), {"TILE", "bytes"}));
  CHECK(mentions(failure(spec::Error::register_, reg::kPairs), {"REGISTER", "0x068"}));
  CHECK(mentions(failure(spec::Error::watchdog_, static_cast<std::uint32_t>(spec::Engine::store_)),
                 {"WATCHDOG", "STORE"}));
  device.irq = 1;
  CHECK(error_of([&] { (void)driver.forward(); }) == "no error");
  device.irq = 0;
  CHECK(mentions(error_of([&] { (void)driver.forward(); }), {"without a cause"}));
  device.interrupts = false;
  CHECK(mentions(error_of([&] { (void)driver.forward(); }), {"without an interrupt"}));
}

TEST_CASE("driver: an update that the device could misread is refused before it starts") {
  const Program p = small_program();
  FakeDevice device({}, p.memory.total_bytes);
  Driver driver(device, p);
  const std::vector<std::uint64_t> seeds(9, 1);
  const std::vector<std::int8_t> ones(9, 1);
  const auto refused = [&](std::size_t n, std::size_t m, std::uint32_t step) {
    const std::size_t before = device.written.size();
    const std::string text =
        error_of([&] { driver.update(std::span(seeds).first(n), std::span(ones).first(m), step); });
    CHECK(device.written.size() == before);
    return text;
  };
  CHECK(mentions(refused(0, 0, 1), {"0 pairs", "1 to 8"}));
  CHECK(mentions(refused(9, 9, 1), {"9 pairs"}));
  CHECK(mentions(refused(2, 1, 1), {"1 coefficients for 2 seeds"}));
  CHECK(mentions(refused(1, 1, 17U << 16), {"step register is 0x110000"}));
  CHECK(mentions(refused(1, 1, 1U << 31), {"step register"}));
  const std::int8_t lowest[] = {-128};
  CHECK(mentions(error_of([&] { driver.update(std::span(seeds).first(1), lowest, 1); }), {"-128"}));

  const QuantizedNetwork q = quantize_random(norm_case(), 3);
  CompileOptions o;
  o.batch = 4;
  Driver frozen(device, compile(q, {}, o));
  CHECK(mentions(
      error_of([&] { frozen.update(std::span(seeds).first(1), std::span(ones).first(1), 1); }),
      {"trains nothing"}));
}

TEST_CASE("driver: batches may be short, labels may be missing, wrong ones are refused") {
  CompileOptions o;
  o.slots = 3;
  const Program p = small_program(o);
  FakeDevice device({}, p.memory.total_bytes);
  Driver driver(device, p);
  const std::vector<int> labels = {2, -1};
  driver.load_batch(std::span(kBatch).first(120), labels, 2);
  const auto byte = [&](std::size_t i) {
    return static_cast<int>(device.memory[p.label_address + 2 * p.label_stride + i]);
  };
  CHECK(byte(0) == 2);
  for (const std::size_t i : {1U, 2U, 3U}) CHECK(byte(i) == 255);
  driver.select_batch(2);
  CHECK(device.registers[reg::kBatchAddr] == p.batch_address + 2 * p.batch_stride);
  CHECK(device.registers[reg::kLabelAddr] == p.label_address + 2 * p.label_stride);
  const auto refused = [&](std::size_t values, std::vector<int> l, int slot) {
    return error_of([&] { driver.load_batch(std::span(kBatch).first(values), l, slot); });
  };
  CHECK(mentions(refused(61, {0}, 0), {"61 values", "60"}));
  CHECK(mentions(refused(120, {0}, 0), {"1 labels", "2"}));
  CHECK(mentions(refused(120, {0, 3}, 0), {"example 1 is 3", "0 to 2"}));
  CHECK(mentions(refused(60, {-2}, 0), {"example 0 is -2"}));
  CHECK(mentions(refused(60, {0}, 3), {"slot is 3"}));
}

TEST_CASE("driver: tensors go in and out in their own width, with values that fit") {
  for (const WeightType type : {WeightType::w8, WeightType::w16}) {
    QuantizeOptions quantize_options;
    quantize_options.weight_type = type;
    const QuantizedNetwork q = quantize_random(norm_case(), 3, quantize_options);
    CompileOptions o;
    o.batch = 1;
    const Session s = open(compile(q, {}, o));
    for (const TensorPlace& t : s->program().tensors) {
      std::vector<std::int32_t> values = s->read_tensor(t.tensor);
      const QuantizedLayer& layer = q.layers[static_cast<std::size_t>(t.layer)];
      CHECK(values ==
            (t.bias ? layer.bias
                    : std::vector<std::int32_t>(layer.weights.begin(), layer.weights.end())));
      values.front() = -(1 << (t.bits == 32 ? 30 : t.bits - 1));
      values.back() = 77;
      s->write_tensor(t.tensor, values);
      CHECK(s->read_tensor(t.tensor) == values);
      if (t.bits < 32) {
        values[1] = 1 << (t.bits - 1);
        CHECK(
            mentions(error_of([&] { s->write_tensor(t.tensor, values); }), {"element 1", "bits"}));
      }
      values.pop_back();
      CHECK(mentions(error_of([&] { s->write_tensor(t.tensor, values); }), {"values, expected"}));
    }
    QuantizedNetwork copy = q;
    s->read_weights(copy);
    CHECK(weights_hash(copy) != weights_hash(q));
    s->write_weights(q);
    s->read_weights(copy);
    CHECK(copy == q);
    CHECK(mentions(error_of([&] { (void)s->read_tensor(4); }), {"tensor 4"}));
  }
}

TEST_CASE("driver: what a program does not have is refused by name") {
  const QuantizedNetwork q = quantize_random(shipped_network("resnet8"), 4);
  CompileOptions o;
  o.batch = 1;
  const Session s = open(compile(q, {}, o));
  CHECK(mentions(error_of([&] { (void)s->example_losses(); }), {"per-example"}));
  CHECK(mentions(error_of([&] { (void)s->output(); }), {"loss"}));
  CHECK(
      mentions(error_of([&] { (void)s->activation(find_layer(q.network, "conv2b")); }), {"fused"}));
  CHECK(mentions(error_of([&] { (void)s->activation(0); }),
                 {"overwritten by command", "without reuse"}));
  o.output_layer = 3;
  const Session features = open(compile(q, {}, o));
  CHECK(mentions(error_of([&] { (void)features->logits(); }), {"no logits"}));
}

TEST_CASE("driver: a step on the model costs two passes and an update, and its counters say so") {
  const QuantizedNetwork q = quantize_random(norm_case(), 5);
  CompileOptions o;
  o.batch = 2;
  o.training = train_all(q);
  const Session s = open(compile(q, {}, o));
  s->load_batch(quantized_input(q, 2, 6), random_labels(q, 2, 6));
  (void)s->forward(spec::Polarity::plus_, 3);
  const auto count = [&](spec::Counter c) { return s->counters()[static_cast<std::size_t>(c)]; };
  CHECK(count(spec::Counter::macs_) == 2 * static_cast<std::uint64_t>(macs(q.network)));
  CHECK(count(spec::Counter::commands_) == s->program().forward.size());
  std::uint64_t elements = 0;
  for (const TensorPlace& t : s->program().tensors) elements += t.elements();
  CHECK(count(spec::Counter::perturbed_) == elements);
  const std::uint64_t seeds[] = {3};
  const std::int8_t coefficients[] = {1};
  s->update(seeds, coefficients, 0x8000);
  CHECK(count(spec::Counter::updated_) == elements);
}
