// SPDX-License-Identifier: Apache-2.0
// Gradients of the golden model by backpropagation, layer by layer on chunks of the batch: the
// pre-trainer's and the baseline's.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sw/base/label.hpp"
#include "sw/base/parallel.hpp"
#include "sw/golden/golden.hpp"
#include "sw/golden/params.hpp"
#include "sw/graph/network.hpp"

namespace lastmile {

template <class T>
class Backprop {
 public:
  // threads 0: all of the machine. Throws what check_network() throws.
  explicit Backprop(Network network, int threads = 1);

  [[nodiscard]] const Network& network() const { return network_; }

  // Mean loss of the batch, and its gradient with respect to every tensor of the layers with
  // `trainable` true (empty: all). x: n examples of the network's input, labels: n. Layers that do
  // not train keep zero gradients; below the lowest one that does, nothing is computed. Batch norm
  // of a trainable layer uses the batch's mean and (biased) variance, which are left in
  // `gradients.layers[i].mean` and `.variance`; of another layer, its running ones. Same bits for
  // any number of threads.
  BatchLoss gradients(const FloatParams<T>& params, std::span<const T> x,
                      std::span<const Label> labels, const std::vector<bool>& trainable,
                      FloatParams<T>& gradients);

 private:
  struct Pass;  // what one call of gradients() works on
  void forward_layer(Pass& pass, std::size_t i);
  void norm_forward(Pass& pass, std::size_t i);
  void backward_layer(Pass& pass, std::size_t i);
  void norm_backward(Pass& pass, std::size_t i);
  void reduce(const Pass& pass, std::vector<std::vector<T>>& parts, std::vector<T>& total);

  Network network_;
  Workers workers_;
  // Kept from call to call: by layer, the whole batch.
  std::vector<std::vector<T>> output_, sums_,
      gradient_;  // sums_: before batch norm, where it uses the batch
  std::vector<T> logits_gradient_;
  std::vector<std::vector<T>> weight_parts_, bias_parts_;  // by chunk, of one layer
};

extern template class Backprop<float>;
extern template class Backprop<double>;

}  // namespace lastmile
