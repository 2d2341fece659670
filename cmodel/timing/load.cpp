// SPDX-License-Identifier: Apache-2.0
#include "cmodel/timing/load.hpp"

#include <algorithm>

#include "cmodel/command/validate.hpp"

namespace lastmile::timing {

void Load::start(const Tile& tile, U chunk) {
  using S = std::int64_t;
  const spec::Descriptor& d = c_.d;
  tile_ = &tile;
  const U apart = d.tile_c;
  const S left = static_cast<S>(tile.columns.first * d.stride_w) - static_cast<S>(d.pad_left);
  const U width = npu::region_extent(tile.columns.count, d.stride_w, d.kernel_w, d.dilation_w);
  const S x0 = std::max<S>(left, 0), x1 = std::min<S>(left + static_cast<S>(width), d.in_w);
  top_ = static_cast<S>(tile.rows.first * d.stride_h) - static_cast<S>(d.pad_top);
  height_ = npu::region_extent(tile.rows.count, d.stride_h, d.kernel_h, d.dilation_h);
  middle_ = x1 > x0 ? static_cast<U>(x1 - x0) * apart : 0;
  before_ = middle_ == 0 ? width * apart : static_cast<U>(x0 - left) * apart;
  after_ = width * apart - before_ - middle_;
  // A chunk's channels of a column are a run by themselves.
  const bool chunked = d.tile_c < d.in_c;
  runs_ = chunked ? middle_ / apart : 1;
  run_bytes_ = chunked ? std::min<U>(d.tile_c, d.in_c - chunk * d.tile_c) : middle_;
  first_byte_ = d.in_addr + static_cast<U>(x0) * d.in_c + chunk * d.tile_c;

  const U push = first_ ? kFirst : next_ + kBetween;
  announced_ = push + 1;
  begin_ = std::max(push, free_[half_]) + 1;
  ask_ = at_ = begin_;
  busy_ = 0;
  asked_ = placed_ = {};
  first_ = false;
}

bool Load::inside(const Cursor& p) const {
  const std::int64_t y = top_ + static_cast<std::int64_t>(p.row);
  return middle_ != 0 && y >= 0 && y < static_cast<std::int64_t>(c_.d.in_h);
}

U Load::words_of(const Cursor& p) const {
  const U y = static_cast<U>(top_ + static_cast<std::int64_t>(p.row));
  const U line = (tile_->images.first + p.image) * c_.d.in_h + y;
  return c_.words(first_byte_ + (line * c_.d.in_w + p.run) * c_.d.in_c, run_bytes_);
}

void Load::next_run(Cursor& p) const {
  p.words = 0;
  if (inside(p) && ++p.run != runs_) return;
  p.run = 0;
  if (++p.row == height_) p = {p.image + 1, 0, 0, 0};
}

void Load::advance(U until) {
  if (tile_ == nullptr) return;
  while (asked_.image < tile_->images.count) {
    if (!inside(asked_)) {  // passed over in a cycle
      ++ask_;
      next_run(asked_);
      continue;
    }
    if (asked_.words == 0) asked_.words = words_of(asked_);
    const U burst = std::min(asked_.words, Client::kBurst);
    if (!client_.fits(burst)) {
      place_burst();
      continue;
    }
    if (std::max(client_.grant(ask_), client_.room(burst)) > until) return;
    ask_ = client_.issue(ask_, burst);
    asked_.words -= burst;
    if (asked_.words == 0) next_run(asked_);
  }
}

// Up to the data of the next row inside the image.
void Load::place_run_start() {
  const U width = before_ + middle_ + after_;
  while (placed_.image < tile_->images.count) {
    const U place = (placed_.image * height_ + placed_.row) * c_.d.row_pitch;
    if (placed_.run != 0) {
      placed_.words = words_of(placed_);
      return;
    }
    ++at_;  // the row's geometry
    if (inside(placed_)) {
      at_ += fill(place, before_);
      placed_.words = words_of(placed_);
      return;
    }
    at_ += fill(place, width);
    next_run(placed_);
  }
}

void Load::place_run_end() {
  const U place = (placed_.image * height_ + placed_.row) * c_.d.row_pitch;
  if (placed_.run + 1 == runs_) at_ += fill(place + before_ + middle_, after_);
  next_run(placed_);
}

void Load::place_burst() {
  const U subs = c_.bus > c_.rows ? c_.bus / c_.rows : 1;  // scratchpad writes per bus word
  if (placed_.words == 0) place_run_start();
  const U words = client_.words();
  const U from = std::max(at_, client_.begins());
  at_ = std::max(at_ + words * subs, client_.ready() + subs);
  busy_ += words * subs;
  client_.pop(at_ - 1, (at_ - from) / words);
  placed_.words -= words;
  if (placed_.words == 0) place_run_end();
}

U Load::finish() {
  advance(~U{0});
  while (!client_.empty()) place_burst();
  place_run_start();  // rows below the image
  tile_ = nullptr;
  next_ = at_;  // NEXT
  last_ = {begin_, at_, busy_};
  c_.t.engine(spec::Engine::load_).add(begin_, at_, busy_);
  half_ ^= 1;
  return at_ + 1;
}

}  // namespace lastmile::timing
