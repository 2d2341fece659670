// SPDX-License-Identifier: Apache-2.0
#include <Eigen/Dense>
#include <algorithm>
#include <bit>

#include "sw/trainer/readout.hpp"

namespace lastmile {
namespace {

using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
using Map = Eigen::Map<Matrix>;
using ConstMap = Eigen::Map<const Matrix>;

}  // namespace

struct FloatReadout::State {
  FloatParams<float>& params;
  std::size_t head = 0;
  Eigen::Index elements = 0, classes = 0;  // of a record
  std::size_t batch = 0;
  double rate = 0;
  std::vector<float> records;
  std::vector<std::uint8_t> labels;

  std::vector<float>& weights() const { return params.layers[head].weights; }
  // Logits of records `first` to first + n - 1.
  [[nodiscard]] Matrix logits(std::size_t first, std::size_t n) const {
    const ConstMap x(records.data() + first * static_cast<std::size_t>(elements),
                     static_cast<Eigen::Index>(n), elements);
    Matrix z = x * ConstMap(weights().data(), classes, elements).transpose();
    const std::vector<float>& bias = params.layers[head].bias;
    if (!bias.empty()) z.rowwise() += Eigen::Map<const Eigen::RowVectorXf>(bias.data(), classes);
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
  s.elements = static_cast<Eigen::Index>(net.shape_of(record).elements());
  s.classes = net.classes;
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
  const Matrix z = s.logits(first, n);
  Matrix e(z.rows(), z.cols());
  const BatchLoss loss = cross_entropy<float>({z.data(), static_cast<std::size_t>(z.size())},
                                              std::span(s.labels).subspan(first, n), {},
                                              {e.data(), static_cast<std::size_t>(e.size())});
  const ConstMap x(s.records.data() + first * static_cast<std::size_t>(s.elements),
                   static_cast<Eigen::Index>(n), s.elements);
  const auto rate = static_cast<float>(s.rate * step_factor(step_register));
  Map(s.weights().data(), s.classes, s.elements).noalias() -= rate * (e.transpose() * x);
  return loss.mean;
}

Accuracy FloatReadout::score(std::uint32_t first, std::uint32_t count) {
  const State& s = *state_;
  const Matrix z = s.logits(first, count);
  const BatchLoss loss = cross_entropy<float>({z.data(), static_cast<std::size_t>(z.size())},
                                              std::span(s.labels).subspan(first, count));
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
