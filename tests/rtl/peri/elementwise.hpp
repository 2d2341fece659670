// SPDX-License-Identifier: Apache-2.0
// Shared by the benches of npu_add, npu_softmax and npu_loss: random unaligned tensors, and the
// comparison of memory contents and events after each command.
#pragma once

#include <cstdint>
#include <string>

#include "tests/rtl/peri/stream.hpp"

namespace bench {

inline constexpr int kRounds = 250;
inline constexpr std::uint64_t kMostCycles = 1000000;  // of one command

inline std::uint32_t draw(Random& rnd, std::int64_t lo, std::int64_t hi) {
  return static_cast<std::uint32_t>(rnd.between(lo, hi));
}

// Some examples of some elements at any address; memory is full of random bytes.
inline lastmile::spec::Descriptor random_tensors(Random& rnd, Memory& memory) {
  lastmile::spec::Descriptor d;
  d.n = draw(rnd, 1, 5);
  d.in_c = draw(rnd, 1, rnd.chance(20) ? 300 : 40);
  d.in_addr = draw(rnd, 0, 200);
  d.in2_addr = draw(rnd, 4000, 4200);
  d.out_addr = draw(rnd, 8000, 8200);
  for (std::uint64_t a = 0; a < 9000; ++a) memory[a] = static_cast<std::uint8_t>(rnd.bits());
  return d;
}

// Events of a command; only an addition saturates.
struct Events {
  std::int64_t elements = 0, words_read = 0, words_written = 0, low = 0, high = 0;
};

// What the contract says about a command.
struct Expected {
  Memory output;
  Events events;
};

// `at`: where the output begins, for messages.
inline void check_output(int round, std::uint64_t at, Memory& written, const Memory& expected,
                         std::uint64_t cycle) {
  equal("bytes written", static_cast<std::int64_t>(written.bytes.size()),
        static_cast<std::int64_t>(expected.bytes.size()), cycle);
  for (const auto& [address, value] : expected.bytes)
    equal("round " + std::to_string(round) + " byte " + std::to_string(address - at),
          written[address], value, cycle);
}

inline void check_events(const Events& rtl, const Events& expected, std::uint64_t cycle) {
  equal("elements", rtl.elements, expected.elements, cycle);
  equal("words read", rtl.words_read, expected.words_read, cycle);
  equal("words written", rtl.words_written, expected.words_written, cycle);
  equal("saturated low", rtl.low, expected.low, cycle);
  equal("saturated high", rtl.high, expected.high, cycle);
}

}  // namespace bench
