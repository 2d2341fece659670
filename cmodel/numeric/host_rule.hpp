// SPDX-License-Identifier: Apache-2.0
// What the host makes of two sums of losses, in integers. CONTRACT.md, section Host's rule.
#pragma once

#include <cstdint>
#include <span>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::numeric {

// Loss differences d = L+ - L- that the divisor D is measured with, before the first step.
inline constexpr int kScaleProbes = 16;

// |d|; d is at most 48 bits: 65,535 examples of 31 bits.
[[nodiscard]] constexpr std::uint64_t magnitude(std::int64_t d) {
  return d < 0 ? ~static_cast<std::uint64_t>(d) + 1 : static_cast<std::uint64_t>(d);
}

// D: 5/4 of the mean |d| of kScaleProbes differences, rounded down. 5/4 is close to sqrt(pi / 2):
// for differences from a normal distribution D is their standard deviation.
[[nodiscard]] constexpr std::uint64_t scale_of(std::span<const std::int64_t> differences) {
  std::uint64_t sum = 0;
  for (const std::int64_t d : differences) sum += magnitude(d);
  return 5 * sum / (4 * kScaleProbes);
}

// The sign estimator's coefficient: -1, 0 or 1.
[[nodiscard]] constexpr std::int8_t sign_coefficient(std::int64_t d) {
  return static_cast<std::int8_t>(d > 0 ? 1 : d < 0 ? -1 : 0);
}

// The scaled estimator's: 127 d / D to nearest, halves away from zero, at most 127 in magnitude.
// D = 0 (no probe found a slope): 0.
[[nodiscard]] constexpr std::int8_t scaled_coefficient(std::int64_t d, std::uint64_t scale) {
  constexpr std::uint64_t kMost = spec::kCoefMax;
  if (scale == 0) return 0;
  const std::uint64_t q =
      magnitude(d) >= scale ? kMost : (2 * kMost * magnitude(d) + scale) / (2 * scale);
  return static_cast<std::int8_t>(d < 0 ? -static_cast<int>(q) : static_cast<int>(q));
}

// splitmix64 (Steele, Lea, Flood 2014): a bijection of 64-bit numbers that hides every pattern.
[[nodiscard]] constexpr std::uint64_t mix_seed(std::uint64_t x) {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

// Seed of pair `pair` of step `step`. No two of a run are equal, because mix_seed is a bijection
// and a step has at most 8 pairs; runs whose seeds are neighbours share none.
[[nodiscard]] constexpr std::uint64_t pair_seed(std::uint64_t seed, std::uint32_t step, int pair) {
  static_assert(spec::kMaxPairs == 8);
  return mix_seed(mix_seed(seed) + 8 * std::uint64_t{step} + static_cast<std::uint64_t>(pair));
}

}  // namespace lastmile::numeric
