// SPDX-License-Identifier: Apache-2.0
// The perturbation generator: Threefry-2x32 (Salmon et al., "Parallel random numbers: as easy as 1,
// 2, 3", SC'11) with 16 rounds, used as a hash of (seed, domain, tensor, row, column). CONTRACT.md,
// section Random numbers.
#pragma once

#include <bit>
#include <cstdint>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::numeric {

using spec::Distribution;
using spec::Domain;

// Threefry-2x32: key 64 bits, counter 64 bits, word 0 in the low half. Rounds other than 16 only
// serve published test vectors.
template <int Rounds = spec::kHashRounds>
[[nodiscard]] constexpr std::uint64_t threefry(std::uint64_t key, std::uint64_t counter) {
  constexpr int rot[8] = {13, 15, 26, 6, 17, 29, 16, 24};
  const auto k0 = static_cast<std::uint32_t>(key);
  const auto k1 = static_cast<std::uint32_t>(key >> 32);
  const std::uint32_t ks[3] = {k0, k1, 0x1BD11BDAu ^ k0 ^ k1};
  std::uint32_t x0 = static_cast<std::uint32_t>(counter) + ks[0];
  std::uint32_t x1 = static_cast<std::uint32_t>(counter >> 32) + ks[1];
#if defined(__clang__)
#pragma clang loop unroll(full)
#else
#pragma GCC unroll 32
#endif
  for (int r = 0; r < Rounds; ++r) {
    x0 += x1;
    x1 = std::rotl(x1, rot[r % 8]) ^ x0;
    if (r % 4 == 3) {
      const auto s = static_cast<std::uint32_t>(r / 4 + 1);
      x0 += ks[s % 3];
      x1 += ks[(s + 1) % 3] + s;
    }
  }
  return x0 | static_cast<std::uint64_t>(x1) << 32;
}

// Elements of one 64-bit word, by domain: 64 signs, 4 Gaussians (16 bits each), 8 mask bytes, 4
// rounding words.
[[nodiscard]] constexpr std::uint32_t elements_per_word(Domain d) {
  switch (d) {
    case Domain::sign_:
      return 64;
    case Domain::gaussian_:
      return 4;
    case Domain::mask_:
      return 8;
    case Domain::round_:
      return 4;
  }
  return 0;
}

// The word that covers column `block * elements_per_word` and its right neighbours of row `row`.
// row, tensor: 16 bits; block: 16 bits.
[[nodiscard]] constexpr std::uint64_t hash_word(std::uint64_t seed, Domain d, std::uint32_t tensor,
                                                std::uint32_t row, std::uint32_t block) {
  const std::uint32_t c0 = (row << 16) | block;
  const std::uint32_t c1 = (static_cast<std::uint32_t>(d) << 16) | tensor;
  return threefry(seed, c0 | static_cast<std::uint64_t>(c1) << 32);
}

// One element's bits out of the stream of its domain.
[[nodiscard]] constexpr std::uint32_t hash_element(std::uint64_t seed, Domain d,
                                                   std::uint32_t tensor, std::uint32_t row,
                                                   std::uint32_t col) {
  const std::uint32_t per = elements_per_word(d);
  const std::uint32_t bits = 64 / per;
  const std::uint64_t word = hash_word(seed, d, tensor, row, col / per);
  return static_cast<std::uint32_t>(word >> (bits * (col % per))) & ((1u << bits) - 1);
}

// z of the sign distribution: bit 0 -> +1, bit 1 -> -1.
[[nodiscard]] constexpr std::int32_t sign_z(std::uint32_t bit) { return bit != 0 ? -1 : 1; }

// z of the 8-bit Gaussian from 16 random bits: bit 15 is the sign, the magnitude is #{k : u15 >=
// T[k]}, -127..127; real z = z * z_unit().
[[nodiscard]] constexpr std::int32_t gaussian_z(std::uint32_t u16) {
  const std::uint32_t u = u16 & 0x7fff;
  std::int32_t lo = 0;  // binary search: seven compares, as the hardware does
  for (std::int32_t step = 64; step != 0; step /= 2) {
    if (u >= spec::kGaussianThresholdTable[static_cast<std::size_t>(lo + step - 1)]) lo += step;
  }
  return (u16 & 0x8000) != 0 ? -lo : lo;
}

// Real value of z = 1.
[[nodiscard]] constexpr double z_unit(Distribution dist) {
  return dist == Distribution::sign_ ? 1.0 : spec::kZMax / spec::kZStepDen;
}

[[nodiscard]] constexpr std::int32_t draw_z(std::uint64_t seed, Distribution dist,
                                            std::uint32_t tensor, std::uint32_t row,
                                            std::uint32_t col) {
  return dist == Distribution::sign_
             ? sign_z(hash_element(seed, Domain::sign_, tensor, row, col))
             : gaussian_z(hash_element(seed, Domain::gaussian_, tensor, row, col));
}

// Stateless sparsity: the element takes part if its mask byte is below `keep` (0..256).
[[nodiscard]] constexpr bool kept(std::uint64_t mask_seed, std::uint32_t tensor, std::uint32_t row,
                                  std::uint32_t col, std::uint32_t keep) {
  return keep >= spec::kKeepAll || hash_element(mask_seed, Domain::mask_, tensor, row, col) < keep;
}

}  // namespace lastmile::numeric
