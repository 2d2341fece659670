// SPDX-License-Identifier: Apache-2.0
// A network in the integers the NPU computes with. Everything the compiler needs is explicit here:
// it never derives a number from a scale, so that a network of foreign origin (golden vectors) is
// described the same way as one from quantize(). Rules: cmodel/numeric/CONTRACT.md; scales: docs of
// each field. real = scale * (q - zero_point).
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "cmodel/numeric/fixed.hpp"
#include "sw/graph/network.hpp"

namespace lastmile {

template <class T>
struct FloatParams;  // sw/golden/params.hpp

enum class WeightType { w8, w16 };
[[nodiscard]] const char* name_of(WeightType type);
[[nodiscard]] constexpr int bits_of(WeightType type) { return type == WeightType::w8 ? 8 : 16; }
// Largest weight in magnitude: 127 or 32767. Its negative less one is legal input, but never
// produced.
[[nodiscard]] constexpr std::int32_t weight_limit(WeightType type) {
  return type == WeightType::w8 ? numeric::kW8Max : numeric::kW16Max;
}

// int8 activations of one tensor: scale > 0, zero point -128..127.
struct TensorQuant {
  float scale = 1;
  std::int32_t zero_point = 0;
  friend bool operator==(const TensorQuant&, const TensorQuant&) = default;
};

// Real factor multiplier * 2^(exponent - 31). Normalized multipliers are in [2^30, 2^31); 0 <=
// multiplier and -40 <= exponent <= 30 always.
struct Requant {
  std::int32_t multiplier = 0;
  std::int32_t exponent = 0;
  friend bool operator==(const Requant&, const Requant&) = default;
};

// int8 softmax (cmodel/numeric/softmax.hpp): multiplier in 0..2^31-1, left_shift 0..30, diff_min <=
// 0.
struct SoftmaxQuant {
  std::int32_t multiplier = 0;
  std::int32_t left_shift = 0;
  std::int32_t diff_min = 0;
  friend bool operator==(const SoftmaxQuant&, const SoftmaxQuant&) = default;
};

// One layer; the fields that its operator does not have are empty or default.
struct QuantizedLayer {
  TensorQuant out;              // pools: equal to their input's; softmax: 1/256, -128
  std::int32_t act_min = -128;  // clamp of the int8 output (add: add.act_min, add.act_max)
  std::int32_t act_max = 127;
  // conv2d, depthwise_conv2d, fully_connected. Weights: rows x columns. conv2d and fully_connected:
  // row = output channel, column = (ky, kx, c); depthwise: row = (ky, kx), column = output channel.
  int rows = 0, columns = 0;
  std::optional<WeightType> weight_type;  // without a value: the network's
  std::vector<std::int16_t> weights;      // w8: -128..127
  std::vector<float> weight_scale;        // one per output channel, > 0
  std::vector<std::int32_t>
      bias;  // one per output channel, scale = input scale * weight scale; empty: none
  std::vector<Requant>
      requant;  // one per output channel: input scale * weight scale / output scale
  // Of a channel before the activation, on the source; empty where nothing is known (no batch
  // norm).
  std::vector<float> mean, deviation;  // real; deviation >= 0
  numeric::AddParams add;
  SoftmaxQuant softmax;
  // concat: the bytes of every input as they are (all have the zero point of `out`, and gain *
  // scale is the scale of `out`), then these.
  std::vector<std::int8_t> constants;
  friend bool operator==(const QuantizedLayer&, const QuantizedLayer&) = default;
};

// The int16 output of Network::logits_layer() for the loss: zero point 0. The loss multiplier is
// scale / ln 2 in units of 2^-20: multiplier * 2^-shift, 16-bit multiplier with its top bit set,
// shift 0..31.
struct LogitQuant {
  float scale = 1;
  std::int32_t act_min = -32768, act_max = 32767;
  std::vector<Requant> requant;  // one per class
  std::uint32_t loss_multiplier = 0;
  std::int32_t loss_shift = 0;
  friend bool operator==(const LogitQuant&, const LogitQuant&) = default;
};

// Loss::reconstruction: output minus target, int8 with zero point 0, in the addition that makes it.
// Its first addend is the output. Its second one is the target with all bits inverted: its zero
// point is -1 minus the input's, so that the sum is the difference.
struct DifferenceQuant {
  float scale = 1;
  numeric::AddParams add;
  friend bool operator==(const DifferenceQuant&, const DifferenceQuant&) = default;
};
// The bytes of an input as that second addend.
[[nodiscard]] constexpr std::int8_t negated_target(std::int8_t input) {
  return static_cast<std::int8_t>(-1 - input);
}

struct QuantizedNetwork {
  Network network;                           // without batch norm
  WeightType weight_type = WeightType::w16;  // of the layers that do not state their own
  TensorQuant input;
  std::vector<QuantizedLayer> layers;  // one per layer of the network
  // What the input has to go through (sw/data/preprocessing.hpp), as text; empty: not known.
  std::string preprocessing = {};
  LogitQuant logits;  // requant empty: the network has no int16 logits (then it can be compiled
                      // without loss only)
  std::optional<DifferenceQuant> difference =
      {};  // none: a network with Loss::reconstruction can be compiled without loss only

  [[nodiscard]] WeightType weight_type_of(std::size_t layer) const {
    return layers[layer].weight_type.value_or(weight_type);
  }
  // The widest of any layer.
  [[nodiscard]] WeightType widest_weights() const;
  [[nodiscard]] const TensorQuant& quant_of(int layer) const {
    return layer == kNetworkInput ? input : layers[static_cast<std::size_t>(layer)].out;
  }
  friend bool operator==(const QuantizedNetwork&, const QuantizedNetwork&) = default;
};

// Ids of tensors in the NPU's hash: 2 * layer for weights, 2 * layer + 1 for the bias. The same in
// every program compiled from the network, whole or a part of it.
[[nodiscard]] constexpr std::uint32_t weight_tensor(int layer) {
  return 2 * static_cast<std::uint32_t>(layer);
}
[[nodiscard]] constexpr std::uint32_t bias_tensor(int layer) {
  return 2 * static_cast<std::uint32_t>(layer) + 1;
}
// "conv1.weights", "conv1.bias"; an id without such a tensor gives "tensor N".
[[nodiscard]] std::string tensor_name(const Network& network, std::uint32_t tensor);

// Rows and columns of the weight matrix of a layer with weights (0, 0 for others).
struct MatrixShape {
  int rows = 0, columns = 0;
};
[[nodiscard]] MatrixShape matrix_shape(const Layer& layer);
// Output channel that element (row, column) of the weight matrix belongs to.
[[nodiscard]] inline int channel_of(const Layer& layer, int row, int column) {
  return layer.op == Op::depthwise_conv2d ? column : row;
}

// Every size and range stated above. Throws Error(input) naming `origin`, layer, field, the value
// found and what was expected.
void check_quantized(const QuantizedNetwork& network, const std::string& origin);

// XXH64 of all weights and biases in order of their tensor ids: equal networks before and after
// adaptation can be told apart by it.
[[nodiscard]] std::uint64_t weights_hash(const QuantizedNetwork& network);

// Float parameters that equal the integers: weight * scale, bias * input scale * weight scale. For
// the float reference that starts from the same network.
[[nodiscard]] FloatParams<float> dequantize(const QuantizedNetwork& network);

// Real values to int8 and back: round half away from zero, saturated. to.size() = from.size().
// Error(input) for NaN.
void quantize_activations(std::span<const float> from, const TensorQuant& quant,
                          std::span<std::int8_t> to);
void dequantize_activations(std::span<const std::int8_t> from, const TensorQuant& quant,
                            std::span<float> to);

}  // namespace lastmile
