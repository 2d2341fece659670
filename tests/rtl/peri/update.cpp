// SPDX-License-Identifier: Apache-2.0
// npu_update against perturb.hpp: all widths, both distributions, 1..8 pairs, directions that are
// read, masks, steps of every size, partial rows, random stalls; memory contents, events, and the
// rate of the common cases.
#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <vector>

#include "cmodel/numeric/perturb.hpp"
#include "tests/rtl/peri/bench.hpp"

namespace num = lastmile::numeric;
namespace spec = lastmile::spec;

int main() {
  constexpr int kBus = P_BUS_BYTES;
  bench::Bench b;
  bench::Random rnd;
  Vtop& t = *b.top;
  t.clear_i = 0, t.start_i = 0, t.rd_req_ready_i = 0, t.rd_rsp_valid_i = 0, t.wr_ready_i = 0;
  b.reset();
  for (int round = 0; round < 240; ++round) {
    const bool smooth = round % 8 == 0;
    const bool gradient = round % 3 == 0;
    spec::Descriptor d;
    d.opcode = static_cast<std::uint32_t>(spec::Opcode::update_);
    const int bytes = smooth && !gradient ? (rnd.chance(50) ? 2 : 4) : 1 << rnd.below(3);
    d.flags = bytes == 1 ? spec::kFlagW8 : bytes == 4 ? spec::kFlagW32 : 0;
    if (gradient) d.flags |= spec::kFlagGradient;
    d.out_c = static_cast<std::uint32_t>(smooth ? 8 : rnd.between(1, 6));
    d.in_c = static_cast<std::uint32_t>(smooth           ? 640
                                        : rnd.chance(20) ? rnd.between(1, 600)
                                                         : rnd.between(1, 80));
    d.w_pitch = (d.in_c * static_cast<std::uint32_t>(bytes) + 63) / 64 * 64 +
                64 * static_cast<std::uint32_t>(rnd.below(2));
    d.w_addr = 64 * static_cast<std::uint32_t>(rnd.below(100));
    d.w_tensor = static_cast<std::uint32_t>(rnd.below(65536));
    d.w_keep = smooth || rnd.chance(50) ? 256 : static_cast<std::uint32_t>(rnd.below(257));
    d.step = static_cast<std::uint32_t>(rnd.below(65536)),
    d.step_shift = static_cast<std::uint32_t>(rnd.below(32));
    const bool gaussian = rnd.chance(50);
    const auto pairs = static_cast<std::uint32_t>(smooth           ? 1
                                                  : rnd.chance(40) ? 1
                                                                   : rnd.between(1, 8));
    const auto run_mantissa = static_cast<std::uint32_t>(rnd.chance(10) ? 65535 : rnd.below(65536));
    const int run_shift = static_cast<int>(rnd.below(17));
    const num::Step step =
        num::combine_step(d.step, static_cast<int>(d.step_shift), run_mantissa, run_shift);
    std::vector<std::uint64_t> seeds(8);
    std::vector<int> coefs(8);
    for (int j = 0; j < 8; ++j)
      seeds[j] = rnd.bits(), coefs[j] = static_cast<int>(rnd.chance(50) ? (rnd.chance(50) ? 1 : -1)
                                                                        : rnd.between(-128, 127));
    const std::uint64_t mask_seed = rnd.bits();
    const std::int32_t limit = bytes == 4 ? num::kBiasMax : bytes == 2 ? num::kW16Max : num::kW8Max;

    std::map<std::uint64_t, std::uint8_t> memory;
    for (std::uint64_t a = d.w_addr; a < d.w_addr + std::uint64_t{d.out_c} * d.w_pitch; ++a)
      memory[a] = static_cast<std::uint8_t>(rnd.bits());
    const std::uint32_t g_pitch = (4 * d.in_c + 63) / 64 * 64;
    d.in_addr = 0x100000 + 64 * static_cast<std::uint32_t>(rnd.below(100));
    if (gradient) {  // magnitudes of every size, the one without a positive counterpart too
      for (std::uint64_t i = 0; i < std::uint64_t{d.out_c} * g_pitch / 4; ++i) {
        const std::int64_t g = rnd.chance(3)
                                   ? INT32_MIN
                                   : static_cast<std::int64_t>(rnd.bits()) >> rnd.between(32, 63);
        for (int k = 0; k < 4; ++k)
          memory[d.in_addr + 4 * i + k] = static_cast<std::uint8_t>(g >> (8 * k));
      }
    }
    std::map<std::uint64_t, std::uint8_t> expected = memory;
    std::int64_t updated = 0, zero = 0, clipped = 0, words = 0, reads = 0;
    for (std::uint32_t r = 0; r < d.out_c; ++r) {
      reads += (d.in_c * static_cast<std::uint32_t>(bytes) + kBus - 1) / kBus;
      if (gradient) reads += (d.in_c * 4 + kBus - 1) / kBus;
      words += (d.in_c * static_cast<std::uint32_t>(bytes) + kBus - 1) / kBus;
      for (std::uint32_t c = 0; c < d.in_c; ++c) {
        const std::uint64_t at = d.w_addr + std::uint64_t{r} * d.w_pitch +
                                 std::uint64_t{c} * static_cast<std::uint32_t>(bytes);
        if (rnd.chance(20)) {  // near the limits
          const std::int64_t v = rnd.chance(50)
                                     ? limit - rnd.between(0, 3)
                                     : -static_cast<std::int64_t>(limit) - 1 + rnd.between(0, 3);
          for (int k = 0; k < bytes; ++k)
            memory[at + k] = expected[at + k] =
                static_cast<std::uint8_t>(static_cast<std::uint64_t>(v) >> (8 * k));
        }
        if (!num::kept(mask_seed, d.w_tensor, r, c, d.w_keep)) continue;
        std::int32_t g = 0;
        if (gradient) {
          std::uint32_t v = 0;
          for (int k = 0; k < 4; ++k)
            v |= std::uint32_t{memory[d.in_addr + std::uint64_t{r} * g_pitch + 4 * c + k]}
                 << (8 * k);
          g = std::max(static_cast<std::int32_t>(v), -INT32_MAX);
        }
        for (std::uint32_t j = 0; j < pairs && !gradient; ++j) {
          g += coefs[j] *
               num::draw_z(seeds[j],
                           gaussian ? num::Distribution::gaussian_ : num::Distribution::sign_,
                           d.w_tensor, r, c);
        }
        std::uint64_t raw = 0;
        for (int k = 0; k < bytes; ++k)
          raw |= static_cast<std::uint64_t>(memory[at + k]) << (8 * k);
        const auto w = static_cast<std::int32_t>(
            static_cast<std::int64_t>(raw << (64 - 8 * bytes)) >> (64 - 8 * bytes));
        const num::Updated u = num::update(
            w, g, step, num::hash_element(seeds[0], num::Domain::round_, d.w_tensor, r, c), limit);
        ++updated, zero += u.zero, clipped += u.clipped;
        for (int k = 0; k < bytes; ++k)
          expected[at + k] =
              static_cast<std::uint8_t>(static_cast<std::uint32_t>(u.value) >> (8 * k));
      }
    }
    const auto columns = kBus / bytes;
    const std::int64_t z_words = gaussian ? std::max(1, columns / 4) : 1;
    const std::int64_t random =
        words * ((gradient ? 0 : z_words * pairs) +
                 (d.w_keep < 256 ? std::max(1, columns / 8) : 0) + std::max(1, columns / 4));

    const spec::DescriptorWords dw = spec::encode(d);
    std::copy_n(dw.begin(), 48, bench::words(t.desc_i));
    t.dist_i = gaussian, t.mask_seed_i = mask_seed, t.pairs_i = static_cast<std::uint8_t>(pairs);
    for (int j = 0; j < 8; ++j) {
      bench::put(bench::words(t.pair_seed_i), j * 64, 64, seeds[j]);
      bench::put(bench::words(t.pair_coef_i), j * 8, 8, static_cast<std::uint64_t>(coefs[j]));
    }
    t.step_i = static_cast<std::uint16_t>(run_mantissa),
    t.step_shift_i = static_cast<std::uint8_t>(run_shift);
    t.start_i = 1;
    b.edge();
    t.start_i = 0;
    const int stall_req = smooth ? 0 : 30 * static_cast<int>(rnd.below(3)),
              stall_rd = smooth ? 0 : 30 * static_cast<int>(rnd.below(3));
    const int stall_wr = smooth ? 0 : 30 * static_cast<int>(rnd.below(3));
    std::deque<std::pair<std::uint64_t, bool>> incoming;
    std::int64_t got_updated = 0, got_zero = 0, got_clipped = 0, got_random = 0, got_elements = 0,
                 got_words = 0, got_reads = 0;
    const std::uint64_t start = b.cycle;
    while (!t.done_o) {
      t.rd_req_ready_i = !rnd.chance(stall_req);
      if (!t.rd_rsp_valid_i && !incoming.empty() && !rnd.chance(stall_rd)) {
        t.rd_rsp_valid_i = 1, t.rd_rsp_last_i = incoming.front().second;
        for (int k = 0; k < kBus; ++k)
          bench::put(bench::words(t.rd_rsp_data_i), k * 8, 8, memory[incoming.front().first + k]);
      }
      t.wr_ready_i = !rnd.chance(stall_wr);
      t.eval();
      got_updated += t.cnt_updated_o, got_zero += t.cnt_zero_o, got_clipped += t.cnt_clipped_o;
      got_random += t.cnt_random_o, got_elements += t.cnt_elements_o;
      if (t.rd_req_valid_o && t.rd_req_ready_i) {
        const std::uint64_t first = t.rd_req_addr_o / kBus,
                            last = (std::uint64_t{t.rd_req_addr_o} + t.rd_req_bytes_o - 1) / kBus;
        for (std::uint64_t w = first; w <= last; ++w) incoming.push_back({w * kBus, w == last});
        got_reads += static_cast<std::int64_t>(last - first + 1);
      }
      if (t.wr_valid_o && t.wr_ready_i) {
        ++got_words;
        for (int k = 0; k < kBus; ++k) {
          if (bench::get(bench::words(t.wr_strb_o), k, 1) != 0)
            memory[t.wr_addr_o + k] =
                static_cast<std::uint8_t>(bench::get(bench::words(t.wr_data_o), k * 8, 8));
        }
      }
      const bool taken = t.rd_rsp_valid_i && t.rd_rsp_ready_o;
      b.edge();
      if (taken) incoming.pop_front(), t.rd_rsp_valid_i = 0;
      if (b.cycle > start + 100000) bench::fail("no progress", b.cycle);
    }
    for (const auto& [at, value] : expected)
      bench::equal("round " + std::to_string(round) + " byte " + std::to_string(at - d.w_addr),
                   memory[at], value, b.cycle);
    bench::equal("updated", got_updated, updated, b.cycle);
    bench::equal("zero", got_zero, zero, b.cycle);
    bench::equal("clipped", got_clipped, clipped, b.cycle);
    bench::equal("random words", got_random, random, b.cycle);
    bench::equal("elements", got_elements, std::int64_t{d.out_c} * d.in_c, b.cycle);
    bench::equal("words written", got_words, words, b.cycle);
    bench::equal("words read", got_reads, reads, b.cycle);
    if (smooth)
      bench::equal("one word per cycle", b.cycle - start < static_cast<std::uint64_t>(reads) + 30,
                   1, b.cycle);
  }
  return bench::done("update");
}
