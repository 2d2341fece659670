// SPDX-License-Identifier: Apache-2.0
// Float parameters of a network, their initialisation, folding of batch norm, and flat views of the
// trainable ones.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sw/graph/network.hpp"

namespace lastmile {

// Batch norm: y = gamma * (x - mean) / sqrt(variance + kBatchNormEpsilon) + beta (Ioffe, Szegedy
// 2015, algorithm 1).
inline constexpr double kBatchNormEpsilon = 1e-3;

// One layer's tensors, in the layouts of sw/graph/network.hpp. Empty where the layer has none:
// `weights` without weights, `bias` unless the layer has a bias and no batch norm, the last four
// without batch norm (each has `filters` elements).
template <class T>
struct LayerParams {
  std::vector<T> weights, bias;
  std::vector<T> gamma, beta, mean, variance;
  friend bool operator==(const LayerParams&, const LayerParams&) = default;
};

template <class T>
struct FloatParams {
  std::vector<LayerParams<T>> layers;  // one per layer of the network
  friend bool operator==(const FloatParams&, const FloatParams&) = default;
};

// Right sizes, zeros, but variance 1.
template <class T>
[[nodiscard]] FloatParams<T> zero_params(const Network& network);
// He et al. 2015: normal weights of variance 2 / K, zero biases, gamma 1, beta 0, mean 0,
// variance 1. The same numbers for float and double up to their rounding.
template <class T>
[[nodiscard]] FloatParams<T> init_params(const Network& network, std::uint64_t seed);
template <class To, class From>
[[nodiscard]] FloatParams<To> convert_params(const FloatParams<From>& params);

// Error(input) naming `origin`, layer, tensor and element unless every size is right, every value
// is finite and every variance is at least 0.
template <class T>
void check_params(const Network& network, const FloatParams<T>& params, const std::string& origin);

// The network without batch norm, and the parameters that make it compute the same: w * s and beta
// - mean * s, where s = gamma / sqrt(variance + epsilon). Both are the identity on a network that
// has none.
[[nodiscard]] Network fold_network(const Network& network);
template <class T>
[[nodiscard]] FloatParams<T> fold_params(const Network& network, const FloatParams<T>& params);

enum class TensorKind { weights, bias, gamma, beta };
[[nodiscard]] const char* name_of(TensorKind kind);

// A view of one trainable tensor; valid as long as the parameters it was taken from keep their
// vectors.
template <class T>
struct TensorRef {
  int layer = 0;
  TensorKind kind = TensorKind::weights;
  std::span<T> values;
};

// The non-empty trainable tensors of the layers with `trainable` true (empty: all), by layer, then
// in the order of TensorKind. What a forward-gradient trainer perturbs: w +- e z is written through
// `values`, then Golden::loss is taken.
template <class T>
[[nodiscard]] std::vector<TensorRef<T>> tensor_refs(FloatParams<T>& params,
                                                    const std::vector<bool>& trainable = {});

// Which layers train, by name; "all" is every layer with weights, "head" the last of them.
// Error(usage) naming an unknown name or one of a layer without weights.
[[nodiscard]] std::vector<bool> trainable_layers(const Network& network,
                                                 const std::vector<std::string>& names);

}  // namespace lastmile
