// SPDX-License-Identifier: Apache-2.0
// DEPTHWISE convolution. CONTRACT.md, section Operators. Sixteen channels at a time: their input is
// spread so that what a step of the kernel's row needs of each channel stands together; then it is
// a product like any other.
#pragma once

#include "cmodel/npu/array.hpp"

namespace lastmile::npu {

class Depthwise {
 public:
  Depthwise(const Kernels& kernels, int threads)
      : kernels_(kernels), parts_(static_cast<std::size_t>(threads)) {}
  // One DEPTHWISE; addresses resolved.
  MatrixCount run(Memory& memory, const spec::Descriptor& d, const Perturbation& weights,
                  const Perturbation& bias, Workers& workers);

 private:
  struct alignas(kPartAlign) Part {
    InputRegion region;                // the general way alone
    std::vector<std::int32_t> spread;  // one panel's steps, on a cache line from `first` on
    std::vector<std::int32_t> scratch;
    std::size_t first = 0;
    Positions positions;
    Saturations saturated;
  };
  // Sixteen channels.
  struct Panel {
    std::uint32_t first = 0, count = 0;
    bool narrow = false;
  };
  PerturbCount pack(const Memory& memory, const spec::Descriptor& d, const Perturbation& weights,
                    const Drain& drain);
  void product(Memory& memory, const spec::Descriptor& d, const BlockPlan& plan, const Block& block,
               const Drain& drain, Part& part) const;
  void spread(const Memory& memory, const spec::Descriptor& d, const BlockPlan& plan,
              const Block& block, const Panel& panel, Part& part) const;
  void general(Memory& memory, const spec::Descriptor& d, const BlockPlan& plan, const Block& block,
               const Panel& panel, const Drain& drain, Part& part) const;

  const Kernels& kernels_;
  Format format_ = Format::words;
  std::size_t across_ = 0;  // entries of a kernel row
  std::vector<Panel> panels_;
  std::vector<std::int16_t> weights_;     // taps x out_c, perturbed
  std::vector<std::byte> steps_;          // per panel: entries x 16 channels x kStepBytes
  std::vector<std::int32_t> parameters_;  // per panel: 16 each of bias, multiplier, right shift
  std::vector<Part> parts_;
};

}  // namespace lastmile::npu
