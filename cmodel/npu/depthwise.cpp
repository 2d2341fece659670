// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/depthwise.hpp"

#include <algorithm>
#include <array>
#include <cstring>

namespace lastmile::npu {
namespace {

constexpr std::size_t kSpreadBudget = std::size_t{1} << 18;  // bytes of spread input at once
constexpr std::size_t kStepInts = kPanel * kStepBytes / sizeof(std::int32_t);

std::size_t taps_of_step(Format format) { return format == Format::words ? 2 : 4; }

}  // namespace

PerturbCount Depthwise::pack(const Memory& memory, const spec::Descriptor& d,
                             const Perturbation& weights, const Drain& drain) {
  format_ = kernels_.bytes && d.has(spec::kFlagW8) ? Format::bytes : Format::words;
  const std::size_t taps = std::size_t{d.kernel_h} * d.kernel_w;
  const std::size_t channels = d.out_c;
  weights_.resize(taps * channels);
  Perturber perturber(kernels_, weights);
  for (std::size_t t = 0; t < taps; ++t) {
    const std::span<std::int16_t> row(weights_.data() + t * channels, channels);
    read_weights(memory, d, static_cast<std::uint32_t>(t), 0, row);
    perturber.row(static_cast<std::uint32_t>(t), row);
  }
  const std::size_t step = taps_of_step(format_);
  across_ = (d.kernel_w + step - 1) / step;
  const std::size_t entries = d.kernel_h * across_;
  const std::size_t count = (channels + kPanel - 1) / kPanel;
  panels_.clear();
  steps_.assign(count * entries * kPanel * kStepBytes, std::byte{0});
  parameters_.assign(count * 3 * kPanel, 0);
  std::vector<std::int16_t> column(taps);
  for (std::size_t p = 0; p < count; ++p) {
    Panel panel{.first = static_cast<std::uint32_t>(p * kPanel),
                .count = static_cast<std::uint32_t>(std::min(kPanel, channels - p * kPanel))};
    std::array<std::int64_t, kPanel> bound{};
    for (std::size_t c = 0; c < panel.count; ++c) {
      const std::size_t channel = panel.first + c;
      for (std::size_t t = 0; t < taps; ++t) column[t] = weights_[t * channels + channel];
      bound[c] = sum_bound(column, d.in_zp);
      for (std::size_t t = 0; t < taps; ++t) {
        const std::size_t y = t / d.kernel_w, x = t % d.kernel_w;
        const std::size_t entry = p * entries + y * across_ + x / step;
        std::byte* const to = steps_.data() + (entry * kPanel + c) * kStepBytes;
        if (format_ == Format::words) {
          std::memcpy(to + x % step * 2, &column[t], 2);
        } else {
          to[x % step] = static_cast<std::byte>(column[t]);
        }
      }
      const std::int32_t lacks =
          format_ == Format::bytes ? byte_correction(column, d.in_zp, kernels_) : 0;
      std::int32_t* const parameters = parameters_.data() + p * 3 * kPanel + c;
      parameters[0] = static_cast<std::int32_t>(static_cast<std::uint32_t>(drain.bias(channel)) +
                                                static_cast<std::uint32_t>(lacks));
      parameters[kPanel] = drain.multiplier(channel);
      parameters[2 * kPanel] = drain.right(channel);
    }
    // input channels must follow each other as outputs do
    panel.narrow = d.cout_group == 1 && drain.narrow(panel.first, panel.count, bound);
    panels_.push_back(panel);
  }
  return perturber.count();
}

// The panel's steps for all rows and columns of the block's region; the block has one image.
void Depthwise::spread(const Memory& memory, const spec::Descriptor& d, const BlockPlan& plan,
                       const Block& block, const Panel& panel, Part& part) const {
  using S = std::int64_t;
  const auto rows = static_cast<S>(plan.region_rows(block.rows));
  const auto columns = static_cast<S>(plan.region_columns(block.columns));
  const S top = static_cast<S>(block.row * d.stride_h) - d.pad_top;
  const S left = static_cast<S>(block.column * d.stride_w) - d.pad_left;
  const S first = std::clamp<S>(-left, 0, columns);
  const S last = std::clamp<S>(S{d.in_w} - left, first, columns);
  const std::size_t pitch = static_cast<std::size_t>(columns) * kStepInts;
  constexpr std::size_t line = 64;
  const std::size_t size = static_cast<std::size_t>(rows) * pitch + 2 * line;
  if (part.spread.size() < size) part.spread.resize(size);
  part.scratch.resize((static_cast<std::size_t>(columns) + 3 * d.dilation_w) * kPanel);
  const auto base = reinterpret_cast<std::uintptr_t>(part.spread.data());
  part.first = (line - base % line) % line / sizeof(std::int32_t);
  std::int32_t* to = part.spread.data() + part.first;
  for (S row = 0; row < rows; ++row, to += pitch) {
    const S y = top + row;
    const bool inside = y >= 0 && y < S{d.in_h} && first < last;
    const std::uint64_t pixel =
        inside ? (block.image * d.in_h + static_cast<std::uint64_t>(y)) * d.in_w +
                     static_cast<std::uint64_t>(left + first)
               : 0;
    const std::uint64_t address = d.in_addr + pixel * d.in_c;
    const std::uint64_t count =
        inside ? memory.existing(address, d.in_c, static_cast<std::uint64_t>(last - first)) : 0;
    const auto begin = static_cast<std::size_t>(count != 0 ? first : 0);
    kernels_.spread_row(format_, memory.int8(address + panel.first), d.in_c, panel.count,
                        static_cast<std::size_t>(columns), begin, begin + count, d.dilation_w,
                        d.in_zp, part.scratch.data(), to);
  }
}

void Depthwise::product(Memory& memory, const spec::Descriptor& d, const BlockPlan& plan,
                        const Block& block, const Drain& drain, Part& part) const {
  const std::uint64_t columns = plan.region_columns(block.columns);
  const std::size_t pixel = kPanel * taps_of_step(format_);  // elements of a step
  const std::size_t entries = d.kernel_h * across_;
  std::vector<std::int32_t> offset;
  for (std::size_t y = 0; y < d.kernel_h; ++y) {
    for (std::size_t x = 0; x < across_; ++x) {
      const std::size_t column = x * taps_of_step(format_) * d.dilation_w;
      offset.push_back(static_cast<std::int32_t>((y * d.dilation_h * columns + column) * pixel));
    }
  }
  part.positions.fill(d, plan, block, pixel);
  for (std::size_t p = 0; p < panels_.size(); ++p) {
    if (!panels_[p].narrow) continue;
    spread(memory, d, plan, block, panels_[p], part);
    Product q;
    q.format = format_;
    q.per_channel = true;
    q.region = part.spread.data() + part.first;
    q.positions = block.positions();
    q.input = part.positions.input.data();
    q.entries = entries;
    q.offset = offset.data();
    q.panels = 1;
    q.weights = steps_.data() + p * entries * kPanel * kStepBytes;
    Output output = drain.output(memory, panels_[p].first, panels_[p].count);
    output.bias = parameters_.data() + p * 3 * kPanel;
    output.multiplier = output.bias + kPanel;
    output.right = output.bias + 2 * kPanel;
    output.position = part.positions.output.data();
    Outside outside;
    kernels_.product(q, output, outside);
    part.saturated += saturations(outside);
  }
}

// Element by element: several outputs per input channel, 64-bit sums, int16 outputs.
void Depthwise::general(Memory& memory, const spec::Descriptor& d, const BlockPlan& plan,
                        const Block& block, const Panel& panel, const Drain& drain,
                        Part& part) const {
  const std::uint64_t columns = plan.region_columns(block.columns);
  const std::size_t channels = d.out_c;
  std::array<std::int64_t, kPanel> sums{};
  for (std::size_t p = 0; p < block.positions(); ++p) {
    const std::int16_t* const x = part.region.words() + part.positions.input[p];
    for (std::size_t i = 0; i < panel.count; ++i) {
      const std::size_t c = panel.first + i;
      std::int64_t sum = 0;
      std::size_t tap = 0;
      for (std::size_t ky = 0; ky < d.kernel_h; ++ky) {
        for (std::size_t kx = 0; kx < d.kernel_w; ++kx, ++tap) {
          const std::size_t at = (ky * d.dilation_h * columns + kx * d.dilation_w) * d.in_c;
          sum += std::int64_t{x[at + c / d.cout_group]} * weights_[tap * channels + c];
        }
      }
      sums[i] = sum;
    }
    drain.rows(memory, {&part.positions.output[p], 1}, panel.first, panel.count, sums.data(),
               kPanel, part.saturated);
  }
}

MatrixCount Depthwise::run(Memory& memory, const spec::Descriptor& d, const Perturbation& weights,
                           const Perturbation& bias, Workers& workers) {
  const Drain drain(memory, d, bias, kernels_);
  const PerturbCount perturbed = pack(memory, d, weights, drain);
  const BlockPlan plan(d, workers.threads());
  for (Part& part : parts_) part.saturated = {};
  const bool all = std::all_of(panels_.begin(), panels_.end(), [](auto& p) { return p.narrow; });
  const bool any = std::any_of(panels_.begin(), panels_.end(), [](auto& p) { return p.narrow; });

  plan.for_each(workers, [&](int index, const Block& block) {
    Part& part = parts_[static_cast<std::size_t>(index)];
    if (!all) {
      part.region.load(memory, d, plan, block, kernels_, Format::words);
      part.positions.fill(d, plan, block, d.in_c);
      for (const Panel& panel : panels_) {
        if (!panel.narrow) general(memory, d, plan, block, panel, drain, part);
      }
    }
    if (!any) return;
    // image by image, and as many rows as stay in the cache when spread
    const std::size_t row = plan.region_columns(block.columns) * kPanel * kStepBytes;
    const std::uint64_t rows = std::max<std::uint64_t>(1, kSpreadBudget / row / d.stride_h);
    for (std::uint64_t image = 0; image < block.images; ++image) {
      for (std::uint64_t y = 0; y < block.rows; y += rows) {
        Block strip = block;
        strip.image = block.image + image;
        strip.images = 1;
        strip.row = block.row + y;
        strip.rows = std::min(rows, block.rows - y);
        product(memory, d, plan, strip, drain, part);
      }
    }
  });

  MatrixCount total;
  total.perturbed = perturbed;
  total.perturbed += drain.bias_count();
  for (const Part& part : parts_) total.saturated += part.saturated;
  return total;
}

}  // namespace lastmile::npu
