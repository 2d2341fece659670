// SPDX-License-Identifier: Apache-2.0
// LOSS: softmax cross-entropy of a batch of logits, and the errors of its outputs. CONTRACT.md,
// section Loss.
#pragma once

#include "cmodel/command/control.hpp"
#include "cmodel/npu/kernels/kernels.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// One LOSS; addresses resolved. seed: of the rounding of errors (flag ERRORS).
[[nodiscard]] LossResult run_loss(Memory& memory, const spec::Descriptor& d, std::uint64_t seed,
                                  const Kernels& kernels, Workers& workers);

}  // namespace lastmile::npu
