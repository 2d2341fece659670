// SPDX-License-Identifier: Apache-2.0
// Weight side of CONV2D: rows of the weight matrix are read, perturbed and laid out for the array.
// The panels are transient: nothing perturbed is written to memory.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cmodel/npu/drain.hpp"
#include "cmodel/npu/kernels/kernels.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/random.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// Reads columns column .. of a row of an int8 or int16 tensor, widened to int16.
void read_weights(const Memory& memory, const spec::Descriptor& d, std::uint32_t row,
                  std::uint32_t column, std::span<std::int16_t> to);

// The order in which the array walks K: steps of neighbours in the input region, `fold` steps to an
// entry. A run is a stretch of K that is contiguous there: one kernel row, or one tap with groups
// or dilation; its last entry is completed with zero weights.
struct KWalk {
  KWalk() = default;
  KWalk(const spec::Descriptor& d, Format format, std::size_t fold);
  // Offset of each entry, in elements of an input region with so many columns.
  [[nodiscard]] std::vector<std::int32_t> offsets(const spec::Descriptor& d,
                                                  std::uint64_t columns) const;
  std::uint32_t run = 0;      // elements of K in a run
  std::uint32_t runs = 0;     // in all of K
  std::uint32_t element = 0;  // elements of K in an entry
  [[nodiscard]] std::uint32_t entries_of_run() const { return (run + element - 1) / element; }
  [[nodiscard]] std::uint32_t entries() const { return runs * entries_of_run(); }
};

// Output channels of one group that one product computes.
struct PanelGroup {
  std::uint32_t group = 0;
  std::uint32_t first = 0;  // output channel
  std::uint32_t count = 0;
  std::uint32_t panels = 0;
  bool narrow = false;  // the kernels' way from sums to outputs, whatever the input
  std::size_t at = 0;   // of its weights, in bytes
  // Of its parameters: kWidest each of bias, multiplier, right shift, and of what a sum of bytes
  // lacks; zero behind `count`.
  std::size_t parameters = 0;
};

class WeightPanels {
 public:
  static constexpr std::size_t kWidest = kMostPanels * kPanel;

  // Rows are read with read_weights() and perturbed; whatever they hold after that is laid out.
  void pack(const Memory& memory, const spec::Descriptor& d, const Perturbation& p,
            const Drain& drain, const Kernels& kernels, Workers& workers);

  [[nodiscard]] Format format() const { return format_; }
  [[nodiscard]] const KWalk& walk() const { return walk_; }
  [[nodiscard]] std::span<const PanelGroup> groups() const { return groups_; }
  // What does not depend on the input; region, positions and offsets are left.
  [[nodiscard]] Product product(const PanelGroup& g) const;
  // Completes what Drain::output() left.
  void complete(const PanelGroup& g, Output& output) const;
  // What is to be added to a channel's sum (modulo 2^32): the zero point's part, for bytes.
  [[nodiscard]] std::int32_t lacks(const PanelGroup& g, std::size_t channel) const {
    return parameters_[g.parameters + 3 * kWidest + channel];
  }
  [[nodiscard]] const PerturbCount& count() const { return count_; }

 private:
  void plan(const spec::Descriptor& d, const Kernels& kernels);
  void pack_channel(std::span<const std::int16_t> weights, const PanelGroup& g, std::uint32_t lane);

  Format format_ = Format::words;
  std::size_t fold_ = 1;
  KWalk walk_;
  std::vector<PanelGroup> groups_;
  std::vector<std::byte> values_;
  std::byte* base_ = nullptr;  // in values_, on a cache line
  std::vector<std::int32_t> parameters_;
  PerturbCount count_;
};

// The largest |sum of products| of a channel, over all of its terms or some of them.
[[nodiscard]] std::int64_t sum_bound(std::span<const std::int16_t> weights,
                                     std::int32_t zero_point);
// What sum of (x + byte_zero) w lacks to the sum of (x - zero_point) w, modulo 2^32.
[[nodiscard]] std::int32_t byte_correction(std::span<const std::int16_t> weights,
                                           std::int32_t zero_point, const Kernels& kernels);

}  // namespace lastmile::npu
