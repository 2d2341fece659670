// SPDX-License-Identifier: Apache-2.0
// Channel statistics: the NPU's sums against those of the very bytes, the moved network against its
// source, the float twin, and what is refused.
#include "sw/trainer/statistics.hpp"

#include <doctest/doctest.h>

#include <cmath>

#include "cmodel/device/model_device.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/quantizer/file.hpp"
#include "tests/quantizer/cases.hpp"

using namespace lastmile;

namespace {

Network net_case(int filters, const std::string& shape = "[9, 7, 3]") {
  return make_network(
      "net", shape,
      layer_text("a", "conv2d",
                 "filters = " + std::to_string(filters) +
                     "\nkernel = 3\npadding = \"same\"\nbatch_norm = true\nactivation = \"relu\"") +
          layer_text("b", "depthwise_conv2d",
                     "kernel = 3\nbatch_norm = true\nactivation = \"relu6\""));
}

// A batch norm that holds what its layer really computes on `x`.
FloatParams<float> settled(const Network& network, FloatParams<float> params,
                           std::span<const float> x) {
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    if (!network.layers[i].batch_norm) continue;
    LayerParams<float>& p = params.layers[i];
    std::fill(p.gamma.begin(), p.gamma.end(), 1.0F);
    std::fill(p.beta.begin(), p.beta.end(), 0.0F);
    std::fill(p.mean.begin(), p.mean.end(), 0.0F);
    std::fill(p.variance.begin(), p.variance.end(), 1.0F);
    Network bare = network;
    for (std::size_t k = i; k < bare.layers.size(); ++k)
      bare.layers[k].activation = Activation::none;
    const auto trace = Golden<float>(bare).trace(params, x);
    const auto filters = static_cast<std::size_t>(network.layers[i].filters);
    std::vector<double> sum(filters), squares(filters);
    for (std::size_t k = 0; k < trace[i].post.size(); ++k) {
      sum[k % filters] += trace[i].post[k];
      squares[k % filters] += double{trace[i].post[k]} * trace[i].post[k];
    }
    const double n = static_cast<double>(trace[i].post.size() / filters);
    for (std::size_t c = 0; c < filters; ++c) {
      p.gamma[c] = 0.5F + 0.1F * static_cast<float>(c % 5);
      p.beta[c] = 0.2F * static_cast<float>(c % 3) - 0.1F;
      p.mean[c] = static_cast<float>(sum[c] / n);
      p.variance[c] = static_cast<float>(squares[c] / n - sum[c] * sum[c] / n / n);
    }
  }
  return params;
}

struct Setup {
  Network network;
  FloatParams<float> params;
  QuantizedNetwork quantized;
  Dataset target;  // the source's images at 0.6 of their contrast, brighter

  explicit Setup(int filters) : network(net_case(filters)) {
    const auto x = random_values<float>(network, 256, 5);
    params = settled(network, random_params<float>(network, 4), x);
    quantized = quantize(network, params, calibrate(Golden<float>(network), params, x));
    target.shape = network.input;
    target.classes = 2;
    for (const float v : x) target.x.push_back(0.6F * v + 0.25F);
    target.y.assign(256, 0);
  }
};

}  // namespace

TEST_CASE("trainer: the NPU's sums of a channel are those of the layer's own bytes") {
  for (const int filters : {1, 6, 16, 64, 67}) {
    for (const int act_bytes : {8192, 65536}) {
      CAPTURE(filters);
      CAPTURE(act_bytes);
      QuantizedNetwork q = quantize_random(net_case(filters, "[8, 8, 3]"), 3);
      for (QuantizedLayer& l : q.layers) l.out.zero_point = 0;
      spec::HardwareParams hardware;
      hardware.act_bytes = act_bytes;
      CompileOptions c;
      c.batch = 64;
      c.output_layer = 0;
      const auto x = quantized_input(q, c.batch, 8);
      const Session plain = open_session(compile(q, hardware, c), open_model);
      plain->load_batch(x, {});
      static_cast<void>(plain->forward());
      const std::vector<std::int8_t> bytes = plain->output();
      std::vector<std::int64_t> sums(static_cast<std::size_t>(filters)), squares(sums);
      for (std::size_t k = 0; k < bytes.size(); ++k) {
        sums[k % sums.size()] += bytes[k];
        squares[k % sums.size()] += bytes[k] * bytes[k];
      }
      c.moments = true;
      const Session measured = open_session(compile(q, hardware, c), open_model);
      measured->load_batch(x, {});
      static_cast<void>(measured->forward());
      const Driver::Moments m = measured->moments();
      CHECK(m.count == static_cast<std::int64_t>(bytes.size()) / filters);
      CHECK(m.sums == sums);
      CHECK(m.squares == squares);
      CHECK(plain->output().size() == bytes.size());
    }
  }
}

TEST_CASE("trainer: channels that a shift has moved get the source's mean and deviation back") {
  const Setup s(12);
  FixedOptions fixed;
  const StatisticsResult r = adapt_statistics(s.quantized, s.target, open_model, fixed);
  REQUIRE(r.layers.size() == 2);
  CHECK(r.examples == 256);
  double moved = 0;
  for (const float f : r.layers[0].factor) moved = std::max(moved, std::abs(f - 1.0));
  CHECK(moved > 0.3);  // the contrast was 0.6
  // Measured once more, nothing is left to move; rounding to a step of 12 / 127 deviations adds 0.1
  // %.
  const StatisticsResult again = adapt_statistics(r.network, s.target, open_model, fixed);
  for (std::size_t i = 0; i < 2; ++i) {
    const QuantizedLayer& q = s.quantized.layers[i];
    for (std::size_t c = 0; c < q.mean.size(); ++c) {
      CAPTURE(c);
      CHECK(again.layers[i].factor[c] == doctest::Approx(1).epsilon(0.01));
      CHECK(std::abs(again.layers[i].offset[c]) < 0.02 * q.deviation[c]);
      CHECK(again.layers[i].mean[c] == doctest::Approx(q.mean[c]).epsilon(0.02));
    }
  }
  // Weights stay as they are: a factor and an offset are a table and a bias.
  for (std::size_t i = 0; i < s.quantized.layers.size(); ++i)
    CHECK(r.network.layers[i].weights == s.quantized.layers[i].weights);
}

TEST_CASE("trainer: on its own source a network keeps its statistics") {
  Setup s(12);
  for (float& v : s.target.x) v = (v - 0.25F) / 0.6F;
  const StatisticsResult r = adapt_statistics(s.quantized, s.target, open_model, {});
  for (const LayerStatistics& l : r.layers)
    for (std::size_t c = 0; c < l.factor.size(); ++c) {
      CHECK(l.factor[c] == doctest::Approx(1).epsilon(0.03));
      CHECK(std::abs(l.offset[c]) < 0.05);
    }
}

TEST_CASE("trainer: float parameters take the same factors and offsets") {
  const Setup s(12);
  const StatisticsResult r = adapt_statistics(s.quantized, s.target, open_model, {});
  FloatParams<float> params = dequantize(s.quantized);
  apply_statistics(s.quantized.network, r.layers, params);
  const FloatParams<float> expected = dequantize(r.network);
  for (std::size_t i = 0; i < params.layers.size(); ++i) {
    for (std::size_t k = 0; k < params.layers[i].weights.size(); ++k)
      CHECK(params.layers[i].weights[k] ==
            doctest::Approx(expected.layers[i].weights[k]).epsilon(1e-5));
    for (std::size_t k = 0; k < params.layers[i].bias.size(); ++k)
      CHECK(params.layers[i].bias[k] == doctest::Approx(expected.layers[i].bias[k]).epsilon(1e-3));
  }
}

TEST_CASE("trainer: statistics do not depend on batch and hardware, and survive a file") {
  const Setup s(16);
  const StatisticsResult whole = adapt_statistics(s.quantized, s.target, open_model, {});
  FixedOptions small;
  small.batch = 32;
  small.hardware.act_bytes = 4096;
  small.hardware.rows = small.hardware.cols = 4;
  small.hardware.rq_lanes = 4;
  CHECK(adapt_statistics(s.quantized, s.target, open_model, small).network == whole.network);
  const auto bytes = serialize(s.quantized);
  CHECK(parse_quantized(bytes, "file") == s.quantized);
  QuantizedNetwork bad = s.quantized;
  bad.layers[0].deviation[3] = -1;
  CHECK(mentions(error_of([&] { check_quantized(bad, "x"); }), {"'a'", "deviation 3 is -1"}));
  bad = s.quantized;
  bad.layers[0].mean.pop_back();
  CHECK(mentions(error_of([&] { check_quantized(bad, "x"); }), {"'a'", "means is 15", "16"}));
}

TEST_CASE("trainer: statistics that cannot be are refused by name") {
  const Setup s(6);
  const QuantizedNetwork bare = quantize_random(
      make_network("bare", "[4, 4, 1]", layer_text("a", "conv2d", "filters = 2\nkernel = 3")), 1);
  CHECK(mentions(error_of([&] { (void)adapt_statistics(bare, s.target, open_model, {}); }),
                 {"'bare'", "no channel statistics", "batch norm"}));
  // 9 x 7 x 6 bytes of an example fill rows of 192 bytes without a rest for 32 examples at least.
  const Dataset few = slice(s.target, 0, 20);
  CHECK(mentions(error_of([&] { (void)adapt_statistics(s.quantized, few, open_model, {}); }),
                 {"layer 'a'", "20 examples", "at least 32"}));
}
