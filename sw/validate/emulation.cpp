// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/emulation.hpp"

#include <algorithm>
#include <cmath>

#include "cmodel/numeric/loss.hpp"
#include "cmodel/numeric/loss_units.hpp"
#include "cmodel/numeric/perturb.hpp"
#include "cmodel/numeric/random.hpp"
#include "sw/compiler/encoding.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

}  // namespace

Directions::Directions(const QuantizedNetwork& network, std::span<const TensorTraining> plan,
                       spec::Distribution distribution, std::uint64_t mask_seed)
    : distribution_(distribution) {
  const double unit = numeric::z_unit(distribution);
  bool masked = false;
  for (const TensorTraining& p : plan) {
    Tensor t;
    t.id = p.tensor;
    t.layer = p.tensor / 2;
    t.bias = p.tensor % 2 != 0;
    const Layer& l = network.network.layers[t.layer];
    const QuantizedLayer& q = network.layers[t.layer];
    t.rows = t.bias ? 1 : q.rows;
    t.columns = t.bias ? static_cast<int>(q.bias.size()) : q.columns;
    t.first = elements_;
    t.count = at(t.rows) * at(t.columns);
    const double in = t.bias ? static_cast<double>(network.quant_of(l.inputs[0]).scale) : 1.0;
    for (int r = 0; r < t.rows; ++r)
      for (int c = 0; c < t.columns; ++c)
        t.lsb.push_back(in *
                        static_cast<double>(q.weight_scale[at(t.bias ? c : channel_of(l, r, c))]));
    t.eps = p.eps_lsb * unit;
    t.step = p.step_lsb * unit;
    masked = masked || p.keep < spec::kKeepAll;
    elements_ += t.count;
    tensors_.push_back(std::move(t));
  }
  if (!masked) return;
  for (std::size_t k = 0; k < plan.size(); ++k)
    for (int r = 0; r < tensors_[k].rows; ++r)
      for (int c = 0; c < tensors_[k].columns; ++c)
        mask_.push_back(numeric::kept(mask_seed, plan[k].tensor, static_cast<std::uint32_t>(r),
                                      static_cast<std::uint32_t>(c),
                                      static_cast<std::uint32_t>(plan[k].keep)));
}

void Directions::set_eps(std::span<const TensorTraining> plan) {
  const double unit = numeric::z_unit(distribution_);
  for (std::size_t k = 0; k < tensors_.size(); ++k) tensors_[k].eps = plan[k].eps_lsb * unit;
}

std::size_t Directions::active() const {
  return mask_.empty() ? elements_
                       : elements_ - static_cast<std::size_t>(
                                         std::count(mask_.begin(), mask_.end(), std::uint8_t{0}));
}

void Directions::draw(std::uint64_t seed, std::span<std::int8_t> z) const {
  const bool sign = distribution_ == spec::Distribution::sign_;
  const numeric::Domain domain = sign ? numeric::Domain::sign_ : numeric::Domain::gaussian_;
  const std::uint32_t per = numeric::elements_per_word(domain), bits = 64 / per;
  std::size_t i = 0;
  for (const Tensor& t : tensors_) {
    for (std::uint32_t r = 0; r < static_cast<std::uint32_t>(t.rows); ++r) {
      std::uint64_t word = 0;
      for (std::uint32_t c = 0; c < static_cast<std::uint32_t>(t.columns); ++c, ++i) {
        if (c % per == 0) word = numeric::hash_word(seed, domain, t.id, r, c / per);
        const auto u = static_cast<std::uint32_t>(word) & (sign ? 1U : 0xffffU);
        word >>= bits;
        z[i] = static_cast<std::int8_t>(sign ? numeric::sign_z(u) : numeric::gaussian_z(u));
        if (!mask_.empty() && mask_[i] == 0) z[i] = 0;
      }
    }
  }
}

std::vector<double> Directions::amplitudes() const {
  std::vector<double> out;
  for (const Tensor& t : tensors_)
    for (const double lsb : t.lsb) out.push_back(t.eps * lsb);
  return out;
}

template <class T>
struct EmulatedTarget<T>::State {
  // One trained tensor: codes in units of `coarse` of the network's LSBs (quantized), or nothing.
  struct Codes {
    std::vector<std::int32_t> values;
    double coarse = 1;
    std::int32_t limit = 0;
    Scaled eps;
    ScaledStep step;
  };
  Golden<T> golden;
  QuantizedNetwork network;
  Directions directions;
  Widths widths;
  int cut = kNetworkInput;
  std::size_t elements = 0;  // of one example of `features`
  std::vector<T> features;   // outputs of `cut` for every example
  std::vector<Label> labels;
  FloatParams<T> params, moved, start;  // `moved`: perturbed
  std::vector<Codes> codes, start_codes;
  std::vector<T> x;
  std::vector<Label> y;
  std::vector<std::int8_t> z;
  std::uint64_t z_seed = 0;
  bool z_valid = false;
  double perturbed_share = 1;

  [[nodiscard]] std::vector<T>& tensor(FloatParams<T>& p, const Directions::Tensor& t) const {
    return t.bias ? p.layers[t.layer].bias : p.layers[t.layer].weights;
  }
  // Real values of a tensor's codes, or what a float weight is.
  void refresh(std::size_t k) {
    if (widths.weights == 0) return;
    const Directions::Tensor& t = directions.tensors()[k];
    std::vector<T>& to = tensor(params, t);
    for (std::size_t i = 0; i < t.count; ++i)
      to[i] = static_cast<T>(codes[k].values[i] * codes[k].coarse * t.lsb[i]);
  }
  void encode_eps() {
    if (widths.weights == 0) return;
    for (std::size_t k = 0; k < codes.size(); ++k) {
      const Directions::Tensor& t = directions.tensors()[k];
      codes[k].eps =
          encode_scaled(t.eps / codes[k].coarse, t.bias ? 24 : 16, "emulated perturbation");
    }
  }
  double loss_of(const FloatParams<T>& p, std::span<const T> in, std::span<const Label> of,
                 int first, std::int64_t& correct) {
    std::vector<std::vector<T>> outputs(network.layers.size());
    if (first > 0) outputs[at(first - 1)].assign(in.begin(), in.end());
    std::vector<std::int16_t> logit_codes;
    const std::vector<T> logits =
        simulate<T>(golden, network, p, in, outputs, first, widths, {}, &logit_codes);
    if (widths.logits == 0) {
      const BatchLoss b = cross_entropy<T>(logits, of);
      correct += b.correct;
      return b.mean;
    }
    const std::size_t classes = logits.size() / of.size();
    std::int64_t sum = 0;
    for (std::size_t i = 0; i < of.size(); ++i) {
      const auto r = numeric::cross_entropy(
          std::span<const std::int16_t>(logit_codes).subspan(i * classes, classes), of[i],
          network.logits.loss_multiplier, network.logits.loss_shift);
      sum += r.loss;
      correct += r.correct ? 1 : 0;
    }
    return numeric::mean_nats(sum, static_cast<double>(of.size()));
  }
};

template <class T>
EmulatedTarget<T>::EmulatedTarget(const Network& folded, const FloatParams<T>& params,
                                  const QuantizedNetwork& network,
                                  std::span<const TensorTraining> plan, const Dataset& data,
                                  spec::Distribution distribution, std::uint64_t mask_seed,
                                  const Widths& widths, int threads)
    : state_(new State{Golden<T>(folded, threads),
                       network,
                       Directions(network, plan, distribution, mask_seed),
                       widths,
                       frozen_prefix(network.network, plan),
                       0,
                       {},
                       data.y,
                       simulated_params<T>(network, params, widths.weights),
                       {},
                       {},
                       {},
                       {},
                       {},
                       {},
                       {},
                       0,
                       false,
                       1}) {
  State& s = *state_;
  for (const Directions::Tensor& t : s.directions.tensors()) {
    typename State::Codes c;
    if (widths.weights != 0) {
      const QuantizedLayer& q = network.layers[t.layer];
      if (t.bias) {
        c.values = q.bias;
        c.limit = numeric::kBiasMax;
      } else {
        const int own = bits_of(network.weight_type_of(t.layer));
        const int bits = std::min(own, widths.weights);
        c.values = narrow_weights(q.weights, own, bits);
        c.limit = (1 << (bits - 1)) - 1;
        c.coarse = 1 << (own - bits);
      }
      c.step = encode_step(std::max(t.step / c.coarse, 0x1p-16), "emulated step");
    }
    s.codes.push_back(std::move(c));
  }
  s.encode_eps();
  s.moved = s.start = s.params;
  s.start_codes = s.codes;
  s.z.resize(s.directions.elements());
  const std::vector<T> x = simulated_input<T>(network, data.x, widths.activations);
  s.elements = at(folded.shape_of(s.cut).elements());
  if (s.cut == kNetworkInput) {
    s.features = x;
    return;
  }
  const auto each = at(folded.input.elements());
  for (std::size_t first = 0; first < data.size(); first += 128) {
    const std::size_t n = std::min<std::size_t>(128, data.size() - first);
    std::vector<std::vector<T>> outputs;
    static_cast<void>(simulate<T>(s.golden, network, s.params,
                                  std::span<const T>(x).subspan(first * each, n * each), outputs, 0,
                                  widths));
    const std::vector<T>& f = outputs[at(s.cut)];
    s.features.insert(s.features.end(), f.begin(), f.end());
  }
}

template <class T>
EmulatedTarget<T>::~EmulatedTarget() = default;

template <class T>
void EmulatedTarget<T>::set_eps(std::span<const TensorTraining> plan) {
  State& s = *state_;
  s.directions.set_eps(plan);
  s.encode_eps();
}

template <class T>
void EmulatedTarget<T>::set_batch(std::span<const std::uint32_t> examples) {
  State& s = *state_;
  s.x.clear();
  s.y.clear();
  for (const std::uint32_t i : examples) {
    const auto x = std::span<const T>(s.features).subspan(i * s.elements, s.elements);
    s.x.insert(s.x.end(), x.begin(), x.end());
    s.y.push_back(s.labels[i]);
  }
}

template <class T>
std::int64_t EmulatedTarget<T>::loss_sum(spec::Polarity polarity, std::uint64_t seed) {
  return loss_sum_of(loss(polarity, seed), state_->y.size());
}

template <class T>
double EmulatedTarget<T>::loss(spec::Polarity polarity, std::uint64_t seed) {
  State& s = *state_;
  if (!s.z_valid || s.z_seed != seed) {
    s.directions.draw(seed, s.z);
    s.z_seed = seed;
    s.z_valid = true;
  }
  const int sign = polarity == spec::Polarity::plus_    ? 1
                   : polarity == spec::Polarity::minus_ ? -1
                                                        : 0;
  std::size_t seen = 0, moved = 0;
  for (std::size_t k = 0; k < s.codes.size(); ++k) {
    const Directions::Tensor& t = s.directions.tensors()[k];
    const std::vector<T>& from = s.tensor(s.params, t);
    std::vector<T>& to = s.tensor(s.moved, t);
    const typename State::Codes& c = s.codes[k];
    for (std::size_t i = 0; i < t.count; ++i) {
      const int z{s.z[t.first + i]};
      if (s.widths.weights == 0) {
        to[i] = from[i] + static_cast<T>(sign * t.eps * t.lsb[i] * z);
        continue;
      }
      const std::int64_t magnitude =
          numeric::perturb_magnitude(c.eps.mantissa, static_cast<int>(c.eps.shift), z);
      const std::int64_t delta = z < 0 ? -magnitude : magnitude;
      seen += z != 0 ? 1 : 0;
      moved += delta != 0 ? 1 : 0;
      to[i] = static_cast<T>(numeric::perturb(c.values[i], sign * delta, c.limit).value * c.coarse *
                             t.lsb[i]);
    }
  }
  if (seen != 0) s.perturbed_share = static_cast<double>(moved) / static_cast<double>(seen);
  std::int64_t correct = 0;
  return s.loss_of(s.moved, s.x, s.y, s.cut + 1, correct);
}

template <class T>
void EmulatedTarget<T>::update(std::span<const std::uint64_t> seeds,
                               std::span<const std::int8_t> coefficients,
                               std::uint32_t step_register) {
  State& s = *state_;
  std::vector<std::int32_t> g(s.directions.elements(), 0);
  for (std::size_t j = 0; j < seeds.size(); ++j) {
    if (coefficients[j] == 0) continue;
    s.directions.draw(seeds[j], s.z);
    for (std::size_t i = 0; i < g.size(); ++i) g[i] += coefficients[j] * s.z[i];
  }
  s.z_valid = false;
  const double factor = step_factor(step_register);
  for (std::size_t k = 0; k < s.codes.size(); ++k) {
    const Directions::Tensor& t = s.directions.tensors()[k];
    typename State::Codes& c = s.codes[k];
    if (s.widths.weights == 0) {
      std::vector<T>& w = s.tensor(s.params, t);
      for (std::size_t i = 0; i < t.count; ++i)
        w[i] -= static_cast<T>(t.step * factor * t.lsb[i] * g[t.first + i]);
      continue;
    }
    const numeric::Step step =
        numeric::combine_step(c.step.mantissa, static_cast<int>(c.step.shift),
                              spec::reg::kStepMantissa.get(step_register),
                              static_cast<int>(spec::reg::kStepShift.get(step_register)));
    for (std::size_t i = 0; i < t.count; ++i) {
      if (g[t.first + i] == 0) continue;
      const std::uint32_t bits = numeric::hash_element(
          seeds[0], spec::Domain::round_, t.id, static_cast<std::uint32_t>(i / at(t.columns)),
          static_cast<std::uint32_t>(i % at(t.columns)));
      c.values[i] = numeric::update(c.values[i], g[t.first + i], step, bits, c.limit).value;
    }
    s.refresh(k);
  }
}

template <class T>
void EmulatedTarget<T>::restart() {
  State& s = *state_;
  for (std::size_t k = 0; k < s.codes.size(); ++k) s.codes[k].values = s.start_codes[k].values;
  s.params = s.moved = s.start;
}

template <class T>
Accuracy EmulatedTarget<T>::evaluate(const Dataset& data) const {
  State& s = *state_;
  Accuracy a;
  const auto each = at(data.shape.elements());
  for (std::size_t first = 0; first < data.size(); first += 128) {
    const std::size_t n = std::min<std::size_t>(128, data.size() - first);
    const std::vector<T> x = simulated_input<T>(
        s.network, std::span(data.x).subspan(first * each, n * each), s.widths.activations);
    a.loss += static_cast<double>(n) *
              s.loss_of(s.params, x, std::span(data.y).subspan(first, n), 0, a.correct);
    a.examples += static_cast<std::int64_t>(n);
  }
  if (a.examples != 0) a.loss /= static_cast<double>(a.examples);
  return a;
}

template <class T>
const FloatParams<T>& EmulatedTarget<T>::params() const {
  return state_->params;
}
template <class T>
double EmulatedTarget<T>::perturbed_share() const {
  return state_->perturbed_share;
}

template class EmulatedTarget<float>;
template class EmulatedTarget<double>;

}  // namespace lastmile
