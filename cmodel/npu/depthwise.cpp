#include "cmodel/npu/depthwise.hpp"

#include <algorithm>
#include <array>

namespace lastmile::npu {

MatrixCount Depthwise::run(Memory& memory, const spec::Descriptor& d, const Perturbation& weights,
                           const Perturbation& bias, Workers& workers) {
  const Drain drain(memory, d, bias);
  const std::uint32_t taps = d.kernel_h * d.kernel_w;
  const std::size_t channels = d.out_c;
  weights_.resize(taps * channels);
  Perturber perturber(weights);
  std::vector<std::int64_t> bound(channels, 0);
  const std::int64_t widest = std::max(127 - d.in_zp, d.in_zp + 128);
  for (std::uint32_t t = 0; t < taps; ++t) {
    const std::span<std::int16_t> row(weights_.data() + t * channels, channels);
    read_weight_row(memory, d, t, row);
    perturber.row(t, row);
    for (std::size_t c = 0; c < channels; ++c) bound[c] += widest * (row[c] < 0 ? -row[c] : row[c]);
  }
  std::vector<bool> narrow;
  for (std::size_t c = 0; c < channels; c += kDrainLanes) {
    const std::size_t count = std::min(kDrainLanes, channels - c);
    narrow.push_back(
        drain.narrow(c, count, std::span<const std::int64_t>(bound).subspan(c, count)));
  }
  const BlockPlan plan(d, workers.threads());
  for (Part& part : parts_) part.saturated = {};

  plan.for_each(workers, [&](int index, const Block& block) {
    Part& part = parts_[static_cast<std::size_t>(index)];
    part.region.load(memory, d, plan, block);
    part.positions.fill(d, plan, block);
    const std::uint64_t columns = plan.region_columns(block.columns);
    std::vector<std::uint64_t> offset;
    for (std::uint32_t ky = 0; ky < d.kernel_h; ++ky) {
      for (std::uint32_t kx = 0; kx < d.kernel_w; ++kx)
        offset.push_back(
            (std::uint64_t{ky} * d.dilation_h * columns + std::uint64_t{kx} * d.dilation_w) *
            d.in_c);
    }
    for (std::size_t p = 0; p < part.positions.input.size(); ++p) {
      const std::int16_t* x = part.region.data() + part.positions.input[p];
      for (std::size_t c = 0; c < channels; c += kDrainLanes) {
        const std::size_t count = std::min(kDrainLanes, channels - c);
        std::array<std::int64_t, kDrainLanes> wide{};
        for (std::uint32_t t = 0; t < taps; ++t) {
          for (std::size_t i = 0; i < count; ++i) {
            wide[i] += std::int64_t{x[offset[t] + (c + i) / d.cout_group]} *
                       weights_[t * channels + c + i];
          }
        }
        if (narrow[c / kDrainLanes]) {
          std::array<std::int32_t, kDrainLanes> sums;
          for (std::size_t i = 0; i < kDrainLanes; ++i)
            sums[i] = static_cast<std::int32_t>(wide[i]);
          drain.row(memory, part.positions.output[p], c, count, sums.data(), part.saturated);
        } else {
          drain.row(memory, part.positions.output[p], c, count, wide.data(), part.saturated);
        }
      }
    }
  });

  MatrixCount total;
  total.perturbed.perturbed = perturber.count().perturbed + drain.bias_count().perturbed;
  total.perturbed.clipped = perturber.count().clipped + drain.bias_count().clipped;
  for (const Part& part : parts_) total.saturated += part.saturated;
  return total;
}

}  // namespace lastmile::npu
