// SPDX-License-Identifier: Apache-2.0
// An ONNX model, layer by layer. Names of the file are those of the layers: a layer's result has
// its name, what belongs to it follows behind a slash, which no layer's name has.
#pragma once

#define ONNX_NAMESPACE onnx
#define ONNX_ML 1
#include <onnx/onnx_pb.h>

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "sw/export/export.hpp"
#include "sw/import/builder.hpp"

namespace lastmile::to_onnx {

// What the nodes of one layer need, in either form: names of tensors that exist already.
struct Operands {
  std::string weights, bias;
};

class Writer {
 public:
  // `quantized`: null for the float form.
  Writer(const Network& network, const QuantizedNetwork* quantized, const OnnxOptions& options);
  // `params` of the network, without batch norm.
  [[nodiscard]] std::vector<std::uint8_t> run(const FloatParams<float>& params);

 private:
  using Ints = std::vector<std::int64_t>;
  struct Tensor {
    std::string name;   // real numbers
    std::string codes;  // int8, in the quantized form
    bool flat = false;  // batch and elements, not batch, channels, rows, columns
  };

  // What cannot be expressed, before anything is made.
  void check();
  void check_concat(int layer);
  void check_quantized_layer(int layer);

  std::string node(const std::string& op, const std::vector<std::string>& inputs,
                   const std::string& output);
  void set(const char* name, std::int64_t value);  // of the last node
  void set(const char* name, const Ints& values);
  onnx::TensorProto* constant(const std::string& name, const Ints& dims, int type);
  std::string reals(const std::string& name, const Ints& dims, const std::vector<float>& values);
  std::string codes(const std::string& name, const Ints& dims, int type,
                    const std::vector<std::int32_t>& values);
  std::string scalar(const std::string& name, float value);
  // DequantizeLinear of constants; `axis` of the scales.
  std::string dequantized(const std::string& name, const std::string& codes, int type,
                          const std::vector<float>& scales, int axis);
  // QuantizeLinear and DequantizeLinear of a layer's result.
  Tensor quantized(int layer, const std::string& name, const std::string& real, bool flat);

  [[nodiscard]] const Layer& layer(int i) const {
    return network_.layers[static_cast<std::size_t>(i)];
  }
  [[nodiscard]] std::string name_of(int i) const {
    return i == kNetworkInput ? "input" : layer(i).name;
  }
  Tensor& tensor(int i) { return tensors_[static_cast<std::size_t>(i + 1)]; }
  // A layer's input in the arrangement that an operator needs.
  std::string plane(int layer, std::size_t k);
  std::string flat(int layer, std::size_t k);

  void input();
  void output();
  Operands operands(int i, const LayerParams<float>& p);
  void window(const Layer& l, bool dilates);
  void convert(int i, const LayerParams<float>& p);
  Tensor concat(int i);
  std::string activated(int i, const std::string& before);

  const Network& network_;
  const QuantizedNetwork* q_;
  const OnnxOptions& options_;
  importing::Problems problems_;
  onnx::ModelProto model_;
  std::vector<Tensor> tensors_;  // the input, then by layer
};

}  // namespace lastmile::to_onnx
