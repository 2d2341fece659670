// SPDX-License-Identifier: Apache-2.0
// npu_add, npu_softmax and npu_loss against fixed.hpp, softmax.hpp and loss.hpp: unaligned tensors,
// extreme values, random stalls; memory contents and events. P_ENGINE: 0 add, 1 softmax, 2 loss.
#include <algorithm>
#include <cmath>
#include <deque>
#include <map>
#include <utility>
#include <vector>

#include "cmodel/numeric/fixed.hpp"
#include "cmodel/numeric/loss.hpp"
#include "cmodel/numeric/random.hpp"
#include "cmodel/numeric/softmax.hpp"
#include "tests/rtl/peri/bench.hpp"

namespace num = lastmile::numeric;
namespace spec = lastmile::spec;

namespace {

constexpr int kBus = P_BUS_BYTES;

struct Memory {
  std::map<std::uint64_t, std::uint8_t> bytes;
  std::uint8_t& operator[](std::uint64_t a) { return bytes[a]; }
  std::int16_t half(std::uint64_t a) {
    return static_cast<std::int16_t>(bytes[a] | bytes[a + 1] << 8);
  }
};

// One read client answered by the bench.
struct ReadPort {
  std::deque<std::pair<std::uint64_t, bool>> incoming;
  std::int64_t words = 0;
  void ask(std::uint64_t addr, std::uint64_t count) {
    const std::uint64_t first = addr / kBus, last = (addr + count - 1) / kBus;
    for (std::uint64_t w = first; w <= last; ++w)
      incoming.push_back({w * kBus, w == last}), ++words;
  }
};

std::int64_t words_of(std::uint64_t addr, std::uint64_t count) {
  return static_cast<std::int64_t>((addr + count - 1) / kBus - addr / kBus + 1);
}

#if P_ENGINE == 2
// The errors of an example's outputs: softmax less one at the label, 7 fraction bits, rounded with
// the row's random bits.
std::vector<int> errors_of(const std::vector<std::int16_t>& logits, std::uint32_t label,
                           const spec::Descriptor& d, std::uint64_t seed, std::uint32_t row) {
  const std::int32_t top = *std::max_element(logits.begin(), logits.end());
  const auto distance = [&](std::int16_t l) {
    return num::logit_distance(static_cast<std::uint32_t>(top - l), d.m1, -d.e1);
  };
  std::uint64_t sum = 0;
  for (const std::int16_t l : logits) sum += num::exp2_neg(distance(l));
  std::vector<int> errors;
  for (std::uint32_t c = 0; c < logits.size(); ++c) {
    const std::uint64_t past = std::uint64_t{distance(logits[c])} + num::log2_sum(sum);
    const std::int64_t error =
        std::int64_t{
            num::exp2_neg(static_cast<std::uint32_t>(std::min<std::uint64_t>(past, 0x7fffffff)))} -
        (c == label ? 1 << 24 : 0);
    const std::int64_t r =
        2 * std::int64_t{num::hash_element(seed, num::Domain::round_, d.w_tensor, row, c)} + 1;
    const auto q = static_cast<int>(std::min<std::int64_t>((std::abs(error) + r) >> 17, 127));
    errors.push_back(error < 0 ? -q : q);
  }
  return errors;
}
#endif

#if P_ENGINE == 1
// Rows whose results change when the exponential of their lower elements is off by a millionth, in
// either direction: one row for each factor of the exponential alone, for none, and for some sets
// of factors. exp(-8) shows only in long sums; exp(-16) is below half a unit of every sum and
// result and shows only if its factor is much too large.
struct SharpRow {
  std::uint32_t multiplier = 0;  // with left shift 30, difference -2 is exp(-multiplier / 2^26)
  std::uint32_t lower = 1;       // elements below the largest one
};

std::vector<SharpRow> sharp_rows(bench::Random& rnd) {
  namespace sm = num::softmax;
  constexpr std::uint32_t kQuarter = 1u << 24;  // multiples of 1/4 pick the factors
  const std::int32_t top = sm::shr_round(sm::exp_of_diff(0, 0, 30), 12);
  std::vector<SharpRow> rows;
  for (const std::uint32_t factors : {0u, 1u, 2u, 4u, 8u, 16u, 32u, 3u, 6u, 12u, 15u, 21u, 42u}) {
    // as many as give a sum near 2: there both the sum and the share of the largest element move
    const double each = std::exp(-0.25 * (factors + 0.5));
    const auto lower = static_cast<std::uint32_t>(std::clamp(1 / each, 1.0, 4000.0));
    for (const int direction : {1, -1}) {
      std::int64_t tries = 0;
      for (bool found = false; !found;) {
        if (++tries > 20000000) bench::fail("no sharp row", factors);
        const std::uint32_t m =
            factors * kQuarter + 1 + static_cast<std::uint32_t>(rnd.below(kQuarter));
        const std::int32_t e = sm::exp_of_diff(-2, static_cast<std::int32_t>(m), 30);
        const auto results = [&](std::int32_t x) {  // largest and lower element
          const sm::Reciprocal r =
              sm::reciprocal(top + static_cast<std::int32_t>(lower) * sm::shr_round(x, 12));
          return std::pair{sm::shr_round(r.scale, r.bits_over_unit + 23),
                           sm::shr_round(sm::mul(r.scale, x), r.bits_over_unit + 23)};
        };
        const std::int32_t off = direction * std::max(1, e / 1000000);
        found = results(e) != results(e + off);
        if (found) rows.push_back({m, lower});
      }
    }
  }
  for (std::uint32_t i = 0; i < 8; ++i)  // exp(-16) alone and with others
    rows.push_back({64 * kQuarter + 1 +
                        static_cast<std::uint32_t>(rnd.below((i % 2 == 0 ? 1 : 63) * kQuarter)),
                    4094});
  return rows;
}
#endif

}  // namespace

int main() {
  bench::Bench b;
  bench::Random rnd;
  Vtop& t = *b.top;
  t.clear_i = 0, t.start_i = 0, t.rd_req_ready_i = 0, t.rd_rsp_valid_i = 0, t.wr_ready_i = 0;
#if P_ENGINE == 0
  t.rd2_req_ready_i = 0, t.rd2_rsp_valid_i = 0;
#endif
  b.reset();
#if P_ENGINE == 1
  const std::vector<SharpRow> sharp = sharp_rows(rnd);
#endif
  for (int round = 0; round < 250; ++round) {
    const auto u = [&](std::int64_t lo, std::int64_t hi) {
      return static_cast<std::uint32_t>(rnd.between(lo, hi));
    };
    Memory memory;
    spec::Descriptor d;
    std::int64_t low = 0, high = 0, reads = 0, writes = 0, loss_sum = 0, correct = 0, examples = 0,
                 elements = 0, random = 0;
    d.n = u(1, 5), d.in_c = u(1, rnd.chance(20) ? 300 : 40);
    d.in_addr = u(0, 200), d.in2_addr = u(4000, 4200), d.out_addr = u(8000, 8200);
    Memory expected;
    elements = static_cast<std::int64_t>(std::uint64_t{d.n} * d.in_c);
    for (std::uint64_t a = 0; a < 9000; ++a) memory[a] = static_cast<std::uint8_t>(rnd.bits());
#if P_ENGINE == 0
    if (rnd.chance(10)) {  // more than one request
      d.n = 2, d.in_c = 40000, d.in_addr = u(0, 70000), d.in2_addr = u(200000, 300000),
      d.out_addr = u(400000, 500000), elements = 80000;
      for (std::uint64_t i = 0; i < 80000; ++i)
        memory[d.in_addr + i] = static_cast<std::uint8_t>(rnd.bits()),
                           memory[d.in2_addr + i] = static_cast<std::uint8_t>(rnd.bits());
    }
    num::AddParams p;
    const bool plain = rnd.chance(60);
    p.zp1 = static_cast<std::int32_t>(rnd.between(-128, 127)),
    p.zp2 = static_cast<std::int32_t>(rnd.between(-128, 127)),
    p.zp_out = static_cast<std::int32_t>(rnd.between(-128, 127));
    p.m1 = static_cast<std::int32_t>(plain ? 0x40000000 + rnd.below(0x40000000)
                                           : rnd.below(0x80000000));
    p.m2 = static_cast<std::int32_t>(plain ? 0x40000000 + rnd.below(0x40000000)
                                           : rnd.below(0x80000000));
    p.mo = static_cast<std::int32_t>(plain ? 0x40000000 + rnd.below(0x40000000)
                                           : rnd.below(0x80000000));
    p.e1 = static_cast<int>(plain ? rnd.between(-4, 0) : rnd.between(-40, 30)),
    p.e2 = static_cast<int>(plain ? rnd.between(-4, 0) : rnd.between(-40, 30));
    p.eo = static_cast<int>(plain ? rnd.between(-22, -18) : rnd.between(-40, 30)),
    p.left_shift = static_cast<int>(plain ? 20 : rnd.below(21));
    p.act_min = static_cast<std::int32_t>(rnd.chance(50) ? -128 : rnd.between(-128, 0)),
    p.act_max = static_cast<std::int32_t>(rnd.chance(50) ? 127 : rnd.between(0, 127));
    d.in_zp = p.zp1, d.in2_zp = p.zp2, d.add_zp = p.zp_out, d.m1 = static_cast<std::uint32_t>(p.m1),
    d.m2 = static_cast<std::uint32_t>(p.m2), d.mo = static_cast<std::uint32_t>(p.mo);
    d.e1 = p.e1, d.e2 = p.e2, d.eo = p.eo, d.add_shift = static_cast<std::uint32_t>(p.left_shift),
    d.add_act_min = p.act_min, d.add_act_max = p.act_max;
    for (std::int64_t i = 0; i < elements; ++i) {
      const std::int64_t v =
          num::add_unclamped(static_cast<std::int8_t>(memory[d.in_addr + i]),
                             static_cast<std::int8_t>(memory[d.in2_addr + i]), p);
      low += v<-128, high += v> 127;
      expected[d.out_addr + i] =
          static_cast<std::uint8_t>(std::clamp<std::int64_t>(v, p.act_min, p.act_max));
    }
    reads = words_of(d.in_addr, elements) + words_of(d.in2_addr, elements),
    writes = words_of(d.out_addr, elements);
#elif P_ENGINE == 1
    d.m1 = rnd.chance(80) ? u(1 << 30, 0x7fffffff) : u(0, 0x7fffffff),
    d.e1 = static_cast<std::int32_t>(rnd.chance(80) ? rnd.between(15, 25) : rnd.between(0, 30));
    d.diff_min = static_cast<std::int32_t>(
        rnd.chance(80) ? -rnd.between(0, 255) : -static_cast<std::int64_t>(rnd.below(0x80000000)));
    const SharpRow* row = static_cast<std::size_t>(round) < sharp.size()
                              ? &sharp[static_cast<std::size_t>(round)]
                              : nullptr;
    if (row != nullptr) {
      d.n = 1, d.in_c = row->lower + 1, d.m1 = row->multiplier, d.e1 = 30, d.diff_min = -255,
      elements = d.in_c;
      const auto top = static_cast<std::int32_t>(rnd.between(-126, 127));
      const std::uint32_t place = u(0, row->lower);
      for (std::uint32_t c = 0; c < d.in_c; ++c)
        memory[d.in_addr + c] = static_cast<std::uint8_t>(c == place ? top : top - 2);
    }
    for (std::uint32_t r = 0; r < d.n; ++r) {
      std::vector<std::int8_t> in(d.in_c), out(d.in_c);
      const bool narrow = row == nullptr && rnd.chance(40);
      for (std::uint32_t c = 0; c < d.in_c; ++c) {
        if (narrow)
          memory[d.in_addr + r * d.in_c + c] = static_cast<std::uint8_t>(rnd.between(-5, 5));
        in[c] = static_cast<std::int8_t>(memory[d.in_addr + r * d.in_c + c]);
      }
      num::softmax::row(in, out, static_cast<std::int32_t>(d.m1), d.e1, d.diff_min);
      for (std::uint32_t c = 0; c < d.in_c; ++c)
        expected[d.out_addr + r * d.in_c + c] = static_cast<std::uint8_t>(out[c]);
      reads += 3 * words_of(d.in_addr + r * d.in_c, d.in_c),
          writes += words_of(d.out_addr + r * d.in_c, d.in_c);
    }
#else
    d.in_addr &= ~1u, d.out_addr &= ~3u, d.in2_addr &= d.in_c > 255 ? ~1u : ~0u;
    d.m1 = u(0, 65535),
    d.e1 = -static_cast<std::int32_t>(rnd.chance(70) ? rnd.below(10) : rnd.below(32));
    if (rnd.chance(60)) d.flags |= rnd.chance(50) ? spec::kFlagLosses : spec::kFlagErrors;
    if (d.has(spec::kFlagErrors)) d.out_addr += u(0, 63);
    d.w_tensor = u(0, 65535);
    const std::uint64_t seed = rnd.bits();
    t.seed_i = seed;
    const std::uint32_t label_bytes = d.in_c > 255 ? 2 : 1;
    for (std::uint32_t r = 0; r < d.n; ++r) {
      const std::uint64_t at = d.in2_addr + r * label_bytes;
      const std::uint32_t wanted = rnd.chance(80)   ? u(0, d.in_c - 1)
                                   : rnd.chance(50) ? 0xffff
                                                    : u(0, 400);
      memory[at] = static_cast<std::uint8_t>(wanted);
      if (label_bytes == 2) memory[at + 1] = static_cast<std::uint8_t>(wanted >> 8);
      const std::uint32_t label = label_bytes == 2 ? memory[at] | memory[at + 1] << 8 : memory[at];
      const int kind = static_cast<int>(rnd.below(4));
      std::vector<std::int16_t> logits(d.in_c);
      for (std::uint32_t c = 0; c < d.in_c; ++c) {
        const std::uint64_t l = d.in_addr + 2 * (r * d.in_c + c);
        if (kind != 0) {
          const auto v = static_cast<std::uint32_t>(kind == 1        ? rnd.between(-3, 3)
                                                    : kind == 2      ? rnd.between(-2000, 2000)
                                                    : rnd.chance(50) ? -32768
                                                                     : 32767);
          memory[l] = static_cast<std::uint8_t>(v),
          memory[l + 1] = static_cast<std::uint8_t>(v >> 8);
        }
        logits[c] = memory.half(l);
      }
      num::ExampleLoss e;
      if (label < d.in_c && label != (label_bytes == 1 ? 0xffu : 0xffffu)) {
        e = num::cross_entropy(logits, label, d.m1, -d.e1);
        loss_sum += e.loss, correct += e.correct, ++examples;
      }
      reads +=
          (d.has(spec::kFlagErrors) ? 3 : 2) * words_of(d.in_addr + 2 * r * d.in_c, 2 * d.in_c) + 1;
      if (d.has(spec::kFlagErrors)) {
        const bool counts = label < d.in_c && label != (label_bytes == 1 ? 0xffu : 0xffffu);
        const std::vector<int> e_of = errors_of(logits, label, d, seed, r);
        for (std::uint32_t c = 0; c < d.in_c; ++c)
          expected[d.out_addr + r * d.in_c + c] = static_cast<std::uint8_t>(counts ? e_of[c] : 0);
        writes += words_of(d.out_addr + r * d.in_c, d.in_c);
        random += (d.in_c + 3) / 4;
      }
      if (d.has(spec::kFlagLosses)) {
        ++writes;
        for (int k = 0; k < 4; ++k)
          expected[d.out_addr + 4 * r + k] = static_cast<std::uint8_t>(e.loss >> (8 * k));
      }
    }
#endif
    const spec::DescriptorWords dw = spec::encode(d);
    std::copy_n(dw.begin(), 48, bench::words(t.desc_i));
    t.start_i = 1;
    b.edge();
    t.start_i = 0;
    const int stall_req = 30 * static_cast<int>(rnd.below(3)),
              stall_rd = 30 * static_cast<int>(rnd.below(3)),
              stall_wr = 30 * static_cast<int>(rnd.below(3));
    ReadPort first, second;
    std::int64_t got_elements = 0, got_writes = 0, got_low = 0, got_high = 0, got_random = 0;
    const std::uint64_t start = b.cycle;
    std::map<std::uint64_t, std::uint8_t> written;
    while (!t.done_o) {
      t.rd_req_ready_i = !rnd.chance(stall_req);
      if (!t.rd_rsp_valid_i && !first.incoming.empty() && !rnd.chance(stall_rd)) {
        t.rd_rsp_valid_i = 1;
        for (int k = 0; k < kBus; ++k)
          bench::put(bench::words(t.rd_rsp_data_i), k * 8, 8,
                     memory[first.incoming.front().first + k]);
      }
#if P_ENGINE == 0
      t.rd2_req_ready_i = !rnd.chance(stall_req);
      if (!t.rd2_rsp_valid_i && !second.incoming.empty() && !rnd.chance(stall_rd)) {
        t.rd2_rsp_valid_i = 1;
        for (int k = 0; k < kBus; ++k)
          bench::put(bench::words(t.rd2_rsp_data_i), k * 8, 8,
                     memory[second.incoming.front().first + k]);
      }
#endif
      t.wr_ready_i = !rnd.chance(stall_wr);
      t.eval();
      got_elements += t.cnt_elements_o;
#if P_ENGINE == 2
      got_random += t.cnt_random_o;
#endif
      if (t.rd_req_valid_o && t.rd_req_ready_i) first.ask(t.rd_req_addr_o, t.rd_req_bytes_o);
#if P_ENGINE == 0
      got_low += t.cnt_sat_low_o, got_high += t.cnt_sat_high_o;
      if (t.rd2_req_valid_o && t.rd2_req_ready_i) second.ask(t.rd2_req_addr_o, t.rd2_req_bytes_o);
      const bool taken2 = t.rd2_rsp_valid_i && t.rd2_rsp_ready_o;
#endif
      if (t.wr_valid_o && t.wr_ready_i) {
        ++got_writes;
        for (int k = 0; k < kBus; ++k) {
          if (bench::get(bench::words(t.wr_strb_o), k, 1) != 0)
            written[t.wr_addr_o + k] =
                static_cast<std::uint8_t>(bench::get(bench::words(t.wr_data_o), k * 8, 8));
        }
      }
      const bool taken = t.rd_rsp_valid_i && t.rd_rsp_ready_o;
      b.edge();
      if (taken) first.incoming.pop_front(), t.rd_rsp_valid_i = 0;
#if P_ENGINE == 0
      if (taken2) second.incoming.pop_front(), t.rd2_rsp_valid_i = 0;
#endif
      if (b.cycle > start + 1000000) bench::fail("no progress", b.cycle);
    }
    bench::equal("bytes written", static_cast<std::int64_t>(written.size()),
                 static_cast<std::int64_t>(expected.bytes.size()), b.cycle);
    for (const auto& [at, value] : expected.bytes)
      bench::equal("round " + std::to_string(round) + " byte " + std::to_string(at - d.out_addr),
                   written[at], value, b.cycle);
    bench::equal("elements", got_elements, elements, b.cycle);
    bench::equal("words read", first.words + second.words, reads, b.cycle);
    bench::equal("words written", got_writes, writes, b.cycle);
    bench::equal("saturated low", got_low, low, b.cycle);
    bench::equal("saturated high", got_high, high, b.cycle);
    if (P_ENGINE == 0 && stall_req + stall_rd + stall_wr == 0 && elements > 1000)
      bench::equal("four per cycle",
                   b.cycle - start < static_cast<std::uint64_t>(elements) * 10 / 38 + 60, 1,
                   b.cycle);
#if P_ENGINE == 2
    bench::equal("loss", static_cast<std::int64_t>(t.loss_sum_o), loss_sum, b.cycle);
    bench::equal("correct", t.loss_correct_o, correct, b.cycle);
    bench::equal("examples", t.loss_examples_o, examples, b.cycle);
    bench::equal("random words", got_random, random, b.cycle);
    if (d.has(spec::kFlagErrors) && stall_req + stall_rd + stall_wr == 0)
      bench::equal("one per cycle and pass",
                   b.cycle - start < static_cast<std::uint64_t>(3 * elements + 24 * d.n + 20), 1,
                   b.cycle);
#else
    static_cast<void>(random + got_random);
    static_cast<void>(loss_sum + correct + examples);
#endif
  }
  return bench::done(P_ENGINE == 0 ? "add" : P_ENGINE == 1 ? "softmax" : "loss");
}
