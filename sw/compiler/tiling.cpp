// SPDX-License-Identifier: Apache-2.0
#include "sw/compiler/tiling.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <limits>
#include <optional>
#include <vector>

#include "sw/base/error.hpp"

namespace lastmile {
namespace {

using spec::Opcode;
using U = std::uint64_t;

U ceil_div(U a, U b) { return (a + b - 1) / b; }

// Even splits of a dimension into 1, 2, 3, ... parts: the distinct part sizes, largest first.
std::vector<U> parts(U dim) {
  std::vector<U> sizes;
  for (U size = dim;; size = ceil_div(dim, ceil_div(dim, size - 1))) {
    sizes.push_back(size);
    if (size == 1) return sizes;
  }
}

// Rows or columns of input that `tile` output rows or columns see.
U region(U tile, U stride, U kernel, U dilation) {
  return (tile - 1) * stride + (kernel - 1) * dilation + 1;
}

// Smallest pitch >= `bytes` that keeps a packed k-tile's bytes in different banks; none if
// dilation_h forbids it.
std::optional<U> packed_pitch(const spec::Descriptor& d, const spec::HardwareParams& hw, U bytes) {
  const U rows = static_cast<U>(hw.rows);
  for (U pitch = bytes; pitch < bytes + rows; ++pitch) {
    if (pitch * d.dilation_h % rows == U{d.kernel_w} * d.in_c % rows) return pitch;
  }
  return std::nullopt;
}

// Cycles that engines need beside their work: the loader to compute a tile's geometry and wait for
// its first word, and to begin an image row; the drain and the pool unit to end a block; the drain
// until a block's first residual words are there; a depthwise k-tile to begin once the one before
// is taken, then its one row is spread over the columns, one per cycle.
constexpr U kLoadTile = 60, kLoadRow = 1, kPoolBlock = 16, kDrainBlock = 16, kResidualBlock = 64;
constexpr U kDepthwiseKTile = 5;

struct Choice {
  U cost = std::numeric_limits<U>::max();
  U n = 0, h = 0, w = 0, c = 0, pitch = 0;
};

class Chooser {
 public:
  Chooser(const spec::Descriptor& d, const spec::HardwareParams& hw)
      : d_(d),
        hw_(hw),
        op_(static_cast<Opcode>(d.opcode)),
        act_(static_cast<U>(hw.act_bytes)),
        depth_(static_cast<U>(hw.acc_depth)) {}

  Choice best(bool packed) {
    Choice best;
    const auto heights = parts(d_.out_h);
    const auto widths = parts(d_.out_w);
    for (const U c : chunks()) {
      for (const U w : widths) {
        const U row_bytes = region(w, d_.stride_w, d_.kernel_w, d_.dilation_w) * c;
        const std::optional<U> pitch = packed ? packed_pitch(d_, hw_, row_bytes) : row_bytes;
        if (!pitch || *pitch > 0xffffff) continue;
        for (const U h : heights) {
          const U image = region(h, d_.stride_h, d_.kernel_h, d_.dilation_h) * *pitch;
          U fit = std::min<U>(act_ / image, d_.n);
          if (op_ != Opcode::pool_) fit = std::min(fit, depth_ / (h * w));
          for (const U n : parts(d_.n)) {
            if (n > fit) continue;
            const Choice here{cost(n, h, w, c, packed), n, h, w, c, *pitch};
            if (here.cost < best.cost) best = here;
          }
        }
      }
    }
    return best;
  }

  // k-tiles of one output position.
  [[nodiscard]] U k_tiles(U c, bool packed) const {
    const U rows = static_cast<U>(hw_.rows);
    const U taps = U{d_.kernel_h} * d_.kernel_w;
    if (op_ != Opcode::conv2d_) return taps;
    if (packed) return ceil_div(taps * d_.in_c, rows);
    if (c < d_.in_c) return d_.in_c / c * ceil_div(c, rows) + ceil_div(d_.in_c % c, rows);
    return taps * ceil_div(d_.cin_group, rows);
  }

 private:
  // Channel chunks are only for inputs of one output position that do not fit, of CONV2D only for
  // those of fully connected layers.
  [[nodiscard]] std::vector<U> chunks() const {
    const bool point = d_.kernel_h == 1 && d_.kernel_w == 1 && d_.in_h == 1 && d_.in_w == 1 &&
                       d_.out_h == 1 && d_.out_w == 1 && d_.groups == 1;
    if (op_ == Opcode::conv2d_ && !point) return {d_.in_c};
    const U columns = region(1, d_.stride_w, d_.kernel_w, d_.dilation_w);
    const U pixels = columns * region(1, d_.stride_h, d_.kernel_h, d_.dilation_h);
    if (pixels * d_.in_c <= act_) return {d_.in_c};
    // Whole blocks of lanes; fewer channels only where not even one block fits.
    const U lanes = static_cast<U>(point ? hw_.rows : std::min(hw_.rows, hw_.cols));
    const U most = act_ / pixels;
    if (most < lanes) return most == 0 ? std::vector<U>{} : std::vector<U>{most};
    std::vector<U> sizes;
    for (U c = most; c >= lanes; c /= 2) sizes.push_back(c / lanes * lanes);
    return sizes;
  }

  // Estimated cycles, in sixteenths, plus a sixteenth per bus word read, so that a tile that saves
  // a few cycles does not fetch the weights many times more often. The first tile's load is seen in
  // full; afterwards loading, weights, array and drain overlap and the slowest of them counts.
  [[nodiscard]] U cost(U n, U h, U w, U c, bool packed) const {
    const U bus = static_cast<U>(hw_.bus_bytes), bank_rows = static_cast<U>(hw_.rows);
    const bool conv = op_ == Opcode::conv2d_;
    const U tiles = ceil_div(d_.n, n) * ceil_div(d_.out_h, h) * ceil_div(d_.out_w, w);
    const U positions = n * h * w;
    const U rows = region(h, d_.stride_h, d_.kernel_h, d_.dilation_h);
    const U cols = region(w, d_.stride_w, d_.kernel_w, d_.dilation_w);
    const U out_c = op_ == Opcode::pool_ ? d_.in_c : d_.out_c;
    const U lanes = static_cast<U>(conv ? hw_.cols : std::min(hw_.rows, hw_.cols));
    const U blocks = conv ? U{d_.groups} * ceil_div(d_.cout_group, lanes) : ceil_div(out_c, lanes);
    const U chunk_count = ceil_div(d_.in_c, c);
    const U reloads = conv && c < d_.in_c ? blocks : 1;
    const U row_reads =
        c < d_.in_c ? cols * chunk_count * ceil_div(c, bus) : ceil_div(cols * d_.in_c, bus);
    const U input = reloads * n * rows * row_reads;
    const U row_words = ceil_div(cols * c, std::min(bus, bank_rows));
    const U load = n * rows * (row_words + kLoadRow) + kLoadTile;
    const U taps = k_tiles(c, packed);
    U weights = 0;  // bus words of one k-tile of a block
    if (op_ != Opcode::pool_) {
      const U element = d_.has(spec::kFlagW8) ? 1 : 2;
      const U per_row = std::max<U>(1, (conv ? bank_rows : lanes) * element / bus);
      weights = per_row * (conv ? std::min<U>(lanes, d_.cout_group) : 1);
    }
    const U shadow = op_ == Opcode::depthwise_ ? std::min(lanes, out_c) + kDepthwiseKTile : weights;
    const U array = taps * std::max(positions, shadow);
    const U groups = ceil_div(std::min(lanes, out_c), static_cast<U>(hw_.rq_lanes));
    const U drain = op_ == Opcode::pool_ ? kPoolBlock
                                         : positions * groups + kDrainBlock +
                                               (d_.has(spec::kFlagResAdd) ? kResidualBlock : 0);
    const U work = blocks * (op_ == Opcode::pool_ ? array + drain : std::max(array, drain));
    const U reads = input + blocks * taps * weights;
    const U chunks = reloads * chunk_count;
    return 16 * (load + tiles * std::max({work, chunks * load, reads}) + drain) + tiles * reads;
  }

  const spec::Descriptor& d_;
  const spec::HardwareParams& hw_;
  Opcode op_;
  U act_;
  U depth_;
};

}  // namespace

void choose_tiles(spec::Descriptor& d, const spec::HardwareParams& hw) {
  const Opcode op = d.op();
  if (!spec::traits(op).tiles) return;
  Chooser chooser(d, hw);
  Choice best = chooser.best(false);
  bool packed = false;
  if (op == Opcode::conv2d_ && d.groups == 1 && d.dilation_w == 1 &&
      chooser.k_tiles(d.in_c, true) < chooser.k_tiles(d.in_c, false)) {
    const Choice other = chooser.best(true);
    if (other.cost < best.cost) {
      best = other;
      packed = true;
    }
  }
  if (best.n == 0) {
    const U bytes = region(1, d.stride_w, d.kernel_w, d.dilation_w) * d.in_c *
                    region(1, d.stride_h, d.kernel_h, d.dilation_h);
    throw Error(ErrorKind::input, fmt::format("command {}: the input of one output position takes "
                                              "{} bytes of scratchpad, ACT_BYTES is {}",
                                              spec::to_string(op), bytes, hw.act_bytes));
  }
  d.tile_n = static_cast<std::uint32_t>(best.n);
  d.tile_h = static_cast<std::uint32_t>(best.h);
  d.tile_w = static_cast<std::uint32_t>(best.w);
  d.tile_c = static_cast<std::uint32_t>(best.c);
  d.row_pitch = static_cast<std::uint32_t>(best.pitch);
  d.flags = packed ? d.flags | spec::kFlagPacked : d.flags & ~std::uint32_t{spec::kFlagPacked};
}

}  // namespace lastmile
