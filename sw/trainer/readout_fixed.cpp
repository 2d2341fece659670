// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "cmodel/numeric/loss_units.hpp"
#include "sw/base/error.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/trainer/readout.hpp"

namespace lastmile {
namespace {

constexpr double kErrorUnit = 128;  // an error of 1 in the NPU's int8

int checked_record(const QuantizedNetwork& network) {
  const int record = record_layer(network.network);
  if (record < 0)
    throw Error(ErrorKind::usage, fmt::format("network '{}' has no readouts, expected a fully "
                                              "connected last layer on a concat",
                                              network.network.name));
  return record;
}

}  // namespace

double readout_rate_unit(const QuantizedNetwork& network, const Dataset& data,
                         const DeviceOpener& open, const FixedOptions& options) {
  const int record = checked_record(network);
  CompileOptions compile_options;
  compile_options.batch =
      static_cast<int>(std::min<std::size_t>(static_cast<std::size_t>(options.batch), data.size()));
  compile_options.output_layer = record;
  const Session s =
      open_session(compile(network, options.hardware, compile_options), open, options.threads);
  const auto n = static_cast<std::size_t>(compile_options.batch);
  std::vector<std::int8_t> x(n * static_cast<std::size_t>(data.shape.elements()));
  quantize_activations(std::span(data.x).first(x.size()), network.input, x);
  s->load_batch(x, {});
  static_cast<void>(s->forward());
  const TensorQuant& quant = network.quant_of(record);
  std::int64_t squares = 0;
  for (const std::int8_t v : s->output())
    squares += std::int64_t{v - quant.zero_point} * (v - quant.zero_point);
  const double scale = quant.scale;
  return static_cast<double>(n) / (static_cast<double>(squares) * scale * scale);
}

struct FixedReadout::State {
  QuantizedNetwork network;
  Session session;
  std::uint32_t head = 0;  // its weights' tensor
  std::size_t batch = 0;
  std::size_t kept = 0;        // records with a place of their own
  std::size_t elements = 0;    // of an example
  std::vector<std::int8_t> x;  // examples in the order of the records; empty if all are kept
  std::vector<int> labels;     // of all records
  std::uint64_t passes = 0;
  std::vector<std::uint32_t> inner;       // tensors that move() trains
  std::vector<std::int32_t> inner_start;  // their weights when the kept records were computed
  bool moved = false;                     // inner weights are not those

  [[nodiscard]] std::vector<std::int32_t> inner_weights() {
    std::vector<std::int32_t> out;
    for (const std::uint32_t t : inner) {
      const std::vector<std::int32_t> w = session->read_tensor(t);
      out.insert(out.end(), w.begin(), w.end());
    }
    return out;
  }
  // `batch` labels, -1 behind the last record.
  [[nodiscard]] std::vector<int> labels_of(std::size_t first) const {
    std::vector<int> out(batch, -1);
    if (first < labels.size())
      std::copy_n(labels.begin() + static_cast<std::ptrdiff_t>(first),
                  std::min(batch, labels.size() - first), out.begin());
    return out;
  }
  // Records of examples `x`, and their labels, into the places from `to` on.
  void extract(std::span<const std::int8_t> examples, std::size_t first, std::size_t to) {
    const std::size_t n = examples.size() / elements;
    session->load_batch(examples, std::span(labels).subspan(first, n));
    session->extract(static_cast<int>(to));
    session->set_labels(labels_of(first), static_cast<int>(to));
    ++passes;
  }
  [[nodiscard]] std::span<const std::int8_t> examples_of(std::size_t first) const {
    const std::size_t n = std::min(batch, labels.size() - first);
    return std::span(x).subspan(first * elements, n * elements);
  }
  // Where records first to first + batch - 1 are now: in their places, or just computed.
  int place(std::size_t first) {
    if (!moved && (x.empty() || first + batch <= kept)) return static_cast<int>(first);
    extract(examples_of(first), first, kept);
    return static_cast<int>(kept);
  }
};

FixedReadout::FixedReadout(const QuantizedNetwork& network, const Dataset& data,
                           const ReadoutSplit& split, double largest_rate, const DeviceOpener& open,
                           const FixedOptions& options, std::uint64_t memory_bytes,
                           std::span<const TensorTraining> inner)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  const int record = checked_record(network);
  const int head = network.network.logits_layer();
  const QuantizedLayer& q = network.layers[static_cast<std::size_t>(head)];
  for (const float scale : q.weight_scale) {
    if (scale != q.weight_scale[0])
      throw Error(
          ErrorKind::usage,
          fmt::format("network '{}': the last layer's weights have several scales, expected "
                      "one: a step is one number",
                      network.network.name));
  }
  s.network = network;
  s.head = weight_tensor(head);
  s.batch = static_cast<std::size_t>(options.batch);
  s.elements = static_cast<std::size_t>(data.shape.elements());
  for (const std::uint32_t i : split.order) s.labels.push_back(data.y[i]);

  CompileOptions c;
  c.batch = options.batch;
  c.memory_bytes = memory_bytes;
  c.training.assign(inner.begin(), inner.end());
  c.distribution = options.distribution;
  c.readout =
      ReadoutTraining{largest_rate * static_cast<double>(network.quant_of(record).scale) /
                          (kErrorUnit * options.batch * static_cast<double>(q.weight_scale[0])),
                      0};
  const Program bare = compile(network, options.hardware, c);
  // What is left of the memory keeps records; 128 bytes for the alignment of what follows.
  const std::size_t each = bare.readout->pitch + static_cast<std::size_t>(bare.label_bytes);
  const std::size_t left = memory_bytes - bare.memory.total_bytes;
  const std::size_t room = left < 128 ? 0 : (left - 128) / each;
  const std::size_t wanted = (s.labels.size() + s.batch - 1) / s.batch * s.batch;
  s.kept = std::min(room / s.batch * s.batch, wanted);
  c.readout->kept = static_cast<int>(s.kept);
  s.session = open_session(compile(network, options.hardware, c), open, options.threads);
  // Records behind the last one are never counted.
  s.session->set_labels(std::vector<int>(s.batch, -1), static_cast<int>(s.kept));

  std::vector<std::int8_t> x;
  for (std::size_t first = 0; first < s.labels.size(); first += s.batch) {
    const std::size_t n = std::min(s.batch, s.labels.size() - first);
    x.resize(n * s.elements);
    for (std::size_t i = 0; i < n; ++i)
      quantize_activations(
          std::span(data.x).subspan(split.order[first + i] * s.elements, s.elements), network.input,
          std::span(x).subspan(i * s.elements, s.elements));
    if (s.kept < wanted || !inner.empty()) s.x.insert(s.x.end(), x.begin(), x.end());
    if (first < s.kept) s.extract(x, first, first);
  }
  for (const TensorTraining& t : inner) s.inner.push_back(t.tensor);
  s.inner_start = s.inner_weights();
}

FixedReadout::~FixedReadout() = default;

double FixedReadout::learn(std::uint32_t first, std::uint64_t seed, std::uint32_t step_register) {
  State& s = *state_;
  const int place = s.place(first);
  return s.session->learn(step_register, seed, place).mean_nats();
}

Accuracy FixedReadout::score(std::uint32_t first, std::uint32_t count) {
  State& s = *state_;
  if (first + count != s.labels.size())
    throw Error(ErrorKind::usage, fmt::format("score of records {} to {}, expected the last ones",
                                              first, first + count));
  Accuracy out;
  // In integers: which of two losses is smaller is then the same on every host.
  std::int64_t loss = 0;
  for (std::size_t at = first; at < s.labels.size(); at += s.batch) {
    const int place = s.place(at);
    const ForwardResult r = s.session->score(place);
    out.correct += r.correct;
    out.examples += r.examples;
    loss += r.loss_sum;
  }
  out.loss = numeric::mean_nats(loss, static_cast<double>(out.examples));
  return out;
}

ReadoutWeights FixedReadout::weights() {
  ReadoutWeights out = state_->session->read_tensor(state_->head);
  const std::vector<std::int32_t> inner = state_->inner_weights();
  out.insert(out.end(), inner.begin(), inner.end());
  return out;
}

void FixedReadout::set_weights(const ReadoutWeights& weights) {
  State& s = *state_;
  std::size_t at = 0;
  const auto next = [&](std::uint32_t tensor) {
    const std::size_t n = s.session->program().find_tensor(tensor)->elements();
    if (at + n > weights.size())
      throw Error(ErrorKind::usage,
                  fmt::format("{} weights, expected those of all that trains", weights.size()));
    s.session->write_tensor(tensor, std::span(weights).subspan(at, n));
    at += n;
  };
  next(s.head);
  for (const std::uint32_t t : s.inner) next(t);
  s.moved = !std::equal(s.inner_start.begin(), s.inner_start.end(),
                        weights.end() - static_cast<std::ptrdiff_t>(s.inner_start.size()));
}

ReadoutTarget::LossPair FixedReadout::pair(std::uint32_t first, std::uint64_t seed) {
  State& s = *state_;
  if (s.inner.empty()) return ReadoutTarget::pair(first, seed);
  const auto to = static_cast<int>(s.kept);
  const std::span<const std::int8_t> x = s.examples_of(first);
  s.session->load_batch(x, std::span(s.labels).subspan(first, x.size() / s.elements));
  s.session->set_labels(s.labels_of(first), to);
  const auto pass = [&](spec::Polarity polarity) {
    s.session->extract(to, polarity, seed);
    ++s.passes;
    return s.session->score(to).loss_sum;
  };
  const std::int64_t plus = pass(spec::Polarity::plus_);
  return {plus, pass(spec::Polarity::minus_)};
}

double FixedReadout::learn_again(std::uint64_t seed, std::uint32_t step_register) {
  State& s = *state_;
  return s.session->learn(step_register, seed, static_cast<int>(s.kept)).mean_nats();
}

void FixedReadout::move(std::span<const std::uint64_t> seeds,
                        std::span<const std::int8_t> coefficients, std::uint32_t step_register) {
  State& s = *state_;
  if (s.inner.empty()) return ReadoutTarget::move(seeds, coefficients, step_register);
  s.session->update(seeds, coefficients, step_register);
  s.moved = true;
}

QuantizedNetwork FixedReadout::network() {
  QuantizedNetwork out = state_->network;
  state_->session->read_weights(out);
  return out;
}
Device& FixedReadout::device() { return *state_->session.device; }
Driver& FixedReadout::driver() { return *state_->session.driver; }
std::uint64_t FixedReadout::passes() const { return state_->passes; }

}  // namespace lastmile
