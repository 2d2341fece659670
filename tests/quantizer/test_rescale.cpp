// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>

#include "cmodel/device/model_device.hpp"
#include "sw/app/rescale.hpp"
#include "tests/quantizer/cases.hpp"

using namespace lastmile;

TEST_CASE("quantizer: new ranges change tables, zero points and biases, and no weight") {
  const std::uint64_t seed = test_seed();
  const Network net = operator_cases().front();
  const QuantizedNetwork q = quantize_random(net, seed);
  NewRanges r;
  r.layers.resize(q.layers.size());
  CHECK(rescale(q, r).layers == q.layers);
  r.input = {4 * static_cast<double>(q.input.scale) * (-128 - q.input.zero_point),
             4 * static_cast<double>(q.input.scale) * (127 - q.input.zero_point)};
  const QuantizedNetwork wide = rescale(q, r);
  CHECK(wide.input.scale == doctest::Approx(4 * q.input.scale));
  CHECK(wide.layers[0].weights == q.layers[0].weights);
  CHECK(wide.layers[0].out == q.layers[0].out);
  for (std::size_t o = 0; o < q.layers[0].bias.size(); ++o)
    CHECK(std::abs(wide.layers[0].bias[o] - q.layers[0].bias[o] / 4.0) <= 0.5);
  for (std::size_t o = 0; o < q.layers[0].requant.size(); ++o) {
    const auto factor = [](const Requant& v) { return std::ldexp(v.multiplier, v.exponent); };
    CHECK(factor(wide.layers[0].requant[o]) ==
          doctest::Approx(4 * factor(q.layers[0].requant[o])).epsilon(1e-5));
  }
}

TEST_CASE("quantizer: ranges measured on the device fit data that calibration did not see") {
  const std::uint64_t seed = test_seed();
  for (const Network& net : operator_cases()) {
    CAPTURE(net.name);
    bool concat = false;
    for (const Layer& l : net.layers) concat = concat || l.op == Op::concat;
    const auto params = random_params<float>(net, seed);
    const auto x = random_values<float>(net, 24, seed + 1);
    std::vector<float> dim = x;
    for (float& v : dim) v *= 0.05F;
    QuantizeOptions o;
    double largest = 0;
    for (const float v : x) largest = std::max(largest, static_cast<double>(std::abs(v)));
    o.input_range = {-largest, largest};
    const QuantizedNetwork narrow =
        quantize(net, params, calibrate(Golden<float>(net), params, dim), o);
    const QuantizedNetwork whole =
        quantize(net, params, calibrate(Golden<float>(net), params, x), o);
    Dataset data;
    data.shape = net.input;
    data.classes = 3;
    data.x = x;
    data.y.assign(24, 0);
    FixedOptions fixed;
    if (concat) {
      CHECK(mentions(
          error_of([&] { (void)rescale_on_device(narrow, data, open_model, fixed, 0.001); }),
          {"concat"}));
      continue;
    }
    const RescaleResult r = rescale_on_device(narrow, data, open_model, fixed, 0.001);
    // What fits is left alone.
    CHECK(rescale_on_device(whole, data, open_model, fixed, 0.02).widened.empty());
    // Losses are near those of ranges that knew the data.
    const Golden<float> golden(net);
    const double exact = evaluate_float(golden, params, data).loss;
    const double good = std::abs(evaluate_fixed(whole, data, open_model, fixed).loss - exact);
    const double got = std::abs(evaluate_fixed(r.network, data, open_model, fixed).loss - exact);
    const double bad = std::abs(evaluate_fixed(narrow, data, open_model, fixed).loss - exact);
    INFO("float ", exact, ", off by ", good, " known, ", got, " measured, ", bad, " before");
    CHECK(got <= std::max(4 * good, 0.02 * exact + 0.02));
    if (bad > 0.2 * exact + 0.2) CHECK(!r.widened.empty());
    for (std::size_t i = 0; i < r.network.layers.size(); ++i)
      CHECK(r.network.layers[i].weights == narrow.layers[i].weights);
  }
}
