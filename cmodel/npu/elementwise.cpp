// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/elementwise.hpp"

#include <algorithm>
#include <vector>

#include "cmodel/numeric/softmax.hpp"

namespace lastmile::npu {

AddUnit::AddUnit(const spec::Descriptor& d, std::int32_t zp1)
    : p_{.zp1 = zp1,
         .zp2 = d.in2_zp,
         .zp_out = d.add_zp,
         .m1 = static_cast<std::int32_t>(d.m1),
         .m2 = static_cast<std::int32_t>(d.m2),
         .mo = static_cast<std::int32_t>(d.mo),
         .e1 = d.e1,
         .e2 = d.e2,
         .eo = d.eo,
         .left_shift = static_cast<int>(d.add_shift),
         .act_min = d.add_act_min,
         .act_max = d.add_act_max} {
  // addends have at most 28 bits before the rescaling and no more after it, so their sum fits
  narrow_ = true;
  for (const int e : {p_.e1, p_.e2, p_.eo}) narrow_ = narrow_ && e <= 0 && e >= -kNarrowRight;
  if (!narrow_) return;
  addition_ = {.zp1 = p_.zp1,
               .zp2 = p_.zp2,
               .zp_out = p_.zp_out,
               .m1 = p_.m1,
               .m2 = p_.m2,
               .mo = p_.mo,
               .right1 = -p_.e1,
               .right2 = -p_.e2,
               .right_out = -p_.eo,
               .left = p_.left_shift,
               .act_min = p_.act_min,
               .act_max = p_.act_max};
}

void AddUnit::run(const Kernels& kernels, const std::int8_t* x1, const std::int8_t* x2,
                  std::int8_t* out, std::size_t count, Saturations& s) const {
  if (narrow_) {
    Outside outside;
    kernels.add(addition_, x1, x2, out, count, outside);
    s += saturations(outside);
    return;
  }
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t y = numeric::add_unclamped(x1[i], x2[i], p_);
    s.low += y < -128 ? 1 : 0;
    s.high += y > 127 ? 1 : 0;
    out[i] = static_cast<std::int8_t>(std::clamp<std::int64_t>(y, p_.act_min, p_.act_max));
  }
}

namespace {

Saturations run_add(Memory& memory, const spec::Descriptor& d, const Kernels& kernels,
                    Workers& workers) {
  const AddUnit unit(d, d.in_zp);
  std::vector<Saturations> parts(static_cast<std::size_t>(workers.threads()));
  workers.split(std::uint64_t{d.n} * d.in_c, [&](int part, std::uint64_t begin, std::uint64_t end) {
    Saturations counted;
    unit.run(kernels, memory.int8(d.in_addr + begin), memory.int8(d.in2_addr + begin),
             memory.int8(d.out_addr + begin), end - begin, counted);
    parts[static_cast<std::size_t>(part)] = counted;
  });
  Saturations sum;
  for (const Saturations& s : parts) sum += s;
  return sum;
}

void run_softmax(Memory& memory, const spec::Descriptor& d, Workers& workers) {
  workers.split(d.n, [&](int, std::uint64_t begin, std::uint64_t end) {
    for (std::uint64_t row = begin; row < end; ++row) {
      numeric::softmax::row({memory.int8(d.in_addr + row * d.in_c), d.in_c},
                            {memory.int8(d.out_addr + row * d.in_c), d.in_c},
                            static_cast<std::int32_t>(d.m1), d.e1, d.diff_min);
    }
  });
}

}  // namespace

Saturations run_rows(Memory& memory, const spec::Descriptor& d, const Kernels& kernels,
                     Workers& workers) {
  using spec::Opcode;
  switch (d.op()) {
    case Opcode::add_:
      return run_add(memory, d, kernels, workers);
    case Opcode::softmax_:
      run_softmax(memory, d, workers);
      break;
    case Opcode::end_:
    case Opcode::conv2d_:
    case Opcode::depthwise_:
    case Opcode::pool_:
    case Opcode::loss_:
    case Opcode::update_:
      break;
  }
  return {};
}

}  // namespace lastmile::npu
