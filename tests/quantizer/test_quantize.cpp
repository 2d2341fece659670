// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "tests/quantizer/cases.hpp"
#include "tests/quantizer/reference.hpp"

using namespace lastmile;

TEST_CASE("quantizer: multipliers are normalized and within half a unit of their factor") {
  Rng rng(test_seed());
  for (int i = 0; i < 20000; ++i) {
    const double factor = std::ldexp(1 + rng.uniform(), static_cast<int>(rng.below(69)) - 40);
    const Requant r = encode_requant(factor, "t");
    CHECK(r.multiplier >= 1 << 30);
    CHECK(r.exponent >= -40);
    CHECK(r.exponent <= 30);
    const double exact = std::ldexp(factor, 31 - r.exponent);
    CHECK(std::abs(exact - r.multiplier) <= 0.5);
  }
  CHECK(encode_requant(0.5, "t") == Requant{1 << 30, 0});
  // Rounds up to a power of two: one more exponent.
  CHECK(encode_requant(1 - 0x1p-40, "t") == Requant{1 << 30, 1});
  const Requant tiny = encode_requant(1e-30, "t");
  CHECK(numeric::rescale(numeric::kAccMax, tiny.multiplier, tiny.exponent) == 0);
  for (const double bad : {0.0, -1.0, 0x1p30, std::nan("")})
    CHECK(mentions(error_of([&] { (void)encode_requant(bad, "the factor"); }), {"the factor"}));
}

TEST_CASE("quantizer: int8 of an interval represents zero exactly and reaches both ends") {
  Rng rng(test_seed());
  for (int i = 0; i < 2000; ++i) {
    const double low = -std::exp(3 * rng.normal()), high = std::exp(3 * rng.normal());
    const TensorQuant q = choose_quant(low, high);
    const double step = static_cast<double>(q.scale);
    CHECK(std::abs(step * (-128 - q.zero_point) - low) <= 0.51 * step);
    CHECK(std::abs(step * (127 - q.zero_point) - high) <= 0.51 * step);
    const std::vector<float> zero = {0.0F};
    std::vector<std::int8_t> level(1);
    quantize_activations(zero, q, level);
    CHECK(level[0] == q.zero_point);
  }
  CHECK(choose_quant(0, 2.55).zero_point == -128);
  CHECK(choose_quant(0, 0) == TensorQuant{1, 0});
}

TEST_CASE("quantizer: clamps are the activation on the tensor's own grid") {
  const TensorQuant q{0.05F, -128};
  CHECK(activation_clamp(Activation::none, q) == std::array<std::int32_t, 2>{-128, 127});
  CHECK(activation_clamp(Activation::relu, q) == std::array<std::int32_t, 2>{-128, 127});
  CHECK(activation_clamp(Activation::relu6, q) == std::array<std::int32_t, 2>{-128, -8});
  CHECK(activation_clamp(Activation::relu, {0.05F, 3}) == std::array<std::int32_t, 2>{3, 127});
}

TEST_CASE("quantizer: weights are within half a step, with the headroom asked for") {
  const std::uint64_t seed = test_seed();
  for (const WeightType type : {WeightType::w8, WeightType::w16}) {
    for (const Network& net : operator_cases()) {
      QuantizeOptions o;
      o.weight_type = type;
      o.weight_headroom = 1.5;
      const QuantizedNetwork q = quantize_random(net, seed, o);
      const auto params = fold_params(net, random_params<float>(net, seed));
      const auto back = dequantize(q);
      for (std::size_t i = 0; i < q.layers.size(); ++i) {
        const Layer& layer = q.network.layers[i];
        if (!has_weights(layer)) continue;
        std::int32_t largest = 0;
        for (std::size_t k = 0; k < q.layers[i].weights.size(); ++k) {
          const int columns = q.layers[i].columns;
          const int channel =
              channel_of(layer, static_cast<int>(k) / columns, static_cast<int>(k) % columns);
          const double scale =
              static_cast<double>(q.layers[i].weight_scale[static_cast<std::size_t>(channel)]);
          const double error =
              static_cast<double>(params.layers[i].weights[k] - back.layers[i].weights[k]);
          CHECK(std::abs(error) <= 0.5001 * scale);
          largest = std::max<std::int32_t>(largest, std::abs(q.layers[i].weights[k]));
        }
        // The widest channel uses exactly 1 / headroom of the range.
        CHECK(std::abs(largest - weight_limit(type) / 1.5) <= 1);
        for (std::size_t c = 0; c < q.layers[i].bias.size(); ++c) {
          const double unit = static_cast<double>(q.layers[i].weight_scale[c]) *
                              static_cast<double>(q.quant_of(layer.inputs[0]).scale);
          CHECK(std::abs(static_cast<double>(params.layers[i].bias[c] - back.layers[i].bias[c])) <=
                0.5 * unit + 1e-6);
        }
      }
    }
  }
}

TEST_CASE("quantizer: a channel of small weights gets room to grow, one of zeros is no error") {
  Network net = norm_case();
  auto params = random_params<float>(net, 3);
  params.layers[3].weights.assign(params.layers[3].weights.size(), 0.0F);  // fc
  const std::size_t per = params.layers[0].weights.size() / 4;
  for (std::size_t k = 0; k < per; ++k) params.layers[0].weights[per + k] *= 1e-6F;
  const auto x = random_values<float>(net, 8, 4);
  QuantizeOptions o;
  o.channel_floor = 0.25;
  const auto ranges = calibrate(Golden<float>(net), params, x);
  const QuantizedNetwork q = quantize(net, params, ranges, o);
  const auto& scale = q.layers[0].weight_scale;
  const float widest = *std::max_element(scale.begin(), scale.end());
  CHECK(scale[1] == doctest::Approx(widest / 4).epsilon(1e-5));
  CHECK(std::all_of(q.layers[3].weights.begin(), q.layers[3].weights.end(),
                    [](int w) { return w == 0; }));
  o.per_channel = false;
  const QuantizedNetwork whole = quantize(net, params, ranges, o);
  for (const float s : whole.layers[0].weight_scale) CHECK(s == whole.layers[0].weight_scale[0]);
}

TEST_CASE("quantizer: a bias too large for 32 bits widens its channel's scale") {
  Network net = norm_case();
  auto params = random_params<float>(net, 5);
  params.layers[0].beta[1] = 3e6F;
  const auto ranges = calibrate(Golden<float>(net), params, random_values<float>(net, 8, 6));
  const QuantizedNetwork q = quantize(net, params, ranges);
  CHECK(static_cast<double>(dequantize(q).layers[0].bias[1]) == doctest::Approx(3e6));
  CHECK(std::abs(q.layers[0].bias[1]) <= (1 << 30) + 100);
}

TEST_CASE("quantizer: bad parameters and options are refused by name") {
  const Network net = norm_case();
  auto params = random_params<float>(net, 7);
  const auto x = random_values<float>(net, 4, 8);
  const auto ranges = calibrate(Golden<float>(net), params, x);
  params.layers[1].weights[2] = std::numeric_limits<float>::quiet_NaN();
  CHECK(mentions(error_of([&] { (void)quantize(net, params, ranges); }), {"dw", "weights", "nan"}));
  params = random_params<float>(net, 7);
  QuantizeOptions o;
  o.weight_headroom = 0.5;
  CHECK(mentions(error_of([&] { (void)quantize(net, params, ranges, o); }),
                 {"weight headroom", "0.5"}));
  CHECK(mentions(error_of([&] { (void)quantize(net, params, CalibrationRanges{}); }),
                 {"calibration"}));
}

TEST_CASE("quantizer: the loss multiplier is the logit scale in units of log2") {
  const QuantizedNetwork q = quantize_random(norm_case(), 9);
  const double factor = q.logits.loss_multiplier * std::ldexp(1.0, -q.logits.loss_shift);
  const double exact = static_cast<double>(q.logits.scale) / std::log(2.0) * 0x1p20;
  CHECK(factor == doctest::Approx(exact).epsilon(2e-5));
  CHECK(q.logits.loss_multiplier >= 32768);
  CHECK(q.logits.loss_multiplier <= 65535);
}

// The check that the pieces fit together: scales, zero points, clamps, layouts and folding.
TEST_CASE("quantizer: integer networks follow the float model") {
  const std::uint64_t seed = test_seed();
  for (const WeightType type : {WeightType::w8, WeightType::w16}) {
    for (const Network& net : operator_cases()) {
      CAPTURE(net.name);
      QuantizeOptions o;
      o.weight_type = type;
      o.weight_headroom = 1;
      const auto params = random_params<float>(net, seed);
      const auto x = random_values<float>(net, 24, seed + 1);
      const Golden<float> golden(net);
      const QuantizedNetwork q = quantize(net, params, calibrate(golden, params, x), o);
      std::vector<std::int8_t> xq(x.size());
      quantize_activations(x, q.input, xq);
      const reference::Result r = reference::run(q, xq);
      const auto trace = golden.trace(params, x);
      for (std::size_t i = 0; i < q.layers.size(); ++i) {
        CAPTURE(net.layers[i].name);
        const TensorQuant& quant = q.layers[i].out;
        double error = 0, power = 0;
        for (std::size_t k = 0; k < r.layers[i].size(); ++k) {
          const double real = static_cast<double>(trace[i].post[k]);
          const double got = static_cast<double>(quant.scale) * (r.layers[i][k] - quant.zero_point);
          error += (real - got) * (real - got);
          power += real * real;
        }
        CHECK(std::sqrt(error / power) < (type == WeightType::w8 ? 0.08 : 0.05));
      }
      const auto& head = trace[static_cast<std::size_t>(net.logits_layer())].post;
      double error = 0, power = 0;
      for (std::size_t k = 0; k < head.size(); ++k) {
        const double real = static_cast<double>(head[k]);
        error += std::pow(real - static_cast<double>(q.logits.scale) * r.logits[k], 2);
        power += real * real;
      }
      CHECK(std::sqrt(error / power) < (type == WeightType::w8 ? 0.08 : 0.05));
    }
  }
}

TEST_CASE("quantizer: the dequantized network is a fixed point of quantization") {
  const Network net = norm_case();
  const auto params = random_params<float>(net, 21);
  const auto ranges = calibrate(Golden<float>(net), params, random_values<float>(net, 8, 22));
  QuantizeOptions o;
  o.weight_headroom = 1;
  const QuantizedNetwork q = quantize(net, params, ranges, o);
  const QuantizedNetwork again = quantize(q.network, dequantize(q), ranges, o);
  CHECK(weights_hash(q) == weights_hash(again));
}
