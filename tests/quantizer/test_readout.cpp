// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>

#include "sw/quantizer/file.hpp"
#include "sw/quantizer/readout.hpp"
#include "tests/quantizer/cases.hpp"
#include "tests/quantizer/reference.hpp"

using namespace lastmile;

namespace {

// Three sizes before the features, a residual add among them.
Network deep_case() {
  return make_network(
      "deep", "[13, 9, 2]",
      layer_text("a", "conv2d",
                 "filters = 6\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("b", "max_pool2d", "kernel = 2\nstride = 2\npadding = \"same\"") +
          layer_text("c", "conv2d",
                     "filters = 6\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("s", "add", "inputs = [\"b\", \"c\"]\nactivation = \"relu\"") +
          layer_text("d", "conv2d", "filters = 10\nkernel = 3\nstride = 2\nactivation = \"relu\"") +
          layer_text("g", "global_average_pool", ""));
}

ReadoutNetwork with_taps(const QuantizedNetwork& q, const std::string& taps,
                         std::int64_t bytes = 4096) {
  ReadoutOptions o;
  o.taps = taps;
  o.record_bytes = bytes;
  return make_readout_network(q, o);
}

std::string refusal(const QuantizedNetwork& q, const std::string& taps) {
  return error_of([&] { (void)with_taps(q, taps); });
}

}  // namespace

TEST_CASE("quantizer: a network with readouts keeps what its base says of the data") {
  QuantizedNetwork base = quantize_random(operator_cases().front(), test_seed());
  base.preprocessing = "kind = \"images\"\n";
  CHECK(make_readout_network(base).network.preprocessing == base.preprocessing);
}

TEST_CASE("quantizer: readouts that have not trained change no logit by more than their rounding") {
  const std::uint64_t seed = test_seed();
  for (const auto& [type, head_type] :
       {std::pair{WeightType::w8, WeightType::w8}, std::pair{WeightType::w16, WeightType::w16},
        std::pair{WeightType::w16, WeightType::w8}}) {
    QuantizeOptions o;
    o.weight_type = type;
    o.layer_weights["head"] = head_type;
    const QuantizedNetwork base = quantize_random(deep_case(), seed, o);
    const auto x = quantized_input(base, 20, seed + 1);
    const reference::Result before = reference::run(base, x);
    for (const std::string taps : {"none", "auto", "a:7,s", "d,b:2"}) {
      CAPTURE(taps);
      const ReadoutNetwork r = with_taps(base, taps);
      const QuantizedNetwork& q = r.network;
      const reference::Result after = reference::run(q, x);
      const auto head = static_cast<std::size_t>(q.network.logits_layer());
      const auto columns = static_cast<std::size_t>(q.layers[head].columns);
      CHECK(columns % 64 == 0);
      CHECK(q.weight_type_of(head) == WeightType::w16);
      CHECK(q.weight_type_of(0) == type);
      // Half an LSB of each weight times its activation, half of the bias, one of each logit scale.
      const std::size_t old_head = static_cast<std::size_t>(base.network.logits_layer());
      const auto old = static_cast<std::size_t>(base.layers[old_head].columns);
      const double in = base.quant_of(base.network.layers[old_head].inputs[0]).scale;
      const double lsb = in * static_cast<double>(q.layers[head].weight_scale[0]);
      const std::vector<std::int8_t>& record = after.layers[static_cast<std::size_t>(r.record)];
      const std::int32_t zp = q.quant_of(r.record).zero_point;
      for (std::size_t i = 0; i < before.logits.size(); ++i) {
        double bound = base.logits.scale + q.logits.scale + lsb;
        for (std::size_t k = 0; k < old; ++k)
          bound += 0.5 * lsb * std::abs(record[i / 3 * columns + k] - zp);
        const double a = before.logits[i] * static_cast<double>(base.logits.scale);
        const double b = after.logits[i] * static_cast<double>(q.logits.scale);
        CHECK(std::abs(a - b) <= bound);
      }
      // What trains starts at zero, with a quarter of the range taken by what was there.
      std::int32_t largest = 0;
      for (std::size_t k = 0; k < q.layers[head].weights.size(); ++k) {
        if (k % columns >= old) CHECK(q.layers[head].weights[k] == 0);
        largest = std::max<std::int32_t>(largest, std::abs(q.layers[head].weights[k]));
      }
      CHECK(largest >= 8191);
      CHECK(largest <= 8193);
      // The file keeps all of it.
      CHECK(parse_quantized(serialize(q), "f") == q);
    }
  }
}

TEST_CASE("quantizer: a record is the features, the taps, one and zeros, in real numbers too") {
  const QuantizedNetwork base = quantize_random(deep_case(), 7);
  const ReadoutNetwork r = with_taps(base, "a:5,s");
  const Network& net = r.network.network;
  const Layer& record = net.layers[static_cast<std::size_t>(r.record)];
  REQUIRE(r.taps == std::vector<ReadoutTap>{{"a", 5}, {"s", 7}});  // 13 by 3s: 5 cells
  REQUIRE(record.inputs.size() == 3);
  CHECK(net.layers[static_cast<std::size_t>(record.inputs[0])].name == "g");
  CHECK(net.layers[static_cast<std::size_t>(record.inputs[1])].out == Shape{5, 3, 6});
  CHECK(net.layers[static_cast<std::size_t>(record.inputs[2])].name == "s");
  CHECK(record.in.c == 10 + 90 + 7 * 5 * 6);
  CHECK(record.out.c == 320);
  // As near to 1 as the scale allows, then zeros.
  const double scale = r.network.quant_of(r.record).scale;
  CHECK(std::abs(record.constants[0] - 1) <= std::max(scale / 2, 1 - 255 * scale));
  CHECK(record.constants[0] > 0);
  for (std::size_t i = 1; i < record.constants.size(); ++i) CHECK(record.constants[i] == 0);

  // Float: the same logits as the base to the rounding of float sums.
  const FloatParams<float> params = dequantize(base);
  const FloatParams<float> wide = readout_params(net, params);
  const auto x = random_values<float>(base.network, 9, 3);
  std::vector<float> a(27), b(27);
  Golden<float>(base.network).forward(params, x, a);
  Golden<float>(net).forward(wide, x, b);
  for (std::size_t i = 0; i < a.size(); ++i) CHECK(b[i] == doctest::Approx(a[i]).epsilon(1e-5));
  // And the float record is the bytes times the scale, within the steps of the activations.
  std::vector<std::int8_t> q(x.size());
  quantize_activations(x, base.input, q);
  const auto bytes = reference::run(r.network, q).layers[static_cast<std::size_t>(r.record)];
  const auto trace = Golden<float>(net).trace(dequantize(r.network), x);
  const std::vector<float>& reals = trace[static_cast<std::size_t>(r.record)].post;
  const std::int32_t zp = r.network.quant_of(r.record).zero_point;
  REQUIRE(bytes.size() == reals.size());
  double worst = 0;
  for (std::size_t i = 0; i < bytes.size(); ++i)
    worst = std::max(worst, std::abs((bytes[i] - zp) - reals[i] / scale));
  CHECK(worst < 8);
}

TEST_CASE(
    "quantizer: auto takes one activation per size, outward, and the largest grid that fits") {
  const QuantizedNetwork base = quantize_random(deep_case(), 7);
  using Taps = std::vector<ReadoutTap>;
  // d 3x2x10, s 7x5x6, a 13x9x6 = 60, 210, 702 elements, beside 10 features and the constant.
  CHECK(with_taps(base, "auto", 10 + 1 + 972).taps == Taps{{"a", 13}, {"s", 7}, {"d", 3}});
  CHECK(with_taps(base, "auto", 10 + 1 + 971).taps == Taps{{"a", 7}, {"s", 7}, {"d", 3}});
  CHECK(with_taps(base, "auto", 10 + 1 + 60 + 29).taps == Taps{{"s", 2}, {"d", 3}});
  CHECK(with_taps(base, "auto", 10 + 1 + 60 + 30).taps == Taps{{"a", 1}, {"s", 2}, {"d", 3}});
  CHECK(with_taps(base, "auto", 10).taps.empty());
  CHECK(with_taps(base, "none").taps.empty());
}

TEST_CASE("quantizer: readouts of a head with a bias that its weights' scale has no room for") {
  QuantizedNetwork base = quantize_random(deep_case(), 7);
  const auto old_head = static_cast<std::size_t>(base.network.logits_layer());
  QuantizedLayer& old = base.layers[old_head];
  // A channel whose scale was raised for its bias.
  old.bias[1] = 1 << 30;
  old.weight_scale[1] *= 1000;
  std::fill_n(old.weights.begin() + old.columns, old.columns, std::int16_t{0});
  const QuantizedNetwork q = with_taps(base, "none").network;
  const auto head = static_cast<std::size_t>(q.network.logits_layer());
  const double before = old.bias[1] * static_cast<double>(old.weight_scale[1]);
  const double after = q.layers[head].bias[1] * static_cast<double>(q.layers[head].weight_scale[1]);
  CHECK(after == doctest::Approx(before).epsilon(1e-6));
}

TEST_CASE("quantizer: errors of taps name the tap and what was expected") {
  const QuantizedNetwork base = quantize_random(deep_case(), 7);
  CHECK(mentions(refusal(base, "x"), {"tap 'x'", "layer[:grid]"}));
  CHECK(mentions(refusal(base, "a,,s"), {"tap ''", "expected"}));
  CHECK(mentions(refusal(base, "fc"), {"tap 'fc'"}));
  CHECK(mentions(refusal(base, "g"), {"tap 'g'", "reads it already"}));
  CHECK(mentions(refusal(base, "a:0"), {"tap 'a:0'", "1 to 13"}));
  CHECK(mentions(refusal(base, "a:14"), {"'14'", "1 to 13"}));
  CHECK(mentions(refusal(base, "a:7x"), {"'7x'"}));
  CHECK(mentions(refusal(base, "a,a:3"), {"twice"}));
  const QuantizedNetwork linear = quantize_random(
      make_network("linear", "[4, 4, 2]",
                   layer_text("a", "conv2d", "filters = 3\nkernel = 1") +
                       layer_text("b", "conv2d", "filters = 3\nkernel = 1\nactivation = \"relu\"")),
      3);
  CHECK(mentions(refusal(linear, "a"), {"tap 'a'", "zero point", "-128"}));
  CHECK(with_taps(linear, "auto").taps.empty());
  const QuantizedNetwork again = with_taps(base, "none").network;
  CHECK(error_of([&] { (void)with_taps(again, "none"); }) != "");
}
