// SPDX-License-Identifier: Apache-2.0
// The loop on a target that records what it is told, and on a quadratic that must be minimized.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "cmodel/numeric/random.hpp"
#include "sw/base/error.hpp"
#include "sw/trainer/forward_gradient.hpp"

namespace lastmile {
namespace {

// L(w) = |w - 1|^2 / 2 in 32 dimensions, perturbed by signs.
class Quadratic final : public ForwardGradientTarget {
 public:
  static constexpr std::uint32_t kDimensions = 32;
  std::vector<double> w = std::vector<double>(kDimensions, 0.0);
  std::vector<std::string> log;
  double step = 0.05;
  std::function<void()> before_update;

  void set_batch(std::span<const std::uint32_t> examples) override {
    log.push_back(fmt::format("batch {}", examples.size()));
  }
  double loss(spec::Polarity polarity, std::uint64_t seed) override {
    log.push_back(fmt::format("{}{}", polarity == spec::Polarity::plus_ ? '+' : '-', seed));
    double sum = 0;
    for (std::uint32_t i = 0; i < kDimensions; ++i) {
      const double moved = w[i] + (polarity == spec::Polarity::plus_ ? 1e-3 : -1e-3) * z(seed, i);
      sum += (moved - 1) * (moved - 1) / 2;
    }
    return sum;
  }
  void update(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
              std::uint32_t step_register) override {
    if (before_update) before_update();
    log.push_back("update");
    for (std::size_t j = 0; j < seeds.size(); ++j)
      for (std::uint32_t i = 0; i < kDimensions; ++i)
        w[i] -= step * step_factor(step_register) * coefficients[j] * z(seeds[j], i);
  }

 private:
  static double z(std::uint64_t seed, std::uint32_t i) {
    return numeric::draw_z(seed, spec::Distribution::sign_, 0, 0, i);
  }
};

}  // namespace

TEST_CASE(
    "trainer: a step is batch, m times plus and minus with consecutive seeds, then one update") {
  Quadratic target;
  ForwardGradientOptions o;
  o.steps = 2, o.pairs = 2, o.batch = 3, o.seed = 10, o.estimator = Estimator::sign;
  train_forward_gradient(target, 9, o, {}, nullptr, {});
  CHECK(target.log == std::vector<std::string>{"batch 3", "+10", "-10", "+11", "-11", "update",
                                               "batch 3", "+12", "-12", "+13", "-13", "update"});
}

TEST_CASE("trainer: both estimators descend a quadratic; the scaled one slows down by itself") {
  for (const auto estimator : {Estimator::sign, Estimator::scaled}) {
    Quadratic target;
    ForwardGradientOptions o;
    o.steps = 400, o.pairs = 4, o.batch = 1, o.estimator = estimator;
    if (estimator == Estimator::scaled)
      o.schedule = StepSchedule::constant, target.step = 0.05 * kScaleOverRms / 127;
    const double start = target.loss(spec::Polarity::plus_, 1);
    train_forward_gradient(target, 1, o, {}, nullptr, {});
    CHECK(target.loss(spec::Polarity::plus_, 1) <
          (estimator == Estimator::sign ? 0.1 : 0.01) * start);
  }
}

TEST_CASE("trainer: coefficients") {
  const std::vector<double> d = {0.5, -0.25, 0.0, 1e-12, -2};
  CHECK(coefficients(Estimator::sign, d, 0) == std::vector<std::int8_t>{1, -1, 0, 1, -1});
  CHECK(coefficients(Estimator::scaled, d, 0.5) == std::vector<std::int8_t>{127, -64, 0, 0, -127});
  CHECK(coefficients(Estimator::scaled, d, 0) == std::vector<std::int8_t>{0, 0, 0, 0, 0});
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

TEST_CASE(
    "trainer: the record is in the journal before its update, and a resumed run ends where an "
    "undisturbed one does") {
  const auto path =
      std::filesystem::temp_directory_path() / ("lastmile-trainer-" + std::to_string(::getpid()));
  ForwardGradientOptions o;
  o.steps = 20, o.pairs = 3, o.batch = 2, o.estimator = Estimator::scaled;
  const JournalHeader header{o.seed, o.pairs, 1, {}};
  Quadratic whole;
  {
    auto journal = JournalWriter::create(path, header);
    std::size_t updates = 0;
    whole.before_update = [&] { CHECK(read_journal(path).records.size() == ++updates); };
    train_forward_gradient(whole, 5, o, {}, &journal, {});
  }
  // Killed between the record of step 7 and its update: the continuation replays 0..7 and goes on
  // at 8.
  Quadratic first, second;
  {
    auto journal = JournalWriter::create(path, header);
    std::size_t updates = 0;
    first.before_update = [&] {
      if (++updates == 8) throw std::runtime_error("killed");
    };
    CHECK_THROWS(train_forward_gradient(first, 5, o, {}, &journal, {}));
  }
  const Journal journal = read_journal(path);
  REQUIRE(journal.records.size() == 8);
  replay(second, journal, 0, 8);
  auto writer = JournalWriter::resume(path, journal);
  train_forward_gradient(second, 5, o, {8, journal.records.back().scale}, &writer, {});
  CHECK(second.w == whole.w);
  Quadratic third;
  replay(third, read_journal(path), 0, 20);
  CHECK(third.w == whole.w);
  std::filesystem::remove(path);
}

TEST_CASE("trainer: options out of range and losses that are not finite are named") {
  ForwardGradientOptions o;
  o.pairs = 9;
  CHECK_THROWS_WITH_AS(validate(o, 100), "pairs is 9, expected 1..8", Error);
  o.pairs = 1, o.batch = 101;
  CHECK_THROWS_WITH_AS(validate(o, 100), "batch is 101, expected 1..100 (the examples to adapt on)",
                       Error);
  Quadratic target;
  target.w[0] = std::numeric_limits<double>::infinity();
  o.batch = 1;
  CHECK_THROWS_WITH_AS(train_forward_gradient(target, 1, o, {}, nullptr, {}),
                       doctest::Contains("the loss is inf"), Error);
}

}  // namespace lastmile
