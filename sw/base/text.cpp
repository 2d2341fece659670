// SPDX-License-Identifier: Apache-2.0
#include "sw/base/text.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>

namespace lastmile {
namespace {

// Where `text` may be cut so that no character of several bytes is: at `at` or just before.
std::size_t whole(std::string_view text, std::size_t at) {
  while (at > 0 && at < text.size() && (static_cast<std::uint8_t>(text[at]) & 0xc0U) == 0x80) --at;
  return at;
}

}  // namespace

std::size_t utf8_length(std::string_view text) {
  if (text.empty()) return 0;
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  const std::uint8_t lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xc2 || lead > 0xf4) return 0;
  // Overlong forms, surrogates and what lies beyond U+10FFFF show in the second byte.
  const std::size_t length = lead <= 0xdf ? 2 : lead <= 0xef ? 3 : 4;
  std::uint8_t low = 0x80, high = 0xbf;
  if (lead == 0xe0) low = 0xa0;
  if (lead == 0xed) high = 0x9f;
  if (lead == 0xf0) low = 0x90;
  if (lead == 0xf4) high = 0x8f;
  if (length > text.size()) return 0;
  for (std::size_t k = 1; k < length; ++k) {
    if (byte(k) < low || byte(k) > high) return 0;
    low = 0x80;
    high = 0xbf;
  }
  return length;
}

std::string printable(std::string_view text, std::size_t limit, bool lines) {
  std::string middle;
  std::string_view parts[2] = {text, {}};
  if (text.size() > limit) {
    const std::size_t first = whole(text, limit / 2), last = whole(text, text.size() - limit / 2);
    middle = fmt::format(" ... ({} bytes left out) ... ", last - first);
    parts[0] = text.substr(0, first);
    parts[1] = text.substr(last);
  }
  std::string out;
  for (const std::string_view& part : parts) {
    for (std::size_t i = 0; i < part.size();) {
      const std::size_t n = utf8_length(part.substr(i));
      const auto c = static_cast<std::uint8_t>(part[i]);
      // C1 controls (U+0080 to U+009F) steer some terminals, too.
      const bool control = c < 0x20 || c == 0x7f ||
                           (n == 2 && c == 0xc2 && static_cast<std::uint8_t>(part[i + 1]) < 0xa0);
      if (n == 0 || (control && !(lines && (c == '\n' || c == '\t')))) {
        const std::size_t bytes = n == 0 ? 1 : n;
        for (std::size_t k = 0; k < bytes; ++k)
          out += fmt::format("\\x{:02x}", static_cast<std::uint8_t>(part[i + k]));
        i += bytes;
      } else {
        out += part.substr(i, n);
        i += n;
      }
    }
    if (&part == &parts[0]) out += middle;
  }
  return out;
}

std::string shell_word(std::string_view text) {
  constexpr std::string_view kPlain =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_@%+=:,./-";
  if (!text.empty() && text.find_first_not_of(kPlain) == std::string_view::npos)
    return std::string(text);
  const std::string shown = printable(text, text.size());
  if (shown != text) {
    std::string out = "$'";
    for (std::size_t i = 0; i < text.size();) {
      // Byte by byte where it has to be escaped, and whole characters where not.
      const std::size_t n = std::max<std::size_t>(1, utf8_length(text.substr(i)));
      const std::string_view part = text.substr(i, n);
      if (part == "'" || part == "\\") out += '\\';
      out += printable(part);
      i += n;
    }
    return out + "'";
  }
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'')
      out += "'\\''";
    else
      out += c;
  }
  return out + "'";
}

}  // namespace lastmile
