// SPDX-License-Identifier: Apache-2.0
// An interpreter of int8 TensorFlow Lite files for tests: operator by operator on the file's own
// tensors, in the arithmetic of the reference kernels (gemmlowp's 32-bit form). It shares with the
// importer only the accessors of the file.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <span>
#include <stdexcept>
#include <utility>
#include <vector>

#include "sw/import/tflite_schema.hpp"

namespace lastmile::testing {

class TfliteReference {
 public:
  explicit TfliteReference(std::span<const std::uint8_t> bytes)
      : model_(flatbuffers::GetRoot<tflite::Model>(bytes.data())),
        graph_(model_->graphs()->Get(0)),
        data_(graph_->tensors()->size()) {}

  // One example; what every operator put out stays readable in `values`.
  std::vector<std::int8_t> run(std::span<const std::int8_t> input) {
    data_[at(graph_->inputs()->Get(0))].assign(input.begin(), input.end());
    for (const tflite::Operation* op : *graph_->operators()) step(*op);
    return data_[at(graph_->outputs()->Get(0))];
  }
  [[nodiscard]] const std::vector<std::int8_t>& values(int tensor) const {
    return data_[at(tensor)];
  }

 private:
  struct Multiplier {
    std::int32_t m = 0;
    int shift = 0;
  };
  static std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

  static Multiplier multiplier(double real) {
    if (real == 0) return {};
    int shift = 0;
    std::int64_t q = std::llround(std::frexp(real, &shift) * 2147483648.0);
    if (q == 2147483648LL) q /= 2, ++shift;
    if (shift < -31) return {};
    return {static_cast<std::int32_t>(q), shift};
  }
  static std::int32_t high_mul(std::int32_t a, std::int32_t b) {
    if (a == b && a == std::numeric_limits<std::int32_t>::min())
      return std::numeric_limits<std::int32_t>::max();
    const std::int64_t ab = static_cast<std::int64_t>(a) * b;
    const std::int64_t nudge = ab >= 0 ? 1LL << 30 : 1 - (1LL << 30);
    return static_cast<std::int32_t>((ab + nudge) / (1LL << 31));
  }
  static std::int32_t divide_by_power(std::int32_t x, int exponent) {
    const auto mask = static_cast<std::int32_t>((1LL << exponent) - 1);
    const std::int32_t remainder = x & mask;
    const std::int32_t threshold = (mask >> 1) + (x < 0 ? 1 : 0);
    return (x >> exponent) + (remainder > threshold ? 1 : 0);
  }
  static std::int32_t scaled(std::int32_t x, Multiplier f) {
    const int left = f.shift > 0 ? f.shift : 0, right = f.shift > 0 ? 0 : -f.shift;
    return divide_by_power(
        high_mul(static_cast<std::int32_t>(static_cast<std::int64_t>(x) * (1LL << left)), f.m),
        right);
  }

  [[nodiscard]] const tflite::Tensor& tensor(int t) const {
    return *graph_->tensors()->Get(static_cast<std::uint32_t>(t));
  }
  [[nodiscard]] float scale(int t) const { return tensor(t).quantization()->scale()->Get(0); }
  [[nodiscard]] std::int32_t zero(int t) const {
    return static_cast<std::int32_t>(tensor(t).quantization()->zero_point()->Get(0));
  }
  // n, h, w, c with missing dimensions in front as 1.
  [[nodiscard]] std::vector<int> shape4(int t) const {
    std::vector<int> s(tensor(t).shape()->begin(), tensor(t).shape()->end());
    while (s.size() < 4) s.insert(s.begin(), 1);
    return s;
  }
  template <class T>
  [[nodiscard]] std::vector<T> constant(int t) const {
    const auto* bytes = model_->buffers()->Get(tensor(t).buffer())->data();
    std::vector<T> out(bytes->size() / sizeof(T));
    std::memcpy(out.data(), bytes->data(), bytes->size());
    return out;
  }
  struct Range {
    std::int32_t low, high;
  };
  [[nodiscard]] Range clamp_of(int fused, int out) const {
    Range r{-128, 127};
    const auto level = [&](float f) {
      return zero(out) + static_cast<std::int32_t>(std::round(f / scale(out)));
    };
    if (fused == 1 || fused == 3) r.low = std::max(r.low, level(0));
    if (fused == 3) r.high = std::min(r.high, level(6));
    return r;
  }
  static std::int8_t fit(std::int32_t x, Range r) {
    return static_cast<std::int8_t>(std::min(std::max(x, r.low), r.high));
  }
  static int pad_before(int kind, int in, int out, int kernel, int stride, int dilation) {
    if (kind == 1) return 0;
    return std::max((out - 1) * stride + (kernel - 1) * dilation + 1 - in, 0) / 2;
  }

  void step(const tflite::Operation& op) {
    using tflite::Operator;
    const int in = op.inputs()->Get(0), out = op.outputs()->Get(0);
    const Operator code = model_->codes()->Get(op.code())->code();
    switch (code) {
      case Operator::reshape:
      case Operator::squeeze:
      case Operator::expand_dims:
        data_[at(out)] = data_[at(in)];
        return;
      case Operator::conv_2d:
      case Operator::depthwise_conv_2d:
        return conv(op, in, out, code == Operator::depthwise_conv_2d);
      case Operator::fully_connected:
        return dense(op, in, out);
      case Operator::average_pool_2d:
      case Operator::max_pool_2d:
        return pool(op, in, out, code == Operator::max_pool_2d);
      case Operator::mean:
        return mean(in, out);
      case Operator::add:
        return add(op, in, op.inputs()->Get(1), out);
      case Operator::softmax:
        return softmax(in, out);
      case Operator::pad:
        return pad(op, in, out);
      case Operator::relu:
      case Operator::relu6:
        return rescale(in, out, clamp_of(code == Operator::relu ? 1 : 3, out));
      case Operator::quantize:
        return rescale(in, out, {-128, 127});
      default:
        throw std::runtime_error("the test's interpreter does not know this operator");
    }
  }

  void conv(const tflite::Operation& op, int in, int out, bool depthwise) {
    const auto* o = op.options(depthwise ? tflite::OptionsType::depthwise_conv_2d
                                         : tflite::OptionsType::conv_2d);
    const int pad = o->value<std::int8_t>(0);
    const int sw = o->value<std::int32_t>(1), sh = o->value<std::int32_t>(2);
    const Range range = clamp_of(o->value<std::int8_t>(depthwise ? 4 : 3), out);
    const int dw = o->value<std::int32_t>(depthwise ? 5 : 4, 1);
    const int dh = o->value<std::int32_t>(depthwise ? 6 : 5, 1);
    const int weights_at = op.inputs()->Get(1);
    const auto is = shape4(in), os = shape4(out), ws = shape4(weights_at);
    const auto w = constant<std::int8_t>(weights_at);
    std::vector<std::int32_t> bias(at(os[3]), 0);
    if (op.inputs()->size() > 2 && op.inputs()->Get(2) >= 0)
      bias = constant<std::int32_t>(static_cast<int>(op.inputs()->Get(2)));
    const auto* scales = tensor(weights_at).quantization()->scale();
    const int top = pad_before(pad, is[1], os[1], ws[1], sh, dh);
    const int left = pad_before(pad, is[2], os[2], ws[2], sw, dw);
    const int group_in = depthwise ? 1 : ws[3];
    const int group_out = depthwise ? os[3] / is[3] : os[3] / (is[3] / ws[3]);
    auto& y = data_[at(out)];
    y.assign(at(std::int64_t{os[1]} * os[2] * os[3]), 0);
    const auto& x = data_[at(in)];
    for (int oy = 0; oy < os[1]; ++oy) {
      for (int ox = 0; ox < os[2]; ++ox) {
        for (int oc = 0; oc < os[3]; ++oc) {
          const double s = scales->Get(scales->size() > 1 ? static_cast<std::uint32_t>(oc) : 0);
          const Multiplier f =
              multiplier(static_cast<double>(scale(in)) * s / static_cast<double>(scale(out)));
          std::int32_t acc = 0;
          for (int ky = 0; ky < ws[1]; ++ky) {
            for (int kx = 0; kx < ws[2]; ++kx) {
              const int iy = oy * sh - top + ky * dh, ix = ox * sw - left + kx * dw;
              if (iy < 0 || iy >= is[1] || ix < 0 || ix >= is[2]) continue;
              for (int c = 0; c < group_in; ++c) {
                const int ic = oc / group_out * group_in + c;
                const int k = depthwise ? (ky * ws[2] + kx) * os[3] + oc
                                        : ((oc * ws[1] + ky) * ws[2] + kx) * group_in + c;
                acc += w[at(k)] * (x[at((iy * is[2] + ix) * is[3] + ic)] - zero(in));
              }
            }
          }
          y[at((oy * os[2] + ox) * os[3] + oc)] =
              fit(scaled(acc + bias[at(oc)], f) + zero(out), range);
        }
      }
    }
  }

  void dense(const tflite::Operation& op, int in, int out) {
    const auto* o = op.options(tflite::OptionsType::fully_connected);
    const Range range = clamp_of(o->value<std::int8_t>(0), out);
    const int weights_at = op.inputs()->Get(1);
    const auto w = constant<std::int8_t>(weights_at);
    const int units = tensor(weights_at).shape()->Get(0),
              depth = tensor(weights_at).shape()->Get(1);
    std::vector<std::int32_t> bias(at(units), 0);
    if (op.inputs()->size() > 2 && op.inputs()->Get(2) >= 0)
      bias = constant<std::int32_t>(static_cast<int>(op.inputs()->Get(2)));
    const auto& x = data_[at(in)];
    auto& y = data_[at(out)];
    y.clear();
    const auto* scales = tensor(weights_at).quantization()->scale();
    for (std::size_t row = 0; row * at(depth) < x.size(); ++row) {
      for (int u = 0; u < units; ++u) {
        double product = static_cast<double>(scale(in) * scales->Get(0));
        if (scales->size() > 1)
          product = static_cast<double>(scale(in)) *
                    static_cast<double>(scales->Get(static_cast<std::uint32_t>(u)));
        std::int32_t acc = bias[at(u)];
        for (int k = 0; k < depth; ++k)
          acc += w[at(u * depth + k)] * (x[row * at(depth) + at(k)] - zero(in));
        y.push_back(fit(
            scaled(acc, multiplier(product / static_cast<double>(scale(out)))) + zero(out), range));
      }
    }
  }

  void pool(const tflite::Operation& op, int in, int out, bool largest) {
    const auto* o = op.options(tflite::OptionsType::pool_2d);
    const int pad = o->value<std::int8_t>(0);
    const int sw = o->value<std::int32_t>(1), sh = o->value<std::int32_t>(2);
    const int kw = o->value<std::int32_t>(3), kh = o->value<std::int32_t>(4);
    const Range range = clamp_of(o->value<std::int8_t>(5), out);
    const auto is = shape4(in), os = shape4(out);
    const int top = pad_before(pad, is[1], os[1], kh, sh, 1);
    const int left = pad_before(pad, is[2], os[2], kw, sw, 1);
    const auto& x = data_[at(in)];
    auto& y = data_[at(out)];
    y.clear();
    for (int oy = 0; oy < os[1]; ++oy) {
      for (int ox = 0; ox < os[2]; ++ox) {
        for (int c = 0; c < os[3]; ++c) {
          std::int32_t sum = 0, count = 0, most = -128;
          for (int ky = 0; ky < kh; ++ky) {
            for (int kx = 0; kx < kw; ++kx) {
              const int iy = oy * sh - top + ky, ix = ox * sw - left + kx;
              if (iy < 0 || iy >= is[1] || ix < 0 || ix >= is[2]) continue;
              const std::int32_t v = x[at((iy * is[2] + ix) * is[3] + c)];
              sum += v;
              ++count;
              most = std::max(most, v);
            }
          }
          const std::int32_t average =
              sum > 0 ? (sum + count / 2) / count : (sum - count / 2) / count;
          y.push_back(fit(largest ? most : average, range));
        }
      }
    }
  }

  void mean(int in, int out) {
    const auto is = shape4(in);
    const std::int64_t count = std::int64_t{is[1]} * is[2];
    Multiplier f = multiplier(static_cast<double>(scale(in)) / static_cast<double>(scale(out)));
    int shift = static_cast<int>(std::floor(std::log2(static_cast<double>(count))));
    shift = std::min({shift, 32, 31 + f.shift});
    f.m = static_cast<std::int32_t>((static_cast<std::int64_t>(f.m) << shift) / count);
    f.shift -= shift;
    const auto& x = data_[at(in)];
    auto& y = data_[at(out)];
    y.clear();
    for (int c = 0; c < is[3]; ++c) {
      std::int32_t sum = 0;
      for (std::int64_t p = 0; p < count; ++p) sum += x[at(p * is[3] + c)] - zero(in);
      y.push_back(fit(scaled(sum, f) + zero(out), {-128, 127}));
    }
  }

  void add(const tflite::Operation& op, int a, int b, int out) {
    const auto* o = op.options(tflite::OptionsType::add);
    const Range range = clamp_of(o == nullptr ? 0 : o->value<std::int8_t>(0), out);
    const double twice = 2 * static_cast<double>(std::max(scale(a), scale(b)));
    const Multiplier fa = multiplier(static_cast<double>(scale(a)) / twice);
    const Multiplier fb = multiplier(static_cast<double>(scale(b)) / twice);
    const Multiplier fo = multiplier(twice / ((1 << 20) * static_cast<double>(scale(out))));
    const auto &xa = data_[at(a)], &xb = data_[at(b)];
    auto& y = data_[at(out)];
    y.clear();
    for (std::size_t i = 0; i < xa.size(); ++i) {
      const std::int32_t pa = scaled((xa[i] - zero(a)) * (1 << 20), fa);
      const std::int32_t pb = scaled((xb[i] - zero(b)) * (1 << 20), fb);
      y.push_back(fit(scaled(pa + pb, fo) + zero(out), range));
    }
  }

  // The fixed-point reference equals the correctly rounded real softmax.
  void softmax(int in, int out) {
    const auto& x = data_[at(in)];
    const int most = *std::max_element(x.begin(), x.end());
    double sum = 0;
    for (const std::int8_t v : x) sum += std::exp(static_cast<double>(scale(in)) * (v - most));
    auto& y = data_[at(out)];
    y.clear();
    for (const std::int8_t v : x) {
      const double p = std::exp(static_cast<double>(scale(in)) * (v - most)) / sum;
      y.push_back(fit(static_cast<std::int32_t>(std::lround(256 * p)) - 128, {-128, 127}));
    }
  }

  void pad(const tflite::Operation& op, int in, int out) {
    const auto p = constant<std::int32_t>(static_cast<int>(op.inputs()->Get(1)));
    const auto is = shape4(in), os = shape4(out);
    auto& y = data_[at(out)];
    y.assign(at(std::int64_t{os[1]} * os[2] * os[3]), static_cast<std::int8_t>(zero(out)));
    for (int i = 0; i < is[1]; ++i)
      for (int j = 0; j < is[2]; ++j)
        for (int c = 0; c < is[3]; ++c)
          y[at(((i + p[2]) * os[2] + j + p[4]) * os[3] + c)] =
              data_[at(in)][at((i * is[2] + j) * is[3] + c)];
  }

  void rescale(int in, int out, Range range) {
    const Multiplier f =
        multiplier(static_cast<double>(scale(in)) / static_cast<double>(scale(out)));
    auto& y = data_[at(out)];
    y.clear();
    for (const std::int8_t v : data_[at(in)])
      y.push_back(fit(scaled(v - zero(in), f) + zero(out), range));
  }

  const tflite::Model* model_;
  const tflite::SubGraph* graph_;
  std::vector<std::vector<std::int8_t>> data_;
};

}  // namespace lastmile::testing
