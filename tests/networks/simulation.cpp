// SPDX-License-Identifier: Apache-2.0
#include "tests/networks/simulation.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

namespace lastmile::networks {
namespace {

using Wide = __int128;
constexpr std::uint32_t kSign = 0, kGaussian = 1, kMask = 2, kRound = 3;  // domains
constexpr std::int64_t kTop31 = 0x7fffffff;

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

std::uint32_t rotated(std::uint32_t x, int by) { return x << by | x >> (32 - by); }

// Threefry-2x32 of Salmon et al. 2011, sixteen rounds.
std::uint64_t random_word(std::uint64_t seed, std::uint32_t domain, std::uint32_t tensor,
                          std::uint32_t row, std::uint32_t block) {
  const std::uint32_t low = static_cast<std::uint32_t>(seed);
  const std::uint32_t high = static_cast<std::uint32_t>(seed >> 32);
  const std::array<std::uint32_t, 3> key = {low, high, 0x1BD11BDAU ^ low ^ high};
  const int turns[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  std::uint32_t a = (row << 16 | block) + key[0];
  std::uint32_t b = (domain << 16 | tensor) + key[1];
  for (std::uint32_t group = 0; group < 4; ++group) {
    for (const int turn : turns[group % 2]) {
      a += b;
      b = rotated(b, turn) ^ a;
    }
    a += key[(group + 1) % 3];
    b += key[(group + 2) % 3] + group + 1;
  }
  return std::uint64_t{b} << 32 | a;
}

// Element `column` of a row in a domain whose elements have `bits` bits.
std::uint32_t random_bits(std::uint64_t seed, std::uint32_t domain, std::uint32_t tensor,
                          std::uint32_t row, std::uint32_t column, std::uint32_t bits) {
  const std::uint32_t per_word = 64 / bits;
  const std::uint64_t word = random_word(seed, domain, tensor, row, column / per_word);
  return static_cast<std::uint32_t>(word >> (column % per_word * bits) &
                                    ((std::uint64_t{1} << bits) - 1));
}

// T[k] = round(2^15 erf((k + 1/2) 3.5/127 / sqrt 2))
const std::array<std::uint32_t, 127>& gaussian_thresholds() {
  static const std::array<std::uint32_t, 127> table = [] {
    std::array<std::uint32_t, 127> t{};
    for (std::size_t k = 0; k < t.size(); ++k)
      t[k] = static_cast<std::uint32_t>(
          std::lround(32768 * std::erf((static_cast<double>(k) + 0.5) * 3.5 / 127 / std::sqrt(2))));
    return t;
  }();
  return table;
}

// Of mantissa-and-shift forms of a value, the one with the most bits: mantissa < 2^bits.
StepSize finest(double value, int most_shift, double below) {
  for (int shift = most_shift;; --shift) {
    const double mantissa = std::floor(std::ldexp(value, shift) + 0.5);
    if (mantissa < below || shift == 0) return {static_cast<std::uint32_t>(mantissa), shift};
  }
}

// RQ(acc, M, e)
std::int64_t requantized(Wide acc, std::int64_t m, int e) {
  if (e > 0) acc *= Wide{1} << e;
  const Wide end = Wide{1} << 39;
  acc = acc < -end ? -end : acc > end - 1 ? end - 1 : acc;
  const Wide product = acc * m + (Wide{1} << 30);
  const Wide h = product >> 31;
  if (e >= 0) return static_cast<std::int64_t>(h);
  // nearest, ties away from zero
  const Wide half = Wide{1} << (-e - 1);
  const Wide magnitude = ((h < 0 ? -h : h) + half) >> -e;
  return static_cast<std::int64_t>(h < 0 ? -magnitude : magnitude);
}

std::int32_t clamped(std::int64_t v, std::int64_t low, std::int64_t high) {
  return static_cast<std::int32_t>(v < low ? low : v > high ? high : v);
}

std::int8_t added(const numeric::AddParams& p, std::int32_t x1, std::int32_t x2) {
  const Wide unit = Wide{1} << p.left_shift;
  const Wide both = Wide{requantized((x1 - p.zp1) * unit, p.m1, p.e1)} +
                    requantized((x2 - p.zp2) * unit, p.m2, p.e2);
  return static_cast<std::int8_t>(
      clamped(requantized(both, p.mo, p.eo) + p.zp_out, p.act_min, p.act_max));
}

// What gemmlowp calls SaturatingRoundingDoublingHighMul and RoundingDivideByPOT.
std::int64_t high_product(std::int64_t a, std::int64_t b) {
  const Wide p = Wide{a} * b;
  const Wide nudged = p + (p >= 0 ? Wide{1} << 30 : 1 - (Wide{1} << 30));
  return std::min<std::int64_t>(static_cast<std::int64_t>(nudged / (Wide{1} << 31)), kTop31);
}
std::int64_t divided(std::int64_t x, int power) {
  const std::int64_t whole = std::int64_t{1} << power;
  const std::int64_t magnitude = (std::abs(x) + whole / 2) / whole;
  return x < 0 ? -magnitude : magnitude;
}

// exp(a / 2^26) in Q0.31, a <= 0: gemmlowp's exp_on_negative_values for five integer bits.
std::int64_t exponential(std::int64_t a) {
  if (a == 0) return kTop31;
  std::int64_t fraction = a % (1 << 24);  // in [-1/4, 0)
  if (fraction == 0) fraction = -(1 << 24);
  std::int64_t rest = fraction - a;  // a multiple of 1/4
  const std::int64_t x = fraction * 32 + (std::int64_t{1} << 28);
  const std::int64_t x2 = high_product(x, x), x3 = high_product(x2, x);
  const std::int64_t x4 = divided(high_product(x2, x2), 2);
  const std::int64_t tail = divided(high_product(x4 + x3, 715827883) + x2, 1);
  std::int64_t result = std::min(1895147668 + high_product(1895147668, x + tail), kTop31);
  const std::int64_t factors[7] = {1672461947, 1302514674, 790015084, 290630308,
                                   39332535,   720401,     242};
  for (const std::int64_t factor : factors) {
    if (rest / (1 << 24) % 2 != 0) result = high_product(result, factor);
    rest = rest / (1 << 24) / 2 * (1 << 24);
  }
  return result;
}

void softmax_row(const SoftmaxQuant& q, const std::int8_t* in, std::size_t n, std::int8_t* out) {
  const std::int32_t top{*std::max_element(in, in + n)};
  const auto power = [&](std::size_t i) {
    return exponential(
        high_product(std::int64_t{in[i] - top} * (std::int64_t{1} << q.left_shift), q.multiplier));
  };
  std::int64_t sum = 0;
  for (std::size_t i = 0; i < n; ++i)
    if (in[i] - top >= q.diff_min) sum += divided(power(i), 12);
  // 1 / sum: sum = 2^31 (1 + a) / 2^headroom, then three steps of Newton's
  int headroom = 0;
  while ((sum << headroom) < (std::int64_t{1} << 31)) ++headroom;
  const std::int64_t a = (sum << headroom) - (std::int64_t{1} << 31);
  const std::int64_t half = (a + (std::int64_t{1} << 31)) / 2;
  std::int64_t x = 1515870810 + high_product(half, -1010580540);
  for (int i = 0; i < 3; ++i) x += 4 * high_product(x, (1 << 29) - high_product(half, x));
  const std::int64_t inverse = std::min(2 * x, kTop31);
  for (std::size_t i = 0; i < n; ++i) {
    std::int64_t y = -128;
    if (in[i] - top >= q.diff_min)
      y = divided(high_product(inverse, power(i)), 12 - headroom + 23) - 128;
    out[i] = static_cast<std::int8_t>(clamped(y, -128, 127));
  }
}

// 2^-t with 24 fraction bits and log2 with 20, from tables of 256 segments.
std::int64_t power_of_half(std::int64_t t) {
  const auto entry = [](std::int64_t k) {
    return std::llround(std::ldexp(std::exp2(-static_cast<double>(k) / 256), 24));
  };
  const std::int64_t whole = t >> 20, k = t >> 12 & 255, rest = t & 4095;
  if (whole > 24) return 0;
  return (entry(k) - (((entry(k) - entry(k + 1)) * rest + 2048) >> 12)) >> whole;
}
std::int64_t logarithm(std::int64_t sum) {
  const auto entry = [](std::int64_t k) {
    return std::llround(std::ldexp(std::log2(1 + static_cast<double>(k) / 256), 24));
  };
  int whole = 0;
  while (sum >> (whole + 25) != 0) ++whole;
  const std::int64_t fraction =
      static_cast<std::int64_t>((Wide{sum} << 16 >> whole) & ((Wide{1} << 40) - 1)) >> 16;
  const std::int64_t k = fraction >> 16, rest = fraction & 0xffff;
  const std::int64_t bits = entry(k) + (((entry(k + 1) - entry(k)) * rest + 0x8000) >> 16);
  return (std::int64_t{whole} << 20) + ((bits + 8) >> 4);
}

// t_c of every class, and log2(sum p).
struct Distances {
  std::vector<std::int64_t> t;
  std::int64_t log_sum = 0;
  std::size_t first_top = 0;
};
Distances distances(const LogitQuant& q, std::span<const std::int16_t> logits) {
  Distances out;
  const auto top = std::max_element(logits.begin(), logits.end());
  out.first_top = at(top - logits.begin());
  std::int64_t sum = 0;
  for (const std::int16_t l : logits) {
    const std::int64_t d = std::int64_t{*top} - l;
    const std::int64_t half = q.loss_shift == 0 ? 0 : std::int64_t{1} << (q.loss_shift - 1);
    out.t.push_back(std::min(kTop31, (d * q.loss_multiplier + half) >> q.loss_shift));
    sum += power_of_half(out.t.back());
  }
  out.log_sum = logarithm(sum);
  return out;
}

StepSize product(StepSize tensor, StepSize run) {
  const std::uint64_t s = (std::uint64_t{tensor.mantissa} * run.mantissa + 0x8000) >> 16;
  return {static_cast<std::uint32_t>(std::min<std::uint64_t>(s, 65535)), tensor.shift + run.shift};
}

// A step of an UPDATE has 8 bits more to the left.
StepSize step_of(double lsb) { return finest(lsb / 256, 39, 65536); }

std::int8_t pooled(const Layer& l, const QuantizedLayer& q, const std::int8_t* image, int y, int x,
                   int c) {
  std::int32_t total = 0, taps = 0, top = -128;
  for (int ky = 0; ky < l.kernel_h; ++ky) {
    for (int kx = 0; kx < l.kernel_w; ++kx) {
      const int row = y * l.stride_h - l.pad_top + ky * l.dilation_h;
      const int column = x * l.stride_w - l.pad_left + kx * l.dilation_w;
      if (row < 0 || column < 0 || row >= l.in.h || column >= l.in.w) continue;
      const std::int32_t v{image[at((std::int64_t{row} * l.in.w + column) * l.in.c + c)]};
      total += v, ++taps, top = std::max(top, v);
    }
  }
  std::int32_t v = top;
  if (l.op != Op::max_pool2d) {
    const std::int32_t magnitude = taps == 0 ? 0 : (std::abs(total) + taps / 2) / taps;
    v = total < 0 ? -magnitude : magnitude;
  }
  return static_cast<std::int8_t>(clamped(v, q.act_min, q.act_max));
}

}  // namespace

std::size_t Simulation::columns_of(std::uint32_t id) const {
  const QuantizedLayer& q = net_.layers[id / 2];
  return id % 2 != 0 ? q.bias.size() : at(q.columns);
}

std::vector<std::int32_t> Simulation::tensor(std::uint32_t id) const {
  const QuantizedLayer& q = net_.layers[id / 2];
  if (id % 2 != 0) return q.bias;
  return {q.weights.begin(), q.weights.end()};
}

std::int64_t Simulation::limit_of(std::uint32_t id) const {
  if (id % 2 != 0) return kTop31;
  return net_.weight_type_of(id / 2) == WeightType::w8 ? 127 : 32767;
}

std::int32_t Simulation::z(std::uint64_t seed, std::uint32_t id, std::uint32_t row,
                           std::uint32_t column) const {
  if (!gaussian_) return random_bits(seed, kSign, id, row, column, 1) == 0 ? 1 : -1;
  const std::uint32_t bits = random_bits(seed, kGaussian, id, row, column, 16);
  std::int32_t magnitude = 0;
  for (const std::uint32_t t : gaussian_thresholds()) magnitude += (bits & 0x7fff) >= t ? 1 : 0;
  return (bits & 0x8000) != 0 ? -magnitude : magnitude;
}

bool Simulation::takes_part(std::uint32_t id, int keep, std::uint32_t row,
                            std::uint32_t column) const {
  return keep == 256 ||
         random_bits(mask_seed_, kMask, id, row, column, 8) < static_cast<std::uint32_t>(keep);
}

std::vector<std::int32_t> Simulation::disturbed(std::uint32_t id, const Draw& draw) const {
  std::vector<std::int32_t> w = tensor(id);
  if (draw.polarity == 0) return w;
  for (const TensorTraining& t : training_) {
    if (t.tensor != id) continue;
    const double unit = gaussian_ ? 3.5 / 127 : 1;
    const StepSize eps = finest(t.eps_lsb * unit, 31, id % 2 != 0 ? 0x1p24 : 0x1p16);
    const std::int64_t limit = limit_of(id);
    for (std::size_t k = 0; k < w.size(); ++k) {
      const auto row = static_cast<std::uint32_t>(k / columns_of(id));
      const auto column = static_cast<std::uint32_t>(k % columns_of(id));
      if (!takes_part(id, t.keep, row, column)) continue;
      const std::int64_t drawn = z(draw.seed, id, row, column);
      const std::int64_t half = eps.shift == 0 ? 0 : std::int64_t{1} << (eps.shift - 1);
      const std::int64_t size = (eps.mantissa * std::abs(drawn) + half) >> eps.shift;
      if (size == 0) continue;
      const std::int64_t delta = (drawn < 0 ? -size : size) * draw.polarity;
      w[k] = clamped(w[k] + delta, -limit, limit);
    }
  }
  return w;
}

// Accumulators of a layer, NHWC.
std::vector<std::int64_t> Simulation::sums(std::size_t layer, std::span<const std::int8_t> x,
                                           const Draw& draw) const {
  const Layer& l = net_.network.layers[layer];
  const auto id = 2 * static_cast<std::uint32_t>(layer);
  const std::vector<std::int32_t> w = disturbed(id, draw);
  std::vector<std::int32_t> b(at(l.filters), 0);
  if (l.bias) b = disturbed(id + 1, draw);
  const std::int32_t zero = net_.quant_of(l.inputs[0]).zero_point;
  const std::int64_t each = l.in.elements(), examples = static_cast<std::int64_t>(x.size()) / each;
  std::vector<std::int64_t> out;
  out.reserve(at(examples * l.out.elements()));
  if (l.op == Op::fully_connected) {
    for (std::int64_t n = 0; n < examples; ++n) {
      for (std::int64_t o = 0; o < l.filters; ++o) {
        std::int64_t acc = b[at(o)];
        for (std::int64_t k = 0; k < each; ++k)
          acc += std::int64_t{w[at(o * each + k)]} * (x[at(n * each + k)] - zero);
        out.push_back(acc);
      }
    }
    return out;
  }
  const bool depthwise = l.op == Op::depthwise_conv2d;
  const int channels = depthwise ? 1 : l.in.c / l.groups;
  const int per_group = depthwise ? l.multiplier : l.filters / l.groups;
  for (std::int64_t n = 0; n < examples; ++n) {
    for (int y = 0; y < l.out.h; ++y) {
      for (int xo = 0; xo < l.out.w; ++xo) {
        for (int o = 0; o < l.filters; ++o) {
          std::int64_t acc = b[at(o)];
          const int first = o / per_group * channels;
          for (int ky = 0; ky < l.kernel_h; ++ky) {
            for (int kx = 0; kx < l.kernel_w; ++kx) {
              const int row = y * l.stride_h - l.pad_top + ky * l.dilation_h;
              const int column = xo * l.stride_w - l.pad_left + kx * l.dilation_w;
              if (row < 0 || column < 0 || row >= l.in.h || column >= l.in.w) continue;
              const std::int64_t pixel = n * each + (std::int64_t{row} * l.in.w + column) * l.in.c;
              const std::int64_t tap = std::int64_t{ky} * l.kernel_w + kx;
              for (int c = 0; c < channels; ++c) {
                const std::int64_t k =
                    depthwise ? tap * l.filters + o
                              : (std::int64_t{o} * l.kernel_h * l.kernel_w + tap) * channels + c;
                acc += std::int64_t{w[at(k)]} * (x[at(pixel + first + c)] - zero);
              }
            }
          }
          out.push_back(acc);
        }
      }
    }
  }
  return out;
}

Outputs Simulation::forward(std::span<const std::int8_t> x, const Draw& draw) const {
  Outputs out;
  const auto examples = static_cast<std::int64_t>(x.size()) / net_.network.input.elements();
  const auto tensor_of = [&](int i) {
    return i == kNetworkInput ? x : std::span<const std::int8_t>(out.layers[at(i)]);
  };
  for (std::size_t i = 0; i < net_.layers.size(); ++i) {
    const Layer& l = net_.network.layers[i];
    const QuantizedLayer& q = net_.layers[i];
    const std::span<const std::int8_t> in = tensor_of(l.inputs[0]);
    std::vector<std::int8_t> y;
    switch (l.op) {
      case Op::conv2d:
      case Op::depthwise_conv2d:
      case Op::fully_connected: {
        const bool head = static_cast<int>(i) == net_.network.logits_layer();
        const std::vector<std::int64_t> acc = sums(i, in, draw);
        for (std::size_t k = 0; k < acc.size(); ++k) {
          const std::size_t o = k % at(l.filters);
          const Requant& r = q.requant[o];
          y.push_back(static_cast<std::int8_t>(
              clamped(requantized(acc[k], r.multiplier, r.exponent) + q.out.zero_point, q.act_min,
                      q.act_max)));
          if (!head) continue;
          const Requant& wide = net_.logits.requant[o];
          out.logits.push_back(
              static_cast<std::int16_t>(clamped(requantized(acc[k], wide.multiplier, wide.exponent),
                                                net_.logits.act_min, net_.logits.act_max)));
        }
        break;
      }
      case Op::max_pool2d:
      case Op::average_pool2d:
      case Op::global_average_pool:
        for (std::int64_t n = 0; n < examples; ++n)
          for (int py = 0; py < l.out.h; ++py)
            for (int px = 0; px < l.out.w; ++px)
              for (int c = 0; c < l.out.c; ++c)
                y.push_back(pooled(l, q, in.data() + n * l.in.elements(), py, px, c));
        break;
      case Op::add: {
        const std::span<const std::int8_t> second = tensor_of(l.inputs[1]);
        for (std::size_t k = 0; k < in.size(); ++k) y.push_back(added(q.add, in[k], second[k]));
        break;
      }
      case Op::concat:
        for (std::int64_t n = 0; n < examples; ++n) {
          for (std::size_t k = 0; k < l.inputs.size(); ++k) {
            const std::int64_t size = l.parts[k].elements;
            const std::span<const std::int8_t> part = tensor_of(l.inputs[k]);
            for (std::int64_t e = 0; e < size; ++e) y.push_back(part[at(n * size + e)]);
          }
          y.insert(y.end(), q.constants.begin(), q.constants.end());
        }
        break;
      case Op::softmax:
        y.resize(in.size());
        for (std::size_t k = 0; k < in.size(); k += at(l.in.c))
          softmax_row(q.softmax, in.data() + k, at(l.in.c), y.data() + k);
        break;
    }
    out.layers.push_back(std::move(y));
  }
  return out;
}

Losses Simulation::losses(std::span<const std::int16_t> logits, std::span<const int> labels) const {
  Losses out;
  const std::size_t classes = at(net_.network.classes);
  for (std::size_t n = 0; n < labels.size(); ++n) {
    out.each.push_back(0);
    if (labels[n] < 0) continue;
    const Distances d = distances(net_.logits, logits.subspan(n * classes, classes));
    out.each.back() = static_cast<std::int32_t>(std::min(kTop31, d.log_sum + d.t[at(labels[n])]));
    out.sum += out.each.back();
    out.correct += d.first_top == at(labels[n]) ? 1 : 0;
    ++out.examples;
  }
  return out;
}

// w <- sat(w - sign(g) * q) for one element.
void Simulation::move(std::uint32_t id, std::size_t index, std::int64_t g, StepSize step,
                      std::uint32_t r) {
  const Wide odd = Wide{2} * r + 1;
  const Wide dither = step.shift >= 17 ? odd << (step.shift - 17) : odd >> (17 - step.shift);
  const std::int64_t size = std::min(std::abs(g), kTop31);
  const Wide q = ((Wide{size} * step.mantissa << 8) + dither) >> step.shift;
  if (q == 0) return;
  QuantizedLayer& layer = net_.layers[id / 2];
  const Wide w = id % 2 != 0 ? layer.bias[index] : std::int32_t{layer.weights[index]};
  const Wide limit = limit_of(id);
  const Wide moved = std::clamp(g < 0 ? w + q : w - q, -limit, limit);
  if (id % 2 != 0)
    layer.bias[index] = static_cast<std::int32_t>(moved);
  else
    layer.weights[index] = static_cast<std::int16_t>(moved);
}

void Simulation::update(std::span<const std::uint64_t> seeds,
                        std::span<const std::int8_t> coefficients, StepSize run) {
  for (const TensorTraining& t : training_) {
    const double unit = gaussian_ ? 3.5 / 127 : 1;
    const StepSize step = product(step_of(t.step_lsb * unit), run);
    const std::size_t count = tensor(t.tensor).size();
    for (std::size_t k = 0; k < count; ++k) {
      const auto row = static_cast<std::uint32_t>(k / columns_of(t.tensor));
      const auto column = static_cast<std::uint32_t>(k % columns_of(t.tensor));
      if (!takes_part(t.tensor, t.keep, row, column)) continue;
      std::int64_t g = 0;
      for (std::size_t j = 0; j < seeds.size(); ++j)
        g += std::int64_t{coefficients[j]} * z(seeds[j], t.tensor, row, column);
      move(t.tensor, k, g, step, random_bits(seeds[0], kRound, t.tensor, row, column, 16));
    }
  }
}

void Simulation::learn(std::span<const std::int8_t> record, std::span<const std::int16_t> logits,
                       std::span<const int> labels, double step_lsb, StepSize run,
                       std::uint64_t seed) {
  const int head = net_.network.logits_layer();
  const auto id = 2 * static_cast<std::uint32_t>(head);
  const std::size_t classes = at(net_.network.classes), width = at(net_.layers[at(head)].columns);
  const std::int32_t zero = net_.quant_of(net_.network.layers[at(head)].inputs[0]).zero_point;
  std::vector<std::int64_t> gradient(classes * width, 0);
  for (std::size_t n = 0; n < labels.size(); ++n) {
    if (labels[n] < 0) continue;
    const Distances d = distances(net_.logits, logits.subspan(n * classes, classes));
    for (std::size_t c = 0; c < classes; ++c) {
      const std::int64_t u = std::min(kTop31, d.t[c] + d.log_sum);
      const std::int64_t exact =
          power_of_half(u) - (at(labels[n]) == c ? std::int64_t{1} << 24 : 0);
      const std::int64_t r = random_bits(seed, kRound, id + 1, static_cast<std::uint32_t>(n),
                                         static_cast<std::uint32_t>(c), 16);
      const std::int64_t size = std::min<std::int64_t>(127, (std::abs(exact) + 2 * r + 1) / 131072);
      for (std::size_t k = 0; k < width; ++k)
        gradient[c * width + k] +=
            (exact < 0 ? -size : size) * (std::int64_t{record[n * width + k]} - zero);
    }
  }
  const StepSize step = product(step_of(step_lsb), run);
  for (std::size_t k = 0; k < gradient.size(); ++k) {
    const auto row = static_cast<std::uint32_t>(k / width);
    const auto column = static_cast<std::uint32_t>(k % width);
    move(id, k, clamped(gradient[k], INT32_MIN, INT32_MAX), step,
         random_bits(seed, kRound, id, row, column, 16));
  }
}

std::int8_t coefficient(std::int64_t difference, bool scaled, std::uint64_t d) {
  const int sign = difference < 0 ? -1 : difference > 0 ? 1 : 0;
  if (!scaled) return static_cast<std::int8_t>(sign);
  if (d == 0) return 0;
  const Wide q = (Wide{254} * std::abs(difference) + d) / (Wide{2} * d);
  return static_cast<std::int8_t>(sign * static_cast<int>(std::min<Wide>(127, q)));
}

}  // namespace lastmile::networks
