// SPDX-License-Identifier: Apache-2.0
#include "sw/quantizer/quantized.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/golden/params.hpp"

namespace lastmile {
namespace {

class Checker {
 public:
  Checker(const std::string& origin, const std::string& layer) : origin_(origin), layer_(layer) {}

  [[noreturn]] void fail(const std::string& field, const std::string& found,
                         const std::string& expected) const {
    throw Error(ErrorKind::input, fmt::format("{}: layer '{}': {} is {}, expected {}", origin_,
                                              layer_, field, found, expected));
  }
  void range(const std::string& field, std::int64_t value, std::int64_t least,
             std::int64_t most) const {
    if (value < least || value > most)
      fail(field, std::to_string(value), fmt::format("{} to {}", least, most));
  }
  void count(const std::string& field, std::size_t found, std::size_t expected) const {
    if (found != expected)
      fail(field, fmt::format("{} elements", found), fmt::format("{}", expected));
  }
  void scale(const std::string& field, float value) const {
    if (!std::isfinite(value) || value <= 0)
      fail(field, fmt::format("{}", value), "a positive number");
  }
  void statistics(std::size_t channel, float mean, float deviation) const {
    if (!std::isfinite(mean))
      fail(fmt::format("mean {}", channel), fmt::format("{}", mean), "a finite number");
    if (!std::isfinite(deviation) || deviation < 0)
      fail(fmt::format("deviation {}", channel), fmt::format("{}", deviation), "0 or more");
  }
  void quant(const std::string& field, const TensorQuant& q) const {
    scale(field + " scale", q.scale);
    range(field + " zero point", q.zero_point, -128, 127);
  }
  void clamp(const std::string& field, std::int32_t low, std::int32_t high, std::int32_t type_min,
             std::int32_t type_max) const {
    range(field + " minimum", low, type_min, type_max);
    range(field + " maximum", high, low, type_max);
  }
  void requant(const std::string& field, const std::vector<Requant>& table) const {
    for (std::size_t i = 0; i < table.size(); ++i) {
      range(fmt::format("{} multiplier {}", field, i), table[i].multiplier, 0,
            std::numeric_limits<std::int32_t>::max());
      range(fmt::format("{} exponent {}", field, i), table[i].exponent, spec::kExponentMin,
            spec::kExponentMax);
    }
  }

 private:
  const std::string& origin_;
  const std::string& layer_;
};

void check_weights(const Checker& check, const Layer& layer, const QuantizedLayer& q,
                   WeightType type) {
  const MatrixShape shape = matrix_shape(layer);
  check.range("rows", q.rows, shape.rows, shape.rows);
  check.range("columns", q.columns, shape.columns, shape.columns);
  const auto filters = static_cast<std::size_t>(layer.filters);
  check.count("weights", q.weights.size(),
              static_cast<std::size_t>(shape.rows) * static_cast<std::size_t>(shape.columns));
  check.count("weight scales", q.weight_scale.size(), filters);
  check.count("bias", q.bias.size(), layer.bias ? filters : 0);
  check.count("requantization", q.requant.size(), filters);
  const std::int32_t limit = weight_limit(type);
  for (std::size_t i = 0; i < q.weights.size(); ++i) {
    if (q.weights[i] < -limit - 1 || q.weights[i] > limit)
      check.range(fmt::format("weight {}", i), q.weights[i], -limit - 1, limit);
  }
  for (std::size_t i = 0; i < filters; ++i)
    check.scale(fmt::format("weight scale {}", i), q.weight_scale[i]);
  check.requant("requantization", q.requant);
  if (q.mean.empty() && q.deviation.empty()) return;
  check.count("means", q.mean.size(), filters);
  check.count("deviations", q.deviation.size(), filters);
  for (std::size_t i = 0; i < filters; ++i) check.statistics(i, q.mean[i], q.deviation[i]);
}

// The integers of operators without weights.
void check_operator(const Checker& check, const Layer& layer, const QuantizedLayer& q) {
  switch (layer.op) {
    case Op::add: {
      const numeric::AddParams& a = q.add;
      check.requant("add", {{a.m1, a.e1}, {a.m2, a.e2}, {a.mo, a.eo}});
      check.range("add left shift", a.left_shift, 0, 20);
      check.clamp("add clamp", a.act_min, a.act_max, -128, 127);
      for (const std::int32_t zp : {a.zp1, a.zp2, a.zp_out})
        check.range("add zero point", zp, -128, 127);
      break;
    }
    case Op::softmax:
      check.range("softmax multiplier", q.softmax.multiplier, 0,
                  std::numeric_limits<std::int32_t>::max());
      check.range("softmax left shift", q.softmax.left_shift, 0, spec::kSoftmaxShiftMax);
      check.range("softmax smallest difference", q.softmax.diff_min,
                  std::numeric_limits<std::int32_t>::min(), 0);
      break;
    case Op::conv2d:
    case Op::depthwise_conv2d:
    case Op::fully_connected:
    case Op::max_pool2d:
    case Op::average_pool2d:
    case Op::global_average_pool:
    case Op::concat:  // check_concat
      break;
  }
}

// Scales are float32, so products of them agree to that.
constexpr double kGainTolerance = 1e-5;

void check_concat(const Checker& check, const QuantizedNetwork& net, std::size_t i) {
  const Layer& layer = net.network.layers[i];
  const QuantizedLayer& q = net.layers[i];
  check.count("constants", q.constants.size(), layer.constants.size());
  if (layer.op != Op::concat) return;
  for (std::size_t k = 0; k < layer.parts.size(); ++k) {
    const TensorQuant& in = net.quant_of(layer.inputs[k]);
    check.range(fmt::format("zero point of input {}", k), in.zero_point, q.out.zero_point,
                q.out.zero_point);
    const double scale = layer.parts[k].gain * in.scale;
    if (!(std::abs(scale / q.out.scale - 1) < kGainTolerance))
      check.fail(fmt::format("gain * scale of input {}", k), fmt::format("{}", scale),
                 fmt::format("{}, the output's scale", q.out.scale));
  }
}

// The numbers of an addition, and that zero points are those that its operands have.
void check_difference(const QuantizedNetwork& net, const std::string& origin) {
  if (!net.difference) return;
  const std::string name = "difference";
  const Checker check(origin, name);
  if (!net.network.reconstructs())
    check.fail("difference", "given", "none for a network whose loss is cross-entropy");
  check.scale("scale", net.difference->scale);
  Layer layer;
  layer.op = Op::add;
  QuantizedLayer q;
  q.add = net.difference->add;
  check_operator(check, layer, q);
  const numeric::AddParams& a = q.add;
  const std::int32_t out = net.layers.back().out.zero_point;
  check.range("zero point of the output", a.zp1, out, out);
  const std::int32_t target = -1 - net.input.zero_point;
  check.range("zero point of the target", a.zp2, target, target);
  check.range("zero point of the difference", a.zp_out, 0, 0);
}

}  // namespace

WeightType QuantizedNetwork::widest_weights() const {
  bool wide = false;
  for (std::size_t i = 0; i < layers.size(); ++i)
    wide = wide || (has_weights(network.layers[i]) && weight_type_of(i) == WeightType::w16);
  return wide ? WeightType::w16 : WeightType::w8;
}

const char* name_of(WeightType type) { return type == WeightType::w8 ? "w8" : "w16"; }

std::string tensor_name(const Network& network, std::uint32_t tensor) {
  const std::size_t layer = tensor / 2;
  if (layer >= network.layers.size() || !has_weights(network.layers[layer]) ||
      (tensor % 2 != 0 && !network.layers[layer].bias))
    return fmt::format("tensor {}", tensor);
  return network.layers[layer].name + (tensor % 2 != 0 ? ".bias" : ".weights");
}

MatrixShape matrix_shape(const Layer& layer) {
  if (!has_weights(layer)) return {};
  const int k = static_cast<int>(reduction(layer));
  return layer.op == Op::depthwise_conv2d ? MatrixShape{k, layer.filters}
                                          : MatrixShape{layer.filters, k};
}

void check_quantized(const QuantizedNetwork& net, const std::string& origin) {
  check_network(net.network, origin);
  const std::string input_name = "input";
  Checker(origin, input_name).quant("activation", net.input);
  if (net.layers.size() != net.network.layers.size()) {
    throw Error(ErrorKind::input, fmt::format("{}: {} quantized layers, expected {}", origin,
                                              net.layers.size(), net.network.layers.size()));
  }
  for (std::size_t i = 0; i < net.layers.size(); ++i) {
    const Layer& layer = net.network.layers[i];
    const QuantizedLayer& q = net.layers[i];
    const Checker check(origin, layer.name);
    if (layer.batch_norm) check.fail("batch_norm", "true", "false (folded)");
    check.quant("activation", q.out);
    check.clamp("activation clamp", q.act_min, q.act_max, -128, 127);
    check_weights(check, layer, q, net.weight_type_of(i));
    if (q.weight_type && !has_weights(layer))
      check.fail("weight type", name_of(*q.weight_type), "none for a layer without weights");
    check_concat(check, net, i);
    check_operator(check, layer, q);
  }
  check_difference(net, origin);
  if (net.logits.requant.empty()) return;
  const Layer& head = net.network.layers[static_cast<std::size_t>(net.network.logits_layer())];
  const Checker check(origin, head.name);
  check.scale("logit scale", net.logits.scale);
  check.clamp("logit clamp", net.logits.act_min, net.logits.act_max, -32768, 32767);
  check.count("logit requantization", net.logits.requant.size(),
              static_cast<std::size_t>(head.filters));
  check.requant("logit requantization", net.logits.requant);
  check.range("loss multiplier", net.logits.loss_multiplier, 0, spec::kLossMultiplierMax);
  check.range("loss shift", net.logits.loss_shift, 0, spec::kLossShiftMax);
}

std::uint64_t weights_hash(const QuantizedNetwork& network) {
  std::uint64_t h = 0;
  for (const QuantizedLayer& layer : network.layers) {
    h = xxh64(bytes_of(std::span(layer.weights)), h);
    h = xxh64(bytes_of(std::span(layer.bias)), h);
  }
  return h;
}

FloatParams<float> dequantize(const QuantizedNetwork& net) {
  FloatParams<float> out = zero_params<float>(net.network);
  for (std::size_t i = 0; i < net.layers.size(); ++i) {
    const Layer& layer = net.network.layers[i];
    const QuantizedLayer& q = net.layers[i];
    if (!has_weights(layer)) continue;
    const double in_scale = net.quant_of(layer.inputs[0]).scale;
    for (int r = 0; r < q.rows; ++r) {
      for (int c = 0; c < q.columns; ++c) {
        const auto k = static_cast<std::size_t>(r) * static_cast<std::size_t>(q.columns) +
                       static_cast<std::size_t>(c);
        const double scale = q.weight_scale[static_cast<std::size_t>(channel_of(layer, r, c))];
        out.layers[i].weights[k] = static_cast<float>(q.weights[k] * scale);
      }
    }
    for (std::size_t o = 0; o < q.bias.size(); ++o)
      out.layers[i].bias[o] = static_cast<float>(q.bias[o] * (in_scale * q.weight_scale[o]));
  }
  return out;
}

void quantize_activations(std::span<const float> from, const TensorQuant& quant,
                          std::span<std::int8_t> to) {
  if (from.size() != to.size())
    throw Error(ErrorKind::input,
                fmt::format("{} activations for {} places", from.size(), to.size()));
  const double inverse = 1.0 / quant.scale;
  for (std::size_t i = 0; i < from.size(); ++i) {
    if (std::isnan(from[i]))
      throw Error(ErrorKind::input, fmt::format("activation {} is nan, expected a number", i));
    const double q = std::round(from[i] * inverse) + quant.zero_point;
    to[i] = static_cast<std::int8_t>(std::clamp(q, -128.0, 127.0));
  }
}

void dequantize_activations(std::span<const std::int8_t> from, const TensorQuant& quant,
                            std::span<float> to) {
  if (from.size() != to.size())
    throw Error(ErrorKind::input,
                fmt::format("{} activations for {} places", from.size(), to.size()));
  for (std::size_t i = 0; i < from.size(); ++i)
    to[i] = quant.scale * static_cast<float>(from[i] - quant.zero_point);
}

}  // namespace lastmile
