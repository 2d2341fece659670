// SPDX-License-Identifier: Apache-2.0
// ONNX models with QuantizeLinear and DequantizeLinear around their operators (QDQ): the network is
// read as a float one, the scales and zero points beside it, and at the end both become integers.
// Nothing is calibrated: a layer's output has the scale of the QuantizeLinear behind it.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/import/onnx_importer.hpp"
#include "sw/quantizer/quantize.hpp"

namespace lastmile::from_onnx {

using importing::Refusal;
using importing::shown;

namespace {

// A weight over its scale is an integer but for the rounding of their product.
constexpr double kInteger = 0.01;
// The same for a bias, which has more digits than a float.
constexpr double kBiasStep = 1e-6;

std::optional<float> real_of(const std::string& text) {
  float v = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, v);
  if (error != std::errc{} || at != end || text.empty() || !std::isfinite(v)) return std::nullopt;
  return v;
}

bool is_pool(Op op) {
  return op == Op::max_pool2d || op == Op::average_pool2d || op == Op::global_average_pool;
}

}  // namespace

// uint8 is int8 with another zero point: the same steps, 128 lower.
TensorQuant Importer::quant_of(const onnx::NodeProto& n) {
  if (!has_input(n, 1)) throw Refusal{"it has no scale"};
  const std::vector<float>& scale = reals(n, 1);
  if (scale.size() != 1)
    throw Refusal{fmt::format("{} scales, expected one for a computed tensor", scale.size())};
  std::int64_t type = integer(n, "output_dtype", 0), zero = 0;
  if (has_input(n, 2)) {
    const Constant& z = constant(n, 2);
    if (!z.is_integer || z.integers.size() != 1)
      throw Refusal{fmt::format("{} zero points, expected one integer", z.integers.size())};
    type = z.type;
    zero = z.integers[0];
  }
  if (type == 0) type = onnx::TensorProto::UINT8;
  if (type != onnx::TensorProto::UINT8 && type != onnx::TensorProto::INT8)
    throw Refusal{fmt::format("the zero point has data type {}, expected INT8 or UINT8", type)};
  if (type == onnx::TensorProto::UINT8) zero -= 128;
  if (!(scale[0] > 0) || !std::isfinite(scale[0]))
    throw Refusal{fmt::format("scale is {}, expected a positive number", scale[0])};
  return {scale[0], static_cast<std::int32_t>(zero)};
}

const TensorQuant* Importer::known_quant(int layer, const TensorQuant& stated) {
  const auto quant = quants_.find(layer);
  if (quant != quants_.end()) return &quant->second;
  if (layer == kNetworkInput)
    return integer_input_ ? &quants_.emplace(layer, stated).first->second : nullptr;
  Layer& l = model_.network.layers[static_cast<std::size_t>(layer)];
  if (l.op == Op::concat) {
    // Integers side by side, all in the steps that their reader says: a gain for each input.
    for (std::size_t k = 0; k < l.inputs.size(); ++k) {
      const TensorQuant* part = known_quant(l.inputs[k], stated);
      if (part == nullptr || part->zero_point != stated.zero_point) return nullptr;
      l.parts[k].gain = static_cast<double>(stated.scale) / static_cast<double>(part->scale);
    }
    return &quants_.emplace(layer, stated).first->second;
  }
  // A MaxPool of integers needs no scale, and keeps it.
  if (l.op != Op::max_pool2d || l.activation != Activation::none) return nullptr;
  const TensorQuant* before = known_quant(l.inputs[0], stated);
  return before == nullptr ? nullptr : &quants_.emplace(layer, *before).first->second;
}

Value Importer::quantize_linear(const onnx::NodeProto& n) {
  const Value v = activation(n);
  const TensorQuant quant = quant_of(n);
  const auto [at, fresh] = quants_.emplace(v.layer, quant);
  if (fresh || at->second == quant) return v;
  // A change of scale is a layer of its own: the maximum of one element, which make_integers()
  // turns into a product with one.
  Layer l;
  l.op = Op::max_pool2d;
  l.inputs = {v.layer};
  l.in = shape_of(v);
  Value scaled = same_view(v, push(n, std::move(l), {}, {Axis::c}));
  quants_.emplace(scaled.layer, quant);
  return scaled;
}

Value Importer::dequantize_linear(const onnx::NodeProto& n) {
  if (integer(n, "block_size", 0) != 0) throw Refusal{"block_size is given, expected none"};
  const Value& v = value(n.input(0));
  if (v.kind == Value::Kind::activation) {
    const TensorQuant stated = quant_of(n);
    const TensorQuant* known = known_quant(v.layer, stated);
    if (known == nullptr || *known != stated)
      throw Refusal{"it reads what no QuantizeLinear of its scale and zero point put out"};
    return activation(n);
  }
  const Constant& codes = v.constant;
  if (!codes.is_integer)
    throw Refusal{
        fmt::format("input 0 (\"{}\") is floating point, expected integers", shown(n.input(0)))};
  if (!has_input(n, 1)) throw Refusal{"it has no scale"};
  Value out;
  out.kind = Value::Kind::constant;
  Constant& c = out.constant;
  c.dims = codes.dims;
  c.type = codes.type;
  c.scales = reals(n, 1);
  std::vector<std::int64_t> zero(1, 0);
  if (has_input(n, 2)) zero = constant(n, 2).integers;
  std::size_t inner = 1;
  const auto rank = static_cast<std::int64_t>(c.dims.size());
  if (c.scales.size() != 1) {
    const std::int64_t axis = integer(n, "axis", 1);
    c.axis = static_cast<int>(axis < 0 ? axis + rank : axis);
    if (c.axis < 0 || c.axis >= rank ||
        c.dims[static_cast<std::size_t>(c.axis)] != static_cast<std::int64_t>(c.scales.size()))
      throw Refusal{
          fmt::format("{} scales and axis {} of a constant of {}, expected one for each "
                      "element of the axis",
                      c.scales.size(), axis, fmt::join(c.dims, " x "))};
    for (std::size_t d = static_cast<std::size_t>(c.axis) + 1; d < c.dims.size(); ++d)
      inner *= static_cast<std::size_t>(c.dims[d]);
  }
  if (zero.size() != 1 && zero.size() != c.scales.size())
    throw Refusal{fmt::format("{} zero points for {} scales, expected one each", zero.size(),
                              c.scales.size())};
  file_.budget().take(count_of(codes));
  const bool centred = std::all_of(zero.begin(), zero.end(), [](auto z) { return z == 0; });
  if (codes.type == onnx::TensorProto::INT32 && centred) c.codes = codes.integers;
  for (std::size_t i = 0; i < codes.integers.size(); ++i) {
    const std::size_t k = i / inner % c.scales.size();
    const std::int64_t z = zero[zero.size() == 1 ? 0 : k];
    c.reals.push_back(static_cast<float>(codes.integers[i] - z) * c.scales[k]);
  }
  return out;
}

// The scales of a layer's weights, if they have any; `axis`: its output channels in the constant.
void Importer::keep_scales(const Value& layer, const Constant& weights, int axis) {
  if (weights.scales.empty()) return;
  if (weights.scales.size() > 1 && weights.axis != axis)
    throw Refusal{
        fmt::format("the weights have scales along axis {}, expected {}", weights.axis, axis)};
  std::vector<float> scales = weights.scales;
  const Layer& l = model_.network.layers[static_cast<std::size_t>(layer.layer)];
  scales.resize(static_cast<std::size_t>(l.filters), scales[0]);
  weight_scales_[layer.layer] = std::move(scales);
  if (weights.type == onnx::TensorProto::INT16) wide_.insert(layer.layer);
}

// The integers of a bias, so that they need not be found again from real numbers.
void Importer::keep_bias(const Value& layer, const Constant& bias) {
  const Layer& l = model_.network.layers[static_cast<std::size_t>(layer.layer)];
  if (bias.codes.size() == static_cast<std::size_t>(l.filters))
    bias_codes_[layer.layer] = bias.codes;
}

// Weights of one: a sum over the window, requantized.
void Importer::sum_instead(int layer) {
  Layer& l = model_.network.layers[static_cast<std::size_t>(layer)];
  const auto window = static_cast<float>(l.kernel_h * l.kernel_w);
  l.op = Op::depthwise_conv2d;
  l.filters = l.in.c;
  file_.budget().take(weight_count(l));
  const std::size_t n = static_cast<std::size_t>(weight_count(l));
  model_.params.layers[static_cast<std::size_t>(layer)].weights.assign(n, 1 / window);
  weight_scales_[layer].assign(static_cast<std::size_t>(l.filters), 1 / window);
}

// What has weights: codes, biases in steps of input times weight scale, and one factor per channel.
void Importer::integer_weights(int layer, const TensorQuant& from, QuantizedLayer& q) {
  const Layer& l = model_.network.layers[static_cast<std::size_t>(layer)];
  const LayerParams<float>& p = model_.params.layers[static_cast<std::size_t>(layer)];
  const auto scales = weight_scales_.find(layer);
  if (scales == weight_scales_.end())
    throw Refusal{"its weights are floating point, expected a DequantizeLinear before them"};
  const MatrixShape shape = matrix_shape(l);
  q.rows = shape.rows;
  q.columns = shape.columns;
  q.weight_scale = scales->second;
  for (const float s : q.weight_scale)
    if (!(s > 0) || !std::isfinite(s))
      throw Refusal{fmt::format("a scale of its weights is {}, expected a positive number", s)};
  const bool wide = wide_.contains(layer);
  if (wide) q.weight_type = WeightType::w16;
  const int limit = weight_limit(wide ? WeightType::w16 : WeightType::w8);
  for (int r = 0, i = 0; r < shape.rows; ++r) {
    for (int k = 0; k < shape.columns; ++k, ++i) {
      const auto channel = static_cast<std::size_t>(channel_of(l, r, k));
      const double code = static_cast<double>(p.weights[static_cast<std::size_t>(i)]) /
                          static_cast<double>(q.weight_scale[channel]);
      if (!(std::abs(code - std::round(code)) < kInteger) || code < -limit - 1.5 ||
          code > limit + 0.5)
        throw Refusal{
            fmt::format("a weight is {} steps from zero, expected whole steps of {} to "
                        "{} (zero points of weights: 0, of uint8 128)",
                        code, -limit - 1, limit)};
      q.weights.push_back(static_cast<std::int16_t>(std::lround(code)));
    }
  }
  const auto kept = bias_codes_.find(layer);
  for (std::size_t c = 0; c < q.weight_scale.size(); ++c) {
    const double step = static_cast<double>(from.scale) * static_cast<double>(q.weight_scale[c]);
    if (l.bias) {
      double code = static_cast<double>(p.bias[c]) / step;
      if (kept != bias_codes_.end()) {
        // Unless the bias has steps of its own.
        const auto integer = static_cast<double>(kept->second[c]);
        if (std::abs(code - integer) <= kBiasStep * std::max(1.0, std::abs(integer)))
          code = integer;
      }
      if (!(std::abs(code) <= static_cast<double>(numeric::kBiasMax)))
        throw Refusal{fmt::format("a bias is {} steps of {}, expected int32", code, step)};
      q.bias.push_back(static_cast<std::int32_t>(std::lround(code)));
    }
    q.requant.push_back(encode_requant(step / static_cast<double>(q.out.scale), l.name));
  }
}

QuantizedLayer Importer::integer_layer(int layer, const QuantizedNetwork& before) {
  Layer& l = model_.network.layers[static_cast<std::size_t>(layer)];
  const TensorQuant from = before.quant_of(l.inputs[0]);
  const auto stated = quants_.find(layer);
  QuantizedLayer q;
  if (l.op == Op::softmax) {
    q.out = {1.0F / 256, -128};
    if (stated != quants_.end() && stated->second != q.out)
      throw Refusal{fmt::format("its scale is {}, expected 1/256, and as zero point the least code",
                                stated->second.scale)};
    q.softmax = encode_softmax(from.scale, l.name);
    return q;
  }
  if (stated == quants_.end() && !is_pool(l.op))
    throw Refusal{"its output is floating point, expected a QuantizeLinear behind it"};
  q.out = stated == quants_.end() ? from : stated->second;
  if (is_pool(l.op) && q.out != from) {
    const bool padded = l.pad_top + l.pad_bottom + l.pad_left + l.pad_right != 0;
    if (l.op == Op::max_pool2d ? l.kernel_h * l.kernel_w != 1 : padded)
      throw Refusal{"its input and output differ in scale or zero point, expected the same"};
    sum_instead(layer);
  }
  const auto clamp = activation_clamp(l.activation, q.out);
  q.act_min = clamp[0];
  q.act_max = clamp[1];
  if (has_weights(l)) integer_weights(layer, from, q);
  if (l.op == Op::add) q.add = encode_add(from, before.quant_of(l.inputs[1]), q.out, l.activation);
  return q;
}

// What `lastmile export` says of an output that it left floating point.
void Importer::take_stated_result() {
  const int last = static_cast<int>(model_.network.layers.size()) - 1;
  const auto scale = real_of(file_.metadata(kResultScaleKey));
  const auto zero = real_of(file_.metadata(kResultZeroKey));
  if (scale && zero && *scale > 0 && std::abs(*zero) <= 128)
    quants_.emplace(last, TensorQuant{*scale, static_cast<std::int32_t>(*zero)});
}

void Importer::take_stated_logits(QuantizedNetwork& q) {
  const auto scale = real_of(file_.metadata(kLogitScaleKey));
  if (q.logits.requant.empty() || !scale || !(*scale > 0)) return;
  const auto head = static_cast<std::size_t>(q.network.logits_layer());
  const Layer& layer = q.network.layers[head];
  try {
    LogitQuant logits = encode_logits(layer, q.layers[head].weight_scale,
                                      q.quant_of(layer.inputs[0]).scale, 32767.0 * *scale, 1);
    if (logits.scale == *scale) q.logits = std::move(logits);
  } catch (const Error&) {  // what cannot be is not what was exported: the range chosen stays
  }
}

// The network's own width is that of its layers, where they have one.
void Importer::settle_weight_types(QuantizedNetwork& q) const {
  std::size_t weighted = 0;
  for (const Layer& l : q.network.layers) weighted += has_weights(l) ? 1 : 0;
  if (wide_.empty() || wide_.size() != weighted) return;
  q.weight_type = WeightType::w16;
  for (QuantizedLayer& l : q.layers) l.weight_type.reset();
}

void Importer::make_integers() {
  QuantizedNetwork q;
  q.weight_type = WeightType::w8;
  const auto input = quants_.find(kNetworkInput);
  if (input == quants_.end())
    file_.refuse("the input is floating point, expected a QuantizeLinear behind it");
  q.input = input->second;
  q.network = model_.network;
  take_stated_result();
  for (std::size_t i = 0; i < model_.network.layers.size(); ++i) {
    const Layer& l = model_.network.layers[i];
    const std::string where = fmt::format("layer '{}' ({})", l.name, lastmile::name_of(l.op));
    try {
      q.layers.push_back(integer_layer(static_cast<int>(i), q));
    } catch (const Refusal& r) {
      problems_.add(where + ": " + r.text);
      q.layers.emplace_back();
    } catch (const Error& e) {
      problems_.add(where, e);
      q.layers.emplace_back();
    }
  }
  problems_.raise();
  q.network = model_.network;
  settle_weight_types(q);
  importing::set_logits(q, model_.notes);
  take_stated_logits(q);
  q.preprocessing = file_.metadata(kPreprocessingKey);
  check_quantized(q, file_.name());
  model_.params = dequantize(q);
  model_.quantized = std::move(q);
}

}  // namespace lastmile::from_onnx
