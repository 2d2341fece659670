// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <limits>

#include "sw/quantizer/fit.hpp"
#include "tests/quantizer/cases.hpp"

using namespace lastmile;

namespace {

TensorRange range_of(std::span<const float> values) {
  TensorRange r;
  r.observe(values, "t");
  return r;
}

// Mean squared error of values after int8 quantization of an interval.
double mean_error(std::span<const float> values, const TensorRange::Interval& interval) {
  const TensorQuant q = choose_quant(interval.low, interval.high);
  std::vector<std::int8_t> levels(values.size());
  std::vector<float> back(values.size());
  quantize_activations(values, q, levels);
  dequantize_activations(levels, q, back);
  double sum = 0;
  for (std::size_t i = 0; i < values.size(); ++i)
    sum += std::pow(static_cast<double>(values[i]) - static_cast<double>(back[i]), 2);
  return sum / static_cast<double>(values.size());
}

}  // namespace

TEST_CASE("quantizer: min-max takes the extremes and always contains zero") {
  const std::vector<float> values = {0.5F, 3.0F, 1.0F};
  const auto i = range_of(values).interval(CalibrationMethod::min_max, 99);
  CHECK(i.low == 0);
  CHECK(i.high == 3);
  const std::vector<float> zeros(4, 0.0F);
  const auto none = range_of(zeros).interval(CalibrationMethod::mse, 99);
  CHECK(none.low == 0);
  CHECK(none.high == 0);
}

TEST_CASE("quantizer: percentile cuts outliers of either side, and only those") {
  Rng rng(test_seed());
  std::vector<float> values(20000);
  for (float& v : values) v = static_cast<float>(rng.normal());
  values[7] = 500;
  values[9] = -300;
  const TensorRange r = range_of(values);
  const auto whole = r.interval(CalibrationMethod::min_max, 99.9);
  CHECK(whole.low == -300);
  CHECK(whole.high == 500);
  const auto cut = r.interval(CalibrationMethod::percentile, 99.9);
  CHECK(cut.high > 2.5);
  CHECK(cut.high < 5);
  CHECK(cut.low < -2.5);
  CHECK(cut.low > -5);
  const auto all = r.interval(CalibrationMethod::percentile, 100);
  CHECK(all.low == -300);
  CHECK(all.high == 500);
}

TEST_CASE("quantizer: the mse range is better than min-max where there are outliers") {
  Rng rng(test_seed());
  std::vector<float> values(20000);
  for (float& v : values) v = static_cast<float>(rng.normal());
  values[100] = 40;
  const TensorRange r = range_of(values);
  const double whole = mean_error(values, r.interval(CalibrationMethod::min_max, 99));
  const double best = mean_error(values, r.interval(CalibrationMethod::mse, 99));
  CHECK(best < 0.98 * whole);
}

TEST_CASE("quantizer: ranges do not depend on the order or the parts in which values come") {
  Rng rng(test_seed());
  std::vector<float> values(3000);
  for (float& v : values)
    v = static_cast<float>(std::exp(3 * rng.normal()) * (rng.below(2) == 0 ? 1 : -1));
  const TensorRange forward = range_of(values);
  rng.shuffle(std::span(values));
  TensorRange parts;
  parts.observe(std::span(values).first(1), "t");
  parts.observe(std::span(values).subspan(1), "t");
  for (const auto method :
       {CalibrationMethod::min_max, CalibrationMethod::percentile, CalibrationMethod::mse}) {
    CHECK(forward.interval(method, 98).low == parts.interval(method, 98).low);
    CHECK(forward.interval(method, 98).high == parts.interval(method, 98).high);
  }
}

TEST_CASE("quantizer: calibration refuses what is not finite and names the tensor") {
  TensorRange r;
  const std::vector<float> values = {1, std::numeric_limits<float>::quiet_NaN()};
  CHECK(
      mentions(error_of([&] { r.observe(values, "layer 'x'"); }), {"layer 'x'", "value 1", "nan"}));
  const Network net = norm_case();
  const auto params = random_params<float>(net, 1);
  const std::vector<float> short_input(7);
  CHECK(mentions(error_of([&] { (void)calibrate(Golden<float>(net), params, short_input); }),
                 {"7", "60"}));
}

TEST_CASE("quantizer: an input whose type has a range keeps it, whatever calibration saw") {
  const Network net = operator_cases().front();
  const auto params = random_params<float>(net, test_seed());
  std::vector<float> dark = random_values<float>(net, 8, test_seed() + 1);
  for (float& v : dark) v = std::abs(v) / 100;
  const CalibrationRanges ranges = calibrate(Golden<float>(net), params, dark);
  QuantizeOptions o;
  const QuantizedNetwork seen = quantize(net, params, ranges, o);
  o.input_range = {0, 1};
  const QuantizedNetwork whole = quantize(net, params, ranges, o);
  CHECK(whole.input == TensorQuant{1.0F / 255, -128});
  CHECK(seen.input.scale < whole.input.scale);
  // Bytes come through as they are.
  for (int b = 0; b < 256; ++b) {
    const std::vector<float> x = {static_cast<float>(b) / 255.0F};
    std::vector<std::int8_t> q(1);
    quantize_activations(x, whole.input, q);
    CHECK(q[0] == b - 128);
  }
  // A brighter example is outside of what was seen, and inside of the type.
  std::vector<float> bright(static_cast<std::size_t>(net.input.elements()), 1.0F);
  CHECK(range_fit(seen, bright).front().above == 1);
  CHECK(range_fit(whole, bright).front().above == 0);
}

TEST_CASE("quantizer: ranges have the headroom asked for, and what is outside of them is counted") {
  const Network net = operator_cases().front();
  const auto params = random_params<float>(net, test_seed());
  const auto x = random_values<float>(net, 16, test_seed() + 1);
  const CalibrationRanges ranges = calibrate(Golden<float>(net), params, x);
  QuantizeOptions o;
  const QuantizedNetwork tight = quantize(net, params, ranges, o);
  o.range_headroom = 2;
  const QuantizedNetwork wide = quantize(net, params, ranges, o);
  CHECK(wide.layers[0].out.scale == doctest::Approx(2 * tight.layers[0].out.scale));
  // Inputs three times as large leave the tight range; the share is that of the values.
  std::vector<float> large = x;
  for (float& v : large) v *= 3;
  const TensorFit fit = range_fit(tight, large).front();
  std::size_t outside = 0;
  for (const float v : large) {
    std::vector<std::int8_t> q(1);
    quantize_activations(std::span(&v, 1), tight.input, q);
    const double back = static_cast<double>(tight.input.scale) * (q[0] - tight.input.zero_point);
    outside +=
        std::abs(back - static_cast<double>(v)) > 0.5001 * static_cast<double>(tight.input.scale)
            ? 1
            : 0;
  }
  CHECK(outside > 0);
  CHECK(fit.outside() ==
        doctest::Approx(static_cast<double>(outside) / static_cast<double>(large.size())));
  for (const TensorFit& f : range_fit(wide, x)) CHECK(f.outside() == 0);
  o.range_headroom = 0.5;
  CHECK(mentions(error_of([&] { (void)quantize(net, params, ranges, o); }), {"range headroom"}));
}
