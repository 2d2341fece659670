// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/depthwise.hpp"

#include <algorithm>
#include <array>

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lastmile::npu {
namespace {

constexpr std::size_t kRows = 8;  // output positions drained together

// sums[channel] over all tap pairs, 16 channels that follow each other in the input region.
void multiply(const std::int16_t* x, const std::int32_t* offset, std::size_t pairs,
              const std::int16_t* w, std::int32_t* sums) {
#if defined(__AVX2__)
  // unpacking works inside 128-bit halves: `low` holds channels 0-3 and 8-11, `high` 4-7 and 12-15
  __m256i low = _mm256_setzero_si256(), high = _mm256_setzero_si256();
  for (std::size_t p = 0; p < pairs; ++p, w += 32) {
    const __m256i a = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + offset[2 * p]));
    const __m256i b = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(x + offset[2 * p + 1]));
    const __m256i w0 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w));
    const __m256i w1 = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + 16));
    low = _mm256_add_epi32(low, _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), w0));
    high = _mm256_add_epi32(high, _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), w1));
  }
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums), _mm256_permute2x128_si256(low, high, 0x20));
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + 8),
                      _mm256_permute2x128_si256(low, high, 0x31));
#else
  std::array<std::int32_t, 16> acc{};
  for (std::size_t p = 0; p < pairs; ++p, w += 32) {
    const std::int16_t* const a = x + offset[2 * p];
    const std::int16_t* const b = x + offset[2 * p + 1];
    for (std::size_t c = 0; c < 16; ++c) acc[c] += a[c] * w[2 * c] + b[c] * w[2 * c + 1];
  }
  std::copy(acc.begin(), acc.end(), sums);
#endif
}

// Where channel c's weights of a tap pair stand in its 32 values.
constexpr std::size_t slot(std::size_t c) {
#if defined(__AVX2__)
  const std::size_t half = c / 4 % 2, place = c % 4 + c / 8 * 4;
  return half * 16 + place * 2;
#else
  return c * 2;
#endif
}

}  // namespace

MatrixCount Depthwise::run(Memory& memory, const spec::Descriptor& d, const Perturbation& weights,
                           const Perturbation& bias, Workers& workers) {
  const Drain drain(memory, d, bias);
  const std::size_t taps = std::size_t{d.kernel_h} * d.kernel_w;
  const std::size_t channels = d.out_c;
  const std::size_t pairs = (taps + 1) / 2;
  const std::size_t blocks = (channels + kDrainLanes - 1) / kDrainLanes;
  weights_.resize(taps * channels);
  Perturber perturber(weights);
  std::vector<std::int64_t> bound(channels, 0);
  const std::int64_t widest = std::max(127 - d.in_zp, d.in_zp + 128);
  for (std::size_t t = 0; t < taps; ++t) {
    const std::span<std::int16_t> row(weights_.data() + t * channels, channels);
    read_weights(memory, d, static_cast<std::uint32_t>(t), 0, row);
    perturber.row(static_cast<std::uint32_t>(t), row);
    for (std::size_t c = 0; c < channels; ++c) bound[c] += widest * (row[c] < 0 ? -row[c] : row[c]);
  }
  // The fast way needs 32-bit sums, and input channels that follow each other as outputs do.
  std::vector<bool> fast;
  for (std::size_t c = 0; c < channels; c += kDrainLanes) {
    const std::size_t count = std::min(kDrainLanes, channels - c);
    fast.push_back(d.cout_group == 1 &&
                   drain.narrow(c, count, std::span<const std::int64_t>(bound).subspan(c, count)));
  }
  panels_.assign(blocks * pairs * 32, 0);
  for (std::size_t t = 0; t < taps; ++t) {
    for (std::size_t c = 0; c < channels; ++c) {
      const std::size_t pair = c / kDrainLanes * pairs + t / 2;
      panels_[pair * 32 + slot(c % kDrainLanes) + t % 2] = weights_[t * channels + c];
    }
  }
  const BlockPlan plan(d, workers.threads());
  for (Part& part : parts_) part.saturated = {};

  plan.for_each(workers, [&](int index, const Block& block) {
    Part& part = parts_[static_cast<std::size_t>(index)];
    part.region.load(memory, d, plan, block);
    part.positions.fill(d, plan, block);
    const std::uint64_t columns = plan.region_columns(block.columns);
    std::vector<std::int32_t> offset;  // of each tap; an odd number is completed, with weight zero
    for (std::uint32_t ky = 0; ky < d.kernel_h; ++ky) {
      for (std::uint32_t kx = 0; kx < d.kernel_w; ++kx) {
        offset.push_back(static_cast<std::int32_t>(
            (std::uint64_t{ky} * d.dilation_h * columns + std::uint64_t{kx} * d.dilation_w) *
            d.in_c));
      }
    }
    if (taps % 2 != 0) offset.push_back(0);
    const std::size_t count = block.positions();
    std::array<std::int32_t, kRows * kDrainLanes> sums{};
    std::array<std::int64_t, kRows * kDrainLanes> wide{};
    for (std::size_t b = 0; b < blocks; ++b) {
      const std::size_t c = b * kDrainLanes;
      const std::size_t used = std::min(kDrainLanes, channels - c);
      for (std::size_t p = 0; p < count; p += kRows) {
        const std::size_t rows = std::min(kRows, count - p);
        const std::span<const std::uint64_t> out(&part.positions.output[p], rows);
        for (std::size_t r = 0; r < rows; ++r) {
          const std::int16_t* x = part.region.data() + part.positions.input[p + r];
          if (fast[b]) {
            multiply(x + c, offset.data(), pairs, panels_.data() + b * pairs * 32,
                     sums.data() + r * kDrainLanes);
            continue;
          }
          for (std::size_t i = 0; i < used; ++i) {
            std::int64_t sum = 0;
            for (std::size_t t = 0; t < taps; ++t) {
              sum += std::int64_t{x[static_cast<std::size_t>(offset[t]) + (c + i) / d.cout_group]} *
                     weights_[t * channels + c + i];
            }
            wide[r * kDrainLanes + i] = sum;
          }
        }
        if (fast[b]) {
          drain.rows(memory, out, c, used, sums.data(), part.saturated);
        } else {
          drain.rows(memory, out, c, used, wide.data(), part.saturated);
        }
      }
    }
  });

  MatrixCount total;
  total.perturbed = perturber.count();
  total.perturbed += drain.bias_count();
  for (const Part& part : parts_) total.saturated += part.saturated;
  return total;
}

}  // namespace lastmile::npu
