// SPDX-License-Identifier: Apache-2.0
// TensorFlow Lite's operators become layers. Int8 models keep their own integers: multipliers,
// exponents and clamps are computed from the scales exactly as TensorFlow Lite's reference kernels
// compute them when they prepare (the same float and double operations in the same order), so that
// outputs are equal to the last bit. Operators that the NPU has no command for are written as ones
// it has: a mean over the plane or a change of scale is a depthwise convolution with weights of
// one.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "sw/import/builder.hpp"
#include "sw/import/model.hpp"
#include "sw/import/tflite_file.hpp"

namespace lastmile::from_tflite {

using tflite::Options;
using tflite::OptionsType;

// TensorFlow Lite's QuantizeMultiplier: what is too small to matter is 0, not the smallest
// multiplier.
[[nodiscard]] Requant reference_multiplier(double factor, const std::string& what);
// TensorFlow Lite's CalculateActivationRangeQuantized, in float as there.
[[nodiscard]] std::array<std::int32_t, 2> reference_clamp(Activation activation,
                                                          const TensorQuant& quant);

// What a tensor is: the output of a layer, seen with the dimensions that the file gives it.
struct Value {
  bool known = false;  // false: an operator before it is not supported
  int layer = kNetworkInput;
  std::vector<int> dims;         // without the batch
  std::array<int, 4> padding{};  // by a PAD that the next convolution takes over
  [[nodiscard]] std::int64_t elements() const {
    std::int64_t n = 1;
    for (const int d : dims) n *= d;
    return n;
  }
  [[nodiscard]] bool padded() const { return padding != std::array<int, 4>{}; }
};

class Importer {
 public:
  explicit Importer(File& file) : file_(file), problems_(file.name()) {}
  [[nodiscard]] ImportedModel run();
  // Tensors of the file that a layer's weights and biases came from, by layer; -1: none.
  struct Constants {
    int weights = -1, bias = -1;
  };
  [[nodiscard]] const std::map<int, Constants>& constants() const { return constants_; }

 private:
  // tflite.cpp
  void start();
  void set_input_quant(int t);
  // A reshape of the network's input before anything has read it says what the input really is: the
  // elements stay in their order.
  void fix_input(const Shape& shape);
  // Rows, columns and channels of a value for an operator that works on a plane.
  [[nodiscard]] Shape plane_of(const Value& v);
  [[nodiscard]] std::string where(int i) const;
  void convert_one(int i);
  [[nodiscard]] std::int64_t elements_of(const Value& v) const;
  static bool is_supported(Operator op);
  [[nodiscard]] const Value& value(int t) const;
  Value convert(int i, Operator op, const std::vector<std::int32_t>& in, int out, const Value& v);
  // Adds a layer that is complete but for name, bias and output shape.
  int push(Layer l, LayerParams<float> params, QuantizedLayer q, int out);
  static Value result_of(int layer);
  // No other tensor than one is the output of this layer: reshapes make more.
  [[nodiscard]] bool sole_view(int layer) const;
  void finish();

  // tflite_layers.cpp
  static Activation activation(std::int8_t fused);
  static int positive(const Options* o, int id, const char* name, std::int32_t otherwise = 0);
  [[nodiscard]] const Options* options(int i, OptionsType type) const;
  // Padding as TensorFlow computes it, with what a PAD before it has added.
  static void set_padding(const Options* o, const Value& v, Layer& l);
  Value convolution(int i, Operator op, const std::vector<std::int32_t>& in, int out,
                    const Value& v);
  Value dense(int i, const std::vector<std::int32_t>& in, int out, const Value& v);
  // `channel_axis`: of the weights' tensor. `dense`: the reference kernel multiplies the scales of
  // input and weights in float, not in double, unless they are per channel.
  Value weighted(Layer l, const std::vector<std::int32_t>& in, int out, int channel_axis,
                 bool dense);
  static void require_count(const char* what, std::size_t found, std::int64_t expected);
  static void finish_weighted(const Layer& l, QuantizedLayer& q);
  // A depthwise convolution with weights of one: a sum over its window, requantized.
  Value ones(Layer l, const TensorQuant& out_quant, Requant requant, float weight_scale, int out);
  Value pool(int i, Operator op, int in, int out, const Value& v);

  // tflite_elementwise.cpp
  Value mean(const std::vector<std::int32_t>& in, int out, const Value& v);
  Value add(int i, const std::vector<std::int32_t>& in, int out, const Value& v);
  Value softmax(int i, int in, int out, const Value& v);
  // A rectifier of its own moves into the layer before it where that changes no bit.
  Value rectify(int in, int out, const Value& v, Activation kind);
  Value rescale(Layer l, int in, int out);
  Value pad(const std::vector<std::int32_t>& in, int out, const Value& v);
  Value requantize(int in, int out, const Value& v);

  File& file_;
  std::vector<Value> values_;  // by tensor
  std::map<int, Constants> constants_;
  int input_tensor_ = -1;
  bool input_fixed_ = false;
  bool input_quantized_ = false;
  bool integer_ = false;
  bool hybrid_ = false;
  importing::Problems problems_;
  importing::LayerNames names_;
  QuantizedNetwork quantized_;
  ImportedModel model_;
};

}  // namespace lastmile::from_tflite
