// SPDX-License-Identifier: Apache-2.0
// npu_perturb against perturb.hpp: both distributions, polarities, masks, widths, random stalls,
// and the counters' events; words whose coordinates came early enough do not wait.
#include <algorithm>
#include <array>
#include <deque>
#include <set>
#include <vector>

#include "cmodel/numeric/perturb.hpp"
#include "tests/rtl/peri/bench.hpp"

#ifndef P_BIAS
#define P_BIAS 0
#endif

namespace num = lastmile::numeric;

namespace {

struct Word {
  std::array<std::uint32_t, 16> data{};
  std::uint64_t lanes = 0;
  std::uint32_t row = 0, col = 0;
  bool count = false;
};
using Result = std::array<std::uint32_t, 16>;
constexpr std::uint64_t kLatency = 10;  // from a word's coordinates to its perturbation

}  // namespace

int main() {
  constexpr int kBus = P_BUS_BYTES;
  bench::Bench b;
  bench::Random rnd;
  Vtop& t = *b.top;
  t.clear_i = 0;
  t.in_valid_i = 0;
  t.ahead_valid_i = 0;
  t.active_i = 0;
  t.out_ready_i = 1;
  b.reset();
  for (int round = 0; round < 12000; ++round) {
    const bool active = rnd.chance(90), gaussian = rnd.chance(50),
               w8 = P_BIAS == 0 && rnd.chance(50), minus = rnd.chance(50);
    const int bits = P_BIAS != 0 ? 32 : w8 ? 8 : 16;
    const int lanes = kBus * 8 / bits;
    const auto eps = static_cast<std::uint32_t>(
        rnd.below(std::uint64_t{1} << (P_BIAS != 0 ? rnd.between(1, 24) : rnd.between(1, 16))));
    const int shift = static_cast<int>(rnd.chance(10) ? rnd.below(32) : rnd.below(20));
    const std::uint32_t keep = rnd.chance(50) ? 256 : static_cast<std::uint32_t>(rnd.below(257));
    const std::uint64_t seed = rnd.bits(), mask_seed = rnd.bits();
    const auto tensor = static_cast<std::uint32_t>(rnd.below(65536));
    const std::int32_t limit = bits == 32 ? num::kBiasMax : bits == 8 ? num::kW8Max : num::kW16Max;
    t.active_i = active, t.gaussian_i = gaussian, t.w8_i = w8, t.minus_i = minus, t.eps_i = eps;
    t.shift_i = static_cast<std::uint8_t>(shift), t.keep_i = static_cast<std::uint16_t>(keep);
    t.seed_i = seed, t.mask_seed_i = mask_seed, t.tensor_i = static_cast<std::uint16_t>(tensor);
    const int stall_in = static_cast<int>(rnd.below(3)) * 30,
              stall_out = static_cast<int>(rnd.below(3)) * 30,
              stall_ahead = static_cast<int>(rnd.below(3)) * 30;
    const std::uint64_t lead = rnd.below(3 * kLatency);

    std::vector<Word> words;
    std::deque<Result> expected;
    std::int64_t perturbed = 0, clipped = 0, random = 0;
    const int blocks = 8;
    for (int k = 0; k < blocks; ++k) {
      const int n = static_cast<int>(rnd.between(1, 5));
      const auto row = static_cast<std::uint32_t>(rnd.below(65536));
      const auto first_col = static_cast<std::uint32_t>(rnd.below(65536 / lanes - 8)) *
                             static_cast<std::uint32_t>(lanes);
      std::set<std::uint32_t> hash_words, mask_words;
      for (int i = 0; i < n; ++i) {
        Word w;
        w.row = row, w.col = first_col + static_cast<std::uint32_t>(i * lanes);
        w.count = rnd.chance(70);
        int lo = 0, hi = lanes - 1;
        if (i == 0) lo = static_cast<int>(rnd.below(lanes));
        if (i == n - 1) hi = static_cast<int>(rnd.between(i == 0 ? lo : 0, lanes - 1));
        for (int l = lo; l <= hi; ++l) w.lanes |= std::uint64_t{1} << l;
        for (auto& v : w.data) v = static_cast<std::uint32_t>(rnd.bits());
        if (rnd.chance(30)) {
          for (int l = 0; l < lanes; ++l) {
            const std::int64_t edge =
                rnd.chance(50) ? limit - rnd.between(0, 3)
                               : -static_cast<std::int64_t>(limit) - 1 + rnd.between(0, 3);
            bench::put(w.data.data(), l * bits, bits, static_cast<std::uint64_t>(edge));
          }
        }
        Result r = w.data;
        if (active) {
          for (int l = 0; l < lanes; ++l) {
            const std::uint32_t col = w.col + static_cast<std::uint32_t>(l);
            const std::uint64_t raw = bench::get(w.data.data(), l * bits, bits);
            const auto value = static_cast<std::int32_t>(
                static_cast<std::int64_t>(raw << (64 - bits)) >> (64 - bits));
            const bool counted = w.count && ((w.lanes >> l) & 1) != 0;
            hash_words.insert(gaussian ? col / 4 : col / 64);
            if (keep < 256) mask_words.insert(col / 8);
            if (!num::kept(mask_seed, tensor, row, col, keep)) continue;
            const std::int32_t z = num::draw_z(
                seed, gaussian ? num::Distribution::gaussian_ : num::Distribution::sign_, tensor,
                row, col);
            const std::int64_t mag = num::perturb_magnitude(eps, shift, z);
            const num::Perturbed p = num::perturb(value, ((z < 0) != minus) ? -mag : mag, limit);
            if (counted) ++perturbed, clipped += p.clipped ? 1 : 0;
            bench::put(r.data(), l * bits, bits, static_cast<std::uint32_t>(p.value));
          }
        }
        random += static_cast<std::int64_t>(hash_words.size() +
                                            mask_words.size());  // counted word by word
        hash_words.clear(), mask_words.clear();
        words.push_back(w);
        expected.push_back(r);
      }
    }
    std::int64_t got_perturbed = 0, got_clipped = 0, got_random = 0;
    std::size_t next = 0, next_ahead = active ? 0 : words.size(), left = 0;
    std::vector<std::uint64_t> told_at;
    const std::uint64_t start = b.cycle;
    while (!expected.empty()) {
      if (!t.ahead_valid_i && next_ahead < words.size() && !rnd.chance(stall_ahead)) {
        const Word& w = words[next_ahead++];
        t.ahead_valid_i = 1;
        t.ahead_row_i = static_cast<std::uint16_t>(w.row);
        t.ahead_col_i = static_cast<std::uint16_t>(w.col);
      }
      if (!t.in_valid_i && next < words.size() && b.cycle >= start + lead &&
          !rnd.chance(stall_in)) {
        const Word& w = words[next++];
        t.in_valid_i = 1;
        std::copy_n(w.data.begin(), kBus / 4, bench::words(t.in_data_i));
        bench::put(bench::words(t.in_lanes_i), 0, kBus, w.lanes);
        t.in_count_i = w.count;
      }
      t.out_ready_i = !rnd.chance(stall_out);
      t.eval();
      got_perturbed += t.cnt_perturbed_o, got_clipped += t.cnt_clipped_o,
          got_random += t.cnt_random_o;
      const bool taken = t.in_valid_i && t.in_ready_o, told = t.ahead_valid_i && t.ahead_ready_o;
      bench::equal("a word leaves when it comes", t.out_valid_o && t.out_ready_i, taken, b.cycle);
      if (t.in_valid_i && t.out_ready_i &&
          (!active || (left < told_at.size() && b.cycle >= told_at[left] + kLatency)))
        bench::equal("a word does not wait", taken, 1, b.cycle);
      if (taken) {
        for (int i = 0; i < kBus / 4; ++i) {
          bench::equal("word " + std::to_string(i), bench::words(t.out_data_o)[i],
                       expected.front()[static_cast<std::size_t>(i)], b.cycle);
        }
        expected.pop_front();
      }
      if (told) told_at.push_back(b.cycle);
      b.edge();
      if (taken) t.in_valid_i = 0, ++left;
      if (told) t.ahead_valid_i = 0;
      if (b.cycle > start + 10000) bench::fail("no progress", b.cycle);
    }
    t.in_valid_i = 0;
    t.eval();
    bench::equal("nothing waits", t.busy_o, 0, b.cycle);
    bench::equal("perturbed", got_perturbed, perturbed, b.cycle);
    bench::equal("clipped", got_clipped, clipped, b.cycle);
    bench::equal("random words", got_random, random * (active ? 1 : 0), b.cycle);
  }
  return bench::done("perturb");
}
