// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <complex>
#include <numbers>

#include "sw/base/rng.hpp"
#include "sw/data/features.hpp"
#include "tests/base/temp_dir.hpp"

using lastmile::FeatureExtractor;
using lastmile::FeatureKind;
using lastmile::FeatureOptions;
using lastmile::testing::error_of;

namespace {

constexpr double kPi = std::numbers::pi;

std::vector<std::int16_t> clip(std::size_t n) {
  lastmile::Rng rng(17);
  std::vector<std::int16_t> s(n);
  for (std::size_t i = 0; i < n; ++i) {
    const auto t = static_cast<double>(i) / 16000;
    s[i] = static_cast<std::int16_t>(4000 * std::sin(2 * kPi * (300 + 2000 * t) * t) +
                                     500 * rng.normal());
  }
  return s;
}

// The formulas of the header, term by term in double: no FFT, no tables.
std::vector<double> direct(const std::vector<std::int16_t>& samples, const FeatureOptions& o) {
  int fft = 1;
  while (fft < o.frame) fft *= 2;
  const auto mel = [](double f) { return 2595 * std::log10(1 + f / 700); };
  const auto hz = [](double m) { return 700 * (std::pow(10, m / 2595) - 1); };
  std::vector<double> out;
  for (std::size_t start = 0; start + static_cast<std::size_t>(o.frame) <= samples.size();
       start += static_cast<std::size_t>(o.hop)) {
    std::vector<double> power;
    for (int k = 0; k <= fft / 2; ++k) {
      std::complex<double> sum;
      for (int i = 0; i < o.frame; ++i) {
        const double w = 0.5 - 0.5 * std::cos(2 * kPi * i / o.frame);
        sum += samples[start + static_cast<std::size_t>(i)] / 32768.0 * w *
               std::polar(1.0, -2 * kPi * ((k * i) % fft) / fft);
      }
      power.push_back(std::norm(sum));
    }
    std::vector<double> logs;
    const double low = mel(o.low_hz);
    const double step = (mel(o.high_hz) - low) / (o.bands + 1);
    for (int b = 0; b < o.bands; ++b) {
      double energy = 0;
      for (int k = 0; k <= fft / 2; ++k) {
        const double f = static_cast<double>(k) * o.rate / fft;
        if (f <= hz(low + b * step) || f >= hz(low + (b + 2) * step)) continue;
        const double m = mel(f);
        const double middle = low + (b + 1) * step;
        energy += power[static_cast<std::size_t>(k)] *
                  (m < middle ? (m - (middle - step)) / step : (middle + step - m) / step);
      }
      logs.push_back(std::log(std::max(energy, o.floor)));
    }
    if (o.kind == FeatureKind::log_mel) {
      out.insert(out.end(), logs.begin(), logs.end());
      continue;
    }
    for (int c = 0; c < o.coefficients; ++c) {
      double sum = 0;
      for (int b = 0; b < o.bands; ++b)
        sum += logs[static_cast<std::size_t>(b)] * std::cos(kPi * c * (2 * b + 1) / (2 * o.bands));
      out.push_back(sum * std::sqrt((c == 0 ? 1.0 : 2.0) / o.bands));
    }
  }
  return out;
}

void compare(const FeatureOptions& o, std::size_t samples) {
  const auto s = clip(samples);
  const FeatureExtractor extractor(o);
  std::vector<float> found(
      static_cast<std::size_t>(extractor.shape(static_cast<std::int64_t>(samples)).elements()));
  extractor.extract(s, found);
  const auto expected = direct(s, o);
  REQUIRE(found.size() == expected.size());
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i)
    worst = std::max(worst, std::abs(static_cast<double>(found[i]) - expected[i]));
  CHECK(worst < 2e-3);
}

}  // namespace

TEST_CASE("data: features equal the direct computation") {
  FeatureOptions o;
  compare(o, 640 + 2 * 320 + 319);
  o.kind = FeatureKind::mfcc;
  compare(o, 640 + 320);
  o.frame = 400;  // 25 ms
  o.hop = 160;
  o.bands = 24;
  o.coefficients = 13;
  o.low_hz = 100;
  o.high_hz = 8000;
  compare(o, 1000);
}

TEST_CASE("data: one second gives the maps of the keyword papers") {
  CHECK(FeatureExtractor().shape(16000) == lastmile::Shape{49, 40, 1});
  FeatureOptions o;
  o.kind = FeatureKind::mfcc;
  CHECK(FeatureExtractor(o).shape(16000) == lastmile::Shape{49, 10, 1});
  CHECK(FeatureExtractor(o).shape(640) == lastmile::Shape{1, 10, 1});
}

TEST_CASE("data: silence is the floor, and a tone is loudest in its band") {
  const FeatureExtractor extractor;
  std::vector<std::int16_t> silence(640);
  std::vector<float> out(40);
  extractor.extract(silence, out);
  for (const float v : out) CHECK(v == doctest::Approx(std::log(1e-4)));
  for (const double f : {250.0, 1000.0, 4000.0}) {
    std::vector<std::int16_t> tone(640);
    for (std::size_t i = 0; i < tone.size(); ++i)
      tone[i] =
          static_cast<std::int16_t>(8000 * std::sin(2 * kPi * f * static_cast<double>(i) / 16000));
    extractor.extract(tone, out);
    const auto loudest = std::max_element(out.begin(), out.end()) - out.begin();
    const auto mel = [](double hz) { return 2595 * std::log10(1 + hz / 700); };
    const double band = (mel(f) - mel(20)) / ((mel(7600) - mel(20)) / 41) - 1;
    CHECK(std::abs(static_cast<double>(loudest) - band) <= 1);
  }
}

TEST_CASE("data: front-end options out of range are named") {
  const auto error = [](auto change) {
    FeatureOptions o;
    change(o);
    return error_of([&] { const FeatureExtractor e(o); });
  };
  CHECK(error([](FeatureOptions& o) { o.hop = 0; }) ==
        "features: hop = 0, expected 1 to the frame's length");
  CHECK(error([](FeatureOptions& o) { o.high_hz = 8001; }).find("features: high_hz = 8001") == 0);
  CHECK(error([](FeatureOptions& o) { o.low_hz = 7600; }).find("features: low_hz") == 0);
  CHECK(error([](FeatureOptions& o) {
          o.bands = 256;
        }).find("features: bands = 256, expected fewer") == 0);
  CHECK(error([](FeatureOptions& o) { o.coefficients = 41; }).find("features: coefficients") == 0);
  CHECK(error([](FeatureOptions& o) { o.frame = 8; }).find("features: frame") == 0);
  CHECK(error([](FeatureOptions& o) { o.floor = 0; }).find("features: floor") == 0);
  CHECK(error([](FeatureOptions& o) { o.rate = 0; }).find("features: rate") == 0);
  CHECK(error_of([] { (void)FeatureExtractor().shape(639); }) ==
        "features: clip of 639 samples, expected at least one frame of 640");
}

TEST_CASE("data: normalization gives every column mean 0 and deviation 1") {
  lastmile::Dataset d;
  d.shape = {2, 3, 1};
  d.classes = 2;
  d.y = {0, 1, 1};
  for (int i = 0; i < 18; ++i) d.x.push_back(static_cast<float>((i * 7) % 11 + 10 * (i % 3)));
  for (std::size_t i = 2; i < 18; i += 3) d.x[i] = 5;  // a column that never changes
  auto n = lastmile::fit_normalization(d);
  CHECK(n.deviation[2] == doctest::Approx(1e-3));
  lastmile::normalize(d, n);
  for (std::size_t c = 0; c < 3; ++c) {
    double sum = 0, square = 0;
    for (std::size_t i = c; i < 18; i += 3) {
      sum += static_cast<double>(d.x[i]);
      square += static_cast<double>(d.x[i]) * static_cast<double>(d.x[i]);
    }
    CHECK(sum == doctest::Approx(0).scale(1));
    CHECK(square / 6 == doctest::Approx(c == 2 ? 0 : 1).scale(1));
  }
  n.mean.pop_back();
  CHECK(error_of([&] { lastmile::normalize(d, n); }).find("normalization: 2 columns, expected 3") ==
        0);
}
