// SPDX-License-Identifier: Apache-2.0
// What runs along rows: input regions, pooling, random numbers, perturbation, update. Plain loops
// that the compiler turns into vectors of the width it may use; one type and one thing per loop,
// or it takes them one by one.
#pragma once

#include "cmodel/npu/kernels/product.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {
namespace {

void kernel_widen(const std::int8_t* from, std::int16_t* to, std::size_t count,
                  std::int32_t zero_point) {
  const auto zp = static_cast<std::int16_t>(zero_point);
  for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<std::int16_t>(from[i] - zp);
}

void kernel_shift_bytes(const std::int8_t* from, std::uint8_t* to, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<std::uint8_t>(from[i] + kByteZero);
}

void kernel_spread_row(Format format, const std::int8_t* from, std::size_t pitch, std::size_t used,
                       std::size_t columns, std::size_t first, std::size_t last,
                       std::size_t distance, std::int32_t zero_point, std::int32_t* scratch,
                       std::int32_t* to) {
  const bool words = format == Format::words;
  // padding is the zero point: nothing in words, its byte in bytes
  const std::int32_t padding = words ? 0 : zero_point + kByteZero;
  const Lanes shift = Lanes::all(words ? -zero_point : kByteZero);
  const Lanes mask = Lanes::all(words ? 0xffff : 0xff);
  const auto both = [](Vector x, Vector y) { return x & y; };
  const auto either = [](Vector x, Vector y) { return x | y; };
  const std::size_t behind = columns + 3 * distance;
  for (std::size_t c = 0; c < behind; ++c) {
    const bool inside = c >= first && c < last;
    const Lanes x =
        inside ? Lanes::bytes(from + (c - first) * pitch, used) + shift : Lanes::all(padding);
    Lanes::zip(x, mask, both).store(scratch + c * kPanel);
  }
  const auto at = [&](std::size_t c) { return Lanes::load(scratch + c * kPanel); };
  for (std::size_t c = 0; c < columns; ++c) {
    Lanes step = at(c);
    if (words) {
      step = Lanes::zip(step, at(c + distance).shift_left(16), either);
    } else {
      step = Lanes::zip(step, at(c + distance).shift_left(8), either);
      step = Lanes::zip(step, at(c + 2 * distance).shift_left(16), either);
      step = Lanes::zip(step, at(c + 3 * distance).shift_left(24), either);
    }
    step.store(to + c * kPanel);
  }
}

// ---- pooling ----

template <std::size_t N>
LASTMILE_INLINE void maximum(const PoolWindow& w, std::size_t channel, std::int32_t least,
                             std::int32_t most, std::int8_t* to) {
  using Bytes [[gnu::vector_size(N)]] = std::int8_t;
  const std::int8_t* row = w.first + channel;
  Bytes top = Bytes{} + std::int8_t{-128};
  for (std::int64_t y = 0; y < w.rows; ++y, row += w.row_step) {
    const std::int8_t* from = row;
    for (std::int64_t x = 0; x < w.columns; ++x, from += w.column_step) {
      Bytes tap;
      std::memcpy(&tap, from, N);
      top = top > tap ? top : tap;
    }
  }
  const Bytes low = Bytes{} + static_cast<std::int8_t>(least);
  const Bytes high = Bytes{} + static_cast<std::int8_t>(most);
  top = top > low ? top : low;
  top = top < high ? top : high;
  std::memcpy(to, &top, N);
}

void kernel_pool_max(const PoolWindow& w, std::size_t channels, std::int32_t least,
                     std::int32_t most, std::int8_t* to) {
  std::size_t c = 0;
  if constexpr (kVectorBytes == 64) {
    for (; c + 64 <= channels; c += 64) maximum<64>(w, c, least, most, to + c);
  }
  if constexpr (kVectorBytes >= 32) {
    for (; c + 32 <= channels; c += 32) maximum<32>(w, c, least, most, to + c);
  }
  for (; c + 16 <= channels; c += 16) maximum<16>(w, c, least, most, to + c);
  for (; c + 8 <= channels; c += 8) maximum<8>(w, c, least, most, to + c);
  for (; c + 2 <= channels; c += 2) maximum<2>(w, c, least, most, to + c);
  if (c < channels) maximum<1>(w, c, least, most, to + c);
}

void kernel_pool_average(const PoolWindow& w, std::size_t channels, std::int32_t least,
                         std::int32_t most, std::int8_t* to) {
  const auto taps = static_cast<std::int32_t>(w.rows * w.columns);
  const std::int32_t count = taps > 1 ? taps : 1;
  const auto divisor = static_cast<double>(count);
  for (std::size_t c = 0; c < channels; c += kPanel) {
    const std::size_t used = channels - c < kPanel ? channels - c : kPanel;
    Lanes sum = Lanes::all(0);
    const std::int8_t* row = w.first + c;
    for (std::int64_t y = 0; y < w.rows; ++y, row += w.row_step) {
      const std::int8_t* from = row;
      for (std::int64_t x = 0; x < w.columns; ++x, from += w.column_step)
        sum = sum + Lanes::bytes(from, used);
    }
    std::int32_t value[kPanel];
    sum.store(value);
    for (std::int32_t& v : value) {
      // |sum| < 2^24: the quotient of doubles truncates as the integers' does
      const std::int32_t rounded = v > 0 ? v + count / 2 : v - count / 2;
      v = static_cast<std::int32_t>(static_cast<double>(rounded) / divisor);
    }
    const Lanes y = Lanes::most(Lanes::load(value), Lanes::all(least));
    Lanes::least(y, Lanes::all(most)).store_bytes(to + c, used);
  }
}

// ---- random numbers ----

// Threefry-2x32 with 16 rounds on eight counters at once: numeric::threefry, word by word.
static_assert(spec::kHashRounds == 16);
constexpr std::size_t kHashes = 8;
struct Hashes {
  std::uint32_t x0[kHashes], x1[kHashes];
};
template <int R>
LASTMILE_INLINE void mix(Hashes& h) {
  for (std::size_t i = 0; i < kHashes; ++i) {
    h.x0[i] += h.x1[i];
    h.x1[i] = (h.x1[i] << R | h.x1[i] >> (32 - R)) ^ h.x0[i];
  }
}
LASTMILE_INLINE void inject(Hashes& h, std::uint32_t add0, std::uint32_t add1) {
  for (std::size_t i = 0; i < kHashes; ++i) h.x0[i] += add0;
  for (std::size_t i = 0; i < kHashes; ++i) h.x1[i] += add1;
}
LASTMILE_INLINE void hash8(std::uint64_t key, std::uint32_t counter0, std::uint32_t counter1,
                           std::uint64_t* out) {
  const auto k0 = static_cast<std::uint32_t>(key);
  const auto k1 = static_cast<std::uint32_t>(key >> 32);
  const std::uint32_t k2 = 0x1BD11BDAU ^ k0 ^ k1;
  Hashes h;
  for (std::size_t i = 0; i < kHashes; ++i) h.x0[i] = counter0 + k0 + static_cast<std::uint32_t>(i);
  for (std::size_t i = 0; i < kHashes; ++i) h.x1[i] = counter1 + k1;
  mix<13>(h), mix<15>(h), mix<26>(h), mix<6>(h), inject(h, k1, k2 + 1);
  mix<17>(h), mix<29>(h), mix<16>(h), mix<24>(h), inject(h, k2, k0 + 2);
  mix<13>(h), mix<15>(h), mix<26>(h), mix<6>(h), inject(h, k0, k1 + 3);
  mix<17>(h), mix<29>(h), mix<16>(h), mix<24>(h), inject(h, k1, k2 + 4);
  for (std::size_t i = 0; i < kHashes; ++i) out[i] = h.x0[i] | std::uint64_t{h.x1[i]} << 32;
}
void kernel_hash(std::uint64_t key, std::uint64_t counter, std::uint64_t* out, std::size_t count) {
  const auto c0 = static_cast<std::uint32_t>(counter);
  const auto c1 = static_cast<std::uint32_t>(counter >> 32);
  std::size_t i = 0;
  for (; i + kHashes <= count; i += kHashes)
    hash8(key, c0 + static_cast<std::uint32_t>(i), c1, out + i);
  if (i == count) return;
  std::uint64_t last[kHashes];
  hash8(key, c0 + static_cast<std::uint32_t>(i), c1, last);
  std::memcpy(out + i, last, (count - i) * sizeof *out);
}

// ---- perturbation and update ----

constexpr std::size_t kBlock = 64;
constexpr std::int32_t kFar = 1 << 17;  // leaves the range whatever the weight

// All elements take part and |delta| is the same 15-bit number for all.
void perturb_signs(const Move& m, std::int32_t delta, std::int16_t* weights, std::size_t count,
                   Moved& moved) {
  moved.taken += count;
  if (delta == 0) return;
  std::uint64_t clipped = 0;
  std::size_t c = 0;
#if defined(__AVX2__)
  const __m256i bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096,
                                        8192, 16384, -32768);
  const __m256i flip = _mm256_set1_epi16(m.minus ? -1 : 0);
  const __m256i step = _mm256_set1_epi16(static_cast<short>(delta));
  const __m256i top = _mm256_set1_epi16(static_cast<short>(m.limit));
  const __m256i bottom = _mm256_set1_epi16(static_cast<short>(-m.limit));
  for (; c + 16 <= count; c += 16) {
    const auto bits = static_cast<short>(m.random[c / 64] >> (c % 64));
    const __m256i set = _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(bits), bit), bit);
    const __m256i negative = _mm256_xor_si256(set, flip);
    const __m256i d = _mm256_sub_epi16(_mm256_xor_si256(step, negative), negative);
    const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(&weights[c]));
    const __m256i sum = _mm256_adds_epi16(w, d);
    const __m256i inside = _mm256_max_epi16(_mm256_min_epi16(sum, top), bottom);
    // clipped: the saturating sum was cut, or it was outside the limits
    const __m256i exact = _mm256_cmpeq_epi16(inside, _mm256_add_epi16(w, d));
    const auto equal = static_cast<unsigned>(_mm256_movemask_epi8(exact));
    clipped += 16 - static_cast<std::uint64_t>(__builtin_popcount(equal)) / 2;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(&weights[c]), inside);
  }
#endif
  for (; c < count; ++c) {
    const bool negative = ((m.random[c / 64] >> (c % 64) & 1) != 0) != m.minus;
    const std::int32_t sum = weights[c] + (negative ? -delta : delta);
    const std::int32_t below = sum < m.limit ? sum : m.limit;
    const std::int32_t inside = below > -m.limit ? below : -m.limit;
    clipped += inside != sum ? 1 : 0;
    weights[c] = static_cast<std::int16_t>(inside);
  }
  moved.clipped += clipped;
}

void kernel_perturb(const Move& m, const std::uint8_t* magnitudes, std::int16_t* weights,
                    std::size_t count, Moved& moved) {
  // numeric::perturb_magnitude in 32 bits: a weight's mantissa has 16, |z| has 7
  const std::uint32_t half_up = m.shift == 0 ? 0 : std::uint32_t{1} << (m.shift - 1);
  const std::uint32_t one = (m.eps + half_up) >> m.shift;
  if (!m.gaussian && m.mask == nullptr && one <= 32767)
    return perturb_signs(m, static_cast<std::int32_t>(one), weights, count, moved);
  const auto near = static_cast<std::int32_t>(one < kFar ? one : std::uint32_t{kFar});
  const std::int32_t flip = m.minus ? -1 : 0;
  const std::int32_t limit = m.limit, keep = m.keep;
  for (std::size_t first = 0; first < count; first += kBlock) {
    const std::size_t size = count - first < kBlock ? count - first : kBlock;
    std::int16_t w[kBlock] = {};
    std::int32_t d[kBlock];  // magnitude of the change
    std::int32_t negative[kBlock];
    std::uint8_t byte[kBlock] = {};  // below any keep but 0, which masks everything
    std::memcpy(w, weights + first, size * sizeof w[0]);
    if (m.gaussian) {
      std::uint16_t half[kBlock] = {};
      std::memcpy(half, m.random + first / 4, (size + 3) / 4 * 8);
      std::uint8_t z[kBlock];
      for (std::size_t i = 0; i < kBlock; ++i) z[i] = magnitudes[half[i] & 0x7fff];
      for (std::size_t i = 0; i < kBlock; ++i) {
        const std::uint32_t magnitude = (m.eps * z[i] + half_up) >> m.shift;
        d[i] = static_cast<std::int32_t>(magnitude < kFar ? magnitude : std::uint32_t{kFar});
      }
      for (std::size_t i = 0; i < kBlock; ++i) negative[i] = (half[i] >= 0x8000 ? -1 : 0) ^ flip;
    } else {
      const std::uint64_t word = m.random[first / 64];
      for (std::size_t i = 0; i < kBlock; ++i) d[i] = near;
      for (std::size_t i = 0; i < kBlock; ++i)
        negative[i] = -static_cast<std::int32_t>(word >> i & 1) ^ flip;
    }
    if (m.mask != nullptr) std::memcpy(byte, m.mask + first / 8, (size + 7) / 8 * 8);
    std::int32_t take[kBlock], wide[kBlock], change[kBlock];
    for (std::size_t i = 0; i < kBlock; ++i) take[i] = byte[i] < keep ? -1 : 0;
    for (std::size_t i = size; i < kBlock; ++i) take[i] = 0;
    for (std::size_t i = 0; i < kBlock; ++i) wide[i] = w[i];
    for (std::size_t i = 0; i < kBlock; ++i)
      change[i] = take[i] & ((d[i] ^ negative[i]) - negative[i]);
    std::int32_t taken = 0, clipped = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
      const std::int32_t sum = wide[i] + change[i];
      const std::int32_t above = sum > -limit ? sum : -limit;
      const std::int32_t inside = above < limit ? above : limit;
      const std::int32_t result = change[i] != 0 ? inside : sum;
      taken -= take[i];
      clipped -= result != sum ? -1 : 0;
      wide[i] = result;
    }
    for (std::size_t i = 0; i < kBlock; ++i) w[i] = static_cast<std::int16_t>(wide[i]);
    std::memcpy(weights + first, w, size * sizeof w[0]);
    moved.taken += static_cast<std::uint64_t>(taken);
    moved.clipped += static_cast<std::uint64_t>(clipped);
  }
}

void kernel_add_z(const std::uint64_t* random, bool gaussian, const std::uint8_t* magnitudes,
                  std::int32_t coefficient, std::int32_t* to, std::size_t count) {
  for (std::size_t first = 0; first < count; first += kBlock) {
    const std::size_t size = count - first < kBlock ? count - first : kBlock;
    std::int32_t negative[kBlock], step[kBlock];  // step: coefficient * |z|
    if (gaussian) {
      std::uint16_t bits[kBlock] = {};
      std::memcpy(bits, random + first / 4, (size + 3) / 4 * 8);
      for (std::size_t i = 0; i < kBlock; ++i) step[i] = magnitudes[bits[i] & 0x7fff];
      for (std::size_t i = 0; i < kBlock; ++i) {
        step[i] *= coefficient;
        negative[i] = bits[i] >= 0x8000 ? -1 : 0;
      }
    } else {
      const std::uint64_t word = random[first / 64];
      for (std::size_t i = 0; i < kBlock; ++i) step[i] = coefficient;
      for (std::size_t i = 0; i < kBlock; ++i)
        negative[i] = -static_cast<std::int32_t>(word >> i & 1);
    }
    for (std::size_t i = 0; i < size; ++i) to[first + i] += (step[i] ^ negative[i]) - negative[i];
  }
}

template <class T>
LASTMILE_INLINE void update(const UpdateStep& s, T* weights, std::size_t count, Moved& moved) {
  const int up = s.shift >= 17 ? s.shift - 17 : 0;
  const int down = s.shift >= 17 ? 0 : 17 - s.shift;
  const std::int32_t limit = s.limit, keep = s.keep;
  for (std::size_t first = 0; first < count; first += kBlock) {
    const std::size_t size = count - first < kBlock ? count - first : kBlock;
    T w[kBlock] = {};
    std::uint16_t random[kBlock] = {};
    std::uint8_t byte[kBlock] = {};  // below any keep but 0, which masks everything
    std::int32_t g[kBlock] = {}, q[kBlock] = {};
    std::memcpy(w, weights + first, size * sizeof w[0]);
    std::memcpy(g, s.gradient + first, size * sizeof g[0]);
    std::memcpy(random, s.rounding + first / 4, (size + 3) / 4 * 8);
    if (s.mask != nullptr) std::memcpy(byte, s.mask + first / 8, (size + 7) / 8 * 8);
    for (std::size_t i = 0; i < kBlock; ++i) {
      const auto magnitude = static_cast<std::uint32_t>(g[i] < 0 ? -g[i] : g[i]);
      const std::uint64_t p = (std::uint64_t{magnitude} * s.mantissa) << spec::kStepPreshift;
      const std::uint64_t dither = (std::uint64_t{random[i]} * 2 + 1) << up >> down;
      const auto steps = static_cast<std::int64_t>((p + dither) >> s.shift);
      q[i] = static_cast<std::int32_t>(steps < kFar ? steps : kFar);
    }
    std::uint32_t kept = 0, zero = 0, clipped = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
      const std::int32_t take = i < size && byte[i] < keep ? -1 : 0;
      const std::int32_t sum = w[i] + (g[i] < 0 ? q[i] : -q[i]);
      const std::int32_t above = sum > -limit ? sum : -limit;
      const std::int32_t inside = above < limit ? above : limit;
      const std::int32_t none = q[i] == 0 ? -1 : 0;
      kept += static_cast<std::uint32_t>(-take);
      zero += static_cast<std::uint32_t>(-(take & none));
      clipped += static_cast<std::uint32_t>(-(take & ~none & (sum != inside ? -1 : 0)));
      w[i] = static_cast<T>((take & ~none) != 0 ? inside : w[i]);
    }
    std::memcpy(weights + first, w, size * sizeof w[0]);
    moved.taken += kept;
    moved.zero += zero;
    moved.clipped += clipped;
  }
}
void kernel_update8(const UpdateStep& s, std::int8_t* weights, std::size_t count, Moved& moved) {
  update(s, weights, count, moved);
}
void kernel_update16(const UpdateStep& s, std::int16_t* weights, std::size_t count, Moved& moved) {
  update(s, weights, count, moved);
}

}  // namespace
}  // namespace lastmile::npu
