// SPDX-License-Identifier: Apache-2.0
// Random numbers of the host: data generation, shuffles, initial weights. (The perturbations of
// training come from the NPU's counter hash, not from here.) Equal seeds give equal bits with every
// compiler and standard library: integers, and doubles made with IEEE +, -, *, / and sqrt alone
// (sw/base/detmath.hpp), which must not be contracted to fma.
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

#include "sw/base/detmath.hpp"

namespace lastmile {

// Steele, Lea, Flood, "Fast splittable pseudorandom number generators" (2014): finalizer of the
// counter.
[[nodiscard]] constexpr std::uint64_t splitmix64(std::uint64_t x) noexcept {
  x += 0x9e3779b97f4a7c15U;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9U;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebU;
  return x ^ (x >> 31);
}

// Seed of the sub-stream `index` of `seed`: for one generator per example, so that order and
// threads do not matter.
[[nodiscard]] constexpr std::uint64_t sub_seed(std::uint64_t seed, std::uint64_t index) noexcept {
  return splitmix64(splitmix64(seed) ^ (index * 0xd1342543de82ef95U + 0x632be59bd9b4e019U));
}

// xoshiro256++ (Blackman, Vigna 2021), seeded through splitmix64.
class Rng {
 public:
  explicit constexpr Rng(std::uint64_t seed) noexcept {
    for (std::size_t i = 0; i < 4; ++i) s_[i] = splitmix64(seed + i * 0x9e3779b97f4a7c15U);
  }
  constexpr Rng(std::uint64_t seed, std::uint64_t stream) noexcept : Rng(sub_seed(seed, stream)) {}

  constexpr std::uint64_t next() noexcept {
    const std::uint64_t r = rotl(s_[0] + s_[3], 23) + s_[0];
    const std::uint64_t t = s_[1] << 17;
    s_[2] ^= s_[0];
    s_[3] ^= s_[1];
    s_[1] ^= s_[2];
    s_[0] ^= s_[3];
    s_[2] ^= t;
    s_[3] = rotl(s_[3], 45);
    return r;
  }

  // Uniform in [0, 1), a multiple of 2^-53.
  constexpr double uniform() noexcept { return static_cast<double>(next() >> 11) * 0x1p-53; }
  constexpr double uniform(double lo, double hi) noexcept { return lo + (hi - lo) * uniform(); }

  // Uniform in [0, n), without bias; n must not be 0.
  constexpr std::uint64_t below(std::uint64_t n) noexcept {
    const std::uint64_t reject = (0 - n) % n;  // 2^64 mod n
    std::uint64_t x = next();
    while (x < reject) x = next();
    return x % n;
  }

  // Standard normal: Marsaglia's polar method. The second number of a pair is kept for the next
  // call.
  double normal() noexcept {
    if (std::exchange(has_spare_, false)) return spare_;
    double u = 0;
    double v = 0;
    double s = 0;
    do {
      u = 2 * uniform() - 1;
      v = 2 * uniform() - 1;
      s = u * u + v * v;
    } while (s >= 1 || s == 0);
    const double f = std::sqrt(-2 * det_log(s) / s);
    spare_ = v * f;
    has_spare_ = true;
    return u * f;
  }

  // Fisher-Yates.
  template <class T>
  constexpr void shuffle(std::span<T> values) noexcept {
    for (std::size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[static_cast<std::size_t>(below(i))]);
  }

 private:
  static constexpr std::uint64_t rotl(std::uint64_t x, int k) noexcept {
    return (x << k) | (x >> (64 - k));
  }
  std::array<std::uint64_t, 4> s_{};
  double spare_ = 0;
  bool has_spare_ = false;
};

}  // namespace lastmile
