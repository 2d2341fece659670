// SPDX-License-Identifier: Apache-2.0
// Golden vectors in JSON: one operator, or a network of them (format: the README beside the shared
// vectors; sw/vectors/README.md for what this reader accepts beyond it). Reading checks everything
// that does not need a device.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sw/graph/network.hpp"

namespace lastmile {

// int8 tensor, row-major. Activations NHWC, conv weights OHWI, depthwise HWO, fully connected OI.
struct VectorTensor {
  std::vector<std::int64_t> shape;
  std::vector<std::int8_t> data;
  [[nodiscard]] std::int64_t elements() const;
};

// Where a layer's operand comes from: its own data, or the output of an earlier layer (-1: the
// network's input).
struct VectorOperand {
  std::optional<VectorTensor> literal;
  int layer = -1;
};

struct VectorLayer {
  Op op = Op::conv2d;
  std::string name;                   // for messages: the layer's name, or its operator and number
  std::vector<VectorOperand> inputs;  // one; two for add
  std::optional<VectorTensor> weights;
  std::vector<std::int32_t> bias;        // empty: none
  std::vector<std::int32_t> multiplier;  // one, or one per output channel
  std::vector<std::int32_t> shift;
  std::optional<VectorTensor> expected;  // the last layer always has it

  std::int64_t kernel_h = 1, kernel_w = 1, stride_h = 1, stride_w = 1, pad_h = 0, pad_w = 0,
               dilation_h = 1, dilation_w = 1;
  std::int64_t out_h = 0, out_w = 0;  // 0: follows from the input without padding behind it
  std::int64_t groups = 0;            // 0: follows from input and weights
  std::int32_t input_zero_point = 0, input2_zero_point = 0, output_zero_point = 0, act_min = -128,
               act_max = 127;
  // add: rescaling of both inputs and of the sum; softmax: input multiplier and shift
  std::int32_t multiplier1 = 0, multiplier2 = 0, multiplier_out = 0, shift1 = 0, shift2 = 0,
               shift_out = 0, left_shift = 0, diff_min = 0;
};

struct VectorCase {
  std::string name;
  std::string op;                     // as written: an operator or "network"
  std::optional<VectorTensor> input;  // of a network, when it stands outside its layers
  std::vector<VectorLayer> layers;
};

// Error(input) naming file, layer and field, the value found and what was expected: malformed JSON,
// unknown op, kind or requant, missing fields, data that do not fill their shape or leave their
// type, weights with a zero point.
[[nodiscard]] VectorCase read_vector_case(const std::filesystem::path& path);
[[nodiscard]] VectorCase parse_vector_case(const std::string& text, const std::string& file);

}  // namespace lastmile
