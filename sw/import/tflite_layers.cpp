// SPDX-License-Identifier: Apache-2.0
// Layers with weights and pools of TensorFlow Lite, and the arithmetic of its scales.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "sw/import/tflite_importer.hpp"
#include "sw/quantizer/quantize.hpp"

namespace lastmile::from_tflite {

using importing::Refusal;
using tflite::Fused;

Requant reference_multiplier(double factor, const std::string& what) {
  if (!(factor >= 0) || factor >= 0x1p30)
    throw Refusal{fmt::format("{} is {}, expected a number of 0 to 2^30", what, factor)};
  if (factor == 0) return {0, 0};
  int e = 0;
  const double f = std::frexp(factor, &e);
  auto m = static_cast<std::int64_t>(std::round(f * 0x1p31));
  if (m == std::int64_t{1} << 31) m /= 2, ++e;
  if (e < -31) return {0, 0};
  if (e > 30) return {numeric::kBiasMax, 30};
  return {static_cast<std::int32_t>(m), e};
}

std::array<std::int32_t, 2> reference_clamp(Activation activation, const TensorQuant& quant) {
  std::array<std::int32_t, 2> clamp{-128, 127};
  const auto level = [&](float real) {
    const double q = static_cast<double>(std::round(real / quant.scale)) + quant.zero_point;
    return static_cast<std::int32_t>(std::clamp(q, -1e9, 1e9));
  };
  if (activation != Activation::none) clamp[0] = std::max(clamp[0], level(0.0F));
  if (activation == Activation::relu6) clamp[1] = std::clamp(level(6.0F), clamp[0], clamp[1]);
  return clamp;
}

Activation Importer::activation(std::int8_t fused) {
  switch (static_cast<Fused>(fused)) {
    case Fused::none:
      return Activation::none;
    case Fused::relu:
      return Activation::relu;
    case Fused::relu6:
      return Activation::relu6;
    case Fused::relu_n1_to_1:
      break;
  }
  throw Refusal{
      fmt::format("fused_activation_function is {}, expected NONE, RELU or RELU6", fused)};
}

int Importer::positive(const Options* o, int id, const char* name, std::int32_t otherwise) {
  const std::int32_t value = o->value<std::int32_t>(id, otherwise);
  if (value < 1 || value > kMaxDimension)
    throw Refusal{fmt::format("{} is {}, expected 1 to {}", name, value, kMaxDimension)};
  return value;
}

const Options* Importer::options(int i, OptionsType type) const {
  const Options* o = file_.operation(i)->options(type);
  if (o == nullptr) throw Refusal{"its options are missing"};
  return o;
}

// Padding as TensorFlow computes it, with what a PAD before it has added.
void Importer::set_padding(const Options* o, const Value& v, Layer& l) {
  const std::int8_t kind = o->value<std::int8_t>(0);
  if (kind != 0 && kind != 1)
    throw Refusal{fmt::format("padding is {}, expected SAME (0) or VALID (1)", kind)};
  l.pad_top = v.padding[0], l.pad_bottom = v.padding[1];
  l.pad_left = v.padding[2], l.pad_right = v.padding[3];
  if (kind == 1) return;
  const auto same = [](std::int64_t in, std::int64_t kernel, std::int64_t stride,
                       std::int64_t dilation, int& before, int& after) {
    const std::int64_t out = (in + stride - 1) / stride;
    const std::int64_t reach = (kernel - 1) * dilation + 1;
    const std::int64_t total = std::max<std::int64_t>((out - 1) * stride + reach - in, 0);
    if (total > kMaxDimension)
      throw Refusal{fmt::format("padding is {} in all, expected at most {}", total, kMaxDimension)};
    before += static_cast<int>(total / 2);
    after += static_cast<int>(total - total / 2);
  };
  same(std::int64_t{l.in.h} + l.pad_top + l.pad_bottom, l.kernel_h, l.stride_h, l.dilation_h,
       l.pad_top, l.pad_bottom);
  same(std::int64_t{l.in.w} + l.pad_left + l.pad_right, l.kernel_w, l.stride_w, l.dilation_w,
       l.pad_left, l.pad_right);
}

Value Importer::convolution(int i, Operator op, const std::vector<std::int32_t>& in, int out,
                            const Value& v) {
  const bool depthwise = op == Operator::depthwise_conv_2d;
  const Options* o = options(i, depthwise ? OptionsType::depthwise_conv_2d : OptionsType::conv_2d);
  if (in.size() < 2 || in[1] < 0) throw Refusal{"it has no weights"};
  Layer l;
  l.op = depthwise ? Op::depthwise_conv2d : Op::conv2d;
  l.inputs = {v.layer};
  l.in = plane_of(v);
  const std::vector<int> w = file_.dims_of(in[1]);
  if (w.size() != 4)
    throw Refusal{fmt::format("the weights have {} dimensions, expected 4", w.size())};
  l.kernel_h = w[1], l.kernel_w = w[2];
  l.stride_w = positive(o, 1, "stride_w"), l.stride_h = positive(o, 2, "stride_h");
  l.dilation_w = positive(o, depthwise ? 5 : 4, "dilation_w_factor", 1);
  l.dilation_h = positive(o, depthwise ? 6 : 5, "dilation_h_factor", 1);
  l.activation = activation(o->value<std::int8_t>(depthwise ? 4 : 3));
  if (depthwise) {
    if (w[0] != 1 || w[3] % l.in.c != 0)
      throw Refusal{
          fmt::format("the weights are {} x {} x {} x {}, expected 1 x height x width "
                      "x a multiple of the {} input channels",
                      w[0], w[1], w[2], w[3], l.in.c)};
    l.multiplier = w[3] / l.in.c;
    l.filters = w[3];
  } else {
    if (l.in.c % w[3] != 0)
      throw Refusal{
          fmt::format("the weights read {} channels, expected a divisor of the {} "
                      "input channels",
                      w[3], l.in.c)};
    l.groups = l.in.c / w[3];
    l.filters = w[0];
  }
  set_padding(o, v, l);
  return weighted(std::move(l), in, out, depthwise ? 3 : 0, false);
}

Value Importer::dense(int i, const std::vector<std::int32_t>& in, int out, const Value& v) {
  const Options* o = options(i, OptionsType::fully_connected);
  if (in.size() < 2 || in[1] < 0) throw Refusal{"it has no weights"};
  if (o->value<std::int8_t>(1) != 0)
    throw Refusal{"weights_format is SHUFFLED4x16INT8, expected DEFAULT"};
  const std::vector<int> w = file_.dims_of(in[1]);
  if (w.size() != 2)
    throw Refusal{fmt::format("the weights have {} dimensions, expected 2", w.size())};
  Layer l;
  l.inputs = {v.layer};
  l.filters = w[0];
  l.activation = activation(o->value<std::int8_t>(0));
  if (v.elements() == w[1]) {
    l.op = Op::fully_connected;
    if (v.layer == kNetworkInput && !input_fixed_) static_cast<void>(plane_of(v));
    l.in = model_.network.shape_of(v.layer);
  } else if (v.dims.back() == w[1]) {  // the same at every position
    l.op = Op::conv2d;
    l.in = plane_of(v);
  } else {
    throw Refusal{fmt::format("the weights read {} elements, expected {} or {}", w[1], v.elements(),
                              v.dims.back())};
  }
  return weighted(std::move(l), in, out, 0, true);
}

// `channel_axis`: of the weights' tensor. `dense`: the reference kernel multiplies the scales of
// input and weights in float, not in double, unless they are per channel.
Value Importer::weighted(Layer l, const std::vector<std::int32_t>& in, int out, int channel_axis,
                         bool dense) {
  l.bias = in.size() > 2 && in[2] >= 0;
  const auto filters = static_cast<std::size_t>(l.filters);
  // Sizes first, so that nothing large is made of a wrong file.
  static_cast<void>(output_shape(l, file_.name()));
  file_.budget().take(weight_count(l) + 4 * l.filters);
  LayerParams<float> params;
  QuantizedLayer q;
  if (!integer_) {
    params.weights = file_.constant_floats(in[1]);
    require_count("weights", params.weights.size(), weight_count(l));
    if (l.bias) params.bias = file_.constant_floats(in[2]);
    if (l.bias) require_count("bias", params.bias.size(), l.filters);
    if (file_.tensor(in[1])->type() == Type::int8) hybrid_ = true;
    return result_of(push(std::move(l), std::move(params), {}, out));
  }
  const TensorQuant from = file_.int8_quant(in[0]);
  q.out = file_.int8_quant(out);
  const auto weights = file_.constant<std::int8_t>(in[1], Type::int8);
  require_count("weights", weights.size(), weight_count(l));
  q.weights.assign(weights.begin(), weights.end());
  q.weight_scale = file_.weight_scales(in[1]);
  const bool per_channel = q.weight_scale.size() > 1;
  if (per_channel) {
    require_count("scales of the weights", q.weight_scale.size(), l.filters);
    if (file_.tensor(in[1])->quantization()->dimension() != channel_axis)
      throw Refusal{fmt::format("the weights have scales along dimension {}, expected {}",
                                file_.tensor(in[1])->quantization()->dimension(), channel_axis)};
  }
  q.weight_scale.resize(filters, q.weight_scale[0]);
  if (l.bias) {
    q.bias = file_.constant<std::int32_t>(in[2], Type::int32);
    require_count("bias", q.bias.size(), l.filters);
  }
  for (std::size_t c = 0; c < filters; ++c) {
    const double product =
        dense && !per_channel
            ? static_cast<double>(from.scale * q.weight_scale[c])
            : static_cast<double>(from.scale) * static_cast<double>(q.weight_scale[c]);
    q.requant.push_back(reference_multiplier(product / static_cast<double>(q.out.scale),
                                             fmt::format("scale ratio of channel {}", c)));
  }
  finish_weighted(l, q);
  const int bias = l.bias ? in[2] : -1;
  const int layer = push(std::move(l), {}, std::move(q), out);
  constants_[layer] = {in[1], bias};
  return result_of(layer);
}

void Importer::require_count(const char* what, std::size_t found, std::int64_t expected) {
  if (static_cast<std::int64_t>(found) != expected)
    throw Refusal{fmt::format("{} {}, expected {}", found, what, expected)};
}

void Importer::finish_weighted(const Layer& l, QuantizedLayer& q) {
  const MatrixShape shape = matrix_shape(l);
  q.rows = shape.rows;
  q.columns = shape.columns;
  const auto clamp = reference_clamp(l.activation, q.out);
  q.act_min = clamp[0];
  q.act_max = clamp[1];
}

// A depthwise convolution with weights of one: a sum over its window, requantized.
Value Importer::ones(Layer l, const TensorQuant& out_quant, Requant requant, float weight_scale,
                     int out) {
  l.op = Op::depthwise_conv2d;
  l.filters = l.in.c;
  static_cast<void>(output_shape(l, file_.name()));
  file_.budget().take(weight_count(l));
  QuantizedLayer q;
  q.out = out_quant;
  q.weights.assign(static_cast<std::size_t>(weight_count(l)), 1);
  q.weight_scale.assign(static_cast<std::size_t>(l.filters), weight_scale);
  q.requant.assign(static_cast<std::size_t>(l.filters), requant);
  finish_weighted(l, q);
  return result_of(push(std::move(l), {}, std::move(q), out));
}

Value Importer::pool(int i, Operator op, int in, int out, const Value& v) {
  const Options* o = options(i, OptionsType::pool_2d);
  Layer l;
  l.op = op == Operator::max_pool_2d ? Op::max_pool2d : Op::average_pool2d;
  l.inputs = {v.layer};
  l.in = plane_of(v);
  l.stride_w = positive(o, 1, "stride_w"), l.stride_h = positive(o, 2, "stride_h");
  l.kernel_w = positive(o, 3, "filter_width"), l.kernel_h = positive(o, 4, "filter_height");
  l.activation = activation(o->value<std::int8_t>(5));
  set_padding(o, v, l);
  QuantizedLayer q;
  if (integer_) {
    q.out = file_.int8_quant(out);
    if (q.out != file_.int8_quant(in))
      throw Refusal{"input and output differ in scale or zero point, expected the same"};
    const auto clamp = reference_clamp(l.activation, q.out);
    q.act_min = clamp[0], q.act_max = clamp[1];
  }
  return result_of(push(std::move(l), {}, std::move(q), out));
}

}  // namespace lastmile::from_tflite
