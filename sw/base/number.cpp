// SPDX-License-Identifier: Apache-2.0
#include "sw/base/number.hpp"

#include <charconv>
#include <cmath>

namespace lastmile {
namespace {

bool digits(std::string_view text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string_view::npos &&
         (text.size() == 1 || text[0] != '0');
}

template <class T>
std::optional<T> converted(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size()) return std::nullopt;
  return value;
}

}  // namespace

std::optional<std::uint64_t> parse_unsigned(std::string_view text) {
  return digits(text) ? converted<std::uint64_t>(text) : std::nullopt;
}

std::optional<std::int64_t> parse_signed(std::string_view text) {
  const bool negative = text.starts_with('-');
  const std::string_view rest = text.substr(negative ? 1 : 0);
  if (!digits(rest) || (negative && rest == "0")) return std::nullopt;
  return converted<std::int64_t>(text);
}

std::optional<double> parse_real(std::string_view text) {
  // from_chars takes "inf" and "nan"; a number begins otherwise.
  if (text.empty() || text.find_first_not_of("0123456789.eE+-") != std::string_view::npos)
    return std::nullopt;
  const auto value = converted<double>(text);
  return value && std::isfinite(*value) ? value : std::nullopt;
}

}  // namespace lastmile
