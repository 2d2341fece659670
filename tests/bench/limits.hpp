// SPDX-License-Identifier: Apache-2.0
// What the machine can do at most, measured: 16-bit multiply-add on registers, and Eigen's float
// matrix product.
#pragma once

#include <Eigen/Dense>
#include <array>
#include <cstdint>
#include <cstring>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace lastmile::bench {

inline constexpr std::int64_t kLimitRounds = 4096;

#if defined(__AVX2__)
inline constexpr const char* kMaddName = "256-bit multiply-add of 16-bit pairs (madd + add)";
// kLimitRounds rounds of 12 independent chains, 16 products each; the empty asm keeps the compiler
// from seeing that the operands never change. Returns something that depends on all of it.
inline std::int64_t madd_rounds() {
  constexpr std::size_t chains = 12;
  __m256i acc[chains];
  for (auto& v : acc) v = _mm256_setzero_si256();
  __m256i a = _mm256_set1_epi16(3), b = _mm256_set1_epi16(-5);
  for (std::int64_t i = 0; i < kLimitRounds; ++i) {
#pragma GCC unroll 12
    for (auto& v : acc) {
      asm volatile("" : "+x"(a), "+x"(b));
      v = _mm256_add_epi32(v, _mm256_madd_epi16(a, b));
    }
  }
  __m256i sum = acc[0];
  for (std::size_t k = 1; k < chains; ++k) sum = _mm256_add_epi32(sum, acc[k]);
  return _mm256_extract_epi32(sum, 0);
}
inline constexpr std::int64_t kMaddPerCall = kLimitRounds * 12 * 16;
#else
inline constexpr const char* kMaddName =
    "multiply-add of 16-bit pairs, as compiled for this machine";
inline std::int64_t madd_rounds() {
  constexpr std::size_t lanes = 64;
  alignas(64) std::array<std::int32_t, lanes> acc{};
  alignas(64) std::array<std::int16_t, 2 * lanes> a, b;
  a.fill(3);
  b.fill(-5);
  for (std::int64_t i = 0; i < kLimitRounds; ++i) {
    asm volatile("" : : "r"(a.data()), "r"(b.data()) : "memory");
    for (std::size_t k = 0; k < lanes; ++k)
      acc[k] += std::int32_t{a[2 * k]} * b[2 * k] + std::int32_t{a[2 * k + 1]} * b[2 * k + 1];
  }
  return acc[0] + acc[lanes - 1];
}
inline constexpr std::int64_t kMaddPerCall = kLimitRounds * 2 * 64;
#endif

#if defined(__AVX512VNNI__) && defined(__AVX512F__)
#define LASTMILE_BENCH_VNNI 1
// The widest instructions for the same work: 32 products of int16, or 64 of bytes, and their sums.
// Inline assembly: g++ 12 puts two register moves around each that it makes from the intrinsic, and
// would measure those.
template <bool kBytes>
std::int64_t vnni_rounds() {
  constexpr std::size_t chains = 12;
  __m512i acc[chains];
  for (auto& v : acc) v = _mm512_setzero_si512();
  const __m512i a = _mm512_set1_epi16(3), b = _mm512_set1_epi16(-5);
  for (std::int64_t i = 0; i < kLimitRounds; ++i) {
#pragma GCC unroll 12
    for (auto& v : acc) {
      if constexpr (kBytes) {
        asm volatile("vpdpbusd %2, %1, %0" : "+v"(v) : "v"(a), "v"(b));
      } else {
        asm volatile("vpdpwssd %2, %1, %0" : "+v"(v) : "v"(a), "v"(b));
      }
    }
  }
  __m512i sum = acc[0];
  for (std::size_t k = 1; k < chains; ++k) sum = _mm512_add_epi32(sum, acc[k]);
  std::array<std::int32_t, 16> lanes;
  _mm512_storeu_si512(lanes.data(), sum);
  return lanes[0];
}
template <bool kBytes>
inline constexpr std::int64_t kVnniPerCall = kLimitRounds * 12 * (kBytes ? 64 : 32);
#endif

// C = A * B in float32, all size x size.
class Gemm {
 public:
  explicit Gemm(int size)
      : a_(Eigen::MatrixXf::Constant(size, size, 0.5F)),
        b_(Eigen::MatrixXf::Constant(size, size, 0.25F)),
        c_(size, size) {}
  float run() {
    c_.noalias() = a_ * b_;
    return c_(0, 0);
  }
  [[nodiscard]] std::int64_t macs() const {
    return std::int64_t{a_.rows()} * a_.cols() * b_.cols();
  }

 private:
  Eigen::MatrixXf a_, b_, c_;
};

}  // namespace lastmile::bench
