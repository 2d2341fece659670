// SPDX-License-Identifier: Apache-2.0
// AVX-512 F, BW, DQ, VL: the same, sixteen channels at a time.
#include "cmodel/npu/kernels/table.hpp"
#include "cmodel/npu/kernels/tables.hpp"

namespace lastmile::npu {

const Kernels kAvx512Kernels = table("avx512");

}  // namespace lastmile::npu
