// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/array.hpp"

#include <algorithm>

#include "cmodel/command/validate.hpp"

namespace lastmile::npu {

void Positions::fill(const spec::Descriptor& d, const BlockPlan& plan, const Block& block,
                     std::size_t pixel) {
  const std::size_t count = block.positions();
  if (input.size() < count) {
    input.resize(count);
    output.resize(count);
  }
  const std::uint64_t rows = plan.region_rows(block.rows);
  const std::uint64_t columns = plan.region_columns(block.columns);
  const std::size_t step = d.stride_w * pixel;
  const std::uint64_t image = output_image_elements(d);
  std::size_t at = 0;
  for (std::uint64_t i = 0; i < block.images; ++i) {
    for (std::uint64_t y = 0; y < block.rows; ++y) {
      const std::size_t from = (i * rows + y * d.stride_h) * columns * pixel;
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
  const Drain drain(memory, d, bias, kernels_);
  panels_.pack(memory, d, weights, drain, kernels_, workers);
  const BlockPlan plan(d, workers.threads());
  for (Part& part : parts_) part.saturated = {};

  plan.for_each(workers, [&](int index, const Block& block) {
    Part& part = parts_[static_cast<std::size_t>(index)];
    part.region.load(memory, d, plan, block, kernels_, panels_.format());
    part.positions.fill(d, plan, block, d.in_c);
    const std::vector<std::int32_t> offset =
        panels_.walk().offsets(d, plan.region_columns(block.columns));
    for (const PanelGroup& g : panels_.groups()) {
      Product product = panels_.product(g);
      product.region = part.region.at(panels_.format(), std::size_t{g.group} * d.cin_group);
      product.positions = block.positions();
      product.input = part.positions.input.data();
      product.offset = offset.data();
      if (!g.narrow) {
        general(memory, drain, g, product, part);
        continue;
      }
      Output output = drain.output(memory, g.first, g.count);
      panels_.complete(g, output);
      output.position = part.positions.output.data();
      Outside outside;
      kernels_.product(product, output, outside);
      part.saturated += saturations(outside);
    }
  });

  MatrixCount total;
  total.perturbed = panels_.count();
  total.perturbed += drain.bias_count();
  for (const Part& part : parts_) total.saturated += part.saturated;
  return total;
}

void Array::general(Memory& memory, const Drain& drain, const PanelGroup& g, const Product& product,
                    Part& part) const {
  // 256 products of 2^15 * 255 are below 2^31: the longest sum of words that 32 bits always hold.
  // Bytes always fit: 65,536 products of 2^7 * 255.
  const bool words = product.format == Format::words;
  const std::size_t block = words ? 128 / product.fold : product.entries;
  constexpr std::size_t kAtOnce = 120;  // positions; a multiple of what the kernels take at once
  const std::size_t width = product.panels * kPanel;
  const std::size_t entry_bytes = width * product.fold * kStepBytes;
  part.sums.resize(kAtOnce * width);
  part.wide.resize(kAtOnce * width);
  for (std::size_t p = 0; p < product.positions; p += kAtOnce) {
    Product q = product;
    q.input += p;
    q.positions = std::min(kAtOnce, product.positions - p);
    std::fill(part.wide.begin(), part.wide.end(), 0);
    for (std::size_t at = 0; at < product.entries; at += block) {
      q.entries = std::min(block, product.entries - at);
      q.offset = product.offset + at;
      q.weights = static_cast<const std::byte*>(product.weights) + at * entry_bytes;
      kernels_.sums(q, part.sums.data());
      for (std::size_t r = 0; r < q.positions; ++r) {
        for (std::size_t c = 0; c < width; ++c) {
          const auto lacks = static_cast<std::uint32_t>(panels_.lacks(g, c));
          const auto sum = static_cast<std::uint32_t>(part.sums[r * width + c]) + lacks;
          part.wide[r * width + c] += static_cast<std::int32_t>(sum);
        }
      }
    }
    drain.rows(memory, {&part.positions.output[p], q.positions}, g.first, g.count, part.wide.data(),
               width, part.saturated);
  }
}

}  // namespace lastmile::npu
