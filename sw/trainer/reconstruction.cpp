// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/reconstruction.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "cmodel/numeric/loss_units.hpp"
#include "sw/base/error.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {
namespace {

// Real squared error of one unit of a pass's sum, shared by the elements of an example.
double unit_of(const QuantizedNetwork& network) {
  if (!network.difference)
    throw Error(ErrorKind::input,
                fmt::format("network '{}': it does not say how large a difference of output and "
                            "input is, expected one that was calibrated",
                            network.network.name));
  const double scale = network.difference->scale;
  return scale * scale / static_cast<double>(network.network.input.elements());
}

}  // namespace

double mean_loss(const QuantizedNetwork& network, std::int64_t sum, std::size_t examples) {
  const auto n = static_cast<double>(examples);
  if (!network.network.reconstructs()) return numeric::mean_nats(sum, n);
  return examples == 0 ? 0 : static_cast<double>(sum) * unit_of(network) / n;
}

std::int64_t loss_sum_of(const QuantizedNetwork& network, double mean, std::size_t examples) {
  if (!network.network.reconstructs()) return loss_sum_of(mean, examples);
  const double sum = mean * static_cast<double>(examples) / unit_of(network);
  constexpr double kMost = 0x1p62;  // float has no range to saturate at
  if (!(std::abs(sum) <= kMost))
    throw Error(ErrorKind::diverged, fmt::format("the loss is {}; the run diverged", mean));
  return std::llround(sum);
}

std::optional<double> area_under_curve(std::span<const double> scores,
                                       std::span<const Label> labels) {
  if (scores.size() != labels.size())
    throw Error(ErrorKind::usage,
                fmt::format("{} scores for {} labels", scores.size(), labels.size()));
  std::vector<std::size_t> order(scores.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(),
            [&](std::size_t a, std::size_t b) { return scores[a] < scores[b]; });
  // Twice the pairs of one of each class in which the second one is larger; ties count once.
  std::uint64_t twice = 0, normal = 0, anomalous = 0;
  for (std::size_t i = 0; i < order.size();) {
    std::uint64_t here[2] = {0, 0};
    const double score = scores[order[i]];
    for (; i < order.size() && scores[order[i]] == score; ++i) {
      if (labels[order[i]] > 1) return {};
      ++here[labels[order[i]]];
    }
    twice += here[1] * (2 * normal + here[0]);
    normal += here[0];
    anomalous += here[1];
  }
  if (normal == 0 || anomalous == 0) return {};
  return static_cast<double>(twice) /
         (2 * static_cast<double>(normal) * static_cast<double>(anomalous));
}

void require_labels(const Network& network, const std::string& what) {
  if (!network.reconstructs()) return;
  throw Error(ErrorKind::input,
              fmt::format("network '{}': its loss is reconstruction, which {} cannot do, expected "
                          "a network whose loss is cross-entropy; pretrain, quantize, adapt "
                          "(forward-gradient), replay, audit, eval, validate, cosim, infer, "
                          "export, profile and info can",
                          network.name, what));
}

}  // namespace lastmile
