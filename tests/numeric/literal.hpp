// SPDX-License-Identifier: Apache-2.0
// The formulas of the contract with 128-bit integers and nothing else, for comparison with the
// code.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>

namespace literal {

using Int = __int128;

inline Int floor_div(Int a, Int b) {  // b > 0
  const Int q = a / b;
  return q * b > a ? q - 1 : q;
}

// Requantization as the golden vectors' README states it: unbounded, without any saturation.
inline Int requantize(std::int64_t acc, std::int32_t m, int e) {
  const int left = std::max(e, 0), right = std::max(-e, 0);
  const Int two_r = Int{1} << right;
  const Int h = floor_div(Int{acc} * (Int{1} << left) * m + (Int{1} << 30), Int{1} << 31);
  const Int floor = floor_div(h, two_r);
  const Int rest = h - floor * two_r;
  const Int t = floor_div(two_r - 1, 2) + (h < 0 ? 1 : 0);
  return floor + (rest > t ? 1 : 0);
}

inline std::uint64_t seed(std::uint64_t otherwise) {
  const char* text = std::getenv("LASTMILE_SEED");
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

}  // namespace literal
