// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <numbers>
#include <vector>

#include "sw/base/rng.hpp"
#include "sw/validate/metrics.hpp"
#include "tests/golden/cases.hpp"

namespace lastmile {

TEST_CASE("validate: metrics of tensors whose answers are known") {
  ErrorStats s(0.5);
  // Errors +1, -1, +1, -1 on values 10, -10, 10, -10: power ratio 100, all in units of 2 LSB.
  for (const double r : {10.0, -10.0, 10.0, -10.0}) s.add(r, r + (s.count() % 2 == 0 ? 1 : -1));
  CHECK(s.count() == 4);
  CHECK(s.sqnr_db() == doctest::Approx(20));
  CHECK(s.cosine() == doctest::Approx(1));
  CHECK(s.max_abs() == 1);
  CHECK(s.mean_error() == 0);
  CHECK(s.rmse() == 1);
  CHECK(s.rmse_over_scale() == 2);
  CHECK(s.gain() == doctest::Approx(1.1));
  CHECK(s.offset_lsb() == doctest::Approx(0));
  CHECK(s.residual_lsb() == doctest::Approx(0));
  // +-1 is +-2 LSB: bins -2 .. -1.75 and 2 .. 2.25.
  CHECK(s.histogram().counts[1 + 8] == 2);
  CHECK(s.histogram().counts[1 + 24] == 2);
  CHECK(ErrorHistogram::low_edge(1 + 24) == 2);

  ErrorStats perfect;
  perfect.add(3, 3);
  CHECK(perfect.sqnr_db() == kPerfectSqnr);
  CHECK(perfect.cosine() == 1);
  ErrorStats dead;
  dead.add(3, 0);
  dead.add(-1, 0);
  CHECK(dead.sqnr_db() == doctest::Approx(0));
  CHECK(dead.cosine() == 0);
  ErrorStats opposite;
  opposite.add(2, -2);
  opposite.add(-3, 3);
  CHECK(opposite.cosine() == doctest::Approx(-1));
  CHECK(opposite.sqnr_db() == doctest::Approx(-20 * std::log10(2)));

  ErrorStats line(0.1);  // value = 2 reference + 0.3
  for (const double r : {-1.0, 0.0, 0.5, 2.0}) line.add(r, 2 * r + 0.3);
  CHECK(line.gain() == doctest::Approx(2));
  CHECK(line.offset_lsb() == doctest::Approx(3));
  CHECK(line.residual_lsb() == doctest::Approx(0).epsilon(1e-6));
}

TEST_CASE("validate: rounding gives RMSE 1/sqrt 12 LSB and the SQNR of its width") {
  ErrorStats s(0.25);
  Rng rng(test_seed());
  for (int i = 0; i < 100000; ++i) {
    const double r = rng.uniform(-32, 32);
    s.add(r, std::round(r / 0.25) * 0.25);
  }
  CHECK(s.rmse_over_scale() == doctest::Approx(1 / std::sqrt(12)).epsilon(0.01));
  // Uniform over 256 levels: 20 log10 256.
  CHECK(s.sqnr_db() == doctest::Approx(20 * std::log10(256)).epsilon(0.005));
  for (std::size_t b = 0; b < ErrorHistogram::kBins; ++b)
    CHECK((s.histogram().counts[b] > 20000) == (b >= 15 && b <= 18));
}

TEST_CASE("validate: use of codes, effective bits, stuck channels, accumulator bits") {
  CodeUse codes(-128, 127);
  for (int i = -8; i < 8; ++i) codes.add(i * 16);
  CHECK(codes.used() == 16);
  CHECK(codes.share() == doctest::Approx(16.0 / 256));
  CHECK(codes.effective_bits() == doctest::Approx(4));
  codes.add(1);
  CHECK(codes.effective_bits() == doctest::Approx(std::log2(241)));
  codes.add(4000);
  CHECK(codes.count(127) == 1);
  CHECK(CodeUse(0, 3).effective_bits() == 0);

  ChannelRange range(3);
  const std::vector<double> reference = {0, 0, 0, 1, 1, 0}, value = {5, 5, 5, 6, 5, 5};
  range.add(reference, value);  // channel 1 does not follow; channel 2 has nothing to follow
  CHECK(range.stuck(0.5) == std::vector<int>{1});
  CHECK(range.stuck(2).empty());

  CHECK(accumulator_bits(0) == 1);
  CHECK(accumulator_bits(1) == 2);
  CHECK(accumulator_bits(127) == 8);
  CHECK(accumulator_bits(128) == 9);
  CHECK(accumulator_bits((std::int64_t{1} << 39) - 1) == 40);
}

TEST_CASE("validate: shares have their 95 % interval") {
  const Share half = share_of(50, 100);
  CHECK(half.value == 0.5);
  CHECK(half.low == doctest::Approx(0.4038).epsilon(0.001));
  CHECK(half.high == doctest::Approx(0.5962).epsilon(0.001));
  CHECK(share_of(0, 20).low == 0);
  CHECK(share_of(0, 20).high > 0.1);
}

// The formulas against the estimates themselves, on a linear function.
TEST_CASE("validate: cosine of signed and scaled estimates follows theory, and so do flips") {
  const std::uint64_t seed = test_seed();
  Rng rng(seed, 9);
  for (const int d : {40, 400}) {
    std::vector<double> g(static_cast<std::size_t>(d));
    for (double& v : g) v = rng.normal();
    const double length = std::sqrt(d) * deviation_of(g);
    for (const int m : {1, 4, 16}) {
      double signed_sum = 0, scaled_sum = 0;
      int flips = 0;
      const int trials = 4000;
      for (int t = 0; t < trials; ++t) {
        std::vector<double> a(g.size(), 0), b(g.size(), 0), z(g.size());
        for (int j = 0; j < m; ++j) {
          double along = 0;
          for (std::size_t i = 0; i < z.size(); ++i) {
            z[i] = rng.normal();
            along += z[i] * g[i];
          }
          for (std::size_t i = 0; i < z.size(); ++i) {
            a[i] += along > 0 ? z[i] : -z[i];
            b[i] += along * z[i];
          }
          if (j == 0) flips += (along + 0.5 * length * rng.normal() > 0) != (along > 0) ? 1 : 0;
        }
        signed_sum += cosine_of(a, g);
        scaled_sum += cosine_of(b, g);
      }
      CAPTURE(d);
      CAPTURE(m);
      CHECK(signed_sum / trials ==
            doctest::Approx(theory::cosine_signed_exact(m, d)).epsilon(0.05));
      CHECK(scaled_sum / trials ==
            doctest::Approx(theory::cosine_scaled_exact(m, d)).epsilon(0.05));
      const Share share = share_of(flips, trials);
      const double expected = theory::flip_share(0.5 * length, length);
      CHECK(share.low - 0.01 < expected);
      CHECK(share.high + 0.01 > expected);
    }
  }
  CHECK(theory::cosine_signed(4, 20000) ==
        doctest::Approx(std::sqrt(8 / (std::numbers::pi * 20000))));
  CHECK(theory::cosine_scaled(4, 20000) == doctest::Approx(std::sqrt(4.0 / 20000)));
  CHECK(theory::cosine_signed(4, 1e6) ==
        doctest::Approx(theory::cosine_signed_exact(4, 1e6)).epsilon(1e-3));
  CHECK(theory::flip_share(0, 1) == 0);
  CHECK(theory::flip_share(1, 0) == doctest::Approx(0.5));
}

}  // namespace lastmile
