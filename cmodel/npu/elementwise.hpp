// Operator ADD on streams of int8 (also fused behind a convolution) and SOFTMAX. CONTRACT.md,
// section Operators.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cmodel/npu/counters.hpp"
#include "cmodel/npu/memory.hpp"
#include "cmodel/npu/workers.hpp"
#include "cmodel/numeric/fixed.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// The addition of one command: the two input rescalings as tables over the 256 values of an int8.
class AddUnit {
 public:
  AddUnit() = default;
  // zp1: zero point of the first addend.
  AddUnit(const spec::Descriptor& d, std::int32_t zp1);

  void run(const std::int8_t* x1, const std::int8_t* x2, std::int8_t* out, std::size_t count,
           Saturations& s) const;

 private:
  numeric::AddParams p_;
  bool narrow_ = false;  // every sum of two table values, and the last product, fits
  std::array<std::int64_t, 256> a1_{}, a2_{};  // index: value + 128
  std::array<std::int32_t, 256> n1_{}, n2_{};
};

// Whole commands; addresses resolved.
Saturations run_add(Memory& memory, const spec::Descriptor& d, Workers& workers);
void run_softmax(Memory& memory, const spec::Descriptor& d, Workers& workers);

}  // namespace lastmile::npu
