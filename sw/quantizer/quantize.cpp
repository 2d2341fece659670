// SPDX-License-Identifier: Apache-2.0
#include "sw/quantizer/quantize.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "cmodel/numeric/loss_units.hpp"
#include "cmodel/spec/npu_spec.hpp"
#include "sw/base/error.hpp"
#include "sw/golden/golden.hpp"

namespace lastmile {
namespace {

// Scales below this would leave float's normal range on the way to a multiplier.
constexpr double kSmallestScale = 0x1p-100;
// Biases keep a bit of room: they move in training too.
constexpr double kBiasRoom = 0x1p30;
// Logits that are all but zero get this range, so that the loss multiplier stays representable.
constexpr double kSmallestLogitRange = 1e-3;

[[noreturn]] void fail(const std::string& text) {
  throw Error(ErrorKind::input, "quantizer: " + text);
}

// The width of each layer that has one of its own.
void choose_widths(const QuantizeOptions& o, QuantizedNetwork& out) {
  for (const auto& [name, type] : o.layer_weights) {
    const int i = name == "head" && find_layer(out.network, name) < 0
                      ? out.network.logits_layer()
                      : find_layer(out.network, name);
    if (i < 0 || !has_weights(out.network.layers[static_cast<std::size_t>(i)]))
      throw Error(
          ErrorKind::usage,
          fmt::format("quantizer: weights of layer '{}', expected \"head\" or the name of a "
                      "layer with weights of network '{}'",
                      name, out.network.name));
    if (type != out.weight_type) out.layers[static_cast<std::size_t>(i)].weight_type = type;
  }
}

void check_options(const QuantizeOptions& o) {
  const auto check = [](const char* name, double value, double low, double high) {
    if (!(value >= low && value <= high))
      throw Error(ErrorKind::usage,
                  fmt::format("quantizer: {} is {}, expected {} to {}", name, value, low, high));
  };
  check("percentile", o.percentile, 50, 100);
  check("weight headroom", o.weight_headroom, 1, 1000);
  check("logit headroom", o.logit_headroom, 1, 1000);
  check("range headroom", o.range_headroom, 1, 1000);
  if (o.channel_floor) check("channel floor", *o.channel_floor, 0, 1);
}

// One scale per output channel from the largest weight and the bias of each.
std::vector<float> weight_scales(const Layer& layer, const LayerParams<float>& params,
                                 double in_scale, const QuantizeOptions& o, WeightType type) {
  const auto filters = static_cast<std::size_t>(layer.filters);
  const MatrixShape shape = matrix_shape(layer);
  std::vector<double> largest(filters, 0);
  for (int r = 0; r < shape.rows; ++r) {
    for (int c = 0; c < shape.columns; ++c) {
      const auto k = static_cast<std::size_t>(r) * static_cast<std::size_t>(shape.columns) +
                     static_cast<std::size_t>(c);
      double& m = largest[static_cast<std::size_t>(channel_of(layer, r, c))];
      m = std::max(m, static_cast<double>(std::abs(params.weights[k])));
    }
  }
  const double widest = *std::max_element(largest.begin(), largest.end());
  const double floor =
      o.per_channel ? o.channel_floor.value_or(type == WeightType::w16 ? 1.0 / 8 : 1.0 / 64) : 1.0;
  std::vector<double> scales(filters);
  for (std::size_t i = 0; i < filters; ++i) {
    const double range = std::max(largest[i], floor * widest) * o.weight_headroom;
    // A layer of zeros gets the range of a typical initial weight.
    scales[i] = (range > 0 ? range : 1.0) / weight_limit(type);
    if (layer.bias)
      scales[i] = std::max(scales[i], std::abs(params.bias[i]) / (in_scale * kBiasRoom));
    scales[i] = std::max(scales[i], kSmallestScale);
  }
  if (!o.per_channel)
    std::fill(scales.begin(), scales.end(), *std::max_element(scales.begin(), scales.end()));
  return {scales.begin(), scales.end()};
}

void quantize_weights(const Layer& layer, const LayerParams<float>& params, double in_scale,
                      const QuantizeOptions& o, QuantizedLayer& q) {
  const WeightType type = q.weight_type.value_or(o.weight_type);
  const MatrixShape shape = matrix_shape(layer);
  q.rows = shape.rows;
  q.columns = shape.columns;
  q.weight_scale = weight_scales(layer, params, in_scale, o, type);
  const double limit = weight_limit(type);
  q.weights.resize(params.weights.size());
  for (int r = 0; r < shape.rows; ++r) {
    for (int c = 0; c < shape.columns; ++c) {
      const auto k = static_cast<std::size_t>(r) * static_cast<std::size_t>(shape.columns) +
                     static_cast<std::size_t>(c);
      const double scale = q.weight_scale[static_cast<std::size_t>(channel_of(layer, r, c))];
      q.weights[k] = static_cast<std::int16_t>(
          std::clamp(std::round(params.weights[k] / scale), -limit, limit));
    }
  }
  if (!layer.bias) return;
  for (std::size_t i = 0; i < q.weight_scale.size(); ++i) {
    const double b = std::round(params.bias[i] / (in_scale * q.weight_scale[i]));
    if (!(std::abs(b) <= numeric::kBiasMax))
      fail(fmt::format("layer '{}': bias {} is {} LSBs, expected 32 bits", layer.name, i, b));
    q.bias.push_back(static_cast<std::int32_t>(b));
  }
}

std::vector<Requant> requant_table(const Layer& layer, std::span<const float> weight_scale,
                                   double in_scale, double out_scale) {
  std::vector<Requant> table;
  for (std::size_t i = 0; i < weight_scale.size(); ++i) {
    table.push_back(
        encode_requant(in_scale * weight_scale[i] / out_scale,
                       fmt::format("layer '{}', channel {}: scale ratio", layer.name, i)));
  }
  return table;
}

}  // namespace

std::vector<float> trained_deviation(const LayerParams<float>& p) {
  std::vector<float> out;
  for (std::size_t c = 0; c < p.gamma.size(); ++c)
    out.push_back(static_cast<float>(
        std::abs(p.gamma[c]) * std::sqrt(p.variance[c] / (p.variance[c] + kBatchNormEpsilon))));
  return out;
}

void TensorRange::widen(double magnitude) {
  if (bins_.empty()) {
    bins_.assign(kBins, 0);
    range_ = 0x1p-20;
  }
  while (!(magnitude < range_)) {  // two bins become one, around the middle
    std::vector<std::int64_t> wider(kBins, 0);
    for (std::size_t i = 0; i < kBins; ++i) wider[kBins / 4 + i / 2] += bins_[i];
    bins_ = std::move(wider);
    range_ *= 2;
  }
}

void TensorRange::observe(std::span<const float> values, const std::string& name) {
  for (std::size_t i = 0; i < values.size(); ++i) {
    const float v = values[i];
    if (!std::isfinite(v))
      fail(fmt::format("{}: value {} is {}, expected a finite number", name, i, v));
    if (count_ == 0) min_ = max_ = v;
    min_ = std::min(min_, v);
    max_ = std::max(max_, v);
    ++count_;
    if (bins_.empty() || !(std::abs(static_cast<double>(v)) < range_))
      widen(std::abs(static_cast<double>(v)));
    const double bin = (v + range_) / (2 * range_) * static_cast<double>(kBins);
    ++bins_[std::min(static_cast<std::size_t>(bin), kBins - 1)];
  }
}

double TensorRange::bin_low(std::size_t bin) const {
  return -range_ + 2 * range_ * static_cast<double>(bin) / static_cast<double>(kBins);
}

TensorRange::Interval TensorRange::interval(CalibrationMethod method, double percentile) const {
  const Interval whole{std::min<double>(min_, 0), std::max<double>(max_, 0)};
  if (count_ == 0 || method == CalibrationMethod::min_max || whole.low == whole.high) return whole;
  if (method == CalibrationMethod::percentile) {
    const auto cut =
        static_cast<std::int64_t>(static_cast<double>(count_) * (100 - percentile) / 200);
    Interval out = whole;
    std::int64_t below = 0, above = 0;
    for (std::size_t i = 0; i < kBins; ++i) {
      below += bins_[i];
      if (below > cut) {
        out.low = std::max(out.low, bin_low(i));
        break;
      }
    }
    for (std::size_t i = kBins; i-- > 0;) {
      above += bins_[i];
      if (above > cut) {
        out.high = std::min(out.high, bin_low(i + 1));
        break;
      }
    }
    return {std::min(out.low, 0.0), std::max(out.high, 0.0)};
  }
  Interval best = whole;
  double best_error = -1;
  for (int percent = 100; percent >= 10; --percent) {
    const Interval candidate{whole.low * percent / 100, whole.high * percent / 100};
    const TensorQuant q = choose_quant(candidate.low, candidate.high);
    double error = 0;
    for (std::size_t i = 0; i < kBins; ++i) {
      if (bins_[i] == 0) continue;
      const double x =
          std::clamp(bin_low(i) + range_ / static_cast<double>(kBins), whole.low, whole.high);
      const double level = std::clamp(std::round(x / q.scale) + q.zero_point, -128.0, 127.0);
      const double d = x - q.scale * (level - q.zero_point);
      error += static_cast<double>(bins_[i]) * d * d;
    }
    if (best_error < 0 || error < best_error) {
      best_error = error;
      best = candidate;
    }
  }
  return best;
}

CalibrationRanges calibrate(const Golden<float>& golden, const FloatParams<float>& params,
                            std::span<const float> x) {
  const Network& net = golden.network();
  const auto each = static_cast<std::size_t>(net.input.elements());
  if (x.empty() || x.size() % each != 0) {
    fail(fmt::format("{} calibration values, expected a positive multiple of {}, the input's size",
                     x.size(), each));
  }
  CalibrationRanges out;
  out.layers.resize(net.layers.size());
  out.input.observe(x, "input");
  constexpr std::size_t kBatch = 64;  // bounds the memory of a trace
  for (std::size_t at = 0; at < x.size(); at += kBatch * each) {
    const auto part = x.subspan(at, std::min(kBatch * each, x.size() - at));
    const std::vector<LayerTrace<float>> trace = golden.trace(params, part);
    for (std::size_t i = 0; i < trace.size(); ++i)
      out.layers[i].observe(trace[i].post, "layer '" + net.layers[i].name + "'");
    if (!net.reconstructs()) continue;
    std::vector<float> difference = trace.back().post;
    for (std::size_t k = 0; k < difference.size(); ++k) difference[k] -= part[k];
    out.difference.observe(difference, "difference");
  }
  return out;
}

Requant encode_requant(double factor, const std::string& what) {
  if (!std::isfinite(factor) || factor <= 0 || factor >= 0x1p30)
    fail(fmt::format("{} is {}, expected a positive number below 2^30", what, factor));
  if (factor < std::ldexp(0.5, spec::kExponentMin)) return {1 << 30, spec::kExponentMin};
  int e = 0;
  const double f = std::frexp(factor, &e);
  auto m = static_cast<std::int64_t>(std::round(f * 0x1p31));
  if (m == std::int64_t{1} << 31) m /= 2, ++e;
  if (e > spec::kExponentMax) return {numeric::kBiasMax, spec::kExponentMax};
  return {static_cast<std::int32_t>(m), e};
}

LogitQuant encode_logits(const Layer& layer, std::span<const float> weight_scale, double in_scale,
                         double largest, double headroom) {
  LogitQuant out;
  largest = std::max(largest, kSmallestLogitRange);
  out.scale = static_cast<float>(largest * headroom / 32767);
  if (layer.activation != Activation::none) out.act_min = 0;
  if (layer.activation == Activation::relu6)
    out.act_max = static_cast<std::int32_t>(std::min(32767.0, std::round(6.0 / out.scale)));
  out.requant = requant_table(layer, weight_scale, in_scale, out.scale);

  // factor = f * 2^e, f in [1/2, 1): 16 bits of f, and shift 16 - e.
  int e = 0;
  const double f = std::frexp(static_cast<double>(out.scale) / numeric::kLn2 * 0x1p20, &e);
  auto m = static_cast<std::uint32_t>(std::lround(f * 65536));
  if (m == 65536) m = 32768, ++e;
  out.loss_multiplier = m;
  out.loss_shift = 16 - e;
  if (out.loss_shift < 0 || out.loss_shift > 31) {
    fail(fmt::format("layer '{}': logits reach {}, expected at most {:.0f}", layer.name, largest,
                     0x1p16 * 0x1p-20 * numeric::kLn2 * 32767 / headroom));
  }
  return out;
}

TensorQuant choose_quant(double low, double high) {
  low = std::min(low, 0.0);
  high = std::max(high, 0.0);
  if (!(high > low)) return {1, 0};
  const auto scale = static_cast<float>(std::max((high - low) / 255, kSmallestScale));
  const double zero = std::round(-128 - low / scale);
  return {scale, static_cast<std::int32_t>(std::clamp(zero, -128.0, 127.0))};
}

std::array<std::int32_t, 2> activation_clamp(Activation activation, const TensorQuant& quant) {
  std::array<std::int32_t, 2> clamp{-128, 127};
  if (activation != Activation::none) clamp[0] = quant.zero_point;
  if (activation == Activation::relu6) {
    const double six = std::round(6.0 / quant.scale) + quant.zero_point;
    clamp[1] = static_cast<std::int32_t>(std::clamp<double>(six, clamp[0], 127.0));
  }
  return clamp;
}

numeric::AddParams encode_add(const TensorQuant& a, const TensorQuant& b, const TensorQuant& out,
                              Activation activation) {
  numeric::AddParams p;
  p.zp1 = a.zero_point;
  p.zp2 = b.zero_point;
  p.zp_out = out.zero_point;
  p.left_shift = 20;
  const double twice_max = 2.0 * std::max<double>(a.scale, b.scale);
  const Requant first = encode_requant(a.scale / twice_max, "add: first input scale ratio");
  const Requant second = encode_requant(b.scale / twice_max, "add: second input scale ratio");
  const Requant sum = encode_requant(twice_max / (0x1p20 * out.scale), "add: output scale ratio");
  p.m1 = first.multiplier, p.e1 = first.exponent;
  p.m2 = second.multiplier, p.e2 = second.exponent;
  p.mo = sum.multiplier, p.eo = sum.exponent;
  const auto clamp = activation_clamp(activation, out);
  p.act_min = clamp[0];
  p.act_max = clamp[1];
  return p;
}

DifferenceQuant encode_difference(const TensorQuant& output, const TensorQuant& input,
                                  const TensorRange::Interval& range) {
  // The target domain is another one, and perturbed weights do worse.
  constexpr double kRoom = 2;
  const double largest = kRoom * std::max(-range.low, range.high);
  DifferenceQuant q;
  q.scale = std::max(output.scale, static_cast<float>(largest / numeric::kW8Max));
  q.add = encode_add(output, {input.scale, -1 - input.zero_point}, {q.scale, 0}, Activation::none);
  return q;
}

SoftmaxQuant encode_softmax(float input_scale, const std::string& what) {
  constexpr int kIntegerBits = 5;  // of the scaled difference: gemmlowp's exp takes Q5.26
  const double real = std::min(input_scale * 0x1p26, 0x1p31 - 1.0);
  if (!(real > 1))
    fail(fmt::format("{}: input scale is {}, expected more than 2^-26", what, input_scale));
  int shift = 0;
  const double f = std::frexp(real, &shift);
  auto m = static_cast<std::int64_t>(std::round(f * 0x1p31));
  if (m == std::int64_t{1} << 31) m /= 2, ++shift;
  if (shift > 30) {
    m = numeric::kBiasMax;
    shift = 30;
  }
  const double radius =
      ((1 << kIntegerBits) - 1) * std::ldexp(1.0, 31 - kIntegerBits) / std::ldexp(1.0, shift);
  return {static_cast<std::int32_t>(m), shift, -static_cast<std::int32_t>(std::floor(radius))};
}

bool encode_operator(const Layer& layer, const TensorQuant& a, const TensorQuant& b,
                     QuantizedLayer& q) {
  switch (layer.op) {
    case Op::add:
      try {
        q.add = encode_add(a, b, q.out, layer.activation);
      } catch (const Error& e) {
        throw Error(e.kind(), fmt::format("layer '{}': {}", layer.name, e.what()));
      }
      return true;
    case Op::softmax:
      q.out = {1.0F / 256, -128};
      q.softmax = encode_softmax(a.scale, "layer '" + layer.name + "'");
      return true;
    case Op::conv2d:
    case Op::depthwise_conv2d:
    case Op::fully_connected:
    case Op::max_pool2d:
    case Op::average_pool2d:
    case Op::global_average_pool:
    case Op::concat:
      break;
  }
  return false;
}

QuantizedNetwork quantize(const Network& network, const FloatParams<float>& params,
                          const CalibrationRanges& ranges, const QuantizeOptions& o) {
  check_options(o);
  check_params(network, params, "quantizer");
  if (ranges.layers.size() != network.layers.size() || ranges.input.count() == 0)
    fail("the calibration is of another network or saw no example");
  QuantizedNetwork out;
  out.network = fold_network(network);
  const FloatParams<float> folded = fold_params(network, params);
  check_params(out.network, folded, "quantizer: after folding batch norm");
  out.weight_type = o.weight_type;
  const auto quant_of_range = [&](const TensorRange& r) {
    const TensorRange::Interval i = r.interval(o.method, o.percentile);
    return choose_quant(i.low * o.range_headroom, i.high * o.range_headroom);
  };
  out.input = o.input_range ? choose_quant(o.input_range->low, o.input_range->high)
                            : quant_of_range(ranges.input);
  out.layers.resize(network.layers.size());
  choose_widths(o, out);
  for (std::size_t i = 0; i < out.layers.size(); ++i) {
    const Layer& layer = out.network.layers[i];
    QuantizedLayer& q = out.layers[i];
    const TensorQuant in = out.quant_of(layer.inputs[0]);
    q.out = traits(layer.op).keeps_quant ? in : quant_of_range(ranges.layers[i]);
    if (encode_operator(layer, in, out.quant_of(layer.inputs.back()), q)) continue;
    if (layer.op == Op::concat) {
      // The bytes of the inputs are taken over: what the output's quantization has to be follows.
      q.out = {static_cast<float>(in.scale * layer.parts[0].gain), in.zero_point};
      for (const double c : layer.constants)
        q.constants.push_back(static_cast<std::int8_t>(
            std::clamp(std::round(c / q.out.scale) + q.out.zero_point, -128.0, 127.0)));
      continue;
    }
    const auto clamp = activation_clamp(layer.activation, q.out);
    q.act_min = clamp[0];
    q.act_max = clamp[1];
    if (!has_weights(layer)) continue;
    quantize_weights(layer, folded.layers[i], in.scale, o, q);
    q.requant = requant_table(layer, q.weight_scale, in.scale, q.out.scale);
    if (network.layers[i].batch_norm && static_cast<int>(i) != out.network.logits_layer()) {
      // What the batch norm made of the data that it was trained on.
      q.mean = params.layers[i].beta;
      q.deviation = trained_deviation(params.layers[i]);
    }
  }
  const auto head = static_cast<std::size_t>(out.network.logits_layer());
  const Layer& layer = out.network.layers[head];
  if (out.network.reconstructs()) {
    out.difference = encode_difference(out.layers[head].out, out.input,
                                       ranges.difference.interval(o.method, o.percentile));
  } else if (has_weights(layer)) {
    const TensorRange& range = ranges.layers[head];
    const double largest = std::max(std::abs(static_cast<double>(range.min())),
                                    std::abs(static_cast<double>(range.max())));
    out.logits = encode_logits(layer, out.layers[head].weight_scale,
                               out.quant_of(layer.inputs[0]).scale, largest, o.logit_headroom);
  }
  check_quantized(out, "quantizer");
  return out;
}

}  // namespace lastmile
