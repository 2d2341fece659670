// SPDX-License-Identifier: Apache-2.0
// Arm with the dot products of ARMv8.2, of four bytes. The portable kernels use NEON, too.
#include "cmodel/npu/kernels/table.hpp"
#include "cmodel/npu/kernels/tables.hpp"

namespace lastmile::npu {

const Kernels kNeonDotKernels = table("neon-dot");

}  // namespace lastmile::npu
