// SPDX-License-Identifier: Apache-2.0
// Squared error as a loss: programs against an integer computation of their own, adaptation of an
// autoencoder, its journal, the float side, and the area under the curve.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "sw/embedded/native.hpp"
#include "sw/golden/trainer.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/trainer/fixed_training.hpp"
#include "sw/trainer/reconstruction.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/compiler/run.hpp"

using namespace lastmile;

namespace {

Network autoencoder(const std::string& input, const std::string& layers) {
  return parse_network(
      "name = \"auto\"\ninput = " + input + "\nloss = \"reconstruction\"\n" + layers, "auto");
}
std::string dense(const std::string& name, const std::string& units, bool relu) {
  return layer_text(name, "fully_connected",
                    "units = " + units + (relu ? "\nactivation = \"relu\"" : ""));
}
Network dense_case(int elements) {
  return autoencoder(
      fmt::format("[1, 1, {}]", elements),
      dense("a", "10", true) + dense("b", "4", false) + dense("c", "\"classes\"", false));
}
// A plane, compared as a plane; and what reads the input twice.
Network conv_case() {
  return autoencoder(
      "[5, 6, 3]",
      layer_text("a", "conv2d",
                 "filters = 3\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("s", "add", "inputs = [\"a\", \"input\"]") +
          layer_text("b", "depthwise_conv2d", "kernel = 3\npadding = \"same\""));
}

// Differences and their sums of squares, example by example, from the outputs of the last layer.
struct Expected {
  std::vector<std::int8_t> differences;
  std::vector<std::int32_t> each;
  std::int64_t sum = 0;
};
Expected expected_of(const QuantizedNetwork& q, std::span<const std::int8_t> x,
                     const reference::Perturbation& p = {}) {
  Expected out;
  const reference::Result r = reference::run(q, x, p);
  const std::vector<std::int8_t>& y = r.layers.back();
  const auto each = static_cast<std::size_t>(q.network.input.elements());
  out.each.resize(y.size() / each);
  for (std::size_t k = 0; k < y.size(); ++k) {
    // y + (-t), where -t = scale * (zero point - x).
    numeric::AddParams add = q.difference->add;
    add.zp2 = 0;
    const std::int32_t negative = q.input.zero_point - x[k];
    const std::int64_t d =
        std::clamp<std::int64_t>(numeric::add_unclamped(y[k], negative, add), -128, 127);
    out.differences.push_back(static_cast<std::int8_t>(d));
    out.each[k / each] += static_cast<std::int32_t>(d * d);
    out.sum += d * d;
  }
  return out;
}

std::vector<spec::HardwareParams> sizes() {
  spec::HardwareParams small, wide, inference;
  small.rows = 8, small.cols = 4, small.bus_bytes = 8, small.act_bytes = 4096;
  small.acc_depth = 64, small.rq_lanes = 2;
  wide.rows = 32, wide.cols = 32, wide.bus_bytes = 64;
  inference.training = 0;
  return {{}, small, wide, inference};
}

// Points of a plane of four dimensions in sixteen; `shift` moves them out of it.
Dataset points(std::size_t examples, double shift, std::uint64_t seed, int label = 0) {
  Dataset d;
  d.shape = {1, 1, 16};
  d.classes = 2;
  Rng rng(seed, 3);
  for (std::size_t i = 0; i < examples; ++i) {
    double z[4];
    for (double& v : z) v = rng.normal();
    for (int k = 0; k < 16; ++k)
      d.x.push_back(static_cast<float>(0.5 * z[k % 4] * (k < 8 ? 1 : -1) + 0.3 * z[k / 4] +
                                       shift * std::cos(k) + 0.02 * rng.normal()));
    d.y.push_back(static_cast<Label>(label));
  }
  return d;
}

struct Trained {
  Network network = autoencoder("[1, 1, 16]", dense("a", "12", true) + dense("b", "6", false) +
                                                  dense("c", "12", true) + dense("d", "16", false));
  FloatParams<float> params = init_params<float>(network, 5);
  Dataset source = points(600, 0, 1);
  std::vector<EpochReport> reports;
  QuantizedNetwork base;
  Trained() {
    BackpropOptions o;
    o.epochs = 30;
    o.batch = 20;
    o.learning_rate = 0.1;
    reports = train<float>(network, params, 600, memory_source<float>(source.x, source.y), o);
    base = quantize(network, params, calibrate(Golden<float>(network), params, source.x));
  }
};

RunConfig run_of(const QuantizedNetwork& base, const Dataset& data, std::uint32_t steps) {
  RunConfig c;
  c.base_digest = network_digest(base);
  c.data_digest = data_digest(data);
  c.forward.steps = steps, c.forward.pairs = 4, c.forward.batch = 32, c.forward.seed = 11;
  c.forward.schedule = StepSchedule::cosine;
  TrainingRule rule;
  rule.eps = 0.02;
  rule.step = 0.0002;
  c.tensors = training_plan(base, rule);
  c.hold_out = 10;
  return c;
}

}  // namespace

TEST_CASE("reconstruction: the loss of a program is the integers', whatever the hardware") {
  const std::uint64_t seed = test_seed();
  for (const Network& net : {dense_case(64), dense_case(37), dense_case(130), conv_case()}) {
    for (const WeightType type : {WeightType::w8, WeightType::w16}) {
      QuantizeOptions how;
      how.weight_type = type;
      const QuantizedNetwork q = quantize_random(net, seed, how);
      CAPTURE(net.input.elements());
      for (const spec::HardwareParams& hw : sizes()) {
        for (const int batch : {1, 3, 40}) {
          CAPTURE(batch);
          const auto x = quantized_input(q, batch, seed + 7);
          const Expected expected = expected_of(q, x);
          CompileOptions o;
          o.batch = batch;
          const Session s = open(compile(q, hw, o));
          s->load_batch(x, {});
          const ForwardResult got = s->forward();
          CHECK(got.loss_sum == expected.sum);
          CHECK(got.examples == static_cast<std::uint32_t>(batch));
          CHECK(got.correct == 0);
          CHECK(s->example_losses() == expected.each);
          CHECK(s->differences() == expected.differences);
          // Something is compared, and most of it not at the end of the range.
          CHECK(expected.sum > 0);
          CHECK(std::count_if(expected.differences.begin(), expected.differences.end(),
                              [](std::int8_t d) { return d == 127 || d == -128; }) <
                static_cast<std::ptrdiff_t>(x.size() / 10));
        }
      }
    }
  }
}

TEST_CASE("reconstruction: one example may exceed the scratchpad, and many one command") {
  const std::uint64_t seed = test_seed();
  const QuantizedNetwork q = quantize_random(
      autoencoder("[1, 1, 5000]", dense("a", "3", false) + dense("b", "\"classes\"", false)), seed);
  CompileOptions o;
  o.batch = 15;
  spec::HardwareParams small;
  small.act_bytes = 4096;
  for (const spec::HardwareParams& hw : {spec::HardwareParams{}, small}) {
    const Session s = open(compile(q, hw, o));
    const auto x = quantized_input(q, 15, seed);
    s->load_batch(x, {});
    const Expected expected = expected_of(q, x);
    CHECK(s->forward().loss_sum == expected.sum);
    CHECK(s->example_losses() == expected.each);
  }
}

TEST_CASE("reconstruction: perturbed passes; slots, and examples that are not there") {
  const std::uint64_t seed = test_seed();
  const QuantizedNetwork q = quantize_random(dense_case(37), seed);
  CompileOptions o;
  o.batch = 6;
  o.slots = 2;
  o.training = train_all(q, 200);
  const Session s = open(compile(q, {}, o));
  s->set_mask_seed(99);
  const auto x = quantized_input(q, 6, seed + 1), other = quantized_input(q, 4, seed + 2);
  s->load_batch(x, {}, 0);
  s->load_batch(other, {}, 1);
  for (const auto polarity : {spec::Polarity::plus_, spec::Polarity::minus_}) {
    const reference::Perturbation p{polarity, seed, 99, o.distribution, s->program().tensors};
    s->select_batch(0);
    CHECK(s->forward(polarity, seed).loss_sum == expected_of(q, x, p).sum);
    s->select_batch(1);
    const ForwardResult r = s->forward(polarity, seed);
    CHECK(r.loss_sum == expected_of(q, other, p).sum);
    CHECK(r.examples == 4);
  }
  CHECK(expected_of(q, x, {spec::Polarity::plus_, seed, 99, o.distribution, s->program().tensors})
            .sum != expected_of(q, x).sum);
}

TEST_CASE("reconstruction: behind frozen layers the targets are the network's inputs") {
  const Trained t;
  const Dataset data = points(40, 0.3, 9);
  std::vector<TensorTraining> plan;
  TrainingRule rule;
  for (const TensorTraining& p : training_plan(t.base, rule))
    if (p.tensor >= 4) plan.push_back(p);
  FixedOptions cached, whole;
  whole.cache_features = false;
  cached.batch = whole.batch = 8;
  FixedTarget a(t.base, plan, data, open_model, cached), b(t.base, plan, data, open_model, whole);
  CHECK(a.input_layer() == 1);
  CHECK(b.input_layer() == kNetworkInput);
  const std::uint32_t batch[] = {3, 17, 0, 39, 20};
  for (FixedTarget* f : {&a, &b}) f->set_batch(batch);
  for (const std::uint64_t seed : {1U, 2U}) {
    const std::int64_t sum = a.loss_sum(spec::Polarity::plus_, seed);
    CHECK(sum == b.loss_sum(spec::Polarity::plus_, seed));
    CHECK(sum > 0);
  }
  CHECK_THROWS_WITH_AS(a.driver().load_batch({}, {}), doctest::Contains("without targets"), Error);
}

TEST_CASE("reconstruction: adaptation lowers the error of shifted data, in fixed point and float") {
  const Trained t;
  CHECK(t.reports.back().loss < 0.2 * t.reports.front().loss);
  const Dataset shifted = points(320, 0.4, 2), test = points(200, 0.4, 3);
  const testing::TempDir dir;
  const auto path = dir.path() / "j";
  FixedOptions how;
  how.batch = 32;
  const RunConfig config = run_of(t.base, shifted, 400);
  FixedTraining training(t.base, config, shifted, open_model, how);
  training.choose_best();
  training.run().start_journal(path);
  CHECK(training.run().run() == RunEnd::finished);
  training.run().close_journal();
  const QuantizedNetwork adapted = training.result();
  const Accuracy before = evaluate_fixed(t.base, test, open_model, how);
  const Accuracy after = evaluate_fixed(adapted, test, open_model, how);
  CHECK(before.reconstruction);
  CHECK(after.loss < 0.5 * before.loss);
  MESSAGE("squared error per element: " << before.loss << " before, " << after.loss << " after");

  // The journal is the model.
  const Journal journal = read_journal(path);
  CHECK(journal.records.size() == 400);
  const QuantizedNetwork again =
      replay_network(t.base, journal, "j", journal.result_step(), open_model, how);
  CHECK(weights_hash(again) == weights_hash(adapted));
  CHECK(weights_hash(again) != weights_hash(t.base));
  FixedTraining checked(t.base, config, shifted, open_model, how);
  for (std::size_t k = 0; k < 3; ++k) checked.run().verify(journal.records[k]);

  // Float, from the same weights with the same seeds.
  FloatParams<float> params = dequantize(t.base);
  const Golden<float> golden(t.base.network);
  CHECK(evaluate_float(golden, params, test).loss == doctest::Approx(before.loss).epsilon(0.1));
  FloatTarget target(golden, params, t.base, config.tensors, shifted, config.distribution,
                     config.mask_seed);
  ForwardGradient method(target, shifted.size(), config.forward);
  TrainingRun run(method, {.forward = config.forward});
  CHECK(run.run() == RunEnd::finished);
  const Accuracy in_float = evaluate_float(golden, params, test);
  CHECK(in_float.loss < 0.5 * before.loss);
  MESSAGE("in float: " << in_float.loss);
}

TEST_CASE("reconstruction: the error tells anomalous examples from normal ones") {
  const Trained t;
  Dataset both = points(100, 0, 21);
  const Dataset others = points(60, 0.3, 22, 1);
  both.x.insert(both.x.end(), others.x.begin(), others.x.end());
  both.y.insert(both.y.end(), others.y.begin(), others.y.end());
  const Accuracy fixed = evaluate_fixed(t.base, both, open_model, {});
  const Accuracy in_float = evaluate_float(Golden<float>(t.network), t.params, both);
  REQUIRE(fixed.area);
  REQUIRE(in_float.area);
  CHECK(*fixed.area > 0.9);
  CHECK(*fixed.area == doctest::Approx(*in_float.area).epsilon(0.05));
  CHECK(*fixed.normal_loss < fixed.loss);
  CHECK(fixed.examples == 160);
  CHECK_FALSE(evaluate_fixed(t.base, others, open_model, {}).area);
}

TEST_CASE("reconstruction: area under the curve, by hand, with ties") {
  // Normal 1 2 2 5, anomalous 2 3 6: pairs won 1 + 3 + 4, two ties of 2 with 2: (8 + 2/2) / 12.
  const double scores[] = {2, 1, 3, 2, 6, 5, 2};
  const Label labels[] = {1, 0, 1, 0, 1, 0, 0};
  CHECK(area_under_curve(scores, labels) == 9.0 / 12);
  const Label same[] = {0, 0, 0, 0, 0, 0, 0};
  CHECK_FALSE(area_under_curve(scores, same));
  const Label third[] = {1, 0, 2, 0, 1, 0, 0};
  CHECK_FALSE(area_under_curve(scores, third));
  const double equal[] = {1, 1};
  const Label one_each[] = {0, 1};
  CHECK(area_under_curve(equal, one_each) == 0.5);
}

TEST_CASE("reconstruction: the gradient of the float loss is its slope") {
  const Network net = dense_case(12);
  FloatParams<double> params = random_params<double>(net, 3);
  const auto x = random_values<double>(net, 5, 4);
  const std::vector<Label> labels(5, 0);
  const Golden<double> golden(net);
  Backprop<double> backprop(net);
  FloatParams<double> g = zero_params<double>(net);
  backprop.gradients(params, x, labels, {}, g);
  for (const std::size_t k : {0U, 7U, 31U}) {
    double& w = params.layers[2].weights[k];
    constexpr double kStep = 1e-5;
    w += kStep;
    const double high = golden.loss(params, x, labels).mean;
    w -= 2 * kStep;
    const double low = golden.loss(params, x, labels).mean;
    w += kStep;
    CHECK(g.layers[2].weights[k] == doctest::Approx((high - low) / (2 * kStep)).epsilon(1e-5));
  }
}

TEST_CASE("reconstruction: files keep the loss and the scale of differences") {
  const QuantizedNetwork q = quantize_random(dense_case(37), 3);
  const auto bytes = serialize(q);
  CHECK(parse_quantized(bytes, "q") == q);
  CHECK(parse_network(to_toml(q.network), "toml") == q.network);
  QuantizedNetwork wrong = q;
  wrong.difference->add.zp2 += 1;
  CHECK_THROWS_WITH_AS(serialize(wrong), doctest::Contains("zero point of the target"), Error);
  QuantizedNetwork none = q;
  none.difference.reset();
  CHECK(parse_quantized(serialize(none), "q") == none);
  CHECK_THROWS_WITH_AS(compile(none, {}, {}), doctest::Contains("calibrated"), Error);
}

TEST_CASE("reconstruction: what does not fit is refused before anything runs") {
  CHECK_THROWS_WITH_AS(autoencoder("[1, 1, 8]", dense("a", "7", false)),
                       doctest::Contains("expected the 8 elements of the input"), Error);
  CHECK_THROWS_WITH_AS(
      autoencoder("[4, 4, 2]", layer_text("a", "max_pool2d", "kernel = 1\nstride = 1")),
      doctest::Contains("the last layer of a network whose loss is reconstruction"), Error);
  CHECK_THROWS_WITH_AS(autoencoder("[1, 1, 8]", "classes = 8\n" + dense("a", "8", false)),
                       doctest::Contains("no such key"), Error);
  CHECK_THROWS_WITH_AS(parse_network("name = \"x\"\ninput = [1, 1, 8]\nloss = \"l2\"\n", "x"),
                       doctest::Contains("cross-entropy"), Error);
  const QuantizedNetwork q = quantize_random(dense_case(37), 3);
  CHECK_THROWS_WITH_AS(require_labels(q.network, "run"), doctest::Contains("which run cannot do"),
                       Error);
  CompileOptions o;
  o.readout = ReadoutTraining{1, 0};
  CHECK_THROWS_WITH_AS(compile(q, {}, o), doctest::Contains("which readouts cannot learn"), Error);
  o.readout.reset();
  o.batch = 2;
  const Session s = open(compile(q, {}, o));
  CHECK_THROWS_WITH_AS(s->load_batch(quantized_input(q, 2, 1), std::vector<int>{0, 1}),
                       doctest::Contains("2 labels, expected 0"), Error);
  CHECK_THROWS_WITH_AS(s->load_targets(quantized_input(q, 2, 1), std::vector<std::int8_t>(37)),
                       doctest::Contains("targets have 37 values, expected 74"), Error);
  CHECK_THROWS_WITH_AS(s->load_batch(quantized_input(q, 3, 1), {}),
                       doctest::Contains("batch has 111 values"), Error);
  CHECK_THROWS_WITH_AS(s->logits(), doctest::Contains("no logits"), Error);
  const Dataset data = points(40, 0, 1);
  const Trained t;
  FixedTarget target(t.base, run_of(t.base, data, 1).tensors, data, open_model, {});
  EmbeddedRun in_c;
  in_c.config = run_of(t.base, data, 1);
  in_c.examples = 40;
  CHECK_THROWS_WITH_AS((void)run_embedded(target.device(), target, in_c),
                       doctest::Contains("the host in C"), Error);
}

TEST_CASE("reconstruction: a point is better by bits of a normal distribution") {
  // 100 examples of 10 values whose mean square is 50: a bit is 2 ln 2 of 50, three are 208.
  BestPoint p(100, 100, 2, 10);
  CHECK(p.take(0, 50'000));
  CHECK_FALSE(p.take(10, 49'900));
  CHECK(p.take(20, 49'700));
  CHECK_FALSE(p.diverged());
  CHECK_FALSE(p.take(30, 100'001));
  CHECK_FALSE(p.take(40, 100'001));
  CHECK(p.diverged());
}
