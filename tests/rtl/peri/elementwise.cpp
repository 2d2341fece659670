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

// One command with its memory, and what has to come of it.
struct Round {
  spec::Descriptor d;
  Memory memory, expected;
  std::int64_t elements = 0, reads = 0, writes = 0, low = 0, high = 0;
  std::int64_t loss_sum = 0, correct = 0, examples = 0;
};

std::uint32_t u32(bench::Random& rnd, std::int64_t lo, std::int64_t hi) {
  return static_cast<std::uint32_t>(rnd.between(lo, hi));
}
std::int32_t i32(bench::Random& rnd, std::int64_t lo, std::int64_t hi) {
  return static_cast<std::int32_t>(rnd.between(lo, hi));
}

// Sizes, unaligned places and random memory, the same for all engines.
Round empty_round(bench::Random& rnd) {
  Round r;
  r.d.n = u32(rnd, 1, 5), r.d.in_c = u32(rnd, 1, rnd.chance(20) ? 300 : 40);
  r.d.in_addr = u32(rnd, 0, 200), r.d.in2_addr = u32(rnd, 4000, 4200);
  r.d.out_addr = u32(rnd, 8000, 8200);
  r.elements = static_cast<std::int64_t>(std::uint64_t{r.d.n} * r.d.in_c);
  for (std::uint64_t a = 0; a < 9000; ++a) r.memory[a] = static_cast<std::uint8_t>(rnd.bits());
  return r;
}

#if P_ENGINE == 0
// Tensors of more than one request.
void make_long(Round& r, bench::Random& rnd) {
  spec::Descriptor& d = r.d;
  d.n = 2, d.in_c = 40000, d.in_addr = u32(rnd, 0, 70000), d.in2_addr = u32(rnd, 200000, 300000);
  d.out_addr = u32(rnd, 400000, 500000), r.elements = 80000;
  for (std::uint64_t i = 0; i < 80000; ++i) {
    r.memory[d.in_addr + i] = static_cast<std::uint8_t>(rnd.bits());
    r.memory[d.in2_addr + i] = static_cast<std::uint8_t>(rnd.bits());
  }
}

// Such as a quantizer makes, or anything that is allowed.
num::AddParams random_parameters(bench::Random& rnd) {
  num::AddParams p;
  const bool plain = rnd.chance(60);
  const auto multiplier = [&] {
    return static_cast<std::int32_t>(plain ? 0x40000000 + rnd.below(0x40000000)
                                           : rnd.below(0x80000000));
  };
  const auto exponent = [&](int lo, int hi) {
    return static_cast<int>(plain ? rnd.between(lo, hi) : rnd.between(-40, 30));
  };
  p.zp1 = i32(rnd, -128, 127), p.zp2 = i32(rnd, -128, 127), p.zp_out = i32(rnd, -128, 127);
  p.m1 = multiplier(), p.m2 = multiplier(), p.mo = multiplier();
  p.e1 = exponent(-4, 0), p.e2 = exponent(-4, 0), p.eo = exponent(-22, -18);
  p.left_shift = static_cast<int>(plain ? 20 : rnd.below(21));
  p.act_min = rnd.chance(50) ? -128 : i32(rnd, -128, 0);
  p.act_max = rnd.chance(50) ? 127 : i32(rnd, 0, 127);
  return p;
}

Round make_round(bench::Random& rnd) {
  Round r = empty_round(rnd);
  if (rnd.chance(10)) make_long(r, rnd);
  const num::AddParams p = random_parameters(rnd);
  spec::Descriptor& d = r.d;
  d.in_zp = p.zp1, d.in2_zp = p.zp2, d.add_zp = p.zp_out, d.m1 = static_cast<std::uint32_t>(p.m1);
  d.m2 = static_cast<std::uint32_t>(p.m2), d.mo = static_cast<std::uint32_t>(p.mo);
  d.e1 = p.e1, d.e2 = p.e2, d.eo = p.eo, d.add_shift = static_cast<std::uint32_t>(p.left_shift);
  d.add_act_min = p.act_min, d.add_act_max = p.act_max;
  const auto count = static_cast<std::uint64_t>(r.elements);
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::int64_t v =
        num::add_unclamped(static_cast<std::int8_t>(r.memory[d.in_addr + i]),
                           static_cast<std::int8_t>(r.memory[d.in2_addr + i]), p);
    r.low += v < -128 ? 1 : 0;
    r.high += v > 127 ? 1 : 0;
    r.expected[d.out_addr + i] =
        static_cast<std::uint8_t>(std::clamp<std::int64_t>(v, p.act_min, p.act_max));
  }
  r.reads = words_of(d.in_addr, count) + words_of(d.in2_addr, count);
  r.writes = words_of(d.out_addr, count);
  return r;
}
#elif P_ENGINE == 1
// A single row that is sensitive to the exponential: its largest element anywhere in it.
void make_sharp(Round& r, const SharpRow& row, bench::Random& rnd) {
  spec::Descriptor& d = r.d;
  d.n = 1, d.in_c = row.lower + 1, d.m1 = row.multiplier, d.e1 = 30, d.diff_min = -255;
  r.elements = d.in_c;
  const std::int32_t top = i32(rnd, -126, 127);
  const std::uint32_t place = u32(rnd, 0, row.lower);
  for (std::uint32_t c = 0; c < d.in_c; ++c)
    r.memory[d.in_addr + c] = static_cast<std::uint8_t>(c == place ? top : top - 2);
}

Round make_round(bench::Random& rnd, const SharpRow* sharp) {
  Round r = empty_round(rnd);
  spec::Descriptor& d = r.d;
  d.m1 = rnd.chance(80) ? u32(rnd, 1 << 30, 0x7fffffff) : u32(rnd, 0, 0x7fffffff);
  d.e1 = rnd.chance(80) ? i32(rnd, 15, 25) : i32(rnd, 0, 30);
  d.diff_min = static_cast<std::int32_t>(
      rnd.chance(80) ? -rnd.between(0, 255) : -static_cast<std::int64_t>(rnd.below(0x80000000)));
  if (sharp != nullptr) make_sharp(r, *sharp, rnd);
  for (std::uint32_t row = 0; row < d.n; ++row) {
    const std::uint64_t from = d.in_addr + row * d.in_c, to = d.out_addr + row * d.in_c;
    std::vector<std::int8_t> in(d.in_c), out(d.in_c);
    const bool narrow = sharp == nullptr && rnd.chance(40);
    for (std::uint32_t c = 0; c < d.in_c; ++c) {
      if (narrow) r.memory[from + c] = static_cast<std::uint8_t>(rnd.between(-5, 5));
      in[c] = static_cast<std::int8_t>(r.memory[from + c]);
    }
    num::softmax::row(in, out, static_cast<std::int32_t>(d.m1), d.e1, d.diff_min);
    for (std::uint32_t c = 0; c < d.in_c; ++c)
      r.expected[to + c] = static_cast<std::uint8_t>(out[c]);
    r.reads += 3 * words_of(from, d.in_c);
    r.writes += words_of(to, d.in_c);
  }
  return r;
}
#else
// A label that exists, mostly; else one that says "ignore", or too large a one.
std::uint32_t put_label(Round& r, std::uint32_t row, std::uint32_t label_bytes,
                        bench::Random& rnd) {
  const std::uint64_t at = r.d.in2_addr + row * label_bytes;
  const std::uint32_t wanted = rnd.chance(80)   ? u32(rnd, 0, r.d.in_c - 1)
                               : rnd.chance(50) ? 0xffff
                                                : u32(rnd, 0, 400);
  r.memory[at] = static_cast<std::uint8_t>(wanted);
  if (label_bytes == 1) return r.memory[at];
  r.memory[at + 1] = static_cast<std::uint8_t>(wanted >> 8);
  return r.memory[at] | static_cast<std::uint32_t>(r.memory[at + 1]) << 8;
}

// Anything, nearly equal ones, usual ones, or the ends of the type.
std::vector<std::int16_t> put_logits(Round& r, std::uint32_t row, bench::Random& rnd) {
  const int kind = static_cast<int>(rnd.below(4));
  std::vector<std::int16_t> logits(r.d.in_c);
  for (std::uint32_t c = 0; c < r.d.in_c; ++c) {
    const std::uint64_t at = r.d.in_addr + 2 * (row * r.d.in_c + c);
    if (kind != 0) {
      const auto v = static_cast<std::uint32_t>(kind == 1        ? rnd.between(-3, 3)
                                                : kind == 2      ? rnd.between(-2000, 2000)
                                                : rnd.chance(50) ? -32768
                                                                 : 32767);
      r.memory[at] = static_cast<std::uint8_t>(v);
      r.memory[at + 1] = static_cast<std::uint8_t>(v >> 8);
    }
    logits[c] = r.memory.half(at);
  }
  return logits;
}

Round make_round(bench::Random& rnd) {
  Round r = empty_round(rnd);
  spec::Descriptor& d = r.d;
  d.in_addr &= ~1u, d.out_addr &= ~3u, d.in2_addr &= d.in_c > 255 ? ~1u : ~0u;
  d.m1 = u32(rnd, 0, 65535);
  d.e1 = -static_cast<std::int32_t>(rnd.chance(70) ? rnd.below(10) : rnd.below(32));
  if (rnd.chance(60)) d.flags |= spec::kFlagLosses;
  const std::uint32_t label_bytes = d.in_c > 255 ? 2 : 1;
  for (std::uint32_t row = 0; row < d.n; ++row) {
    const std::uint32_t label = put_label(r, row, label_bytes, rnd);
    const std::vector<std::int16_t> logits = put_logits(r, row, rnd);
    num::ExampleLoss e;
    if (label < d.in_c && label != (label_bytes == 1 ? 0xffu : 0xffffu)) {
      e = num::cross_entropy(logits, label, d.m1, -d.e1);
      r.loss_sum += e.loss, r.correct += e.correct, ++r.examples;
    }
    r.reads += 2 * words_of(d.in_addr + 2 * row * d.in_c, 2 * d.in_c) + 1;
    if (!d.has(spec::kFlagLosses)) continue;
    ++r.writes;
    for (std::uint32_t k = 0; k < 4; ++k)
      r.expected[d.out_addr + 4 * row + k] = static_cast<std::uint8_t>(e.loss >> (8 * k));
  }
  return r;
}
#endif

// What the engine did in one round.
struct Seen {
  std::map<std::uint64_t, std::uint8_t> written;
  std::int64_t elements = 0, reads = 0, writes = 0, low = 0, high = 0;
  std::uint64_t cycles = 0;
  bool stalled = false;
};

class Player {
 public:
  Player(bench::Bench& b, bench::Random& rnd) : b_(b), rnd_(rnd), t_(*b.top) {
    t_.clear_i = 0, t_.start_i = 0, t_.rd_req_ready_i = 0, t_.rd_rsp_valid_i = 0;
    t_.wr_ready_i = 0;
#if P_ENGINE == 0
    t_.rd2_req_ready_i = 0, t_.rd2_rsp_valid_i = 0;
#endif
    b.reset();
  }

  // Runs the command with stalls of its own.
  Seen play(Round& r) {
    const spec::DescriptorWords dw = spec::encode(r.d);
    std::copy_n(dw.begin(), 48, bench::words(t_.desc_i));
    t_.start_i = 1;
    b_.edge();
    t_.start_i = 0;
    stall_request_ = 30 * static_cast<int>(rnd_.below(3));
    stall_read_ = 30 * static_cast<int>(rnd_.below(3));
    stall_write_ = 30 * static_cast<int>(rnd_.below(3));
    Seen seen;
    seen.stalled = stall_request_ + stall_read_ + stall_write_ != 0;
    ReadPort first, second;
    const std::uint64_t start = b_.cycle;
    while (!t_.done_o) {
      cycle(r, first, second, seen);
      if (b_.cycle > start + 1000000) bench::fail("no progress", b_.cycle);
    }
    seen.reads = first.words + second.words;
    seen.cycles = b_.cycle - start;
    return seen;
  }

 private:
  void cycle(Round& r, ReadPort& first, ReadPort& second, Seen& seen) {
    t_.rd_req_ready_i = !rnd_.chance(stall_request_);
    if (!t_.rd_rsp_valid_i && !first.incoming.empty() && !rnd_.chance(stall_read_)) {
      t_.rd_rsp_valid_i = 1;
      answer(r, first, bench::words(t_.rd_rsp_data_i));
    }
#if P_ENGINE == 0
    t_.rd2_req_ready_i = !rnd_.chance(stall_request_);
    if (!t_.rd2_rsp_valid_i && !second.incoming.empty() && !rnd_.chance(stall_read_)) {
      t_.rd2_rsp_valid_i = 1;
      answer(r, second, bench::words(t_.rd2_rsp_data_i));
    }
#endif
    t_.wr_ready_i = !rnd_.chance(stall_write_);
    t_.eval();
    seen.elements += t_.cnt_elements_o;
    if (t_.rd_req_valid_o && t_.rd_req_ready_i) first.ask(t_.rd_req_addr_o, t_.rd_req_bytes_o);
#if P_ENGINE == 0
    seen.low += t_.cnt_sat_low_o, seen.high += t_.cnt_sat_high_o;
    if (t_.rd2_req_valid_o && t_.rd2_req_ready_i) second.ask(t_.rd2_req_addr_o, t_.rd2_req_bytes_o);
    const bool taken2 = t_.rd2_rsp_valid_i && t_.rd2_rsp_ready_o;
#else
    static_cast<void>(second);
#endif
    if (t_.wr_valid_o && t_.wr_ready_i) take_write(seen);
    const bool taken = t_.rd_rsp_valid_i && t_.rd_rsp_ready_o;
    b_.edge();
    if (taken) first.incoming.pop_front(), t_.rd_rsp_valid_i = 0;
#if P_ENGINE == 0
    if (taken2) second.incoming.pop_front(), t_.rd2_rsp_valid_i = 0;
#endif
  }

  static void answer(Round& r, const ReadPort& port, std::uint32_t* data) {
    for (int k = 0; k < kBus; ++k)
      bench::put(data, k * 8, 8,
                 r.memory[port.incoming.front().first + static_cast<std::uint64_t>(k)]);
  }

  void take_write(Seen& seen) {
    ++seen.writes;
    for (int k = 0; k < kBus; ++k) {
      if (bench::get(bench::words(t_.wr_strb_o), k, 1) != 0)
        seen.written[t_.wr_addr_o + static_cast<std::uint64_t>(k)] =
            static_cast<std::uint8_t>(bench::get(bench::words(t_.wr_data_o), k * 8, 8));
    }
  }

  bench::Bench& b_;
  bench::Random& rnd_;
  Vtop& t_;
  int stall_request_ = 0, stall_read_ = 0, stall_write_ = 0;
};

void compare(Round& r, Seen& seen, const std::string& name, const bench::Bench& b) {
  const auto equal = [&](const std::string& what, std::int64_t rtl, std::int64_t model) {
    bench::equal(what, rtl, model, b.cycle);
  };
  equal("bytes written", static_cast<std::int64_t>(seen.written.size()),
        static_cast<std::int64_t>(r.expected.bytes.size()));
  for (const auto& [at, value] : r.expected.bytes)
    equal(name + " byte " + std::to_string(at - r.d.out_addr), seen.written[at], value);
  equal("elements", seen.elements, r.elements);
  equal("words read", seen.reads, r.reads);
  equal("words written", seen.writes, r.writes);
  equal("saturated low", seen.low, r.low);
  equal("saturated high", seen.high, r.high);
  if (P_ENGINE == 0 && !seen.stalled && r.elements > 1000)
    equal("four per cycle",
          seen.cycles < static_cast<std::uint64_t>(r.elements) * 10 / 38 + 60 ? 1 : 0, 1);
#if P_ENGINE == 2
  equal("loss", static_cast<std::int64_t>(b.top->loss_sum_o), r.loss_sum);
  equal("correct", b.top->loss_correct_o, r.correct);
  equal("examples", b.top->loss_examples_o, r.examples);
#endif
}

}  // namespace

int main() {
  bench::Bench b;
  bench::Random rnd;
  Player player(b, rnd);
#if P_ENGINE == 1
  const std::vector<SharpRow> sharp = sharp_rows(rnd);
#endif
  for (std::size_t round = 0; round < 250; ++round) {
#if P_ENGINE == 1
    Round r = make_round(rnd, round < sharp.size() ? &sharp[round] : nullptr);
#else
    Round r = make_round(rnd);
#endif
    Seen seen = player.play(r);
    compare(r, seen, "round " + std::to_string(round), b);
  }
  return bench::done(P_ENGINE == 0 ? "add" : P_ENGINE == 1 ? "softmax" : "loss");
}
