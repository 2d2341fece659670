// SPDX-License-Identifier: Apache-2.0
#include "sw/golden/backprop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sw/base/error.hpp"
#include "sw/golden/kernels.hpp"

namespace lastmile {

using kernels::kChunk;

namespace {

struct Chunk {
  std::int64_t first;  // example
  int count;
};

// Sum over the rows of `rows` x `width` in blocks, so that float32 sums of many rows keep their
// accuracy.
template <class T, class Term>
void column_sums(std::int64_t rows, std::size_t width, double* sums, Term&& term) {
  constexpr std::int64_t kBlock = 64;
  std::vector<T> block(width);
  for (std::int64_t first = 0; first < rows; first += kBlock) {
    std::fill(block.begin(), block.end(), T{0});
    for (std::int64_t r = first; r < std::min(rows, first + kBlock); ++r) {
      for (std::size_t c = 0; c < width; ++c)
        block[c] += term(static_cast<std::size_t>(r) * width + c, c);
    }
    for (std::size_t c = 0; c < width; ++c) sums[c] += static_cast<double>(block[c]);
  }
}

}  // namespace

template <class T>
struct Backprop<T>::Pass {
  const FloatParams<T>& params;
  FloatParams<T>& gradients;
  std::span<const T> x;
  std::int64_t examples;
  std::int64_t chunks;
  std::vector<bool> trains;  // by layer: its tensors get gradients
  std::vector<bool> flows;   // by layer: the gradient of its output is needed
  FloatParams<T>
      effective;  // weights and biases the forward pass uses: folded where batch norm is frozen
  // Batch statistics of the layers whose batch norm trains.
  std::vector<std::vector<T>> scale;      // gamma / sqrt(variance + epsilon)
  std::vector<std::vector<T>> deviation;  // 1 / sqrt(variance + epsilon)

  [[nodiscard]] Chunk chunk(std::int64_t c) const {
    const std::int64_t first = c * kChunk;
    return {first, static_cast<int>(std::min<std::int64_t>(kChunk, examples - first))};
  }
};

template <class T>
Backprop<T>::Backprop(Network network, int threads)
    : network_(std::move(network)), workers_(threads) {
  check_network(network_, fmt::format("network '{}'", network_.name));
  output_.resize(network_.layers.size());
  sums_.resize(network_.layers.size());
  gradient_.resize(network_.layers.size());
}

template <class T>
void Backprop<T>::forward_layer(Pass& pass, std::size_t i) {
  const Layer& l = network_.layers[i];
  const bool norm = l.batch_norm && pass.trains[i];
  const std::int64_t out = l.out.elements();
  std::vector<T>& y = norm ? sums_[i] : output_[i];
  y.resize(static_cast<std::size_t>(pass.examples * out));
  const auto source = [&](std::size_t k, std::int64_t example) -> const T* {
    const int from = l.inputs[k];
    return (from == kNetworkInput ? pass.x.data()
                                  : output_[static_cast<std::size_t>(from)].data()) +
           example * input_elements(l, k);
  };
  const LayerParams<T>& p = pass.effective.layers[i];
  workers_.parallel_for(pass.chunks, [&](std::int64_t begin, std::int64_t end) {
    kernels::Scratch<T> scratch;
    for (std::int64_t c = begin; c < end; ++c) {
      const Chunk chunk = pass.chunk(c);
      T* to = y.data() + chunk.first * out;
      const T* a = source(0, chunk.first);
      if (has_weights(l)) {
        kernels::weighted_forward(l, chunk.count, a, p.weights.data(),
                                  p.bias.empty() ? nullptr : p.bias.data(),
                                  norm ? Activation::none : l.activation, to, scratch);
      } else {
        std::vector<const T*> inputs{a};
        for (std::size_t k = 1; k < l.inputs.size(); ++k) inputs.push_back(source(k, chunk.first));
        kernels::plain_forward<T>(l, chunk.count, inputs, to);
        kernels::activate(l.activation, to, to, static_cast<std::size_t>(chunk.count * out));
      }
    }
  });
  if (norm) norm_forward(pass, i);
}

// Mean and variance of each channel: chunks apart, then combined in their order (Chan, Golub,
// LeVeque 1983).
template <class T>
void Backprop<T>::norm_forward(Pass& pass, std::size_t i) {
  const Layer& l = network_.layers[i];
  const auto width = static_cast<std::size_t>(l.filters);
  const std::int64_t out = l.out.elements();
  const std::int64_t plane = std::int64_t{l.out.h} * l.out.w;
  const T* sums = sums_[i].data();
  std::vector<double> mean(static_cast<std::size_t>(pass.chunks) * width, 0.0),
      spread(mean.size(), 0.0);
  workers_.parallel_for(pass.chunks, [&](std::int64_t begin, std::int64_t end) {
    std::vector<T> centre(width);
    for (std::int64_t c = begin; c < end; ++c) {
      const Chunk chunk = pass.chunk(c);
      const T* from = sums + chunk.first * out;
      const std::int64_t rows = chunk.count * plane;
      double* m = mean.data() + static_cast<std::size_t>(c) * width;
      column_sums<T>(rows, width, m, [&](std::size_t at, std::size_t) { return from[at]; });
      for (std::size_t k = 0; k < width; ++k) {
        // The spread is taken around the rounded mean, so that is the mean from here on.
        centre[k] = static_cast<T>(m[k] / static_cast<double>(rows));
        m[k] = static_cast<double>(centre[k]);
      }
      column_sums<T>(rows, width, spread.data() + static_cast<std::size_t>(c) * width,
                     [&](std::size_t at, std::size_t k) {
                       return (from[at] - centre[k]) * (from[at] - centre[k]);
                     });
    }
  });
  LayerParams<T>& g = pass.gradients.layers[i];
  const LayerParams<T>& p = pass.params.layers[i];
  std::vector<T> shift(width);
  pass.scale[i].resize(width);
  pass.deviation[i].resize(width);
  for (std::size_t k = 0; k < width; ++k) {
    double count = 0, total_mean = 0, total_spread = 0;
    for (std::int64_t c = 0; c < pass.chunks; ++c) {
      const std::size_t at = static_cast<std::size_t>(c) * width + k;
      const auto rows = static_cast<double>(pass.chunk(c).count * plane);
      const double delta = mean[at] - total_mean;
      total_spread += spread[at] + delta * delta * count * rows / (count + rows);
      total_mean += delta * rows / (count + rows);
      count += rows;
    }
    const double variance = total_spread / count;
    const double deviation = 1.0 / std::sqrt(variance + kBatchNormEpsilon);
    g.mean[k] = static_cast<T>(total_mean);
    g.variance[k] = static_cast<T>(variance);
    pass.deviation[i][k] = static_cast<T>(deviation);
    pass.scale[i][k] = p.gamma[k] * pass.deviation[i][k];
    shift[k] = p.beta[k] - g.mean[k] * pass.scale[i][k];
  }
  output_[i].resize(sums_[i].size());
  workers_.parallel_for(pass.chunks, [&](std::int64_t begin, std::int64_t end) {
    const T* scale = pass.scale[i].data();
    for (std::int64_t c = begin; c < end; ++c) {
      const Chunk chunk = pass.chunk(c);
      const T* from = sums + chunk.first * out;
      T* to = output_[i].data() + chunk.first * out;
      for (std::int64_t r = 0; r < chunk.count * plane; ++r, from += width, to += width) {
        for (std::size_t k = 0; k < width; ++k) to[k] = from[k] * scale[k] + shift[k];
      }
      T* y = output_[i].data() + chunk.first * out;
      kernels::activate(l.activation, y, y, static_cast<std::size_t>(chunk.count * out));
    }
  });
}

// From the gradient of the output (in gradient_[i]) to that of the sums, in place; gradients of
// gamma and beta.
template <class T>
void Backprop<T>::norm_backward(Pass& pass, std::size_t i) {
  const Layer& l = network_.layers[i];
  const auto width = static_cast<std::size_t>(l.filters);
  const std::int64_t out = l.out.elements();
  const std::int64_t plane = std::int64_t{l.out.h} * l.out.w;
  LayerParams<T>& g = pass.gradients.layers[i];
  const T* mean = g.mean.data();
  const T* deviation = pass.deviation[i].data();
  std::vector<double> beta(static_cast<std::size_t>(pass.chunks) * width, 0.0),
      gamma(beta.size(), 0.0);
  workers_.parallel_for(pass.chunks, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = begin; c < end; ++c) {
      const Chunk chunk = pass.chunk(c);
      const std::int64_t rows = chunk.count * plane;
      T* d = gradient_[i].data() + chunk.first * out;
      const T* s = sums_[i].data() + chunk.first * out;
      kernels::activate_backward(l.activation, output_[i].data() + chunk.first * out, d,
                                 static_cast<std::size_t>(chunk.count * out));
      column_sums<T>(rows, width, beta.data() + static_cast<std::size_t>(c) * width,
                     [&](std::size_t at, std::size_t) { return d[at]; });
      column_sums<T>(rows, width, gamma.data() + static_cast<std::size_t>(c) * width,
                     [&](std::size_t at, std::size_t k) {
                       return d[at] * ((s[at] - mean[k]) * deviation[k]);
                     });
    }
  });
  std::vector<T> mean_beta(width), mean_gamma(width);
  const auto count = static_cast<double>(pass.examples * plane);
  for (std::size_t k = 0; k < width; ++k) {
    double b = 0, a = 0;
    for (std::int64_t c = 0; c < pass.chunks; ++c) {
      b += beta[static_cast<std::size_t>(c) * width + k];
      a += gamma[static_cast<std::size_t>(c) * width + k];
    }
    g.beta[k] = static_cast<T>(b);
    g.gamma[k] = static_cast<T>(a);
    mean_beta[k] = static_cast<T>(b / count);
    mean_gamma[k] = static_cast<T>(a / count);
  }
  workers_.parallel_for(pass.chunks, [&](std::int64_t begin, std::int64_t end) {
    const T* scale = pass.scale[i].data();
    for (std::int64_t c = begin; c < end; ++c) {
      const Chunk chunk = pass.chunk(c);
      T* d = gradient_[i].data() + chunk.first * out;
      const T* s = sums_[i].data() + chunk.first * out;
      for (std::int64_t r = 0; r < chunk.count * plane; ++r, d += width, s += width) {
        for (std::size_t k = 0; k < width; ++k) {
          const T normal = (s[k] - mean[k]) * deviation[k];
          d[k] = scale[k] * (d[k] - mean_beta[k] - normal * mean_gamma[k]);
        }
      }
    }
  });
}

template <class T>
void Backprop<T>::reduce(const Pass& pass, std::vector<std::vector<T>>& parts,
                         std::vector<T>& total) {
  const auto size = static_cast<std::int64_t>(total.size());
  // Small tensors are not worth waking threads for.
  const auto add = [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t c = 0; c < pass.chunks; ++c) {
      const T* part = parts[static_cast<std::size_t>(c)].data();
      for (std::int64_t k = begin; k < end; ++k) total[static_cast<std::size_t>(k)] += part[k];
    }
  };
  if (size < 4096) {
    add(0, size);
  } else {
    workers_.parallel_for(size, add);
  }
}

template <class T>
void Backprop<T>::backward_layer(Pass& pass, std::size_t i) {
  const Layer& l = network_.layers[i];
  const bool norm = l.batch_norm && pass.trains[i];
  const bool weights = has_weights(l) && pass.trains[i];
  const bool bias = weights && !pass.gradients.layers[i].bias.empty();
  const std::int64_t out = l.out.elements();
  if (norm) norm_backward(pass, i);
  // Where an input's gradient goes; null where nothing below needs it.
  const auto target = [&](std::size_t k, std::int64_t example) -> T* {
    if (l.inputs[k] == kNetworkInput) return nullptr;
    const auto from = static_cast<std::size_t>(l.inputs[k]);
    return pass.flows[from] ? gradient_[from].data() + example * input_elements(l, k) : nullptr;
  };
  const auto source = [&](std::int64_t example) -> const T* {
    const int from = l.inputs[0];
    return (from == kNetworkInput ? pass.x.data()
                                  : output_[static_cast<std::size_t>(from)].data()) +
           example * input_elements(l, 0);
  };
  if (weights) {
    weight_parts_.resize(static_cast<std::size_t>(pass.chunks));
    bias_parts_.resize(static_cast<std::size_t>(pass.chunks));
  }
  const LayerParams<T>& p = pass.effective.layers[i];
  workers_.parallel_for(pass.chunks, [&](std::int64_t begin, std::int64_t end) {
    kernels::Scratch<T> scratch;
    for (std::int64_t c = begin; c < end; ++c) {
      const Chunk chunk = pass.chunk(c);
      T* d = gradient_[i].data() + chunk.first * out;
      if (!norm) {
        kernels::activate_backward(l.activation, output_[i].data() + chunk.first * out, d,
                                   static_cast<std::size_t>(chunk.count * out));
      }
      const T* a = source(chunk.first);
      if (!has_weights(l)) {
        std::vector<T*> gradients;
        for (std::size_t k = 0; k < l.inputs.size(); ++k)
          gradients.push_back(target(k, chunk.first));
        kernels::plain_backward<T>(l, chunk.count, a, d, gradients);
        continue;
      }
      T* dw = nullptr;
      T* db = nullptr;
      if (weights) {
        auto& part = weight_parts_[static_cast<std::size_t>(c)];
        part.assign(p.weights.size(), T{0});
        dw = part.data();
      }
      if (bias) {
        auto& part = bias_parts_[static_cast<std::size_t>(c)];
        part.assign(p.bias.size(), T{0});
        db = part.data();
      }
      kernels::weighted_backward<T>(l, chunk.count, a, p.weights.data(), d, target(0, chunk.first),
                                    dw, db, scratch);
    }
  });
  if (weights) reduce(pass, weight_parts_, pass.gradients.layers[i].weights);
  if (bias) reduce(pass, bias_parts_, pass.gradients.layers[i].bias);
}

template <class T>
BatchLoss Backprop<T>::gradients(const FloatParams<T>& params, std::span<const T> x,
                                 std::span<const Label> labels, const std::vector<bool>& trainable,
                                 FloatParams<T>& gradients) {
  const auto n = static_cast<std::int64_t>(labels.size());
  if (static_cast<std::int64_t>(x.size()) != n * network_.input.elements() || n == 0) {
    throw Error(ErrorKind::input,
                fmt::format("golden model: input batch has {} elements, expected {} for {} labels",
                            x.size(), n * network_.input.elements(), n));
  }
  if (params.layers.size() != network_.layers.size() ||
      (!trainable.empty() && trainable.size() != network_.layers.size())) {
    throw Error(
        ErrorKind::input,
        fmt::format("golden model: parameters or trainable flags of {} and {} layers, expected {}",
                    params.layers.size(), trainable.size(), network_.layers.size()));
  }
  gradients = zero_params<T>(network_);
  for (LayerParams<T>& g : gradients.layers) std::fill(g.variance.begin(), g.variance.end(), T{0});
  Pass pass{params, gradients, x, n, (n + kChunk - 1) / kChunk, {}, {}, {}, {}, {}};
  const std::size_t count = network_.layers.size();
  pass.scale.resize(count);
  pass.deviation.resize(count);

  Network frozen = network_;  // batch norm only where it is folded
  for (std::size_t i = 0; i < count; ++i) {
    const Layer& l = network_.layers[i];
    pass.trains.push_back(has_weights(l) && (trainable.empty() || trainable[i]));
    frozen.layers[i].batch_norm = l.batch_norm && !pass.trains[i];
    bool flows = pass.trains[i];
    for (const int from : l.inputs)
      flows = flows || (from >= 0 && pass.flows[static_cast<std::size_t>(from)]);
    pass.flows.push_back(flows);
  }
  pass.effective = fold_params(frozen, params);

  const auto last = static_cast<std::size_t>(network_.logits_layer());
  for (std::size_t i = 0; i <= last; ++i) forward_layer(pass, i);
  for (std::size_t i = 0; i <= last; ++i) {
    if (pass.flows[i]) gradient_[i].assign(output_[i].size(), T{0});
  }
  logits_gradient_.resize(output_[last].size());
  const BatchLoss loss =
      network_.reconstructs()
          ? squared_error<T>(output_[last], x, labels.size(), {}, logits_gradient_)
          : cross_entropy<T>(output_[last], labels, {}, logits_gradient_);
  if (pass.flows[last]) gradient_[last] = logits_gradient_;
  for (std::size_t i = last + 1; i-- > 0;) {
    if (pass.flows[i]) backward_layer(pass, i);
  }
  return loss;
}

template class Backprop<float>;
template class Backprop<double>;

}  // namespace lastmile
