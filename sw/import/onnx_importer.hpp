// SPDX-License-Identifier: Apache-2.0
// An ONNX graph becomes a network, node by node.
//
// A tensor of the file is a layer's output seen in some arrangement: each dimension of the file is
// made of axes (rows, columns, channels) of the layer, the slowest first. Transposing, flattening
// and reshaping change the arrangement and move nothing; layers with weights take the arrangement
// into their weights.
#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "sw/import/builder.hpp"
#include "sw/import/model.hpp"
#include "sw/import/onnx_file.hpp"

namespace lastmile::from_onnx {

// The batch's size where shapes are computed with.
inline constexpr std::int64_t kBatch = std::numeric_limits<std::int64_t>::min();

// Keys of a model's metadata that sw/export writes and this reads again.
inline constexpr const char* kPreprocessingKey = "lastmile.preprocessing";
inline constexpr const char* kLossKey = "lastmile.loss";
inline constexpr const char* kLogitScaleKey = "lastmile.logit_scale";
inline constexpr const char* kResultScaleKey = "lastmile.result_scale";
inline constexpr const char* kResultZeroKey = "lastmile.result_zero_point";

enum class Axis { h, w, c };
using Axes = std::vector<Axis>;

inline int size_of(const Shape& s, Axis a) { return a == Axis::h ? s.h : a == Axis::w ? s.w : s.c; }

// What a name of the file stands for.
struct Value {
  enum class Kind { unknown, constant, activation } kind = Kind::unknown;
  Constant constant;
  int layer = kNetworkInput;
  std::vector<int> dims;         // without the batch
  std::vector<Axes> axes;        // of each dimension, those longer than 1
  std::array<int, 4> padding{};  // top, bottom, left, right of a Pad that a convolution takes over
  bool shared = false;           // something else reads the layer too
  [[nodiscard]] bool padded() const { return padding != std::array<int, 4>{}; }
};

class Importer {
 public:
  explicit Importer(File& file) : file_(file), problems_(file.name()) {}
  [[nodiscard]] ImportedModel run();

 private:
  using Convert = Value (Importer::*)(const onnx::NodeProto&);
  // By operator.
  static const std::map<std::string, Convert, std::less<>>& converters();

  // onnx.cpp
  // The value of a name; a Value of kind unknown where an earlier node was refused.
  Value& value(const std::string& name);
  // A constant input of integers, or the attribute that held them in older opsets.
  std::optional<std::vector<std::int64_t>> integers_of(const onnx::NodeProto& n, int input,
                                                       const char* name);
  const Constant& constant(const onnx::NodeProto& n, int input);
  const std::vector<float>& reals(const onnx::NodeProto& n, int input);
  void start();
  // Says what the input's dimensions are: channels first (or last), then rows and columns.
  void declare_input(Value& v, const std::vector<int>& dims, bool channels_last);
  static void set_axes(Value& v, const Shape& s, const std::vector<Axis>& names);
  // The input may still be seen anew by the node that alone reads it first.
  [[nodiscard]] bool input_is_open(const Value& v) const;
  [[nodiscard]] const Shape& shape_of(const Value& v) const;
  [[nodiscard]] std::string where(int i) const;
  void convert_one(int i);
  // The first input as an activation.
  Value activation(const onnx::NodeProto& n, int input = 0);
  // Adds a layer that is complete but for name and output shape; `order` names the axes of the
  // result's dimensions.
  Value push(const onnx::NodeProto& n, Layer l, LayerParams<float> params,
             const std::vector<Axis>& order);
  static std::int64_t count_of(const Constant& c);
  void finish();

  // onnx_layers.cpp
  // Which axis each dimension behind the channels is, for operators that work on channels first. A
  // dimension of 1 may be any that is left.
  [[nodiscard]] std::vector<Axis> channels_first(const Value& v) const;
  // Kernel, strides, dilations and padding of a window; the axes of its dimensions are order[1..].
  void window(const onnx::NodeProto& n, const Value& v, const std::vector<Axis>& order,
              const std::vector<int>& kernel, Layer& l);
  Value conv(const onnx::NodeProto& n);
  std::vector<float> bias_of(const onnx::NodeProto& n, int input, int filters);
  // Where element i of a flat view is in the layer's output (NHWC).
  [[nodiscard]] std::vector<std::size_t> places(const Value& v) const;
  // Weights in x out (or out x in, `transposed`) on the last dimension of v.
  Value dense(const onnx::NodeProto& n, const Value& v, const Constant& c, bool transposed,
              float factor, const std::vector<float>& bias);
  Value gemm(const onnx::NodeProto& n);
  Value matmul(const onnx::NodeProto& n);
  Value pool(const onnx::NodeProto& n);
  Value whole_plane(const onnx::NodeProto& n, const Value& v, bool largest,
                    const std::vector<Axis>& order);
  Value global_pool(const onnx::NodeProto& n);
  Value reduce_mean(const onnx::NodeProto& n);
  Value softmax(const onnx::NodeProto& n);

  // onnx_arithmetic.cpp
  // y = x * scale + shift, one of each per channel.
  Value affine(const onnx::NodeProto& n, const Value& v, const std::vector<double>& scale,
               const std::vector<double>& shift);
  // The arrangement of `before`, of a layer that keeps the shape.
  static Value same_view(const Value& before, const Value& after);
  Value batch_norm(const onnx::NodeProto& n);
  // A constant as one number per channel of v.
  std::vector<double> per_channel(const Value& v, const Constant& c);
  Value add(const onnx::NodeProto& n);
  // Sums, differences, products and quotients with a constant.
  Value arithmetic(const onnx::NodeProto& n);
  Value rectify(const onnx::NodeProto& n, const Value& v, Activation kind);
  Value relu(const onnx::NodeProto& n);
  Value clip(const onnx::NodeProto& n);

  // onnx_views.cpp: what moves nothing
  Value identity(const onnx::NodeProto& n);
  Value cast(const onnx::NodeProto& n);
  Value flatten(const onnx::NodeProto& n);
  // The same elements under other dimensions, where each of those is made of whole axes.
  Value regroup(Value v, const std::vector<std::int64_t>& target);
  Value reshape(const onnx::NodeProto& n);
  Value squeeze(const onnx::NodeProto& n);
  Value unsqueeze(const onnx::NodeProto& n);
  Value transpose(const onnx::NodeProto& n);
  Value pad(const onnx::NodeProto& n);

  // onnx_shapes.cpp: constants, and arithmetic of shapes
  static Value small_integers(Value v);
  static Value shape_value(std::vector<std::int64_t> integers);
  Value constant_node(const onnx::NodeProto& n);
  Value shape(const onnx::NodeProto& n);
  Value gather(const onnx::NodeProto& n);
  Value shape_operand(const onnx::NodeProto& n, int input);
  Value slice(const onnx::NodeProto& n);
  Value concat(const onnx::NodeProto& n);
  Value side_by_side(const onnx::NodeProto& n);

  // onnx_quantized.cpp
  TensorQuant quant_of(const onnx::NodeProto& n);
  // The scale and zero point of a tensor of integers; null where nothing says them. `stated`: what
  // its reader says, which is taken for the input of a model that begins with integers.
  const TensorQuant* known_quant(int layer, const TensorQuant& stated);
  Value quantize_linear(const onnx::NodeProto& n);
  Value dequantize_linear(const onnx::NodeProto& n);
  void keep_scales(const Value& layer, const Constant& weights, int axis);
  void keep_bias(const Value& layer, const Constant& bias);
  void sum_instead(int layer);
  void integer_weights(int layer, const TensorQuant& from, QuantizedLayer& q);
  QuantizedLayer integer_layer(int layer, const QuantizedNetwork& before);
  void take_stated_result();
  void take_stated_logits(QuantizedNetwork& q);
  void settle_weight_types(QuantizedNetwork& q) const;
  void make_integers();

  // onnx_qoperator.cpp
  std::string dequantized_input(const onnx::NodeProto& n, int i, int axis = 1);
  std::string dequantized_bias(const onnx::NodeProto& n, int i, float from,
                               const std::string& weights);
  Value quantized_result(const onnx::NodeProto& n, const onnx::NodeProto& real, int scale);
  const Constant& constant_of(const std::string& name);
  float input_step(const onnx::NodeProto& n);
  Value qlinear_conv(const onnx::NodeProto& n);
  Value qlinear_matmul(const onnx::NodeProto& n);
  Value qgemm(const onnx::NodeProto& n);
  Value qlinear_add(const onnx::NodeProto& n);
  Value qlinear_unary(const onnx::NodeProto& n);
  Value dynamic(const onnx::NodeProto& n);

  File& file_;
  std::int64_t batch_ = 0;  // 0: symbolic
  std::string input_;
  bool input_used_ = false;
  std::map<std::string, Value, std::less<>> values_;
  Value unknown_;
  std::map<int, TensorQuant> quants_;  // by layer, where a QuantizeLinear is behind it
  std::map<int, std::vector<float>> weight_scales_;      // by layer, per output channel
  std::map<int, std::vector<std::int64_t>> bias_codes_;  // by layer, of a bias of integers
  std::set<int> wide_;                                   // layers with int16 weights
  bool integer_input_ = false;
  importing::Problems problems_;
  importing::LayerNames names_;
  ImportedModel model_;
};

}  // namespace lastmile::from_onnx
