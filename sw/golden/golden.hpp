// SPDX-License-Identifier: Apache-2.0
// The golden model: the float network that quantization is measured against and that pre-training
// and the baseline train. Every operator of sw/graph in float32 or float64, batched, with Eigen's
// matrix products. Results are the same bits for any number of threads, and an example's results
// may differ in the last bits with its position in the batch (chunks of 8).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sw/base/label.hpp"
#include "sw/base/parallel.hpp"
#include "sw/golden/params.hpp"
#include "sw/graph/network.hpp"

namespace lastmile {

struct BatchLoss {
  double mean = 0;  // softmax cross-entropy in nats, in double from the logits, averaged over the
                    // examples; with Loss::reconstruction the squared error per element
  std::int64_t correct = 0;  // examples whose first largest logit is the label
};

// Softmax cross-entropy of n examples: logits n x classes, labels n, per_example n or empty.
// `gradient`, n x classes or empty, receives d mean / d logits. Error(input) for a label outside
// [0, classes).
template <class T>
BatchLoss cross_entropy(std::span<const T> logits, std::span<const Label> labels,
                        std::span<double> per_example = {}, std::span<T> gradient = {});

// Mean squared error per element of n examples: outputs and targets of the same size, per_example n
// or empty; nothing is correct. `gradient` as above.
template <class T>
BatchLoss squared_error(std::span<const T> outputs, std::span<const T> targets, std::size_t n,
                        std::span<double> per_example = {}, std::span<T> gradient = {});

// What one layer put out for the whole batch, NHWC.
template <class T>
struct LayerTrace {
  std::vector<T> pre;   // before the activation (softmax: its input)
  std::vector<T> post;  // the layer's output
};

template <class T>
class Golden {
 public:
  // threads 0: all of the machine. Throws what check_network() throws.
  explicit Golden(Network network, int threads = 1);

  [[nodiscard]] const Network& network() const { return network_; }
  [[nodiscard]] const Workers& workers() const { return workers_; }

  // In all of these x is n examples of the network's input, and parameters are those of network();
  // batch norm uses its running mean and variance. Error(input) if a size does not fit. Parameters
  // are not searched for NaN (check_params does).

  // logits: n x classes.
  void forward(const FloatParams<T>& params, std::span<const T> x, std::span<T> logits) const;
  // The fast path of a forward-gradient trainer. per_example: n or empty. With
  // Loss::reconstruction the targets are x, and of the labels only their number counts.
  BatchLoss loss(const FloatParams<T>& params, std::span<const T> x, std::span<const Label> labels,
                 std::span<double> per_example = {}) const;
  // Every layer's tensors, by layer.
  [[nodiscard]] std::vector<LayerTrace<T>> trace(const FloatParams<T>& params,
                                                 std::span<const T> x) const;
  // One layer on inputs of the caller's choice (one span per Layer::inputs), so that an error can
  // be injected at one place.
  [[nodiscard]] LayerTrace<T> run_layer(int layer, const FloatParams<T>& params,
                                        const std::vector<std::span<const T>>& inputs) const;

 private:
  // Buffers by layer: `slot_[i]` is where layer i's output lives; a slot is reused once its last
  // reader has run.
  void plan();
  int batch_of(std::size_t elements) const;
  void forward_chunk(const FloatParams<T>& folded, int n, const T* x, T* logits,
                     std::vector<std::vector<T>>& slots) const;
  // `params` itself, or its folded copy in `storage` when the network has batch norm.
  const FloatParams<T>& folded(const FloatParams<T>& params, FloatParams<T>& storage) const;

  Network network_;
  Workers workers_;
  bool has_batch_norm_ = false;
  std::vector<std::size_t> slot_;
  std::vector<std::int64_t> slot_elements_;
};

extern template class Golden<float>;
extern template class Golden<double>;

}  // namespace lastmile
