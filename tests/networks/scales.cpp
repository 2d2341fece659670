// SPDX-License-Identifier: Apache-2.0
#include "tests/networks/scales.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <stdexcept>

namespace lastmile::networks {
namespace {

constexpr double kClose = 2e-6;  // relative: scales are float32

class Check {
 public:
  Check(const QuantizedNetwork& q, const Network& network, const FloatParams<float>& params,
        const CalibrationRanges& ranges, const QuantizeOptions& options)
      : q_(q), network_(network), params_(params), ranges_(ranges), o_(options) {}

  void run() {
    where_ = "input";
    if (o_.input_range)
      activation(q_.input, o_.input_range->low, o_.input_range->high);
    else
      range(q_.input, ranges_.input);
    for (i_ = 0; i_ < q_.layers.size(); ++i_) {
      where_ = network_.layers[i_].name;
      layer();
    }
  }

 private:
  [[noreturn]] void fail(const std::string& text) const {
    throw std::runtime_error(fmt::format("quantizer: {}: {}", where_, text));
  }
  void near(const std::string& what, double found, double expected, double tolerance) const {
    if (!(std::abs(found - expected) <= tolerance))
      fail(fmt::format("{} is {}, expected {}", what, found, expected));
  }
  void same(const std::string& what, double found, double expected) const {
    near(what, found, expected, kClose * std::abs(expected));
  }
  void factor(const std::string& what, const Requant& r, double expected) const {
    if (expected < 0x1p-41) expected = 0x1p-41;
    if (expected > 0x1p30 * (1 - kClose)) return;
    same(what, std::ldexp(r.multiplier, r.exponent - 31), expected);
    if (r.multiplier < 1 << 30) fail(what + " is not normalized");
  }

  void activation(const TensorQuant& t, double low, double high) const {
    low = std::min(low, 0.0), high = std::max(high, 0.0);
    const double scale = high > low ? std::max((high - low) / 255, 0x1p-100) : 1;
    same("scale", t.scale, scale);
    near("zero point", t.zero_point, high > low ? std::clamp(-128 - low / scale, -128.0, 127.0) : 0,
         0.51);
  }
  void range(const TensorQuant& t, const TensorRange& r) const {
    if (o_.method == CalibrationMethod::min_max)
      return activation(t, r.min() * o_.range_headroom, r.max() * o_.range_headroom);
    // Another method cuts: never beyond what was seen.
    if (r.max() > 0 || r.min() < 0) {
      const double span = std::max<double>(r.max(), 0) - std::min<double>(r.min(), 0);
      if (t.scale > std::max(span * o_.range_headroom / 255, 0x1p-100) * 1.001)
        fail("the scale is beyond what was seen");
    }
  }
  void clamp(std::int32_t low, std::int32_t high, const TensorQuant& t) const {
    const Activation a = network_.layers[i_].activation;
    const int expected = a == Activation::none ? -128 : t.zero_point;
    const double six = a == Activation::relu6 ? 6.0 / t.scale + t.zero_point : 127.0;
    near("clamp below", low, expected, 0);
    near("clamp above", high, std::clamp<double>(six, expected, 127), 0.51);
  }

  void layer() const {
    const Layer& l = network_.layers[i_];
    const QuantizedLayer& q = q_.layers[i_];
    const TensorQuant& in = q_.quant_of(l.inputs[0]);
    switch (l.op) {
      case Op::max_pool2d:
      case Op::average_pool2d:
      case Op::global_average_pool:
        if (!(q.out == in)) fail("a pool's output has another scale than its input");
        return clamp(q.act_min, q.act_max, q.out);
      case Op::concat:
        if (!(q.out == in)) fail("a concat's output has another scale than its input");
        for (std::size_t k = 0; k < l.constants.size(); ++k)
          near("constant", q.constants[k],
               std::clamp(l.constants[k] / q.out.scale + q.out.zero_point, -128.0, 127.0), 0.51);
        return;
      case Op::softmax: {
        same("softmax scale", q.out.scale, 1.0 / 256);
        near("softmax zero point", q.out.zero_point, -128, 0);
        if (in.scale > 15) return;  // cut to 31 bits
        const SoftmaxQuant& s = q.softmax;
        const double per_step = std::ldexp(s.multiplier, s.left_shift - 31);
        same("softmax multiplier", per_step, std::ldexp(static_cast<double>(in.scale), 26));
        near("smallest difference", s.diff_min, -std::floor(31 * std::ldexp(1, 26 - s.left_shift)),
             0);
        return;
      }
      case Op::add: {
        range(q.out, ranges_.layers[i_]);
        clamp(q.add.act_min, q.add.act_max, q.out);
        const TensorQuant& other = q_.quant_of(l.inputs[1]);
        const double twice = 2.0 * std::max(in.scale, other.scale);
        factor("first addend", {q.add.m1, q.add.e1}, in.scale / twice);
        factor("second addend", {q.add.m2, q.add.e2}, other.scale / twice);
        factor("sum", {q.add.mo, q.add.eo}, twice / (0x1p20 * q.out.scale));
        if (q.add.zp1 != in.zero_point || q.add.zp2 != other.zero_point ||
            q.add.zp_out != q.out.zero_point || q.add.left_shift != 20)
          fail("zero points or shift of the addition");
        return;
      }
      case Op::conv2d:
      case Op::depthwise_conv2d:
      case Op::fully_connected:
        range(q.out, ranges_.layers[i_]);
        clamp(q.act_min, q.act_max, q.out);
        weights(l, q, in.scale);
        if (static_cast<int>(i_) == network_.logits_layer()) logits(l, q, in.scale);
    }
  }

  void weights(const Layer& l, const QuantizedLayer& q, double in_scale) const {
    const LayerParams<float>& p = params_.layers[i_];
    const auto filters = static_cast<std::size_t>(l.filters);
    const std::size_t per_filter = p.weights.size() / filters;
    const double limit = q_.weight_type_of(i_) == WeightType::w8 ? 127 : 32767;
    std::vector<double> gain(filters, 1), bias(filters, 0), widest(filters, 0);
    for (std::size_t o = 0; o < filters; ++o) {
      if (l.batch_norm) {
        gain[o] = p.gamma[o] / std::sqrt(static_cast<double>(p.variance[o]) + 1e-3);
        bias[o] = p.beta[o] - p.mean[o] * gain[o];
      } else if (l.bias) {
        bias[o] = p.bias[o];
      }
    }
    const auto channel = [&](std::size_t k) {
      return l.op == Op::depthwise_conv2d ? k % filters : k / per_filter;
    };
    for (std::size_t k = 0; k < p.weights.size(); ++k) {
      const std::size_t o = channel(k);
      const double w = p.weights[k] * gain[o], scale = q.weight_scale[o];
      widest[o] = std::max(widest[o], std::abs(w));
      near(fmt::format("weight {}", k), q.weights[k] * scale, w,
           0.501 * scale + 1e-5 * std::abs(w));
      if (std::abs(q.weights[k]) > limit) fail(fmt::format("weight {} is {}", k, q.weights[k]));
    }
    const double most = *std::max_element(widest.begin(), widest.end());
    double floor = o_.channel_floor.value_or(limit == 127 ? 1.0 / 64 : 1.0 / 8);
    if (!o_.per_channel) floor = 1;
    for (std::size_t o = 0; o < filters; ++o) {
      const double scale = q.weight_scale[o];
      double expected = std::max(widest[o], floor * most) * o_.weight_headroom / limit;
      if (most == 0) expected = 1 / limit;
      // Batch norm is folded in float: a difference may cancel.
      const double slack =
          l.batch_norm ? 1e-6 * (std::abs(p.beta[o]) + std::abs(p.mean[o] * gain[o])) : 0;
      const double per_bias = 1 / (in_scale * 0x1p30);
      if (o_.per_channel) {
        if (l.bias) expected = std::max(expected, std::abs(bias[o]) * per_bias);
        near("weight scale", scale, std::max(expected, 0x1p-100), 1e-5 * scale + slack * per_bias);
      } else if (scale < expected * (1 - 1e-5) || scale != q.weight_scale[0]) {
        fail("the weight scale of all channels");
      }
      factor("multiplier", q.requant[o], in_scale * scale / q.out.scale);
      if (!l.bias) continue;
      const double lsb = in_scale * scale;
      near(fmt::format("bias {}", o), q.bias[o] * lsb, bias[o],
           0.501 * lsb + 1e-5 * std::abs(bias[o]) + slack);
    }
  }

  void logits(const Layer& l, const QuantizedLayer& q, double in_scale) const {
    const TensorRange& r = ranges_.layers[i_];
    const LogitQuant& g = q_.logits;
    const double largest = std::max(
        {std::abs(static_cast<double>(r.min())), std::abs(static_cast<double>(r.max())), 1e-3});
    same("logit scale", g.scale, largest * o_.logit_headroom / 32767);
    for (std::size_t o = 0; o < q.weight_scale.size(); ++o)
      factor("logit multiplier", g.requant[o], in_scale * q.weight_scale[o] / g.scale);
    near("loss multiplier", std::ldexp(g.loss_multiplier, -g.loss_shift),
         std::ldexp(g.scale / std::numbers::ln2, 20),
         std::ldexp(g.scale / std::numbers::ln2, 20) * 0x1.01p-16);
    near("logit clamp below", g.act_min, l.activation == Activation::none ? -32768 : 0, 0);
    near("logit clamp above", g.act_max,
         l.activation == Activation::relu6 ? std::min(32767.0, 6.0 / g.scale) : 32767, 0.51);
  }

  const QuantizedNetwork& q_;
  const Network& network_;
  const FloatParams<float>& params_;
  const CalibrationRanges& ranges_;
  const QuantizeOptions& o_;
  std::size_t i_ = 0;
  std::string where_;
};

}  // namespace

void check_scales(const QuantizedNetwork& q, const Network& network,
                  const FloatParams<float>& params, const CalibrationRanges& ranges,
                  const QuantizeOptions& options) {
  Check(q, network, params, ranges, options).run();
}

}  // namespace lastmile::networks
