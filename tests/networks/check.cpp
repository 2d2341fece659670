// SPDX-License-Identifier: Apache-2.0
#include "tests/networks/check.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <cstdlib>
#include <numeric>
#include <optional>
#include <stdexcept>

#include "cmodel/device/model_device.hpp"
#include "cmodel/npu/kernels/kernels.hpp"
#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/driver/session.hpp"
#include "sw/golden/golden.hpp"
#include "sw/quantizer/equalize.hpp"
#include "sw/quantizer/readout.hpp"
#include "sw/quantizer/rewrite.hpp"
#include "sw/trainer/host_rule.hpp"
#include "tests/networks/scales.hpp"
#include "tests/networks/simulation.hpp"

namespace lastmile::networks {
namespace {

constexpr int kCalibration = 12;  // examples
constexpr double kLogitsUpTo =
    300;  // larger ones are refused from 709 on: the head is brought down

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// A message without what is of one case: numbers and names.
std::string reason_of(const std::string& message) {
  std::string out;
  bool quoted = false;
  for (const char c : message) {
    if (c == '\'') quoted = !quoted;
    const bool digit = std::isdigit(static_cast<unsigned char>(c)) != 0;
    if (quoted && c != '\'') continue;
    if (digit && !out.empty() && out.back() == '#') continue;
    out += digit ? '#' : c;
  }
  return out;
}

struct Refused {
  std::string message;
};

// An error that a network may cause: of the right kind, and it names the network or the layer.
[[noreturn]] void refuse(const Error& e) {
  if (e.kind() != ErrorKind::input && e.kind() != ErrorKind::usage)
    throw std::runtime_error(
        fmt::format("refused as kind {}: {}", static_cast<int>(e.kind()), e.what()));
  const std::string what = e.what();
  if (what.find("'case'") == std::string::npos && what.find("layer 'l") == std::string::npos)
    throw std::runtime_error(fmt::format("refused without a name: '{}'", what));
  throw Refused{e.what()};
}

void fill_layer(const LayerCase& from, const Layer& l, LayerParams<float>& p) {
  Rng rng(static_cast<std::uint64_t>(from.seed));
  const std::size_t filters = at(l.filters), count = p.weights.size();
  const double deviation = std::sqrt(2.0 / static_cast<double>(reduction(l)));
  for (float& w : p.weights) w = static_cast<float>(deviation * rng.normal());
  for (float& b : p.bias) b = static_cast<float>(0.2 * rng.normal());
  for (float& g : p.gamma) g = static_cast<float>(1 + 0.3 * rng.normal());
  for (float& b : p.beta) b = static_cast<float>(0.2 * rng.normal());
  for (float& m : p.mean) m = static_cast<float>(0.2 * rng.normal());
  for (float& v : p.variance) v = static_cast<float>(rng.uniform(0.2, 2));
  const auto scale = [&](std::size_t channel, double by) {
    for (std::size_t k = 0; k < count; ++k) {
      const std::size_t o = l.op == Op::depthwise_conv2d ? k % filters : k / (count / filters);
      if (o == channel) p.weights[k] *= static_cast<float>(by);
    }
  };
  std::vector<float>& offset = l.batch_norm ? p.beta : p.bias;
  switch (from.weights) {
    case kOneScaled:
      scale(rng.below(filters), std::pow(10.0, rng.uniform(-3, 4)));
      break;
    case kHalfScaled: {
      const double by = std::pow(10.0, rng.uniform(-3, 3));
      for (std::size_t o = 0; o < filters; o += 2) scale(o, by);
      break;
    }
    case kDead:
      for (std::size_t o = rng.below(2); o < filters; o += 2) {
        scale(o, 100);
        if (!offset.empty()) offset[o] = -2e4F;
      }
      break;
    case kOutliers:
      for (int k = 0; k < 3; ++k) p.weights[rng.below(count)] *= 1000;
      break;
    case kZero:
      std::fill(p.weights.begin(), p.weights.end(), 0.0F);
      break;
    case kConstantBias:
      std::fill(offset.begin(), offset.end(), static_cast<float>(rng.uniform(-30, 30)));
      break;
    case kTiny:
      for (float& w : p.weights) w *= 1e-6F;
      break;
    case kEqual:
      std::fill(p.weights.begin(), p.weights.end(), static_cast<float>(deviation));
      break;
    default:
      break;
  }
}

std::vector<float> values_of(int kind, std::int64_t count, std::uint64_t seed) {
  Rng rng(seed);
  std::vector<float> x;
  for (std::int64_t i = 0; i < count; ++i) {
    double v = rng.normal();
    const double u = rng.uniform();
    switch (kind) {
      case kBytes:
        v = std::floor(u * 256) / 255;
        break;
      case kSparse:
        v = u < 0.9 ? 0 : v;
        break;
      case kConstant:
        v = 0.7;
        break;
      case kExtremes:
        v = u < 0.5 ? -1 : 1;
        break;
      case kZeros:
        v = 0;
        break;
      case kFarOff:
        v = 1000 + v;
        break;
      default:
        break;
    }
    x.push_back(static_cast<float>(v));
  }
  return x;
}

// A step of training as the simulation sees it, for every device to repeat.
struct ExpectedStep {
  std::vector<std::uint64_t> seeds;
  std::vector<Losses> plus, minus;
  std::vector<std::int8_t> coefficients;
  std::uint32_t step_register = 0;
  std::vector<std::vector<std::int32_t>> tensors;  // after it, in order of the plan
};

class Round {
 public:
  Round(const Case& c, Outcome& outcome) : c_(c), out_(outcome) {}

  void run() {
    try {
      prepare();
    } catch (const Error& e) {
      refuse(e);
    }
    simulate();
    for (int k = 0; k < 2; ++k) whole(k);
    part([&] { output(); });
    part([&] { rest(); });
    part([&] { moments(); });
    part([&] { readout(); });
  }

 private:
  template <class Body>
  void part(const Body& body) {
    try {
      body();
    } catch (const Refused& r) {
      out_.refusals.push_back(reason_of(r.message));
    }
  }

  [[noreturn]] void fail(const std::string& text) const {
    throw std::runtime_error(program_ + ": " + text);
  }
  template <class T>
  void same(const std::string& what, std::span<const T> found, std::span<const T> expected) {
    out_.values += expected.size();
    if (found.size() < expected.size())
      fail(fmt::format("{} has {} values, expected {}", what, found.size(), expected.size()));
    for (std::size_t i = 0; i < expected.size(); ++i)
      if (found[i] != expected[i])
        fail(fmt::format("{}, value {} is {}, expected {}", what, i, std::int64_t{found[i]},
                         std::int64_t{expected[i]}));
  }
  template <class T>
  void same(const std::string& what, const std::vector<T>& found, const std::vector<T>& expected) {
    same<T>(what, std::span<const T>(found), std::span<const T>(expected));
  }
  void same(const std::string& what, const ForwardResult& found, const Losses& expected) {
    ++out_.values;
    if (found.loss_sum != expected.sum || found.correct != expected.correct ||
        found.examples != expected.examples)
      fail(fmt::format("{}: loss {}, {} of {} right, expected loss {}, {} of {}", what,
                       found.loss_sum, found.correct, found.examples, expected.sum,
                       expected.correct, expected.examples));
  }

  // ---- the float network, its data, its integers

  void prepare() {
    program_ = "network";
    Network network = network_of(c_);
    check_network(network, "case");
    const auto seed = static_cast<std::uint64_t>(c_.seed);
    FloatParams<float> params = zero_params<float>(network);
    for (std::size_t i = 0; i < network.layers.size(); ++i)
      if (has_weights(network.layers[i]))
        fill_layer(c_.layers[i], network.layers[i], params.layers[i]);
    const std::int64_t each = network.input.elements();
    const std::vector<float> calibration =
        values_of(c_.data, kCalibration * each, sub_seed(seed, 1));
    n_ = std::max(1, c_.batch - c_.missing);
    const std::vector<float> x = values_of(c_.data, n_ * each, sub_seed(seed, 2));

    const bool headless = !has_weights(network.layers[at(network.logits_layer())]);
    if (c_.regroup != 0 || c_.equalize != 0 || headless) {
      const Network plain = fold_network(network);
      params = fold_params(network, params);
      if (c_.regroup != 0) params = depthwise_groups(plain, std::move(params));
      network = c_.regroup != 0 ? depthwise_groups(plain) : plain;
      params = weighted_head(network, std::move(params));
      network = weighted_head(network);
    }
    bring_logits_down(network, params, calibration);
    if (c_.equalize != 0) equalized(network, params, calibration);

    QuantizeOptions o;
    o.weight_type = c_.w8 != 0 ? WeightType::w8 : WeightType::w16;
    for (std::size_t i = 0; i < c_.layers.size(); ++i)
      if (c_.layers[i].other_width != 0 && has_weights(network.layers[i]))
        o.layer_weights[network.layers[i].name] = c_.w8 != 0 ? WeightType::w16 : WeightType::w8;
    o.method = c_.method == 0   ? CalibrationMethod::min_max
               : c_.method == 1 ? CalibrationMethod::percentile
                                : CalibrationMethod::mse;
    if (c_.headroom > 0) o.weight_headroom = 1.5;
    if (c_.headroom > 1) o.range_headroom = 1.25;
    o.per_channel = c_.per_tensor == 0;
    if (c_.floor > 0) o.channel_floor = c_.floor == 1 ? 0.0 : 0.5;
    if (c_.data == kBytes) o.input_range = TensorRange::Interval{0, 1};
    const CalibrationRanges ranges = calibrate(Golden<float>(network), params, calibration);
    net_ = quantize(network, params, ranges, o);
    check_scales(net_, network, params, ranges, o);

    x_.resize(x.size());
    quantize_activations(x, net_.input, x_);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double exact = x[i] / static_cast<double>(net_.input.scale) + net_.input.zero_point;
      if (std::abs(std::clamp(exact, -128.0, 127.0) - x_[i]) > 0.501)
        fail(fmt::format("input value {} is {}, expected {}", i, x_[i], exact));
    }
    Rng rng(seed, 3);
    for (int i = 0; i < n_; ++i) {
      const bool ignored = c_.ignored != 0 && i % c_.ignored == 0;
      const auto label =
          static_cast<int>(rng.below(static_cast<std::uint64_t>(net_.network.classes)));
      labels_.push_back(ignored ? -1 : label);
    }
    mask_seed_ = rng.next();
    plan();
  }

  static void bring_logits_down(const Network& network, FloatParams<float>& params,
                                std::span<const float> x) {
    std::vector<float> logits(at(kCalibration * network.classes));
    Golden<float>(network).forward(params, x, std::span<float>(logits));
    float largest = 0;
    for (const float l : logits) largest = std::max(largest, std::abs(l));
    if (!(largest > kLogitsUpTo) || !std::isfinite(largest)) return;
    LayerParams<float>& head = params.layers[at(network.logits_layer())];
    const auto by = static_cast<float>(kLogitsUpTo / largest);
    if (head.gamma.empty())
      for (float& w : head.weights) w *= by;
    for (std::vector<float>* v : {&head.gamma, &head.beta, &head.bias})
      for (float& f : *v) f *= by;
  }

  // The same function, but for rounding of sums that may cancel.
  void equalized(const Network& network, FloatParams<float>& params, std::span<const float> x) {
    const Golden<float> golden(network);
    std::vector<float> before(at(kCalibration * network.classes)), after = before;
    golden.forward(params, x, std::span<float>(before));
    FloatParams<float> other = params;
    equalize(network, other, x, {Equalization::on, c_.w8 != 0 ? 127.0 : 32767.0});
    golden.forward(other, x, std::span<float>(after));
    double largest = 1e-3;
    for (const float f : before) largest = std::max(largest, std::abs(static_cast<double>(f)));
    for (std::size_t i = 0; i < before.size(); ++i)
      if (!(std::abs(static_cast<double>(before[i]) - after[i]) <= 1e-2 * largest))
        fail(fmt::format("equalized, logit {} is {}, expected {}", i, after[i], before[i]));
    params = std::move(other);
  }

  // Perturbations and steps of all sizes that matter, by tensor.
  void plan() {
    const int head = net_.network.logits_layer();
    for (std::size_t i = 0; i < net_.layers.size(); ++i) {
      const Layer& l = net_.network.layers[i];
      if (!has_weights(l)) continue;
      for (std::uint32_t id = 2 * static_cast<std::uint32_t>(i); id % 2 == 0 || l.bias; ++id) {
        Rng rng(static_cast<std::uint64_t>(c_.seed), 100 + id);
        const bool bias = id % 2 != 0, w8 = net_.weight_type_of(i) == WeightType::w8;
        TensorTraining t{id,
                         std::exp2(rng.uniform(-2, bias ? 18
                                                   : w8 ? 4
                                                        : 11)),
                         std::exp2(rng.uniform(bias ? -4 : -10, bias ? 14 : 5)), c_.keep};
        if (c_.weak != 0) t.eps_lsb /= 64;
        const bool chosen = c_.train == 3 || (c_.train == 2 && rng.below(2) == 0) ||
                            (c_.train == 1 && static_cast<int>(i) == head);
        if (chosen) training_.push_back(t);
        if (bias) break;
      }
    }
  }

  // ---- what has to come out

  void simulate() {
    Simulation sim(net_, training_, c_.gaussian != 0, mask_seed_);
    start_ = sim.forward(x_, {});
    start_losses_ = sim.losses(start_.logits, labels_);
    Rng rng(static_cast<std::uint64_t>(c_.seed), 4);
    for (int s = 0; s < c_.steps && !training_.empty(); ++s) {
      ExpectedStep step;
      std::vector<std::int64_t> differences;
      for (int j = 0; j < c_.pairs; ++j) {
        step.seeds.push_back(rng.next());
        step.plus.push_back(sim.losses(sim.forward(x_, {1, step.seeds.back()}).logits, labels_));
        step.minus.push_back(sim.losses(sim.forward(x_, {-1, step.seeds.back()}).logits, labels_));
        differences.push_back(step.plus.back().sum - step.minus.back().sum);
      }
      const std::uint64_t d = static_cast<std::uint64_t>(std::abs(differences[0])) / 3 * 4;
      for (const std::int64_t difference : differences)
        step.coefficients.push_back(coefficient(difference, c_.scaled != 0, d));
      program_ = "host's rule";
      same("coefficients",
           coefficients(c_.scaled != 0 ? Estimator::scaled : Estimator::sign, differences, d),
           step.coefficients);
      // Other steps take what a host may send.
      if (s == 1 || std::all_of(step.coefficients.begin(), step.coefficients.end(),
                                [](int v) { return v == 0; }))
        for (std::int8_t& v : step.coefficients)
          v = static_cast<std::int8_t>(static_cast<int>(rng.below(255)) - 127);
      step.step_register =
          rng.below(3) == 0 ? 0xffff : static_cast<std::uint32_t>(rng.below(65536));
      if (rng.below(2) == 0) step.step_register |= static_cast<std::uint32_t>(rng.below(17)) << 16;
      sim.update(step.seeds, step.coefficients, size_of(step.step_register));
      for (const TensorTraining& t : training_) step.tensors.push_back(sim.tensor(t.tensor));
      steps_.push_back(std::move(step));
    }
    end_ = sim.forward(x_, {});
    end_losses_ = sim.losses(end_.logits, labels_);
  }
  static StepSize size_of(std::uint32_t step_register) {
    return {step_register & 0xffff, static_cast<int>(step_register >> 16)};
  }

  // ---- programs

  Session opened(const QuantizedNetwork& net, spec::HardwareParams hw, const CompileOptions& o,
                 int threads) {
    std::optional<Program> program;
    try {
      program = compile(net, hw, o);
    } catch (const Error& e) {
      refuse(e);
    }
    ++out_.programs;
    const auto all = npu::all_kernels();
    const std::size_t older = at(c_.kernels) % all.size();
    setenv("LASTMILE_KERNELS", std::string(all[all.size() - 1 - older]->name).c_str(), 1);
    Session s = open_session(std::move(*program), open_model, threads);
    unsetenv("LASTMILE_KERNELS");
    return s;
  }
  CompileOptions options(int k) const {
    CompileOptions o;
    o.batch = c_.batch;
    o.slots = c_.slots;
    o.training = training_;
    o.distribution = c_.gaussian != 0 ? spec::Distribution::gaussian_ : spec::Distribution::sign_;
    // One program keeps what it can for comparison, the other one is as users compile it.
    o.example_losses = k == 0;
    o.fuse_adds = k != 0 || c_.unfused == 0;
    o.reuse_memory = k != 0 || c_.reuse != 0;
    return o;
  }
  [[nodiscard]] int threads_of(int k) const { return k == 0 ? 1 : c_.threads; }

  void passed(Session& s, const std::string& what, const Outputs& expected, const Losses& losses,
              const ForwardResult& found) {
    const Program& p = s->program();
    for (const ActivationPlace& a : p.activations) {
      if (a.bits != 8 || a.overwritten_by >= 0 || a.at_output) continue;
      same(fmt::format("{}, layer {}", what, a.layer), s->activation(a.layer),
           expected.layers[at(a.layer)]);
    }
    same(what + ", logits", s->logits(), expected.logits);
    same(what, found, losses);
    if (p.example_losses) same(what + ", losses", s->example_losses(), losses.each);
  }

  void whole(int k) {
    program_ = fmt::format("program {}", k == 0 ? 'a' : 'b');
    Session s = opened(net_, c_.hardware[k], options(k), threads_of(k));
    const int slot = c_.slots - 1;
    if (slot > 0) {  // what is there must not matter
      const std::vector<std::int8_t> other(at(c_.batch * net_.network.input.elements()), 77);
      s->load_batch(other, std::vector<int>(at(c_.batch), 0), 0);
    }
    s->load_batch(x_, labels_, slot);
    s->select_batch(slot);
    s->set_mask_seed(mask_seed_);
    passed(s, "start", start_, start_losses_, s->forward());
    for (std::size_t i = 0; i < steps_.size(); ++i) {
      const ExpectedStep& e = steps_[i];
      for (std::size_t j = 0; j < e.seeds.size(); ++j) {
        const std::string what = fmt::format("step {}, pair {}", i, j);
        same(what + ", plus", s->forward(spec::Polarity::plus_, e.seeds[j]), e.plus[j]);
        if (k == 0) same(what + ", plus, losses", s->example_losses(), e.plus[j].each);
        same(what + ", minus", s->forward(spec::Polarity::minus_, e.seeds[j]), e.minus[j]);
      }
      s->update(e.seeds, e.coefficients, e.step_register);
      for (std::size_t t = 0; t < training_.size(); ++t)
        same(fmt::format("step {}, {}", i, tensor_name(net_.network, training_[t].tensor)),
             s->read_tensor(training_[t].tensor), e.tensors[t]);
    }
    if (!steps_.empty()) passed(s, "end", end_, end_losses_, s->forward());
  }

  [[nodiscard]] int layers() const { return static_cast<int>(net_.layers.size()); }

  // A layer's int8 output, by hardware that cannot train.
  void output() {
    const int layer = c_.output - 1;
    if (layer < 0 || layer >= layers()) return;
    program_ = fmt::format("output of layer {}", layer);
    CompileOptions o;
    o.batch = c_.batch;
    o.slots = c_.slots;
    o.output_layer = layer;
    o.fuse_adds = c_.unfused == 0;
    spec::HardwareParams hw = c_.hardware[1];
    hw.training = 0;
    Session s = opened(net_, hw, o, c_.threads);
    s->load_batch(x_, {}, c_.slots - 1);
    s->select_batch(c_.slots - 1);
    s->forward();
    same("output", s->output(c_.slots - 1), start_.layers[at(layer)]);
  }

  // What follows a layer that every path passes, its outputs as the batch.
  void rest() {
    const int from = c_.from - 1, head = net_.network.logits_layer();
    if (from < 0 || from >= head) return;
    for (int i = from + 1; i < layers(); ++i)
      for (const int in : net_.network.layers[at(i)].inputs)
        if (in < from) return;
    program_ = fmt::format("from layer {}", from);
    CompileOptions o = options(1);
    o.slots = 1;
    o.input_layer = from;
    std::erase_if(o.training,
                  [&](const TensorTraining& t) { return static_cast<int>(t.tensor / 2) <= from; });
    Session s = opened(net_, c_.hardware[0], o, c_.threads);
    s->set_mask_seed(mask_seed_);
    s->load_batch(start_.layers[at(from)], labels_);
    const Simulation sim(net_, o.training, c_.gaussian != 0, mask_seed_);
    passed(s, "plain", start_, start_losses_, s->forward());
    const Outputs plus = sim.forward(x_, {1, mask_seed_ + 1});
    passed(s, "plus", plus, sim.losses(plus.logits, labels_),
           s->forward(spec::Polarity::plus_, mask_seed_ + 1));
  }

  // Sums of a layer's values and of their squares, by channel.
  void moments() {
    const int layer = c_.moments - 1;
    if (layer < 0 || layer >= layers()) return;
    const Shape& shape = net_.network.layers[at(layer)].out;
    const std::int64_t columns = std::lcm(std::int64_t{shape.c}, std::int64_t{64});
    const std::int64_t batch = columns / std::gcd(columns, shape.elements());
    if (batch > 24) return;
    program_ = fmt::format("moments of layer {}", layer);
    CompileOptions o;
    o.batch = static_cast<int>(batch);
    o.output_layer = layer;
    o.moments = true;
    Session s = opened(net_, c_.hardware[0], o, c_.threads);
    std::vector<std::int8_t> x;
    const std::int64_t each = net_.network.input.elements();
    while (static_cast<std::int64_t>(x.size()) < batch * each)
      x.push_back(x_[x.size() % x_.size()]);
    s->load_batch(x, {});
    s->forward();
    const Driver::Moments found = s->moments();
    const Simulation sim(net_, {}, false, 0);
    const std::vector<std::int8_t> y = sim.forward(x, {}).layers[at(layer)];
    std::vector<std::int64_t> sums(at(shape.c), 0), squares = sums;
    for (std::size_t k = 0; k < y.size(); ++k) {
      sums[k % at(shape.c)] += y[k];
      squares[k % at(shape.c)] += std::int64_t{y[k]} * y[k];
    }
    same("sums", found.sums, sums);
    same("squares", found.squares, squares);
    if (found.count != batch * shape.h * shape.w) fail("number of values of a channel");
  }

  // Steps of readouts: records, scores, errors, gradient, update.
  void readout() {
    const Layer& head = net_.network.layers[at(net_.network.logits_layer())];
    if (c_.readout == 0 || head.op != Op::fully_connected || head.inputs[0] == kNetworkInput)
      return;
    program_ = "readouts";
    Rng rng(static_cast<std::uint64_t>(c_.seed), 5);
    ReadoutOptions how;
    how.taps = c_.readout == 1 ? "none" : "auto";
    how.record_bytes = 1024;
    std::optional<ReadoutNetwork> made;
    try {
      made = make_readout_network(net_, how);
    } catch (const Error& e) {
      refuse(e);
    }
    const QuantizedNetwork& net = made->network;
    const int logits = net.network.logits_layer();
    CompileOptions o = options(1);
    o.slots = 1;
    o.training.clear();
    if (c_.both != 0 && c_.train != 0) {  // the inner layers, too
      for (int i = 0; i < logits; ++i)
        if (has_weights(net.network.layers[at(i)]))
          o.training.push_back({weight_tensor(i), 2.5, 0.25, c_.keep});
    }
    o.readout = ReadoutTraining{std::exp2(rng.uniform(-22, -2)), c_.kept};
    Session s = opened(net, c_.hardware[1], o, c_.threads);
    Simulation sim(net, o.training, c_.gaussian != 0, mask_seed_);
    s->set_mask_seed(mask_seed_);
    s->load_batch(x_, labels_);
    const int first = c_.kept / 2;
    std::vector<int> all = labels_;
    all.resize(at(c_.batch), -1);
    s->set_labels(all, first);
    for (int step = 0; step < c_.steps; ++step) {
      const std::string what = fmt::format("step {}", step);
      const Draw draw{o.training.empty() ? 0 : step % 2 == 0 ? 1 : -1, rng.next()};
      const Outputs expected = sim.forward(x_, draw);
      const Losses losses = sim.losses(expected.logits, labels_);
      s->extract(first,
                 draw.polarity == 0  ? spec::Polarity::none_
                 : draw.polarity > 0 ? spec::Polarity::plus_
                                     : spec::Polarity::minus_,
                 draw.seed);
      same(what + ", score", s->score(first), losses);
      same(what + ", logits", s->logits(), expected.logits);
      const std::uint64_t seed = rng.next();
      const auto step_register = static_cast<std::uint32_t>(rng.below(65536));
      same(what + ", learn", s->learn(step_register, seed, first), losses);
      sim.learn(expected.layers[at(made->record)], expected.logits, labels_, o.readout->step_lsb,
                size_of(step_register), seed);
      same(what + ", weights", s->read_tensor(weight_tensor(logits)),
           sim.tensor(weight_tensor(logits)));
    }
    const Outputs expected = sim.forward(x_, {});
    s->select_batch(0);  // from the records
    passed(s, "end", expected, sim.losses(expected.logits, labels_), s->forward());
  }

  const Case& c_;
  Outcome& out_;
  std::string program_;  // what is being compared
  QuantizedNetwork net_;
  int n_ = 0;  // examples
  std::vector<std::int8_t> x_;
  std::vector<int> labels_;
  std::uint64_t mask_seed_ = 0;
  std::vector<TensorTraining> training_;
  Outputs start_, end_;
  Losses start_losses_, end_losses_;
  std::vector<ExpectedStep> steps_;
};

}  // namespace

Outcome check_case(const Case& c) {
  Outcome out;
  try {
    Round(c, out).run();
  } catch (const Refused& r) {
    out.refused = true;
    out.refusals.push_back(reason_of(r.message));
  } catch (const std::exception& e) {
    out.failed = true;
    out.text = e.what();
  }
  return out;
}

}  // namespace lastmile::networks
