// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cmodel/numeric/loss_units.hpp"
#include "cmodel/numeric/random.hpp"
#include "sw/base/error.hpp"
#include "sw/trainer/reconstruction.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

Accuracy evaluate_float(const Golden<float>& golden, const FloatParams<float>& params,
                        const Dataset& data, std::vector<Prediction>* predictions) {
  if (golden.network().reconstructs()) {
    std::vector<double> scores(data.size());
    golden.loss(params, data.x, data.y, scores);
    return reconstruction_accuracy(scores, data.y, predictions);
  }
  const auto classes = static_cast<std::size_t>(golden.network().classes);
  std::vector<float> logits(data.size() * classes);
  golden.forward(params, data.x, logits);
  const BatchLoss r = cross_entropy<float>(logits, data.y);
  Accuracy a{r.correct, static_cast<std::int64_t>(data.size()), r.mean};
  for (std::size_t i = 0; i < data.size(); ++i) {
    const Prediction p =
        prediction_of(std::span<const float>(logits).subspan(i * classes, classes), 1);
    a.count(data.y[i], p.label, classes);
    if (predictions != nullptr) predictions->push_back(p);
  }
  return a;
}

std::int64_t loss_sum_of(double mean_nats, std::size_t examples) {
  const double sum = numeric::loss_sum(mean_nats, static_cast<double>(examples));
  constexpr double kMost = 0x1p47;  // 65,535 examples of 31 bits
  if (!(std::abs(sum) <= kMost))
    throw Error(ErrorKind::diverged, fmt::format("the loss is {}; the run diverged", mean_nats));
  return std::llround(sum);
}

namespace {

// One trainable tensor of the float network, element order of the NPU's matrix.
struct FloatTensor {
  std::uint32_t id = 0;
  std::span<float> values;
  int rows = 0, columns = 0;
  double eps = 0, step = 0;        // LSBs per z of variance 1
  std::vector<float> lsb;          // real value of one LSB, per output channel
  bool channel_is_row = true;      // else the column is the channel
  std::vector<std::int8_t> z;      // of the current seed; 0 where masked
  std::vector<std::uint8_t> mask;  // 1 = takes part; empty: all do
  [[nodiscard]] float lsb_of(int row, int column) const {
    return lsb[static_cast<std::size_t>(channel_is_row ? row : column)];
  }
};

// What follows layer `cut` as a network of its own, whose input is that layer's output.
Network suffix_of(const Network& whole, int cut) {
  if (cut == kNetworkInput) return whole;
  Network out;
  out.name = whole.name;
  out.input = whole.shape_of(cut);
  out.classes = whole.classes;
  const int first = cut + 1;
  for (std::size_t i = static_cast<std::size_t>(first); i < whole.layers.size(); ++i) {
    out.layers.push_back(whole.layers[i]);
    for (int& input : out.layers.back().inputs) input -= first;  // the cut becomes kNetworkInput
  }
  return out;
}

// Outputs of layer `cut` for all examples, in chunks that bound the memory of a trace.
Dataset features_of(const Golden<float>& golden, const FloatParams<float>& params,
                    const Dataset& data, int cut) {
  Dataset out;
  out.shape = golden.network().shape_of(cut);
  out.classes = data.classes;
  out.y = data.y;
  const auto elements = static_cast<std::size_t>(data.shape.elements());
  for (std::size_t first = 0; first < data.size(); first += 256) {
    const std::size_t n = std::min<std::size_t>(256, data.size() - first);
    const auto layers =
        golden.trace(params, std::span(data.x).subspan(first * elements, n * elements));
    const std::vector<float>& x = layers[static_cast<std::size_t>(cut)].post;
    out.x.insert(out.x.end(), x.begin(), x.end());
  }
  return out;
}

void draw(FloatTensor& t, std::uint64_t seed, spec::Distribution distribution) {
  const bool sign = distribution == spec::Distribution::sign_;
  const numeric::Domain domain = sign ? numeric::Domain::sign_ : numeric::Domain::gaussian_;
  const std::uint32_t per = numeric::elements_per_word(domain), bits = 64 / per;
  std::size_t i = 0;
  for (int row = 0; row < t.rows; ++row) {
    std::uint64_t word = 0;
    for (int column = 0; column < t.columns; ++column, ++i) {
      const auto c = static_cast<std::uint32_t>(column);
      if (c % per == 0)
        word = numeric::hash_word(seed, domain, t.id, static_cast<std::uint32_t>(row), c / per);
      const auto u = static_cast<std::uint32_t>(word) & (sign ? 1U : 0xffffU);
      word >>= bits;
      t.z[i] = static_cast<std::int8_t>(sign ? numeric::sign_z(u) : numeric::gaussian_z(u));
      if (!t.mask.empty() && t.mask[i] == 0) t.z[i] = 0;
    }
  }
}

}  // namespace

struct FloatTarget::State {
  const QuantizedNetwork& network;
  int cut = kNetworkInput;  // layers up to here are frozen and computed once
  Dataset data;             // features of the cut, or the data themselves
  Golden<float> golden;     // of the layers after the cut
  spec::Distribution distribution;
  std::vector<FloatTensor> tensors;
  FloatParams<float> moved;                    // params +- delta, of golden's layers
  std::vector<std::span<float>> moved_values;  // of `moved`, in the order of `tensors`
  std::vector<float> x;
  std::vector<Label> y;
};

FloatTarget::FloatTarget(const Golden<float>& golden, FloatParams<float>& params,
                         const QuantizedNetwork& network, std::span<const TensorTraining> training,
                         const Dataset& data, spec::Distribution distribution,
                         std::uint64_t mask_seed, bool cache_features) {
  // The target of a reconstruction is the network's input.
  const int cut = cache_features && !network.network.reconstructs()
                      ? frozen_prefix(network.network, training)
                      : kNetworkInput;
  state_ = std::make_unique<State>(
      State{network,
            cut,
            cut == kNetworkInput ? data : features_of(golden, params, data, cut),
            Golden<float>(suffix_of(golden.network(), cut), golden.workers().threads()),
            distribution,
            {},
            {},
            {},
            {},
            {}});
  State& s = *state_;
  s.moved.layers.assign(params.layers.begin() + (cut + 1), params.layers.end());
  for (const TensorTraining& plan : training) {
    const auto index = static_cast<std::size_t>(plan.tensor / 2);
    const bool bias = plan.tensor % 2 != 0;
    const QuantizedLayer& q = network.layers[index];
    const Layer& layer = network.network.layers[index];
    LayerParams<float>& moved = s.moved.layers[index - static_cast<std::size_t>(cut + 1)];
    FloatTensor t;
    t.id = plan.tensor;
    t.values = bias ? std::span<float>(params.layers[index].bias)
                    : std::span<float>(params.layers[index].weights);
    s.moved_values.push_back(bias ? std::span<float>(moved.bias) : std::span<float>(moved.weights));
    t.rows = bias ? 1 : q.rows;
    t.columns = bias ? static_cast<int>(q.bias.size()) : q.columns;
    // Amplitudes are for z of variance 1; the Gaussian's integers have a smaller step.
    const double unit = numeric::z_unit(distribution);
    t.eps = plan.eps_lsb * unit;
    t.step = plan.step_lsb * unit;
    t.lsb = q.weight_scale;
    if (bias)
      for (float& v : t.lsb) v *= network.quant_of(layer.inputs[0]).scale;
    t.channel_is_row = !bias && layer.op != Op::depthwise_conv2d;
    t.z.resize(t.values.size());
    if (plan.keep < spec::kKeepAll) {
      for (int row = 0; row < t.rows; ++row)
        for (int column = 0; column < t.columns; ++column)
          t.mask.push_back(numeric::kept(mask_seed, t.id, static_cast<std::uint32_t>(row),
                                         static_cast<std::uint32_t>(column),
                                         static_cast<std::uint32_t>(plan.keep)));
    }
    s.tensors.push_back(std::move(t));
  }
}

FloatTarget::~FloatTarget() = default;

void FloatTarget::set_batch(std::span<const std::uint32_t> examples) {
  State& s = *state_;
  s.x.clear();
  s.y.clear();
  for (const std::uint32_t i : examples) {
    const auto x = s.data.example(i);
    s.x.insert(s.x.end(), x.begin(), x.end());
    s.y.push_back(s.data.y[i]);
  }
}

std::int64_t FloatTarget::loss_sum(spec::Polarity polarity, std::uint64_t seed) {
  return loss_sum_of(state_->network, loss(polarity, seed), state_->y.size());
}

double FloatTarget::loss(spec::Polarity polarity, std::uint64_t seed) {
  State& s = *state_;
  const double sign = polarity == spec::Polarity::plus_    ? 1
                      : polarity == spec::Polarity::minus_ ? -1
                                                           : 0;
  for (std::size_t k = 0; k < s.tensors.size(); ++k) {
    FloatTensor& t = s.tensors[k];
    draw(t, seed, s.distribution);
    std::size_t i = 0;
    for (int row = 0; row < t.rows; ++row)
      for (int column = 0; column < t.columns; ++column, ++i)
        s.moved_values[k][i] = t.values[i] + static_cast<float>(sign * t.eps) *
                                                 t.lsb_of(row, column) * static_cast<float>(t.z[i]);
  }
  return s.golden.loss(s.moved, s.x, s.y).mean;
}

void FloatTarget::update(std::span<const std::uint64_t> seeds,
                         std::span<const std::int8_t> coefficients, std::uint32_t step_register) {
  State& s = *state_;
  const double factor = step_factor(step_register);
  for (std::size_t j = 0; j < seeds.size(); ++j) {
    for (FloatTensor& t : s.tensors) {
      draw(t, seeds[j], s.distribution);
      const auto step = static_cast<float>(t.step * factor * coefficients[j]);
      std::size_t i = 0;
      for (int row = 0; row < t.rows; ++row)
        for (int column = 0; column < t.columns; ++column, ++i)
          t.values[i] -= step * t.lsb_of(row, column) * static_cast<float>(t.z[i]);
    }
  }
}

}  // namespace lastmile
