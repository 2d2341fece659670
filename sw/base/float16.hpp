// SPDX-License-Identifier: Apache-2.0
// IEEE 754 binary16, as model files store weights.
#pragma once

#include <cmath>
#include <cstdint>

namespace lastmile {

[[nodiscard]] inline float float_of_half(std::uint16_t h) {
  const int exponent = h >> 10 & 31;
  const int fraction = h & 1023;
  const float sign = (h & 0x8000) != 0 ? -1.0F : 1.0F;
  if (exponent == 31) return fraction == 0 ? sign * INFINITY : NAN;
  if (exponent == 0) return sign * std::ldexp(static_cast<float>(fraction), -24);
  return sign * std::ldexp(static_cast<float>(1024 + fraction), exponent - 25);
}

}  // namespace lastmile
