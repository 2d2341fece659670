// SPDX-License-Identifier: Apache-2.0
// The perturbation generator's words in the orders in which training and a suspicious reader see
// them: one 64-bit stream an order, for statistical tests inside and outside this repository.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "cmodel/numeric/random.hpp"

namespace lastmile::test {

// Which coordinate runs fastest; the others follow when it is exhausted.
enum class Walk {
  elements_,  // along rows of one tensor with 65,536 columns, then rows, tensors, seeds
  network_,   // every word of the layers of a small network, then the next seed: a training run
  rows_,      // same element of neighbouring rows
  tensors_,   // same element of neighbouring tensors
  seeds_,     // same element, seeds s, s + 1, ...: one weight over the steps of a run
  robin_,     // 4 seeds x 4 tensors x 4 rows in turn, then the next word of each
};

// What is taken of each word.
enum class Take {
  word_,      // all 64 bits
  bit_,       // one bit; 64 words make one
  reversed_,  // bits in reverse order
  high_,      // bits 32..63; two words make one
  low_,       // bits 0..31; two words make one
};

struct Order {
  Walk walk = Walk::elements_;
  spec::Domain domain = spec::Domain::sign_;
  Take take = Take::word_;
  int bit = 0;

  // "walk/domain/take", e.g. "seeds/sign/word", "network/gaussian/high", "seeds/sign/bit-17".
  // Throws Error naming the bad part.
  [[nodiscard]] static Order parse(std::string_view name);
  [[nodiscard]] std::string name() const;
};

// Rounds other than the contract's show how much margin there is; those compiled in are listed
// here.
inline constexpr std::array kStreamRounds = {4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 20};

class Stream {
 public:
  // `skip` words of the walk are passed over (in constant time): distinct sections for repeated
  // tests.
  explicit Stream(const Order& order, std::uint64_t seed, std::uint64_t skip = 0,
                  int rounds = spec::kHashRounds);

  void fill(std::span<std::uint64_t> out);
  [[nodiscard]] std::uint64_t next();

 private:
  void walk(std::span<std::uint64_t> out);

  Order order_;
  std::uint64_t seed_ = 0;
  std::uint64_t index_ = 0;
  int rounds_ = spec::kHashRounds;
  std::vector<std::uint64_t> network_;  // counters of one step of Walk::network_
  std::vector<std::uint64_t> buffer_;   // for next()
  std::size_t used_ = 0;
};

}  // namespace lastmile::test
