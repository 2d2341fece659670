// SPDX-License-Identifier: Apache-2.0
// int8 softmax, equal to the TensorFlow Lite reference kernel (gemmlowp fixed point, 5 integer bits
// in, 12 in the sum). CONTRACT.md, section Softmax. Output scale 1/256, zero point -128.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <limits>
#include <span>

namespace lastmile::numeric::softmax {

// Saturating rounding doubling high multiply: round(a * b / 2^31), ties toward +infinity as
// truncation with a nudge gives them.
[[nodiscard]] constexpr std::int32_t mul(std::int32_t a, std::int32_t b) {
  if (a == b && a == std::numeric_limits<std::int32_t>::min())
    return std::numeric_limits<std::int32_t>::max();
  const std::int64_t p = static_cast<std::int64_t>(a) * b;
  const std::int64_t nudge = p >= 0 ? (std::int64_t{1} << 30) : 1 - (std::int64_t{1} << 30);
  return static_cast<std::int32_t>((p + nudge) / (std::int64_t{1} << 31));
}
[[nodiscard]] constexpr std::int32_t shl_sat(std::int32_t x, int n) {
  const std::int64_t v = static_cast<std::int64_t>(x) << n;
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(
      v, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()));
}
// Rounding right shift, ties away from zero.
[[nodiscard]] constexpr std::int32_t shr_round(std::int32_t x, int n) {
  const std::int64_t mask = (std::int64_t{1} << n) - 1;
  const std::int64_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
  return static_cast<std::int32_t>((static_cast<std::int64_t>(x) >> n) +
                                   ((x & mask) > threshold ? 1 : 0));
}

// exp(a) for a in [-1/4, 0), both Q0.31: Taylor series around -1/8.
[[nodiscard]] constexpr std::int32_t exp_quarter(std::int32_t a) {
  const std::int32_t c = 1895147668;     // exp(-1/8)
  const std::int32_t third = 715827883;  // 1/3
  const std::int32_t x = a + (1 << 28);  // a + 1/8
  const std::int32_t x2 = mul(x, x);
  const std::int32_t x3 = mul(x2, x);
  const std::int32_t x4_4 = shr_round(mul(x2, x2), 2);
  const std::int32_t tail = shr_round(mul(x4_4 + x3, third) + x2, 1);
  const std::int64_t r = static_cast<std::int64_t>(c) + mul(c, x + tail);
  return static_cast<std::int32_t>(std::clamp<std::int64_t>(
      r, std::numeric_limits<std::int32_t>::min(), std::numeric_limits<std::int32_t>::max()));
}

// exp(a) in Q0.31 for a <= 0 in Q5.26: a multiple of 1/4 by a product of constants, the rest by
// exp_quarter.
[[nodiscard]] constexpr std::int32_t exp_negative(std::int32_t a) {
  constexpr std::int32_t factor[7] = {1672461947, 1302514674, 790015084, 290630308,
                                      39332535,   720401,     242};
  if (a == 0) return std::numeric_limits<std::int32_t>::max();
  const std::int32_t quarter = 1 << 24;
  const std::int32_t part = (a & (quarter - 1)) - quarter;
  std::int32_t r = exp_quarter(shl_sat(part, 5));
  const auto rest =
      static_cast<std::int32_t>(static_cast<std::uint32_t>(part) - static_cast<std::uint32_t>(a));
  for (int i = 0; i < 7; ++i) {
    if ((rest & (quarter << i)) != 0) r = mul(r, factor[i]);  // 2^(i-2) is bit 24 + i
  }
  return r;
}

// 1 / (1 + a) in Q0.31 for a in [0, 1): three Newton-Raphson steps.
[[nodiscard]] constexpr std::int32_t one_over_one_plus(std::int32_t a) {
  const std::int32_t half = static_cast<std::int32_t>(
      (static_cast<std::int64_t>(a) + std::numeric_limits<std::int32_t>::max() + 1) / 2);
  std::int32_t x = 1515870810 + mul(half, -1010580540);  // 48/17 - 32/17 * half, Q2.29
  for (int i = 0; i < 3; ++i) {
    const std::int32_t error = (1 << 29) - mul(half, x);
    x += shl_sat(mul(x, error), 2);
  }
  return shl_sat(x, 1);
}

// What the two passes over a row share: exponent of one difference (max - is not yet subtracted:
// diff <= 0).
[[nodiscard]] constexpr std::int32_t exp_of_diff(std::int32_t diff, std::int32_t multiplier,
                                                 int left_shift) {
  return exp_negative(
      mul(static_cast<std::int32_t>(static_cast<std::uint32_t>(diff) << left_shift), multiplier));
}

struct Reciprocal {
  std::int32_t scale = 0;
  int bits_over_unit = 0;
};
[[nodiscard]] constexpr Reciprocal reciprocal(std::int32_t sum) {  // sum in Q12.19, > 0
  const int headroom = std::countl_zero(static_cast<std::uint32_t>(sum));
  const auto shifted =
      static_cast<std::int32_t>((static_cast<std::uint32_t>(sum) << headroom) - 0x80000000u);
  return {one_over_one_plus(shifted), 12 - headroom};
}

// One row. multiplier: 31 bits; left_shift 0..31; diff_min <= 0: differences below it have
// probability 0.
constexpr void row(std::span<const std::int8_t> in, std::span<std::int8_t> out,
                   std::int32_t multiplier, int left_shift, std::int32_t diff_min) {
  std::int32_t top = -128;
  for (const std::int8_t v : in) top = std::max<std::int32_t>(top, v);
  std::int32_t sum = 0;
  for (const std::int8_t v : in) {
    const std::int32_t diff = v - top;
    if (diff >= diff_min) sum += shr_round(exp_of_diff(diff, multiplier, left_shift), 12);
  }
  const Reciprocal r = reciprocal(sum);
  for (std::size_t i = 0; i < in.size(); ++i) {
    const std::int32_t diff = in[i] - top;
    std::int32_t q = -128;
    if (diff >= diff_min) {
      const std::int32_t p = mul(r.scale, exp_of_diff(diff, multiplier, left_shift));
      q = std::clamp(shr_round(p, r.bits_over_unit + 31 - 8) - 128, -128, 127);
    }
    out[i] = static_cast<std::int8_t>(q);
  }
}

}  // namespace lastmile::numeric::softmax
