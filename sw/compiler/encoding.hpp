// SPDX-License-Identifier: Apache-2.0
// Real numbers in the mantissa-and-shift form of descriptors: value = mantissa * 2^-shift, rounded
// to nearest, ties up.
#pragma once

#include <cstdint>
#include <string>

namespace lastmile {

struct Scaled {
  std::uint32_t mantissa = 0;
  std::uint32_t shift = 0;
  [[nodiscard]] double value() const;
  friend bool operator==(const Scaled&, const Scaled&) = default;
};

// The most precise form with a mantissa of at most `bits` bits (16 or 24) and a shift of 0..31;
// exact where that is possible. 0 is {0, 0}. Error(input) naming `what` for a value that is
// negative, not finite, too large, or positive but less than half of 2^-31.
[[nodiscard]] Scaled encode_scaled(double value, int bits, const std::string& what);

// A step of an UPDATE: LSBs = mantissa * 2^(STEP_PRESHIFT - shift). The mantissa keeps its top bit,
// because the NPU multiplies it by the run's step and keeps 16 bits of the product.
struct ScaledStep {
  std::uint32_t mantissa = 0;
  std::uint32_t shift = 0;
  [[nodiscard]] double value() const;
  friend bool operator==(const ScaledStep&, const ScaledStep&) = default;
};
// value > 0. Error(input) naming `what` for a value outside `low` .. 2^24 - 2^8. From 2^-16 on
// shifts 0..39 express it in 16 bits; below, each halving costs a bit of the mantissa.
[[nodiscard]] ScaledStep encode_step(double value, const std::string& what, double low = 0x1p-16);

}  // namespace lastmile
