// SPDX-License-Identifier: Apache-2.0
// Weights (rtl/weight/npu_weight.sv): rows of each k-tile into the array's shadow registers, a
// column at a time; requests run up to 32 rows and four k-tiles ahead. Perturbation takes
// no time, unless the memory answers faster than random numbers are drawn; that is left out.
#pragma once

#include <array>

#include "cmodel/timing/load.hpp"

namespace lastmile::timing {

class Weight {
 public:
  // load: asks for the same channel.
  Weight(Context& c, const std::vector<KTile>& k_tiles, std::size_t tiles, Load& load);

  void announce(U cycle) { announced_.push_back(cycle); }  // a tile's token
  // When k-tile k of the command (tile after tile) waits in the shadow registers. The one before
  // was taken by the array in cycle `taken`.
  U ready(std::size_t k, U taken);

 private:
  // Requests that need no more than what has happened so far.
  void ask_ahead();
  static constexpr U kToSwap = 3;  // from taking a k-tile to its weights leaving the shadow
  static constexpr U kRows = 32;   // rows between request and use
  static constexpr std::size_t kAhead = 4;  // k-tiles

  [[nodiscard]] const KTile& at(std::size_t k) const { return k_tiles_[k % k_tiles_.size()]; }

  Context& c_;
  const std::vector<KTile>& k_tiles_;
  Load& load_;
  std::size_t count_;
  Client client_;
  bool depthwise_, packed_;
  static constexpr U kHeld = kRows + 1;  // one is being gathered
  static constexpr U kKept = 64;         // a power of two above that
  std::array<U, kKept> freed_{};         // cycle in which each of the last rows became a column
  std::size_t done_ = 0;                 // k-tiles used
  std::size_t asked_ = 0;  // k-tile whose rows are being requested; the same by tile of outputs:
  std::size_t asked_tile_ = 0, asked_in_tile_ = 0;
  U asked_rows_ = 0, rows_held_ = 0;
  U ask_ = 0, asked_total_ = 0, used_total_ = 0;
  U column_ = 0;  // cycle in which the last column was written
  std::vector<U> announced_;
  Ring<U> taken_;  // of the last kAhead k-tiles
};

}  // namespace lastmile::timing
