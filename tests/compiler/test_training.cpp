// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>

#include "tests/compiler/run.hpp"

using namespace lastmile;

TEST_CASE("compiler: mantissa and shift are the nearest representable value") {
  Rng rng(test_seed());
  for (int i = 0; i < 5000; ++i) {
    const int bits = rng.below(2) == 0 ? 16 : 24;
    const double value = std::ldexp(1 + rng.uniform(), static_cast<int>(rng.below(40)) - 26);
    const double limit = std::ldexp(1.0, bits);
    if (value >= limit - 1) continue;
    const Scaled s = encode_scaled(value, bits, "t");
    CHECK(s.mantissa < limit);
    CHECK(s.shift <= 31);
    // Half a unit of the last place of a full mantissa, or of 2^-31.
    CHECK(std::abs(s.value() - value) <= std::max(value / limit, 0x1p-32));
  }
  CHECK(encode_scaled(3.0, 16, "t") == Scaled{3, 0});
  CHECK(encode_scaled(0.375, 16, "t") == Scaled{3, 3});
  CHECK(encode_scaled(0, 16, "t") == Scaled{});
  CHECK(encode_scaled(65535.2, 16, "t") == Scaled{65535, 0});
  CHECK(encode_scaled(0x1p-32, 16, "t") == Scaled{1, 31});
  for (const double bad : {-1.0, 65535.5, 0x1p-33, std::nan("")})
    CHECK(mentions(error_of([&] { (void)encode_scaled(bad, 16, "eps of t"); }),
                   {"eps of t", "expected"}));
}

TEST_CASE("compiler: steps keep 16 significant bits wherever shifts allow it") {
  Rng rng(test_seed());
  for (int i = 0; i < 5000; ++i) {
    const double value = std::ldexp(1 + rng.uniform(), static_cast<int>(rng.below(39)) - 16);
    const ScaledStep s = encode_step(value, "t");
    CHECK(s.mantissa <= 65535);
    CHECK(s.shift <= 39);
    CHECK((s.shift == 39 || s.mantissa >= 32768));
    CHECK(std::abs(s.value() - value) <= std::max(value * 0x1p-16, 0x1p-32));
  }
  CHECK(encode_step(1.0, "t").value() == 1.0);
  CHECK(encode_step(65535.0 * 256, "t") == ScaledStep{65535, 0});
  CHECK(encode_step(0x1p-16, "t") == ScaledStep{32768, 39});
  for (const double bad : {0.0, -1.0, 0x1p-17, 65536.0 * 256, std::nan("")})
    CHECK(mentions(error_of([&] { (void)encode_step(bad, "step of t"); }),
                   {"step of t", "expected"}));
}

TEST_CASE("compiler: amplitudes are relative to the tensor, to its scale, or LSBs") {
  const QuantizedNetwork q = quantize_random(norm_case(), 3);
  const QuantizedLayer& layer = q.layers[0];
  double sum = 0, scales = 0;
  for (const std::int16_t w : layer.weights) sum += w * w;
  for (const float s : layer.weight_scale)
    scales += static_cast<double>(s) * static_cast<double>(s);
  const double rms = std::sqrt(sum / static_cast<double>(layer.weights.size()));
  const double scale = std::sqrt(scales / static_cast<double>(layer.weight_scale.size()));
  CHECK(unit_lsb(q, 0, Amplitude::rms) == doctest::Approx(rms));
  CHECK(unit_lsb(q, 0, Amplitude::real) == doctest::Approx(1 / scale));
  CHECK(unit_lsb(q, 0, Amplitude::lsb) == 1);
  const double unit = scale * static_cast<double>(q.input.scale);
  CHECK(unit_lsb(q, 1, Amplitude::real) == doctest::Approx(1 / unit));

  // A bias of zeros moves like a weight whose input is 1.
  QuantizedNetwork zero = q;
  zero.layers[0].bias.assign(zero.layers[0].bias.size(), 0);
  double real = 0;
  for (std::size_t k = 0; k < layer.weights.size(); ++k) {
    const double w =
        layer.weights[k] *
        static_cast<double>(layer.weight_scale[k / static_cast<std::size_t>(layer.columns)]);
    real += w * w;
  }
  real = std::sqrt(real / static_cast<double>(layer.weights.size()));
  CHECK(unit_lsb(zero, 1, Amplitude::rms) * unit == doctest::Approx(real));
  zero.layers[0].weights.assign(zero.layers[0].weights.size(), 0);
  CHECK(unit_lsb(zero, 0, Amplitude::rms) == 1);
  CHECK(mentions(error_of([&] { (void)unit_lsb(q, 4, Amplitude::rms); }), {"no tensor 4"}));
}

TEST_CASE("compiler: a rule chooses layers, biases and masks") {
  const QuantizedNetwork q = quantize_random(norm_case(), 3);  // conv, dw, pool, fc
  TrainingRule rule;
  const auto ids = [&] {
    std::vector<std::uint32_t> out;
    for (const TensorTraining& t : training_plan(q, rule)) out.push_back(t.tensor);
    return out;
  };
  CHECK(ids() == std::vector<std::uint32_t>{0, 1, 2, 3, 6, 7});
  rule.biases = false;
  CHECK(ids() == std::vector<std::uint32_t>{0, 2, 6});
  rule.layers = {false, true, true, false};
  rule.keep = 26;
  CHECK(ids() == std::vector<std::uint32_t>{2});
  CHECK(training_plan(q, rule)[0].keep == 26);
  CHECK(training_plan(q, rule)[0].eps_lsb ==
        doctest::Approx(1e-3 * unit_lsb(q, 2, Amplitude::rms)));
  rule.layers = {false, false, true, false};
  CHECK(mentions(error_of(ids), {"no layer"}));
  rule.layers = {true};
  CHECK(mentions(error_of(ids), {"1 entries", "4"}));
  rule.layers.clear();
  rule.eps = 0;
  CHECK(mentions(error_of(ids), {"eps is 0"}));
  rule.eps = 1;
  rule.keep = 257;
  CHECK(mentions(error_of(ids), {"keep is 257"}));
}

TEST_CASE("compiler: biases with a fine LSB are perturbed as far as a descriptor holds") {
  QuantizedNetwork q = quantize_random(norm_case(), 3);
  std::fill(q.layers[0].bias.begin(), q.layers[0].bias.end(), 600'000'000);
  TrainingRule rule;
  rule.eps = rule.step = 0.05;
  CompileOptions o;
  o.batch = 1;
  o.training = training_plan(q, rule);
  REQUIRE(o.training[1].tensor == 1);
  CHECK(o.training[1].step_lsb == kMostEpsLsb[1]);
  CHECK(o.training[1].eps_lsb == kMostEpsLsb[1]);
  CHECK(o.training[3].eps_lsb == doctest::Approx(0.05 * unit_lsb(q, 3, Amplitude::rms)));
  CHECK_NOTHROW((void)compile(q, {}, o));
  // What somebody asks for in LSBs is not changed silently.
  rule.eps_mode = Amplitude::lsb;
  rule.eps = 0x1p25;
  o.training = training_plan(q, rule);
  CHECK(mentions(error_of([&] { (void)compile(q, {}, o); }), {"perturbation of"}));
}

TEST_CASE("compiler: descriptors hold what the plan asks for, scaled for the distribution") {
  const QuantizedNetwork q = quantize_random(norm_case(), 3);
  CompileOptions o;
  o.batch = 1;
  o.training = {{0, 12.5, 0.75, 256}, {1, 1000, 3, 128}};
  Program p = compile(q, {}, o);
  CHECK(p.find_tensor(0)->eps.value() == 12.5);
  CHECK(p.find_tensor(0)->step.value() == 0.75);
  CHECK(p.forward[0].descriptor.w_eps == 25);
  CHECK(p.forward[0].descriptor.w_eps_shift == 1);
  CHECK(p.forward[0].descriptor.b_keep == 128);
  CHECK(p.forward[0].descriptor.has(spec::kFlagWTrain));
  CHECK(p.forward[0].descriptor.has(spec::kFlagBTrain));
  CHECK(!p.forward[1].descriptor.has(spec::kFlagWTrain));
  REQUIRE(p.update.size() == 2);
  CHECK(p.update[1].descriptor.has(spec::kFlagW32));
  CHECK(p.update[1].descriptor.in_c == 4);
  CHECK(p.update[1].descriptor.out_c == 1);
  CHECK(p.notes.empty());

  o.distribution = spec::Distribution::gaussian_;
  p = compile(q, {}, o);
  CHECK(p.find_tensor(0)->eps.value() == doctest::Approx(12.5 * 3.5 / 127).epsilon(1e-4));
  CHECK(p.find_tensor(0)->step.value() == doctest::Approx(0.75 * 3.5 / 127).epsilon(1e-4));

  // The paper's 8-bit failure is no error, but it is said.
  o.distribution = spec::Distribution::sign_;
  o.training = {{0, 0.3, 1, 256}};
  p = compile(q, {}, o);
  REQUIRE(p.notes.size() == 1);
  CHECK(mentions(p.notes[0], {"conv.weights", "0.3", "nothing"}));
  CHECK(mentions(to_text(p, q.network), {"note: ", "conv.weights"}));
}

TEST_CASE("compiler: what cannot be trained is refused by name") {
  const QuantizedNetwork q = quantize_random(norm_case(), 3);
  const auto compiled = [&](std::vector<TensorTraining> training, int input_layer = kNetworkInput) {
    CompileOptions o;
    o.batch = 1;
    o.training = std::move(training);
    o.input_layer = input_layer;
    return error_of([&] { (void)compile(q, {}, o); });
  };
  CHECK(mentions(compiled({{0, 70000, 1, 256}}), {"conv.weights", "70000", "65536"}));
  CHECK(mentions(compiled({{0, 1, 2e7, 256}}), {"step", "conv.weights", "20000000"}));
  CHECK(mentions(compiled({{1, 2e7, 1, 256}}), {"conv.bias", "20000000", "24 bits"}));
  CHECK(mentions(compiled({{0, 1, 1e-12, 256}}), {"conv.weights", "1e-12"}));
  CHECK(mentions(compiled({{0, 0, 1, 256}}), {"conv.weights", "more than 0"}));
  CHECK(mentions(compiled({{0, 1, 1, 300}}), {"keep of conv.weights", "300"}));
  CHECK(mentions(compiled({{0, 1, 1, 256}, {0, 1, 1, 256}}), {"conv.weights", "twice"}));
  CHECK(mentions(compiled({{4, 1, 1, 256}}), {"tensor 4"}));
  CHECK(mentions(compiled({{0, 1, 1, 256}}, 1), {"conv.weights", "compiled layers"}));
}
