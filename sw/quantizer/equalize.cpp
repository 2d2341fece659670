// SPDX-License-Identifier: Apache-2.0
#include "sw/quantizer/equalize.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sw/base/error.hpp"
#include "sw/golden/golden.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile {
namespace {

constexpr int kSweeps = 20;  // chains of layers settle in a few
constexpr double kActivationLevels = 255;

std::size_t at(int i) { return static_cast<std::size_t>(i); }

// Of one tensor, by channel.
struct ChannelUse {
  std::vector<double> largest, squares;  // largest magnitude; mean square
  void add(std::span<const float> values, int channels) {
    largest.resize(at(channels)), squares.resize(at(channels));
    for (std::size_t k = 0; k < values.size(); ++k) {
      const double v = std::abs(static_cast<double>(values[k]));
      largest[k % at(channels)] = std::max(largest[k % at(channels)], v);
      squares[k % at(channels)] += v * v;
    }
    seen += static_cast<double>(values.size()) / channels;
  }
  void scale(std::size_t channel, double factor) {
    largest[channel] *= factor;
    squares[channel] *= factor * factor;
  }
  double seen = 0;
};

// Calls use(weight, input channel, output channel) for every weight.
template <class Params, class Use>
void each_weight(const Layer& l, Params& p, const Use& use) {
  const std::size_t filters = at(l.filters), per = p.weights.size() / filters;
  for (std::size_t k = 0; k < p.weights.size(); ++k) {
    if (l.op == Op::depthwise_conv2d) {  // HWO
      const std::size_t o = k % filters;
      use(p.weights[k], o / at(l.multiplier), o);
    } else if (l.op == Op::fully_connected) {  // OI, I in NHWC order
      use(p.weights[k], k % per % at(l.in.c), k / per);
    } else {  // OHWI of the filter's group
      const std::size_t in = at(l.in.c / l.groups), o = k / per;
      use(p.weights[k], o / (filters / at(l.groups)) * in + k % in, o);
    }
  }
}

// Two layers with weights whose channels in between nobody else reads.
struct Pair {
  int first, second;
};

class Equalizer {
 public:
  Equalizer(const Network& net, FloatParams<float>& params, std::span<const float> x, int threads)
      : net_(net), params_(params), use_(net.layers.size() + 1), factors_(net.layers.size()) {
    for (std::size_t i = 0; i < net.layers.size(); ++i)
      if (has_weights(net.layers[i])) factors_[i].assign(at(net.layers[i].filters), 1);
    const auto each = static_cast<std::size_t>(net.input.elements());
    if (x.empty() || x.size() % each != 0)
      throw Error(ErrorKind::input, "equalization: the data are not whole examples");
    const Golden<float> golden(net, threads);
    constexpr std::size_t kBatch = 64;  // bounds the memory of a trace
    for (std::size_t i = 0; i < x.size(); i += kBatch * each) {
      const auto part = x.subspan(i, std::min(kBatch * each, x.size() - i));
      const auto trace = golden.trace(params, part);
      use_[0].add(part, net.input.c);
      for (std::size_t k = 0; k < trace.size(); ++k)
        use_[k + 1].add(trace[k].post, net.layers[k].out.c);
    }
    for (ChannelUse& u : use_)
      for (double& s : u.squares) s /= u.seen;
    for (int i = 0; i < static_cast<int>(net.layers.size()); ++i)
      if (const int second = partner(i); second >= 0) pairs_.push_back({i, second});
  }

  void quiet_dead_channels(EqualizeReport& report) {
    for (int i = 0; i < static_cast<int>(net_.layers.size()); ++i) {
      const Layer& l = net_.layers[at(i)];
      if (!has_weights(l)) continue;
      std::size_t quieted = 0;
      // What this layer reads and never sees.
      const std::vector<double> in = input_ranges(i);
      const std::vector<double>& fires = use_of(l.inputs[0]).largest;
      quieted += shrink(in, fires, [&](const auto& factors) { scale_inputs(i, factors); });
      // What it computes and nobody sees.
      if (i != net_.logits_layer() && l.activation != Activation::none)
        quieted += shrink(output_ranges(i), use_of(i).largest,
                          [&](const auto& factors) { scale_outputs(i, factors); });
      if (quieted > 0) report.dead.push_back(fmt::format("{}: {}", l.name, quieted));
    }
  }

  void balance(EqualizeReport& report, const EqualizeOptions& o) {
    std::vector<bool> chosen(pairs_.size(), false);
    for (int sweep = 0; sweep < kSweeps; ++sweep) {
      for (std::size_t k = 0; k < pairs_.size(); ++k) {
        const Pair& p = pairs_[k];
        const std::vector<double> factors = balancing(p);
        if (sweep == 0) {
          const double before = noise(p, o);
          apply(p, factors);
          chosen[k] = o.mode == Equalization::on || before > kWorthwhile * noise(p, o);
          if (chosen[k]) continue;
          std::vector<double> back = factors;
          for (double& f : back) f = 1 / f;
          apply(p, back);
        } else if (chosen[k]) {
          apply(p, factors);
        }
      }
    }
    for (std::size_t k = 0; k < pairs_.size(); ++k)
      if (chosen[k])
        report.pairs.push_back(net_.layers[at(pairs_[k].first)].name + " -> " +
                               net_.layers[at(pairs_[k].second)].name);
  }

  [[nodiscard]] const std::vector<std::vector<double>>& factors() const { return factors_; }

 private:
  [[nodiscard]] const ChannelUse& use_of(int layer) const { return use_[at(layer + 1)]; }

  // The layer with weights that alone reads layer i's channels, through pools; else -1.
  [[nodiscard]] int partner(int i) const {
    if (i == net_.logits_layer() || !has_weights(net_.layers[at(i)])) return -1;
    for (int from = i;;) {
      if (net_.layers[at(from)].activation == Activation::relu6) return -1;
      int reader = -1, readers = 0;
      for (int k = from + 1; k < static_cast<int>(net_.layers.size()); ++k)
        for (const int input : net_.layers[at(k)].inputs)
          if (input == from) reader = k, ++readers;
      if (readers != 1) return -1;
      const Layer& l = net_.layers[at(reader)];
      if (has_weights(l)) return reader;
      if (!traits(l.op).keeps_quant) return -1;
      from = reader;
    }
  }

  [[nodiscard]] std::vector<double> output_ranges(int i) const {
    std::vector<double> r(at(net_.layers[at(i)].filters));
    each_weight(net_.layers[at(i)], params_.layers[at(i)],
                [&](float w, std::size_t, std::size_t o) {
                  r[o] = std::max(r[o], static_cast<double>(std::abs(w)));
                });
    return r;
  }
  [[nodiscard]] std::vector<double> input_ranges(int i) const {
    std::vector<double> r(at(net_.layers[at(i)].in.c));
    each_weight(net_.layers[at(i)], params_.layers[at(i)],
                [&](float w, std::size_t c, std::size_t) {
                  r[c] = std::max(r[c], static_cast<double>(std::abs(w)));
                });
    return r;
  }

  // By channel, all in one pass over the weights.
  void scale_inputs(int i, const std::vector<double>& factors) {
    each_weight(
        net_.layers[at(i)], params_.layers[at(i)],
        [&](float& w, std::size_t c, std::size_t) { w = static_cast<float>(w * factors[c]); });
  }
  void scale_outputs(int i, const std::vector<double>& factors) {
    LayerParams<float>& p = params_.layers[at(i)];
    each_weight(net_.layers[at(i)], p, [&](float& w, std::size_t, std::size_t o) {
      w = static_cast<float>(w * factors[o]);
    });
    for (std::size_t c = 0; c < factors.size(); ++c) {
      factors_[at(i)][c] *= factors[c];
      if (!p.bias.empty()) p.bias[c] = static_cast<float>(p.bias[c] * factors[c]);
    }
  }

  // Dead channels whose weights are beyond those of every live one get the latter's range.
  template <class Scale>
  static std::size_t shrink(const std::vector<double>& ranges, const std::vector<double>& fires,
                            const Scale& scale) {
    double live = 0;
    for (std::size_t c = 0; c < ranges.size(); ++c)
      if (fires[c] > 0) live = std::max(live, ranges[c]);
    std::size_t changed = 0;
    std::vector<double> factors(ranges.size(), 1);
    for (std::size_t c = 0; c < ranges.size() && live > 0; ++c)
      if (fires[c] == 0 && ranges[c] > live) factors[c] = live / ranges[c], ++changed;
    if (changed > 0) scale(factors);
    return changed;
  }

  // What brings both sides of every channel to the mean of their ranges.
  [[nodiscard]] std::vector<double> balancing(const Pair& p) const {
    const std::vector<double> out = output_ranges(p.first), in = input_ranges(p.second);
    std::vector<double> factors(out.size(), 1);
    for (std::size_t c = 0; c < out.size(); ++c)
      if (out[c] > 0 && in[c] > 0 && use_of(p.first).largest[c] > 0)
        factors[c] = std::sqrt(in[c]) / std::sqrt(out[c]);
    return factors;
  }

  void apply(const Pair& p, const std::vector<double>& factors) {
    std::vector<double> back = factors;
    for (double& f : back) f = 1 / f;
    scale_outputs(p.first, factors);
    scale_inputs(p.second, back);
    // Everything between the two carries the channels on.
    const auto carry = [&](int layer) {
      for (std::size_t c = 0; c < factors.size(); ++c) use_[at(layer + 1)].scale(c, factors[c]);
    };
    carry(p.first);
    for (int from = net_.layers[at(p.second)].inputs[0]; from != p.first;
         from = net_.layers[at(from)].inputs[0])
      carry(from);
  }

  // Mean square that rounding adds to a value of the second layer: of the activations in between,
  // and of its weights.
  [[nodiscard]] double noise(const Pair& p, const EqualizeOptions& o) const {
    const Layer& l = net_.layers[at(p.second)];
    const ChannelUse& u = use_of(l.inputs[0]);
    const double step = *std::max_element(u.largest.begin(), u.largest.end()) / kActivationLevels;
    const std::vector<double> widest = output_ranges(p.second);
    double sum = 0;
    each_weight(l, params_.layers[at(p.second)], [&](float w, std::size_t c, std::size_t k) {
      const double weight_step = widest[k] / o.weight_levels;
      sum += (step * w) * (step * w) + weight_step * weight_step * u.squares[c];
    });
    return sum;
  }

  const Network& net_;
  FloatParams<float>& params_;
  std::vector<ChannelUse> use_;  // of the input, then of every layer
  std::vector<Pair> pairs_;
  std::vector<std::vector<double>> factors_;  // of outputs so far
};

}  // namespace

EqualizeReport equalize(const Network& folded, FloatParams<float>& params, std::span<const float> x,
                        const EqualizeOptions& options, int threads) {
  EqualizeReport report;
  if (options.mode == Equalization::off) return report;
  Equalizer work(folded, params, x, threads);
  work.quiet_dead_channels(report);
  work.balance(report, options);
  report.factors = work.factors();
  return report;
}

}  // namespace lastmile
