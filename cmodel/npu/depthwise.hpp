// SPDX-License-Identifier: Apache-2.0
// DEPTHWISE convolution. CONTRACT.md, section Operators.
#pragma once

#include "cmodel/npu/array.hpp"

namespace lastmile::npu {

class Depthwise {
 public:
  explicit Depthwise(int threads) : parts_(static_cast<std::size_t>(threads)) {}
  // One DEPTHWISE; addresses resolved.
  MatrixCount run(Memory& memory, const spec::Descriptor& d, const Perturbation& weights,
                  const Perturbation& bias, Workers& workers);

 private:
  struct alignas(kPartAlign) Part {
    InputRegion region;
    Positions positions;
    Saturations saturated;
  };
  std::vector<std::int16_t> weights_;  // taps x out_c, perturbed
  std::vector<std::int16_t> panels_;   // per 16 channels: tap pairs x 16 channels x 2
  std::vector<Part> parts_;
};

}  // namespace lastmile::npu
