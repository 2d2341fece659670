// SPDX-License-Identifier: Apache-2.0
// The network description that every part of the host shares: the compiler, the quantizer and the
// golden model read the same `Network`. A network is a list of layers in topological order with
// every shape, padding and default resolved, so that no reader of this header infers anything
// again. It holds no numbers that are trained.
//
// Layouts: activations NHWC; conv2d weights OHWI with I = in.c / groups; depthwise weights HWO,
// where output channel o reads input channel o / multiplier; fully connected weights OI, I counting
// the input's h*w*c in NHWC order. Row-major.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sw/base/shape.hpp"

namespace lastmile {

enum class Op {
  conv2d,
  depthwise_conv2d,
  fully_connected,
  max_pool2d,
  average_pool2d,  // the mean of the elements inside the input: padding does not count (TensorFlow
                   // Lite)
  global_average_pool,  // kernel = the whole input plane
  add,                  // two inputs of the same shape
  concat,               // inputs of any shapes, flattened and laid side by side, then constants:
                        // a row vector
  softmax,              // last layer only; the loss is taken from its input
};

// What readers, checks and passes have to know of an operator; they ask here instead of naming it.
struct OpTraits {
  const char* name = nullptr;  // in network files
  std::size_t inputs = 1;      // 0: any number
  bool weights = false;        // has weights and, where `bias`, biases
  bool window = false;         // slides a window over the input: kernel, stride, padding
  bool whole = false;          // ... that is the whole input plane
  bool activation = true;      // may end in one
  bool keeps_quant = false;    // a value of the output means what it means in the input
  bool fixes_quant = false;    // the operator, not what was seen, decides the output's scale
  bool closing = false;        // last layer only; the loss is taken from its input
};
[[nodiscard]] constexpr OpTraits traits(Op op) {
  switch (op) {
    case Op::conv2d:
      return {.name = "conv2d", .weights = true, .window = true};
    case Op::depthwise_conv2d:
      return {.name = "depthwise_conv2d", .weights = true, .window = true};
    case Op::fully_connected:
      return {.name = "fully_connected", .weights = true};
    case Op::max_pool2d:
      return {.name = "max_pool2d", .window = true, .keeps_quant = true};
    case Op::average_pool2d:
      return {.name = "average_pool2d", .window = true, .keeps_quant = true};
    case Op::global_average_pool:
      return {.name = "global_average_pool",
              .window = true,
              .whole = true,
              .activation = false,
              .keeps_quant = true};
    case Op::add:
      return {.name = "add", .inputs = 2};
    case Op::concat:
      return {.name = "concat", .inputs = 0, .activation = false, .fixes_quant = true};
    case Op::softmax:
      return {.name = "softmax", .activation = false, .fixes_quant = true, .closing = true};
  }
  return {};
}
// use(op) of every operator.
template <class Use>
constexpr void each_op(const Use& use) {
  for (int v = 0; traits(static_cast<Op>(v)).name != nullptr; ++v) use(static_cast<Op>(v));
}

enum class Activation { none, relu, relu6 };

// What a pass of training makes small.
enum class Loss {
  cross_entropy,   // of the logits against a label
  reconstruction,  // the squared difference of output and input: an autoencoder
};

// Index of the network's input in `Layer::inputs`.
inline constexpr int kNetworkInput = -1;

// Limits of the accelerator that a network must respect whatever its numbers are (numeric
// contract).
inline constexpr std::int64_t kMaxReduction = 65536;  // K: products that one accumulator sums
inline constexpr int kMaxDimension =
    65535;  // any height, width, channel count, kernel, stride or dilation
inline constexpr std::int64_t kMaxElements = 0x7fffffff;  // of one tensor
inline constexpr int kMaxLayers = 4096;

// One input of a concat: its elements in NHWC order, each times `gain`.
struct ConcatPart {
  std::int64_t elements = 0;
  double gain = 1;
  friend bool operator==(const ConcatPart&, const ConcatPart&) = default;
};

struct Layer {
  std::string name;
  Op op = Op::conv2d;
  std::vector<int>
      inputs;  // producing layers, all smaller than this layer's index; kNetworkInput for the input
  int filters = 0;  // output channels of conv2d, depthwise_conv2d (in.c * multiplier),
                    // fully_connected; else 0
  int kernel_h = 1, kernel_w = 1;
  int stride_h = 1, stride_w = 1;
  int dilation_h = 1, dilation_w = 1;
  int pad_top = 0, pad_bottom = 0, pad_left = 0, pad_right = 0;
  int groups = 1;      // conv2d only
  int multiplier = 1;  // depthwise_conv2d only
  Activation activation = Activation::none;
  bool batch_norm = false;  // between the sum and the activation; folded into weights and bias
                            // before quantization
  bool bias =
      false;  // the folded layer has a bias: always so with batch_norm, whose beta becomes it
  std::vector<ConcatPart> parts;  // concat only: one per input
  std::vector<double> constants;  // concat only: values behind the inputs
  Shape in, out;  // `in` is the shape of every input (an add has two alike); of a concat 1 x 1 x
                  // the sum of its parts
  friend bool operator==(const Layer&, const Layer&) = default;
};

struct Network {
  std::string name;
  Shape input;
  int classes = 0;  // with Loss::reconstruction the elements of the output, as many as of the input
  std::vector<Layer>
      layers;  // topological order; the last one is the output, of `classes` elements
  Loss loss = Loss::cross_entropy;

  // The layer whose output the loss reads: the last one, or the one before a closing softmax.
  [[nodiscard]] int logits_layer() const {
    const int last = static_cast<int>(layers.size()) - 1;
    return traits(layers[static_cast<std::size_t>(last)].op).closing
               ? layers[static_cast<std::size_t>(last)].inputs[0]
               : last;
  }
  [[nodiscard]] const Shape& shape_of(int index) const {
    return index == kNetworkInput ? input : layers[static_cast<std::size_t>(index)].out;
  }
  [[nodiscard]] bool reconstructs() const { return loss == Loss::reconstruction; }
  friend bool operator==(const Network&, const Network&) = default;
};

[[nodiscard]] constexpr bool has_weights(const Layer& layer) { return traits(layer.op).weights; }
// Weights without biases; 0 for layers that have none.
[[nodiscard]] std::int64_t weight_count(const Layer& layer);
[[nodiscard]] std::int64_t weight_count(const Network& network);
// K: products summed into one output element (kh*kw*in.c/groups, kh*kw, h*w*c; pool: kernel size);
// 0 for add, softmax.
[[nodiscard]] std::int64_t reduction(const Layer& layer);
// Multiply-accumulates of one example, those on padding included (the array performs them); 0 for
// layers without weights.
[[nodiscard]] std::int64_t macs(const Layer& layer);
[[nodiscard]] std::int64_t macs(const Network& network);

// Elements of one example of input `index` of the layer.
[[nodiscard]] inline std::int64_t input_elements(const Layer& layer, std::size_t index) {
  return layer.op == Op::concat ? layer.parts[index].elements : layer.in.elements();
}

[[nodiscard]] constexpr const char* name_of(Op op) {
  const char* name = traits(op).name;
  return name == nullptr ? "?" : name;
}
[[nodiscard]] const char* name_of(Activation activation);
[[nodiscard]] const char* name_of(Loss loss);

// Index of the layer called `name`, or -2 when there is none; "input" is kNetworkInput.
[[nodiscard]] int find_layer(const Network& network, const std::string& name);

// The shape that `layer` makes of its `in`; `out` is not read. Checks every field that a single
// layer can be judged by and throws Error(input) naming `origin`, the layer, the field, its value
// and what was expected.
[[nodiscard]] Shape output_shape(const Layer& layer, const std::string& origin);

// Checks every property stated in this header: what a hand-made Network must pass before anything
// else may use it. Throws Error(input) in the same form.
void check_network(const Network& network, const std::string& origin);

}  // namespace lastmile
