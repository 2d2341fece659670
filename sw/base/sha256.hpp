// SPDX-License-Identifier: Apache-2.0
// SHA-256 (FIPS 180-4): for digests that somebody may want to forge. CRC-32 and XXH64 of io.hpp
// are for damage.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace lastmile {

using Sha256Digest = std::array<std::uint8_t, 32>;

class Sha256 {
 public:
  Sha256& update(std::span<const std::uint8_t> bytes);
  // Of everything so far; the object is used up.
  [[nodiscard]] Sha256Digest digest();

 private:
  void block(const std::uint8_t* bytes);

  std::array<std::uint32_t, 8> state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};
  std::array<std::uint8_t, 64> open_{};  // of the block that is not full yet
  std::uint64_t bytes_ = 0;
};

[[nodiscard]] std::string hex(const Sha256Digest& digest);

}  // namespace lastmile
