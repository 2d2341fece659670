// SPDX-License-Identifier: Apache-2.0
#include "sw/compiler/encoding.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/base/error.hpp"

namespace lastmile {

double Scaled::value() const { return std::ldexp(mantissa, -static_cast<int>(shift)); }

Scaled encode_scaled(double value, int bits, const std::string& what) {
  const double limit = std::ldexp(1.0, bits);
  const auto fail = [&](const std::string& expected) {
    throw Error(ErrorKind::input, fmt::format("{} is {}, expected {}", what, value, expected));
  };
  if (!std::isfinite(value) || value < 0) fail("a number of at least 0");
  if (value == 0) return {};
  int exponent = 0;
  std::frexp(value, &exponent);
  int shift = std::clamp(bits - exponent, 0, 31);
  double mantissa = std::floor(std::ldexp(value, shift) + 0.5);
  if (mantissa >= limit && shift > 0) mantissa = std::floor(std::ldexp(value, --shift) + 0.5);
  if (mantissa >= limit) fail(fmt::format("less than {} ({} bits)", limit, bits));
  if (mantissa == 0) fail("0 or at least 2^-32, the smallest that is not rounded to nothing");
  auto m = static_cast<std::uint32_t>(mantissa);
  while (shift > 0 && m % 2 == 0) m /= 2, --shift;
  return {m, static_cast<std::uint32_t>(shift)};
}

double ScaledStep::value() const {
  return std::ldexp(mantissa, spec::kStepPreshift - static_cast<int>(shift));
}

ScaledStep encode_step(double value, const std::string& what, double low) {
  constexpr int kMaxShift = 39;
  const double high = 65535.0 * (1 << spec::kStepPreshift);
  if (!(value >= low && value <= high))
    throw Error(ErrorKind::input,
                fmt::format("{} is {}, expected {} to {}", what, value, low, high));
  int exponent = 0;
  std::frexp(value, &exponent);  // value in [2^(exponent-1), 2^exponent)
  int shift = std::clamp(16 - exponent + spec::kStepPreshift, 0, kMaxShift);
  double mantissa = std::floor(std::ldexp(value, shift - spec::kStepPreshift) + 0.5);
  if (mantissa > 65535)
    mantissa =
        shift > 0 ? std::floor(std::ldexp(value, --shift - spec::kStepPreshift) + 0.5) : 65535;
  return {static_cast<std::uint32_t>(mantissa), static_cast<std::uint32_t>(shift)};
}

}  // namespace lastmile
