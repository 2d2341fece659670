// SPDX-License-Identifier: Apache-2.0
// From accumulators to memory: bias, requantization, clamp, the fused addition, store. CONTRACT.md,
// sections Requantization and Operators.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cmodel/npu/counters.hpp"
#include "cmodel/npu/elementwise.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/random.hpp"
#include "cmodel/npu/requant.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// Channels that leave together at most; sums of one position are this far apart.
inline constexpr std::size_t kDrainLanes = 16;

class Drain {
 public:
  // Reads the parameters, perturbs the bias. Addresses in `d` are resolved.
  Drain(const Memory& memory, const spec::Descriptor& d, const Perturbation& bias);

  [[nodiscard]] const PerturbCount& bias_count() const { return bias_count_; }
  // Whether `count` channels from `first` may take the 32-bit path when |sum of products| <= bound
  // for each of them.
  [[nodiscard]] bool narrow(std::size_t first, std::size_t count,
                            std::span<const std::int64_t> bound) const;

  // Finishes channels first .. first + count - 1 (count <= kDrainLanes) of `positions.size()`
  // output positions (each the element of its first channel). sums: kDrainLanes per position,
  // without bias. 32-bit sums only where narrow() holds; lanes behind `count` may hold anything.
  void rows(Memory& memory, std::span<const std::uint64_t> positions, std::size_t first,
            std::size_t count, const std::int32_t* sums, Saturations& s) const;
  void rows(Memory& memory, std::span<const std::uint64_t> positions, std::size_t first,
            std::size_t count, const std::int64_t* sums, Saturations& s) const;

 private:
  // y: results before zero point and clamp, of at most eight channels.
  void store(Memory& memory, std::uint64_t element, std::size_t count, const Lanes& y,
             Saturations& s) const;

  Clamp clamp_;
  AddUnit add_;
  PerturbCount bias_count_;
  std::vector<std::int32_t> bias_, multiplier_, exponent_, right_;  // padded to whole lanes
  spec::Descriptor d_;
  bool plain_ = false;  // int8 outputs without addition
  bool raw_ = false;    // OUT32: accumulators as they are
};

}  // namespace lastmile::npu
