// Load (rtl/load/npu_load.sv): a region per tile (chunks: per tile, block and chunk) into a free
// half of the scratchpad, a row at a time: fill on the left, words from memory, fill on the right.
#pragma once

#include <array>

#include "cmodel/timing/tiles.hpp"

namespace lastmile::timing {

class Load {
 public:
  explicit Load(Context& c) : c_(c), client_(c.reads, c.latency, 64) {}

  // The next region. Returns the cycle in which its half is full.
  U region(const Tile& tile, U chunk);
  // The half of the last region was given back in this cycle.
  void released(U cycle) { free_[half_ ^ 1] = cycle + 1; }
  // When the tile of the last region was announced: other engines see it from here on.
  [[nodiscard]] U announced() const { return announced_; }
  [[nodiscard]] const EngineTime& last() const { return last_; }

 private:
  static constexpr U kFirst = 34;    // cycle of PUSH: 15 products, SETUP, 17 products
  static constexpr U kBetween = 19;  // from NEXT to PUSH: SETUP, 17 products
  U fill(U place, U bytes) const {   // a fill stops at multiples of ROWS
    return bytes == 0 ? 0 : (place % c_.rows + bytes + c_.rows - 1) / c_.rows;
  }

  Context& c_;
  Client client_;
  std::array<U, 2> free_{};
  std::size_t half_ = 0;
  bool first_ = true;
  U next_ = 0, announced_ = 0;
  EngineTime last_;
};

}  // namespace lastmile::timing
