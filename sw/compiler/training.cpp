// SPDX-License-Identifier: Apache-2.0
#include "sw/compiler/training.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <type_traits>

#include "sw/base/error.hpp"

namespace lastmile {
namespace {

template <class T>
double root_mean_square(std::span<const T> values) {
  double sum = 0;
  // Of so many int16 every partial sum is exact in double: integers give the same bits in a quarter
  // of the time.
  constexpr std::size_t kExact = std::size_t{1} << 22U;
  if (std::is_same_v<T, std::int16_t> && values.size() <= kExact) {
    std::int64_t exact = 0;
    for (const T v : values) exact += static_cast<std::int32_t>(v) * static_cast<std::int32_t>(v);
    sum = static_cast<double>(exact);
  } else {
    for (const T v : values) sum += static_cast<double>(v) * static_cast<double>(v);
  }
  return values.empty() ? 0 : std::sqrt(sum / static_cast<double>(values.size()));
}

double weight_rms_real(const Layer& layer, const QuantizedLayer& q) {
  double sum = 0;
  std::size_t k = 0;
  for (int r = 0; r < q.rows; ++r) {
    for (int c = 0; c < q.columns; ++c, ++k) {
      const double w =
          q.weights[k] *
          static_cast<double>(q.weight_scale[static_cast<std::size_t>(channel_of(layer, r, c))]);
      sum += w * w;
    }
  }
  return std::sqrt(sum / static_cast<double>(q.weights.size()));
}

void check(const char* name, double value) {
  if (!std::isfinite(value) || value <= 0)
    throw Error(ErrorKind::usage, fmt::format("{} is {}, expected a positive number", name, value));
}

void check_keep(const char* name, int keep) {
  if (keep < 0 || keep > spec::kKeepAll)
    throw Error(ErrorKind::usage,
                fmt::format("{} is {}, expected 0 to {}", name, keep, spec::kKeepAll));
}

}  // namespace

const char* name_of(Amplitude amplitude) {
  switch (amplitude) {
    case Amplitude::rms:
      return "rms";
    case Amplitude::real:
      return "real";
    case Amplitude::lsb:
      return "lsb";
  }
  return "?";
}

double unit_lsb(const QuantizedNetwork& net, std::uint32_t tensor, Amplitude mode) {
  const std::size_t index = tensor / 2;
  const bool bias = tensor % 2 != 0;
  if (index >= net.layers.size() || !has_weights(net.network.layers[index]) ||
      (bias && !net.network.layers[index].bias))
    throw Error(ErrorKind::usage,
                fmt::format("network '{}' has no tensor {}", net.network.name, tensor));
  if (mode == Amplitude::lsb) return 1;
  const Layer& layer = net.network.layers[index];
  const QuantizedLayer& q = net.layers[index];
  double scale = root_mean_square<float>(q.weight_scale);
  if (bias) scale *= static_cast<double>(net.quant_of(layer.inputs[0]).scale);
  if (mode == Amplitude::real) return 1 / scale;
  const double rms =
      bias ? std::max(root_mean_square<std::int32_t>(q.bias), weight_rms_real(layer, q) / scale)
           : root_mean_square<std::int16_t>(q.weights);
  return rms > 0 ? rms : 1;
}

void fit_biases(std::span<TensorTraining> plan) {
  for (TensorTraining& t : plan) {
    if (t.tensor % 2 == 0) continue;
    t.eps_lsb = std::min(t.eps_lsb, kMostEpsLsb[1]);
    t.step_lsb = std::min(t.step_lsb, kMostEpsLsb[1]);
  }
}

std::vector<TensorTraining> training_plan(const QuantizedNetwork& net, const TrainingRule& rule) {
  check("eps", rule.eps);
  check("step", rule.step);
  check_keep("keep", rule.keep);
  check_keep("bias keep", rule.bias_keep);
  if (!rule.layers.empty() && rule.layers.size() != net.layers.size()) {
    throw Error(ErrorKind::usage,
                fmt::format("the choice of trainable layers has {} entries, expected {}",
                            rule.layers.size(), net.layers.size()));
  }
  std::vector<TensorTraining> plan;
  const auto add = [&](std::uint32_t tensor, int keep) {
    // a pass over all weights, if it is their RMS
    const double unit = unit_lsb(net, tensor, rule.eps_mode);
    const double step =
        rule.step_mode == rule.eps_mode ? unit : unit_lsb(net, tensor, rule.step_mode);
    plan.push_back({tensor, rule.eps * unit, rule.step * step, keep});
  };
  for (std::size_t i = 0; i < net.layers.size(); ++i) {
    if (!has_weights(net.network.layers[i]) || (!rule.layers.empty() && !rule.layers[i])) continue;
    add(weight_tensor(static_cast<int>(i)), rule.keep);
    if (rule.biases && net.network.layers[i].bias)
      add(bias_tensor(static_cast<int>(i)), rule.bias_keep);
  }
  if (plan.empty())
    throw Error(ErrorKind::usage,
                fmt::format("no layer of network '{}' is chosen to train, expected at "
                            "least one with weights",
                            net.network.name));
  if (rule.eps_mode == Amplitude::rms && rule.step_mode == Amplitude::rms) fit_biases(plan);
  return plan;
}

}  // namespace lastmile
