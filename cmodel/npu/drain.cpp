// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/drain.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace lastmile::npu {
namespace {

constexpr std::int64_t kNarrowSum = 0x7fffffff;
// keeps a saturated result in 32 bits; far outside every output type
constexpr std::int64_t kClampFirst = std::int64_t{1} << 30;

}  // namespace

Drain::Drain(const Memory& memory, const spec::Descriptor& d, const Perturbation& bias) : d_(d) {
  const std::size_t channels = d.out_c;
  for (auto* v : {&bias_, &multiplier_, &exponent_, &right_}) v->assign(channels + kDrainLanes, 0);
  if (d.has(spec::kFlagHasBias)) {
    const std::span<std::int32_t> values(bias_.data(), channels);
    memory.copy_out(d.bias_addr, values);
    Perturber perturber(bias);
    perturber.row(0, values);
    bias_count_ = perturber.count();
  }
  raw_ = d.has(spec::kFlagOut32);
  if (raw_) return;
  std::vector<std::uint32_t> table(2 * channels);
  memory.copy_out(d.rq_addr, std::span<std::uint32_t>(table));
  for (std::size_t c = 0; c < channels; ++c) {
    multiplier_[c] = static_cast<std::int32_t>(table[2 * c] & 0x7fffffff);
    exponent_[c] = std::clamp<std::int32_t>(static_cast<std::int8_t>(table[2 * c + 1]), -40, 30);
    right_[c] = std::clamp<std::int32_t>(-exponent_[c], 0, kNarrowRight);
  }
  const bool wide = d.has(spec::kFlagOut16);
  clamp_ = Clamp(d.out_zp, wide ? -32768 : -128, wide ? 32767 : 127, d.act_min, d.act_max);
  if (d.has(spec::kFlagResAdd)) add_ = AddUnit(d, d.out_zp);
  plain_ = !wide && !d.has(spec::kFlagResAdd);
}

bool Drain::narrow(std::size_t first, std::size_t count,
                   std::span<const std::int64_t> bound) const {
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t bias = bias_[first + i];
    if (exponent_[first + i] > 0 || exponent_[first + i] < -kNarrowRight) return false;
    if (bound[i] + (bias < 0 ? -bias : bias) > kNarrowSum) return false;
  }
  return true;
}

void Drain::rows(Memory& memory, std::span<const std::uint64_t> positions, std::size_t first,
                 std::size_t count, const std::int32_t* sums, Saturations& s) const {
  if (raw_) {  // sums with bias fit 32 bits where narrow() holds
    for (std::size_t p = 0; p < positions.size(); ++p) {
      for (std::size_t c = 0; c < count; ++c) {
        memory.store(d_.out_addr + 4 * (positions[p] + first + c),
                     sums[p * kDrainLanes + c] + bias_[first + c]);
      }
    }
    return;
  }
  for (std::size_t c = 0; c < count; c += kLanes) {
    const Lanes bias = Lanes::load(&bias_[first + c]);
    const Rescale rescale(Lanes::load(&multiplier_[first + c]), Lanes::load(&right_[first + c]));
    const std::size_t used = std::min(kLanes, count - c);
    if (plain_ && used == kLanes) {
      // nearly all outputs; locals, because the stores might alias members
      const Clamp clamp = clamp_;
      Saturations counted;
      std::int8_t* const to = memory.int8(d_.out_addr + first + c);
      for (std::size_t p = 0; p < positions.size(); ++p) {
        const Lanes sum = Lanes::load(sums + p * kDrainLanes + c) + bias;
        const std::uint64_t bytes = pack_bytes(clamp(rescale(sum), 0xff, counted));
        std::memcpy(to + positions[p], &bytes, kLanes);
      }
      s += counted;
      continue;
    }
    for (std::size_t p = 0; p < positions.size(); ++p) {
      const Lanes sum = Lanes::load(sums + p * kDrainLanes + c) + bias;
      store(memory, positions[p] + first + c, used, rescale(sum), s);
    }
  }
}

void Drain::rows(Memory& memory, std::span<const std::uint64_t> positions, std::size_t first,
                 std::size_t count, const std::int64_t* sums, Saturations& s) const {
  for (std::size_t p = 0; p < positions.size(); ++p, sums += kDrainLanes) {
    if (raw_) {
      for (std::size_t c = 0; c < count; ++c) {
        const std::int64_t v = sums[c] + bias_[first + c];
        const std::int64_t out = std::clamp<std::int64_t>(v, INT32_MIN, INT32_MAX);
        s.low += out > v ? 1 : 0;
        s.high += out < v ? 1 : 0;
        memory.store(d_.out_addr + 4 * (positions[p] + first + c), static_cast<std::int32_t>(out));
      }
      continue;
    }
    for (std::size_t c = 0; c < count; c += kLanes) {
      const std::size_t used = std::min(kLanes, count - c);
      std::array<std::int32_t, kLanes> y{};
      for (std::size_t i = 0; i < used; ++i) {
        const std::size_t o = first + c + i;
        const std::int64_t v =
            numeric::rescale(sums[c + i] + bias_[o], multiplier_[o], exponent_[o]);
        y[i] = static_cast<std::int32_t>(std::clamp(v, -kClampFirst, kClampFirst));
      }
      store(memory, positions[p] + first + c, used, Lanes::load(y.data()), s);
    }
  }
}

inline void Drain::store(Memory& memory, std::uint64_t element, std::size_t count, const Lanes& y,
                         Saturations& s) const {
  const Lanes out = clamp_(y, (1U << count) - 1, s);
  if (d_.has(spec::kFlagOut16)) {
    std::array<std::int32_t, kLanes> values;
    out.store(values.data());
    for (std::size_t i = 0; i < count; ++i) {
      memory.store(d_.out_addr + 2 * (element + i), static_cast<std::int16_t>(values[i]));
    }
    return;
  }
  const std::uint64_t bytes = pack_bytes(out);
  std::int8_t* to = memory.int8(d_.out_addr + element);
  if (d_.has(spec::kFlagResAdd)) {
    std::array<std::int8_t, kLanes> first;
    std::memcpy(first.data(), &bytes, kLanes);
    add_.run(first.data(), memory.int8(d_.in2_addr + element), to, count, s);
  } else {
    store_bytes(to, bytes, count);
  }
}

}  // namespace lastmile::npu
