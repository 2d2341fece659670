// SPDX-License-Identifier: Apache-2.0
// From accumulators to memory: bias, requantization, clamp, the fused addition, store. CONTRACT.md,
// sections Requantization and Operators.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "cmodel/command/counters.hpp"
#include "cmodel/npu/elementwise.hpp"
#include "cmodel/npu/kernels/kernels.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/random.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

class Drain {
 public:
  // Reads the parameters, perturbs the bias. Addresses in `d` are resolved.
  Drain(const Memory& memory, const spec::Descriptor& d, const Perturbation& bias,
        const Kernels& kernels);

  [[nodiscard]] const PerturbCount& bias_count() const { return bias_count_; }
  // Whether `count` channels from `first` may take the kernels' way, 32-bit sums to int8, when
  // |sum of products| <= bound for each of them.
  [[nodiscard]] bool narrow(std::size_t first, std::size_t count,
                            std::span<const std::int64_t> bound) const;
  // What a channel of a kernel's Output needs.
  [[nodiscard]] std::int32_t bias(std::size_t channel) const { return bias_[channel]; }
  [[nodiscard]] std::int32_t multiplier(std::size_t channel) const { return multiplier_[channel]; }
  [[nodiscard]] std::int32_t right(std::size_t channel) const { return -exponent_[channel]; }
  // The rest of it, of channels from `first` on; bias, multiplier, right, position are left.
  [[nodiscard]] Output output(Memory& memory, std::size_t first, std::size_t channels) const;

  // The general way: finishes channels first .. first + count - 1 of `positions.size()` output
  // positions (each the element of its first channel). sums: `step` apart per position, without
  // bias.
  void rows(Memory& memory, std::span<const std::uint64_t> positions, std::size_t first,
            std::size_t count, const std::int64_t* sums, std::size_t step, Saturations& s) const;

 private:
  // OUT32: channels first .. of one position.
  void raw_row(Memory& memory, std::uint64_t element, std::span<const std::int64_t> sums,
               std::size_t first, Saturations& s) const;

  const Kernels& kernels_;
  AddUnit add_;
  PerturbCount bias_count_;
  std::vector<std::int32_t> bias_, multiplier_, exponent_;
  spec::Descriptor d_;
  bool raw_ = false;  // OUT32: accumulators as they are
};

}  // namespace lastmile::npu
