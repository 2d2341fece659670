// SPDX-License-Identifier: Apache-2.0
// A quantized network computed layer by layer with the contract's scalar functions and nothing
// else: no descriptors, no tiles, no memory. What programs and devices are compared with.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "cmodel/numeric/fixed.hpp"
#include "cmodel/numeric/loss.hpp"
#include "cmodel/numeric/perturb.hpp"
#include "cmodel/numeric/random.hpp"
#include "cmodel/numeric/softmax.hpp"
#include "sw/compiler/program.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile::reference {

struct Perturbation {
  spec::Polarity polarity = spec::Polarity::none_;
  std::uint64_t seed = 0, mask_seed = 0;
  spec::Distribution distribution = spec::Distribution::sign_;
  std::vector<TensorPlace> tensors;  // those with `trainable`
};

struct Result {
  std::vector<std::vector<std::int8_t>> layers;  // int8 output of every layer, n examples
  std::vector<std::int16_t> logits;              // of logits_layer()
};

inline std::int32_t perturbed(std::int32_t w, const Perturbation& p, const TensorPlace* t,
                              std::uint32_t row, std::uint32_t column) {
  if (p.polarity == spec::Polarity::none_ || t == nullptr || !t->trainable) return w;
  if (!numeric::kept(p.mask_seed, t->tensor, row, column, static_cast<std::uint32_t>(t->keep)))
    return w;
  const std::int32_t z = numeric::draw_z(p.seed, p.distribution, t->tensor, row, column);
  const std::int64_t magnitude =
      numeric::perturb_magnitude(t->eps.mantissa, static_cast<int>(t->eps.shift), z);
  const bool negative = (z < 0) != (p.polarity == spec::Polarity::minus_);
  const std::int32_t limit = t->bits == 8    ? numeric::kW8Max
                             : t->bits == 16 ? numeric::kW16Max
                                             : numeric::kBiasMax;
  return numeric::perturb(w, negative ? -magnitude : magnitude, limit).value;
}

inline const TensorPlace* find(const Perturbation& p, std::uint32_t tensor) {
  for (const TensorPlace& t : p.tensors)
    if (t.tensor == tensor) return &t;
  return nullptr;
}

inline std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// acc of every output element of a layer with weights, NHWC.
inline std::vector<std::int64_t> accumulate(const QuantizedNetwork& net, int index, int n,
                                            std::span<const std::int8_t> x, const Perturbation& p) {
  const Layer& l = net.network.layers[at(index)];
  const QuantizedLayer& q = net.layers[at(index)];
  const std::int32_t zp = net.quant_of(l.inputs[0]).zero_point;
  std::vector<std::int32_t> w(q.weights.size()), bias(at(l.filters), 0);
  for (int r = 0; r < q.rows; ++r)
    for (int c = 0; c < q.columns; ++c)
      w[at(r * q.columns + c)] =
          perturbed(q.weights[at(r * q.columns + c)], p, find(p, weight_tensor(index)),
                    static_cast<std::uint32_t>(r), static_cast<std::uint32_t>(c));
  for (int o = 0; o < l.filters && l.bias; ++o)
    bias[at(o)] =
        perturbed(q.bias[at(o)], p, find(p, bias_tensor(index)), 0, static_cast<std::uint32_t>(o));
  std::vector<std::int64_t> acc;
  for (int b = 0; b < n; ++b) {
    const auto in = x.subspan(at(b * l.in.elements()), at(l.in.elements()));
    for (int y = 0; y < l.out.h; ++y) {
      for (int xo = 0; xo < l.out.w; ++xo) {
        for (int o = 0; o < l.filters; ++o) {
          std::int64_t sum = bias[at(o)];
          if (l.op == Op::fully_connected) {
            for (int k = 0; k < q.columns; ++k)
              sum += std::int64_t{w[at(o * q.columns + k)]} * (in[at(k)] - zp);
            acc.push_back(sum);
            continue;
          }
          const bool depthwise = l.op == Op::depthwise_conv2d;
          const int per_group = l.in.c / l.groups;
          for (int ky = 0; ky < l.kernel_h; ++ky) {
            for (int kx = 0; kx < l.kernel_w; ++kx) {
              const int iy = y * l.stride_h - l.pad_top + ky * l.dilation_h;
              const int ix = xo * l.stride_w - l.pad_left + kx * l.dilation_w;
              if (iy < 0 || iy >= l.in.h || ix < 0 || ix >= l.in.w) continue;
              const std::int64_t pixel = (std::int64_t{iy} * l.in.w + ix) * l.in.c;
              if (depthwise) {
                sum += std::int64_t{w[at((ky * l.kernel_w + kx) * q.columns + o)]} *
                       (in[at(pixel + o / l.multiplier)] - zp);
                continue;
              }
              const int first = o / (l.filters / l.groups) * per_group;
              for (int c = 0; c < per_group; ++c)
                sum += std::int64_t{w[at(o * q.columns + (ky * l.kernel_w + kx) * per_group + c)]} *
                       (in[at(pixel + first + c)] - zp);
            }
          }
          acc.push_back(sum);
        }
      }
    }
  }
  return acc;
}

inline std::vector<std::int8_t> pool(const Layer& l, const QuantizedLayer& q, int n,
                                     std::span<const std::int8_t> x) {
  std::vector<std::int8_t> out;
  for (int b = 0; b < n; ++b) {
    const auto in = x.subspan(at(b * l.in.elements()), at(l.in.elements()));
    for (int y = 0; y < l.out.h; ++y) {
      for (int xo = 0; xo < l.out.w; ++xo) {
        for (int c = 0; c < l.in.c; ++c) {
          std::int32_t sum = 0, count = 0, largest = -128;
          for (int ky = 0; ky < l.kernel_h; ++ky) {
            for (int kx = 0; kx < l.kernel_w; ++kx) {
              const int iy = y * l.stride_h - l.pad_top + ky;
              const int ix = xo * l.stride_w - l.pad_left + kx;
              if (iy < 0 || iy >= l.in.h || ix < 0 || ix >= l.in.w) continue;
              const std::int8_t v = in[at((std::int64_t{iy} * l.in.w + ix) * l.in.c + c)];
              sum += v, ++count, largest = std::max<std::int32_t>(largest, v);
            }
          }
          const std::int32_t v =
              l.op == Op::max_pool2d ? largest : numeric::pool_average(sum, count);
          out.push_back(static_cast<std::int8_t>(std::clamp(v, q.act_min, q.act_max)));
        }
      }
    }
  }
  return out;
}

// x: n examples of the network's input.
inline Result run(const QuantizedNetwork& net, std::span<const std::int8_t> x,
                  const Perturbation& p = {}) {
  Result result;
  const int n =
      static_cast<int>(static_cast<std::int64_t>(x.size()) / net.network.input.elements());
  const auto tensor = [&](int i) {
    return i == kNetworkInput ? x : std::span<const std::int8_t>(result.layers[at(i)]);
  };
  const auto requantize = [](std::int64_t acc, const Requant& r, std::int32_t zp, std::int32_t lo,
                             std::int32_t hi) {
    return std::clamp<std::int64_t>(numeric::rescale(acc, r.multiplier, r.exponent) + zp, lo, hi);
  };
  for (int i = 0; i < static_cast<int>(net.layers.size()); ++i) {
    const Layer& l = net.network.layers[at(i)];
    const QuantizedLayer& q = net.layers[at(i)];
    std::vector<std::int8_t> out;
    if (has_weights(l)) {
      const std::vector<std::int64_t> acc = accumulate(net, i, n, tensor(l.inputs[0]), p);
      for (std::size_t k = 0; k < acc.size(); ++k) {
        const std::size_t o = k % at(l.filters);
        out.push_back(static_cast<std::int8_t>(
            requantize(acc[k], q.requant[o], q.out.zero_point, q.act_min, q.act_max)));
        if (i == net.network.logits_layer() && !net.logits.requant.empty())
          result.logits.push_back(static_cast<std::int16_t>(requantize(
              acc[k], net.logits.requant[o], 0, net.logits.act_min, net.logits.act_max)));
      }
    } else if (l.op == Op::add) {
      const auto a = tensor(l.inputs[0]), b = tensor(l.inputs[1]);
      for (std::size_t k = 0; k < a.size(); ++k)
        out.push_back(static_cast<std::int8_t>(std::clamp<std::int64_t>(
            numeric::add_unclamped(a[k], b[k], q.add), q.add.act_min, q.add.act_max)));
    } else if (l.op == Op::concat) {
      for (int b = 0; b < n; ++b) {
        for (std::size_t k = 0; k < l.parts.size(); ++k) {
          const auto part = tensor(l.inputs[k]);
          const auto count = at(l.parts[k].elements);
          out.insert(out.end(), part.begin() + static_cast<std::ptrdiff_t>(at(b) * count),
                     part.begin() + static_cast<std::ptrdiff_t>(at(b + 1) * count));
        }
        out.insert(out.end(), q.constants.begin(), q.constants.end());
      }
    } else if (l.op == Op::softmax) {
      const auto a = tensor(l.inputs[0]);
      out.resize(a.size());
      const auto c = at(l.in.c);
      for (std::size_t k = 0; k < a.size(); k += c)
        numeric::softmax::row(a.subspan(k, c), std::span(out).subspan(k, c), q.softmax.multiplier,
                              q.softmax.left_shift, q.softmax.diff_min);
    } else {
      out = pool(l, q, n, tensor(l.inputs[0]));
    }
    result.layers.push_back(std::move(out));
  }
  return result;
}

struct Losses {
  std::int64_t sum = 0;
  std::uint32_t correct = 0, examples = 0;
  std::vector<std::int32_t> each;
};

// labels: -1 = ignore.
inline Losses losses(const QuantizedNetwork& net, const Result& r, std::span<const int> labels) {
  Losses out;
  const auto classes = at(net.network.classes);
  for (std::size_t i = 0; i < labels.size(); ++i) {
    numeric::ExampleLoss loss;
    if (labels[i] >= 0) {
      loss = numeric::cross_entropy(std::span(r.logits).subspan(i * classes, classes),
                                    static_cast<std::uint32_t>(labels[i]),
                                    net.logits.loss_multiplier, net.logits.loss_shift);
      ++out.examples;
      out.correct += loss.correct ? 1 : 0;
    }
    out.sum += loss.loss;
    out.each.push_back(static_cast<std::int32_t>(loss.loss));
  }
  return out;
}

// One tensor after an update.
inline std::vector<std::int32_t> updated(const std::vector<std::int32_t>& w, const TensorPlace& t,
                                         spec::Distribution distribution,
                                         std::span<const std::uint64_t> seeds,
                                         std::span<const std::int8_t> coefficients,
                                         std::uint32_t step_register, std::uint64_t mask_seed) {
  const numeric::Step step =
      numeric::combine_step(t.step.mantissa, static_cast<int>(t.step.shift), step_register & 0xffff,
                            static_cast<int>(step_register >> 16));
  const std::int32_t limit = t.bits == 8    ? numeric::kW8Max
                             : t.bits == 16 ? numeric::kW16Max
                                            : numeric::kBiasMax;
  std::vector<std::int32_t> out = w;
  for (int r = 0; r < t.rows; ++r) {
    for (int c = 0; c < t.columns; ++c) {
      const auto row = static_cast<std::uint32_t>(r), column = static_cast<std::uint32_t>(c);
      if (!numeric::kept(mask_seed, t.tensor, row, column, static_cast<std::uint32_t>(t.keep)))
        continue;
      std::int32_t g = 0;
      for (std::size_t j = 0; j < seeds.size(); ++j)
        g += coefficients[j] * numeric::draw_z(seeds[j], distribution, t.tensor, row, column);
      const std::uint32_t bits =
          numeric::hash_element(seeds[0], spec::Domain::round_, t.tensor, row, column);
      std::int32_t& v = out[at(std::int64_t{r} * t.columns + c)];
      v = numeric::update(v, g, step, bits, limit).value;
    }
  }
  return out;
}

}  // namespace lastmile::reference
