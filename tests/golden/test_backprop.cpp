// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>

#include "sw/base/error.hpp"
#include "sw/golden/backprop.hpp"
#include "sw/golden/trainer.hpp"
#include "tests/golden/cases.hpp"

using namespace lastmile;

namespace {

std::vector<Label> random_labels(int examples, int classes, std::uint64_t seed) {
  Rng rng(seed, 3);
  std::vector<Label> labels;
  for (int i = 0; i < examples; ++i)
    labels.push_back(static_cast<Label>(rng.below(static_cast<std::uint64_t>(classes))));
  return labels;
}

const std::vector<double>& tensor(const LayerParams<double>& p, TensorKind kind) {
  switch (kind) {
    case TensorKind::weights:
      return p.weights;
    case TensorKind::bias:
      return p.bias;
    case TensorKind::gamma:
      return p.gamma;
    case TensorKind::beta:
      break;
  }
  return p.beta;
}

// Largest difference between the gradients and central differences, relative to the largest
// gradient of the tensor. A step that crosses a corner (ReLU, max pool) gives another slope, so the
// best of three step sizes counts: a wrong gradient fits none.
double worst_difference(const Network& net, const std::vector<bool>& trainable,
                        std::uint64_t seed) {
  constexpr int kExamples = 11;  // two chunks, one of them part full
  auto params = random_params<double>(net, seed);
  const auto x = random_values<double>(net, kExamples, seed);
  const auto labels = random_labels(kExamples, net.classes, seed);
  Backprop<double> backprop(net, 2);
  FloatParams<double> g, unused;
  backprop.gradients(params, x, labels, trainable, g);
  double worst = 0;
  for (TensorRef<double>& ref : tensor_refs(params, trainable)) {
    const auto& gradient = tensor(g.layers[static_cast<std::size_t>(ref.layer)], ref.kind);
    REQUIRE(gradient.size() == ref.values.size());
    double size = 0;
    for (const double v : gradient) size = std::max(size, std::abs(v));
    REQUIRE(size > 1e-6);
    const std::size_t stride = std::max<std::size_t>(1, ref.values.size() / 16);
    for (std::size_t k = 0; k < ref.values.size(); k += stride) {
      const double saved = ref.values[k];
      double best = 1e300;
      for (const double h : {1e-4, 1e-5, 2e-6}) {
        ref.values[k] = saved + h;
        const double up = backprop.gradients(params, x, labels, trainable, unused).mean;
        ref.values[k] = saved - h;
        const double down = backprop.gradients(params, x, labels, trainable, unused).mean;
        best = std::min(best, std::abs((up - down) / (2 * h) - gradient[k]) / size);
        if (best < 1e-7) break;
      }
      ref.values[k] = saved;
      worst = std::max(worst, best);
    }
  }
  return worst;
}

// Three classes that differ in which third of the image is bright.
struct Toy {
  std::vector<float> x;
  std::vector<Label> labels;
};
Toy toy_data(int examples, std::uint64_t seed) {
  Toy toy;
  Rng rng(seed);
  for (int n = 0; n < examples; ++n) {
    const int label = static_cast<int>(rng.below(3));
    toy.labels.push_back(static_cast<Label>(label));
    for (int y = 0; y < 6; ++y) {
      for (int i = 0; i < 10; ++i) {
        toy.x.push_back(static_cast<float>(0.5 * rng.normal() + (y / 2 == label ? 1.0 : 0.0)));
      }
    }
  }
  return toy;
}

}  // namespace

TEST_CASE(
    "golden: gradients of every operator equal finite differences to 1e-6, batch norm over the "
    "batch included") {
  const std::uint64_t seed = test_seed();
  for (const Network& net : operator_cases()) {
    CAPTURE(net.name);
    CHECK(worst_difference(net, {}, seed) < 1e-6);
  }
}

TEST_CASE(
    "golden: with part of the layers frozen, the others' gradients equal finite differences") {
  const std::uint64_t seed = test_seed();
  const Network norm = norm_case();
  CHECK(worst_difference(norm, trainable_layers(norm, {"conv"}), seed) < 1e-6);
  CHECK(worst_difference(norm, trainable_layers(norm, {"dw"}), seed) < 1e-6);
  CHECK(worst_difference(norm, trainable_layers(norm, {"head"}), seed) < 1e-6);
  const Network plain = fold_network(norm);
  CHECK(worst_difference(plain, {}, seed) < 1e-6);
}

TEST_CASE(
    "golden: frozen layers have zero gradients, keep their statistics, and the loss is that of the "
    "forward pass") {
  const Network net = norm_case();
  auto params = random_params<double>(net, 2);
  const auto before = params;
  const auto x = random_values<double>(net, 16, 2);
  const auto labels = random_labels(16, 3, 2);
  BackpropOptions options;
  options.trainable = trainable_layers(net, {"head"});
  BackpropTrainer<double> trainer(net, options, 10);
  const double loss = trainer.step(params, x, labels).mean;
  CHECK(loss == doctest::Approx(Golden<double>(net).loss(before, x, labels).mean).epsilon(1e-12));
  CHECK(params.layers[0] == before.layers[0]);
  CHECK(params.layers[1] == before.layers[1]);
  CHECK(params.layers[3].weights != before.layers[3].weights);
  for (const double v : trainer.gradients().layers[0].weights) CHECK(v == 0);
  CHECK(Golden<double>(net).loss(params, x, labels).mean < loss);
}

TEST_CASE("golden: one thread and several train to the same bits") {
  const Network net = norm_case();
  const Toy toy = toy_data(96, 4);
  FloatParams<float> results[2];
  for (int k = 0; k < 2; ++k) {
    results[k] = init_params<float>(net, 1);
    BackpropOptions options;
    options.batch = 48;
    options.epochs = 2;
    options.threads = k == 0 ? 1 : 3;
    train<float>(net, results[k], 96, memory_source<float>(toy.x, toy.labels), options);
  }
  CHECK(results[0] == results[1]);
}

TEST_CASE("golden: both optimizers learn, raw with batch norm and then folded") {
  const Network net = norm_case();
  const Toy toy = toy_data(512, 5);
  const Toy fresh = toy_data(512, 6);
  for (const Optimizer optimizer : {Optimizer::sgd, Optimizer::adam}) {
    auto params = init_params<float>(net, 1);
    BackpropOptions options;
    options.optimizer = optimizer;
    options.learning_rate = optimizer == Optimizer::sgd ? 0.05 : 0.01;
    options.weight_decay = 1e-4;
    options.batch = 32;
    options.epochs = 12;
    int steps = 0;
    TrainCallbacks callbacks;
    callbacks.on_step = [&](std::int64_t, std::int64_t total, const BatchLoss&) {
      ++steps;
      CHECK(total == 12 * 16);
    };
    const auto reports =
        train<float>(net, params, 512, memory_source<float>(toy.x, toy.labels), options, callbacks);
    REQUIRE(reports.size() == 12);
    CHECK(steps == 12 * 16);
    CHECK(reports.back().loss < 0.5 * reports.front().loss);
    const Network plain = fold_network(net);
    auto folded = fold_params(net, params);
    const Golden<float> golden(plain);
    const BatchLoss after = golden.loss(folded, fresh.x, fresh.labels);
    CHECK(after.correct > 512 * 85 / 100);
    CHECK(
        after.mean ==
        doctest::Approx(Golden<float>(net).loss(params, fresh.x, fresh.labels).mean).epsilon(1e-4));
    options.learning_rate *= 0.1;
    options.epochs = 3;
    const double before = golden.loss(folded, toy.x, toy.labels).mean;
    train<float>(plain, folded, 512, memory_source<float>(toy.x, toy.labels), options);
    CHECK(golden.loss(folded, toy.x, toy.labels).mean < before);
  }
}

TEST_CASE("golden: optimizer steps are their formulas") {
  const Network net = fold_network(norm_case());
  const auto x = random_values<double>(net, 8, 1);
  const auto labels = random_labels(8, 3, 1);
  for (const Optimizer optimizer : {Optimizer::sgd, Optimizer::adam}) {
    auto params = random_params<double>(net, 1);
    BackpropOptions o;
    o.optimizer = optimizer;
    o.learning_rate = 0.01;
    o.weight_decay = 0.1;
    o.schedule = Schedule::constant;
    BackpropTrainer<double> trainer(net, o, 3);
    double m = 0, s = 0;
    for (int t = 1; t <= 3; ++t) {
      const double w = params.layers[0].weights[5];
      const double b = params.layers[0].bias[1];
      trainer.step(params, x, labels);
      const double g = trainer.gradients().layers[0].weights[5];
      double expected = 0;
      if (optimizer == Optimizer::sgd) {
        m = 0.9 * m + g + 0.1 * w;
        expected = w - 0.01 * m;
        if (t == 1)
          CHECK(params.layers[0].bias[1] ==
                doctest::Approx(b - 0.01 * trainer.gradients().layers[0].bias[1]));
      } else {
        m = 0.9 * m + 0.1 * g;
        s = 0.999 * s + 0.001 * g * g;
        expected = w - 0.01 * (m / (1 - std::pow(0.9, t)) /
                                   (std::sqrt(s / (1 - std::pow(0.999, t))) + 1e-8) +
                               0.1 * w);
      }
      CHECK(params.layers[0].weights[5] == doctest::Approx(expected).epsilon(1e-12));
    }
  }
  BackpropOptions o;
  o.learning_rate = 2;
  o.final_fraction = 0.1;
  o.warmup_steps = 4;
  CHECK(rate_at(o, 0, 100) == doctest::Approx(0.5));
  CHECK(rate_at(o, 50, 100) == doctest::Approx(2 * 0.55));
  CHECK(rate_at(o, 100, 100) == doctest::Approx(0.2));
}

TEST_CASE("golden: divergence and options out of range are errors") {
  const Network net = norm_case();
  const Toy toy = toy_data(64, 7);
  const auto run = [&](BackpropOptions options, auto spoil) {
    auto params = init_params<float>(net, 1);
    spoil(params);
    options.batch = 32;
    options.epochs = 20;
    train<float>(net, params, 64, memory_source<float>(toy.x, toy.labels), options);
  };
  const auto nothing = [](FloatParams<float>&) {};
  BackpropOptions fast;
  fast.learning_rate = 1e5;
  CHECK_THROWS_WITH_AS(run(fast, nothing), doctest::Contains("training diverged at step"), Error);
  BackpropOptions wrong;
  wrong.momentum = 1.5;
  CHECK_THROWS_WITH_AS(run(wrong, nothing), doctest::Contains("momentum is 1.5, expected 0 to 1"),
                       Error);
  CHECK_THROWS_WITH_AS(run({}, [](FloatParams<float>& p) { p.layers[1].gamma[1] = INFINITY; }),
                       doctest::Contains("layer 'dw': gamma[1] is inf"), Error);
}
