// SPDX-License-Identifier: Apache-2.0
// For any CPU of the architecture: what the compiler makes of plain loops.
#include "cmodel/npu/kernels/table.hpp"
#include "cmodel/npu/kernels/tables.hpp"

namespace lastmile::npu {

const Kernels kPortableKernels = table("portable");

}  // namespace lastmile::npu
