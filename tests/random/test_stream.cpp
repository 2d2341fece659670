// SPDX-License-Identifier: Apache-2.0
#include <cstdint>
#include <set>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>

#include "cmodel/numeric/random.hpp"
#include "sw/base/error.hpp"
#include "tests/random/stream.hpp"

namespace {

using lastmile::spec::Domain;
using lastmile::test::Order;
using lastmile::test::Stream;
namespace numeric = lastmile::numeric;

std::vector<std::uint64_t> words(const char* order, std::size_t n, std::uint64_t seed = 9,
                                 std::uint64_t skip = 0) {
  std::vector<std::uint64_t> w(n);
  Stream(Order::parse(order), seed, skip).fill(w);
  return w;
}

TEST_CASE("random: Threefry-2x32 equals its authors' known answers") {
  // Random123 1.14, tests/kat_vectors: 13 and 20 rounds of zeros, ones and digits of pi.
  const auto hash = [](auto rounds, std::uint64_t c0, std::uint64_t c1, std::uint64_t k0,
                       std::uint64_t k1) {
    return numeric::threefry<decltype(rounds)::value>(k0 | k1 << 32, c0 | c1 << 32);
  };
  using R13 = std::integral_constant<int, 13>;
  using R20 = std::integral_constant<int, 20>;
  CHECK(hash(R13{}, 0, 0, 0, 0) == 0x8bd507319d1c5ec6);
  CHECK(hash(R13{}, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff) == 0x2d17272cfd36d048);
  CHECK(hash(R13{}, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344) == 0xf27d669eba3e4725);
  CHECK(hash(R20{}, 0, 0, 0, 0) == 0x99ba4efe6b200159);
  CHECK(hash(R20{}, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff) == 0xbb002be71cb996fc);
  CHECK(hash(R20{}, 0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344) == 0x483df7a0c4923a9c);
}

TEST_CASE("random: a stream holds the words that the datapath draws") {
  const auto elements = words("elements/sign/word", 1030);
  CHECK(elements[0] == numeric::hash_word(9, Domain::sign_, 0, 0, 0));
  CHECK(elements[1023] == numeric::hash_word(9, Domain::sign_, 0, 0, 1023));
  CHECK(elements[1025] == numeric::hash_word(9, Domain::sign_, 0, 1, 1));
  CHECK(words("elements/gaussian/word", 16386)[16385] ==
        numeric::hash_word(9, Domain::gaussian_, 0, 1, 1));
  CHECK(words("rows/round/word", 7)[6] == numeric::hash_word(9, Domain::round_, 0, 6, 0));
  CHECK(words("tensors/mask/word", 65538)[65537] == numeric::hash_word(9, Domain::mask_, 1, 0, 1));
  CHECK(words("seeds/sign/word", 5)[4] == numeric::hash_word(13, Domain::sign_, 2, 5, 1));
  const auto robin = words("robin/sign/word", 66);
  CHECK(robin[3] == numeric::hash_word(12, Domain::sign_, 0, 0, 0));
  CHECK(robin[4] == numeric::hash_word(9, Domain::sign_, 1, 0, 0));
  CHECK(robin[16] == numeric::hash_word(9, Domain::sign_, 0, 1, 0));
  CHECK(robin[64] == numeric::hash_word(9, Domain::sign_, 0, 0, 1));
  // The network of the walk: 16 + 32 * 3 + 32 * 5 + 10 * 5 words of weights and one of each of four
  // biases.
  const auto network = words("network/sign/word", 330);
  CHECK(network[16] == numeric::hash_word(9, Domain::sign_, 1, 0, 0));
  CHECK(network[326] == numeric::hash_word(10, Domain::sign_, 0, 0, 0));
}

TEST_CASE("random: what is taken of a word, and sections") {
  const auto all = words("elements/sign/word", 256);
  const auto bit = words("elements/sign/bit-17", 4);
  for (std::size_t i = 0; i < all.size(); ++i)
    REQUIRE(((bit[i / 64] >> (i % 64)) & 1) == ((all[i] >> 17) & 1));
  const auto high = words("elements/sign/high", 128);
  const auto low = words("elements/sign/low", 128);
  CHECK(high[5] == ((all[10] >> 32) | (all[11] >> 32 << 32)));
  CHECK(low[5] == ((all[10] & 0xffffffff) | (all[11] << 32)));
  const auto reversed = words("elements/sign/reversed", 2);
  for (int b = 0; b < 64; ++b) REQUIRE(((reversed[1] >> b) & 1) == ((all[1] >> (63 - b)) & 1));
  for (const char* order :
       {"elements/sign/word", "network/sign/word", "robin/sign/bit-3", "seeds/sign/high"}) {
    CAPTURE(order);
    const auto whole = words(order, 40);
    const auto tail = words(order, 10, 9, 30);
    CHECK(tail == std::vector<std::uint64_t>(whole.begin() + 30, whole.end()));
  }
}

TEST_CASE("random: order names") {
  for (const char* name : {"seeds/sign/word", "network/gaussian/high", "robin/mask/bit-63"})
    CHECK(Order::parse(name).name() == name);
  for (const char* name : {"", "seeds", "seeds/sign", "sheds/sign/word", "seeds/sine/word",
                           "seeds/sign/bit-64", "seeds/sign/bit-", "seeds/sign/bit-1x"})
    CHECK_THROWS_AS(static_cast<void>(Order::parse(name)), lastmile::Error);
}

// 64 key and 64 counter bits; every word distinct proves nothing, but a coordinate that was dropped
// or shares bits shows.
TEST_CASE("random: no two coordinates share a word") {
  std::set<std::uint64_t> seen;
  std::size_t drawn = 0;
  for (std::uint64_t seed : {0ULL, 1ULL, 1ULL << 32, ~0ULL})
    for (Domain d : {Domain::sign_, Domain::gaussian_, Domain::mask_, Domain::round_})
      for (std::uint32_t tensor : {0U, 1U, 255U, 65535U})
        for (std::uint32_t row : {0U, 1U, 256U, 65535U})
          for (std::uint32_t block : {0U, 1U, 256U, 16383U}) {
            seen.insert(numeric::hash_word(seed, d, tensor, row, block));
            ++drawn;
          }
  CHECK(seen.size() == drawn);
}

}  // namespace
