// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/contract.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "sw/base/error.hpp"

namespace lastmile {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

Network without_activations(Network network) {
  for (Layer& l : network.layers) l.activation = Activation::none;
  return network;
}

// What requantization makes of one accumulator, with the saturation counters of the contract.
struct Drain {
  std::int32_t zero_point, act_min, act_max, type_min, type_max;
  std::uint64_t low = 0, high = 0;
  std::int32_t operator()(std::int64_t before_clamp) {
    const std::int64_t y = before_clamp + zero_point;
    low += y < type_min ? 1 : 0;
    high += y > type_max ? 1 : 0;
    return static_cast<std::int32_t>(std::clamp<std::int64_t>(y, act_min, act_max));
  }
};

std::vector<std::int8_t> pool(const Layer& l, const QuantizedLayer& q,
                              std::span<const std::int8_t> x) {
  const std::int64_t n = static_cast<std::int64_t>(x.size()) / l.in.elements();
  std::vector<std::int8_t> out;
  out.reserve(at(n * l.out.elements()));
  for (std::int64_t b = 0; b < n; ++b) {
    const auto in = x.subspan(at(b * l.in.elements()), at(l.in.elements()));
    for (int y = 0; y < l.out.h; ++y) {
      for (int xo = 0; xo < l.out.w; ++xo) {
        for (int c = 0; c < l.in.c; ++c) {
          std::int32_t sum = 0, count = 0, largest = -128;
          for (int ky = 0; ky < l.kernel_h; ++ky) {
            for (int kx = 0; kx < l.kernel_w; ++kx) {
              const int iy = y * l.stride_h - l.pad_top + ky * l.dilation_h;
              const int ix = xo * l.stride_w - l.pad_left + kx * l.dilation_w;
              if (iy < 0 || iy >= l.in.h || ix < 0 || ix >= l.in.w) continue;
              const int v{in[at((std::int64_t{iy} * l.in.w + ix) * l.in.c + c)]};
              sum += v, ++count, largest = std::max(largest, v);
            }
          }
          std::int32_t v = largest;
          if (l.op != Op::max_pool2d) v = count == 0 ? 0 : numeric::pool_average(sum, count);
          out.push_back(static_cast<std::int8_t>(std::clamp(v, q.act_min, q.act_max)));
        }
      }
    }
  }
  return out;
}

}  // namespace

ContractNetwork::ContractNetwork(const QuantizedNetwork& network, int threads)
    : network_(network), golden_(without_activations(network.network), threads) {
  integers_ = zero_params<double>(golden_.network());
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    integers_.layers[i].weights.assign(network.layers[i].weights.begin(),
                                       network.layers[i].weights.end());
    integers_.layers[i].bias.assign(network.layers[i].bias.begin(), network.layers[i].bias.end());
  }
}

ContractOutput ContractNetwork::run(int layer,
                                    const std::vector<std::span<const std::int8_t>>& inputs) const {
  const Layer& l = network_.network.layers.at(at(layer));
  const QuantizedLayer& q = network_.layers[at(layer)];
  ContractOutput r;
  if (traits(l.op).closing)
    throw Error(ErrorKind::usage, fmt::format("layer '{}' is a {}, expected a layer before it",
                                              l.name, name_of(l.op)));
  if (l.op == Op::add) {
    Drain drain{0, q.add.act_min, q.add.act_max, -128, 127};
    r.out.reserve(inputs[0].size());
    for (std::size_t k = 0; k < inputs[0].size(); ++k)
      r.out.push_back(static_cast<std::int8_t>(
          drain(numeric::add_unclamped(inputs[0][k], inputs[1][k], q.add))));
    r.sat_low = drain.low, r.sat_high = drain.high;
    return r;
  }
  if (l.op == Op::concat) {
    const std::size_t n = inputs[0].size() / at(l.parts[0].elements);
    for (std::size_t b = 0; b < n; ++b) {
      for (std::size_t k = 0; k < inputs.size(); ++k) {
        const auto part = inputs[k].subspan(b * at(l.parts[k].elements), at(l.parts[k].elements));
        r.out.insert(r.out.end(), part.begin(), part.end());
      }
      r.out.insert(r.out.end(), q.constants.begin(), q.constants.end());
    }
    return r;
  }
  if (!has_weights(l)) {
    if (!traits(l.op).window)
      throw Error(ErrorKind::usage, fmt::format("layer '{}' is a {}, which validate has no rule of "
                                                "integers for (sw/validate/contract.cpp)",
                                                l.name, name_of(l.op)));
    r.out = pool(l, q, inputs[0]);
    return r;
  }
  std::vector<double> x(inputs[0].size());
  const std::int32_t zp = network_.quant_of(l.inputs[0]).zero_point;
  std::transform(inputs[0].begin(), inputs[0].end(), x.begin(),
                 [zp](std::int8_t v) { return static_cast<double>(v - zp); });
  const LayerTrace<double> trace =
      golden_.run_layer(layer, integers_, {std::span<const double>(x)});
  const bool logits = layer == wide_layer(network_.network) && !network_.logits.requant.empty();
  Drain drain{q.out.zero_point, q.act_min, q.act_max, -128, 127};
  Drain wide{0, network_.logits.act_min, network_.logits.act_max, -32768, 32767};
  r.out.reserve(trace.pre.size());
  for (std::size_t k = 0; k < trace.pre.size(); ++k) {
    const auto acc = static_cast<std::int64_t>(trace.pre[k]);
    const std::size_t o = k % at(l.filters);
    r.largest_accumulator = std::max(r.largest_accumulator, std::abs(acc));
    r.out.push_back(static_cast<std::int8_t>(
        drain(numeric::rescale(acc, q.requant[o].multiplier, q.requant[o].exponent))));
    if (logits) {
      const Requant& m = network_.logits.requant[o];
      r.logits.push_back(
          static_cast<std::int16_t>(wide(numeric::rescale(acc, m.multiplier, m.exponent))));
    }
  }
  r.sat_low = drain.low, r.sat_high = drain.high;
  r.logit_sat_low = wide.low, r.logit_sat_high = wide.high;
  return r;
}

template <class T>
void fake_quantize(std::span<T> values, const TensorQuant& quant, std::int32_t act_min,
                   std::int32_t act_max, int bits) {
  if (bits == 0) return;
  const int finer = 1 << (bits - 8);
  const T scale = static_cast<T>(quant.scale) / static_cast<T>(finer);
  const T low = static_cast<T>((act_min - quant.zero_point) * finer);
  const T high = static_cast<T>((act_max - quant.zero_point) * finer + finer - 1);
  const T inverse = 1 / scale;
  for (T& v : values) v = std::clamp(std::round(v * inverse), low, high) * scale;
}

std::vector<std::int32_t> narrow_weights(std::span<const std::int16_t> codes, int own, int bits) {
  if (bits < 2 || bits > own)
    throw Error(ErrorKind::usage,
                fmt::format("weight width is {} bits, expected 2 to {}", bits, own));
  const int shift = own - bits;
  const std::int32_t half = shift == 0 ? 0 : 1 << (shift - 1), limit = (1 << (bits - 1)) - 1;
  std::vector<std::int32_t> out;
  out.reserve(codes.size());
  for (const std::int16_t w : codes) {
    const std::int32_t magnitude = (std::abs(static_cast<std::int32_t>(w)) + half) >> shift;
    out.push_back(std::clamp(w < 0 ? -magnitude : magnitude, -limit, limit));
  }
  return out;
}

template <class T>
FloatParams<T> simulated_params(const QuantizedNetwork& network, const FloatParams<T>& from,
                                int weight_bits, const std::vector<bool>& quantized) {
  FloatParams<T> out = from;
  if (weight_bits == 0) return out;
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.network.layers[i];
    if (!has_weights(l) || (!quantized.empty() && !quantized[i])) continue;
    const QuantizedLayer& q = network.layers[i];
    const int own = bits_of(network.weight_type_of(i)), bits = std::min(own, weight_bits);
    const std::vector<std::int32_t> codes = narrow_weights(q.weights, own, bits);
    const double unit = 1 << (own - bits);
    std::size_t k = 0;
    for (int r = 0; r < q.rows; ++r)
      for (int c = 0; c < q.columns; ++c, ++k)
        out.layers[i].weights[k] = static_cast<T>(
            codes[k] * unit * static_cast<double>(q.weight_scale[at(channel_of(l, r, c))]));
    const double in = network.quant_of(l.inputs[0]).scale;
    for (std::size_t o = 0; o < q.bias.size(); ++o)
      out.layers[i].bias[o] =
          static_cast<T>(q.bias[o] * in * static_cast<double>(q.weight_scale[o]));
  }
  return out;
}

template <class T>
std::vector<T> simulate(const Golden<T>& golden, const QuantizedNetwork& network,
                        const FloatParams<T>& params, std::span<const T> x,
                        LayerOutputs<T>& outputs, int first, const Widths& widths,
                        const std::vector<bool>& quantized,
                        std::vector<std::int16_t>* logit_codes) {
  const Network& net = network.network;
  const int head = net.logits_layer(), wide = wide_layer(net);
  outputs.resize(net.layers.size());
  for (int i = first; i <= head; ++i) {
    const Layer& l = net.layers[at(i)];
    const QuantizedLayer& q = network.layers[at(i)];
    std::vector<std::span<const T>> inputs;
    for (const int in : l.inputs)
      inputs.push_back(in == kNetworkInput ? x : std::span<const T>(outputs[at(in)]));
    LayerTrace<T> t = golden.run_layer(i, params, inputs);
    const bool now = quantized.empty() || quantized[at(i)];
    if (!now || i == wide || widths.activations == 0) {
      outputs[at(i)] = std::move(t.post);
      continue;
    }
    const bool add = l.op == Op::add;
    fake_quantize<T>(t.pre, q.out, add ? q.add.act_min : q.act_min, add ? q.add.act_max : q.act_max,
                     widths.activations);
    outputs[at(i)] = std::move(t.pre);
  }
  std::vector<T> logits = outputs[at(head)];
  if (head != wide || widths.logits == 0 || (!quantized.empty() && !quantized[at(head)]))
    return logits;
  const T unit = static_cast<T>(1 << (16 - widths.logits));
  const T scale = static_cast<T>(network.logits.scale) * unit;
  const T low = static_cast<T>(network.logits.act_min) / unit;
  const T high = std::floor(static_cast<T>(network.logits.act_max) / unit);
  if (logit_codes != nullptr) logit_codes->clear();
  for (T& v : logits) {
    const T code = std::clamp(std::round(v / scale), low, high);
    if (logit_codes != nullptr) logit_codes->push_back(static_cast<std::int16_t>(code * unit));
    v = code * scale;
  }
  return logits;
}

template <class T>
std::vector<T> simulated_input(const QuantizedNetwork& network, std::span<const float> x,
                               int activation_bits) {
  std::vector<T> out(x.begin(), x.end());
  fake_quantize<T>(out, network.input, -128, 127, activation_bits);
  return out;
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define LASTMILE_INSTANTIATE(T)                                                                    \
  template void fake_quantize<T>(std::span<T>, const TensorQuant&, std::int32_t, std::int32_t,     \
                                 int);                                                             \
  template FloatParams<T> simulated_params<T>(const QuantizedNetwork&, const FloatParams<T>&, int, \
                                              const std::vector<bool>&);                           \
  template std::vector<T> simulate<T>(                                                             \
      const Golden<T>&, const QuantizedNetwork&, const FloatParams<T>&, std::span<const T>,        \
      LayerOutputs<T>&, int, const Widths&, const std::vector<bool>&, std::vector<std::int16_t>*); \
  template std::vector<T> simulated_input<T>(const QuantizedNetwork&, std::span<const float>, int)
// NOLINTEND(bugprone-macro-parentheses)
LASTMILE_INSTANTIATE(float);
LASTMILE_INSTANTIATE(double);
#undef LASTMILE_INSTANTIATE

}  // namespace lastmile
