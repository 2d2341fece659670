// SPDX-License-Identifier: Apache-2.0
// UPDATE: moves one tensor along the sum of its seed pairs' directions. CONTRACT.md, section
// Update.
#pragma once

#include "cmodel/command/control.hpp"
#include "cmodel/npu/kernels/kernels.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

struct UpdateCount {
  std::uint64_t updated = 0;
  std::uint64_t zero = 0;
  std::uint64_t clipped = 0;
};

// One UPDATE; addresses resolved, registers as at its start.
UpdateCount run_update(Memory& memory, const spec::Descriptor& d, const RegisterFile& regs,
                       const Kernels& kernels, Workers& workers);

}  // namespace lastmile::npu
