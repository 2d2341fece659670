// SPDX-License-Identifier: Apache-2.0
// POOL: maximum and average over the taps inside the image. CONTRACT.md, section Operators.
#pragma once

#include "cmodel/npu/kernels/kernels.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// One POOL; addresses resolved.
void run_pool(Memory& memory, const spec::Descriptor& d, const Kernels& kernels, Workers& workers);

}  // namespace lastmile::npu
