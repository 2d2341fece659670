// SPDX-License-Identifier: Apache-2.0
// npu_perturb against perturb.hpp: both distributions, polarities, masks, widths, random stalls,
// and the counters' events; words whose coordinates came early enough do not wait.
#include <algorithm>
#include <array>
#include <deque>
#include <set>
#include <string>
#include <vector>

#include "cmodel/numeric/perturb.hpp"
#include "tests/rtl/peri/bench.hpp"

#ifndef P_BIAS
#define P_BIAS 0
#endif

namespace num = lastmile::numeric;

namespace {

constexpr int kBus = P_BUS_BYTES;

struct Word {
  std::array<std::uint32_t, 16> data{};
  std::uint64_t lanes = 0;
  std::uint32_t row = 0, col = 0;
  bool count = false;
};
using Result = std::array<std::uint32_t, 16>;
constexpr std::uint64_t kLatency = 10;  // from a word's coordinates to its perturbation

// How the words of one round are perturbed.
struct Setting {
  bool active = true, gaussian = false, w8 = false, minus = false;
  int bits = 16, lanes = 1, shift = 0;
  std::uint32_t eps = 0, keep = 256, tensor = 0;
  std::uint64_t seed = 0, mask_seed = 0;

  [[nodiscard]] std::int32_t limit() const {
    return bits == 32 ? num::kBiasMax : bits == 8 ? num::kW8Max : num::kW16Max;
  }
};

Setting random_setting(bench::Random& rnd) {
  Setting s;
  s.active = rnd.chance(90), s.gaussian = rnd.chance(50);
  s.w8 = P_BIAS == 0 && rnd.chance(50), s.minus = rnd.chance(50);
  s.bits = P_BIAS != 0 ? 32 : s.w8 ? 8 : 16;
  s.lanes = kBus * 8 / s.bits;
  s.eps = static_cast<std::uint32_t>(
      rnd.below(std::uint64_t{1} << (P_BIAS != 0 ? rnd.between(1, 24) : rnd.between(1, 16))));
  s.shift = static_cast<int>(rnd.chance(10) ? rnd.below(32) : rnd.below(20));
  s.keep = rnd.chance(50) ? 256 : static_cast<std::uint32_t>(rnd.below(257));
  s.seed = rnd.bits(), s.mask_seed = rnd.bits();
  s.tensor = static_cast<std::uint32_t>(rnd.below(65536));
  return s;
}

// The words of a round, and what has to come of them.
struct Stream {
  std::vector<Word> words;
  std::deque<Result> expected;
  std::int64_t perturbed = 0, clipped = 0, random = 0;
};

// Any data, some of it at the limits.
Word random_word(bench::Random& rnd, const Setting& s, bool first, bool last) {
  Word w;
  w.count = rnd.chance(70);
  int lo = 0, hi = s.lanes - 1;
  if (first) lo = static_cast<int>(rnd.below(static_cast<std::uint64_t>(s.lanes)));
  if (last) hi = static_cast<int>(rnd.between(first ? lo : 0, s.lanes - 1));
  for (int l = lo; l <= hi; ++l) w.lanes |= std::uint64_t{1} << l;
  for (auto& v : w.data) v = static_cast<std::uint32_t>(rnd.bits());
  if (!rnd.chance(30)) return w;
  for (int l = 0; l < s.lanes; ++l) {
    const std::int64_t edge = rnd.chance(50)
                                  ? s.limit() - rnd.between(0, 3)
                                  : -static_cast<std::int64_t>(s.limit()) - 1 + rnd.between(0, 3);
    bench::put(w.data.data(), l * s.bits, s.bits, static_cast<std::uint64_t>(edge));
  }
  return w;
}

// A word by the contract, and the events that it counts.
Result perturbed(const Word& w, const Setting& s, Stream& out) {
  Result r = w.data;
  if (!s.active) return r;
  std::set<std::uint32_t> hash_words, mask_words;
  const auto distribution = s.gaussian ? num::Distribution::gaussian_ : num::Distribution::sign_;
  for (int l = 0; l < s.lanes; ++l) {
    const std::uint32_t col = w.col + static_cast<std::uint32_t>(l);
    const std::uint64_t raw = bench::get(w.data.data(), l * s.bits, s.bits);
    const auto value =
        static_cast<std::int32_t>(static_cast<std::int64_t>(raw << (64 - s.bits)) >> (64 - s.bits));
    hash_words.insert(s.gaussian ? col / 4 : col / 64);
    if (s.keep < 256) mask_words.insert(col / 8);
    if (!num::kept(s.mask_seed, s.tensor, w.row, col, s.keep)) continue;
    const std::int32_t z = num::draw_z(s.seed, distribution, s.tensor, w.row, col);
    const std::int64_t mag = num::perturb_magnitude(s.eps, s.shift, z);
    const num::Perturbed p = num::perturb(value, ((z < 0) != s.minus) ? -mag : mag, s.limit());
    if (w.count && ((w.lanes >> l) & 1) != 0) ++out.perturbed, out.clipped += p.clipped ? 1 : 0;
    bench::put(r.data(), l * s.bits, s.bits, static_cast<std::uint32_t>(p.value));
  }
  out.random += static_cast<std::int64_t>(hash_words.size() + mask_words.size());
  return r;
}

// Runs of words in eight rows.
Stream random_stream(bench::Random& rnd, const Setting& s) {
  Stream out;
  const auto lanes = static_cast<std::uint32_t>(s.lanes);
  for (int block = 0; block < 8; ++block) {
    const int n = static_cast<int>(rnd.between(1, 5));
    const auto row = static_cast<std::uint32_t>(rnd.below(65536));
    const auto first_col = static_cast<std::uint32_t>(rnd.below(65536 / lanes - 8)) * lanes;
    for (int i = 0; i < n; ++i) {
      Word w = random_word(rnd, s, i == 0, i == n - 1);
      w.row = row, w.col = first_col + static_cast<std::uint32_t>(i) * lanes;
      out.words.push_back(w);
      out.expected.push_back(perturbed(w, s, out));
    }
  }
  return out;
}

// Feeds a stream: its coordinates ahead of its words, stalls on all sides.
class Player {
 public:
  Player(bench::Bench& b, bench::Random& rnd) : b_(b), rnd_(rnd), t_(*b.top) {
    t_.clear_i = 0;
    t_.in_valid_i = 0;
    t_.ahead_valid_i = 0;
    t_.active_i = 0;
    t_.out_ready_i = 1;
    b.reset();
  }

  void play(const Setting& s, Stream& stream) {
    apply(s);
    stall_in_ = stall(), stall_out_ = stall(), stall_ahead_ = stall();
    next_ = left_ = 0, next_ahead_ = s.active ? 0 : stream.words.size();
    told_at_.clear();
    perturbed_ = clipped_ = random_ = 0;
    const std::uint64_t lead = rnd_.below(3 * kLatency), start = b_.cycle;
    while (!stream.expected.empty()) {
      offer(stream, b_.cycle >= start + lead);
      step(s, stream);
      if (b_.cycle > start + 10000) bench::fail("no progress", b_.cycle);
    }
    t_.in_valid_i = 0;
    t_.eval();
    bench::equal("nothing waits", t_.busy_o, 0, b_.cycle);
    bench::equal("perturbed", perturbed_, stream.perturbed, b_.cycle);
    bench::equal("clipped", clipped_, stream.clipped, b_.cycle);
    bench::equal("random words", random_, s.active ? stream.random : 0, b_.cycle);
  }

 private:
  int stall() { return static_cast<int>(rnd_.below(3)) * 30; }

  void apply(const Setting& s) {
    t_.active_i = s.active, t_.gaussian_i = s.gaussian, t_.w8_i = s.w8, t_.minus_i = s.minus;
    t_.eps_i = s.eps, t_.shift_i = static_cast<std::uint8_t>(s.shift);
    t_.keep_i = static_cast<std::uint16_t>(s.keep);
    t_.seed_i = s.seed, t_.mask_seed_i = s.mask_seed;
    t_.tensor_i = static_cast<std::uint16_t>(s.tensor);
  }

  void offer(const Stream& stream, bool words_may_come) {
    if (!t_.ahead_valid_i && next_ahead_ < stream.words.size() && !rnd_.chance(stall_ahead_)) {
      const Word& w = stream.words[next_ahead_++];
      t_.ahead_valid_i = 1;
      t_.ahead_row_i = static_cast<std::uint16_t>(w.row);
      t_.ahead_col_i = static_cast<std::uint16_t>(w.col);
    }
    if (!t_.in_valid_i && next_ < stream.words.size() && words_may_come &&
        !rnd_.chance(stall_in_)) {
      const Word& w = stream.words[next_++];
      t_.in_valid_i = 1;
      std::copy_n(w.data.begin(), kBus / 4, bench::words(t_.in_data_i));
      bench::put(bench::words(t_.in_lanes_i), 0, kBus, w.lanes);
      t_.in_count_i = w.count;
    }
    t_.out_ready_i = !rnd_.chance(stall_out_);
  }

  void step(const Setting& s, Stream& stream) {
    t_.eval();
    perturbed_ += t_.cnt_perturbed_o, clipped_ += t_.cnt_clipped_o, random_ += t_.cnt_random_o;
    const bool taken = t_.in_valid_i && t_.in_ready_o, told = t_.ahead_valid_i && t_.ahead_ready_o;
    bench::equal("a word leaves when it comes", t_.out_valid_o && t_.out_ready_i, taken, b_.cycle);
    if (t_.in_valid_i && t_.out_ready_i &&
        (!s.active || (left_ < told_at_.size() && b_.cycle >= told_at_[left_] + kLatency)))
      bench::equal("a word does not wait", taken, 1, b_.cycle);
    if (taken) {
      for (std::size_t i = 0; i < kBus / 4; ++i)
        bench::equal("word " + std::to_string(i), bench::words(t_.out_data_o)[i],
                     stream.expected.front()[i], b_.cycle);
      stream.expected.pop_front();
    }
    if (told) told_at_.push_back(b_.cycle);
    b_.edge();
    if (taken) t_.in_valid_i = 0, ++left_;
    if (told) t_.ahead_valid_i = 0;
  }

  bench::Bench& b_;
  bench::Random& rnd_;
  Vtop& t_;
  int stall_in_ = 0, stall_out_ = 0, stall_ahead_ = 0;
  std::size_t next_ = 0, next_ahead_ = 0, left_ = 0;  // words offered, announced, gone
  std::vector<std::uint64_t> told_at_;
  std::int64_t perturbed_ = 0, clipped_ = 0, random_ = 0;
};

}  // namespace

int main() {
  bench::Bench b;
  bench::Random rnd;
  Player player(b, rnd);
  for (int round = 0; round < 12000; ++round) {
    const Setting s = random_setting(rnd);
    Stream stream = random_stream(rnd, s);
    player.play(s, stream);
  }
  return bench::done("perturb");
}
