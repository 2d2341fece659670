// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/weight.hpp"

#include <algorithm>
#include <array>
#include <cstring>

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

std::uint32_t PairWalk::run_length(const spec::Descriptor& d) {
  return d.groups == 1 && d.dilation_w == 1 ? d.kernel_w * d.in_c : d.cin_group;
}

PairWalk::PairWalk(const spec::Descriptor& d, std::uint64_t columns) : run(run_length(d)) {
  const bool whole_rows = d.groups == 1 && d.dilation_w == 1;
  const std::uint32_t across = whole_rows ? 1 : d.kernel_w;
  offset.reserve(std::size_t{d.kernel_h} * across * ((run + 1) / 2));
  for (std::uint32_t ky = 0; ky < d.kernel_h; ++ky) {
    for (std::uint32_t kx = 0; kx < across; ++kx) {
      const std::uint64_t base =
          (std::uint64_t{ky} * d.dilation_h * columns + std::uint64_t{kx} * d.dilation_w) * d.in_c;
      for (std::uint32_t i = 0; i < run; i += 2)
        offset.push_back(static_cast<std::int32_t>(base + i));
    }
  }
}

namespace {

// One panel of W_TRANSPOSED: memory row k holds element k of all output channels. Returns the sums
// of the magnitudes.
std::array<std::int64_t, 16> pack_transposed(const Memory& memory, const spec::Descriptor& d,
                                             const Panel& panel, std::uint32_t runs,
                                             std::uint32_t run, std::int16_t* to) {
  std::array<std::int64_t, 16> sums{};
  std::array<std::int16_t, 16> row{};
  const std::span<std::int16_t> used(row.data(), panel.count);
  const auto zero_point = static_cast<std::int16_t>(d.w_zp);
  for (std::uint32_t r = 0; r < runs; ++r) {
    for (std::uint32_t j = 0; j < run + run % 2; ++j) {
      std::int16_t* const at = to + std::size_t{j / 2} * panel.lanes * 2 + j % 2;
      row.fill(0);
      if (j < run) {
        read_weights(memory, d, r * run + j, panel.first, used);
        for (std::int16_t& w : used) w = static_cast<std::int16_t>(w - zero_point);
      }
      for (std::uint32_t lane = 0; lane < panel.lanes; ++lane) {
        at[std::size_t{lane} * 2] = row[lane];
        sums[lane] += row[lane] < 0 ? -row[lane] : row[lane];
      }
    }
    to += std::size_t{(run + 1) / 2} * panel.lanes * 2;
  }
  return sums;
}

}  // namespace

void WeightPanels::pack(const Memory& memory, const spec::Descriptor& d, const Perturbation& p,
                        const Drain& drain, Workers& workers) {
  const std::uint32_t k = d.kernel_h * d.kernel_w * d.cin_group;
  const std::uint32_t run = PairWalk::run_length(d);
  const std::uint32_t run_pairs = (run + 1) / 2;
  const std::uint32_t runs = k / run;
  pairs_ = runs * run_pairs;
  count_ = {};
  panels_.clear();
  std::size_t size = 0;
  for (std::uint32_t g = 0; g < d.groups; ++g) {
    for (std::uint32_t o = 0; o < d.cout_group; o += 16) {
      Panel panel{.group = g,
                  .first = g * d.cout_group + o,
                  .count = std::min<std::uint32_t>(16, d.cout_group - o)};
      panel.lanes = panel.count > 8 ? 16 : 8;
      panel.at = size;
      size += std::size_t{pairs_} * panel.lanes * 2;
      panels_.push_back(panel);
    }
  }
  if (values_.size() < size) values_.resize(size);
  // |x - zero_point| is at most this
  const std::int64_t widest = std::max(127 - d.in_zp, d.in_zp + 128);
  std::vector<PerturbCount> counts(static_cast<std::size_t>(workers.threads()));
  workers.split(panels_.size(), [&](int part, std::uint64_t begin, std::uint64_t end) {
    Perturber perturber(p);
    std::vector<std::int16_t> row(k + 1);
    for (std::uint64_t i = begin; i < end; ++i) {
      Panel& panel = panels_[i];
      std::int16_t* to = values_.data() + panel.at;
      std::array<std::int64_t, 16> bound{};
      if (d.has(spec::kFlagWTransposed)) {
        bound = pack_transposed(memory, d, panel, runs, run, to);
        for (std::int64_t& b : bound) b *= widest;
        panel.narrow = drain.narrow(panel.first, panel.count, bound);
        continue;
      }
      for (std::uint32_t lane = 0; lane < panel.lanes; ++lane) {
        if (lane >= panel.count) {
          for (std::uint32_t pair = 0; pair < pairs_; ++pair)
            std::fill_n(to + (std::size_t{pair} * panel.lanes + lane) * 2, 2, std::int16_t{0});
          continue;
        }
        const std::span<std::int16_t> weights(row.data(), k);
        read_weights(memory, d, panel.first + lane, 0, weights);
        perturber.row(panel.first + lane, weights);
        std::int64_t sum = 0;
        for (const std::int16_t w : weights) sum += w < 0 ? -w : w;
        bound[lane] = sum * widest;
        std::int16_t* at = to + std::size_t{lane} * 2;
        const std::size_t step = std::size_t{panel.lanes} * 2;
        for (std::uint32_t r = 0; r < runs; ++r) {
          const std::int16_t* from = row.data() + std::size_t{r} * run;
          for (std::uint32_t j = 0; j + 1 < run; j += 2, at += step)
            std::memcpy(at, from + j, 2 * sizeof *at);
          if (run % 2 != 0) {
            at[0] = from[run - 1];
            at[1] = 0;
            at += step;
          }
        }
      }
      panel.narrow = drain.narrow(panel.first, panel.count, bound);
    }
    counts[static_cast<std::size_t>(part)] = perturber.count();
  });
  for (const PerturbCount& c : counts) count_ += c;
}

}  // namespace lastmile::npu
