// SPDX-License-Identifier: Apache-2.0
// npu_update against perturb.hpp: all widths, both distributions, 1..8 pairs, directions that are
// read, masks, steps of every size, partial rows, random stalls; memory contents, events, and the
// rate of the common cases.
#include <algorithm>
#include <array>
#include <cstdint>
#include <string>

#include "cmodel/numeric/perturb.hpp"
#include "tests/rtl/peri/stream.hpp"

namespace num = lastmile::numeric;
namespace spec = lastmile::spec;
using bench::kBus;
using bench::Memory;
using bench::Random;

namespace {

constexpr int kMostPairs = 8;

// A command, the registers it depends on, and what kind of case it is.
struct Update {
  spec::Descriptor d;
  bool smooth = false;    // no stalls, whole words, one pair: the rate is checked
  bool gradient = false;  // the direction is read instead of drawn
  int bytes = 1;          // of a weight
  bool gaussian = false;
  std::uint32_t pairs = 1;
  std::array<std::uint64_t, kMostPairs> seeds = {};
  std::array<int, kMostPairs> coefs = {};
  std::uint64_t mask_seed = 0;
  std::uint32_t run_step = 0;
  int run_shift = 0;

  [[nodiscard]] std::int32_t limit() const {
    return bytes == 4 ? num::kBiasMax : bytes == 2 ? num::kW16Max : num::kW8Max;
  }
  [[nodiscard]] std::uint64_t row_bytes() const {
    return std::uint64_t{d.in_c} * static_cast<std::uint32_t>(bytes);
  }
  [[nodiscard]] std::uint64_t weight_at(std::uint32_t r, std::uint32_t c) const {
    return d.w_addr + std::uint64_t{r} * d.w_pitch +
           std::uint64_t{c} * static_cast<std::uint32_t>(bytes);
  }
  [[nodiscard]] std::uint32_t gradient_pitch() const { return (4 * d.in_c + 63) / 64 * 64; }
  [[nodiscard]] num::Step step() const {
    return num::combine_step(d.step, static_cast<int>(d.step_shift), run_step, run_shift);
  }
};

std::uint32_t below(Random& rnd, std::uint64_t n) {
  return static_cast<std::uint32_t>(rnd.below(n));
}

void set_random_tensor(Update& u, Random& rnd) {
  spec::Descriptor& d = u.d;
  d.opcode = static_cast<std::uint32_t>(spec::Opcode::update_);
  u.bytes = u.smooth && !u.gradient ? (rnd.chance(50) ? 2 : 4) : 1 << rnd.below(3);
  d.flags = u.bytes == 1 ? spec::kFlagW8 : u.bytes == 4 ? spec::kFlagW32 : 0;
  if (u.gradient) d.flags |= spec::kFlagGradient;
  d.out_c = static_cast<std::uint32_t>(u.smooth ? 8 : rnd.between(1, 6));
  d.in_c = static_cast<std::uint32_t>(u.smooth         ? 640
                                      : rnd.chance(20) ? rnd.between(1, 600)
                                                       : rnd.between(1, 80));
  d.w_pitch = static_cast<std::uint32_t>((u.row_bytes() + 63) / 64 * 64) + 64 * below(rnd, 2);
  d.w_addr = 64 * below(rnd, 100);
  d.w_tensor = below(rnd, 65536);
  d.w_keep = u.smooth || rnd.chance(50) ? 256 : below(rnd, 257);
  d.step = below(rnd, 65536);
  d.step_shift = below(rnd, 32);
}

void set_random_registers(Update& u, Random& rnd) {
  u.gaussian = rnd.chance(50);
  u.pairs = static_cast<std::uint32_t>(u.smooth         ? 1
                                       : rnd.chance(40) ? 1
                                                        : rnd.between(1, kMostPairs));
  u.run_step = static_cast<std::uint32_t>(rnd.chance(10) ? 65535 : rnd.below(65536));
  u.run_shift = static_cast<int>(rnd.below(17));
  for (std::size_t j = 0; j < kMostPairs; ++j) {
    u.seeds[j] = rnd.bits();
    u.coefs[j] =
        static_cast<int>(rnd.chance(50) ? (rnd.chance(50) ? 1 : -1) : rnd.between(-128, 127));
  }
  u.mask_seed = rnd.bits();
}

// Magnitudes of every size, the one without a positive counterpart too.
void put_random_gradient(const Update& u, Memory& memory, Random& rnd) {
  for (std::uint64_t i = 0; i < std::uint64_t{u.d.out_c} * u.gradient_pitch() / 4; ++i) {
    const std::int64_t g =
        rnd.chance(3) ? INT32_MIN : static_cast<std::int64_t>(rnd.bits()) >> rnd.between(32, 63);
    memory.put(u.d.in_addr + 4 * i, 4, static_cast<std::uint64_t>(g));
  }
}

void put_weights_near_limits(const Update& u, Memory& memory, Random& rnd) {
  for (std::uint32_t r = 0; r < u.d.out_c; ++r) {
    for (std::uint32_t c = 0; c < u.d.in_c; ++c) {
      if (!rnd.chance(20)) continue;
      const std::int64_t v = rnd.chance(50)
                                 ? u.limit() - rnd.between(0, 3)
                                 : -static_cast<std::int64_t>(u.limit()) - 1 + rnd.between(0, 3);
      memory.put(u.weight_at(r, c), u.bytes, static_cast<std::uint64_t>(v));
    }
  }
}

Update random_update(int round, Memory& memory, Random& rnd) {
  Update u;
  u.smooth = round % 8 == 0;
  u.gradient = round % 3 == 0;
  set_random_tensor(u, rnd);
  set_random_registers(u, rnd);
  for (std::uint64_t a = u.d.w_addr; a < u.d.w_addr + std::uint64_t{u.d.out_c} * u.d.w_pitch; ++a)
    memory[a] = static_cast<std::uint8_t>(rnd.bits());
  u.d.in_addr = 0x100000 + 64 * below(rnd, 100);
  if (u.gradient) put_random_gradient(u, memory, rnd);
  put_weights_near_limits(u, memory, rnd);
  return u;
}

struct Events {
  std::int64_t updated = 0, zero = 0, clipped = 0, random_words = 0, elements = 0;
  std::int64_t words_written = 0, words_read = 0;
};

// What an element moves along: the gradient that is read, or the sum of the pairs' draws.
std::int32_t direction(const Update& u, std::uint32_t r, std::uint32_t c, Memory& memory) {
  if (u.gradient) {
    const std::uint64_t at =
        u.d.in_addr + std::uint64_t{r} * u.gradient_pitch() + std::uint64_t{4} * c;
    return std::max(static_cast<std::int32_t>(memory.get(at, 4)), -INT32_MAX);
  }
  const auto distribution = u.gaussian ? num::Distribution::gaussian_ : num::Distribution::sign_;
  std::int32_t g = 0;
  for (std::uint32_t j = 0; j < u.pairs; ++j)
    g += u.coefs[j] * num::draw_z(u.seeds[j], distribution, u.d.w_tensor, r, c);
  return g;
}

std::int32_t weight(const Update& u, std::uint64_t at, Memory& memory) {
  const int unused = 64 - 8 * u.bytes;
  return static_cast<std::int32_t>(static_cast<std::int64_t>(memory.get(at, u.bytes) << unused) >>
                                   unused);
}

void update_element(const Update& u, std::uint32_t r, std::uint32_t c, Memory& memory, Events& e) {
  if (!num::kept(u.mask_seed, u.d.w_tensor, r, c, u.d.w_keep)) return;
  const std::uint64_t at = u.weight_at(r, c);
  const std::uint32_t rounding =
      num::hash_element(u.seeds[0], num::Domain::round_, u.d.w_tensor, r, c);
  const num::Updated result =
      num::update(weight(u, at, memory), direction(u, r, c, memory), u.step(), rounding, u.limit());
  ++e.updated, e.zero += result.zero, e.clipped += result.clipped;
  memory.put(at, u.bytes, static_cast<std::uint32_t>(result.value));
}

// Words of random bits for one word of weights: directions, mask, rounding.
std::int64_t random_words_per_word(const Update& u) {
  const int columns = kBus / u.bytes;
  const std::int64_t draws = u.gaussian ? std::max(1, columns / 4) : 1;
  return (u.gradient ? 0 : draws * u.pairs) + (u.d.w_keep < 256 ? std::max(1, columns / 8) : 0) +
         std::max(1, columns / 4);
}

// The contract's update of all weights in `memory`.
Events update_all(const Update& u, Memory& memory) {
  Events e;
  const auto words = [](std::uint64_t bytes) {
    return static_cast<std::int64_t>((bytes + kBus - 1) / kBus);
  };
  for (std::uint32_t r = 0; r < u.d.out_c; ++r)
    for (std::uint32_t c = 0; c < u.d.in_c; ++c) update_element(u, r, c, memory, e);
  e.elements = std::int64_t{u.d.out_c} * u.d.in_c;
  e.words_written = u.d.out_c * words(u.row_bytes());
  e.words_read =
      e.words_written + (u.gradient ? u.d.out_c * words(std::uint64_t{4} * u.d.in_c) : 0);
  e.random_words = e.words_written * random_words_per_word(u);
  return e;
}

void set_registers(Vtop& t, const Update& u) {
  t.dist_i = u.gaussian, t.mask_seed_i = u.mask_seed,
  t.pairs_i = static_cast<std::uint8_t>(u.pairs);
  for (int j = 0; j < kMostPairs; ++j) {
    const auto k = static_cast<std::size_t>(j);
    bench::put(bench::words(t.pair_seed_i), j * 64, 64, u.seeds[k]);
    bench::put(bench::words(t.pair_coef_i), j * 8, 8, static_cast<std::uint64_t>(u.coefs[k]));
  }
  t.step_i = static_cast<std::uint16_t>(u.run_step);
  t.step_shift_i = static_cast<std::uint8_t>(u.run_shift);
}

void check_events(const Events& rtl, const Events& expected, std::uint64_t cycle) {
  bench::equal("updated", rtl.updated, expected.updated, cycle);
  bench::equal("zero", rtl.zero, expected.zero, cycle);
  bench::equal("clipped", rtl.clipped, expected.clipped, cycle);
  bench::equal("random words", rtl.random_words, expected.random_words, cycle);
  bench::equal("elements", rtl.elements, expected.elements, cycle);
  bench::equal("words written", rtl.words_written, expected.words_written, cycle);
  bench::equal("words read", rtl.words_read, expected.words_read, cycle);
}

void one_command(bench::Bench& b, Random& rnd, int round) {
  Vtop& t = *b.top;
  Memory memory;
  const Update u = random_update(round, memory, rnd);
  Memory updated = memory;
  const Events expected = update_all(u, updated);

  set_registers(t, u);
  bench::start_command(b, u.d);
  const bench::Stalls stalls = u.smooth ? bench::Stalls{} : bench::random_stalls(rnd);
  auto port = bench::read_port(t);
  port.rsp_last = &t.rd_rsp_last_i;
  Events rtl;
  const auto count = [&] {
    rtl.updated += t.cnt_updated_o, rtl.zero += t.cnt_zero_o, rtl.clipped += t.cnt_clipped_o;
    rtl.random_words += t.cnt_random_o, rtl.elements += t.cnt_elements_o;
  };
  const bench::Finished f = bench::serve(b, rnd, stalls, memory, memory, 100000, count, port);
  rtl.words_read = port.words;
  rtl.words_written = f.words_written;

  for (const auto& [at, value] : updated.bytes)
    bench::equal("round " + std::to_string(round) + " byte " + std::to_string(at - u.d.w_addr),
                 memory[at], value, b.cycle);
  check_events(rtl, expected, b.cycle);
  if (u.smooth)
    bench::equal("one word per cycle",
                 f.cycles < static_cast<std::uint64_t>(expected.words_read) + 30, 1, b.cycle);
}

}  // namespace

int main() {
  bench::Bench b;
  Random rnd;
  bench::reset_engine(b);
  for (int round = 0; round < 240; ++round) one_command(b, rnd, round);
  return bench::done("update");
}
