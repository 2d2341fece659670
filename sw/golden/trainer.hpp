// SPDX-License-Identifier: Apache-2.0
// Training by backpropagation: optimizers, schedule, epochs. Pre-trains networks with batch norm,
// and is the baseline of the forward gradient on folded ones, with the same trainable layers.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "sw/base/label.hpp"
#include "sw/golden/backprop.hpp"

namespace lastmile {

enum class Optimizer {
  sgd,   // v = momentum * v + g; w -= rate * v (Sutskever et al. 2013 as PyTorch states it); weight
         // decay is added to g
  adam,  // Kingma, Ba 2015, bias-corrected; weight decay is decoupled (Loshchilov, Hutter 2019)
};

enum class Schedule {
  constant,
  cosine,  // from the learning rate to final_fraction of it over all steps
};

struct BackpropOptions {
  Optimizer optimizer = Optimizer::sgd;
  double learning_rate = 0.05;
  double momentum = 0.9;                              // sgd
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  // adam
  double weight_decay = 0;  // of weights; biases and batch norm do not decay
  Schedule schedule = Schedule::cosine;
  double final_fraction = 0;
  std::int64_t warmup_steps = 0;  // the rate grows linearly over these first steps
  double norm_momentum = 0.9;     // running = norm_momentum * running + (1 - norm_momentum) * batch
  std::vector<bool> trainable;    // by layer; empty: all
  int batch = 64;
  int epochs = 1;
  std::uint64_t seed = 1;  // of the order of the examples
  int threads = 1;         // 0: all of the machine
};

// Learning rate of step `step` of `steps`, both counted from 0.
[[nodiscard]] double rate_at(const BackpropOptions& options, std::int64_t step, std::int64_t steps);

// One optimizer with its state; the caller brings the batches. Error(usage) for options out of
// range.
template <class T>
class BackpropTrainer {
 public:
  BackpropTrainer(const Network& network, const BackpropOptions& options, std::int64_t steps);

  // One step on one batch. The loss returned was measured before the step. Error(diverged) naming
  // the step when the loss or a weight is not finite any more or the loss exceeds 100 times that of
  // guessing: training has diverged.
  BatchLoss step(FloatParams<T>& params, std::span<const T> x, std::span<const Label> labels);

  [[nodiscard]] std::int64_t steps_done() const { return step_; }
  // Of the last step, before weight decay.
  [[nodiscard]] const FloatParams<T>& gradients() const { return gradients_; }

 private:
  void update(FloatParams<T>& params, double rate);

  BackpropOptions options_;
  Backprop<T> backprop_;
  std::int64_t steps_, step_ = 0;
  FloatParams<T> gradients_, first_, second_;  // first_: momentum; second_: Adam's squares
};

// Puts the examples with these indices into x (one after another) and labels.
template <class T>
using BatchSource = std::function<void(std::span<const std::uint32_t> indices, std::span<T> x,
                                       std::span<Label> labels)>;

// A source over examples that lie one after another in memory; both spans must outlive it.
template <class T>
[[nodiscard]] BatchSource<T> memory_source(std::span<const T> x, std::span<const Label> labels);

struct EpochReport {
  int epoch = 0;        // from 1
  double loss = 0;      // mean over the epoch's batches
  double accuracy = 0;  // of the same, in [0, 1]
};

struct TrainCallbacks {
  std::function<void(std::int64_t step, std::int64_t steps, const BatchLoss& loss)> on_step = {};
  std::function<void(const EpochReport&)> on_epoch = {};
};

// options.epochs passes over `examples` in an order drawn from options.seed; the examples that fill
// no batch are left out of their epoch. Same bits for any number of threads. Returns the epochs'
// reports.
template <class T>
std::vector<EpochReport> train(const Network& network, FloatParams<T>& params,
                               std::int64_t examples, const BatchSource<T>& source,
                               const BackpropOptions& options,
                               const TrainCallbacks& callbacks = {});

extern template class BackpropTrainer<float>;
extern template class BackpropTrainer<double>;

}  // namespace lastmile
