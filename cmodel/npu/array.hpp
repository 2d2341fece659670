// SPDX-License-Identifier: Apache-2.0
// CONV2D and fully connected layers: the multiply-accumulate array. CONTRACT.md, sections
// Accumulation and Operators.
#pragma once

#include <cstdint>
#include <vector>

#include "cmodel/npu/drain.hpp"
#include "cmodel/npu/load.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/weight.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// Output positions of a block: where each reads in the input region, and the element of the output
// that its first channel is.
struct Positions {
  // pixel: elements of one pixel of the region.
  void fill(const spec::Descriptor& d, const BlockPlan& plan, const Block& block,
            std::size_t pixel);
  std::vector<std::int32_t> input;
  std::vector<std::uint64_t> output;
};

// Events that only the data decide.
struct MatrixCount {
  PerturbCount perturbed;
  Saturations saturated;
};

class Array {
 public:
  Array(const Kernels& kernels, int threads)
      : kernels_(kernels), parts_(static_cast<std::size_t>(threads)) {}
  // One CONV2D; addresses resolved.
  MatrixCount run(Memory& memory, const spec::Descriptor& d, const Perturbation& weights,
                  const Perturbation& bias, Workers& workers);

 private:
  struct alignas(kPartAlign) Part {  // scratch of one thread
    InputRegion region;
    Positions positions;
    std::vector<std::int32_t> sums;
    std::vector<std::int64_t> wide;
    Saturations saturated;
  };
  // One group of channels the general way: sums in 64 bits.
  void general(Memory& memory, const Drain& drain, const PanelGroup& g, const Product& product,
               Part& part) const;

  const Kernels& kernels_;
  WeightPanels panels_;
  std::vector<Part> parts_;
};

}  // namespace lastmile::npu
