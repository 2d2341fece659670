// SPDX-License-Identifier: Apache-2.0
// numeric::rescale, zero point and clamp for sums of at most 32 bits and exponents -30..0, which is
// nearly every output: the same bits with 64-bit products, eight lanes at a time.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cmodel/command/counters.hpp"
#include "cmodel/numeric/fixed.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lastmile::npu {

inline constexpr std::size_t kLanes = 8;
inline constexpr std::int32_t kNarrowRight = 30;  // largest right shift of the narrow path

// Eight 32-bit integers.
struct Lanes {
#if defined(__AVX2__)
  __m256i v;
  static Lanes load(const std::int32_t* p) {
    return {_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))};
  }
  static Lanes all(std::int32_t x) { return {_mm256_set1_epi32(x)}; }
  void store(std::int32_t* p) const { _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v); }
  // wraps
  friend Lanes operator+(Lanes a, Lanes b) { return {_mm256_add_epi32(a.v, b.v)}; }
  friend Lanes operator-(Lanes a, Lanes b) { return {_mm256_sub_epi32(a.v, b.v)}; }
  [[nodiscard]] Lanes clamp(Lanes low, Lanes high) const {
    return {_mm256_min_epi32(_mm256_max_epi32(v, low.v), high.v)};
  }
  [[nodiscard]] Lanes shift_left(int n) const { return {_mm256_slli_epi32(v, n)}; }
  // bit i: lane i of this above lane i of b
  [[nodiscard]] std::uint32_t above(Lanes b) const {
    return static_cast<std::uint32_t>(
        _mm256_movemask_ps(_mm256_castsi256_ps(_mm256_cmpgt_epi32(v, b.v))));
  }
#else
  std::array<std::int32_t, kLanes> v;
  template <class F>
  static Lanes make(const F& f) {
    Lanes r;
    for (std::size_t i = 0; i < kLanes; ++i) r.v[i] = f(i);
    return r;
  }
  static Lanes load(const std::int32_t* p) {
    return make([&](std::size_t i) { return p[i]; });
  }
  static Lanes all(std::int32_t x) {
    return make([&](std::size_t) { return x; });
  }
  void store(std::int32_t* p) const { std::copy(v.begin(), v.end(), p); }
  friend Lanes operator+(const Lanes& a, const Lanes& b) {
    return make([&](std::size_t i) {
      return static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) +
                                       static_cast<std::uint32_t>(b.v[i]));
    });
  }
  friend Lanes operator-(const Lanes& a, const Lanes& b) {
    return make([&](std::size_t i) {
      return static_cast<std::int32_t>(static_cast<std::uint32_t>(a.v[i]) -
                                       static_cast<std::uint32_t>(b.v[i]));
    });
  }
  [[nodiscard]] Lanes clamp(const Lanes& low, const Lanes& high) const {
    return make([&](std::size_t i) { return std::min(std::max(v[i], low.v[i]), high.v[i]); });
  }
  [[nodiscard]] Lanes shift_left(int n) const {
    return make([&](std::size_t i) {
      return static_cast<std::int32_t>(static_cast<std::uint32_t>(v[i]) << n);
    });
  }
  [[nodiscard]] std::uint32_t above(const Lanes& b) const {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < kLanes; ++i) bits |= (v[i] > b.v[i] ? 1U : 0U) << i;
    return bits;
  }
#endif
};

// Multipliers and right shifts of eight lanes. m in 0..2^31-1, r in 0..30.
class Rescale {
 public:
  Rescale() = default;
  Rescale(Lanes m, Lanes r) : m_(m), r_(r) {
#if defined(__AVX2__)
    mask_ = _mm256_sub_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), r.v), _mm256_set1_epi32(1));
#endif
  }

  // numeric::rescale(a, m, -r) of each lane.
  [[nodiscard]] Lanes operator()(const Lanes& a) const {
#if defined(__AVX2__)
    const __m256i half = _mm256_set1_epi64x(std::int64_t{1} << 30);
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a.v, m_.v), half);
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(a.v, 32), _mm256_srli_epi64(m_.v, 32)), half);
    // bits 31..62 of each product, in the low and in the high half
    const __m256i h =
        _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xaa);
    const __m256i threshold =
        _mm256_sub_epi32(_mm256_srli_epi32(mask_, 1), _mm256_srai_epi32(h, 31));
    const __m256i up = _mm256_cmpgt_epi32(_mm256_and_si256(h, mask_), threshold);
    return {_mm256_sub_epi32(_mm256_srav_epi32(h, r_.v), up)};
#else
    return Lanes::make([&](std::size_t i) {
      const std::int64_t p = static_cast<std::int64_t>(a.v[i]) * m_.v[i] + (std::int64_t{1} << 30);
      const auto h = static_cast<std::int32_t>(p >> 31);
      const auto mask = static_cast<std::int32_t>((1U << r_.v[i]) - 1);
      return (h >> r_.v[i]) + ((h & mask) > (mask >> 1) + (h < 0 ? 1 : 0) ? 1 : 0);
    });
#endif
  }

 private:
  Lanes m_, r_;
#if defined(__AVX2__)
  __m256i mask_;
#endif
};

// Zero point, saturation counters and clamp of one output type.
class Clamp {
 public:
  Clamp() = default;
  Clamp(std::int32_t zero_point, std::int32_t type_low, std::int32_t type_high,
        std::int32_t act_min, std::int32_t act_max)
      : zero_point_(Lanes::all(zero_point)),
        low_(Lanes::all(type_low - zero_point)),
        high_(Lanes::all(type_high - zero_point)),
        least_(Lanes::all(act_min - zero_point)),
        most_(Lanes::all(act_max - zero_point)) {}

  // Lanes with a bit in `used` are counted.
  [[nodiscard]] Lanes operator()(const Lanes& y, std::uint32_t used, Saturations& s) const {
    s.low += static_cast<std::uint64_t>(std::popcount(low_.above(y) & used));
    s.high += static_cast<std::uint64_t>(std::popcount(y.above(high_) & used));
    return y.clamp(least_, most_) + zero_point_;
  }

 private:
  Lanes zero_point_, low_, high_, least_, most_;
};

// Eight values that fit int8, as bytes.
inline std::uint64_t pack_bytes(const Lanes& y) {
#if defined(__AVX2__)
  const __m128i words =
      _mm_packs_epi32(_mm256_castsi256_si128(y.v), _mm256_extracti128_si256(y.v, 1));
  return static_cast<std::uint64_t>(_mm_cvtsi128_si64(_mm_packs_epi16(words, words)));
#else
  std::uint64_t bytes = 0;
  for (std::size_t i = 0; i < kLanes; ++i) {
    bytes |= std::uint64_t{static_cast<std::uint8_t>(y.v[i])} << (8 * i);
  }
  return bytes;
#endif
}
inline Lanes unpack_bytes(std::uint64_t bytes) {
#if defined(__AVX2__)
  return {_mm256_cvtepi8_epi32(_mm_cvtsi64_si128(static_cast<long long>(bytes)))};
#else
  return Lanes::make(
      [&](std::size_t i) { return static_cast<std::int8_t>(bytes >> (8 * i) & 0xff); });
#endif
}

// `count` bytes, at most eight; the rest is zero.
inline std::uint64_t load_bytes(const std::int8_t* from, std::size_t count) {
  std::uint64_t bytes = 0;
  if (count == kLanes) {
    std::memcpy(&bytes, from, kLanes);
  } else {
    std::memcpy(&bytes, from, count);
  }
  return bytes;
}
inline void store_bytes(std::int8_t* to, std::uint64_t bytes, std::size_t count) {
  if (count == kLanes) {
    std::memcpy(to, &bytes, kLanes);
  } else {
    std::memcpy(to, &bytes, count);
  }
}

}  // namespace lastmile::npu
