// SPDX-License-Identifier: Apache-2.0
// Arithmetic with constants, sums and rectifiers of ONNX: folded into the layer before where it is
// not seen by another.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/import/onnx_importer.hpp"

namespace lastmile::from_onnx {

using importing::Refusal;

namespace {

// Of a factor in a model of integers: a power of two, so that it is exact.
constexpr double kStepsOfOne = 64;

}  // namespace

// y = x * scale + shift, one of each per channel.
Value Importer::affine(const onnx::NodeProto& n, const Value& v, const std::vector<double>& scale,
                       const std::vector<double>& shift) {
  const Shape s = shape_of(v);
  const bool shifts = std::any_of(shift.begin(), shift.end(), [](double d) { return d != 0; });
  if (v.layer != kNetworkInput && !v.shared && !quants_.contains(v.layer)) {
    Layer& l = model_.network.layers[static_cast<std::size_t>(v.layer)];
    if (has_weights(l) && l.activation == Activation::none) {
      LayerParams<float>& p = model_.params.layers[static_cast<std::size_t>(v.layer)];
      bias_codes_.erase(v.layer);
      if (const auto steps = weight_scales_.find(v.layer); steps != weight_scales_.end())
        for (std::size_t c = 0; c < scale.size(); ++c)
          if (scale[c] != 0)
            steps->second[c] = static_cast<float>(steps->second[c] * std::abs(scale[c]));
      const MatrixShape m = matrix_shape(l);
      for (int r = 0; r < m.rows; ++r)
        for (int k = 0; k < m.columns; ++k) {
          float& w = p.weights[static_cast<std::size_t>(r) * static_cast<std::size_t>(m.columns) +
                               static_cast<std::size_t>(k)];
          w = static_cast<float>(w * scale[static_cast<std::size_t>(channel_of(l, r, k))]);
        }
      if (!l.bias && shifts) {
        l.bias = true;
        p.bias.assign(static_cast<std::size_t>(l.filters), 0);
      }
      for (std::size_t i = 0; i < p.bias.size(); ++i)
        p.bias[i] = static_cast<float>(p.bias[i] * scale[i] + shift[i]);
      return v;
    }
  }
  Layer l;
  l.op = Op::depthwise_conv2d;
  l.inputs = {v.layer};
  l.in = s;
  l.filters = s.c;
  l.bias = shifts;
  LayerParams<float> p;
  p.weights.assign(scale.begin(), scale.end());
  if (shifts) p.bias.assign(shift.begin(), shift.end());
  const Value out = same_view(v, push(n, std::move(l), std::move(p), {Axis::c}));
  // Of integers: so many steps for each factor, and as many for one of the input in the bias.
  for (const double factor : scale)
    weight_scales_[out.layer].push_back(
        static_cast<float>((factor == 0 ? 1 : std::abs(factor)) / kStepsOfOne));
  return out;
}

// The arrangement of `before`, of a layer that keeps the shape.
Value Importer::same_view(const Value& before, const Value& after) {
  Value v = before;
  v.layer = after.layer;
  v.shared = false;
  return v;
}

Value Importer::batch_norm(const onnx::NodeProto& n) {
  const Value v = activation(n);
  for (int i = 1; i < 5; ++i)
    if (!has_input(n, i)) throw Refusal{"it has fewer than 5 inputs"};
  if (integer(n, "training_mode", 0) != 0) throw Refusal{"training_mode is 1, expected 0"};
  static_cast<void>(channels_first(v));
  const auto channels = static_cast<std::size_t>(shape_of(v).c);
  const double epsilon = static_cast<double>(real(n, "epsilon", 1e-5F));
  std::array<std::vector<float>, 4> p;
  for (std::size_t i = 0; i < 4; ++i) {
    p[i] = reals(n, static_cast<int>(i) + 1);
    if (p[i].size() != channels)
      throw Refusal{
          fmt::format("input {} has {} values, expected {}", i + 1, p[i].size(), channels)};
  }
  std::vector<double> scale(channels), shift(channels);
  for (std::size_t c = 0; c < channels; ++c) {
    scale[c] = p[0][c] / std::sqrt(static_cast<double>(p[3][c]) + epsilon);
    shift[c] = p[1][c] - p[2][c] * scale[c];
    if (!std::isfinite(scale[c]) || !std::isfinite(shift[c]))
      throw Refusal{fmt::format("channel {}: the variance is {}, expected at least 0", c, p[3][c])};
  }
  return affine(n, v, scale, shift);
}

// A constant as one number per channel of v.
std::vector<double> Importer::per_channel(const Value& v, const Constant& c) {
  if (c.is_integer) throw Refusal{"a constant of integers, expected floating point"};
  const auto channels = static_cast<std::size_t>(shape_of(v).c);
  if (c.reals.size() == 1) return std::vector<double>(channels, c.reals[0]);
  // Dimensions align at the end; the channels' must be the only one above 1.
  std::size_t at = v.axes.size();
  for (std::size_t i = 0; i < v.axes.size(); ++i)
    if (v.axes[i] == Axes{Axis::c}) at = i;
  const std::size_t behind = v.axes.size() - 1 - at;
  const bool fits = at < v.axes.size() && c.dims.size() > behind && c.reals.size() == channels &&
                    c.dims[c.dims.size() - 1 - behind] == static_cast<std::int64_t>(channels);
  if (!fits)
    throw Refusal{
        fmt::format("a constant of {}, expected one number, or one for each of {} "
                    "channels",
                    fmt::join(c.dims, " x "), channels)};
  return {c.reals.begin(), c.reals.end()};
}

Value Importer::add(const onnx::NodeProto& n) {
  if (!has_input(n, 1)) throw Refusal{"it has one input, expected two"};
  const Value a = value(n.input(0)), b = value(n.input(1));
  if (a.kind == Value::Kind::constant || b.kind == Value::Kind::constant) return arithmetic(n);
  static_cast<void>(activation(n, 0));
  static_cast<void>(activation(n, 1));
  if (a.dims != b.dims || a.axes != b.axes || shape_of(a) != shape_of(b))
    throw Refusal{fmt::format("its inputs are {} and {}, expected the same shape",
                              fmt::join(a.dims, " x "), fmt::join(b.dims, " x "))};
  Layer l;
  l.op = Op::add;
  l.inputs = {a.layer, b.layer};
  l.in = shape_of(a);
  return same_view(a, push(n, std::move(l), {}, {Axis::c}));
}

// Sums, differences, products and quotients with a constant.
Value Importer::arithmetic(const onnx::NodeProto& n) {
  if (!has_input(n, 1)) throw Refusal{"it has one input, expected two"};
  const bool constant_first = value(n.input(0)).kind == Value::Kind::constant;
  const std::string& op = n.op_type();
  if (constant_first && value(n.input(1)).kind == Value::Kind::constant)
    throw Refusal{"both inputs are constants, expected one computed tensor"};
  if (!constant_first && value(n.input(1)).kind != Value::Kind::constant)
    throw Refusal{"both inputs are computed, expected one constant (only Add takes two)"};
  if (constant_first && op == "Div")
    throw Refusal{"it divides a constant, expected to divide by one"};
  const Value v = activation(n, constant_first ? 1 : 0);
  const std::vector<double> k = per_channel(v, constant(n, constant_first ? 0 : 1));
  std::vector<double> scale(k.size(), 1), shift(k.size(), 0);
  for (std::size_t i = 0; i < k.size(); ++i) {
    if (op == "Add") shift[i] = k[i];
    if (op == "Sub") shift[i] = constant_first ? k[i] : -k[i];
    if (op == "Sub" && constant_first) scale[i] = -1;
    if (op == "Mul") scale[i] = k[i];
    if (op == "Div") scale[i] = 1 / k[i];
  }
  return affine(n, v, scale, shift);
}

Value Importer::rectify(const onnx::NodeProto& n, const Value& v, Activation kind) {
  if (v.layer != kNetworkInput && !v.shared && !quants_.contains(v.layer)) {
    Layer& l = model_.network.layers[static_cast<std::size_t>(v.layer)];
    if (l.activation == Activation::none && l.op != Op::softmax &&
        l.op != Op::global_average_pool) {
      l.activation = kind;
      return v;
    }
    if (l.activation == Activation::relu && kind == Activation::relu6) {
      l.activation = kind;  // a Clip behind a Relu
      return v;
    }
  }
  Layer l;
  l.op = Op::max_pool2d;  // the maximum of one element
  l.inputs = {v.layer};
  l.in = shape_of(v);
  l.activation = kind;
  return same_view(v, push(n, std::move(l), {}, {Axis::c}));
}

Value Importer::relu(const onnx::NodeProto& n) {
  return rectify(n, activation(n), Activation::relu);
}

Value Importer::clip(const onnx::NodeProto& n) {
  const Value v = activation(n);
  constexpr float kAny = std::numeric_limits<float>::max();
  const auto bound = [&](int input, const char* name, float otherwise) {
    if (has_input(n, input)) {
      const std::vector<float>& c = reals(n, input);
      if (c.size() != 1) throw Refusal{fmt::format("{} has {} values, expected 1", name, c.size())};
      return c[0];
    }
    return real(n, name, otherwise);
  };
  const float low = bound(1, "min", -kAny), high = bound(2, "max", kAny);
  if (low == 0 && high == 6) return rectify(n, v, Activation::relu6);
  if (low == 0 && high >= kAny) return rectify(n, v, Activation::relu);
  throw Refusal{fmt::format("min is {} and max {}, expected 0 and 6, or 0 and none", low, high)};
}

}  // namespace lastmile::from_onnx
