// SPDX-License-Identifier: Apache-2.0
// AVX2 with the dot products of AVX-VNNI (desktop CPUs without AVX-512).
#include "cmodel/npu/kernels/table.hpp"
#include "cmodel/npu/kernels/tables.hpp"

namespace lastmile::npu {

const Kernels kAvxVnniKernels = table("avx-vnni");

}  // namespace lastmile::npu
