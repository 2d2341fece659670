// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "sw/base/sha256.hpp"

namespace lastmile {
namespace {

std::vector<std::uint8_t> bytes(std::string_view text) { return {text.begin(), text.end()}; }

}  // namespace

TEST_CASE("base: SHA-256 of the examples of FIPS 180-4") {
  const auto of = [](std::string_view text) { return hex(Sha256().update(bytes(text)).digest()); };
  CHECK(of("") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  CHECK(of("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  CHECK(of("abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq") ==
        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
  CHECK(of(std::string(1000000, 'a')) ==
        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
}

TEST_CASE("base: SHA-256 in parts is that of the whole, at every length around a block") {
  for (std::size_t size = 0; size < 200; ++size) {
    const std::vector<std::uint8_t> all(size, static_cast<std::uint8_t>(size));
    const std::size_t first = size / 3;
    Sha256 parts;
    parts.update(std::span(all).first(first)).update(std::span(all).subspan(first));
    CHECK(parts.digest() == Sha256().update(all).digest());
  }
}

}  // namespace lastmile
