// SPDX-License-Identifier: Apache-2.0
#include <algorithm>
#include <array>
#include <bit>

#include "sw/trainer/readout.hpp"

namespace lastmile {
namespace {

// Sixteen partial sums in a fixed order: the same result for every vector width.
float dot(std::span<const float> a, std::span<const float> b) {
  constexpr std::size_t kLanes = 16;
  std::array<float, kLanes> sums{};
  const std::size_t whole = a.size() / kLanes * kLanes;
  for (std::size_t i = 0; i < whole; i += kLanes)
    for (std::size_t k = 0; k < kLanes; ++k) sums[k] += a[i + k] * b[i + k];
  float total = 0;
  for (std::size_t i = whole; i < a.size(); ++i) total += a[i] * b[i];
  for (const float s : sums) total += s;
  return total;
}

}  // namespace

struct FloatReadout::State {
  FloatParams<float>& params;
  std::size_t head = 0;
  std::size_t elements = 0, classes = 0;  // of a record
  std::size_t batch = 0;
  double rate = 0;
  std::vector<float> records;
  std::vector<Label> labels;

  std::vector<float>& weights() const { return params.layers[head].weights; }
  [[nodiscard]] std::span<const float> record(std::size_t i) const {
    return std::span(records).subspan(i * elements, elements);
  }
  [[nodiscard]] std::span<float> row(std::size_t c) const {
    return std::span(weights()).subspan(c * elements, elements);
  }
  // Logits of records `first` to first + n - 1.
  [[nodiscard]] std::vector<float> logits(std::size_t first, std::size_t n) const {
    const std::vector<float>& bias = params.layers[head].bias;
    std::vector<float> z(n * classes);
    for (std::size_t i = 0; i < n; ++i)
      for (std::size_t c = 0; c < classes; ++c)
        z[i * classes + c] = dot(record(first + i), row(c)) + (bias.empty() ? 0 : bias[c]);
    return z;
  }
};

FloatReadout::FloatReadout(const Golden<float>& golden, FloatParams<float>& params,
                           const Dataset& data, const ReadoutSplit& split, int record,
                           double largest_rate, int batch)
    : state_(new State{params, 0, 0, 0, static_cast<std::size_t>(batch), largest_rate, {}, {}}) {
  State& s = *state_;
  const Network& net = golden.network();
  s.head = static_cast<std::size_t>(net.logits_layer());
  s.elements = static_cast<std::size_t>(net.shape_of(record).elements());
  s.classes = static_cast<std::size_t>(net.classes);
  const auto each = static_cast<std::size_t>(data.shape.elements());
  constexpr std::size_t kChunk = 64;
  std::vector<float> x;
  for (std::size_t first = 0; first < split.order.size(); first += kChunk) {
    x.clear();
    for (std::size_t i = first; i < std::min(first + kChunk, split.order.size()); ++i) {
      const auto from = std::span(data.x).subspan(split.order[i] * each, each);
      x.insert(x.end(), from.begin(), from.end());
      s.labels.push_back(data.y[split.order[i]]);
    }
    const auto trace = golden.trace(params, x);
    const std::vector<float>& r = trace[static_cast<std::size_t>(record)].post;
    s.records.insert(s.records.end(), r.begin(), r.end());
  }
}

FloatReadout::~FloatReadout() = default;

double FloatReadout::learn(std::uint32_t first, std::uint64_t, std::uint32_t step_register) {
  State& s = *state_;
  const std::size_t n = std::min(s.batch, s.labels.size() - first);
  const std::vector<float> z = s.logits(first, n);
  std::vector<float> e(z.size());
  const BatchLoss loss =
      cross_entropy<float>(z, std::span(s.labels).subspan(first, n), {}, std::span(e));
  const auto rate = static_cast<float>(s.rate * step_factor(step_register));
  std::vector<float> gradient(s.elements);
  for (std::size_t c = 0; c < s.classes; ++c) {
    std::fill(gradient.begin(), gradient.end(), 0.0F);
    for (std::size_t i = 0; i < n; ++i) {
      const std::span<const float> x = s.record(first + i);
      const float error = e[i * s.classes + c];
      for (std::size_t k = 0; k < x.size(); ++k) gradient[k] += error * x[k];
    }
    const std::span<float> w = s.row(c);
    for (std::size_t k = 0; k < w.size(); ++k) w[k] -= rate * gradient[k];
  }
  return loss.mean;
}

Accuracy FloatReadout::score(std::uint32_t first, std::uint32_t count) {
  const State& s = *state_;
  const std::vector<float> z = s.logits(first, count);
  const BatchLoss loss = cross_entropy<float>(z, std::span(s.labels).subspan(first, count));
  return {static_cast<std::int64_t>(loss.correct), static_cast<std::int64_t>(count), loss.mean};
}

ReadoutWeights FloatReadout::weights() {
  ReadoutWeights out;
  for (const float w : state_->weights()) out.push_back(std::bit_cast<std::int32_t>(w));
  return out;
}

void FloatReadout::set_weights(const ReadoutWeights& weights) {
  std::transform(weights.begin(), weights.end(), state_->weights().begin(),
                 [](std::int32_t w) { return std::bit_cast<float>(w); });
}

}  // namespace lastmile
