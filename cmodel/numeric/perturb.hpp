// SPDX-License-Identifier: Apache-2.0
// Perturbation on read and the update of one element. CONTRACT.md, sections Perturbation and
// Update.
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>

#include "cmodel/numeric/fixed.hpp"
#include "cmodel/numeric/random.hpp"

namespace lastmile::numeric {

struct Perturbed {
  std::int32_t value = 0;
  bool clipped = false;
};

// |delta| in LSBs: |z| * eps / 2^shift, nearest, ties up; the sign is applied after, so that w+ and
// w- are antisymmetric.
[[nodiscard]] constexpr std::int64_t perturb_magnitude(std::uint32_t eps, int shift,
                                                       std::int32_t z) {
  const std::int64_t p = static_cast<std::int64_t>(eps) * (z < 0 ? -z : z);
  return shift == 0 ? p : (p + (std::int64_t{1} << (shift - 1))) >> shift;
}

// w + delta (delta signed, from perturb_magnitude, z's sign and the polarity), saturated to
// +-limit. delta = 0 changes nothing, not even a weight of -2^(bits-1).
[[nodiscard]] constexpr Perturbed perturb(std::int32_t w, std::int64_t delta, std::int32_t limit) {
  if (delta == 0) return {w, false};
  const std::int64_t v = w + delta;
  if (v > limit) return {limit, true};
  if (v < -static_cast<std::int64_t>(limit)) return {-limit, true};
  return {static_cast<std::int32_t>(v), false};
}

// Step of one tensor: product of the descriptor's and the register's mantissa, 16 bits, and the
// total right shift (0..55), which follows a left shift by STEP_PRESHIFT: |g| = 1 moves an element
// by mantissa * 2^(8 - shift) LSBs.
struct Step {
  std::uint32_t mantissa = 0;
  int shift = 0;
};
[[nodiscard]] constexpr Step combine_step(std::uint32_t tensor_mantissa, int tensor_shift,
                                          std::uint32_t run_mantissa, int run_shift) {
  const std::uint64_t p = static_cast<std::uint64_t>(tensor_mantissa) * run_mantissa;
  const std::uint64_t s = (p + 0x8000) >> 16;
  return {static_cast<std::uint32_t>(s > 0xffff ? 0xffff : s), tensor_shift + run_shift};
}

struct Updated {
  std::int32_t value = 0;
  bool zero = false;     // rounded to no change
  bool clipped = false;  // saturated
};

// w - g * step, stochastically rounded in the magnitude with 16 random bits: symmetric in the sign
// of g, unbiased to 2^-17 LSB. g = sum of coefficient times z over the pairs, at most 18 bits, or
// an element of a gradient in memory; |g| counts as 2^31 - 1 at most.
[[nodiscard]] constexpr Updated update(std::int32_t w, std::int32_t g, Step s, std::uint32_t r16,
                                       std::int32_t limit) {
  const std::int64_t wide = g;
  const std::int64_t magnitude = std::min<std::int64_t>(wide < 0 ? -wide : wide, 0x7fffffff);
  const std::int64_t p = (magnitude * s.mantissa) << spec::kStepPreshift;
  const std::int64_t odd = 2 * static_cast<std::int64_t>(r16) + 1;
  const std::int64_t dither = s.shift >= 17 ? odd << (s.shift - 17) : odd >> (17 - s.shift);
  const std::int64_t q = (p + dither) >> s.shift;
  if (q == 0) return {w, true, false};
  const Perturbed moved = perturb(w, g < 0 ? q : -q, limit);
  return {moved.value, false, moved.clipped};
}

}  // namespace lastmile::numeric
