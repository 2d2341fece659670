// SPDX-License-Identifier: Apache-2.0
// npu_update against perturb.hpp: all widths, both distributions, 1..8 pairs, masks, steps of every
// size, partial rows, random stalls; memory contents, events, and the rate of the common case.
#include <algorithm>
#include <deque>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "cmodel/numeric/perturb.hpp"
#include "tests/rtl/peri/bench.hpp"

namespace num = lastmile::numeric;
namespace spec = lastmile::spec;

namespace {

constexpr int kBus = P_BUS_BYTES;
using Bytes = std::map<std::uint64_t, std::uint8_t>;

// One UPDATE with its memory, and what has to come of it.
struct Round {
  bool smooth = false;  // the common case, without stalls: its rate is checked
  spec::Descriptor d;
  int bytes = 2;
  bool gaussian = false;
  std::uint32_t pairs = 1, run_mantissa = 0;
  int run_shift = 0;
  std::vector<std::uint64_t> seeds = std::vector<std::uint64_t>(8);
  std::vector<int> coefficients = std::vector<int>(8);
  std::uint64_t mask_seed = 0;
  Bytes memory, expected;
  std::int64_t updated = 0, zero = 0, clipped = 0, words = 0, random = 0;

  [[nodiscard]] std::int32_t limit() const {
    return bytes == 4 ? num::kBiasMax : bytes == 2 ? num::kW16Max : num::kW8Max;
  }
  [[nodiscard]] num::Step step() const {
    return num::combine_step(d.step, static_cast<int>(d.step_shift), run_mantissa, run_shift);
  }
};

Round random_command(bench::Random& rnd, bool smooth) {
  Round r;
  r.smooth = smooth;
  spec::Descriptor& d = r.d;
  d.opcode = static_cast<std::uint32_t>(spec::Opcode::update_);
  r.bytes = smooth ? (rnd.chance(50) ? 2 : 4) : 1 << rnd.below(3);
  const auto bytes = static_cast<std::uint32_t>(r.bytes);
  d.flags = bytes == 1 ? spec::kFlagW8 : bytes == 4 ? spec::kFlagW32 : 0;
  d.out_c = static_cast<std::uint32_t>(smooth ? 8 : rnd.between(1, 6));
  d.in_c = static_cast<std::uint32_t>(smooth           ? 640
                                      : rnd.chance(20) ? rnd.between(1, 600)
                                                       : rnd.between(1, 80));
  d.w_pitch = (d.in_c * bytes + 63) / 64 * 64 + 64 * static_cast<std::uint32_t>(rnd.below(2));
  d.w_addr = 64 * static_cast<std::uint32_t>(rnd.below(100));
  d.w_tensor = static_cast<std::uint32_t>(rnd.below(65536));
  d.w_keep = smooth || rnd.chance(50) ? 256 : static_cast<std::uint32_t>(rnd.below(257));
  d.step = static_cast<std::uint32_t>(rnd.below(65536));
  d.step_shift = static_cast<std::uint32_t>(rnd.below(32));
  r.gaussian = rnd.chance(50);
  r.pairs = static_cast<std::uint32_t>(smooth ? 1 : rnd.chance(40) ? 1 : rnd.between(1, 8));
  r.run_mantissa = static_cast<std::uint32_t>(rnd.chance(10) ? 65535 : rnd.below(65536));
  r.run_shift = static_cast<int>(rnd.below(17));
  for (std::size_t j = 0; j < 8; ++j) {
    r.seeds[j] = rnd.bits();
    r.coefficients[j] =
        static_cast<int>(rnd.chance(50) ? (rnd.chance(50) ? 1 : -1) : rnd.between(-128, 127));
  }
  r.mask_seed = rnd.bits();
  for (std::uint64_t a = d.w_addr; a < d.w_addr + std::uint64_t{d.out_c} * d.w_pitch; ++a)
    r.memory[a] = static_cast<std::uint8_t>(rnd.bits());
  return r;
}

void store(Bytes& memory, std::uint64_t at, int bytes, std::int64_t value) {
  for (int k = 0; k < bytes; ++k)
    memory[at + static_cast<std::uint64_t>(k)] =
        static_cast<std::uint8_t>(static_cast<std::uint64_t>(value) >> (8 * k));
}
std::int32_t load(Bytes& memory, std::uint64_t at, int bytes) {
  std::uint64_t raw = 0;
  for (int k = 0; k < bytes; ++k)
    raw |= static_cast<std::uint64_t>(memory[at + static_cast<std::uint64_t>(k)]) << (8 * k);
  return static_cast<std::int32_t>(static_cast<std::int64_t>(raw << (64 - 8 * bytes)) >>
                                   (64 - 8 * bytes));
}

// One element by the contract.
void expect_element(Round& r, std::uint32_t row, std::uint32_t column, std::uint64_t at) {
  const spec::Descriptor& d = r.d;
  if (!num::kept(r.mask_seed, d.w_tensor, row, column, d.w_keep)) return;
  const auto distribution = r.gaussian ? num::Distribution::gaussian_ : num::Distribution::sign_;
  std::int32_t g = 0;
  for (std::size_t j = 0; j < r.pairs; ++j)
    g += r.coefficients[j] * num::draw_z(r.seeds[j], distribution, d.w_tensor, row, column);
  const std::uint32_t dither =
      num::hash_element(r.seeds[0], num::Domain::round_, d.w_tensor, row, column);
  const num::Updated u = num::update(load(r.memory, at, r.bytes), g, r.step(), dither, r.limit());
  ++r.updated;
  r.zero += u.zero ? 1 : 0;
  r.clipped += u.clipped ? 1 : 0;
  store(r.expected, at, r.bytes, u.value);
}

// Some weights at their limits; what the contract makes of all of them, and the events.
void expect(Round& r, bench::Random& rnd) {
  const spec::Descriptor& d = r.d;
  const auto bytes = static_cast<std::uint32_t>(r.bytes);
  r.expected = r.memory;
  for (std::uint32_t row = 0; row < d.out_c; ++row) {
    r.words += (d.in_c * bytes + kBus - 1) / kBus;
    for (std::uint32_t c = 0; c < d.in_c; ++c) {
      const std::uint64_t at = d.w_addr + std::uint64_t{row} * d.w_pitch + std::uint64_t{c} * bytes;
      if (rnd.chance(20)) {
        const std::int64_t v = rnd.chance(50)
                                   ? r.limit() - rnd.between(0, 3)
                                   : -static_cast<std::int64_t>(r.limit()) - 1 + rnd.between(0, 3);
        store(r.memory, at, r.bytes, v), store(r.expected, at, r.bytes, v);
      }
      expect_element(r, row, c, at);
    }
  }
  const int columns = kBus / r.bytes;
  const std::int64_t z_words = r.gaussian ? std::max(1, columns / 4) : 1;
  const std::int64_t mask_words = d.w_keep < 256 ? std::max(1, columns / 8) : 0;
  r.random = r.words * (z_words * r.pairs + mask_words + std::max(1, columns / 4));
}

// What the engine did in one round; its writes are in the round's memory.
struct Seen {
  std::int64_t updated = 0, zero = 0, clipped = 0, random = 0, elements = 0, words = 0;
  std::uint64_t cycles = 0;
};

class Player {
 public:
  Player(bench::Bench& b, bench::Random& rnd) : b_(b), rnd_(rnd), t_(*b.top) {
    t_.clear_i = 0, t_.start_i = 0, t_.rd_req_ready_i = 0, t_.rd_rsp_valid_i = 0;
    t_.wr_ready_i = 0;
    b.reset();
  }

  Seen play(Round& r) {
    start(r);
    const auto stall = [&] { return r.smooth ? 0 : 30 * static_cast<int>(rnd_.below(3)); };
    stall_request_ = stall(), stall_read_ = stall(), stall_write_ = stall();
    Seen seen;
    incoming_.clear();
    const std::uint64_t begin = b_.cycle;
    while (!t_.done_o) {
      cycle(r, seen);
      if (b_.cycle > begin + 100000) bench::fail("no progress", b_.cycle);
    }
    seen.cycles = b_.cycle - begin;
    return seen;
  }

 private:
  void start(const Round& r) {
    const spec::DescriptorWords dw = spec::encode(r.d);
    std::copy_n(dw.begin(), 48, bench::words(t_.desc_i));
    t_.dist_i = r.gaussian, t_.mask_seed_i = r.mask_seed;
    t_.pairs_i = static_cast<std::uint8_t>(r.pairs);
    for (int j = 0; j < 8; ++j) {
      const auto pair = static_cast<std::size_t>(j);
      bench::put(bench::words(t_.pair_seed_i), j * 64, 64, r.seeds[pair]);
      bench::put(bench::words(t_.pair_coef_i), j * 8, 8,
                 static_cast<std::uint64_t>(r.coefficients[pair]));
    }
    t_.step_i = static_cast<std::uint16_t>(r.run_mantissa);
    t_.step_shift_i = static_cast<std::uint8_t>(r.run_shift);
    t_.start_i = 1;
    b_.edge();
    t_.start_i = 0;
  }

  void cycle(Round& r, Seen& seen) {
    t_.rd_req_ready_i = !rnd_.chance(stall_request_);
    if (!t_.rd_rsp_valid_i && !incoming_.empty() && !rnd_.chance(stall_read_)) {
      t_.rd_rsp_valid_i = 1, t_.rd_rsp_last_i = incoming_.front().second;
      for (int k = 0; k < kBus; ++k)
        bench::put(bench::words(t_.rd_rsp_data_i), k * 8, 8,
                   r.memory[incoming_.front().first + static_cast<std::uint64_t>(k)]);
    }
    t_.wr_ready_i = !rnd_.chance(stall_write_);
    t_.eval();
    seen.updated += t_.cnt_updated_o, seen.zero += t_.cnt_zero_o;
    seen.clipped += t_.cnt_clipped_o, seen.random += t_.cnt_random_o;
    seen.elements += t_.cnt_elements_o;
    if (t_.rd_req_valid_o && t_.rd_req_ready_i) {
      const std::uint64_t first = t_.rd_req_addr_o / kBus,
                          last = (std::uint64_t{t_.rd_req_addr_o} + t_.rd_req_bytes_o - 1) / kBus;
      for (std::uint64_t w = first; w <= last; ++w) incoming_.push_back({w * kBus, w == last});
    }
    if (t_.wr_valid_o && t_.wr_ready_i) {
      ++seen.words;
      for (int k = 0; k < kBus; ++k) {
        if (bench::get(bench::words(t_.wr_strb_o), k, 1) != 0)
          r.memory[t_.wr_addr_o + static_cast<std::uint64_t>(k)] =
              static_cast<std::uint8_t>(bench::get(bench::words(t_.wr_data_o), k * 8, 8));
      }
    }
    const bool taken = t_.rd_rsp_valid_i && t_.rd_rsp_ready_o;
    b_.edge();
    if (taken) incoming_.pop_front(), t_.rd_rsp_valid_i = 0;
  }

  bench::Bench& b_;
  bench::Random& rnd_;
  Vtop& t_;
  int stall_request_ = 0, stall_read_ = 0, stall_write_ = 0;
  std::deque<std::pair<std::uint64_t, bool>> incoming_;  // bus words to answer; the last of them
};

void compare(Round& r, const Seen& seen, const std::string& name, const bench::Bench& b) {
  const auto equal = [&](const std::string& what, std::int64_t rtl, std::int64_t model) {
    bench::equal(what, rtl, model, b.cycle);
  };
  for (const auto& [at, value] : r.expected)
    equal(name + " byte " + std::to_string(at - r.d.w_addr), r.memory[at], value);
  equal("updated", seen.updated, r.updated);
  equal("zero", seen.zero, r.zero);
  equal("clipped", seen.clipped, r.clipped);
  equal("random words", seen.random, r.random);
  equal("elements", seen.elements, std::int64_t{r.d.out_c} * r.d.in_c);
  equal("words written", seen.words, r.words);
  if (r.smooth)
    equal("one word per cycle", seen.cycles < static_cast<std::uint64_t>(r.words) + 30 ? 1 : 0, 1);
}

}  // namespace

int main() {
  bench::Bench b;
  bench::Random rnd;
  Player player(b, rnd);
  for (int round = 0; round < 160; ++round) {
    Round r = random_command(rnd, round % 8 == 0);
    expect(r, rnd);
    const Seen seen = player.play(r);
    compare(r, seen, "round " + std::to_string(round), b);
  }
  return bench::done("update");
}
