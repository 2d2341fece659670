// SPDX-License-Identifier: Apache-2.0
#include "sw/app/origin.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/golden/golden.hpp"

namespace lastmile {
namespace {

constexpr std::size_t kSample = 512;
constexpr std::uint64_t kSampleOrder = 0x6f726967696e0001U;
// Of the outputs of batch norm, root mean square over its channels: how far means are off, in
// deviations, and logarithms of deviations. Clips of other speakers that are normalized as in
// training give less than 0.1 of both, normalization by a few clips of one word 0.56 of the first.
constexpr double kMeanOff = 0.3;
constexpr double kDeviationOff = 0.5;
constexpr std::size_t kLeastForStatistics = 64;  // examples
constexpr double kSigmas = 3;                    // below chance
constexpr double kTimesChance = 3;

struct Off {
  double mean = 0, deviation = 0;
};

Off off(const Layer& layer, const LayerParams<float>& p, std::span<const float> outputs) {
  const auto channels = static_cast<std::size_t>(layer.out.c);
  const double n = static_cast<double>(outputs.size() / channels);
  Off sum;
  for (std::size_t c = 0; c < channels; ++c) {
    double total = 0, squares = 0;
    for (std::size_t k = c; k < outputs.size(); k += channels) {
      total += double{outputs[k]};
      squares += double{outputs[k]} * double{outputs[k]};
    }
    const double mean = total / n, variance = std::max(squares / n - mean * mean, 0.0);
    const double gamma = std::max(std::abs(double{p.gamma[c]}), 1e-6);
    sum.mean += std::pow((mean - double{p.beta[c]}) / gamma, 2);
    sum.deviation += std::pow(std::log(std::sqrt(variance) / gamma + 1e-6), 2);
  }
  return {std::sqrt(sum.mean / static_cast<double>(channels)),
          std::sqrt(sum.deviation / static_cast<double>(channels))};
}

// The first batch norm sees the data least changed by anything else.
void require_statistics(const Golden<float>& golden, const FloatParams<float>& params,
                        const Dataset& sample, const Task& task,
                        const std::filesystem::path& file) {
  const std::vector<Layer>& layers = golden.network().layers;
  const auto first =
      std::find_if(layers.begin(), layers.end(), [](const Layer& l) { return l.batch_norm; });
  if (first == layers.end() || sample.size() < kLeastForStatistics) return;
  const auto at = static_cast<std::size_t>(first - layers.begin());
  const Off found = off(*first, params.layers[at], golden.trace(params, sample.x)[at].pre);
  if (found.mean <= kMeanOff && found.deviation <= kDeviationOff) return;
  throw Error(
      ErrorKind::input,
      fmt::format("{}: does not say how its data were normalized (an older file), and not as those "
                  "of {}: the outputs of '{}' are off by {:.2f} deviations and by a factor of "
                  "{:.2f}, expected at most {} and {:.2f}; quantize it with the data that it was "
                  "trained on, which stores their normalization",
                  file.string(), task.name, first->name, found.mean, std::exp(found.deviation),
                  kMeanOff, std::exp(kDeviationOff)));
}

// IDX files have no names: 0, 1, 2, ... are the same whatever they stand for.
bool names_tell(const Task& task) {
  for (std::size_t k = 0; k < task.class_names.size(); ++k)
    if (task.class_names[k] != std::to_string(k)) return true;
  return false;
}

}  // namespace

void require_class_order(const Accuracy& a, const Task& task, const std::filesystem::path& file) {
  if (task.as_stored && names_tell(task)) return;
  const auto classes = static_cast<std::size_t>(task.source_test.classes);
  if (a.confusion.size() != classes * classes || a.examples == 0) return;
  const auto n = static_cast<double>(a.examples);
  const double chance = 1 / static_cast<double>(classes);
  if (static_cast<double>(a.correct) >= n * chance - kSigmas * std::sqrt(n * chance * (1 - chance)))
    return;
  // What each prediction mostly is here.
  std::int64_t best = 0;
  std::size_t example = 0;
  std::vector<std::size_t> label(classes);
  for (std::size_t p = 0; p < classes; ++p) {
    const auto count = [&](std::size_t l) { return a.confusion[l * classes + p]; };
    for (std::size_t l = 1; l < classes; ++l)
      if (count(l) > count(label[p])) label[p] = l;
    best += count(label[p]);
    if (label[p] != p && count(label[p]) >= a.confusion[label[example] * classes + example])
      example = p;
  }
  if (static_cast<double>(best) < n * chance * kTimesChance) return;
  const auto name = [&](std::size_t c) {
    return c < task.class_names.size() ? task.class_names[c] : fmt::format("{}", c);
  };
  throw Error(
      ErrorKind::input,
      fmt::format("{}: its classes seem to be others than those of "
                  "{} in this order: {:.2f} % of the source test are right, {:.2f} % would "
                  "be if, for one, its class {} were {} ('{}'), not {} ('{}')",
                  file.string(), task.name, a.percent(), 100 * static_cast<double>(best) / n,
                  example, label[example], name(label[example]), example, name(example)));
}

void require_origin(const Network& network, const FloatParams<float>& params, const Task& task,
                    const std::filesystem::path& file) {
  if (task.source_test.size() == 0 || (task.as_stored && names_tell(task))) return;
  std::vector<std::size_t> order = shuffled_indices(task.source_test.size(), kSampleOrder);
  order.resize(std::min(order.size(), kSample));
  const Dataset sample = select(task.source_test, order);
  const Golden<float> golden(network);
  // Pictures are not normalized by what is in the folder.
  if (task.kind == TaskKind::audio && !task.as_stored)
    require_statistics(golden, params, sample, task, file);
  require_class_order(evaluate_float(golden, params, sample), task, file);
}

}  // namespace lastmile
