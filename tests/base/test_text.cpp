// SPDX-License-Identifier: Apache-2.0
// Text that leaves the program, and numbers that come in.
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>

#include "sw/base/number.hpp"
#include "sw/base/text.hpp"

using namespace lastmile;

TEST_CASE("base: numbers are decimal digits, in range, and nothing else") {
  CHECK(parse_unsigned("0") == 0U);
  CHECK(parse_unsigned("18446744073709551615") == std::numeric_limits<std::uint64_t>::max());
  for (const char* bad : {"", " ", "1 ", " 1", "+1", "-1", "-0", "00", "017", "0x1", "1e3", "1.0",
                          "18446744073709551616", "99999999999999999999999", "one"})
    CHECK_FALSE(parse_unsigned(bad).has_value());
  CHECK(parse_signed("-9223372036854775808") == std::numeric_limits<std::int64_t>::min());
  for (const char* bad : {"", "-", "-0", "--1", "-01", "9223372036854775808", "- 1"})
    CHECK_FALSE(parse_signed(bad).has_value());
  CHECK(parse_integer<std::uint32_t>("4294967295") == 4294967295U);
  CHECK_FALSE(parse_integer<std::uint32_t>("4294967296").has_value());
  CHECK_FALSE(parse_integer<int>("8", 1, 7).has_value());
  CHECK(parse_real("-1.5e-3") == -1.5e-3);
  CHECK(parse_real(".5") == 0.5);
  for (const char* bad :
       {"", "nan", "inf", "-inf", "1e999", "0x1p3", "1,5", "1.0f", " 1", "1 ", "infinity", "e"})
    CHECK_FALSE(parse_real(bad).has_value());
}

TEST_CASE("base: what is printed cannot steer a terminal, break a report or fill a log") {
  CHECK(printable("a/b \xc3\xa9 \xe2\x82\xac") == "a/b \xc3\xa9 \xe2\x82\xac");
  CHECK(printable("a\x1b[31m\nb\x7f") == "a\\x1b[31m\\x0ab\\x7f");
  CHECK(printable("a\tb\n\r", 100, true) == "a\tb\n\\x0d");
  CHECK(printable("\xff\xc3(\xc2\x9b") == "\\xff\\xc3(\\xc2\\x9b");
  const std::string cut = printable(std::string(1 << 20, 'x') + "end");
  CHECK(cut.size() < kMessageLimit + 100);
  CHECK(cut.find("bytes left out") != std::string::npos);
  CHECK(cut.ends_with("end"));
  // A character of several bytes is never cut in two.
  std::string wide;
  for (int i = 0; i < 100; ++i) wide += "\xe2\x82\xac";
  for (std::size_t limit = 20; limit < 40; ++limit)
    CHECK(printable(wide, limit).find("\\x") == std::string::npos);
}

TEST_CASE("base: a word for a shell is quoted where it has to be") {
  CHECK(shell_word("--seed=1,2:/a_b.c") == "--seed=1,2:/a_b.c");
  CHECK(shell_word("") == "''");
  CHECK(shell_word("a b") == "'a b'");
  CHECK(shell_word("it's $HOME") == "'it'\\''s $HOME'");
  CHECK(shell_word("~x") == "'~x'");
  CHECK(shell_word("a\x1b'\\\xff\xc3\xa9") == "$'a\\x1b\\'\\\\\\xff\xc3\xa9'");
}
