// SPDX-License-Identifier: Apache-2.0
#include "cmodel/timing/weight.hpp"

#include <algorithm>

namespace lastmile::timing {

// The column being gathered counts as buffered, too.
Weight::Weight(Context& c, const std::vector<KTile>& k_tiles, std::size_t tiles, Load& load)
    : c_(c),
      k_tiles_(k_tiles),
      load_(load),
      count_(k_tiles.size() * tiles),
      client_(c.reads, c.latency, 64 + k_tiles.front().words),
      depthwise_(c.op == spec::Opcode::depthwise_),
      packed_(c.d.has(spec::kFlagPacked)) {}

void Weight::ask_ahead() {
  while (asked_ < count_ && asked_ < done_ + kAhead) {
    const KTile& k = k_tiles_[asked_in_tile_];
    if (asked_rows_ == 0) {
      if (asked_tile_ >= announced_.size()) return;
      U from = ask_;
      if (asked_in_tile_ == 0) from = std::max(from, announced_[asked_tile_]) + 1;
      if (k.first) from += 1 + (depthwise_ ? k.columns : 0);  // its lanes are worked out
      if (asked_ >= kAhead)
        from = std::max(from, taken_[asked_ - kAhead + taken_.size() - done_] + 1);
      ask_ = from + 1;  // the k-tile itself is queued
    }
    for (; asked_rows_ < k.rows; ++asked_rows_) {
      if (rows_held_ == kHeld || !client_.fits(k.words)) return;
      if (asked_total_ >= kHeld) ask_ = std::max(ask_, freed_[(asked_total_ - kHeld) % kKept] + 1);
      load_.advance(std::max(client_.grant(ask_), client_.room(k.words)));
      ask_ = std::max(client_.issue(ask_, k.words), ask_ + 1);
      ++asked_total_;
      ++rows_held_;
    }
    asked_rows_ = 0;
    ++asked_;
    if (++asked_in_tile_ == k_tiles_.size()) asked_in_tile_ = 0, ++asked_tile_;
  }
}

U Weight::ready(std::size_t k, U taken) {
  const KTile& tile = at(k);
  if (k != 0) {
    taken_.push_back(taken);
    if (taken_.size() > kAhead) taken_.pop_front();
  }
  done_ = k;
  const U swap = k == 0 ? 0 : taken + kToSwap;
  U busy = 0, begin = 0;
  for (U row = 0; row < tile.rows; ++row) {
    ask_ahead();
    // a row's words are gathered one per cycle, from the cycle in which the row before is written
    const U arrived = client_.ready();
    const U gathered = std::max(arrived + 1, column_ + tile.words);
    if (row == 0) begin = arrived;
    busy += tile.words;
    if (depthwise_) {
      // one row is spread over the columns, one per cycle; it starts when the array has begun
      const U first = std::max(gathered + 1, k == 0 ? 0 : taken + 5);
      column_ = first + tile.columns - 1;
    } else {
      column_ = std::max(gathered, swap);
    }
    client_.pop(column_, 1);
    freed_[used_total_++ % kKept] = column_;
    --rows_held_;
  }
  c_.t.engine(spec::Engine::weight_).add(begin, column_ + 1, busy);
  U result = column_ + 1;
  // lanes of a packed k-tile are worked out one per cycle
  if (packed_ && k != 0) result = std::max(result, taken + c_.rows + 1);
  return result;
}

}  // namespace lastmile::timing
