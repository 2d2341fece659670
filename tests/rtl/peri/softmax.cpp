// SPDX-License-Identifier: Apache-2.0
// npu_softmax against softmax.hpp: unaligned rows, random multipliers and shifts, rows that show
// an exponential that is off by a millionth, random stalls; memory contents and events.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

#include "cmodel/numeric/softmax.hpp"
#include "tests/rtl/peri/elementwise.hpp"

namespace num = lastmile::numeric;
namespace sm = lastmile::numeric::softmax;
namespace spec = lastmile::spec;
using bench::Memory;
using bench::Random;

namespace {

constexpr std::uint32_t kQuarter = 1u << 24;  // multiples of 1/4 pick the factors

// Rows whose results change when the exponential of their lower elements is off by a millionth, in
// either direction: one row for each factor of the exponential alone, for none, and for some sets
// of factors. exp(-8) shows only in long sums; exp(-16) is below half a unit of every sum and
// result and shows only if its factor is much too large.
struct SharpRow {
  std::uint32_t multiplier = 0;  // with left shift 30, difference -2 is exp(-multiplier / 2^26)
  std::uint32_t lower = 1;       // elements below the largest one
};

// The results for the largest and for a lower element, if the exponential of the lower is `x`.
std::pair<std::int32_t, std::int32_t> results(std::int32_t x, std::uint32_t lower) {
  const std::int32_t top = sm::shr_round(sm::exp_of_diff(0, 0, 30), 12);
  const sm::Reciprocal r =
      sm::reciprocal(top + static_cast<std::int32_t>(lower) * sm::shr_round(x, 12));
  return {sm::shr_round(r.scale, r.bits_over_unit + 23),
          sm::shr_round(sm::mul(r.scale, x), r.bits_over_unit + 23)};
}

SharpRow sharp_row(Random& rnd, std::uint32_t factors, std::uint32_t lower, int direction) {
  for (std::int64_t tries = 0; tries < 20000000; ++tries) {
    const std::uint32_t m =
        factors * kQuarter + 1 + static_cast<std::uint32_t>(rnd.below(kQuarter));
    const std::int32_t e = sm::exp_of_diff(-2, static_cast<std::int32_t>(m), 30);
    const std::int32_t off = direction * std::max(1, e / 1000000);
    if (results(e, lower) != results(e + off, lower)) return {m, lower};
  }
  bench::fail("no sharp row", factors);
  return {};
}

std::vector<SharpRow> sharp_rows(Random& rnd) {
  std::vector<SharpRow> rows;
  for (const std::uint32_t factors : {0u, 1u, 2u, 4u, 8u, 16u, 32u, 3u, 6u, 12u, 15u, 21u, 42u}) {
    // as many as give a sum near 2: there both the sum and the share of the largest element move
    const double each = std::exp(-0.25 * (factors + 0.5));
    const auto lower = static_cast<std::uint32_t>(std::clamp(1 / each, 1.0, 4000.0));
    for (const int direction : {1, -1}) rows.push_back(sharp_row(rnd, factors, lower, direction));
  }
  for (std::uint32_t i = 0; i < 8; ++i)  // exp(-16) alone and with others
    rows.push_back({64 * kQuarter + 1 +
                        static_cast<std::uint32_t>(rnd.below((i % 2 == 0 ? 1 : 63) * kQuarter)),
                    4094});
  return rows;
}

void set_random_scale(spec::Descriptor& d, Random& rnd) {
  d.m1 = rnd.chance(80) ? bench::draw(rnd, 1 << 30, 0x7fffffff) : bench::draw(rnd, 0, 0x7fffffff);
  d.e1 = static_cast<std::int32_t>(rnd.chance(80) ? rnd.between(15, 25) : rnd.between(0, 30));
  d.diff_min = static_cast<std::int32_t>(
      rnd.chance(80) ? -rnd.between(0, 255) : -static_cast<std::int64_t>(rnd.below(0x80000000)));
}

// One row: an element anywhere, all others 2 below it.
void make_sharp(spec::Descriptor& d, const SharpRow& row, Memory& memory, Random& rnd) {
  d.n = 1, d.in_c = row.lower + 1;
  d.m1 = row.multiplier, d.e1 = 30, d.diff_min = -255;
  const auto top = static_cast<std::int32_t>(rnd.between(-126, 127));
  const std::uint32_t place = bench::draw(rnd, 0, row.lower);
  for (std::uint32_t c = 0; c < d.in_c; ++c)
    memory[d.in_addr + c] = static_cast<std::uint8_t>(c == place ? top : top - 2);
}

// Elements close to each other: none of them gets all.
void make_some_rows_narrow(const spec::Descriptor& d, Memory& memory, Random& rnd) {
  for (std::uint32_t r = 0; r < d.n; ++r) {
    if (!rnd.chance(40)) continue;
    for (std::uint32_t c = 0; c < d.in_c; ++c)
      memory[d.in_addr + r * d.in_c + c] = static_cast<std::uint8_t>(rnd.between(-5, 5));
  }
}

bench::Expected softmax(const spec::Descriptor& d, Memory& memory) {
  bench::Expected e;
  e.events.elements = static_cast<std::int64_t>(std::uint64_t{d.n} * d.in_c);
  for (std::uint32_t r = 0; r < d.n; ++r) {
    const std::uint32_t begin = r * d.in_c;
    std::vector<std::int8_t> in(d.in_c), out(d.in_c);
    for (std::uint32_t c = 0; c < d.in_c; ++c)
      in[c] = static_cast<std::int8_t>(memory[d.in_addr + begin + c]);
    sm::row(in, out, static_cast<std::int32_t>(d.m1), d.e1, d.diff_min);
    for (std::uint32_t c = 0; c < d.in_c; ++c)
      e.output[d.out_addr + begin + c] = static_cast<std::uint8_t>(out[c]);
    e.events.words_read += 3 * bench::words_of(d.in_addr + begin, d.in_c);  // largest, sum, results
    e.events.words_written += bench::words_of(d.out_addr + begin, d.in_c);
  }
  return e;
}

void one_command(bench::Bench& b, Random& rnd, int round, const SharpRow* sharp) {
  Vtop& t = *b.top;
  Memory memory, written;
  spec::Descriptor d = bench::random_tensors(rnd, memory);
  set_random_scale(d, rnd);
  if (sharp != nullptr) {
    make_sharp(d, *sharp, memory, rnd);
  } else {
    make_some_rows_narrow(d, memory, rnd);
  }
  const bench::Expected expected = softmax(d, memory);

  bench::start_command(b, d);
  const bench::Stalls stalls = bench::random_stalls(rnd);
  auto port = bench::read_port(t);
  bench::Events rtl;
  const bench::Finished f = bench::serve(
      b, rnd, stalls, memory, written, bench::kMostCycles,
      [&] { rtl.elements += t.cnt_elements_o; }, port);
  rtl.words_read = port.words;
  rtl.words_written = f.words_written;

  bench::check_output(round, d.out_addr, written, expected.output, b.cycle);
  bench::check_events(rtl, expected.events, b.cycle);
}

}  // namespace

int main() {
  bench::Bench b;
  Random rnd;
  bench::reset_engine(b);
  const std::vector<SharpRow> sharp = sharp_rows(rnd);
  for (int round = 0; round < bench::kRounds; ++round) {
    const auto r = static_cast<std::size_t>(round);
    one_command(b, rnd, round, r < sharp.size() ? &sharp[r] : nullptr);
  }
  return bench::done("softmax");
}
