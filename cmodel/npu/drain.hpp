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
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// Channels that leave together; arrays of parameters are padded to a multiple of it.
inline constexpr std::size_t kDrainLanes = 16;

class Drain {
 public:
  // Reads the parameters, perturbs the bias. Addresses in `d` are resolved.
  Drain(const Memory& memory, const spec::Descriptor& d, const Perturbation& bias);

  [[nodiscard]] const PerturbCount& bias_count() const { return bias_count_; }
  [[nodiscard]] std::int32_t bias(std::size_t channel) const { return bias_[channel]; }
  // Whether `count` channels from `first` may take the 32-bit path when |sum of products| <= bound
  // for each of them.
  [[nodiscard]] bool narrow(std::size_t first, std::size_t count,
                            std::span<const std::int64_t> bound) const;

  // Finishes channels first .. first + count - 1 (count <= kDrainLanes) of one output position
  // (index over n, row, column). 32-bit sums without bias, only where narrow() holds; 16 lanes are
  // read, those behind `count` are ignored.
  void row(Memory& memory, std::uint64_t position, std::size_t first, std::size_t count,
           const std::int32_t* sums, Saturations& s) const;
  void row(Memory& memory, std::uint64_t position, std::size_t first, std::size_t count,
           const std::int64_t* sums, Saturations& s) const;

 private:
  void store(Memory& memory, std::uint64_t position, std::size_t first, std::size_t count,
             const std::int32_t* values, Saturations& s) const;

  spec::Descriptor d_;
  std::int32_t type_low_, type_high_;
  std::vector<std::int32_t> bias_, multiplier_, exponent_, right_;
  PerturbCount bias_count_;
  AddUnit add_;
};

}  // namespace lastmile::npu
