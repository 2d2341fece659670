// SPDX-License-Identifier: Apache-2.0
#include "sw/golden/params.hpp"

#include <fmt/format.h>

#include <array>
#include <cmath>

#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"

namespace lastmile {
namespace {

struct Sizes {
  std::size_t weights, bias, norm;
};

Sizes sizes_of(const Layer& layer) {
  const auto filters = has_weights(layer) ? static_cast<std::size_t>(layer.filters) : 0;
  return {static_cast<std::size_t>(weight_count(layer)),
          layer.bias && !layer.batch_norm ? filters : 0, layer.batch_norm ? filters : 0};
}

template <class T>
void check_tensor(const Layer& layer, const char* tensor, const std::vector<T>& values,
                  std::size_t size, T low, const std::string& origin) {
  if (values.size() != size) {
    throw Error(ErrorKind::input, fmt::format("{}: layer '{}': {} has {} elements, expected {}",
                                              origin, layer.name, tensor, values.size(), size));
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (!std::isfinite(values[i]) || values[i] < low) {
      throw Error(ErrorKind::input,
                  fmt::format("{}: layer '{}': {}[{}] is {}, expected a finite number{}", origin,
                              layer.name, tensor, i, values[i], low == 0 ? " of at least 0" : ""));
    }
  }
}

}  // namespace

template <class T>
FloatParams<T> zero_params(const Network& network) {
  FloatParams<T> params;
  for (const Layer& layer : network.layers) {
    const Sizes n = sizes_of(layer);
    LayerParams<T> p;
    p.weights.assign(n.weights, T{0});
    p.bias.assign(n.bias, T{0});
    p.gamma.assign(n.norm, T{0});
    p.beta.assign(n.norm, T{0});
    p.mean.assign(n.norm, T{0});
    p.variance.assign(n.norm, T{1});
    params.layers.push_back(std::move(p));
  }
  return params;
}

template <class T>
FloatParams<T> init_params(const Network& network, std::uint64_t seed) {
  FloatParams<T> params = zero_params<T>(network);
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    if (!has_weights(network.layers[i])) continue;
    Rng rng(seed, i);
    const double deviation = std::sqrt(2.0 / static_cast<double>(reduction(network.layers[i])));
    for (T& w : params.layers[i].weights) w = static_cast<T>(deviation * rng.normal());
    for (T& g : params.layers[i].gamma) g = T{1};
  }
  return params;
}

template <class To, class From>
FloatParams<To> convert_params(const FloatParams<From>& params) {
  const auto convert = [](const std::vector<From>& from) {
    std::vector<To> to(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = static_cast<To>(from[i]);
    return to;
  };
  FloatParams<To> result;
  for (const LayerParams<From>& p : params.layers) {
    result.layers.push_back({convert(p.weights), convert(p.bias), convert(p.gamma), convert(p.beta),
                             convert(p.mean), convert(p.variance)});
  }
  return result;
}

template <class T>
void check_params(const Network& network, const FloatParams<T>& params, const std::string& origin) {
  if (params.layers.size() != network.layers.size()) {
    throw Error(ErrorKind::input, fmt::format("{}: parameters of {} layers, expected {}", origin,
                                              params.layers.size(), network.layers.size()));
  }
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    const LayerParams<T>& p = params.layers[i];
    const Sizes n = sizes_of(layer);
    const T any = std::numeric_limits<T>::lowest();
    check_tensor(layer, "weights", p.weights, n.weights, any, origin);
    check_tensor(layer, "bias", p.bias, n.bias, any, origin);
    check_tensor(layer, "gamma", p.gamma, n.norm, any, origin);
    check_tensor(layer, "beta", p.beta, n.norm, any, origin);
    check_tensor(layer, "mean", p.mean, n.norm, any, origin);
    check_tensor(layer, "variance", p.variance, n.norm, T{0}, origin);
  }
}

Network fold_network(const Network& network) {
  Network folded = network;
  for (Layer& layer : folded.layers)
    layer.batch_norm = false;  // `bias` is true wherever batch_norm was
  return folded;
}

template <class T>
FloatParams<T> fold_params(const Network& network, const FloatParams<T>& params) {
  FloatParams<T> folded = params;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& layer = network.layers[i];
    if (!layer.batch_norm) continue;
    LayerParams<T>& p = folded.layers[i];
    const auto filters = static_cast<std::size_t>(layer.filters);
    const std::size_t per_filter = p.weights.size() / filters;
    const bool last = layer.op == Op::depthwise_conv2d;  // HWO: the filter is the fastest index
    p.bias.resize(filters);
    for (std::size_t o = 0; o < filters; ++o) {
      const T s = p.gamma[o] / std::sqrt(p.variance[o] + static_cast<T>(kBatchNormEpsilon));
      p.bias[o] = p.beta[o] - p.mean[o] * s;
      for (std::size_t k = 0; k < per_filter; ++k)
        p.weights[last ? k * filters + o : o * per_filter + k] *= s;
    }
    p.gamma.clear();
    p.beta.clear();
    p.mean.clear();
    p.variance.clear();
  }
  return folded;
}

const char* name_of(TensorKind kind) {
  constexpr std::array<const char*, 4> names = {"weights", "bias", "gamma", "beta"};
  return names[static_cast<std::size_t>(kind)];
}

template <class T>
std::vector<TensorRef<T>> tensor_refs(FloatParams<T>& params, const std::vector<bool>& trainable) {
  std::vector<TensorRef<T>> refs;
  for (std::size_t i = 0; i < params.layers.size(); ++i) {
    if (!trainable.empty() && !trainable[i]) continue;
    LayerParams<T>& p = params.layers[i];
    const int layer = static_cast<int>(i);
    if (!p.weights.empty()) refs.push_back({layer, TensorKind::weights, p.weights});
    if (!p.bias.empty()) refs.push_back({layer, TensorKind::bias, p.bias});
    if (!p.gamma.empty()) refs.push_back({layer, TensorKind::gamma, p.gamma});
    if (!p.beta.empty()) refs.push_back({layer, TensorKind::beta, p.beta});
  }
  return refs;
}

std::vector<bool> trainable_layers(const Network& network, const std::vector<std::string>& names) {
  std::vector<bool> trainable(network.layers.size(), false);
  int head = -1;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    if (has_weights(network.layers[i])) head = static_cast<int>(i);
  }
  for (const std::string& name : names) {
    if (name == "all") {
      for (std::size_t i = 0; i < network.layers.size(); ++i) {
        if (has_weights(network.layers[i])) trainable[i] = true;
      }
      continue;
    }
    const int index = name == "head" ? head : find_layer(network, name);
    if (index < 0 || !has_weights(network.layers[static_cast<std::size_t>(index)])) {
      std::string known = "all, head";
      for (const Layer& layer : network.layers) {
        if (has_weights(layer)) known += ", " + layer.name;
      }
      throw Error(ErrorKind::usage,
                  fmt::format("network '{}': trainable layer is '{}', expected one of: {}",
                              network.name, name, known));
    }
    trainable[static_cast<std::size_t>(index)] = true;
  }
  return trainable;
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define LASTMILE_INSTANTIATE(T)                                                             \
  template FloatParams<T> zero_params<T>(const Network&);                                   \
  template FloatParams<T> init_params<T>(const Network&, std::uint64_t);                    \
  template void check_params<T>(const Network&, const FloatParams<T>&, const std::string&); \
  template FloatParams<T> fold_params<T>(const Network&, const FloatParams<T>&);            \
  template std::vector<TensorRef<T>> tensor_refs<T>(FloatParams<T>&, const std::vector<bool>&);
// NOLINTEND(bugprone-macro-parentheses)
LASTMILE_INSTANTIATE(float)
LASTMILE_INSTANTIATE(double)
#undef LASTMILE_INSTANTIATE
template FloatParams<float> convert_params<float, double>(const FloatParams<double>&);
template FloatParams<double> convert_params<double, float>(const FloatParams<float>&);
template FloatParams<float> convert_params<float, float>(const FloatParams<float>&);
template FloatParams<double> convert_params<double, double>(const FloatParams<double>&);

}  // namespace lastmile
