// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/drain.hpp"

#include <algorithm>
#include <array>

#include "cmodel/numeric/fixed.hpp"

namespace lastmile::npu {

Drain::Drain(const Memory& memory, const spec::Descriptor& d, const Perturbation& bias,
             const Kernels& kernels)
    : kernels_(kernels), d_(d) {
  const std::size_t channels = d.out_c;
  for (auto* v : {&bias_, &multiplier_, &exponent_}) v->assign(channels, 0);
  if (d.has(spec::kFlagHasBias)) {
    memory.copy_out(d.bias_addr, std::span(bias_));
    Perturber perturber(kernels, bias);
    perturber.row(0, std::span(bias_));
    bias_count_ = perturber.count();
  }
  raw_ = d.has(spec::kFlagOut32);
  if (raw_) return;
  std::vector<std::uint32_t> table(2 * channels);
  memory.copy_out(d.rq_addr, std::span<std::uint32_t>(table));
  for (std::size_t c = 0; c < channels; ++c) {
    multiplier_[c] = static_cast<std::int32_t>(table[2 * c] & 0x7fffffff);
    exponent_[c] = std::clamp<std::int32_t>(static_cast<std::int8_t>(table[2 * c + 1]),
                                            spec::kExponentMin, spec::kExponentMax);
  }
  if (d.has(spec::kFlagResAdd)) add_ = AddUnit(d, d.out_zp);
}

bool Drain::narrow(std::size_t first, std::size_t count,
                   std::span<const std::int64_t> bound) const {
  if (raw_ || d_.has(spec::kFlagOut16) || (d_.has(spec::kFlagResAdd) && !add_.narrow()))
    return false;
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t bias = bias_[first + i];
    if (exponent_[first + i] > 0 || exponent_[first + i] < -kNarrowRight) return false;
    if (bound[i] + (bias < 0 ? -bias : bias) > kNarrowSum) return false;
  }
  return true;
}

Output Drain::output(Memory& memory, std::size_t first, std::size_t channels) const {
  Output o;
  o.zero_point = d_.out_zp;
  o.act_min = d_.act_min;
  o.act_max = d_.act_max;
  o.channels = channels;
  o.to = memory.int8(d_.out_addr + first);
  o.pitch = 1;  // positions are elements
  if (d_.has(spec::kFlagResAdd)) {
    o.addition = &add_.narrow_form();
    o.other = memory.int8(d_.in2_addr + first);
  }
  return o;
}

void Drain::raw_row(Memory& memory, std::uint64_t element, std::span<const std::int64_t> sums,
                    std::size_t first, Saturations& s) const {
  for (std::size_t i = 0; i < sums.size(); ++i) {
    const std::int64_t v = sums[i] + bias_[first + i];
    const std::int64_t out = std::clamp<std::int64_t>(v, INT32_MIN, INT32_MAX);
    s.low += out > v ? 1 : 0;
    s.high += out < v ? 1 : 0;
    memory.store(d_.out_addr + 4 * (element + i), static_cast<std::int32_t>(out));
  }
}

void Drain::rows(Memory& memory, std::span<const std::uint64_t> positions, std::size_t first,
                 std::size_t count, const std::int64_t* sums, std::size_t step,
                 Saturations& s) const {
  const bool out16 = d_.has(spec::kFlagOut16), add = d_.has(spec::kFlagResAdd);
  const std::int64_t low = out16 ? -32768 : -128, high = out16 ? 32767 : 127;
  std::array<std::int8_t, kMostPanels * kPanel> first_addend{};
  for (std::size_t p = 0; p < positions.size(); ++p, sums += step) {
    const std::uint64_t element = positions[p] + first;
    if (raw_) {
      raw_row(memory, element, {sums, count}, first, s);
      continue;
    }
    // the second addend may stand where the sum goes
    std::int8_t* const to = add ? first_addend.data() : memory.int8(d_.out_addr + element);
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t o = first + i;
      const std::int64_t y =
          numeric::rescale(sums[i] + bias_[o], multiplier_[o], exponent_[o]) + d_.out_zp;
      s.low += y < low ? 1 : 0;
      s.high += y > high ? 1 : 0;
      const std::int64_t value = std::clamp<std::int64_t>(y, d_.act_min, d_.act_max);
      if (out16) {
        memory.store(d_.out_addr + 2 * (element + i), static_cast<std::int16_t>(value));
      } else {
        to[i] = static_cast<std::int8_t>(value);
      }
    }
    if (!add) continue;
    add_.run(kernels_, to, memory.int8(d_.in2_addr + element), memory.int8(d_.out_addr + element),
             count, s);
  }
}

}  // namespace lastmile::npu
