// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/trainer/reconstruction.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {
namespace {

// A data set as the NPU reads it.
struct QuantizedData {
  std::vector<std::int8_t> x;
  std::vector<Label> y;
  std::size_t elements = 0;  // of one example
  [[nodiscard]] std::size_t size() const { return y.size(); }
  [[nodiscard]] std::span<const std::int8_t> range(std::size_t first, std::size_t count) const {
    return std::span(x).subspan(first * elements, count * elements);
  }
};

QuantizedData quantize_data(const QuantizedNetwork& network, const Dataset& data) {
  if (data.shape != network.network.input)
    throw Error(
        ErrorKind::input,
        fmt::format("data: examples are {}x{}x{}, expected {}x{}x{} (input of network {})",
                    data.shape.h, data.shape.w, data.shape.c, network.network.input.h,
                    network.network.input.w, network.network.input.c, network.network.name));
  QuantizedData q;
  q.elements = static_cast<std::size_t>(data.shape.elements());
  q.y = data.y;
  q.x.resize(data.x.size());
  quantize_activations(data.x, network.input, q.x);
  return q;
}

int batch_for(const FixedOptions& options, std::size_t examples) {
  return std::max(1, static_cast<int>(
                         std::min<std::size_t>(static_cast<std::size_t>(options.batch), examples)));
}

}  // namespace

int frozen_prefix(const Network& network, std::span<const TensorTraining> training) {
  int lowest = static_cast<int>(network.layers.size());
  for (const TensorTraining& t : training)
    lowest = std::min(lowest, static_cast<int>(t.tensor / 2));
  for (int cut = std::min(lowest, network.logits_layer()) - 1; cut >= 0; --cut) {
    bool all = true;
    for (std::size_t i = static_cast<std::size_t>(cut) + 1; i < network.layers.size(); ++i)
      for (const int input : network.layers[i].inputs) all = all && input >= cut;
    if (all) return cut;
  }
  return kNetworkInput;
}

std::vector<double> Accuracy::per_class() const {
  const auto classes = static_cast<std::size_t>(std::lround(std::sqrt(confusion.size())));
  std::vector<double> out(classes);
  for (std::size_t k = 0; k < classes; ++k) {
    const auto row = std::span(confusion).subspan(k * classes, classes);
    const auto all = std::accumulate(row.begin(), row.end(), std::int64_t{0});
    out[k] = all == 0 ? std::numeric_limits<double>::quiet_NaN()
                      : 100.0 * static_cast<double>(row[k]) / static_cast<double>(all);
  }
  return out;
}

double Accuracy::balanced() const {
  double sum = 0;
  int seen = 0;
  for (const double recall : per_class())
    if (!std::isnan(recall)) sum += recall, ++seen;
  return seen == 0 ? percent() : sum / seen;
}

Accuracy reconstruction_accuracy(std::span<const double> scores, std::span<const Label> labels,
                                 std::vector<Prediction>* predictions) {
  Accuracy a;
  a.reconstruction = true;
  a.examples = static_cast<std::int64_t>(scores.size());
  double sum = 0, normal_sum = 0;
  std::size_t normal = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    sum += scores[i];
    if (predictions != nullptr) predictions->push_back({0, scores[i]});
    if (labels[i] == 0) normal_sum += scores[i], ++normal;
  }
  if (!scores.empty()) a.loss = sum / static_cast<double>(scores.size());
  a.area = area_under_curve(scores, labels);
  if (a.area) a.normal_loss = normal_sum / static_cast<double>(normal);
  return a;
}

void Accuracy::count(Label label, int predicted, std::size_t classes) {
  if (classes > kMostConfused) return;
  confusion.resize(classes * classes);
  ++confusion[label * classes + static_cast<std::size_t>(predicted)];
}

void Accuracy::add(const Accuracy& other) {
  const std::int64_t all = examples + other.examples;
  if (all != 0)
    loss =
        (loss * static_cast<double>(examples) + other.loss * static_cast<double>(other.examples)) /
        static_cast<double>(all);
  correct += other.correct;
  examples = all;
  confusion.resize(std::max(confusion.size(), other.confusion.size()));
  for (std::size_t i = 0; i < other.confusion.size(); ++i) confusion[i] += other.confusion[i];
}

namespace {

// With Loss::reconstruction: sums of squares of every example.
Accuracy evaluate_squares(const QuantizedNetwork& network, const QuantizedData& q,
                          const Session& session, std::size_t batch,
                          std::vector<Prediction>* predictions) {
  std::vector<double> scores;
  scores.reserve(q.size());
  for (std::size_t first = 0; first < q.size(); first += batch) {
    stop_if_asked();
    const std::size_t n = std::min(batch, q.size() - first);
    session->load_batch(q.range(first, n), {});
    static_cast<void>(session->forward());
    const std::vector<std::int32_t> sums = session->example_losses();
    for (std::size_t i = 0; i < n; ++i) scores.push_back(mean_loss(network, sums[i], 1));
  }
  return reconstruction_accuracy(scores, q.y, predictions);
}

}  // namespace

Accuracy evaluate_fixed(const QuantizedNetwork& network, const Dataset& data,
                        const DeviceOpener& open, const FixedOptions& options,
                        std::vector<Prediction>* predictions) {
  const QuantizedData q = quantize_data(network, data);
  CompileOptions compile_options;
  compile_options.batch = batch_for(options, q.size());
  const Session session =
      open_session(compile(network, options.hardware, compile_options), open, options.threads);
  if (network.network.reconstructs())
    return evaluate_squares(network, q, session, static_cast<std::size_t>(compile_options.batch),
                            predictions);
  const auto classes = static_cast<std::size_t>(network.network.classes);
  Accuracy result;
  double loss = 0;
  const auto batch = static_cast<std::size_t>(compile_options.batch);
  for (std::size_t first = 0; first < q.size(); first += batch) {
    stop_if_asked();
    const std::size_t n = std::min(batch, q.size() - first);
    const std::vector<int> labels(q.y.begin() + static_cast<std::ptrdiff_t>(first),
                                  q.y.begin() + static_cast<std::ptrdiff_t>(first + n));
    session->load_batch(q.range(first, n), labels);
    const ForwardResult r = session->forward();
    result.correct += r.correct;
    result.examples += r.examples;
    loss += r.mean_nats() * r.examples;
    const std::vector<std::int16_t> logits = session->logits();
    for (std::size_t i = 0; i < n; ++i) {
      const auto row = std::span(logits).subspan(i * classes, classes);
      const Prediction p = prediction_of(row, network.logits.scale);
      result.count(q.y[first + i], p.label, classes);
      if (predictions != nullptr) predictions->push_back(p);
    }
  }
  if (result.examples != 0) result.loss = loss / static_cast<double>(result.examples);
  return result;
}

struct FixedTarget::State {
  QuantizedNetwork network;
  QuantizedData data;
  QuantizedData targets;  // Loss::reconstruction behind frozen layers: the network's inputs
  int input_layer = kNetworkInput;
  Session session;
  std::vector<std::int8_t> batch, batch_targets;
  std::vector<int> labels;
};

FixedTarget::FixedTarget(const QuantizedNetwork& network, std::span<const TensorTraining> training,
                         const Dataset& data, const DeviceOpener& open, const FixedOptions& options)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.network = network;
  s.data = quantize_data(network, data);
  if (options.cache_features) s.input_layer = frozen_prefix(network.network, training);
  if (s.input_layer != kNetworkInput) {
    CompileOptions prefix;
    prefix.batch = batch_for(options, s.data.size());
    prefix.output_layer = s.input_layer;
    const Session front =
        open_session(compile(network, options.hardware, prefix), open, options.threads);
    QuantizedData features;
    features.elements =
        static_cast<std::size_t>(network.network.shape_of(s.input_layer).elements());
    features.y = s.data.y;
    features.x.reserve(features.elements * features.y.size());
    const auto batch = static_cast<std::size_t>(prefix.batch);
    for (std::size_t first = 0; first < s.data.size(); first += batch) {
      const std::size_t n = std::min(batch, s.data.size() - first);
      front->load_batch(s.data.range(first, n), {});
      static_cast<void>(front->forward());
      const std::vector<std::int8_t> out = front->output();
      features.x.insert(features.x.end(), out.begin(),
                        out.begin() + static_cast<std::ptrdiff_t>(n * features.elements));
    }
    if (network.network.reconstructs()) s.targets = std::move(s.data);
    s.data = std::move(features);
  }
  CompileOptions compile_options;
  compile_options.batch = options.batch;
  compile_options.training.assign(training.begin(), training.end());
  compile_options.distribution = options.distribution;
  compile_options.input_layer = s.input_layer;
  s.session =
      open_session(compile(network, options.hardware, compile_options), open, options.threads);
  s.session->set_mask_seed(options.mask_seed);
}

FixedTarget::~FixedTarget() = default;

void FixedTarget::set_batch(std::span<const std::uint32_t> examples) {
  State& s = *state_;
  s.batch.clear();
  s.batch_targets.clear();
  s.labels.clear();
  for (const std::uint32_t i : examples) {
    const auto x = s.data.range(i, 1);
    s.batch.insert(s.batch.end(), x.begin(), x.end());
    if (!s.network.network.reconstructs()) {
      s.labels.push_back(s.data.y[i]);
    } else if (s.targets.size() != 0) {
      const auto t = s.targets.range(i, 1);
      s.batch_targets.insert(s.batch_targets.end(), t.begin(), t.end());
    }
  }
  if (s.batch_targets.empty())
    s.session->load_batch(s.batch, s.labels);
  else
    s.session->load_targets(s.batch, s.batch_targets);
}

std::int64_t FixedTarget::loss_sum(spec::Polarity polarity, std::uint64_t seed) {
  return state_->session->forward(polarity, seed).loss_sum;
}

double FixedTarget::loss(spec::Polarity polarity, std::uint64_t seed) {
  const ForwardResult r = state_->session->forward(polarity, seed);
  return mean_loss(state_->network, r.loss_sum, r.examples);
}

void FixedTarget::update(std::span<const std::uint64_t> seeds,
                         std::span<const std::int8_t> coefficients, std::uint32_t step_register) {
  state_->session->update(seeds, coefficients, step_register);
}

void FixedTarget::announce(std::uint32_t step) { device().annotate(fmt::format("step {}", step)); }

QuantizedNetwork FixedTarget::network() const {
  QuantizedNetwork out = state_->network;
  state_->session->read_weights(out);
  return out;
}
Device& FixedTarget::device() { return *state_->session.device; }
Driver& FixedTarget::driver() { return *state_->session.driver; }
int FixedTarget::input_layer() const { return state_->input_layer; }

}  // namespace lastmile
