// SPDX-License-Identifier: Apache-2.0
#include "cmodel/command/traffic.hpp"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "cmodel/command/validate.hpp"

namespace lastmile::npu {
namespace {

using spec::Counter;
using spec::Descriptor;
using spec::Opcode;
using U = std::uint64_t;

// A run of output channels computed at once, or a k-tile of weight columns.
struct Run {
  U first = 0;
  U count = 0;
};

class Traffic {
 public:
  Traffic(const Descriptor& d, const TrafficMode& mode, const spec::HardwareParams& hw)
      : d_(d),
        mode_(mode),
        op_(static_cast<Opcode>(d.opcode)),
        bus_(static_cast<U>(hw.bus_bytes)),
        array_rows_(static_cast<U>(hw.rows)),
        array_cols_(static_cast<U>(hw.cols)) {}

  Counters count() {
    switch (op_) {
      case Opcode::conv2d_:
      case Opcode::depthwise_:
      case Opcode::pool_:
        tiled();
        break;
      case Opcode::add_:
        add();
        break;
      case Opcode::softmax_:
        softmax();
        break;
      case Opcode::loss_:
        loss();
        break;
      case Opcode::update_:
        update();
        break;
      case Opcode::end_:
        break;
    }
    c_[Counter::bus_read_beats_] =
        (c_[Counter::act_read_bytes_] + c_[Counter::weight_read_bytes_] +
         c_[Counter::param_read_bytes_] + c_[Counter::update_read_bytes_]) /
        bus_;
    return c_;
  }

 private:
  // Bus words that bytes [address, address + bytes) touch.
  [[nodiscard]] U words(U address, U bytes) const {
    return bytes == 0 ? 0 : (address + bytes - 1) / bus_ - address / bus_ + 1;
  }

  // Hash words for one bus word of elements of `bytes` bytes, rounding of updates not included.
  [[nodiscard]] U draws(U bytes, U keep) const {
    const U columns = bus_ / bytes;
    const U z =
        mode_.distribution == numeric::Distribution::sign_ ? 1 : std::max<U>(1, columns / 4);
    return z + (keep < spec::kKeepAll ? std::max<U>(1, columns / 8) : 0);
  }

  [[nodiscard]] std::vector<Run> channel_blocks() const {
    std::vector<Run> blocks;
    const bool conv = op_ == Opcode::conv2d_;
    const U lanes = conv ? array_cols_ : std::min(array_rows_, array_cols_);
    const U groups = conv ? d_.groups : 1;
    const U per_group = conv ? d_.cout_group : op_ == Opcode::depthwise_ ? d_.out_c : d_.in_c;
    // no block crosses a chunk, but of CONV2D, which needs all chunks for an output
    const U part = conv ? per_group : output_chunk(d_);
    for (U g = 0; g < groups; ++g) {
      for (U c = 0; c < per_group; c += part)
        cut(blocks, g * per_group + c, std::min(part, per_group - c), lanes);
    }
    return blocks;
  }

  static void cut(std::vector<Run>& runs, U first, U count, U length) {
    for (U at = 0; at < count; at += length)
      runs.push_back({first + at, std::min(length, count - at)});
  }
  // k-tiles of CONV2D as columns of the weight matrix.
  [[nodiscard]] std::vector<Run> k_tiles() const {
    std::vector<Run> runs;
    const U taps = U{d_.kernel_h} * d_.kernel_w;
    if (d_.tile_c < d_.in_c) {
      for (U c = 0; c < d_.in_c; c += d_.tile_c)
        cut(runs, c, std::min<U>(d_.tile_c, d_.in_c - c), array_rows_);
    } else if (d_.has(spec::kFlagPacked)) {
      cut(runs, 0, taps * d_.in_c, array_rows_);
    } else {
      for (U t = 0; t < taps; ++t) cut(runs, t * d_.cin_group, d_.cin_group, array_rows_);
    }
    return runs;
  }

  // One tile's input: what of it lies inside the image, and how large it is with its padding.
  struct Region {
    std::int64_t x0, x1, y0, y1;
    U width, height;
    [[nodiscard]] U columns_inside() const { return x1 > x0 ? static_cast<U>(x1 - x0) : 0; }
    [[nodiscard]] U rows_inside() const { return y1 > y0 ? static_cast<U>(y1 - y0) : 0; }
  };
  [[nodiscard]] Region region(const Run& rows, const Run& columns) const {
    const auto left = static_cast<std::int64_t>(columns.first * d_.stride_w) - d_.pad_left;
    const auto top = static_cast<std::int64_t>(rows.first * d_.stride_h) - d_.pad_top;
    const U width = region_extent(columns.count, d_.stride_w, d_.kernel_w, d_.dilation_w);
    const U height = region_extent(rows.count, d_.stride_h, d_.kernel_h, d_.dilation_h);
    return {std::max<std::int64_t>(left, 0),
            std::min<std::int64_t>(left + static_cast<std::int64_t>(width), d_.in_w),
            std::max<std::int64_t>(top, 0),
            std::min<std::int64_t>(top + static_cast<std::int64_t>(height), d_.in_h),
            width,
            height};
  }

  // Words of input rows of one tile.
  [[nodiscard]] U input_words(const Run& images, const Region& r) const {
    if (r.x0 >= r.x1) return 0;
    U sum = 0;
    for (U image = images.first; image < images.first + images.count; ++image) {
      for (std::int64_t y = r.y0; y < r.y1; ++y) {
        const U line = (image * d_.in_h + static_cast<U>(y)) * d_.in_w + static_cast<U>(r.x0);
        const U first = d_.in_addr + line * d_.in_c;
        if (d_.tile_c == d_.in_c) {
          sum += words(first, r.columns_inside() * d_.in_c);
          continue;
        }
        for (U x = 0; x < r.columns_inside(); ++x) {
          for (U c = 0; c < d_.in_c; c += d_.tile_c)
            sum += words(first + x * d_.in_c + c, std::min<U>(d_.tile_c, d_.in_c - c));
        }
      }
    }
    return sum;
  }

  // Bytes written into the scratchpad for one image of a tile. A last chunk of fewer channels keeps
  // the distance of columns, so its fill is as wide as that of the others.
  [[nodiscard]] U region_bytes(const Region& r) const {
    const U chunks = (d_.in_c + d_.tile_c - 1) / d_.tile_c;
    const U missing = chunks * d_.tile_c - d_.in_c;
    return r.width * r.height * chunks * d_.tile_c - r.columns_inside() * r.rows_inside() * missing;
  }

  // Words that the channel runs of all output positions of CONV2D, DEPTHWISE and POOL touch.
  [[nodiscard]] U tile_output_words(U element, U channels, const std::vector<Run>& blocks) const {
    const U image = U{d_.out_h} * d_.out_w;
    if (d_.out_pitch == 0)
      return output_words(d_.out_addr, element, d_.n * image, channels, blocks);
    U sum = 0;
    for (U n = 0; n < d_.n; ++n)
      sum += output_words(d_.out_addr + n * d_.out_pitch, element, image, channels, blocks);
    return sum;
  }

  // Words that the channel runs of all output positions touch, each run by itself; a position's
  // alignment repeats after 64.
  [[nodiscard]] U output_words(U address, U element, U positions, U channels,
                               const std::vector<Run>& blocks) const {
    U sum = 0;
    for (U residue = 0; residue < std::min<U>(64, positions); ++residue) {
      U one = 0;
      for (const Run& b : blocks)
        one += words(address + (residue * channels + b.first) * element, b.count * element);
      sum += one * ((positions - residue + 63) / 64);
    }
    return sum;
  }

  void tiled() {
    const auto blocks = channel_blocks();
    const U positions = U{d_.n} * d_.out_h * d_.out_w;
    const U taps = U{d_.kernel_h} * d_.kernel_w;
    const U channels = uses_weights(op_) ? d_.out_c : d_.in_c;
    const bool again = op_ == Opcode::conv2d_ && d_.tile_c < d_.in_c;
    const U reloads = again ? blocks.size() : 1;
    U tiles = 0;
    for (U n = 0; n < d_.n; n += d_.tile_n) {
      for (U h = 0; h < d_.out_h; h += d_.tile_h) {
        for (U w = 0; w < d_.out_w; w += d_.tile_w) {
          const Run images{n, std::min<U>(d_.tile_n, d_.n - n)};
          const Run rows{h, std::min<U>(d_.tile_h, d_.out_h - h)};
          const Run columns{w, std::min<U>(d_.tile_w, d_.out_w - w)};
          ++tiles;
          const Region r = region(rows, columns);
          c_[Counter::act_read_bytes_] += reloads * input_words(images, r) * bus_;
          c_[Counter::sram_writes_] += reloads * images.count * region_bytes(r);
        }
      }
    }
    const U element = output_bytes(d_);
    c_[Counter::act_write_bytes_] = positions * channels * element;
    c_[Counter::bus_write_beats_] = tile_output_words(element, channels, blocks);
    if (op_ == Opcode::pool_) {
      c_[Counter::element_ops_] = positions * channels * taps;
      c_[Counter::sram_reads_] = positions * taps * blocks.size();
      return;
    }
    matrix(blocks, tiles, positions, taps);
  }

  void matrix(const std::vector<Run>& blocks, U tiles, U positions, U taps) {
    const bool conv = op_ == Opcode::conv2d_;
    const U bytes = weight_bytes(d_);
    U k_tile_count = taps;
    U weight_words = 0;  // of one tile
    U k = taps;
    if (conv) {
      const auto runs = k_tiles();
      k_tile_count = runs.size();
      k = taps * d_.cin_group;
      for (const Run& r : runs) weight_words += words(r.first * bytes, r.count * bytes);
      weight_words *= d_.out_c;
      if (d_.has(spec::kFlagWTransposed)) {
        weight_words = 0;
        for (const Run& b : blocks) weight_words += words(b.first * bytes, b.count * bytes);
        weight_words *= k;
      }
    } else {
      for (const Run& b : blocks) weight_words += words(b.first * bytes, b.count * bytes);
      weight_words *= taps;
    }
    U bias_words = 0, table_words = 0;  // of one tile
    for (const Run& b : blocks) {
      if (d_.has(spec::kFlagHasBias)) bias_words += words(b.first * 4, b.count * 4);
      if (!d_.has(spec::kFlagOut32)) table_words += words(b.first * 8, b.count * 8);
    }
    c_[Counter::macs_] = positions * d_.out_c * k;
    c_[Counter::weight_read_bytes_] = tiles * weight_words * bus_;
    c_[Counter::weight_loads_] = tiles * d_.out_c * k;
    c_[Counter::param_read_bytes_] = tiles * (bias_words + table_words) * bus_;
    c_[Counter::sram_reads_] = positions * k_tile_count * blocks.size();
    c_[Counter::acc_writes_] = positions * k_tile_count * blocks.size();
    c_[Counter::acc_reads_] =
        positions * k_tile_count * blocks.size();  // all but the first k-tile, and the drain
    if (mode_.weights_perturbed)
      c_[Counter::random_words_] += tiles * weight_words * draws(bytes, d_.w_keep);
    if (mode_.bias_perturbed)
      c_[Counter::random_words_] += tiles * bias_words * draws(4, d_.b_keep);
    if (d_.has(spec::kFlagResAdd)) {
      c_[Counter::act_read_bytes_] +=
          output_words(d_.in2_addr, 1, positions, d_.out_c, blocks) * bus_;
      c_[Counter::element_ops_] += positions * d_.out_c;
    }
  }

  void add() {
    const U count = U{d_.n} * d_.in_c;
    c_[Counter::element_ops_] = count;
    c_[Counter::act_read_bytes_] = (words(d_.in_addr, count) + words(d_.in2_addr, count)) * bus_;
    c_[Counter::act_write_bytes_] = count;
    c_[Counter::bus_write_beats_] = words(d_.out_addr, count);
  }

  void softmax() {
    const std::vector<Run> row{{0, d_.in_c}};
    c_[Counter::element_ops_] = U{d_.n} * d_.in_c;
    c_[Counter::act_read_bytes_] = 3 * output_words(d_.in_addr, 1, d_.n, d_.in_c, row) * bus_;
    c_[Counter::act_write_bytes_] = U{d_.n} * d_.in_c;
    c_[Counter::bus_write_beats_] = output_words(d_.out_addr, 1, d_.n, d_.in_c, row);
  }

  void loss() {
    const std::vector<Run> row{{0, d_.in_c}};
    c_[Counter::element_ops_] = U{d_.n} * d_.in_c;
    const bool errors = d_.has(spec::kFlagErrors);
    c_[Counter::act_read_bytes_] =
        ((errors ? 3 : 2) * output_words(d_.in_addr, 2, d_.n, d_.in_c, row) + d_.n) * bus_;
    if (errors) {
      c_[Counter::act_write_bytes_] = U{d_.n} * d_.in_c;
      c_[Counter::bus_write_beats_] = output_words(d_.out_addr, 1, d_.n, d_.in_c, row);
      c_[Counter::random_words_] = d_.n * ((U{d_.in_c} + 3) / 4);
    }
    if (!d_.has(spec::kFlagLosses)) return;
    c_[Counter::act_write_bytes_] = U{d_.n} * 4;
    c_[Counter::bus_write_beats_] = d_.n;
  }

  void update() {
    const U bytes = weight_bytes(d_);
    const U row_words = words(0, d_.in_c * bytes);
    const U all = d_.out_c * row_words;
    const U columns = bus_ / bytes;
    const bool given = d_.has(spec::kFlagGradient);
    const U z = given ? 0 : draws(bytes, spec::kKeepAll) * mode_.pairs;
    const U mask = draws(bytes, d_.w_keep) - draws(bytes, spec::kKeepAll);
    c_[Counter::element_ops_] = U{d_.out_c} * d_.in_c;
    const U gradient = given ? d_.out_c * words(0, U{d_.in_c} * 4) : 0;
    c_[Counter::update_read_bytes_] = (all + gradient) * bus_;
    c_[Counter::update_write_bytes_] = U{d_.out_c} * d_.in_c * bytes;
    c_[Counter::bus_write_beats_] = all;
    c_[Counter::random_words_] = all * (z + mask + std::max<U>(1, columns / 4));
  }

  const Descriptor& d_;
  const TrafficMode& mode_;
  Opcode op_;
  U bus_, array_rows_, array_cols_;
  Counters c_;
};

}  // namespace

TrafficMode mode_of(const spec::Descriptor& d, const RegisterFile& regs) {
  const bool on = regs.polarized();
  return {.weights_perturbed = on && d.has(spec::kFlagWTrain),
          .bias_perturbed = on && d.has(spec::kFlagBTrain) && d.has(spec::kFlagHasBias),
          .distribution = static_cast<numeric::Distribution>(regs.distribution()),
          .pairs = regs.pairs()};
}

Counters command_traffic(const Descriptor& d, const TrafficMode& mode,
                         const spec::HardwareParams& hw) {
  return Traffic(d, mode, hw).count();
}

const Counters& TrafficCache::of(const Descriptor& d, const TrafficMode& mode) {
  return cache_.of(d, mode, [this](const Descriptor& key, const TrafficMode& same) {
    return command_traffic(key, same, hw_);
  });
}

}  // namespace lastmile::npu
