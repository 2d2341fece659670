// SPDX-License-Identifier: Apache-2.0
// Scalar fixed-point primitives of the numeric contract (CONTRACT.md, sections Accumulation,
// Requantization, Operators). Everything is exact integer arithmetic on two's complement; no
// function throws, allocates or depends on state.
#pragma once

#include <algorithm>
#include <cstdint>

namespace lastmile::numeric {

inline constexpr std::int64_t kAccMax = (std::int64_t{1} << 39) - 1;
inline constexpr std::int64_t kAccMin = -(std::int64_t{1} << 39);
inline constexpr std::int32_t kW16Max = 32767;  // perturbed and updated weights stay symmetric
inline constexpr std::int32_t kW8Max = 127;
inline constexpr std::int32_t kBiasMax = 2147483647;

// The one saturation before the output: only a left shift can need it, and then the output clamp
// saturates anyway.
[[nodiscard]] constexpr std::int64_t shift_left_sat40(std::int64_t acc, int left) {
  const std::int64_t hi = kAccMax >> left;
  const std::int64_t lo = kAccMin >> left;
  if (acc > hi) return kAccMax;
  if (acc < lo) return kAccMin;
  return acc << left;
}

// h = floor((a * m + 2^30) / 2^31): nearest, ties toward +infinity. a in 40 bits, m in 0..2^31-1;
// the product has 71 bits.
[[nodiscard]] constexpr std::int64_t high_mul(std::int64_t a, std::int32_t m) {
  const __int128 p = static_cast<__int128>(a) * m + (std::int64_t{1} << 30);
  return static_cast<std::int64_t>(p >> 31);
}

// floor(h / 2^r) + [h mod 2^r > T], T = ((2^r - 1) >> 1) + (h < 0): nearest, ties away from zero. r
// in 0..40.
[[nodiscard]] constexpr std::int64_t round_shift(std::int64_t h, int r) {
  const std::int64_t mask = (std::int64_t{1} << r) - 1;
  const std::int64_t threshold = (mask >> 1) + (h < 0 ? 1 : 0);
  return (h >> r) + ((h & mask) > threshold ? 1 : 0);
}

// Two-stage requantization without offset and clamp. e in -40..30, m in 0..2^31-1, acc in 40 bits.
[[nodiscard]] constexpr std::int64_t rescale(std::int64_t acc, std::int32_t m, int e) {
  const int left = std::max(e, 0);
  const int right = std::max(-e, 0);
  return round_shift(high_mul(shift_left_sat40(acc, left), m), right);
}

// Average of a pooling window: truncating division after adding half the count away from zero.
// count >= 1.
[[nodiscard]] constexpr std::int32_t pool_average(std::int32_t sum, std::int32_t count) {
  return (sum > 0 ? sum + count / 2 : sum - count / 2) / count;
}

// Operator ADD on two int8 values; multipliers and exponents as in rescale. The addends keep at
// most 28 bits.
struct AddParams {
  std::int32_t zp1 = 0, zp2 = 0, zp_out = 0;
  std::int32_t m1 = 0, m2 = 0, mo = 0;
  int e1 = 0, e2 = 0, eo = 0;
  int left_shift = 0;
  std::int32_t act_min = -128, act_max = 127;
  bool operator==(const AddParams&) const = default;
};
// Sum before the clamp (saturation counters look at it).
[[nodiscard]] constexpr std::int64_t add_unclamped(std::int32_t x1, std::int32_t x2,
                                                   const AddParams& p) {
  const std::int64_t a1 =
      rescale(static_cast<std::int64_t>(x1 - p.zp1) << p.left_shift, p.m1, p.e1);
  const std::int64_t a2 =
      rescale(static_cast<std::int64_t>(x2 - p.zp2) << p.left_shift, p.m2, p.e2);
  return rescale(std::clamp(a1 + a2, kAccMin, kAccMax), p.mo, p.eo) + p.zp_out;
}

}  // namespace lastmile::numeric
