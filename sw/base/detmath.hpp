// SPDX-License-Identifier: Apache-2.0
// log, sin, cos and exp from IEEE +, -, *, / alone, so that data made with them has the same bits
// with every compiler and C library (the library's own differ in the last place between versions).
// Error below 5e-16 relative (log, exp) or absolute (sin, cos).
#pragma once

#include <bit>
#include <cstdint>

namespace lastmile {

// Natural logarithm of a positive normal number. log m = 2 atanh((m - 1) / (m + 1)) on m in [1/sqrt
// 2, sqrt 2).
[[nodiscard]] constexpr double det_log(double x) noexcept {
  const auto bits = std::bit_cast<std::uint64_t>(x);
  auto e = static_cast<int>(bits >> 52) - 1023;
  double m = std::bit_cast<double>((bits & 0xfffffffffffffU) | 0x3ff0000000000000U);
  if (m > 1.4142135623730951) {
    m *= 0.5;
    ++e;
  }
  const double s = (m - 1) / (m + 1);
  const double s2 = s * s;
  double p = 0;
  for (int k = 23; k >= 3; k -= 2) p = (p + 1.0 / k) * s2;
  constexpr double kLn2Hi = 0x1.62e42fefap-1;  // few enough bits that e * kLn2Hi is exact
  constexpr double kLn2Lo = 0x1.cf79abc9e3b3ap-40;
  return e * kLn2Hi + (2 * s + (2 * s * p + e * kLn2Lo));
}

struct SinCos {
  double sin;
  double cos;
};

// Sine and cosine of an angle in radians, |x| up to 1e5. Reduced to [-pi/4, pi/4], then Taylor
// series.
[[nodiscard]] constexpr SinCos det_sincos(double x) noexcept {
  constexpr double kTwoOverPi = 0.63661977236758134;
  constexpr double kHalfPiHi = 0x1.921fb544p0;  // few enough bits that q * kHalfPiHi is exact
  constexpr double kHalfPiLo = 0x1.0b4611a626331p-34;
  const double scaled = x * kTwoOverPi;
  const auto q = static_cast<std::int64_t>(scaled + (scaled >= 0 ? 0.5 : -0.5));
  const auto qd = static_cast<double>(q);
  const double r = (x - qd * kHalfPiHi) - qd * kHalfPiLo;
  const double r2 = r * r;
  double s = 1;
  double c = 1;
  for (int k = 18; k >= 2; k -= 2) {
    s = 1 - s * r2 / (k * (k + 1));
    c = 1 - c * r2 / (k * (k - 1));
  }
  s *= r;
  switch (q & 3) {
    case 0:
      return {s, c};
    case 1:
      return {c, -s};
    case 2:
      return {-s, -c};
    default:
      return {-c, s};
  }
}

// e^x for x <= 700; 0 for x < -700 (where e^x is below 1e-304). Reduced by multiples of ln 2, then
// Taylor series.
[[nodiscard]] constexpr double det_exp(double x) noexcept {
  if (x < -700) return 0;
  constexpr double kLn2Hi = 0x1.62e42fefap-1;
  constexpr double kLn2Lo = 0x1.cf79abc9e3b3ap-40;
  const double scaled = x * 1.4426950408889634;
  const auto k = static_cast<int>(scaled + (scaled >= 0 ? 0.5 : -0.5));
  const double r = (x - k * kLn2Hi) - k * kLn2Lo;
  double p = 1;
  for (int i = 14; i >= 1; --i) p = 1 + p * r / i;
  return p * std::bit_cast<double>(static_cast<std::uint64_t>(1023 + k) << 52);
}

}  // namespace lastmile
