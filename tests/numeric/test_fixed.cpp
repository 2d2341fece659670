// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <array>
#include <vector>

#include "cmodel/npu/elementwise.hpp"
#include "cmodel/numeric/fixed.hpp"
#include "sw/base/rng.hpp"
#include "tests/numeric/literal.hpp"

using namespace lastmile;
using numeric::kAccMax;
using numeric::kAccMin;

namespace {

constexpr std::array<std::int32_t, 8> kMultipliers = {
    0, 1, 1 << 30, (1 << 30) + 1, 1272582903, 1073741825, 0x7ffffffe, 0x7fffffff};

std::int64_t to_out(literal::Int y, std::int64_t zp) {
  const literal::Int v = y + zp;
  return static_cast<std::int64_t>(std::clamp<literal::Int>(v, -32768, 32767));
}

}  // namespace

TEST_CASE("numeric: requantization is the golden vectors' formula") {
  Rng rng(literal::seed(1));
  std::uint64_t wrong = 0;
  // near zero: every exponent, every small accumulator, multipliers at the ends
  for (const std::int32_t m : kMultipliers) {
    for (int e = -40; e <= 30; ++e) {
      for (std::int64_t acc = -300; acc <= 300; ++acc) {
        if (e > 0 && m < (1 << 30)) continue;  // the next test
        wrong += numeric::rescale(acc, m, e) != literal::requantize(acc, m, e) ? 1 : 0;
      }
    }
  }
  CHECK(wrong == 0);
  // the whole range without left shift
  for (int i = 0; i < 400000; ++i) {
    const int bits = static_cast<int>(rng.below(40));
    const auto acc = static_cast<std::int64_t>(rng.next()) >> (24 + bits % 40);
    const auto m = static_cast<std::int32_t>(rng.next() >> (33 + rng.below(4)));
    const int e = -static_cast<int>(rng.below(41));
    wrong += numeric::rescale(acc, m, e) != literal::requantize(acc, m, e) ? 1 : 0;
  }
  for (const std::int64_t acc : {kAccMin, kAccMin + 1, kAccMax - 1, kAccMax}) {
    for (const std::int32_t m : kMultipliers) {
      for (int e = -40; e <= 0; ++e) {
        wrong += numeric::rescale(acc, m, e) != literal::requantize(acc, m, e) ? 1 : 0;
      }
    }
  }
  CHECK(wrong == 0);
}

TEST_CASE("numeric: ties of both rounding stages") {
  // first stage, multiplier 2^30: acc odd is a tie and goes up, also for negative sums
  CHECK(numeric::high_mul(1, 1 << 30) == 1);
  CHECK(numeric::high_mul(-1, 1 << 30) == 0);
  CHECK(numeric::high_mul(-3, 1 << 30) == -1);
  CHECK(numeric::high_mul(3, 1 << 30) == 2);
  // second stage: ties leave zero
  CHECK(numeric::round_shift(2, 2) == 1);
  CHECK(numeric::round_shift(-2, 2) == -1);
  CHECK(numeric::round_shift(6, 2) == 2);
  CHECK(numeric::round_shift(-6, 2) == -2);
  CHECK(numeric::round_shift(1, 2) == 0);
  CHECK(numeric::round_shift(-1, 2) == 0);
  CHECK(numeric::round_shift(-5, 0) == -5);
  for (int r = 1; r <= 39; ++r) {
    const std::int64_t half = std::int64_t{1} << (r - 1);
    for (std::int64_t k = -4; k <= 3; ++k) {
      const std::int64_t tie = 2 * half * k + half;
      CHECK(numeric::round_shift(tie, r) == (tie < 0 ? k : k + 1));
      CHECK(numeric::round_shift(tie - 1, r) == k);
      CHECK(numeric::round_shift(tie + 1, r) == k + 1);
    }
  }
}

TEST_CASE("numeric: the saturation before a left shift changes no clamped output") {
  Rng rng(literal::seed(2));
  std::uint64_t wrong = 0;
  for (int i = 0; i < 400000; ++i) {
    const auto acc = static_cast<std::int64_t>(rng.next()) >> (24 + rng.below(40));
    const auto m = static_cast<std::int32_t>((1U << 30) + rng.below(1U << 30));
    const int e = static_cast<int>(rng.below(31));
    const std::int64_t zp = static_cast<std::int64_t>(rng.below(256)) - 128;
    wrong += to_out(numeric::rescale(acc, m, e), zp) != to_out(literal::requantize(acc, m, e), zp)
                 ? 1
                 : 0;
  }
  CHECK(wrong == 0);
  // and it does saturate: 2^39 times a multiplier of one half cannot pass 2^38
  CHECK(numeric::rescale(kAccMax, 1 << 30, 30) == std::int64_t{1} << 38);
  CHECK(numeric::rescale(kAccMin, 1 << 30, 30) == -(std::int64_t{1} << 38));
}

TEST_CASE("numeric: averages round half away from zero by truncation") {
  std::uint64_t wrong = 0;
  for (std::int32_t n = 1; n <= 70; ++n) {
    for (std::int32_t sum = -128 * n; sum <= 127 * n; ++sum) {
      // the reference kernel: add n / 2 (truncated) away from zero, divide toward zero
      const double exact = static_cast<double>(sum > 0 ? sum + n / 2 : sum - n / 2) / n;
      wrong += numeric::pool_average(sum, n) != static_cast<std::int32_t>(exact) ? 1 : 0;
    }
  }
  CHECK(wrong == 0);
  CHECK(numeric::pool_average(1, 2) == 1);
  CHECK(numeric::pool_average(-1, 2) == -1);
  CHECK(numeric::pool_average(1, 3) == 0);
  CHECK(numeric::pool_average(2, 3) == 1);
  CHECK(numeric::pool_average(0, 5) == 0);
}

TEST_CASE("numeric: additions on all pairs of int8") {
  Rng rng(literal::seed(4));
  for (int round = 0; round < 24; ++round) {
    spec::Descriptor d;
    d.in2_zp = static_cast<std::int32_t>(rng.below(256)) - 128;
    d.add_zp = static_cast<std::int32_t>(rng.below(256)) - 128;
    const std::int32_t zp1 = static_cast<std::int32_t>(rng.below(256)) - 128;
    for (std::uint32_t* m : {&d.m1, &d.m2, &d.mo})
      *m = static_cast<std::uint32_t>((1U << 30) + rng.below(1U << 30));
    const bool typical = round % 3 != 0;
    d.add_shift = typical ? 20 : static_cast<std::uint32_t>(rng.below(21));
    d.e1 = typical ? -static_cast<int>(rng.below(3)) : static_cast<int>(rng.below(71)) - 40;
    d.e2 = typical ? 0 : static_cast<int>(rng.below(71)) - 40;
    d.eo = typical ? -18 - static_cast<int>(rng.below(3)) : static_cast<int>(rng.below(71)) - 40;
    d.add_act_min = -128 + static_cast<std::int32_t>(rng.below(40));
    d.add_act_max = 127 - static_cast<std::int32_t>(rng.below(40));
    const npu::AddUnit unit(d, zp1);
    npu::Saturations s;
    std::uint64_t wrong = 0, low = 0, high = 0;
    std::vector<std::int8_t> x1(256), x2(256), out(256);
    for (std::int32_t a = -128; a < 128; ++a) {
      for (std::int32_t b = -128; b < 128; ++b) {
        x1[static_cast<std::size_t>(b + 128)] = static_cast<std::int8_t>(a);
        x2[static_cast<std::size_t>(b + 128)] = static_cast<std::int8_t>(b);
      }
      unit.run(npu::chosen_kernels(), x1.data(), x2.data(), out.data(), 256, s);
      for (std::int32_t b = -128; b < 128; ++b) {
        const auto limited = [](literal::Int v) {
          return static_cast<std::int64_t>(std::clamp<literal::Int>(v, kAccMin, kAccMax));
        };
        const literal::Int scale = literal::Int{1} << d.add_shift;
        const auto shifted = [&](std::int64_t v, int e) {
          return e > 0 ? limited(literal::Int{v} * (literal::Int{1} << e)) : v;
        };
        const auto a1 = static_cast<std::int64_t>((a - zp1) * scale),
                   a2 = static_cast<std::int64_t>((b - d.in2_zp) * scale);
        const literal::Int y1 = literal::requantize(
            shifted(a1, d.e1), static_cast<std::int32_t>(d.m1), std::min(d.e1, 0));
        const literal::Int y2 = literal::requantize(
            shifted(a2, d.e2), static_cast<std::int32_t>(d.m2), std::min(d.e2, 0));
        const literal::Int y =
            literal::requantize(shifted(limited(y1 + y2), d.eo), static_cast<std::int32_t>(d.mo),
                                std::min(d.eo, 0)) +
            d.add_zp;
        low += y < -128 ? 1 : 0;
        high += y > 127 ? 1 : 0;
        wrong += std::clamp<literal::Int>(y, d.add_act_min, d.add_act_max) !=
                         out[static_cast<std::size_t>(b + 128)]
                     ? 1
                     : 0;
      }
    }
    CHECK(wrong == 0);
    CHECK(s.low == low);
    CHECK(s.high == high);
  }
}
