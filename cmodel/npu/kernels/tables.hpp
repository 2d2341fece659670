// SPDX-License-Identifier: Apache-2.0
// One table per file that is compiled for an instruction set of its own (sw/build.mk).
#pragma once

#include "cmodel/npu/kernels/kernels.hpp"

namespace lastmile::npu {

extern const Kernels kPortableKernels;
#if defined(__x86_64__)
extern const Kernels kAvx2Kernels, kAvxVnniKernels, kAvx512Kernels, kAvx512VnniKernels;
#elif defined(__aarch64__)
extern const Kernels kNeonDotKernels;
#endif

}  // namespace lastmile::npu
