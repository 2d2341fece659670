// SPDX-License-Identifier: Apache-2.0
// Where activations live: each buffer occupies an interval of offsets while it is live, and no two
// live buffers overlap.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace lastmile {

// Live from before command `first` writes it until command `last` has read it, both included: a
// command's input and output never share bytes (an add in place is one buffer for both of its
// tensors).
struct BufferLife {
  std::uint64_t bytes = 0;
  int first = 0, last = 0;
};

struct ArenaPlan {
  std::vector<std::uint64_t> offsets;  // one per buffer, multiples of the alignment
  std::uint64_t bytes = 0;             // end of the highest buffer, not aligned
  std::uint64_t live_peak = 0;         // most bytes live at once: no plan needs less
  int peak_at = 0;                     // the first command at which live_peak is reached
};

// Largest buffers first, each into the smallest gap that holds it among the buffers it is live with
// (greedy by size, best fit).
[[nodiscard]] ArenaPlan plan_arena(std::span<const BufferLife> buffers, std::uint64_t alignment);

}  // namespace lastmile
