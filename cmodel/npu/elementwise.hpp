// SPDX-License-Identifier: Apache-2.0
// Operator ADD on streams of int8 (also fused behind a convolution) and SOFTMAX. CONTRACT.md,
// section Operators.
#pragma once

#include <cstddef>
#include <cstdint>

#include "cmodel/command/counters.hpp"
#include "cmodel/npu/kernels/kernels.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/numeric/fixed.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

[[nodiscard]] inline Saturations saturations(const Outside& o) { return {o.low, o.high}; }

// The addition of one command.
class AddUnit {
 public:
  AddUnit() = default;
  // zp1: zero point of the first addend.
  AddUnit(const spec::Descriptor& d, std::int32_t zp1);

  // Whether kernels can do it, and what they need to know.
  [[nodiscard]] bool narrow() const { return narrow_; }
  [[nodiscard]] const Addition& narrow_form() const { return addition_; }
  // out may be x1 or x2.
  void run(const Kernels& kernels, const std::int8_t* x1, const std::int8_t* x2, std::int8_t* out,
           std::size_t count, Saturations& s) const;

 private:
  numeric::AddParams p_;
  bool narrow_ = false;  // all exponents are in -30..0
  Addition addition_;
};

// A whole command from rows to rows: ADD, SOFTMAX; addresses resolved.
Saturations run_rows(Memory& memory, const spec::Descriptor& d, const Kernels& kernels,
                     Workers& workers);

}  // namespace lastmile::npu
