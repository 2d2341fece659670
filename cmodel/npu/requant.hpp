// numeric::rescale for sums of at most 32 bits and exponents -30..0, the case of nearly all
// outputs: the same bits with 64-bit products, sixteen at a time.
#pragma once

#include <cstdint>

#include "cmodel/numeric/fixed.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lastmile::npu {

inline constexpr std::size_t kLanes = 16;
inline constexpr std::int32_t kNarrowRight = 30;  // largest right shift of the narrow path

// y[i] = rescale(a[i], m[i], -r[i]); m >= 0, r in 0..30. y may be a.
inline void rescale_lanes(const std::int32_t* a, const std::int32_t* m, const std::int32_t* r,
                          std::int32_t* y) {
#if defined(__AVX2__)
  const __m256i half = _mm256_set1_epi64x(std::int64_t{1} << 30);
  for (std::size_t i = 0; i < kLanes; i += 8) {
    const __m256i va = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(a + i));
    const __m256i vm = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(m + i));
    const __m256i vr = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(r + i));
    const __m256i even = _mm256_add_epi64(_mm256_mul_epi32(va, vm), half);
    const __m256i odd = _mm256_add_epi64(
        _mm256_mul_epi32(_mm256_srli_epi64(va, 32), _mm256_srli_epi64(vm, 32)), half);
    // bits 31..62 of each product, in the low and in the high half
    const __m256i h =
        _mm256_blend_epi32(_mm256_srli_epi64(even, 31), _mm256_slli_epi64(odd, 1), 0xaa);
    const __m256i mask =
        _mm256_sub_epi32(_mm256_sllv_epi32(_mm256_set1_epi32(1), vr), _mm256_set1_epi32(1));
    const __m256i threshold =
        _mm256_sub_epi32(_mm256_srli_epi32(mask, 1), _mm256_srai_epi32(h, 31));
    const __m256i up = _mm256_cmpgt_epi32(_mm256_and_si256(h, mask), threshold);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(y + i),
                        _mm256_sub_epi32(_mm256_srav_epi32(h, vr), up));
  }
#else
  for (std::size_t i = 0; i < kLanes; ++i) {
    const std::int64_t p = static_cast<std::int64_t>(a[i]) * m[i] + (std::int64_t{1} << 30);
    const auto h = static_cast<std::int32_t>(p >> 31);
    const std::int32_t mask = static_cast<std::int32_t>((1u << r[i]) - 1);
    y[i] = (h >> r[i]) + ((h & mask) > (mask >> 1) + (h < 0 ? 1 : 0) ? 1 : 0);
  }
#endif
}

}  // namespace lastmile::npu
