// SPDX-License-Identifier: Apache-2.0
// npu_rescale against fixed.hpp: every exponent, extremes, ties on both sides and random values,
// with and without bubbles.
#include <deque>

#include "cmodel/numeric/fixed.hpp"
#include "tests/rtl/peri/bench.hpp"

namespace num = lastmile::numeric;

int main() {
  bench::Bench b;
  bench::Random rnd;
  Vtop& t = *b.top;
  struct Item {
    std::int64_t acc;
    std::int32_t m;
    int e;
  };
  std::deque<Item> pipe;
  unsigned valid = 0;
  const auto step = [&](bool present, Item it) {
    t.acc_i = static_cast<std::uint64_t>(it.acc) & ((std::uint64_t{1} << 40) - 1);
    t.mult_i = static_cast<std::uint32_t>(it.m);
    t.exp_i = static_cast<std::uint8_t>(it.e);
    valid = ((valid << 1) | (present ? 1u : 0u)) & 7;
    t.en_i = static_cast<std::uint8_t>(valid);
    if (present) pipe.push_back(it);
    b.edge();
    if ((valid & 4) != 0) {
      const Item x = pipe.front();
      pipe.pop_front();
      const auto y = static_cast<std::int64_t>(t.y_o << 24) >> 24;
      bench::equal("rescale(" + std::to_string(x.acc) + ", " + std::to_string(x.m) + ", " +
                       std::to_string(x.e) + ")",
                   y, num::rescale(x.acc, x.m, x.e), b.cycle);
    }
  };
  t.clk_i = 0;
  const std::int64_t edges[] = {0,
                                1,
                                -1,
                                2,
                                -2,
                                num::kAccMax,
                                num::kAccMin,
                                num::kAccMax - 1,
                                num::kAccMin + 1,
                                1 << 30,
                                -(1 << 30),
                                0xfffff,
                                0x100000,
                                -0x100000,
                                -0x100001};
  const std::int32_t mults[] = {0,          1,          2,          0x3fffffff, 0x40000000,
                                0x40000001, 0x7fffffff, 0x7ffffffe, 0x55555555};
  for (int e = -40; e <= 30; ++e) {
    for (const auto a : edges) {
      for (const auto m : mults) {
        if (rnd.chance(10)) step(false, {rnd.between(-1000, 1000), 5, 3});
        step(true, {a, m, e});
      }
    }
    for (int i = 0; i < 20000; ++i) {
      const auto width = static_cast<int>(rnd.between(1, 40));
      std::int64_t a = static_cast<std::int64_t>(rnd.bits()) >> (64 - width);
      std::int32_t m = static_cast<std::int32_t>(rnd.bits() & 0x7fffffff) >>
                       (rnd.chance(20) ? rnd.below(31) : 0);
      if (i % 4 == 0) m = 0x40000000;  // halves: exact ties in both roundings
      if (i % 4 == 1 && e < 0)
        a = (2 * rnd.between(-500, 500) + 1) * (std::int64_t{1} << std::min(-e, 29)) +
            rnd.between(-1, 1),
        m = 0x40000000;
      step(true, {std::clamp(a, num::kAccMin, num::kAccMax), m, e});
    }
  }
  for (int i = 0; i < 4; ++i) step(false, {0, 0, 0});
  return bench::done("rescale");
}
