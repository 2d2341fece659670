// SPDX-License-Identifier: Apache-2.0
// Networks for other tools. sw/export/README.md says what is written.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sw/golden/params.hpp"
#include "sw/graph/network.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile {

struct OnnxOptions {
  // What the int8 form ends in. The logits of a network are wider than int8: as real numbers they
  // rank the classes as the network does; its int8 output may have ties.
  bool int8_result = false;
  // Keys and values that the model says of itself.
  std::vector<std::pair<std::string, std::string>> metadata = {};
};

// An ONNX model that computes the network in float32, channels first. Batch norm is folded first.
// Error(input) lists every layer that cannot be expressed, and what is supported.
[[nodiscard]] std::vector<std::uint8_t> encode_onnx(const Network& network,
                                                    const FloatParams<float>& params,
                                                    const OnnxOptions& options = {});

// The same with int8 activations, and int8 or int16 weights, between QuantizeLinear and
// DequantizeLinear.
[[nodiscard]] std::vector<std::uint8_t> encode_onnx_qdq(const QuantizedNetwork& network,
                                                        const OnnxOptions& options = {});

// The bytes of a TensorFlow Lite file with the weights and biases of `network`, which came from it
// and was adapted. `file`: what messages call it. Reading the result gives `network` to the last
// integer, or Error(input) lists the layers where it would not.
[[nodiscard]] std::vector<std::uint8_t> replace_tflite_weights(std::span<const std::uint8_t> bytes,
                                                               const std::string& file,
                                                               const QuantizedNetwork& network);

}  // namespace lastmile
