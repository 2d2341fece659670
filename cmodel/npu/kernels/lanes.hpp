// SPDX-License-Identifier: Apache-2.0
// Sixteen 32-bit integers, as wide as the file that includes this is compiled for, and the
// requantization of sixteen sums. Everything here has internal linkage.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "cmodel/npu/kernels/kernels.hpp"

// g++ 12 takes the undefined operands of AVX-512 intrinsics for uninitialized variables (GCC bug
// 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif

#if defined(__SSE4_1__)
#include <immintrin.h>
#elif defined(__ARM_NEON)
#include <arm_neon.h>
#endif

#define LASTMILE_INLINE [[gnu::always_inline]] inline

namespace lastmile::npu {
namespace {

#if defined(__AVX512BW__)
constexpr std::size_t kVectorBytes = 64;
#elif defined(__AVX2__)
constexpr std::size_t kVectorBytes = 32;
#else
constexpr std::size_t kVectorBytes = 16;
#endif
constexpr std::size_t kVectorLanes = kVectorBytes / 4;
constexpr std::size_t kParts = kPanel / kVectorLanes;

using Vector [[gnu::vector_size(kVectorBytes)]] = std::int32_t;

struct Lanes {
  Vector part[kParts];

  LASTMILE_INLINE static Lanes load(const std::int32_t* from) {
    Lanes r;
    std::memcpy(r.part, from, sizeof r.part);
    return r;
  }
  LASTMILE_INLINE static Lanes all(std::int32_t x) {
    Lanes r;
    for (Vector& v : r.part) v = Vector{} + x;
    return r;
  }
  LASTMILE_INLINE void store(std::int32_t* to) const { std::memcpy(to, part, sizeof part); }
  // Sixteen int8, widened; only `used` are read, the others are zero.
  LASTMILE_INLINE static Lanes bytes(const std::int8_t* from, std::size_t used) {
    std::int8_t own[kPanel] = {};
    if (used != kPanel) {
      std::memcpy(own, from, used);
      from = own;
    }
    Lanes r;
#if defined(__AVX512BW__)
    r.part[0] =
        Vector(_mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(from))));
#elif defined(__AVX2__)
    for (std::size_t i = 0; i < kParts; ++i)
      r.part[i] = Vector(
          _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(from + 8 * i))));
#else
    for (std::size_t i = 0; i < kPanel; ++i) r.part[i / kVectorLanes][i % kVectorLanes] = from[i];
#endif
    return r;
  }
  // As int8, which they fit.
  LASTMILE_INLINE void store_bytes(std::int8_t* to, std::size_t used) const {
    std::int8_t own[kPanel];
    std::int8_t* const at = used == kPanel ? to : own;
#if defined(__AVX512BW__)
    _mm_storeu_si128(reinterpret_cast<__m128i*>(at), _mm512_cvtepi32_epi8(__m512i(part[0])));
#elif defined(__AVX2__)
    const __m256i words =
        _mm256_permute4x64_epi64(_mm256_packs_epi32(__m256i(part[0]), __m256i(part[1])), 0xd8);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(at),
        _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1)));
#else
    for (std::size_t i = 0; i < kPanel; ++i)
      at[i] = static_cast<std::int8_t>(part[i / kVectorLanes][i % kVectorLanes]);
#endif
    if (at != to) std::memcpy(to, own, used);
  }
  // Element by element; + and - wrap.
  template <class F>
  LASTMILE_INLINE static Lanes zip(const Lanes& a, const Lanes& b, const F& f) {
    Lanes r;
    for (std::size_t i = 0; i < kParts; ++i) r.part[i] = f(a.part[i], b.part[i]);
    return r;
  }
  LASTMILE_INLINE friend Lanes operator+(const Lanes& a, const Lanes& b) {
    using Wraps [[gnu::vector_size(kVectorBytes)]] = std::uint32_t;
    return zip(a, b, [](Vector x, Vector y) { return Vector(Wraps(x) + Wraps(y)); });
  }
  LASTMILE_INLINE friend Lanes operator-(const Lanes& a, const Lanes& b) {
    using Wraps [[gnu::vector_size(kVectorBytes)]] = std::uint32_t;
    return zip(a, b, [](Vector x, Vector y) { return Vector(Wraps(x) - Wraps(y)); });
  }
  LASTMILE_INLINE static Lanes least(const Lanes& a, const Lanes& b) {
    return zip(a, b, [](Vector x, Vector y) { return x < y ? x : y; });
  }
  LASTMILE_INLINE static Lanes most(const Lanes& a, const Lanes& b) {
    return zip(a, b, [](Vector x, Vector y) { return x > y ? x : y; });
  }
  // -1 where a is above b
  LASTMILE_INLINE static Lanes above(const Lanes& a, const Lanes& b) {
    return zip(a, b, [](Vector x, Vector y) { return x > y; });
  }
  LASTMILE_INLINE Lanes shift_left(std::int32_t n) const {
    return zip(*this, *this, [n](Vector x, Vector) { return x << n; });
  }
  LASTMILE_INLINE std::uint64_t sum() const {  // of lanes that are not negative
    std::uint64_t total = 0;
    for (std::size_t i = 0; i < kPanel; ++i)
      total += static_cast<std::uint32_t>(part[i / kVectorLanes][i % kVectorLanes]);
    return total;
  }
};

// numeric::rescale(a, m, -right) of sixteen channels for |a| <= kNarrowSum, m in 0..2^31-1, right
// in 0..30: h = floor((a m + 2^30) / 2^31), then h / 2^right to nearest, ties away from zero.
class Rescale {
 public:
  Rescale() = default;
#if defined(__AVX512BW__)
  // (a m + 2^30) / 2^31 = (a m' + 2^31) / 2^32 + a where m' = 2 m - 2^32, for m from 2^30; below,
  // m' = 2 m and nothing is added. That takes whole upper halves of the products.
  LASTMILE_INLINE Rescale(const Lanes& m, const Lanes& right) {
    const __m512i one = _mm512_set1_epi32(1), r = __m512i(right.part[0]);
    even_ = _mm512_slli_epi32(__m512i(m.part[0]), 1);
    odd_ = _mm512_srli_epi64(even_, 32);
    upper_ = _mm512_movepi32_mask(even_);
    right_ = r;
    half_ = _mm512_srli_epi32(_mm512_sllv_epi32(one, r), 1);
    shifts_ = _mm512_test_epi32_mask(r, r);
  }
  LASTMILE_INLINE Lanes operator()(const Lanes& value) const {
    const __m512i a = __m512i(value.part[0]);
    const __m512i half = _mm512_set1_epi64(std::int64_t{1} << 31);
    const __m512i even = _mm512_add_epi64(_mm512_mul_epi32(a, even_), half);
    const __m512i odd = _mm512_add_epi64(_mm512_mul_epi32(_mm512_srli_epi64(a, 32), odd_), half);
    __m512i h = _mm512_mask_shuffle_epi32(odd, 0x5555, even, static_cast<_MM_PERM_ENUM>(0xf5));
    h = _mm512_mask_add_epi32(h, upper_, h, a);
    const __m512i toward = _mm512_maskz_srai_epi32(shifts_, h, 31);
    h = _mm512_add_epi32(_mm512_add_epi32(h, half_), toward);
    return {{Vector(_mm512_srav_epi32(h, right_))}};
  }

 private:
  __m512i even_, odd_, right_, half_;
  __mmask16 upper_, shifts_;
#elif defined(__AVX2__)
  LASTMILE_INLINE Rescale(const Lanes& m, const Lanes& right) : m_(m), right_(right) {
    const __m256i one = _mm256_set1_epi32(1), zero = _mm256_setzero_si256();
    for (std::size_t i = 0; i < kParts; ++i) {
      const __m256i r = __m256i(right.part[i]);
      half_.part[i] = Vector(_mm256_srli_epi32(_mm256_sllv_epi32(one, r), 1));
      shifts_.part[i] = Vector(_mm256_cmpgt_epi32(r, zero));
    }
  }
  LASTMILE_INLINE Lanes operator()(const Lanes& value) const {
    const __m256i half = _mm256_set1_epi64x(std::int64_t{1} << 30);
    Lanes out;
    for (std::size_t i = 0; i < kParts; ++i) {
      const __m256i a = __m256i(value.part[i]), m = __m256i(m_.part[i]);
      const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(a, m), half);
      const __m256i odd = _mm256_add_epi64(
          _mm256_mul_epi32(_mm256_srli_epi64(a, 32), _mm256_srli_epi64(m, 32)), half);
      __m256i h = _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xaa);
      const __m256i toward = _mm256_and_si256(_mm256_srai_epi32(h, 31), __m256i(shifts_.part[i]));
      h = _mm256_add_epi32(_mm256_add_epi32(h, __m256i(half_.part[i])), toward);
      out.part[i] = Vector(_mm256_srav_epi32(h, __m256i(right_.part[i])));
    }
    return out;
  }

 private:
  Lanes m_, right_, half_, shifts_;
#elif defined(__ARM_NEON)
  LASTMILE_INLINE Rescale(const Lanes& m, const Lanes& right) : m_(m) {
    for (std::size_t i = 0; i < kParts; ++i) {
      left_.part[i] = -right.part[i];
      shifts_.part[i] = right.part[i] > 0;
    }
  }
  LASTMILE_INLINE Lanes operator()(const Lanes& value) const {
    Lanes out;
    for (std::size_t i = 0; i < kParts; ++i) {
      // doubling, the upper half, rounded: saturates for -2^31 times itself alone
      const int32x4_t h = vqrdmulhq_s32(int32x4_t(value.part[i]), int32x4_t(m_.part[i]));
      const int32x4_t toward = vandq_s32(vshrq_n_s32(h, 31), int32x4_t(shifts_.part[i]));
      out.part[i] = Vector(vrshlq_s32(vaddq_s32(h, toward), int32x4_t(left_.part[i])));
    }
    return out;
  }

 private:
  Lanes m_, left_, shifts_;
#else
  LASTMILE_INLINE Rescale(const Lanes& m, const Lanes& right) {
    m.store(m_);
    right.store(right_);
  }
  LASTMILE_INLINE Lanes operator()(const Lanes& value) const {
    std::int32_t a[kPanel];
    value.store(a);
    for (std::size_t i = 0; i < kPanel; ++i) {
      const std::int64_t p = std::int64_t{a[i]} * m_[i] + (std::int64_t{1} << 30);
      const auto h = static_cast<std::int32_t>(p >> 31);
      const std::int32_t mask = static_cast<std::int32_t>((1U << right_[i]) - 1);
      a[i] = (h >> right_[i]) + ((h & mask) > (mask >> 1) + (h < 0 ? 1 : 0) ? 1 : 0);
    }
    return Lanes::load(a);
  }

 private:
  std::int32_t m_[kPanel], right_[kPanel];
#endif
};

// Zero point, counters and clamp of int8 outputs.
class Clamp {
 public:
  Clamp() = default;
  LASTMILE_INLINE Clamp(std::int32_t zero_point, std::int32_t act_min, std::int32_t act_max)
      : zero_point_(Lanes::all(zero_point)),
        low_(Lanes::all(-128 - zero_point)),
        high_(Lanes::all(127 - zero_point)),
        least_(Lanes::all(act_min - zero_point)),
        most_(Lanes::all(act_max - zero_point)) {}
  // Counts lanes below int8 in `low`, above it in `high`, as negative numbers.
  LASTMILE_INLINE Lanes operator()(const Lanes& y, Lanes& low, Lanes& high) const {
    low = low + Lanes::above(low_, y);
    high = high + Lanes::above(y, high_);
    return Lanes::least(Lanes::most(y, least_), most_) + zero_point_;
  }

 private:
  Lanes zero_point_, low_, high_, least_, most_;
};

// Counters of lanes, in negative numbers; sum() adds them up.
struct LanesOutside {
  Lanes low = Lanes::all(0), high = Lanes::all(0);
  LASTMILE_INLINE void add_to(Outside& o) const {
    o.low += (Lanes::all(0) - low).sum();
    o.high += (Lanes::all(0) - high).sum();
  }
};

}  // namespace
}  // namespace lastmile::npu
