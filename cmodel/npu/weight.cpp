// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/weight.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

namespace lastmile::npu {

void read_weights(const Memory& memory, const spec::Descriptor& d, std::uint32_t row,
                  std::uint32_t column, std::span<std::int16_t> to) {
  const std::uint64_t address = d.w_addr + std::uint64_t{row} * d.w_pitch +
                                std::uint64_t{column} * (d.has(spec::kFlagW8) ? 1 : 2);
  if (d.has(spec::kFlagW8)) {
    const std::int8_t* from = memory.int8(address);
    for (std::size_t i = 0; i < to.size(); ++i) to[i] = std::int16_t{from[i]};
  } else {
    memory.copy_out(address, to);
  }
}

std::int64_t sum_bound(std::span<const std::int16_t> weights, std::int32_t zero_point) {
  // x - zero_point is in [least, most], which contains 0; K is at most 65,536, so each of the two
  // sums fits 32 bits
  const std::int64_t least = -128 - zero_point, most = 127 - zero_point;
  std::int32_t positive = 0, negative = 0;
  for (const std::int16_t w : weights) positive += w > 0 ? w : 0;
  for (const std::int16_t w : weights) negative += w < 0 ? w : 0;
  return std::max(positive * most + negative * least, -(positive * least + negative * most));
}

std::int32_t byte_correction(std::span<const std::int16_t> weights, std::int32_t zero_point,
                             const Kernels& kernels) {
  std::int32_t sum = 0;
  for (const std::int16_t w : weights) sum += w;
  const std::int64_t each = zero_point + kernels.byte_zero;
  return static_cast<std::int32_t>(-each * sum);
}

KWalk::KWalk(const spec::Descriptor& d, Format format, std::size_t fold)
    : run(d.groups == 1 && d.dilation_w == 1 ? d.kernel_w * d.in_c : d.cin_group),
      runs(d.kernel_h * (d.groups == 1 && d.dilation_w == 1 ? 1 : d.kernel_w)),
      element((format == Format::words ? 2 : 4) * static_cast<std::uint32_t>(fold)) {}

std::vector<std::int32_t> KWalk::offsets(const spec::Descriptor& d, std::uint64_t columns) const {
  std::vector<std::int32_t> offset;
  offset.reserve(entries());
  const std::uint32_t across = runs / d.kernel_h;
  for (std::uint32_t ky = 0; ky < d.kernel_h; ++ky) {
    for (std::uint32_t kx = 0; kx < across; ++kx) {
      const std::uint64_t base =
          (std::uint64_t{ky} * d.dilation_h * columns + std::uint64_t{kx} * d.dilation_w) * d.in_c;
      for (std::uint32_t i = 0; i < run; i += element)
        offset.push_back(static_cast<std::int32_t>(base + i));
    }
  }
  return offset;
}

// How the channels are cut into products, and how K is walked.
void WeightPanels::plan(const spec::Descriptor& d, const Kernels& kernels) {
  // a transposed weight minus its zero point has nine bits
  const bool bytes = kernels.bytes && d.has(spec::kFlagW8) && !d.has(spec::kFlagWTransposed);
  format_ = bytes ? Format::bytes : Format::words;
  // Products as wide as the kernels take them, and all about as wide.
  const auto panels = static_cast<std::uint32_t>((d.cout_group + kPanel - 1) / kPanel);
  const auto most = static_cast<std::uint32_t>(kernels.panels);
  const std::uint32_t products = (panels + most - 1) / most;
  // Folding spares loads, three for four steps, but completes runs to even numbers of steps.
  fold_ = 1;
  walk_ = KWalk(d, format_, 1);
  if (panels == 1 && kernels.fold == 2) {
    const KWalk folded(d, format_, 2);
    if (folded.entries() * 8 <= walk_.entries() * 5) fold_ = 2, walk_ = folded;
  }
  const std::size_t entry_bytes = kPanel * fold_ * kStepBytes;
  groups_.clear();
  std::size_t size = 0;
  for (std::uint32_t g = 0; g < d.groups; ++g) {
    for (std::uint32_t i = 0; i < products; ++i) {
      const std::uint32_t begin = panels * i / products, end = panels * (i + 1) / products;
      const auto first = static_cast<std::uint32_t>(begin * kPanel);
      PanelGroup group{
          .group = g,
          .first = g * d.cout_group + first,
          .count = std::min<std::uint32_t>(static_cast<std::uint32_t>(end * kPanel), d.cout_group) -
                   first,
          .panels = end - begin};
      group.at = size;
      group.parameters = groups_.size() * 4 * kWidest;
      size += walk_.entries() * entry_bytes * group.panels;
      groups_.push_back(group);
    }
  }
  constexpr std::size_t line = 64;
  if (values_.size() < size + line) values_.resize(size + line);
  base_ = values_.data() + (line - reinterpret_cast<std::uintptr_t>(values_.data()) % line) % line;
  parameters_.assign(groups_.size() * 4 * kWidest, 0);
}

void WeightPanels::pack_channel(std::span<const std::int16_t> weights, const PanelGroup& g,
                                std::uint32_t lane) {
  const std::size_t own = fold_ * kStepBytes;  // bytes of an entry that belong to this channel
  const std::size_t step = g.panels * kPanel * own;
  std::byte* to = base_ + g.at + lane * own;
  const std::uint32_t element = walk_.element;
  for (std::size_t begin = 0; begin < weights.size(); begin += walk_.run) {
    const auto run = weights.subspan(begin, walk_.run);
    for (std::size_t i = 0; i < run.size(); i += element, to += step) {
      const std::size_t count = std::min<std::size_t>(element, run.size() - i);
      if (format_ == Format::words) {
        if (count == element) {  // sizes that the compiler knows
          own == 4 ? std::memcpy(to, &run[i], 4) : std::memcpy(to, &run[i], 8);
          continue;
        }
        std::array<std::int16_t, 4> last{};
        std::copy_n(run.begin() + static_cast<std::ptrdiff_t>(i), count, last.begin());
        std::memcpy(to, last.data(), own);
      } else {
        std::array<std::int8_t, 8> bytes{};
        for (std::size_t j = 0; j < count; ++j) bytes[j] = static_cast<std::int8_t>(run[i + j]);
        std::memcpy(to, bytes.data(), own);
      }
    }
  }
}

namespace {

// W_TRANSPOSED: a memory row holds one element of K of all output channels. A panel's channels from
// `first` on, one after the other.
void read_transposed(const Memory& memory, const spec::Descriptor& d, std::uint32_t first,
                     std::span<std::int16_t> to) {
  const std::size_t k = to.size() / kPanel;
  const std::size_t count = std::min<std::size_t>(kPanel, d.out_c - first);
  const auto zero_point = static_cast<std::int16_t>(d.w_zp);
  std::array<std::int16_t, kPanel> row{};
  for (std::size_t i = 0; i < k; ++i) {
    read_weights(memory, d, static_cast<std::uint32_t>(i), first, std::span(row).first(count));
    for (std::size_t o = 0; o < count; ++o)
      to[o * k + i] = static_cast<std::int16_t>(row[o] - zero_point);
  }
}

}  // namespace

void WeightPanels::pack(const Memory& memory, const spec::Descriptor& d, const Perturbation& p,
                        const Drain& drain, const Kernels& kernels, Workers& workers) {
  plan(d, kernels);
  count_ = {};
  const std::uint32_t k = d.kernel_h * d.kernel_w * d.cin_group;
  const bool transposed = d.has(spec::kFlagWTransposed);
  // panels of 16 channels, dealt out to the threads whatever product they belong to
  std::vector<std::pair<const PanelGroup*, std::uint32_t>> panels;
  for (const PanelGroup& g : groups_) {
    for (std::uint32_t i = 0; i < g.panels; ++i) panels.emplace_back(&g, i);
  }
  std::vector<std::int64_t> bound(d.out_c);
  std::vector<PerturbCount> counts(static_cast<std::size_t>(workers.threads()));
  workers.split(panels.size(), [&](int part, std::uint64_t begin, std::uint64_t end) {
    Perturber perturber(kernels, p);
    std::vector<std::int16_t> row(k);
    std::vector<std::int16_t> block(transposed ? kPanel * k : 0);
    const std::vector<std::int16_t> nothing(k, 0);
    for (std::uint64_t i = begin; i < end; ++i) {
      const PanelGroup& g = *panels[i].first;
      std::int32_t* const parameters = parameters_.data() + g.parameters;
      const auto first = static_cast<std::uint32_t>(panels[i].second * kPanel);
      if (transposed) read_transposed(memory, d, g.first + first, block);
      for (std::uint32_t lane = first; lane < first + kPanel; ++lane) {
        if (lane >= g.count) {
          pack_channel(nothing, g, lane);
          continue;
        }
        const std::uint32_t channel = g.first + lane;
        if (transposed) {
          std::copy_n(block.begin() + (lane - first) * k, k, row.begin());
        } else {
          read_weights(memory, d, channel, 0, row);
        }
        perturber.row(channel, std::span(row));
        pack_channel(row, g, lane);
        bound[channel] = sum_bound(row, d.in_zp);
        const std::int32_t lacks =
            format_ == Format::bytes ? byte_correction(row, d.in_zp, kernels) : 0;
        // modulo 2^32, as the kernels add it
        parameters[lane] = static_cast<std::int32_t>(
            static_cast<std::uint32_t>(drain.bias(channel)) + static_cast<std::uint32_t>(lacks));
        parameters[kWidest + lane] = drain.multiplier(channel);
        parameters[2 * kWidest + lane] = drain.right(channel);
        parameters[3 * kWidest + lane] = lacks;
      }
    }
    counts[static_cast<std::size_t>(part)] = perturber.count();
  });
  for (PanelGroup& g : groups_)
    g.narrow = drain.narrow(g.first, g.count, std::span(bound).subspan(g.first, g.count));
  for (const PerturbCount& c : counts) count_ += c;
}

Product WeightPanels::product(const PanelGroup& g) const {
  Product q;
  q.format = format_;
  q.fold = fold_;
  q.entries = walk_.entries();
  q.panels = g.panels;
  q.weights = base_ + g.at;
  return q;
}

void WeightPanels::complete(const PanelGroup& g, Output& output) const {
  const std::int32_t* const parameters = parameters_.data() + g.parameters;
  output.bias = parameters;
  output.multiplier = parameters + kWidest;
  output.right = parameters + 2 * kWidest;
}

}  // namespace lastmile::npu
