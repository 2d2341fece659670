// SPDX-License-Identifier: Apache-2.0
// Operator ADD on streams of int8 (also fused behind a convolution) and SOFTMAX. CONTRACT.md,
// section Operators.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cmodel/command/counters.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/requant.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/numeric/fixed.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// The addition of one command.
class AddUnit {
 public:
  AddUnit() = default;
  // zp1: zero point of the first addend.
  AddUnit(const spec::Descriptor& d, std::int32_t zp1);

  // out may be x1 or x2.
  void run(const std::int8_t* x1, const std::int8_t* x2, std::int8_t* out, std::size_t count,
           Saturations& s) const;

 private:
  numeric::AddParams p_;
  bool narrow_ = false;  // all exponents are in -30..0
  Rescale first_, second_, sum_;
  Clamp clamp_;
};

// Whole commands; addresses resolved.
Saturations run_add(Memory& memory, const spec::Descriptor& d, Workers& workers);
void run_softmax(Memory& memory, const spec::Descriptor& d, Workers& workers);

}  // namespace lastmile::npu
