// SPDX-License-Identifier: Apache-2.0
// The kernels as this file's includer is compiled, as one table.
#pragma once

#include "cmodel/npu/kernels/product.hpp"
#include "cmodel/npu/kernels/rows.hpp"

namespace lastmile::npu {
namespace {

constexpr Kernels table(const char* name) {
  return {.name = name,
          .panels = kPanelsTogether,
          .bytes = kBytes,
          .byte_zero = kByteZero,
          .fold = kFold,
          .widen = kernel_widen,
          .shift_bytes = kernel_shift_bytes,
          .spread_row = kernel_spread_row,
          .sums = kernel_sums,
          .product = kernel_product,
          .add = kernel_add,
          .pool_max = kernel_pool_max,
          .pool_average = kernel_pool_average,
          .hash = kernel_hash,
          .perturb = kernel_perturb,
          .add_z = kernel_add_z,
          .update8 = kernel_update8,
          .update16 = kernel_update16};
}

}  // namespace
}  // namespace lastmile::npu
