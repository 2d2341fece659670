#include "cmodel/timing/load.hpp"

#include <algorithm>

#include "cmodel/npu/validate.hpp"

namespace lastmile::timing {

U Load::region(const Tile& tile, U chunk) {
  const spec::Descriptor& d = c_.d;
  const U channels = std::min<U>(d.tile_c, d.in_c - chunk * d.tile_c);
  using S = std::int64_t;
  const S left = static_cast<S>(tile.columns.first * d.stride_w) - static_cast<S>(d.pad_left);
  const S top = static_cast<S>(tile.rows.first * d.stride_h) - static_cast<S>(d.pad_top);
  const U width = npu::region_extent(tile.columns.count, d.stride_w, d.kernel_w, d.dilation_w);
  const U height = npu::region_extent(tile.rows.count, d.stride_h, d.kernel_h, d.dilation_h);
  const S x0 = std::max<S>(left, 0), x1 = std::min<S>(left + static_cast<S>(width), d.in_w);
  const U middle = x1 > x0 ? static_cast<U>(x1 - x0) * channels : 0;
  const U before = middle == 0 ? width * channels : static_cast<U>(x0 - left) * channels;
  const U after = width * channels - before - middle;
  const U subs = c_.bus > c_.rows ? c_.bus / c_.rows : 1;  // scratchpad writes per bus word

  const U push = first_ ? kFirst : next_ + kBetween;
  announced_ = push + 1;
  const U begin = std::max(push, free_[half_]) + 1;  // first cycle of MOVE
  U ask = begin, at = begin, busy = 0;

  // Requests run ahead of placing, row by row, as bursts.
  struct Place {
    S y;
    U image, row;
  };
  Place asked{top, 0, 0};
  U burst_left = 0;
  const auto inside = [&](S y) { return middle != 0 && y >= 0 && y < static_cast<S>(d.in_h); };
  const auto words_of = [&](const Place& p) {
    const U pixel = ((tile.images.first + p.image) * d.in_h + static_cast<U>(p.y)) * d.in_w +
                    static_cast<U>(x0);
    return c_.words(d.in_addr + pixel * d.in_c + chunk * d.tile_c, middle);
  };
  const auto issue_ahead = [&] {
    while (asked.image < tile.images.count) {
      if (inside(asked.y)) {
        if (burst_left == 0) burst_left = words_of(asked);
        const U burst = std::min(burst_left, Client::kBurst);
        if (!client_.fits(burst)) return;
        client_.issue(ask, burst);
        burst_left -= burst;
        if (burst_left != 0) continue;
      }
      ++ask;
      ++asked.y;
      if (++asked.row == height) asked = {top, asked.image + 1, 0};
    }
  };

  for (U image = 0; image < tile.images.count; ++image) {
    for (U row = 0; row < height; ++row) {
      const U place = (image * height + row) * d.row_pitch;
      ++at;  // the row's geometry
      const Place p{top + static_cast<S>(row), image, row};
      if (!inside(p.y)) {
        at += fill(place, width * channels);
      } else {
        at += fill(place, before);
        for (U left_words = words_of(p); left_words != 0;) {
          issue_ahead();
          const U words = client_.words();
          const U ready = client_.ready();
          busy += words * subs;
          at = std::max(at + words * subs, ready + subs);
          client_.pop(at - 1);
          left_words -= words;
        }
        at += fill(place + before + middle, after);
      }
    }
  }
  next_ = at;  // NEXT
  last_ = {begin, at, busy};
  c_.t.engine(spec::Engine::load_).add(begin, at, busy);
  first_ = false;
  half_ ^= 1;
  return at + 1;
}

}  // namespace lastmile::timing
