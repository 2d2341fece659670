// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "sw/validate/emulation.hpp"
#include "sw/validate/signal.hpp"
#include "sw/validate/sweep.hpp"
#include "tests/validate/cases.hpp"

namespace lastmile {
namespace {

AdaptOptions options_for(double eps, double step) {
  AdaptOptions o;
  o.unit = AmplitudeUnit::rms;
  o.eps = eps;
  o.step = step;
  o.forward.batch = 32;
  o.fixed.batch = 32;
  return o;
}

std::vector<std::uint32_t> first(std::uint32_t n) {
  std::vector<std::uint32_t> out;
  for (std::uint32_t i = 0; i < n; ++i) out.push_back(i);
  return out;
}

}  // namespace

TEST_CASE(
    "validate: the emulation at the hardware's widths is the device: same losses, same updates") {
  for (const auto distribution : {spec::Distribution::sign_, spec::Distribution::gaussian_}) {
    const ValidateCase c = validate_case(two_convolutions(), test_seed());
    AdaptOptions o = options_for(0.05, 0.02);
    o.keep = 0.5;
    o.fixed.distribution = distribution;
    const auto plan = plan_training(c.quantized, o, c.data, open_model);
    FixedTarget device(c.quantized, plan, c.data, open_model, o.fixed);
    EmulatedTarget<float> emulated(c.network, c.params, c.quantized, plan, c.data, distribution, 0,
                                   Widths{16, 8, 16}, 1);
    device.set_batch(first(32));
    emulated.set_batch(first(32));
    for (const auto polarity :
         {spec::Polarity::none_, spec::Polarity::plus_, spec::Polarity::minus_})
      CHECK(emulated.loss(polarity, 7) == doctest::Approx(device.loss(polarity, 7)).epsilon(2e-4));
    const std::vector<std::uint64_t> seeds = {7, 8, 9};
    const std::vector<std::int8_t> coefficients = {1, -1, 1};
    for (const std::uint32_t step : {65535U, 40000U | 2U << 16}) {
      device.update(seeds, coefficients, step);
      emulated.update(seeds, coefficients, step);
    }
    const auto expected = dequantize(device.network());
    for (std::size_t i = 0; i < expected.layers.size(); ++i)
      for (std::size_t k = 0; k < expected.layers[i].weights.size(); ++k)
        REQUIRE(emulated.params().layers[i].weights[k] ==
                doctest::Approx(expected.layers[i].weights[k]).epsilon(1e-6));
  }
}

TEST_CASE("validate: without widths the emulation is the float target") {
  const ValidateCase c = validate_case(two_convolutions(), test_seed());
  const AdaptOptions o = options_for(0.05, 0.02);
  const auto plan = plan_training(c.quantized, o, c.data, open_model);
  const Golden<float> golden(c.network);
  FloatParams<float> params = c.params;
  FloatTarget target(golden, params, c.quantized, plan, c.data, o.fixed.distribution, 0);
  EmulatedTarget<double> emulated(c.network, convert_params<double>(c.params), c.quantized, plan,
                                  c.data, o.fixed.distribution, 0, Widths{0, 0, 0}, 1);
  for (int round = 0; round < 2; ++round) {
    target.set_batch(first(32));
    emulated.set_batch(first(32));
    for (const auto polarity : {spec::Polarity::plus_, spec::Polarity::minus_})
      CHECK(emulated.loss(polarity, 3) == doctest::Approx(target.loss(polarity, 3)).epsilon(1e-5));
    const std::vector<std::uint64_t> seeds = {3};
    const std::vector<std::int8_t> ones = {1};
    target.update(seeds, ones, 65535);
    emulated.update(seeds, ones, 65535);
  }
}

TEST_CASE(
    "validate: rounding of updates: stochastic keeps small steps, nearest loses them, floor "
    "drifts") {
  const std::uint64_t seed = test_seed();
  constexpr int kDraws = 100000;
  const RoundingPoint tenth = measure_rounding(0.1, spec::Distribution::sign_, kDraws, seed);
  CHECK(tenth.stochastic.retained == doctest::Approx(1).epsilon(0.06));
  CHECK(std::abs(tenth.stochastic.bias) < 0.005);
  CHECK(tenth.stochastic.variance == doctest::Approx(0.09).epsilon(0.05));
  CHECK(tenth.nearest.retained == 0);
  CHECK(tenth.floor.bias == doctest::Approx(0.5).epsilon(0.03));
  // Gaussian z: the shares that nearest keeps are known (design note of the seed paper's traps).
  const auto gaussian = [&](double step) {
    return measure_rounding(step, spec::Distribution::gaussian_, kDraws, seed);
  };
  CHECK(gaussian(0.33).nearest.retained == doctest::Approx(0.79).epsilon(0.05));
  CHECK(gaussian(0.2).nearest.retained == doctest::Approx(0.17).epsilon(0.15));
  CHECK(gaussian(0.1).nearest.retained < 0.01);
  CHECK(gaussian(0.1).stochastic.retained == doctest::Approx(1).epsilon(0.1));
}

TEST_CASE("validate: differences are compared by sign, zeros count half") {
  const std::vector<double> reference = {1, -1, 2, -2}, fixed = {1, 1, 0, -2};
  const FlipPoint p = compare_differences(reference, fixed);
  CHECK(p.flips == 1);
  CHECK(p.zeros == 1);
  CHECK(p.lost.value == doctest::Approx(0.375));
  CHECK(p.signal == doctest::Approx(std::sqrt(2.5)));
  CHECK(p.noise == doctest::Approx(std::sqrt(2.0)));
  const FlipPoint dead = compare_differences(reference, std::vector<double>(4, 0.0));
  CHECK(dead.lost.value == 0.5);
  CHECK(dead.predicted == 0.5);
}

TEST_CASE("validate: the signal of a network: lost signs follow the noise, cosines the theory") {
  const ValidateCase c = validate_case(two_convolutions(), test_seed());
  SignalOptions s;
  s.eps = {0.005, 1};
  s.batches = {16};
  s.steps = {0.1, 1};
  s.probes = 128;
  s.examples = 192;
  s.drift_steps = 20;
  s.short_steps = 40;
  s.judged_examples = 64;
  const SignalReport r = measure_signal(c.network, c.params, c.quantized, c.data, c.data,
                                        options_for(0.02, 0.01), s, open_model, {});
  REQUIRE(r.by_eps.size() == 2);
  CHECK(r.by_eps[0].lost.value > r.by_eps[1].lost.value + 0.1);
  CHECK(r.by_eps[1].lost.value < 0.1);
  CHECK(r.by_eps[1].projection > 0.9);
  for (const FlipPoint& p : r.by_eps) {
    CAPTURE(p.x);
    CHECK(p.predicted > p.lost.low - 0.05);
    CHECK(p.predicted < p.lost.high + 0.05);
  }
  // Nothing but the slope and one number of noise explains the share of lost signs at the other e.
  CHECK(r.by_eps[1].curvature < kLinear);
  CHECK(r.by_eps[1].linear > r.by_eps[1].lost.low - 0.05);
  CHECK(r.by_eps[1].linear < r.by_eps[1].lost.high + 0.05);
  REQUIRE(r.by_pairs.size() >= 4);
  for (const DirectionPoint& p : r.by_pairs) {
    CAPTURE(p.pairs);
    CAPTURE(p.eps);
    const FlipPoint& signs = p.eps == r.by_eps[0].x ? r.by_eps[0] : r.by_eps[1];
    const double expected = p.exact_signed * signs.projection;
    CHECK(std::abs(p.fixed_signed - expected) < 4 * p.standard_error + 0.1 * p.exact_signed);
    CHECK(p.any_flip == doctest::Approx(p.any_flip_expected).epsilon(0.3));
    if (p.eps != r.by_eps[1].x) continue;
    CHECK(p.fixed_scaled == doctest::Approx(p.exact_scaled).epsilon(0.25));
    CHECK(p.fixed_float > 0.8);
  }
  // Emulated widths: float32 has no noise, coarser weights have more than fine ones.
  CHECK(r.by_width.back().label == "float32");
  CHECK(r.by_width.back().lost.value == 0);
  const auto noise = [&](const std::string& label, double eps) {
    for (const FlipPoint& p : r.by_width)
      if (p.label == label && p.eps == eps) return p.noise;
    return -1.0;
  };
  CHECK(noise("w8 a8 l16", 0.02) > noise("w16 a8 l16", 0.02));
  CHECK(noise("w16 a8 l16", 0.02) > noise("w16 a16 l16", 0.02));
  CHECK(noise("float32", 0.0001) >= 0);
  // Signs: every weight moves where a step is an LSB or more; a random walk is what random signs
  // do.
  CHECK(r.unchanged_share < 0.05);
  CHECK(r.drift == doctest::Approx(r.drift_theory).epsilon(0.1));
  CHECK(std::abs(r.drift_bias_sigma) < 5);
  CHECK(r.recommended_eps > 0);
  CHECK(r.recommended_step > 0);
  CHECK(!r.by_step.empty());
  CHECK(!r.remarks.empty());
}

TEST_CASE("validate: an e that descriptors cannot hold is measured at one that they can") {
  const ValidateCase c = validate_case(two_convolutions(), test_seed());
  SignalOptions s;
  s.eps = {0.01, 1};
  s.batches = {};
  s.steps = {0.1};
  s.probes = 8;
  s.examples = 64;
  s.every_width = false;
  s.drift_steps = 2;
  s.short_steps = 2;
  const SignalReport r = measure_signal(c.network, c.params, c.quantized, c.data, c.data,
                                        options_for(40, 0.01), s, open_model, {});
  CHECK(r.eps < 40);
  CHECK(r.eps > 40.0 / 64);
  REQUIRE(!r.remarks.empty());
  CHECK(mentions(r.remarks.front(), {"e = 40 as configured", "measured at"}));
}

TEST_CASE("validate: the sweep shows 8-bit weights without a signal and 16-bit ones with it") {
  const ValidateCase c = validate_case(two_convolutions(), test_seed());
  SweepOptions o;
  o.weights = {8, 16};
  o.activations = {8};
  o.logits = {8, 16};
  o.steps = 60;
  o.probes = 16;
  o.seeds = 2;
  const SweepReport r = sweep_widths(c.network, c.params, c.quantized, {c.data, c.data, c.data},
                                     options_for(0.02, 0.01), o, {});
  REQUIRE(r.points.size() == 2 * (1 + 2 * 2));
  for (const SweepPoint& p : r.points) {
    if (p.widths.weights == 8) {
      CHECK(p.perturbed_share == 0);
      CHECK(p.lost == 0.5);
      CHECK(p.after == p.before);
    } else {
      CHECK(p.perturbed_share > 0.9);
      CHECK(p.lost < 0.5);
    }
  }
  CHECK(r.turns_at[0] != 8);
}

}  // namespace lastmile
