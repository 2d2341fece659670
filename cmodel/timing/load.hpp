// SPDX-License-Identifier: Apache-2.0
// Load (rtl/load/npu_load.sv): a region per tile (chunks: per tile and chunk, CONV2D: per block,
// too) into a free half of the scratchpad, a row at a time: fill on the left, words from memory,
// fill on the right. Requests run ahead of placing.
#pragma once

#include <array>

#include "cmodel/timing/tiles.hpp"

namespace lastmile::timing {

class Load {
 public:
  explicit Load(Context& c) : c_(c), client_(c.reads, c.latency, 64) {}

  // The next region begins as soon as its half is free.
  void start(const Tile& tile, U chunk);
  // Requests that go out until that cycle: others ask for the same channel after them.
  void advance(U until);
  // Returns the cycle in which the half is full.
  U finish();
  // The half of the last region was given back in this cycle.
  void released(U cycle) { free_[half_ ^ 1] = cycle + 1; }
  // When the tile of the last region was announced: other engines see it from here on.
  [[nodiscard]] U announced() const { return announced_; }
  [[nodiscard]] const EngineTime& last() const { return last_; }

 private:
  static constexpr U kFirst = 34;    // cycle of PUSH: 15 products, SETUP, 17 products
  static constexpr U kBetween = 19;  // from NEXT to PUSH: SETUP, 17 products
  struct Cursor {
    U image = 0, row = 0;  // of the region
    U run = 0;             // of the row
    U words = 0;           // left of the run; 0: it was not begun
  };
  [[nodiscard]] U fill(U place, U bytes) const {  // a fill stops at multiples of ROWS
    return bytes == 0 ? 0 : (place % c_.rows + bytes + c_.rows - 1) / c_.rows;
  }
  [[nodiscard]] bool inside(const Cursor& p) const;
  [[nodiscard]] U words_of(const Cursor& p) const;
  void next_run(Cursor& p) const;
  void place_burst();
  void place_run_start();
  void place_run_end();

  Context& c_;
  Client client_;
  std::array<U, 2> free_{};
  std::size_t half_ = 0;
  bool first_ = true;
  U next_ = 0, announced_ = 0;
  EngineTime last_;

  // The region: rows of `before_` + `middle_` + `after_` bytes, the middle from memory in runs.
  const Tile* tile_ = nullptr;
  std::int64_t top_ = 0;
  U left_ = 0, height_ = 0, first_byte_ = 0, before_ = 0, middle_ = 0, after_ = 0;
  U runs_ = 1, run_bytes_ = 0;
  U begin_ = 0, ask_ = 0, at_ = 0, busy_ = 0;
  Cursor asked_, placed_;
};

}  // namespace lastmile::timing
