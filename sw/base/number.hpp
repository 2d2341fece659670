// SPDX-License-Identifier: Apache-2.0
// Numbers as users write them, the same in every option: decimal digits, all of the text, in range.
// No sign where none belongs, no octal or hexadecimal, no spaces, nothing that wraps.
#pragma once

#include <concepts>
#include <cstdint>
#include <limits>
#include <optional>
#include <string_view>

namespace lastmile {

// "0", "17"; nothing else ("017", "+1", "-0", "0x1", "1e3", " 1", "" and what is above 2^64 - 1).
[[nodiscard]] std::optional<std::uint64_t> parse_unsigned(std::string_view text);
// The same, with or without "-" before digits other than 0.
[[nodiscard]] std::optional<std::int64_t> parse_signed(std::string_view text);
// Decimal with point and exponent as usual: finite, and not beyond what a double holds.
[[nodiscard]] std::optional<double> parse_real(std::string_view text);

template <std::integral T>
[[nodiscard]] std::optional<T> parse_integer(std::string_view text,
                                             T least = std::numeric_limits<T>::min(),
                                             T most = std::numeric_limits<T>::max()) {
  if constexpr (std::unsigned_integral<T>) {
    const auto v = parse_unsigned(text);
    if (!v || *v < least || *v > most) return std::nullopt;
    return static_cast<T>(*v);
  } else {
    const auto v = parse_signed(text);
    if (!v || *v < least || *v > most) return std::nullopt;
    return static_cast<T>(*v);
  }
}

}  // namespace lastmile
