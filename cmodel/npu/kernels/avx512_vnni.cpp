// SPDX-License-Identifier: Apache-2.0
// AVX-512 with the dot products of VNNI, of 16-bit pairs and of four bytes.
#include "cmodel/npu/kernels/table.hpp"
#include "cmodel/npu/kernels/tables.hpp"

namespace lastmile::npu {

const Kernels kAvx512VnniKernels = table("avx512-vnni");

}  // namespace lastmile::npu
