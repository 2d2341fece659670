#include "cmodel/npu/elementwise.hpp"

#include <algorithm>
#include <vector>

#include "cmodel/npu/requant.hpp"
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
  std::int64_t largest1 = 0, largest2 = 0;
  for (std::int32_t x = -128; x < 128; ++x) {
    const auto i = static_cast<std::size_t>(x + 128);
    a1_[i] = numeric::rescale(static_cast<std::int64_t>(x - p_.zp1) << p_.left_shift, p_.m1, p_.e1);
    a2_[i] = numeric::rescale(static_cast<std::int64_t>(x - p_.zp2) << p_.left_shift, p_.m2, p_.e2);
    largest1 = std::max(largest1, a1_[i] < 0 ? -a1_[i] : a1_[i]);
    largest2 = std::max(largest2, a2_[i] < 0 ? -a2_[i] : a2_[i]);
  }
  narrow_ = largest1 + largest2 <= 0x7fffffff && p_.eo <= 0 && p_.eo >= -kNarrowRight;
  if (!narrow_) return;
  for (std::size_t i = 0; i < 256; ++i) {
    n1_[i] = static_cast<std::int32_t>(a1_[i]);
    n2_[i] = static_cast<std::int32_t>(a2_[i]);
  }
}

void AddUnit::run(const std::int8_t* x1, const std::int8_t* x2, std::int8_t* out, std::size_t count,
                  Saturations& s) const {
  std::size_t i = 0;
  if (narrow_) {
    std::array<std::int32_t, kLanes> m, r, y;
    m.fill(p_.mo);
    r.fill(-p_.eo);
    for (; i + kLanes <= count; i += kLanes) {
      for (std::size_t k = 0; k < kLanes; ++k) {
        y[k] = n1_[static_cast<std::size_t>(x1[i + k] + 128)] +
               n2_[static_cast<std::size_t>(x2[i + k] + 128)];
      }
      rescale_lanes(y.data(), m.data(), r.data(), y.data());
      std::uint32_t low = 0, high = 0;
      for (std::size_t k = 0; k < kLanes; ++k) {
        low += y[k] < -128 - p_.zp_out ? 1 : 0;
        high += y[k] > 127 - p_.zp_out ? 1 : 0;
        out[i + k] = static_cast<std::int8_t>(
            std::clamp(y[k], p_.act_min - p_.zp_out, p_.act_max - p_.zp_out) + p_.zp_out);
      }
      s.low += low;
      s.high += high;
    }
  }
  for (; i < count; ++i) {
    const std::int64_t sum =
        a1_[static_cast<std::size_t>(x1[i] + 128)] + a2_[static_cast<std::size_t>(x2[i] + 128)];
    const std::int64_t y =
        numeric::rescale(std::clamp(sum, numeric::kAccMin, numeric::kAccMax), p_.mo, p_.eo) +
        p_.zp_out;
    s.low += y < -128 ? 1 : 0;
    s.high += y > 127 ? 1 : 0;
    out[i] = static_cast<std::int8_t>(std::clamp<std::int64_t>(y, p_.act_min, p_.act_max));
  }
}

Saturations run_add(Memory& memory, const spec::Descriptor& d, Workers& workers) {
  const AddUnit unit(d, d.in_zp);
  std::vector<Saturations> parts(static_cast<std::size_t>(workers.threads()));
  workers.split(std::uint64_t{d.n} * d.in_c, [&](int part, std::uint64_t begin, std::uint64_t end) {
    unit.run(memory.int8(d.in_addr + begin), memory.int8(d.in2_addr + begin),
             memory.int8(d.out_addr + begin), end - begin, parts[static_cast<std::size_t>(part)]);
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

}  // namespace lastmile::npu
