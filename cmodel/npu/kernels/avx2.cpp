// SPDX-License-Identifier: Apache-2.0
// AVX2: 16-bit multiply-add of pairs, eight channels at a time.
#include "cmodel/npu/kernels/table.hpp"
#include "cmodel/npu/kernels/tables.hpp"

namespace lastmile::npu {

const Kernels kAvx2Kernels = table("avx2");

}  // namespace lastmile::npu
