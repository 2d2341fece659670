// SPDX-License-Identifier: Apache-2.0
// The loop on a target that records what it is told, and on a quadratic that must be minimized.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/trainer/forward_gradient.hpp"
#include "sw/trainer/training_run.hpp"
#include "tests/trainer/quadratic.hpp"

namespace lastmile {
namespace {

void train(ForwardGradientTarget& target, std::size_t examples, const ForwardGradientOptions& o) {
  ForwardGradient method(target, examples, o);
  TrainingRun(method, {.forward = o}).run();
}

}  // namespace

TEST_CASE("trainer: a step is batch, m times plus and minus with the seeds of pairs, then update") {
  Quadratic target;
  ForwardGradientOptions o;
  o.steps = 2, o.pairs = 2, o.batch = 3, o.seed = 10, o.estimator = Estimator::sign;
  train(target, 9, o);
  std::vector<std::string> expected;
  for (const std::uint32_t step : {0U, 1U}) {
    expected.emplace_back("batch 3");
    for (const std::uint64_t seed : pair_seeds(o, step))
      for (const char* sign : {"+", "-"}) expected.push_back(sign + std::to_string(seed));
    expected.emplace_back("update");
  }
  CHECK(target.log == expected);
}

TEST_CASE("trainer: both estimators descend a quadratic; the scaled one slows down by itself") {
  for (const auto estimator : {Estimator::sign, Estimator::scaled}) {
    Quadratic target;
    ForwardGradientOptions o;
    o.steps = 400, o.pairs = 4, o.batch = 1, o.estimator = estimator;
    if (estimator == Estimator::scaled)
      o.schedule = StepSchedule::constant, target.step = 0.05 / 127;
    const double start = target.loss(spec::Polarity::plus_, 1);
    train(target, 1, o);
    CHECK(target.loss(spec::Polarity::plus_, 1) <
          (estimator == Estimator::sign ? 0.1 : 0.01) * start);
  }
}

TEST_CASE("trainer: coefficients") {
  const std::vector<std::int64_t> d = {500, -250, 0, 1, -2000};
  CHECK(coefficients(Estimator::sign, d, 0) == std::vector<std::int8_t>{1, -1, 0, 1, -1});
  CHECK(coefficients(Estimator::scaled, d, 500) == std::vector<std::int8_t>{127, -64, 0, 0, -127});
  CHECK(coefficients(Estimator::scaled, d, 0) == std::vector<std::int8_t>{0, 0, 0, 0, 0});
}

namespace {

// Losses as large as a batch can have them, one unit apart.
class Almost final : public ForwardGradientTarget {
 public:
  static constexpr std::int64_t kLarge = std::int64_t{65535} * 0x7fffffff - 1;
  std::vector<int> seen;
  void set_batch(std::span<const std::uint32_t>) override {}
  std::int64_t loss_sum(spec::Polarity polarity, std::uint64_t seed) override {
    const std::int64_t d = static_cast<std::int64_t>(seed % 3) - 1;
    return kLarge + (polarity == spec::Polarity::plus_ ? d : 0);
  }
  double loss(spec::Polarity, std::uint64_t) override { return 0; }
  void update(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
              std::uint32_t) override {
    for (std::size_t j = 0; j < seeds.size(); ++j)
      seen.push_back(coefficients[j] - (static_cast<int>(seeds[j] % 3) - 1));
  }
};

}  // namespace

TEST_CASE("trainer: the difference of two losses is exact, however large they are") {
  Almost target;
  ForwardGradientOptions o;
  o.steps = 50, o.pairs = 3, o.batch = 1, o.estimator = Estimator::sign;
  train(target, 1, o);
  CHECK(target.seen == std::vector<int>(150, 0));
}

TEST_CASE("trainer: register STEP follows the schedule to 16 bits") {
  ForwardGradientOptions o;
  o.steps = 1000;
  o.schedule = StepSchedule::cosine;
  double last = 1;
  for (std::uint32_t s = 0; s < o.steps; ++s) {
    const double want = 0.5 * (1 + std::cos(3.14159265358979 * (s + 0.5) / 1000));
    const double got = step_factor(step_register(o, s));
    CHECK(got == doctest::Approx(want).epsilon(2e-5));
    CHECK(got <= last);
    CHECK((step_register(o, s) >> 16) <= 16);
    last = got;
  }
  o.schedule = StepSchedule::constant;
  CHECK(step_register(o, 999) == 65535);
}

TEST_CASE("trainer: every epoch shows every example once, and any step's batch is known alone") {
  BatchSampler in_order(7, 10, 4);
  std::vector<std::uint32_t> seen;
  std::vector<std::vector<std::uint32_t>> batches;
  for (std::uint32_t s = 0; s < 10; ++s) {
    batches.push_back(in_order.batch(s));
    seen.insert(seen.end(), batches.back().begin(), batches.back().end());
  }
  for (int epoch = 0; epoch < 4; ++epoch)
    CHECK(
        std::set<std::uint32_t>(seen.begin() + epoch * 10, seen.begin() + epoch * 10 + 10).size() ==
        10);
  CHECK_FALSE(std::equal(seen.begin(), seen.begin() + 10, seen.begin() + 10));
  for (const std::uint32_t s : {9U, 2U, 5U}) CHECK(BatchSampler(7, 10, 4).batch(s) == batches[s]);
}

TEST_CASE("trainer: options out of range and losses that are not finite are named") {
  ForwardGradientOptions o;
  o.pairs = 9;
  CHECK_THROWS_WITH_AS(check_options(o, 100), "pairs is 9, expected 1..8", Error);
  o.pairs = 1, o.batch = 101;
  CHECK_THROWS_WITH_AS(check_options(o, 100),
                       "batch is 101, expected 1..100 (the examples to adapt on)", Error);
  Quadratic target;
  target.w[0] = std::numeric_limits<double>::infinity();
  o.batch = 1;
  CHECK_THROWS_WITH_AS(train(target, 1, o), doctest::Contains("the loss is inf"), Error);
}

}  // namespace lastmile
