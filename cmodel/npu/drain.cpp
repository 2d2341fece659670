#include "cmodel/npu/drain.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>

#include "cmodel/npu/requant.hpp"

namespace lastmile::npu {
namespace {

constexpr std::int64_t kNarrowSum = 0x7fffffff;
constexpr std::int64_t kClampFirst =
    std::int64_t{1} << 30;  // keeps a saturated result in 32 bits; far outside every output type

}  // namespace

Drain::Drain(const Memory& memory, const spec::Descriptor& d, const Perturbation& bias)
    : d_(d),
      type_low_(d.has(spec::kFlagOut16) ? -32768 : -128),
      type_high_(d.has(spec::kFlagOut16) ? 32767 : 127) {
  const std::size_t channels = d.out_c;
  for (auto* v : {&bias_, &multiplier_, &exponent_, &right_}) v->assign(channels + kDrainLanes, 0);
  if (d.has(spec::kFlagHasBias)) {
    const std::span<std::int32_t> values(bias_.data(), channels);
    memory.copy_out(d.bias_addr, values);
    Perturber perturber(bias);
    perturber.row(0, values);
    bias_count_ = perturber.count();
  }
  std::vector<std::uint32_t> table(2 * channels);
  memory.copy_out(d.rq_addr, std::span<std::uint32_t>(table));
  for (std::size_t c = 0; c < channels; ++c) {
    multiplier_[c] = static_cast<std::int32_t>(table[2 * c] & 0x7fffffff);
    exponent_[c] = std::clamp<std::int32_t>(static_cast<std::int8_t>(table[2 * c + 1]), -40, 30);
    right_[c] = std::clamp<std::int32_t>(-exponent_[c], 0, kNarrowRight);
  }
  if (d.has(spec::kFlagResAdd)) add_ = AddUnit(d, d.out_zp);
}

bool Drain::narrow(std::size_t first, std::size_t count,
                   std::span<const std::int64_t> bound) const {
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t bias = bias_[first + i];
    if (exponent_[first + i] > 0 || exponent_[first + i] < -kNarrowRight ||
        bound[i] + (bias < 0 ? -bias : bias) > kNarrowSum)
      return false;
  }
  return true;
}

void Drain::row(Memory& memory, std::uint64_t position, std::size_t first, std::size_t count,
                const std::int32_t* sums, Saturations& s) const {
  std::array<std::int32_t, kDrainLanes> y;
  // lanes behind `count` hold other channels' values and may wrap
  for (std::size_t i = 0; i < kDrainLanes; ++i) {
    y[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(sums[i]) +
                                     static_cast<std::uint32_t>(bias_[first + i]));
  }
  rescale_lanes(y.data(), &multiplier_[first], &right_[first], y.data());
  store(memory, position, first, count, y.data(), s);
}

void Drain::row(Memory& memory, std::uint64_t position, std::size_t first, std::size_t count,
                const std::int64_t* sums, Saturations& s) const {
  std::array<std::int32_t, kDrainLanes> y{};
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t v =
        numeric::rescale(sums[i] + bias_[first + i], multiplier_[first + i], exponent_[first + i]);
    y[i] = static_cast<std::int32_t>(std::clamp(v, -kClampFirst, kClampFirst));
  }
  store(memory, position, first, count, y.data(), s);
}

void Drain::store(Memory& memory, std::uint64_t position, std::size_t first, std::size_t count,
                  const std::int32_t* values, Saturations& s) const {
  const std::int32_t zp = d_.out_zp;
  const std::int32_t low = type_low_ - zp, high = type_high_ - zp;
  const std::int32_t least = d_.act_min - zp, most = d_.act_max - zp;
  std::array<std::int32_t, kDrainLanes> out;
  std::uint32_t below = 0, above = 0;
  for (std::size_t i = 0; i < kDrainLanes; ++i) {
    below |= (values[i] < low ? 1u : 0u) << i;
    above |= (values[i] > high ? 1u : 0u) << i;
    out[i] = std::clamp(values[i], least, most) + zp;
  }
  const std::uint32_t used = (1u << count) - 1;
  s.low += static_cast<std::uint64_t>(std::popcount(below & used));
  s.high += static_cast<std::uint64_t>(std::popcount(above & used));
  const std::uint64_t element = position * d_.out_c + first;
  if (d_.has(spec::kFlagOut16)) {
    for (std::size_t i = 0; i < count; ++i)
      memory.store(d_.out_addr + 2 * (element + i), static_cast<std::int16_t>(out[i]));
    return;
  }
  std::array<std::int8_t, kDrainLanes> bytes;
  for (std::size_t i = 0; i < kDrainLanes; ++i) bytes[i] = static_cast<std::int8_t>(out[i]);
  if (d_.has(spec::kFlagResAdd))
    add_.run(bytes.data(), memory.int8(d_.in2_addr + element), bytes.data(), count, s);
  std::memcpy(memory.int8(d_.out_addr + element), bytes.data(), count);
}

}  // namespace lastmile::npu
