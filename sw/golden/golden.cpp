// SPDX-License-Identifier: Apache-2.0
#include "sw/golden/golden.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/golden/kernels.hpp"

namespace lastmile {
namespace {

void expect_size(const char* what, std::size_t found, std::size_t expected) {
  if (found != expected) {
    throw Error(ErrorKind::input, fmt::format("golden model: {} has {} elements, expected {}", what,
                                              found, expected));
  }
}

// One layer on n examples, activation included unless `pre` is given: then `pre` receives the
// values before it.
template <class T>
void run(const Layer& l, const LayerParams<T>& p, int n, std::span<const T* const> inputs, T* pre,
         T* y, kernels::Scratch<T>& scratch) {
  const T* a = inputs[0];
  const auto count = static_cast<std::size_t>(n) * static_cast<std::size_t>(l.out.elements());
  if (has_weights(l)) {
    const T* bias = p.bias.empty() ? nullptr : p.bias.data();
    if (pre == nullptr) {
      kernels::weighted_forward(l, n, a, p.weights.data(), bias, l.activation, y, scratch);
      return;
    }
    kernels::weighted_forward(l, n, a, p.weights.data(), bias, Activation::none, pre, scratch);
  } else {
    kernels::plain_forward(l, n, inputs, y);
    // the loss is taken from the input of a closing layer
    if (pre != nullptr) std::copy_n(traits(l.op).closing ? a : y, count, pre);
    if (pre == nullptr || traits(l.op).closing) {
      if (l.activation != Activation::none) kernels::activate<T>(l.activation, y, y, count);
      return;
    }
  }
  kernels::activate<T>(l.activation, pre, y, count);
}

}  // namespace

template <class T>
BatchLoss cross_entropy(std::span<const T> logits, std::span<const Label> labels,
                        std::span<double> per_example, std::span<T> gradient) {
  const std::size_t n = labels.size();
  const std::size_t classes = n == 0 ? 0 : logits.size() / n;
  expect_size("logits", logits.size(), n * classes);
  if (!per_example.empty()) expect_size("per-example losses", per_example.size(), n);
  if (!gradient.empty()) expect_size("gradient of the logits", gradient.size(), logits.size());
  BatchLoss result;
  for (std::size_t i = 0; i < n; ++i) {
    const std::span<const T> z = logits.subspan(i * classes, classes);
    if (labels[i] >= classes) {
      throw Error(ErrorKind::input,
                  fmt::format("golden model: label of example {} is {}, expected 0 to {}", i,
                              labels[i], classes - 1));
    }
    const std::size_t label = labels[i];
    const auto top = static_cast<std::size_t>(std::max_element(z.begin(), z.end()) - z.begin());
    const double high = static_cast<double>(z[top]);
    double sum = 0;
    for (const T v : z) sum += std::exp(static_cast<double>(v) - high);
    const double loss = std::log(sum) + high - static_cast<double>(z[label]);
    result.mean += loss;
    result.correct += top == label ? 1 : 0;
    if (!per_example.empty()) per_example[i] = loss;
    if (gradient.empty()) continue;
    const double scale = 1.0 / static_cast<double>(n);
    for (std::size_t c = 0; c < classes; ++c) {
      const double p = std::exp(static_cast<double>(z[c]) - high) / sum;
      gradient[i * classes + c] = static_cast<T>((p - (c == label ? 1.0 : 0.0)) * scale);
    }
  }
  if (n > 0) result.mean /= static_cast<double>(n);
  return result;
}

template <class T>
BatchLoss squared_error(std::span<const T> outputs, std::span<const T> targets, std::size_t n,
                        std::span<double> per_example, std::span<T> gradient) {
  expect_size("targets", targets.size(), outputs.size());
  if (!per_example.empty()) expect_size("per-example losses", per_example.size(), n);
  if (!gradient.empty()) expect_size("gradient of the outputs", gradient.size(), outputs.size());
  const std::size_t each = n == 0 ? 0 : outputs.size() / n;
  BatchLoss result;
  for (std::size_t i = 0; i < n; ++i) {
    double sum = 0;
    for (std::size_t k = i * each; k < (i + 1) * each; ++k) {
      const double d = static_cast<double>(outputs[k]) - static_cast<double>(targets[k]);
      sum += d * d;
      if (!gradient.empty())
        gradient[k] = static_cast<T>(2 * d / static_cast<double>(outputs.size()));
    }
    result.mean += sum / static_cast<double>(each);
    if (!per_example.empty()) per_example[i] = sum / static_cast<double>(each);
  }
  if (n > 0) result.mean /= static_cast<double>(n);
  return result;
}

template <class T>
Golden<T>::Golden(Network network, int threads) : network_(std::move(network)), workers_(threads) {
  check_network(network_, fmt::format("network '{}'", network_.name));
  for (const Layer& layer : network_.layers) has_batch_norm_ = has_batch_norm_ || layer.batch_norm;
  plan();
}

template <class T>
void Golden<T>::plan() {
  const std::size_t count = network_.layers.size();
  std::vector<std::size_t> last_reader(count);
  for (std::size_t i = 0; i < count; ++i) {
    last_reader[i] = i;
    for (const int input : network_.layers[i].inputs) {
      if (input >= 0) last_reader[static_cast<std::size_t>(input)] = i;
    }
  }
  std::vector<std::size_t> free;
  for (std::size_t i = 0; i < count; ++i) {
    if (free.empty()) {
      free.push_back(slot_elements_.size());
      slot_elements_.push_back(0);
    }
    slot_.push_back(free.back());
    free.pop_back();
    slot_elements_[slot_[i]] =
        std::max(slot_elements_[slot_[i]], network_.layers[i].out.elements());
    for (std::size_t j = 0; j < i; ++j) {
      if (last_reader[j] == i) free.push_back(slot_[j]);
    }
  }
}

template <class T>
int Golden<T>::batch_of(std::size_t elements) const {
  const auto one = static_cast<std::size_t>(network_.input.elements());
  expect_size("input batch", elements, elements / one * one);
  return static_cast<int>(elements / one);
}

template <class T>
const FloatParams<T>& Golden<T>::folded(const FloatParams<T>& params,
                                        FloatParams<T>& storage) const {
  expect_size("parameter list", params.layers.size(), network_.layers.size());
  for (std::size_t i = 0; i < network_.layers.size(); ++i) {
    expect_size("a weight tensor", params.layers[i].weights.size(),
                static_cast<std::size_t>(weight_count(network_.layers[i])));
  }
  if (!has_batch_norm_) return params;
  storage = fold_params(network_, params);
  return storage;
}

template <class T>
void Golden<T>::forward_chunk(const FloatParams<T>& params, int n, const T* x, T* logits,
                              std::vector<std::vector<T>>& slots) const {
  kernels::Scratch<T> scratch;
  const auto output = [&](int i) -> T* { return slots[slot_[static_cast<std::size_t>(i)]].data(); };
  const auto input = [&](int i) -> const T* { return i == kNetworkInput ? x : output(i); };
  const int last = network_.logits_layer();
  std::vector<const T*> inputs;
  for (int i = 0; i <= last; ++i) {
    const Layer& l = network_.layers[static_cast<std::size_t>(i)];
    inputs.clear();
    for (const int from : l.inputs) inputs.push_back(input(from));
    run<T>(l, params.layers[static_cast<std::size_t>(i)], n, inputs, nullptr,
           i == last ? logits : output(i), scratch);
  }
}

template <class T>
void Golden<T>::forward(const FloatParams<T>& params, std::span<const T> x,
                        std::span<T> logits) const {
  const int n = batch_of(x.size());
  expect_size("logits", logits.size(),
              static_cast<std::size_t>(n) * static_cast<std::size_t>(network_.classes));
  FloatParams<T> storage;
  const FloatParams<T>& p = folded(params, storage);
  const std::int64_t chunks = (n + kernels::kChunk - 1) / kernels::kChunk;
  workers_.parallel_for(chunks, [&](std::int64_t begin, std::int64_t end) {
    std::vector<std::vector<T>> slots;
    for (const std::int64_t elements : slot_elements_) {
      slots.emplace_back(static_cast<std::size_t>(elements * std::min(n, kernels::kChunk)));
    }
    for (std::int64_t c = begin; c < end; ++c) {
      stop_if_asked();
      const std::int64_t first = c * kernels::kChunk;
      const int count = static_cast<int>(std::min<std::int64_t>(kernels::kChunk, n - first));
      forward_chunk(p, count, x.data() + first * network_.input.elements(),
                    logits.data() + first * network_.classes, slots);
    }
  });
}

template <class T>
BatchLoss Golden<T>::loss(const FloatParams<T>& params, std::span<const T> x,
                          std::span<const Label> labels, std::span<double> per_example) const {
  expect_size("labels", labels.size(), static_cast<std::size_t>(batch_of(x.size())));
  std::vector<T> logits(labels.size() * static_cast<std::size_t>(network_.classes));
  forward(params, x, logits);
  if (network_.reconstructs()) return squared_error<T>(logits, x, labels.size(), per_example);
  return cross_entropy<T>(logits, labels, per_example);
}

template <class T>
std::vector<LayerTrace<T>> Golden<T>::trace(const FloatParams<T>& params,
                                            std::span<const T> x) const {
  std::vector<LayerTrace<T>> traces;
  for (std::size_t i = 0; i < network_.layers.size(); ++i) {
    std::vector<std::span<const T>> inputs;
    for (const int input : network_.layers[i].inputs) {
      inputs.push_back(input == kNetworkInput
                           ? x
                           : std::span<const T>(traces[static_cast<std::size_t>(input)].post));
    }
    traces.push_back(run_layer(static_cast<int>(i), params, inputs));
  }
  return traces;
}

template <class T>
LayerTrace<T> Golden<T>::run_layer(int layer, const FloatParams<T>& params,
                                   const std::vector<std::span<const T>>& inputs) const {
  stop_if_asked();
  FloatParams<T> storage;
  const FloatParams<T>& p = folded(params, storage);
  const Layer& l = network_.layers.at(static_cast<std::size_t>(layer));
  expect_size("input list", inputs.size(), l.inputs.size());
  const std::int64_t out = l.out.elements();
  const std::int64_t n = static_cast<std::int64_t>(inputs[0].size()) / input_elements(l, 0);
  for (std::size_t k = 0; k < inputs.size(); ++k)
    expect_size("layer input", inputs[k].size(),
                static_cast<std::size_t>(n * input_elements(l, k)));
  LayerTrace<T> result;
  result.pre.resize(static_cast<std::size_t>(n * out));
  result.post.resize(result.pre.size());
  workers_.parallel_for(
      (n + kernels::kChunk - 1) / kernels::kChunk, [&](std::int64_t begin, std::int64_t end) {
        kernels::Scratch<T> scratch;
        for (std::int64_t c = begin; c < end; ++c) {
          const std::int64_t first = c * kernels::kChunk;
          const int count = static_cast<int>(std::min<std::int64_t>(kernels::kChunk, n - first));
          std::vector<const T*> from;
          for (std::size_t k = 0; k < inputs.size(); ++k)
            from.push_back(inputs[k].data() + first * input_elements(l, k));
          run<T>(l, p.layers[static_cast<std::size_t>(layer)], count, from,
                 result.pre.data() + first * out, result.post.data() + first * out, scratch);
        }
      });
  return result;
}

template class Golden<float>;
template class Golden<double>;
template BatchLoss squared_error<float>(std::span<const float>, std::span<const float>, std::size_t,
                                        std::span<double>, std::span<float>);
template BatchLoss squared_error<double>(std::span<const double>, std::span<const double>,
                                         std::size_t, std::span<double>, std::span<double>);
template BatchLoss cross_entropy<float>(std::span<const float>, std::span<const Label>,
                                        std::span<double>, std::span<float>);
template BatchLoss cross_entropy<double>(std::span<const double>, std::span<const Label>,
                                         std::span<double>, std::span<double>);

}  // namespace lastmile
