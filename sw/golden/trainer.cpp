// SPDX-License-Identifier: Apache-2.0
#include "sw/golden/trainer.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"

namespace lastmile {
namespace {

// A loss this many times that of guessing is no longer learning.
constexpr double kDivergence = 100;

void check_option(const char* name, double value, double low, double high) {
  if (!(value >= low && value <= high)) {
    throw Error(ErrorKind::usage, fmt::format("backpropagation: {} is {}, expected {} to {}", name,
                                              value, low, high));
  }
}

const BackpropOptions& checked(const BackpropOptions& o) {
  check_option("learning_rate", o.learning_rate, 0, 1e6);
  check_option("momentum", o.momentum, 0, 1);
  check_option("beta1", o.beta1, 0, 0.9999999);
  check_option("beta2", o.beta2, 0, 0.9999999);
  check_option("epsilon", o.epsilon, 0, 1);
  check_option("weight_decay", o.weight_decay, 0, 1);
  check_option("final_fraction", o.final_fraction, 0, 1);
  check_option("warmup_steps", static_cast<double>(o.warmup_steps), 0, 1e15);
  check_option("norm_momentum", o.norm_momentum, 0, 1);
  check_option("batch", o.batch, 1, 1e6);
  check_option("epochs", o.epochs, 0, 1e6);
  return o;
}

template <class T>
struct AdamStep {
  double rate, beta1, beta2, epsilon, correction1, correction2;
};

template <class T>
void sgd_update(std::span<T> w, const std::vector<T>& g, std::vector<T>& v, T rate, T momentum,
                T decay) {
  for (std::size_t i = 0; i < w.size(); ++i) {
    v[i] = momentum * v[i] + (g[i] + decay * w[i]);
    w[i] -= rate * v[i];
  }
}

template <class T>
void adam_update(std::span<T> w, const std::vector<T>& g, std::vector<T>& m, std::vector<T>& s,
                 T decay, const AdamStep<T>& a) {
  const T b1 = static_cast<T>(a.beta1), b2 = static_cast<T>(a.beta2);
  const T size = static_cast<T>(a.rate / a.correction1);
  const T root = static_cast<T>(1.0 / std::sqrt(a.correction2));
  const T epsilon = static_cast<T>(a.epsilon), shrink = static_cast<T>(a.rate) * decay;
  for (std::size_t i = 0; i < w.size(); ++i) {
    m[i] = b1 * m[i] + (T{1} - b1) * g[i];
    s[i] = b2 * s[i] + (T{1} - b2) * g[i] * g[i];
    w[i] -= size * m[i] / (std::sqrt(s[i]) * root + epsilon) + shrink * w[i];
  }
}

template <class T>
std::vector<T>& tensor(LayerParams<T>& p, TensorKind kind) {
  switch (kind) {
    case TensorKind::weights:
      return p.weights;
    case TensorKind::bias:
      return p.bias;
    case TensorKind::gamma:
      return p.gamma;
    case TensorKind::beta:
      break;
  }
  return p.beta;
}

}  // namespace

double rate_at(const BackpropOptions& o, std::int64_t step, std::int64_t steps) {
  double rate = o.learning_rate;
  if (o.schedule == Schedule::cosine && steps > 0) {
    const double t = std::min(1.0, static_cast<double>(step) / static_cast<double>(steps));
    rate *= o.final_fraction + (1 - o.final_fraction) * 0.5 * (1 + std::cos(std::numbers::pi * t));
  }
  if (step < o.warmup_steps)
    rate *= static_cast<double>(step + 1) / static_cast<double>(o.warmup_steps);
  return rate;
}

template <class T>
BackpropTrainer<T>::BackpropTrainer(const Network& network, const BackpropOptions& options,
                                    std::int64_t steps)
    : options_(checked(options)), backprop_(network, options.threads), steps_(steps) {
  if (!options_.trainable.empty() && options_.trainable.size() != network.layers.size()) {
    throw Error(ErrorKind::usage,
                fmt::format("backpropagation: trainable has {} flags, expected {}, one per layer",
                            options_.trainable.size(), network.layers.size()));
  }
  first_ = zero_params<T>(network);
  second_ = zero_params<T>(network);
}

template <class T>
void BackpropTrainer<T>::update(FloatParams<T>& params, double rate) {
  const AdamStep<T> adam{rate,
                         options_.beta1,
                         options_.beta2,
                         options_.epsilon,
                         1 - std::pow(options_.beta1, static_cast<double>(step_ + 1)),
                         1 - std::pow(options_.beta2, static_cast<double>(step_ + 1))};
  for (TensorRef<T>& ref : tensor_refs(params, options_.trainable)) {
    const auto i = static_cast<std::size_t>(ref.layer);
    const std::vector<T>& g = tensor(gradients_.layers[i], ref.kind);
    std::vector<T>& first = tensor(first_.layers[i], ref.kind);
    const T decay = ref.kind == TensorKind::weights ? static_cast<T>(options_.weight_decay) : T{0};
    if (options_.optimizer == Optimizer::sgd) {
      sgd_update(ref.values, g, first, static_cast<T>(rate), static_cast<T>(options_.momentum),
                 decay);
    } else {
      adam_update(ref.values, g, first, tensor(second_.layers[i], ref.kind), decay, adam);
    }
    // The sum of finite numbers may overflow, but then training has diverged too.
    const T sum = std::accumulate(ref.values.begin(), ref.values.end(), T{0});
    if (!std::isfinite(sum)) {
      throw Error(ErrorKind::diverged,
                  fmt::format("training diverged at step {}: {} of layer '{}' are not finite; try "
                              "a smaller learning "
                              "rate than {}",
                              step_, name_of(ref.kind), backprop_.network().layers[i].name,
                              options_.learning_rate));
    }
  }
  const T keep = static_cast<T>(options_.norm_momentum);
  for (std::size_t i = 0; i < params.layers.size(); ++i) {
    if (!backprop_.network().layers[i].batch_norm ||
        (!options_.trainable.empty() && !options_.trainable[i]))
      continue;
    LayerParams<T>& p = params.layers[i];
    const LayerParams<T>& batch = gradients_.layers[i];
    for (std::size_t k = 0; k < p.mean.size(); ++k) {
      p.mean[k] = keep * p.mean[k] + (T{1} - keep) * batch.mean[k];
      p.variance[k] = keep * p.variance[k] + (T{1} - keep) * batch.variance[k];
    }
  }
}

namespace {

// What it costs to know nothing: of an autoencoder, to give 0.
template <class T>
double guess_of(const Network& network, std::span<const T> x) {
  if (!network.reconstructs()) return std::log(static_cast<double>(network.classes));
  double sum = 0;
  for (const T v : x) sum += static_cast<double>(v) * static_cast<double>(v);
  return sum / static_cast<double>(std::max<std::size_t>(x.size(), 1));
}

}  // namespace

template <class T>
BatchLoss BackpropTrainer<T>::step(FloatParams<T>& params, std::span<const T> x,
                                   std::span<const Label> labels) {
  const BatchLoss loss = backprop_.gradients(params, x, labels, options_.trainable, gradients_);
  const double guess = guess_of(backprop_.network(), x);
  if (!std::isfinite(loss.mean) || loss.mean > kDivergence * guess) {
    throw Error(
        ErrorKind::diverged,
        fmt::format(
            "training diverged at step {}: the loss is {}, expected at most {:.0f} (guessing costs "
            "{:.2f}); try a smaller learning rate than {}",
            step_, loss.mean, kDivergence * guess, guess, options_.learning_rate));
  }
  update(params, rate_at(options_, step_, steps_));
  ++step_;
  return loss;
}

template <class T>
BatchSource<T> memory_source(std::span<const T> x, std::span<const Label> labels) {
  const std::size_t one = labels.empty() ? 0 : x.size() / labels.size();
  return [=](std::span<const std::uint32_t> indices, std::span<T> to, std::span<Label> to_labels) {
    for (std::size_t i = 0; i < indices.size(); ++i) {
      std::copy_n(x.begin() + static_cast<std::ptrdiff_t>(indices[i] * one), one,
                  to.begin() + static_cast<std::ptrdiff_t>(i * one));
      to_labels[i] = labels[indices[i]];
    }
  };
}

template <class T>
std::vector<EpochReport> train(const Network& network, FloatParams<T>& params,
                               std::int64_t examples, const BatchSource<T>& source,
                               const BackpropOptions& options, const TrainCallbacks& callbacks) {
  if (examples < 1 || examples > 0xffffffff) {
    throw Error(ErrorKind::input,
                fmt::format("training set has {} examples, expected 1 to 4294967295", examples));
  }
  check_params(network, params, fmt::format("initial weights of '{}'", network.name));
  const std::int64_t batch = std::min<std::int64_t>(checked(options).batch, examples);
  const std::int64_t per_epoch = examples / batch;
  const std::int64_t steps = per_epoch * options.epochs;
  BackpropTrainer<T> trainer(network, options, steps);
  std::vector<std::uint32_t> order(static_cast<std::size_t>(examples));
  std::vector<T> x(static_cast<std::size_t>(batch * network.input.elements()));
  std::vector<Label> labels(static_cast<std::size_t>(batch));
  std::vector<EpochReport> reports;
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    std::iota(order.begin(), order.end(), 0U);
    Rng rng(options.seed, static_cast<std::uint64_t>(epoch));
    rng.shuffle(std::span(order));
    EpochReport report{epoch + 1, 0, 0};
    for (std::int64_t b = 0; b < per_epoch; ++b) {
      source(std::span(order).subspan(static_cast<std::size_t>(b * batch),
                                      static_cast<std::size_t>(batch)),
             x, labels);
      const BatchLoss loss = trainer.step(params, x, labels);
      report.loss += loss.mean / static_cast<double>(per_epoch);
      report.accuracy += static_cast<double>(loss.correct) / static_cast<double>(per_epoch * batch);
      if (callbacks.on_step) callbacks.on_step(trainer.steps_done(), steps, loss);
    }
    reports.push_back(report);
    if (callbacks.on_epoch) callbacks.on_epoch(report);
  }
  return reports;
}

// NOLINTBEGIN(bugprone-macro-parentheses): the argument is a type.
#define LASTMILE_INSTANTIATE(T)                                                             \
  template class BackpropTrainer<T>;                                                        \
  template BatchSource<T> memory_source<T>(std::span<const T>, std::span<const Label>);     \
  template std::vector<EpochReport> train<T>(const Network&, FloatParams<T>&, std::int64_t, \
                                             const BatchSource<T>&, const BackpropOptions&, \
                                             const TrainCallbacks&);
// NOLINTEND(bugprone-macro-parentheses)
LASTMILE_INSTANTIATE(float)
LASTMILE_INSTANTIATE(double)
#undef LASTMILE_INSTANTIATE

}  // namespace lastmile
