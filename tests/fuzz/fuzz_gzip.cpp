// SPDX-License-Identifier: Apache-2.0
// The gzip reader: never more than the limit, and what it accepts survives being packed again.
#include "sw/base/io.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  constexpr std::size_t kLimit = 1 << 18;
  lastmile::fuzz::accepts([&] {
    const auto plain = lastmile::gunzip(std::span(data, size), "gzip", kLimit);
    lastmile::fuzz::require(plain.size() <= kLimit);
    lastmile::fuzz::require(lastmile::gunzip(lastmile::gzip(plain, 1), "again", kLimit) == plain);
  });
  return 0;
}
