// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/random.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lastmile::npu {
namespace {

#if defined(__AVX2__)
// Threefry-2x32 on eight counters at once: the rounds of numeric::threefry, word by word.
template <int R>
__m256i rotate(__m256i x) {
  return _mm256_or_si256(_mm256_slli_epi32(x, R), _mm256_srli_epi32(x, 32 - R));
}
template <int R>
void mix(__m256i& x0, __m256i& x1) {
  x0 = _mm256_add_epi32(x0, x1);
  x1 = _mm256_xor_si256(rotate<R>(x1), x0);
}
template <int S>
void inject(__m256i& x0, __m256i& x1, const std::array<std::uint32_t, 3>& ks) {
  x0 = _mm256_add_epi32(x0, _mm256_set1_epi32(static_cast<int>(ks[S % 3])));
  x1 = _mm256_add_epi32(x1, _mm256_set1_epi32(static_cast<int>(ks[(S + 1) % 3] + S)));
}
void hash8(std::uint64_t key, std::uint32_t counter0, std::uint32_t counter1, std::uint64_t* out) {
  static_assert(spec::kHashRounds == 16);
  const auto k0 = static_cast<std::uint32_t>(key);
  const auto k1 = static_cast<std::uint32_t>(key >> 32);
  const std::array<std::uint32_t, 3> ks = {k0, k1, 0x1BD11BDAu ^ k0 ^ k1};
  __m256i x0 = _mm256_add_epi32(_mm256_set1_epi32(static_cast<int>(counter0 + ks[0])),
                                _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
  __m256i x1 = _mm256_set1_epi32(static_cast<int>(counter1 + ks[1]));
  const auto even = [&] { mix<13>(x0, x1), mix<15>(x0, x1), mix<26>(x0, x1), mix<6>(x0, x1); };
  const auto odd = [&] { mix<17>(x0, x1), mix<29>(x0, x1), mix<16>(x0, x1), mix<24>(x0, x1); };
  even();
  inject<1>(x0, x1, ks);
  odd();
  inject<2>(x0, x1, ks);
  even();
  inject<3>(x0, x1, ks);
  odd();
  inject<4>(x0, x1, ks);
  const __m256i low = _mm256_unpacklo_epi32(x0, x1);   // words 0 1 | 4 5
  const __m256i high = _mm256_unpackhi_epi32(x0, x1);  // words 2 3 | 6 7
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out), _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(out + 4),
                      _mm256_permute2x128_si256(low, high, 0x31));
}
#endif

// |z| by the low 15 bits.
const std::array<std::uint8_t, 32768>& gaussian_magnitudes() {
  static const auto table = [] {
    std::array<std::uint8_t, 32768> t{};
    for (std::uint32_t u = 0; u < t.size(); ++u) {
      t[u] = static_cast<std::uint8_t>(numeric::gaussian_z(u));
    }
    return t;
  }();
  return table;
}

}  // namespace

void hash_row(std::uint64_t seed, Domain domain, std::uint32_t tensor, std::uint32_t row,
              std::uint32_t first_block, std::span<std::uint64_t> out) {
  std::size_t b = 0;
#if defined(__AVX2__)
  // The block number stays inside its 16 bits, so adding lanes to the counter's low word never
  // carries into the row.
  const std::uint32_t c0 = row << 16 | first_block;
  const std::uint32_t c1 = static_cast<std::uint32_t>(domain) << 16 | tensor;
  for (; b + 8 <= out.size(); b += 8)
    hash8(seed, c0 + static_cast<std::uint32_t>(b), c1, out.data() + b);
  if (b < out.size()) {
    std::array<std::uint64_t, 8> last;
    hash8(seed, c0 + static_cast<std::uint32_t>(b), c1, last.data());
    for (std::size_t i = 0; b < out.size(); ++b, ++i) out[b] = last[i];
  }
#endif
  for (; b < out.size(); ++b)
    out[b] =
        numeric::hash_word(seed, domain, tensor, row, first_block + static_cast<std::uint32_t>(b));
}

void RowDraw::draw(std::uint64_t seed, Domain domain, std::uint32_t tensor, std::uint32_t row,
                   std::uint32_t columns) {
  const std::uint32_t per = numeric::elements_per_word(domain);
  used_ = (columns + per - 1) / per;
  if (words_.size() < used_) words_.resize(used_);
  hash_row(seed, domain, tensor, row, 0, {words_.data(), used_});
}

std::int32_t RowDraw::z(Distribution distribution, std::uint32_t column) const {
  return distribution == Distribution::sign_ ? numeric::sign_z(sign_bit(column))
                                             : numeric::gaussian_z(half(column));
}

void RowDraw::add_z(Distribution distribution, std::int32_t coefficient,
                    std::span<std::int32_t> to) const {
  constexpr std::size_t kBlock = 64;
  const auto& magnitudes = gaussian_magnitudes();
  for (std::size_t first = 0; first < to.size(); first += kBlock) {
    const std::size_t size = std::min(kBlock, to.size() - first);
    std::array<std::int32_t, kBlock> negative, step;  // step: coefficient * |z|
    if (distribution == Distribution::gaussian_) {
      std::array<std::uint16_t, kBlock> bits{};
      std::memcpy(bits.data(), words_.data() + first / 4, (size + 3) / 4 * 8);
      for (std::size_t i = 0; i < kBlock; ++i) step[i] = magnitudes[bits[i] & 0x7fff];
      for (std::size_t i = 0; i < kBlock; ++i) {
        step[i] *= coefficient;
        negative[i] = bits[i] >= 0x8000 ? -1 : 0;
      }
    } else {
      const std::uint64_t word = words_[first / 64];
      step.fill(coefficient);
      for (std::size_t i = 0; i < kBlock; ++i) {
        negative[i] = -static_cast<std::int32_t>(word >> i & 1);
      }
    }
    for (std::size_t i = 0; i < size; ++i) to[first + i] += (step[i] ^ negative[i]) - negative[i];
  }
}

Perturber::Perturber(const Perturbation& p) : p_(p) {
  if (!p_.on) return;
  magnitude_.resize(128);
  for (std::int32_t z = 0; z < 128; ++z)
    magnitude_[static_cast<std::size_t>(z)] = numeric::perturb_magnitude(p_.eps, p_.shift, z);
}

// The definition, element by element.
void Perturber::elements(std::span<std::int32_t> values) {
  const bool masked = p_.keep < 256;
  for (std::uint32_t c = 0; c < values.size(); ++c) {
    if (masked && mask_.byte(c) >= p_.keep) continue;
    const std::int32_t z = z_.z(p_.distribution, c);
    const std::int64_t magnitude = magnitude_[static_cast<std::size_t>(z < 0 ? -z : z)];
    const numeric::Perturbed r =
        numeric::perturb(values[c], (z < 0) != p_.minus ? -magnitude : magnitude, p_.limit);
    values[c] = r.value;
    ++count_.perturbed;
    count_.clipped += r.clipped ? 1 : 0;
  }
}

// The same for weights without branches, so that the compiler can take several at once.
void Perturber::elements(std::span<std::int16_t> weights) {
  constexpr std::size_t kBlock = 64;
  constexpr std::int64_t kFar = 1 << 17;  // leaves the range whatever the weight
  const bool gaussian = p_.distribution == Distribution::gaussian_;
  const auto near = static_cast<std::int32_t>(std::min(magnitude_[1], kFar));
  // numeric::perturb_magnitude in 32 bits: a weight's mantissa has 16, |z| has 7.
  const std::uint32_t eps = p_.eps;
  const auto shift = static_cast<std::uint32_t>(p_.shift);
  const std::uint32_t half_up = shift == 0 ? 0 : std::uint32_t{1} << (shift - 1);
  const std::array<std::uint8_t, 32768>& magnitudes = gaussian_magnitudes();
  const std::int32_t flip = p_.minus ? -1 : 0;
  const std::int32_t limit = p_.limit;
  const auto keep = static_cast<std::int32_t>(p_.keep);
  for (std::size_t first = 0; first < weights.size(); first += kBlock) {
    const std::size_t size = std::min(kBlock, weights.size() - first);
    std::array<std::int16_t, kBlock> w{};
    std::array<std::int32_t, kBlock> d;  // magnitude of the change
    std::array<std::int32_t, kBlock> negative;
    std::array<std::uint8_t, kBlock> byte{};  // below any keep but 0, which masks everything
    std::memcpy(w.data(), &weights[first], size * sizeof w[0]);
    if (gaussian) {
      std::array<std::uint16_t, kBlock> half{};
      std::memcpy(half.data(), z_.words().data() + first / 4, (size + 3) / 4 * 8);
      std::array<std::uint8_t, kBlock> z;
      for (std::size_t i = 0; i < kBlock; ++i) z[i] = magnitudes[half[i] & 0x7fff];
      for (std::size_t i = 0; i < kBlock; ++i) {
        const std::uint32_t magnitude = (eps * z[i] + half_up) >> shift;
        d[i] = static_cast<std::int32_t>(std::min(magnitude, static_cast<std::uint32_t>(kFar)));
      }
      for (std::size_t i = 0; i < kBlock; ++i) negative[i] = (half[i] >= 0x8000 ? -1 : 0) ^ flip;
    } else {
      const std::uint64_t word = z_.words()[first / 64];
      d.fill(near);
      for (std::size_t i = 0; i < kBlock; ++i) {
        negative[i] = -static_cast<std::int32_t>(word >> i & 1) ^ flip;
      }
    }
    if (p_.keep < 256) {
      std::memcpy(byte.data(), mask_.words().data() + first / 8, (size + 7) / 8 * 8);
    }
    // One type and one thing per loop, or the compiler takes them one by one.
    std::array<std::int32_t, kBlock> take, wide, change;
    for (std::size_t i = 0; i < kBlock; ++i) take[i] = byte[i] < keep ? -1 : 0;
    for (std::size_t i = size; i < kBlock; ++i) take[i] = 0;
    for (std::size_t i = 0; i < kBlock; ++i) wide[i] = w[i];
    for (std::size_t i = 0; i < kBlock; ++i)
      change[i] = take[i] & ((d[i] ^ negative[i]) - negative[i]);
    std::int32_t taken = 0, clipped = 0;
    for (std::size_t i = 0; i < kBlock; ++i) {
      const std::int32_t moved = wide[i] + change[i];
      const std::int32_t inside = std::min(std::max(moved, -limit), limit);
      const std::int32_t result = change[i] != 0 ? inside : moved;
      taken -= take[i];
      clipped -= result != moved ? -1 : 0;
      wide[i] = result;
    }
    for (std::size_t i = 0; i < kBlock; ++i) w[i] = static_cast<std::int16_t>(wide[i]);
    std::memcpy(&weights[first], w.data(), size * sizeof w[0]);
    count_.perturbed += static_cast<std::uint64_t>(taken);
    count_.clipped += static_cast<std::uint64_t>(clipped);
  }
}

void Perturber::draw(std::uint32_t row, std::size_t columns) {
  const auto count = static_cast<std::uint32_t>(columns);
  z_.draw(p_.seed, p_.distribution == Distribution::sign_ ? Domain::sign_ : Domain::gaussian_,
          p_.tensor, row, count);
  if (p_.keep < 256) mask_.draw(p_.mask_seed, Domain::mask_, p_.tensor, row, count);
}

void Perturber::row(std::uint32_t row, std::span<std::int16_t> weights) {
  if (!p_.on) return;
  draw(row, weights.size());
  if (p_.distribution == Distribution::sign_ && p_.keep >= 256 && magnitude_[1] <= 32767) {
    signs(weights);
  } else {
    elements(weights);
  }
}

void Perturber::row(std::uint32_t row, std::span<std::int32_t> bias) {
  if (!p_.on) return;
  draw(row, bias.size());
  elements(bias);
}

// All elements take part and |delta| is the same 15-bit number for all.
void Perturber::signs(std::span<std::int16_t> weights) {
  const auto delta = static_cast<std::int32_t>(magnitude_[1]);
  count_.perturbed += weights.size();
  if (delta == 0) return;
  const auto words = z_.words();
  const std::int32_t limit = p_.limit;
  std::uint64_t clipped = 0;
  std::size_t c = 0;
#if defined(__AVX2__)
  const __m256i bit = _mm256_setr_epi16(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096,
                                        8192, 16384, -32768);
  const __m256i flip = _mm256_set1_epi16(p_.minus ? -1 : 0);
  const __m256i step = _mm256_set1_epi16(static_cast<short>(delta));
  const __m256i top = _mm256_set1_epi16(static_cast<short>(limit));
  const __m256i bottom = _mm256_set1_epi16(static_cast<short>(-limit));
  for (; c + 16 <= weights.size(); c += 16) {
    const auto bits = static_cast<short>(words[c / 64] >> (c % 64));
    const __m256i set = _mm256_cmpeq_epi16(_mm256_and_si256(_mm256_set1_epi16(bits), bit), bit);
    const __m256i negative = _mm256_xor_si256(set, flip);
    const __m256i d = _mm256_sub_epi16(_mm256_xor_si256(step, negative), negative);
    const __m256i w = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(&weights[c]));
    const __m256i sum = _mm256_adds_epi16(w, d);
    const __m256i moved = _mm256_max_epi16(_mm256_min_epi16(sum, top), bottom);
    // clipped: the saturating sum was cut, or it was outside the limits
    const __m256i exact = _mm256_cmpeq_epi16(moved, _mm256_add_epi16(w, d));
    clipped += 16 - static_cast<std::uint64_t>(
                        __builtin_popcount(static_cast<unsigned>(_mm256_movemask_epi8(exact)))) /
                        2;
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(&weights[c]), moved);
  }
#endif
  for (; c < weights.size(); ++c) {
    const bool negative = ((words[c / 64] >> (c % 64) & 1) != 0) != p_.minus;
    const std::int32_t sum = weights[c] + (negative ? -delta : delta);
    const std::int32_t moved = std::clamp(sum, -limit, limit);
    clipped += moved != sum ? 1 : 0;
    weights[c] = static_cast<std::int16_t>(moved);
  }
  count_.clipped += clipped;
}

}  // namespace lastmile::npu
