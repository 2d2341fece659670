// SPDX-License-Identifier: Apache-2.0
// Programs with readouts on the model against plain integer arithmetic here.
#include <doctest/doctest.h>

#include <cstring>

#include "sw/quantizer/readout.hpp"
#include "tests/compiler/run.hpp"

using namespace lastmile;

namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

Network two_sizes() {
  return make_network(
      "two", "[9, 7, 2]",
      layer_text("a", "conv2d",
                 "filters = 5\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("b", "max_pool2d", "kernel = 2\nstride = 2\npadding = \"same\"") +
          layer_text("c", "conv2d",
                     "filters = 5\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("s", "add", "inputs = [\"b\", \"c\"]\nactivation = \"relu\"") +
          layer_text("g", "global_average_pool", ""));
}

ReadoutNetwork readouts(const Network& net, WeightType type, std::uint64_t seed,
                        const std::string& taps) {
  QuantizeOptions q;
  q.weight_type = type;
  ReadoutOptions o;
  o.taps = taps;
  return make_readout_network(quantize_random(net, seed, q), o);
}

CompileOptions learning(int batch, int kept, double step) {
  CompileOptions o;
  o.batch = batch;
  o.readout = ReadoutTraining{step, kept};
  return o;
}

// Records of the device's memory, from record `first` on.
std::vector<std::int8_t> records(const Session& s, int first, int count) {
  const ReadoutQueues& r = *s->program().readout;
  std::vector<std::int8_t> out(at(count) * r.pitch);
  s.device->read_memory(r.record_address + static_cast<std::uint32_t>(first) * r.pitch,
                        std::as_writable_bytes(std::span(out)));
  return out;
}

// The error of one output, as the contract states it.
std::int32_t error_of_output(std::span<const std::int16_t> logits, int label, std::size_t c,
                             const LogitQuant& q, std::uint64_t seed, std::uint32_t tensor,
                             std::uint32_t example) {
  const std::int32_t top = *std::max_element(logits.begin(), logits.end());
  const auto distance = [&](std::size_t k) {
    return numeric::logit_distance(static_cast<std::uint32_t>(top - logits[k]), q.loss_multiplier,
                                   q.loss_shift);
  };
  std::uint64_t sum = 0;
  for (std::size_t k = 0; k < logits.size(); ++k) sum += numeric::exp2_neg(distance(k));
  const std::uint64_t u =
      std::min<std::uint64_t>(std::uint64_t{distance(c)} + numeric::log2_sum(sum), 0x7fffffff);
  const std::int64_t p = numeric::exp2_neg(static_cast<std::uint32_t>(u));
  const std::int64_t e = p - (static_cast<int>(c) == label ? std::int64_t{1} << 24 : 0);
  const std::uint32_t r = numeric::hash_element(seed, spec::Domain::round_, tensor, example,
                                                static_cast<std::uint32_t>(c));
  const std::int64_t magnitude =
      std::min<std::int64_t>((std::abs(e) + 2 * std::int64_t{r} + 1) >> 17, 127);
  return static_cast<std::int32_t>(e < 0 ? -magnitude : magnitude);
}

// The head's weights after a step.
std::vector<std::int32_t> learned(const QuantizedNetwork& net, std::span<const std::int8_t> x,
                                  std::span<const std::int16_t> logits, std::span<const int> labels,
                                  const ScaledStep& scaled, std::uint32_t step_register,
                                  std::uint64_t seed) {
  const int head = net.network.logits_layer();
  const QuantizedLayer& q = net.layers[at(head)];
  const std::int32_t zp = net.quant_of(net.network.layers[at(head)].inputs[0]).zero_point;
  const auto columns = at(q.columns), classes = at(q.rows);
  std::vector<std::int32_t> g(q.weights.size(), 0);
  for (std::size_t b = 0; b < labels.size(); ++b) {
    if (labels[b] < 0) continue;
    for (std::size_t c = 0; c < classes; ++c) {
      const std::int32_t e =
          error_of_output(logits.subspan(b * classes, classes), labels[b], c, net.logits, seed,
                          bias_tensor(head), static_cast<std::uint32_t>(b));
      for (std::size_t k = 0; k < columns; ++k) g[c * columns + k] += e * (x[b * columns + k] - zp);
    }
  }
  const numeric::Step step =
      numeric::combine_step(scaled.mantissa, static_cast<int>(scaled.shift), step_register & 0xffff,
                            static_cast<int>(step_register >> 16));
  std::vector<std::int32_t> out;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const std::uint32_t bits = numeric::hash_element(
        seed, spec::Domain::round_, weight_tensor(head), static_cast<std::uint32_t>(i / columns),
        static_cast<std::uint32_t>(i % columns));
    out.push_back(
        numeric::update(q.weights[i], g[i], step, bits, weight_limit(net.weight_type_of(at(head))))
            .value);
  }
  return out;
}

}  // namespace

TEST_CASE("compiler: records, their score and a step of readouts are plain integer arithmetic") {
  const std::uint64_t seed = test_seed();
  struct Case {
    Network net;
    std::string taps;
    WeightType type;
  };
  const std::vector<Case> cases = {
      {two_sizes(), "a:4,s", WeightType::w8},  // a pool in its place, a copy of a fused add
      {two_sizes(), "none", WeightType::w16},
      {two_sizes(), "auto", WeightType::w16},
      {shipped_network("small-cnn"), "auto", WeightType::w8},
      {shipped_network("small-cnn"), "conv2", WeightType::w16},
      {shipped_network("resnet8"), "auto", WeightType::w16},
      {shipped_network("ds-cnn"), "auto", WeightType::w8}};
  for (const Case& c : cases) {
    CAPTURE(c.net.name);
    CAPTURE(c.taps);
    const ReadoutNetwork r = readouts(c.net, c.type, seed, c.taps);
    const QuantizedNetwork& q = r.network;
    constexpr int kExamples = 11, kBatch = 4, kKept = 12;
    const auto x = quantized_input(q, kExamples, seed + 1);
    auto labels = random_labels(q, kExamples, seed);
    labels[5] = -1;
    const reference::Result expected = reference::run(q, x);
    const std::vector<std::int8_t>& record = expected.layers[at(r.record)];
    const auto each = at(q.network.input.elements());

    const Session s = open(compile(q, {}, learning(kBatch, kKept, 3.7)));
    for (int first = 0; first < kExamples; first += kBatch) {
      const int n = std::min(kBatch, kExamples - first);
      s->load_batch(std::span(x).subspan(at(first) * each, at(n) * each),
                    std::span(labels).subspan(at(first), at(n)));
      s->extract(first);
    }
    s->set_labels(labels, 0);
    CHECK(records(s, 0, kExamples) == record);

    // A batch may begin at any record. The network's forward queue gives the same.
    const auto classes = at(q.network.classes);
    const auto columns = record.size() / kExamples;
    for (const int first : {0, 3, 7}) {
      CAPTURE(first);
      const auto some = std::span(labels).subspan(at(first), kBatch);
      reference::Result part;
      part.logits.assign(
          expected.logits.begin() + static_cast<std::ptrdiff_t>(at(first) * classes),
          expected.logits.begin() + static_cast<std::ptrdiff_t>(at(first + kBatch) * classes));
      const reference::Losses loss = reference::losses(q, part, some);
      const ForwardResult score = s->score(first);
      CHECK(score.loss_sum == loss.sum);
      CHECK(score.correct == loss.correct);
      CHECK(score.examples == loss.examples);
      CHECK(s->logits() == part.logits);
      s->load_batch(std::span(x).subspan(at(first) * each, kBatch * each), some);
      s->select_batch(0);
      CHECK(s->forward().loss_sum == loss.sum);

      s->write_weights(q);
      const std::uint32_t step = 0xb000 | 2U << 16;
      const std::uint64_t learn_seed = seed + at(first);
      CHECK(s->learn(step, learn_seed, first).loss_sum == loss.sum);
      const auto got = s->read_tensor(weight_tensor(q.network.logits_layer()));
      const auto want = learned(q, std::span(record).subspan(at(first) * columns, kBatch * columns),
                                part.logits, some, encode_step(3.7, "step"), step, learn_seed);
      CHECK(got == want);
      bool moved = false;
      for (std::size_t i = 0; i < got.size(); ++i)
        moved = moved || got[i] != q.layers[at(q.network.logits_layer())].weights[i];
      CHECK(moved);
      s->write_weights(q);
    }
  }
}

TEST_CASE("compiler: records in the place for passing ones train the same bits") {
  const ReadoutNetwork r = readouts(two_sizes(), WeightType::w16, 5, "auto");
  const QuantizedNetwork& q = r.network;
  const auto x = quantized_input(q, 4, 6);
  const auto labels = random_labels(q, 4, 7);
  std::vector<std::int32_t> weights[2];
  for (const int kept : {0, 64}) {
    const Session s = open(compile(q, {}, learning(4, kept, 9.1)));
    CHECK(s->program().memory.record_bytes == at(kept + 4) * (s->program().readout->pitch + at(1)));
    s->load_batch(x, labels);
    s->extract(kept == 0 ? 0 : 32);
    s->set_labels(labels, kept == 0 ? 0 : 32);
    s->learn(0x8000, 77, kept == 0 ? 0 : 32);
    weights[kept == 0 ? 0 : 1] = s->read_tensor(weight_tensor(q.network.logits_layer()));
  }
  CHECK(weights[0] == weights[1]);
}

TEST_CASE("compiler: what readouts ask for and cannot have is refused by name") {
  const ReadoutNetwork r = readouts(two_sizes(), WeightType::w16, 5, "auto");
  const auto refused = [&](const QuantizedNetwork& q, const CompileOptions& o) {
    return error_of([&] { (void)compile(q, {}, o); });
  };
  CHECK(mentions(refused(quantize_random(two_sizes(), 5), learning(4, 0, 1)),
                 {"fc", "without readouts", "concat"}));
  CHECK(mentions(refused(r.network, learning(4, -1, 1)), {"kept records is -1"}));
  CHECK(mentions(refused(r.network, learning(4, 0, 0)), {"step of the readouts is 0"}));
  CompileOptions o = learning(4, 100, 1);
  o.memory_bytes = 10000;
  CHECK(mentions(refused(r.network, o), {"memory is 10000 bytes", "records"}));
  o = learning(4, 0, 1);
  o.training = train_all(r.network);
  CHECK(mentions(refused(r.network, o), {"fc.weights", "readouts train it"}));
  o = learning(4, 0, 1);
  o.output_layer = r.record;
  CHECK(mentions(refused(r.network, o), {"without loss"}));
  // A program without readouts has no such queues.
  const Session s = open(compile(r.network, {}, [] {
    CompileOptions plain;
    plain.batch = 2;
    return plain;
  }()));
  CHECK(mentions(error_of([&] { s->score(0); }), {"no readouts"}));
  const Session t = open(compile(r.network, {}, learning(4, 8, 1)));
  CHECK(mentions(error_of([&] { t->score(9); }), {"first record is 9", "0 to 8"}));
  CHECK(mentions(error_of([&] { t->learn(17U << 16, 1, 0); }), {"step register"}));
}
