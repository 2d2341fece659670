// SPDX-License-Identifier: Apache-2.0
// Weight side of CONV2D: rows of the weight matrix are read, perturbed and laid out for the array.
// The panels are transient: nothing perturbed is written to memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cmodel/npu/drain.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/random.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// Reads columns column .. of a row of an int8 or int16 tensor, widened to int16.
void read_weights(const Memory& memory, const spec::Descriptor& d, std::uint32_t row,
                  std::uint32_t column, std::span<std::int16_t> to);

// The order in which the array walks K: pairs of neighbours in the input region. A run is a stretch
// of K that is contiguous there: one kernel row, or one tap with groups or dilation; a run of odd
// length is completed with a zero weight.
struct PairWalk {
  // `columns`: columns of the input region.
  PairWalk(const spec::Descriptor& d, std::uint64_t columns);
  std::vector<std::int32_t> offset;  // of each pair, in elements of the input region
  std::uint32_t run = 0;             // elements of K in a run

  static std::uint32_t run_length(const spec::Descriptor& d);
};

// Up to 16 output channels of one group: pairs x lanes x 2 int16.
struct Panel {
  std::uint32_t group = 0;
  std::uint32_t first = 0;  // output channel
  std::uint32_t count = 0;
  std::uint32_t lanes = 16;  // 8 or 16
  bool narrow = false;       // sums and results fit 32 bits whatever the input (Drain::narrow)
  std::size_t at = 0;        // of its first value
};

class WeightPanels {
 public:
  void pack(const Memory& memory, const spec::Descriptor& d, const Perturbation& p,
            const Drain& drain, Workers& workers);

  [[nodiscard]] std::span<const Panel> panels() const { return panels_; }
  [[nodiscard]] const std::int16_t* values(const Panel& p) const { return values_.data() + p.at; }
  [[nodiscard]] std::uint32_t pairs() const { return pairs_; }
  [[nodiscard]] const PerturbCount& count() const { return count_; }

 private:
  std::vector<Panel> panels_;
  std::vector<std::int16_t> values_;
  std::uint32_t pairs_ = 0;
  PerturbCount count_;
};

}  // namespace lastmile::npu
