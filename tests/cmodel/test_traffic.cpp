// SPDX-License-Identifier: Apache-2.0
// The traffic counters against a walk through the loops that the contract describes: every tile,
// block, k-tile and burst is visited, and bus words are counted one by one.
#include <doctest/doctest.h>

#include <set>
#include <string>
#include <vector>

#include "cmodel/command/traffic.hpp"
#include "tests/cmodel/bench.hpp"
#include "tests/cmodel/random_command.hpp"

using lastmile::npu::Counters;
using lastmile::npu::TrafficMode;
using lastmile::spec::Counter;
using lastmile::spec::Descriptor;
using lastmile::spec::HardwareParams;
using lastmile::spec::Opcode;
namespace spec = lastmile::spec;

namespace {

using U = std::uint64_t;

class Walk {
 public:
  Walk(const Descriptor& d, const TrafficMode& mode, const HardwareParams& hw)
      : d_(d), mode_(mode), hw_(hw) {}

  Counters count() {
    switch (static_cast<Opcode>(d_.opcode)) {
      case Opcode::conv2d_:
      case Opcode::depthwise_:
      case Opcode::pool_:
        tiles();
        break;
      case Opcode::add_:
        read(Counter::act_read_bytes_, d_.in_addr, U{d_.n} * d_.in_c);
        read(Counter::act_read_bytes_, d_.in2_addr, U{d_.n} * d_.in_c);
        write(Counter::act_write_bytes_, d_.out_addr, U{d_.n} * d_.in_c);
        c_[Counter::element_ops_] += U{d_.n} * d_.in_c;
        break;
      case Opcode::softmax_:
        for (U row = 0; row < d_.n; ++row) {
          for (int pass = 0; pass < 3; ++pass)
            read(Counter::act_read_bytes_, d_.in_addr + row * d_.in_c, d_.in_c);
          write(Counter::act_write_bytes_, d_.out_addr + row * d_.in_c, d_.in_c);
          c_[Counter::element_ops_] += d_.in_c;
        }
        break;
      case Opcode::loss_:
        for (U row = 0; row < d_.n; ++row) {
          const U label = d_.in_c > 255 ? 2 : 1;
          read(Counter::act_read_bytes_, d_.in2_addr + row * label, label);
          const bool errors = d_.has(spec::kFlagErrors);
          for (int pass = 0; pass < (errors ? 3 : 2); ++pass)
            read(Counter::act_read_bytes_, d_.in_addr + 2 * row * d_.in_c, 2 * d_.in_c);
          if (errors) {
            write(Counter::act_write_bytes_, d_.out_addr + row * d_.in_c, d_.in_c);
            for (U c = 0; c < d_.in_c; c += 4) ++c_[Counter::random_words_];
          }
          if (d_.has(spec::kFlagLosses)) write(Counter::act_write_bytes_, d_.out_addr + 4 * row, 4);
          c_[Counter::element_ops_] += d_.in_c;
        }
        break;
      case Opcode::update_:
        update();
        break;
      case Opcode::end_:
        break;
    }
    return c_;
  }

 private:
  // Aligned bus words that a byte range touches, by their addresses.
  [[nodiscard]] std::vector<U> words(U address, U bytes) const {
    std::vector<U> out;
    const U bus = static_cast<U>(hw_.bus_bytes);
    for (U at = address; at < address + bytes; ++at) {
      if (out.empty() || out.back() != at / bus * bus) out.push_back(at / bus * bus);
    }
    return out;
  }
  void read(Counter counter, U address, U bytes) {
    const U n = words(address, bytes).size();
    c_[counter] += n * static_cast<U>(hw_.bus_bytes);
    c_[Counter::bus_read_beats_] += n;
  }
  void write(Counter counter, U address, U bytes) {
    c_[counter] += bytes;
    c_[Counter::bus_write_beats_] += words(address, bytes).size();
  }
  // Distinct hash words behind the columns that a bus word of elements holds.
  [[nodiscard]] U hashes(U word, U base, U bytes, lastmile::numeric::Domain domain) const {
    std::set<U> blocks;
    for (U at = word; at < word + static_cast<U>(hw_.bus_bytes); at += bytes) {
      blocks.insert((at - base) / bytes / lastmile::numeric::elements_per_word(domain));
    }
    return blocks.size();
  }
  [[nodiscard]] U draws(U word, U base, U bytes, U keep) const {
    using lastmile::numeric::Domain;
    const bool sign = mode_.distribution == lastmile::numeric::Distribution::sign_;
    return hashes(word, base, bytes, sign ? Domain::sign_ : Domain::gaussian_) +
           (keep < 256 ? hashes(word, base, bytes, Domain::mask_) : 0);
  }
  void weights(U row, U column, U count) {
    const U bytes = d_.has(spec::kFlagW8) ? 1 : 2;
    const U base = d_.w_addr + row * d_.w_pitch;
    read(Counter::weight_read_bytes_, base + column * bytes, count * bytes);
    c_[Counter::weight_loads_] += count;
    if (!mode_.weights_perturbed) return;
    for (const U word : words(base + column * bytes, count * bytes)) {
      c_[Counter::random_words_] += draws(word, base, bytes, d_.w_keep);
    }
  }

  void tiles() {
    for (U n = 0; n < d_.n; n += d_.tile_n) {
      for (U y = 0; y < d_.out_h; y += d_.tile_h) {
        for (U x = 0; x < d_.out_w; x += d_.tile_w) {
          tile(n, std::min<U>(d_.n, n + d_.tile_n), y, std::min<U>(d_.out_h, y + d_.tile_h), x,
               std::min<U>(d_.out_w, x + d_.tile_w));
        }
      }
    }
  }

  void load(U n0, U n1, U y0, U y1, U x0, U x1, U c0, U c1) {
    const auto first_row = static_cast<std::int64_t>(y0 * d_.stride_h) - d_.pad_top;
    const auto last_row =
        static_cast<std::int64_t>((y1 - 1) * d_.stride_h + (d_.kernel_h - 1) * d_.dilation_h) -
        d_.pad_top;
    const auto first_col = static_cast<std::int64_t>(x0 * d_.stride_w) - d_.pad_left;
    const auto last_col =
        static_cast<std::int64_t>((x1 - 1) * d_.stride_w + (d_.kernel_w - 1) * d_.dilation_w) -
        d_.pad_left;
    for (U n = n0; n < n1; ++n) {
      for (std::int64_t row = first_row; row <= last_row; ++row) {
        std::int64_t from = -1, to = -1;
        for (std::int64_t col = first_col; col <= last_col; ++col) {
          const bool inside = row >= 0 && row < d_.in_h && col >= 0 && col < d_.in_w;
          c_[Counter::sram_writes_] += inside ? c1 - c0 : d_.tile_c;
          if (!inside) continue;
          if (from < 0) from = col;
          to = col;
        }
        if (from < 0) continue;
        const U line = (n * d_.in_h + static_cast<U>(row)) * d_.in_w;
        const auto address = [&](std::int64_t col) {
          return d_.in_addr + (line + static_cast<U>(col)) * d_.in_c + c0;
        };
        if (c1 - c0 == d_.in_c) {
          read(Counter::act_read_bytes_, address(from), static_cast<U>(to - from + 1) * d_.in_c);
        } else {
          for (std::int64_t col = from; col <= to; ++col)
            read(Counter::act_read_bytes_, address(col), c1 - c0);
        }
      }
    }
  }

  void tile(U n0, U n1, U y0, U y1, U x0, U x1) {
    const auto op = static_cast<Opcode>(d_.opcode);
    const bool chunked = d_.tile_c < d_.in_c;
    const U positions = (n1 - n0) * (y1 - y0) * (x1 - x0);
    const bool conv = op == Opcode::conv2d_;
    for (U c = 0; (!chunked || !conv) && c < d_.in_c; c += d_.tile_c)
      load(n0, n1, y0, y1, x0, x1, c, std::min<U>(d_.in_c, c + d_.tile_c));
    const U channels = op == Opcode::pool_ ? d_.in_c : d_.out_c;
    const U groups = conv ? d_.groups : 1;
    const U lanes = static_cast<U>(conv ? hw_.cols : std::min(hw_.rows, hw_.cols));
    for (U g = 0; g < groups; ++g) {
      const U end = (g + 1) * (channels / groups);
      for (U first = g * (channels / groups), last = 0; first < end; first = last) {
        last = std::min(end, first + lanes);
        const U outputs = op == Opcode::depthwise_ ? d_.cout_group : 1;  // of an input channel
        if (!conv) last = std::min(last, (first / outputs / d_.tile_c + 1) * d_.tile_c * outputs);
        block(op, first, last, positions);
        for (U c = 0; chunked && conv && c < d_.in_c; c += d_.tile_c)
          load(n0, n1, y0, y1, x0, x1, c, std::min<U>(d_.in_c, c + d_.tile_c));
        for (U n = n0; n < n1; ++n) {
          for (U y = y0; y < y1; ++y) {
            for (U x = x0; x < x1; ++x) {
              const U element = d_.has(spec::kFlagOut32) ? 4 : d_.has(spec::kFlagOut16) ? 2 : 1;
              const U image = d_.out_h * d_.out_w * channels * element;
              const U at = (y * d_.out_w + x) * channels + first + n * image / element;
              const U apart = d_.out_pitch == 0 ? 0 : n * (d_.out_pitch - image);
              if (d_.has(spec::kFlagResAdd)) {
                read(Counter::act_read_bytes_, d_.in2_addr + at, last - first);
                c_[Counter::element_ops_] += last - first;
              }
              write(Counter::act_write_bytes_, d_.out_addr + apart + at * element,
                    (last - first) * element);
            }
          }
        }
      }
    }
  }

  void block(Opcode op, U first, U last, U positions) {
    const U taps = U{d_.kernel_h} * d_.kernel_w;
    if (op == Opcode::pool_) {
      c_[Counter::sram_reads_] += positions * taps;
      c_[Counter::element_ops_] += positions * taps * (last - first);
      return;
    }
    const U k = op == Opcode::conv2d_ ? taps * d_.cin_group : taps;
    c_[Counter::macs_] += positions * k * (last - first);
    if (d_.has(spec::kFlagHasBias)) {
      const U at = d_.bias_addr + 4 * first;
      read(Counter::param_read_bytes_, at, 4 * (last - first));
      for (const U word : words(at, 4 * (last - first))) {
        if (mode_.bias_perturbed)
          c_[Counter::random_words_] += draws(word, d_.bias_addr, 4, d_.b_keep);
      }
    }
    if (!d_.has(spec::kFlagOut32))
      read(Counter::param_read_bytes_, d_.rq_addr + 8 * first, 8 * (last - first));
    U tile_count = 0;
    const auto k_tile = [&](U column, U count) {
      if (d_.has(spec::kFlagWTransposed)) {
        for (U row = column; row < column + count; ++row) weights(row, first, last - first);
      } else {
        for (U o = first; o < last; ++o) weights(o, column, count);
      }
      c_[Counter::sram_reads_] += positions;
      c_[Counter::acc_writes_] += positions;
      if (tile_count++ != 0) c_[Counter::acc_reads_] += positions;
    };
    const U rows = static_cast<U>(hw_.rows);
    if (op == Opcode::depthwise_) {
      for (U t = 0; t < taps; ++t) {
        weights(t, first, last - first);
        c_[Counter::sram_reads_] += positions;
        c_[Counter::acc_writes_] += positions;
        if (t != 0) c_[Counter::acc_reads_] += positions;
      }
    } else if (d_.tile_c < d_.in_c) {
      for (U c = 0; c < d_.in_c; c += d_.tile_c) {
        const U end = std::min<U>(d_.in_c, c + d_.tile_c);
        for (U at = c; at < end; at += rows) k_tile(at, std::min(rows, end - at));
      }
    } else if (d_.has(spec::kFlagPacked)) {
      for (U at = 0; at < k; at += rows) k_tile(at, std::min(rows, k - at));
    } else {
      for (U t = 0; t < taps; ++t) {
        for (U c = 0; c < d_.cin_group; c += rows)
          k_tile(t * d_.cin_group + c, std::min<U>(rows, d_.cin_group - c));
      }
    }
    c_[Counter::acc_reads_] += positions;  // drain
  }

  void update() {
    const U bytes = d_.has(spec::kFlagW8) ? 1 : d_.has(spec::kFlagW32) ? 4 : 2;
    for (U row = 0; row < d_.out_c; ++row) {
      const U base = d_.w_addr + row * d_.w_pitch;
      read(Counter::update_read_bytes_, base, d_.in_c * bytes);
      write(Counter::update_write_bytes_, base, d_.in_c * bytes);
      c_[Counter::element_ops_] += d_.in_c;
      const bool given = d_.has(spec::kFlagGradient);
      const U pitch = (U{d_.in_c} * 4 + 63) / 64 * 64;
      if (given) read(Counter::update_read_bytes_, d_.in_addr + row * pitch, U{d_.in_c} * 4);
      for (const U word : words(base, d_.in_c * bytes)) {
        using lastmile::numeric::Domain;
        const bool sign = mode_.distribution == lastmile::numeric::Distribution::sign_;
        c_[Counter::random_words_] +=
            (given ? 0 : mode_.pairs) *
                hashes(word, base, bytes, sign ? Domain::sign_ : Domain::gaussian_) +
            hashes(word, base, bytes, Domain::round_) +
            (d_.w_keep < 256 ? hashes(word, base, bytes, Domain::mask_) : 0);
      }
    }
  }

  const Descriptor& d_;
  const TrafficMode& mode_;
  const HardwareParams& hw_;
  Counters c_;
};

}  // namespace

TEST_CASE("cmodel: traffic in closed form equals a walk through the loops") {
  const std::uint64_t seed = random_command::seed_from_environment(77);
  lastmile::Rng rng(seed);
  for (int i = 0; i < 400; ++i) {
    HardwareParams hw;
    hw.rows = 4 << rng.below(4);
    hw.cols = 4 << rng.below(4);
    hw.bus_bytes = 8 << rng.below(4);
    hw.act_bytes = 4096 << rng.below(7);
    hw.acc_depth = 64 << rng.below(6);
    hw.rq_lanes = 1;
    random_command::Generator generator(rng.next(), hw);
    const auto op = static_cast<Opcode>(1 + rng.below(7));
    random_command::Case c = generator.command(op);
    if (op == Opcode::conv2d_ && rng.below(6) == 0) {  // a fully connected layer in chunks
      Descriptor& d = c.d;
      d.in_h = d.in_w = d.out_h = d.out_w = d.kernel_h = d.kernel_w = d.groups = 1;
      d.pad_top = d.pad_left = 0;
      d.out_pitch = 0;
      d.in_c = d.cin_group = 5000;
      d.out_c = d.cout_group = 9;
      d.w_pitch = 10048;
      hw.act_bytes = 4096;
      lastmile::choose_tiles(d, hw);
      REQUIRE(d.tile_c < d.in_c);
    }
    const TrafficMode mode{rng.below(2) == 0 && !c.d.has(spec::kFlagWTransposed),
                           rng.below(2) == 0 && c.d.has(spec::kFlagHasBias),
                           static_cast<lastmile::numeric::Distribution>(rng.below(2)),
                           static_cast<std::uint32_t>(1 + rng.below(8))};
    const Counters expected = Walk(c.d, mode, hw).count();
    const Counters found = lastmile::npu::command_traffic(c.d, mode, hw);
    for (std::size_t k = 0; k < spec::kCounters; ++k) {
      INFO("seed " << seed << " case " << i << " opcode " << c.d.opcode << " rows " << hw.rows
                   << " cols " << hw.cols << " bus " << hw.bus_bytes << ": "
                   << std::string(spec::kCounterName[k]));
      CHECK(found.value[k] == expected.value[k]);
    }
    // the same from the cache, at another base with the same place in a bus word
    lastmile::npu::TrafficCache cache(hw);
    CHECK(cache.of(c.d, mode) == expected);
    Descriptor moved = c.d;
    moved.in_addr += 6400, moved.out_addr += 640;
    CHECK(cache.of(moved, mode) == expected);
  }
}
