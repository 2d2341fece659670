// SPDX-License-Identifier: Apache-2.0
// npu_add against fixed.hpp: unaligned tensors, tensors of several requests, extreme multipliers
// and shifts, random stalls; memory contents, events, and the rate without stalls.
#include <algorithm>
#include <cstdint>

#include "cmodel/numeric/fixed.hpp"
#include "tests/rtl/peri/elementwise.hpp"

namespace num = lastmile::numeric;
namespace spec = lastmile::spec;
using bench::Memory;
using bench::Random;

namespace {

std::int64_t elements_of(const spec::Descriptor& d) {
  return static_cast<std::int64_t>(std::uint64_t{d.n} * d.in_c);
}

void make_several_requests(spec::Descriptor& d, Memory& memory, Random& rnd) {
  d.n = 2;
  d.in_c = 40000;
  d.in_addr = bench::draw(rnd, 0, 70000);
  d.in2_addr = bench::draw(rnd, 200000, 300000);
  d.out_addr = bench::draw(rnd, 400000, 500000);
  for (std::uint64_t i = 0; i < 80000; ++i) {
    memory[d.in_addr + i] = static_cast<std::uint8_t>(rnd.bits());
    memory[d.in2_addr + i] = static_cast<std::uint8_t>(rnd.bits());
  }
}

// Mostly those of a quantized network, at times anything.
num::AddParams random_params(Random& rnd) {
  num::AddParams p;
  const bool plain = rnd.chance(60);
  const auto zero_point = [&] { return static_cast<std::int32_t>(rnd.between(-128, 127)); };
  const auto multiplier = [&] {
    return static_cast<std::int32_t>(plain ? 0x40000000 + rnd.below(0x40000000)
                                           : rnd.below(0x80000000));
  };
  const auto shift = [&](int low, int high) {
    return static_cast<int>(plain ? rnd.between(low, high) : rnd.between(-40, 30));
  };
  p.zp1 = zero_point();
  p.zp2 = zero_point();
  p.zp_out = zero_point();
  p.m1 = multiplier();
  p.m2 = multiplier();
  p.mo = multiplier();
  p.e1 = shift(-4, 0);
  p.e2 = shift(-4, 0);
  p.eo = shift(-22, -18);
  p.left_shift = static_cast<int>(plain ? 20 : rnd.below(21));
  p.act_min = static_cast<std::int32_t>(rnd.chance(50) ? -128 : rnd.between(-128, 0));
  p.act_max = static_cast<std::int32_t>(rnd.chance(50) ? 127 : rnd.between(0, 127));
  return p;
}

void set_params(spec::Descriptor& d, const num::AddParams& p) {
  d.in_zp = p.zp1, d.in2_zp = p.zp2, d.add_zp = p.zp_out;
  d.m1 = static_cast<std::uint32_t>(p.m1);
  d.m2 = static_cast<std::uint32_t>(p.m2);
  d.mo = static_cast<std::uint32_t>(p.mo);
  d.e1 = p.e1, d.e2 = p.e2, d.eo = p.eo;
  d.add_shift = static_cast<std::uint32_t>(p.left_shift);
  d.add_act_min = p.act_min, d.add_act_max = p.act_max;
}

bench::Expected add(const spec::Descriptor& d, const num::AddParams& p, Memory& memory) {
  bench::Expected e;
  e.events.elements = elements_of(d);
  for (std::int64_t i = 0; i < e.events.elements; ++i) {
    const std::int64_t v = num::add_unclamped(static_cast<std::int8_t>(memory[d.in_addr + i]),
                                              static_cast<std::int8_t>(memory[d.in2_addr + i]), p);
    e.events.low += v < -128;
    e.events.high += v > 127;
    e.output[d.out_addr + i] =
        static_cast<std::uint8_t>(std::clamp<std::int64_t>(v, p.act_min, p.act_max));
  }
  const auto bytes = static_cast<std::uint64_t>(e.events.elements);
  e.events.words_read = bench::words_of(d.in_addr, bytes) + bench::words_of(d.in2_addr, bytes);
  e.events.words_written = bench::words_of(d.out_addr, bytes);
  return e;
}

auto second_read_port(Vtop& t) {
  return bench::ReadPort<std::remove_reference_t<decltype(t.rd2_rsp_data_i)>>{
      t.rd2_req_valid_o, t.rd2_req_ready_i, t.rd2_req_addr_o, t.rd2_req_bytes_o,
      t.rd2_rsp_valid_i, t.rd2_rsp_ready_o, t.rd2_rsp_data_i};
}

void one_command(bench::Bench& b, Random& rnd, int round) {
  Vtop& t = *b.top;
  Memory memory, written;
  spec::Descriptor d = bench::random_tensors(rnd, memory);
  if (rnd.chance(10)) make_several_requests(d, memory, rnd);
  const num::AddParams p = random_params(rnd);
  set_params(d, p);
  const bench::Expected expected = add(d, p, memory);

  bench::start_command(b, d);
  const bench::Stalls stalls = bench::random_stalls(rnd);
  auto first = bench::read_port(t);
  auto second = second_read_port(t);
  bench::Events rtl;
  const auto count = [&] {
    rtl.elements += t.cnt_elements_o;
    rtl.low += t.cnt_sat_low_o;
    rtl.high += t.cnt_sat_high_o;
  };
  const bench::Finished f =
      bench::serve(b, rnd, stalls, memory, written, bench::kMostCycles, count, first, second);
  rtl.words_read = first.words + second.words;
  rtl.words_written = f.words_written;

  bench::check_output(round, d.out_addr, written, expected.output, b.cycle);
  bench::check_events(rtl, expected.events, b.cycle);
  if (stalls.none() && rtl.elements > 1000)
    bench::equal("four per cycle",
                 f.cycles < static_cast<std::uint64_t>(rtl.elements) * 10 / 38 + 60, 1, b.cycle);
}

}  // namespace

int main() {
  bench::Bench b;
  Random rnd;
  b.top->rd2_req_ready_i = 0, b.top->rd2_rsp_valid_i = 0;
  bench::reset_engine(b);
  for (int round = 0; round < bench::kRounds; ++round) one_command(b, rnd, round);
  return bench::done("add");
}
