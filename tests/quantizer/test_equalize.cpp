// SPDX-License-Identifier: Apache-2.0
// Channels of a network scaled, killed and balanced again; layers rewritten.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>

#include "cmodel/device/model_device.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/driver/session.hpp"
#include "sw/quantizer/equalize.hpp"
#include "sw/quantizer/rewrite.hpp"
#include "tests/quantizer/cases.hpp"

using namespace lastmile;

namespace {

Network chain() {
  return make_network("chain", "[8, 8, 2]", R"(
[[layer]]
name = "a"
op = "conv2d"
filters = 6
kernel = 3
padding = "same"
activation = "relu"
[[layer]]
name = "pool"
op = "max_pool2d"
kernel = 2
[[layer]]
name = "b"
op = "depthwise_conv2d"
kernel = 3
padding = "same"
activation = "relu"
)");
}

// Output channel of a conv2d, and what the depthwise layer multiplies it by.
void scale_channel(FloatParams<float>& p, std::size_t channel, float factor) {
  const std::size_t per = p.layers[0].weights.size() / 6;
  for (std::size_t k = 0; k < per; ++k) p.layers[0].weights[channel * per + k] *= factor;
  p.layers[0].bias[channel] *= factor;
  for (std::size_t k = channel; k < p.layers[2].weights.size(); k += 6)
    p.layers[2].weights[k] /= factor;
}

// Root mean square of the logits' error over their own, through the integers on the model.
double logit_error(const Network& net, const FloatParams<float>& as_quantized,
                   const FloatParams<float>& exact, std::span<const float> x, WeightType type) {
  QuantizeOptions o;
  o.weight_type = type;
  const QuantizedNetwork q =
      quantize(net, as_quantized, calibrate(Golden<float>(net), as_quantized, x), o);
  CompileOptions c;
  c.batch = static_cast<int>(x.size() / static_cast<std::size_t>(net.input.elements()));
  const Session session = open_session(compile(q, {}, c), open_model);
  std::vector<std::int8_t> bytes(x.size());
  quantize_activations(x, q.input, bytes);
  session->load_batch(bytes, std::vector<int>(static_cast<std::size_t>(c.batch), 0));
  static_cast<void>(session->forward());
  const std::vector<std::int16_t> logits = session->logits();
  std::vector<float> reference(logits.size());
  Golden<float>(net).forward(exact, x, reference);
  double error = 0, all = 0;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    const double r = reference[i];
    const double d = logits[i] * static_cast<double>(q.logits.scale) - r;
    error += d * d, all += r * r;
  }
  return std::sqrt(error / all);
}

}  // namespace

TEST_CASE("quantizer: equalized channels quantize as if nobody had scaled them") {
  const std::uint64_t seed = test_seed();
  const Network net = fold_network(chain());
  const auto params = random_params<float>(net, seed);
  const auto x = random_values<float>(net, 16, seed + 1);
  const double healthy = logit_error(net, params, params, x, WeightType::w8);
  for (const float factor : {1000.0F, 0.001F}) {
    for (const std::size_t channels : {1, 3}) {
      CAPTURE(factor);
      CAPTURE(channels);
      FloatParams<float> scaled = params;
      for (std::size_t c = 0; c < channels; ++c) scale_channel(scaled, c, factor);
      const double before = logit_error(net, scaled, params, x, WeightType::w8);
      FloatParams<float> even = scaled;
      const EqualizeReport report = equalize(net, even, x, {.weight_levels = 127});
      CHECK(std::find(report.pairs.begin(), report.pairs.end(), "a -> b") != report.pairs.end());
      const double after = logit_error(net, even, params, x, WeightType::w8);
      INFO("healthy ", healthy, ", scaled ", before, ", equalized ", after);
      CHECK(after < 1.5 * healthy);
      CHECK(after < before / 2);
      // The same function.
      std::vector<float> a(16 * 3), b(16 * 3);
      Golden<float>(net).forward(params, x, a);
      Golden<float>(net).forward(even, x, b);
      for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-3));
    }
  }
}

TEST_CASE("quantizer: a channel that never fires does not widen the others' range") {
  const std::uint64_t seed = test_seed();
  const Network net = fold_network(chain());
  FloatParams<float> params = random_params<float>(net, seed);
  const auto x = random_values<float>(net, 16, seed + 1);
  const std::size_t per = params.layers[0].weights.size() / 6;
  for (std::size_t k = 0; k < per; ++k) params.layers[0].weights[k] = k % 2 == 0 ? 1e4F : -1e4F;
  params.layers[0].bias[0] = -1e7F;
  const double before = logit_error(net, params, params, x, WeightType::w8);
  FloatParams<float> quiet = params;
  const EqualizeReport report = equalize(net, quiet, x, {.weight_levels = 127});
  REQUIRE(!report.dead.empty());
  CHECK(report.dead.front() == "a: 1");
  CHECK(logit_error(net, quiet, params, x, WeightType::w8) < before / 2);
  const auto range = [&](const FloatParams<float>& p, std::size_t c) {
    float m = 0;
    for (std::size_t k = 0; k < per; ++k)
      m = std::max(m, std::abs(p.layers[0].weights[c * per + k]));
    return m;
  };
  float live = 0;
  for (std::size_t c = 1; c < 6; ++c) live = std::max(live, range(quiet, c));
  CHECK(range(quiet, 0) <= live * 1.0001F);
}

TEST_CASE("quantizer: a healthy network keeps its weights unless it is asked to give them") {
  const std::uint64_t seed = test_seed();
  for (const Network& given : operator_cases()) {
    const Network net = fold_network(given);
    CAPTURE(net.name);
    const auto params = random_params<float>(net, seed);
    const auto x = random_values<float>(net, 8, seed + 1);
    FloatParams<float> same = params;
    CHECK(!equalize(net, same, x, {.mode = Equalization::off}).changed());
    FloatParams<float> on = params;
    static_cast<void>(equalize(net, on, x, {.mode = Equalization::on}));
    std::vector<float> a(8 * 3), b(8 * 3);
    Golden<float>(net).forward(params, x, a);
    Golden<float>(net).forward(on, x, b);
    float largest = 0;
    for (const float v : a) largest = std::max(largest, std::abs(v));
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(std::abs(a[i] - b[i]) <= 1e-4F * largest);
  }
}

TEST_CASE("quantizer: one group per channel is a depthwise layer with the same numbers") {
  const std::uint64_t seed = test_seed();
  for (const int multiplier : {1, 3}) {
    const Network net = make_network("g", "[6, 7, 4]", R"(
[[layer]]
name = "grouped"
op = "conv2d"
filters = )" + std::to_string(4 * multiplier) + R"(
groups = 4
kernel = 3
stride = 2
activation = "relu"
)");
    const Network after = depthwise_groups(net);
    REQUIRE(after.layers[0].op == Op::depthwise_conv2d);
    check_network(after, "test");
    CHECK(macs(after) == macs(net));
    const auto params = random_params<float>(net, seed);
    const auto moved = depthwise_groups(net, params);
    const auto x = random_values<float>(net, 8, seed + 1);
    std::vector<float> a(8 * 3), b(8 * 3);
    Golden<float>(net).forward(params, x, a);
    Golden<float>(after).forward(moved, x, b);
    for (std::size_t i = 0; i < a.size(); ++i) CHECK(a[i] == doctest::Approx(b[i]).epsilon(1e-5));
  }
  // Fewer groups than channels stay what they are.
  const Network two = make_network("g", "[6, 7, 4]", R"(
[[layer]]
name = "grouped"
op = "conv2d"
filters = 4
groups = 2
kernel = 3
)");
  CHECK(depthwise_groups(two) == two);
}

TEST_CASE("quantizer: logits of a layer without weights pass through one that has some") {
  const std::uint64_t seed = test_seed();
  for (const std::string tail : {"", "[[layer]]\nname = \"s\"\nop = \"softmax\"\n"}) {
    const Network net = parse_network(R"(name = "gap"
input = [6, 6, 2]
classes = 3
[[layer]]
name = "c"
op = "conv2d"
filters = 3
kernel = 3
[[layer]]
name = "g"
op = "global_average_pool"
)" + tail,
                                      "gap");
    const Network headed = weighted_head(net);
    check_network(headed, "test");
    CHECK(has_weights(headed.layers[static_cast<std::size_t>(headed.logits_layer())]));
    CHECK(weighted_head(headed) == headed);
    const auto params = random_params<float>(net, seed);
    const auto more = weighted_head(net, params);
    const auto x = random_values<float>(net, 16, seed + 1);
    std::vector<float> a(16 * 3), b(16 * 3);
    Golden<float>(net).forward(params, x, a);
    Golden<float>(headed).forward(more, x, b);
    CHECK(a == b);
    CHECK(logit_error(headed, more, more, x, WeightType::w16) < 0.1);
  }
}
