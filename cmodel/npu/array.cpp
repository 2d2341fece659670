// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/array.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "cmodel/npu/validate.hpp"

#if defined(__AVX2__)
#include <immintrin.h>
#endif

namespace lastmile::npu {
namespace {

constexpr std::size_t kRows = 6;  // output positions of one kernel call
constexpr std::uint32_t kBlockPairs =
    128;  // 128 * 2 * 2^15 * 255 < 2^31: the longest sum that int32 always holds

// sums[row][lane] = sum over pairs of x[row][offset] * w + x[row][offset + 1] * w'. `Vectors` x 8
// lanes; sums is kRows x 16.
#if defined(__AVX2__)
template <int Vectors>
void multiply(const std::array<const std::int16_t*, kRows>& x, const std::int32_t* offset,
              std::uint32_t pairs, const std::int16_t* w, std::int32_t* sums) {
  __m256i acc[kRows][Vectors];
  for (auto& row : acc) {
    for (auto& v : row) v = _mm256_setzero_si256();
  }
  const std::int16_t* const x0 = x[0];
  const std::int16_t* const x1 = x[1];
  const std::int16_t* const x2 = x[2];
  const std::int16_t* const x3 = x[3];
  const std::int16_t* const x4 = x[4];
  const std::int16_t* const x5 = x[5];
  const auto step = [&](__m256i* row, const std::int16_t* from, const __m256i* b) {
    std::int32_t pair;
    std::memcpy(&pair, from, sizeof pair);
    const __m256i a = _mm256_set1_epi32(pair);
    for (int v = 0; v < Vectors; ++v) row[v] = _mm256_add_epi32(row[v], _mm256_madd_epi16(a, b[v]));
  };
  for (std::uint32_t p = 0; p < pairs; ++p, w += Vectors * 16) {
    const std::int64_t at = offset[p];
    __m256i b[Vectors];
    for (int v = 0; v < Vectors; ++v)
      b[v] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(w + v * 16));
    step(acc[0], x0 + at, b);
    step(acc[1], x1 + at, b);
    step(acc[2], x2 + at, b);
    step(acc[3], x3 + at, b);
    step(acc[4], x4 + at, b);
    step(acc[5], x5 + at, b);
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    for (int v = 0; v < Vectors; ++v)
      _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + r * 16 + v * 8), acc[r][v]);
  }
}
#else
template <int Vectors>
void multiply(const std::array<const std::int16_t*, kRows>& x, const std::int32_t* offset,
              std::uint32_t pairs, const std::int16_t* w, std::int32_t* sums) {
  constexpr int lanes = Vectors * 8;
  std::int32_t acc[kRows][lanes] = {};
  for (std::uint32_t p = 0; p < pairs; ++p, w += lanes * 2) {
    for (std::size_t r = 0; r < kRows; ++r) {
      const std::int32_t first = x[r][offset[p]], second = x[r][offset[p] + 1];
      for (int lane = 0; lane < lanes; ++lane)
        acc[r][lane] += first * w[2 * lane] + second * w[2 * lane + 1];
    }
  }
  for (std::size_t r = 0; r < kRows; ++r) {
    for (int lane = 0; lane < lanes; ++lane)
      sums[r * 16 + static_cast<std::size_t>(lane)] = acc[r][lane];
  }
}
#endif

void multiply(std::uint32_t lanes, const std::array<const std::int16_t*, kRows>& x,
              const std::int32_t* offset, std::uint32_t pairs, const std::int16_t* w,
              std::int32_t* sums) {
  lanes == 16 ? multiply<2>(x, offset, pairs, w, sums) : multiply<1>(x, offset, pairs, w, sums);
}

}  // namespace

void Positions::fill(const spec::Descriptor& d, const BlockPlan& plan, const Block& block) {
  const std::size_t count = block.positions();
  if (input.size() < count) {
    input.resize(count);
    output.resize(count);
  }
  const std::uint64_t rows = plan.region_rows(block.rows);
  const std::uint64_t columns = plan.region_columns(block.columns);
  const std::size_t step = std::size_t{d.stride_w} * d.in_c;
  const std::uint64_t image = output_image_elements(d);
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < block.images; ++i) {
    for (std::uint64_t y = 0; y < block.rows; ++y) {
      const std::size_t from = (i * rows + y * d.stride_h) * columns * d.in_c;
      const std::uint64_t to =
          (block.image + i) * image + ((block.row + y) * d.out_w + block.column) * d.out_c;
      for (std::uint64_t x = 0; x < block.columns; ++x, ++at) {
        input[at] = static_cast<std::int32_t>(from + x * step);
        output[at] = to + x * d.out_c;
      }
    }
  }
}

MatrixCount Array::run(Memory& memory, const spec::Descriptor& d, const Perturbation& weights,
                       const Perturbation& bias, Workers& workers) {
  const Drain drain(memory, d, bias);
  panels_.pack(memory, d, weights, drain, workers);
  const BlockPlan plan(d, workers.threads());
  for (Part& part : parts_) part.saturated = {};

  plan.for_each(workers, [&](int index, const Block& block) {
    Part& part = parts_[static_cast<std::size_t>(index)];
    part.region.load(memory, d, plan, block);
    part.positions.fill(d, plan, block);
    const PairWalk walk(d, plan.region_columns(block.columns));
    const std::size_t count = block.positions();
    std::array<std::int32_t, kRows * 16> sums{};
    std::array<std::int64_t, kRows * 16> wide{};
    for (const Panel& panel : panels_.panels()) {
      const std::int16_t* region = part.region.data() + std::size_t{panel.group} * d.cin_group;
      const std::int16_t* w = panels_.values(panel);
      for (std::size_t p = 0; p < count; p += kRows) {
        const std::size_t rows = std::min(kRows, count - p);
        std::array<const std::int16_t*, kRows> x;
        for (std::size_t r = 0; r < kRows; ++r)
          x[r] = region + part.positions.input[p + std::min(r, rows - 1)];
        if (panel.narrow) {
          multiply(panel.lanes, x, walk.offset.data(), panels_.pairs(), w, sums.data());
          drain.rows(memory, {&part.positions.output[p], rows}, panel.first, panel.count,
                     sums.data(), part.saturated);
          continue;
        }
        wide.fill(0);
        for (std::uint32_t at = 0; at < panels_.pairs(); at += kBlockPairs) {
          multiply(panel.lanes, x, walk.offset.data() + at,
                   std::min(kBlockPairs, panels_.pairs() - at),
                   w + std::size_t{at} * panel.lanes * 2, sums.data());
          for (std::size_t i = 0; i < sums.size(); ++i) wide[i] += sums[i];
        }
        drain.rows(memory, {&part.positions.output[p], rows}, panel.first, panel.count, wide.data(),
                   part.saturated);
      }
    }
  });

  MatrixCount total;
  total.perturbed = panels_.count();
  total.perturbed += drain.bias_count();
  for (const Part& part : parts_) total.saturated += part.saturated;
  return total;
}

}  // namespace lastmile::npu
