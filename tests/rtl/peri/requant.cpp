// SPDX-License-Identifier: Apache-2.0
// npu_requant against the contract's rule: zero point, clamp and saturation events for both output
// types, and int32, whose zero point and clamp are not used.
#include <algorithm>
#include <deque>

#include "cmodel/numeric/fixed.hpp"
#include "tests/rtl/peri/bench.hpp"

namespace num = lastmile::numeric;

int main() {
  bench::Bench b;
  bench::Random rnd;
  Vtop& t = *b.top;
  t.clk_i = 0;
  t.eval();
  for (int round = 0; round < 300; ++round) {
    const bool whole = rnd.chance(25), wide = !whole && rnd.chance(40);
    const std::int64_t lo = whole  ? INT32_MIN
                            : wide ? -32768
                                   : -128,
                       hi = whole  ? INT32_MAX
                            : wide ? 32767
                                   : 127;
    const std::int64_t zp = rnd.between(-128, 127);
    t.whole_i = whole;
    const std::int64_t mn = rnd.chance(50) ? lo : rnd.between(lo, hi),
                       mx = rnd.chance(50) ? hi : rnd.between(mn, hi);
    t.wide_i = wide, t.zp_i = static_cast<std::uint16_t>(zp),
    t.min_i = static_cast<std::uint16_t>(mn), t.max_i = static_cast<std::uint16_t>(mx);
    for (int i = 0; i < 500; ++i) {
      const int e = whole ? 1 : static_cast<int>(rnd.between(-40, 30));
      const auto m = static_cast<std::int32_t>(0x40000000 + (whole ? 0 : rnd.below(0x40000000)));
      std::int64_t acc = static_cast<std::int64_t>(rnd.bits()) >> rnd.between(24, 63);
      if (whole && rnd.chance(40)) acc = (rnd.chance(50) ? hi : lo) + rnd.between(-3, 3);
      if (!whole && rnd.chance(70) && e < 0)
        acc = std::clamp((rnd.between(lo - 3, hi + 3) << -e) + rnd.between(-2, 2), num::kAccMin,
                         num::kAccMax);
      t.acc_i = static_cast<std::uint64_t>(acc) & ((std::uint64_t{1} << 40) - 1),
      t.mult_i = static_cast<std::uint32_t>(m);
      t.exp_i = static_cast<std::uint8_t>(e);
      for (int s = 0; s < 4; ++s) t.en_i = static_cast<std::uint8_t>(1 << s), b.edge();
      if (whole) {
        bench::equal("whole", static_cast<std::int32_t>(t.out_o), std::clamp(acc, lo, hi), b.cycle);
        bench::equal("low", t.sat_low_o, acc < lo, b.cycle);
        bench::equal("high", t.sat_high_o, acc > hi, b.cycle);
        continue;
      }
      const std::int64_t v = num::rescale(acc, m, e) + zp;
      bench::equal("out", static_cast<std::int16_t>(t.out_o), std::clamp(v, mn, mx), b.cycle);
      bench::equal("low", t.sat_low_o, v < lo, b.cycle);
      bench::equal("high", t.sat_high_o, v > hi, b.cycle);
    }
  }
  return bench::done("requant");
}
