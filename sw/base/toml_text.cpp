// SPDX-License-Identifier: Apache-2.0
#include "sw/base/toml_text.hpp"

#include <fmt/format.h>

#include <exception>
#include <sstream>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"

namespace lastmile {
namespace {

constexpr std::size_t kMaxText = std::size_t{4} << 20;
constexpr int kMaxNesting = 16;

// The parser recurses with the text's nesting, so what no file here needs is refused before it can
// exhaust the stack.
void check_nesting(std::string_view text, const std::string& file) {
  if (text.size() > kMaxText) {
    throw Error(ErrorKind::input,
                fmt::format("{}: {} bytes, expected at most {}", file, text.size(), kMaxText));
  }
  int line = 1, depth = 0, dots = 0;
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorKind::input, fmt::format("{}:{}: {}", file, line, what));
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '\n') {
      ++line;
      dots = 0;
    } else if (c == '#') {
      while (i + 1 < text.size() && text[i + 1] != '\n') ++i;
    } else if (c == '"' || c == '\'') {
      if (text.substr(i, 3) == std::string(3, c)) fail("a multi-line string, expected none");
      while (++i < text.size() && text[i] != c && text[i] != '\n')
        i += c == '"' && text[i] == '\\' ? 1 : 0;
      if (i < text.size() && text[i] == '\n') ++line;
    } else if (c == '[' || c == '{') {
      if (++depth > kMaxNesting)
        fail(fmt::format("brackets {} deep, expected at most {}", depth, kMaxNesting));
    } else if (c == ']' || c == '}') {
      --depth;
    } else if (c == '.' && ++dots > kMaxNesting) {
      fail(fmt::format("{} dots in a line, expected at most {}", dots, kMaxNesting));
    }
  }
}

}  // namespace

toml::value parse_toml(std::string_view text, const std::string& file) {
  check_nesting(text, file);
  require_utf8(text, file);
  // toml11 repeats the offending lines in its message, which a user wants to see, under a tag they
  // do not need.
  std::istringstream stream{std::string(text)};
  try {
    return toml::parse(stream, file);
  } catch (const std::exception& e) {
    std::string what = e.what();
    if (what.rfind("[error] ", 0) == 0) what.erase(0, 8);
    throw Error(ErrorKind::input, fmt::format("{}: not valid TOML: {}", file, what));
  }
}

}  // namespace lastmile
