// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/layers.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/compiler/compile.hpp"

namespace lastmile {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// Every activation can be read afterwards.
Program readable_program(const QuantizedNetwork& network, int batch, const FixedOptions& fixed) {
  CompileOptions o;
  o.batch = batch;
  o.fuse_adds = false;
  o.reuse_memory = false;
  if (network.network.reconstructs()) o.output_layer = network.network.logits_layer();
  return compile(network, fixed.hardware, o);
}

std::vector<double> real_values(std::span<const std::int8_t> codes, const TensorQuant& quant) {
  std::vector<double> out;
  out.reserve(codes.size());
  for (const std::int8_t v : codes)
    out.push_back(static_cast<double>(quant.scale) * (v - quant.zero_point));
  return out;
}
std::vector<double> real_values(std::span<const std::int16_t> codes, double scale) {
  std::vector<double> out;
  out.reserve(codes.size());
  for (const std::int16_t v : codes) out.push_back(scale * v);
  return out;
}

std::vector<std::int8_t> quantized(std::span<const double> values, const TensorQuant& quant) {
  const std::vector<float> narrow(values.begin(), values.end());
  std::vector<std::int8_t> out(values.size());
  quantize_activations(narrow, quant, out);
  return out;
}

// Whether running into the end of int8 loses anything: below, a clamp at the zero point was going
// to cut anyway; above, a clamp at 6.
struct Ends {
  bool low, high;
};
Ends lossy_ends(const Layer& l, const TensorQuant& out) {
  const double top = static_cast<double>(out.scale) * (127 - out.zero_point);
  return {l.activation == Activation::none,
          l.activation != Activation::relu6 || top < 6 - static_cast<double>(out.scale)};
}

void audit_weights(const Layer& l, const LayerParams<float>& p, const QuantizedLayer& q,
                   std::int32_t limit, const TensorQuant& in, LayerReport& r) {
  ErrorStats weights;
  std::vector<double> sum(q.weight_scale.size(), 0), largest(q.weight_scale.size(), 0), ratios;
  const auto each = [&](auto&& use) {
    std::size_t k = 0;
    for (int row = 0; row < q.rows; ++row)
      for (int column = 0; column < q.columns; ++column, ++k)
        use(at(channel_of(l, row, column)), static_cast<double>(p.weights[k]),
            static_cast<double>(q.weights[k]));
  };
  each([&](std::size_t o, double value, double code) {
    const double scale = q.weight_scale[o];
    weights.add(value, scale * code);
    sum[o] += std::abs(code);
    largest[o] = std::max(largest[o], std::abs(code));
    if (std::abs(code) >= 8) ratios.push_back(scale * code / value);
  });
  r.weight_sqnr_db = weights.sqnr_db();
  if (!ratios.empty()) {
    const auto middle = ratios.begin() + static_cast<std::ptrdiff_t>(ratios.size() / 2);
    std::nth_element(ratios.begin(), middle, ratios.end());
    r.weight_gain = *middle;
  }
  std::int64_t clipped = 0;
  r.weight_range = 1;
  each([&](std::size_t o, double value, double) {
    const double code = std::abs(value) * r.weight_gain / q.weight_scale[o];
    if (code <= largest[o] * 1.01 + 0.75) return;  // the gain is a median: not exact
    ++clipped;
    r.weight_range = std::max(r.weight_range, code / largest[o]);
  });
  r.weight_clipped = static_cast<double>(clipped) / static_cast<double>(q.weights.size());
  r.weight_use = *std::max_element(largest.begin(), largest.end()) / limit;
  const double reach = std::max(std::abs(-128 - in.zero_point), std::abs(127 - in.zero_point));
  double worst = 0;
  for (std::size_t o = 0; o < sum.size(); ++o)
    worst = std::max(
        worst, sum[o] * reach + (q.bias.empty() ? 0 : std::abs(static_cast<double>(q.bias[o]))));
  r.accumulator_worst_bits = accumulator_bits(static_cast<std::int64_t>(worst));
}

// How far one LSB on every input moves each output channel, on the average over positions (at the
// edges taps are missing), in LSBs of the output.
std::vector<double> input_shift(const Golden<double>& golden, const QuantizedNetwork& network,
                                FloatParams<double> params, const LayerReport& r) {
  const Layer& l = golden.network().layers[at(r.layer)];
  auto& bias = params.layers[at(r.layer)].bias;
  std::fill(bias.begin(), bias.end(), 0.0);
  const std::vector<double> in(at(l.in.elements()),
                               static_cast<double>(network.quant_of(l.inputs[0]).scale));
  const auto t = golden.run_layer(r.layer, params, {std::span<const double>(in)});
  std::vector<double> shift(at(l.filters), 0);
  const double positions = static_cast<double>(l.out.elements()) / l.filters;
  for (std::size_t k = 0; k < t.pre.size(); ++k)
    shift[k % shift.size()] += t.pre[k] / positions / r.total.lsb();
  return shift;
}

// One layer in float arithmetic with the weights, biases and scales that the network states; its
// output on its grid. A maximum quantizes nothing: it hands on one of its inputs.
std::vector<double> simulate_layer(const Golden<double>& golden, const QuantizedNetwork& network,
                                   const FloatParams<double>& stated, int layer,
                                   const std::vector<std::span<const double>>& inputs) {
  const Layer& l = golden.network().layers[at(layer)];
  const QuantizedLayer& q = network.layers[at(layer)];
  LayerTrace<double> t = golden.run_layer(layer, stated, inputs);
  if (l.op == Op::max_pool2d) return std::move(t.post);
  if (layer == wide_layer(golden.network())) {
    const double scale = network.logits.scale;
    for (double& v : t.post)
      v = scale *
          std::clamp<double>(std::round(v / scale), network.logits.act_min, network.logits.act_max);
    return std::move(t.post);
  }
  const bool add = l.op == Op::add;
  fake_quantize<double>(t.pre, q.out, add ? q.add.act_min : q.act_min,
                        add ? q.add.act_max : q.act_max, 8);
  return std::move(t.pre);
}

// Sum over examples of loss and correct answers of outputs; with Loss::reconstruction of squared
// errors per element against the inputs, and no answers.
template <class T>
void add_loss(const Network& network, std::span<const T> outputs, std::span<const T> x,
              std::span<const Label> y, double& loss, double& correct) {
  if (network.reconstructs()) {
    double sum = 0;
    for (std::size_t i = 0; i < outputs.size(); ++i) {
      const double d = static_cast<double>(outputs[i]) - static_cast<double>(x[i]);
      sum += d * d;
    }
    loss += sum / static_cast<double>(network.input.elements());
    return;
  }
  const BatchLoss b = cross_entropy<T>(outputs, y);
  loss += b.mean * static_cast<double>(y.size());
  correct += static_cast<double>(b.correct);
}

void sensitivity(const Network& folded, const FloatParams<float>& params,
                 const QuantizedNetwork& network, std::span<const float> x,
                 std::span<const Label> y, int threads, bool each, LayerAnalysis& a) {
  const Golden<float> golden(folded, threads);
  const auto n = static_cast<double>(y.size());
  constexpr int own = 16;  // every layer as wide as it is
  const std::vector<float> snapped = simulated_input<float>(network, x, 8);
  const auto run = [&](const std::vector<bool>& quantized, bool input, double& loss,
                       double& accuracy) {
    std::vector<std::vector<float>> outputs;
    double correct = 0;
    const FloatParams<float> p = simulated_params(network, params, own, quantized);
    const auto logits =
        simulate<float>(golden, network, p, input ? std::span<const float>(snapped) : x, outputs, 0,
                        {own, 8, 16}, quantized);
    add_loss<float>(folded, logits, x, y, loss, correct);
    loss /= n;
    accuracy = 100 * correct / n;
  };
  run({}, true, a.simulated_loss, a.simulated_accuracy);
  if (!each) return;
  for (LayerReport& r : a.layers) {
    std::vector<bool> only(folded.layers.size(), false), without(folded.layers.size(), true);
    only[at(r.layer)] = true;
    without[at(r.layer)] = false;
    run(only, false, r.only_loss, r.only_accuracy);
    run(without, true, r.without_loss, r.without_accuracy);
  }
}

// One batch on both sides: the float models' layers and what the device left of each.
struct BatchRun {
  std::vector<double> x64;
  std::vector<LayerTrace<double>> trace;
  std::vector<LayerTrace<float>> trace32;
  std::vector<std::int8_t> input;               // on the grid of int8
  std::vector<std::vector<std::int8_t>> chain;  // the device's activations; none of logits
  std::vector<std::int16_t> logits;
};

// Inputs of one layer: golden ones on their int8 grid, and those that the device had.
struct LayerInputs {
  std::vector<std::vector<std::int8_t>> ideal;
  std::vector<std::span<const std::int8_t>> chain;
};

// One layer by the integer contract in real units: alone on golden inputs, and again on the
// device's.
struct LayerRun {
  ContractOutput alone, again;
  std::vector<double> by_itself, got;  // alone; the device
};

// What is counted of a layer over all batches, besides its report.
struct LayerTally {
  CodeUse codes;
  ChannelRange channels;
  std::uint64_t low = 0, high = 0, outputs = 0;
  std::vector<std::int64_t> channel_count = {};
};

class LayerStudy {
 public:
  LayerStudy(const Network& folded, const FloatParams<float>& params,
             const QuantizedNetwork& network, const QuantizedNetwork& executed, int batch,
             const DeviceOpener& open, const FixedOptions& fixed)
      : folded_(folded),
        params_(params),
        network_(network),
        head_(folded.logits_layer()),
        golden_(folded, fixed.threads),
        golden32_(folded, fixed.threads),
        params64_(convert_params<double>(params)),
        stated_(simulated_params<double>(network, params64_,
                                         16)),  // every layer as wide as it is
        contract_(executed, fixed.threads),
        session_(open_session(readable_program(executed, batch, fixed), open, fixed.threads)) {
    const auto layers = at(head_ + 1);
    a_.channel_error.resize(layers);
    a_.channel_zero_point.resize(layers);
    a_.golden_low.assign(layers, 0);
    a_.golden_high.assign(layers, 0);
    for (std::size_t i = 0; i < layers; ++i) begin_layer(i);
  }

  // Adds one batch.
  void batch(std::span<const float> x, std::span<const Label> y) {
    const BatchRun run = execute(x, y);
    for (std::size_t i = 0; i < a_.layers.size(); ++i) {
      stop_if_asked();
      layer(i, run);
    }
    a_.examples += y.size();
  }

  // The means over all batches.
  LayerAnalysis finish() {
    const auto n = static_cast<double>(a_.examples);
    a_.float_loss /= n, a_.fixed_loss /= n;
    a_.float_accuracy *= 100 / n, a_.fixed_accuracy *= 100 / n;
    for (std::size_t i = 0; i < a_.layers.size(); ++i) finish_layer(i);
    return std::move(a_);
  }

 private:
  // int16 logits.
  [[nodiscard]] bool last(std::size_t i) const {
    return static_cast<int>(i) == wide_layer(folded_);
  }

  void begin_layer(std::size_t i) {
    const Layer& l = folded_.layers[i];
    const QuantizedLayer& q = network_.layers[i];
    LayerReport r;
    r.layer = static_cast<int>(i);
    r.name = l.name;
    r.op = name_of(l.op);
    r.reduction = has_weights(l) ? reduction(l) : 0;
    r.total = r.injected = r.inherited = r.alone =
        ErrorStats(last(i) ? network_.logits.scale : q.out.scale);
    const bool add = l.op == Op::add;
    const auto low = last(i) ? network_.logits.act_min : add ? q.add.act_min : q.act_min;
    const auto high = last(i) ? network_.logits.act_max : add ? q.add.act_max : q.act_max;
    tally_.push_back({CodeUse(low, high), ChannelRange(l.out.c)});
    if (has_weights(l)) {
      audit_weights(l, params_.layers[i], q, weight_limit(network_.weight_type_of(i)),
                    network_.quant_of(l.inputs[0]), r);
      a_.channel_error[i].assign(at(l.filters), 0);
      tally_[i].channel_count.assign(at(l.filters), 0);
      a_.channel_zero_point[i] = input_shift(golden_, network_, stated_, r);
    }
    a_.layers.push_back(std::move(r));
  }

  BatchRun execute(std::span<const float> x, std::span<const Label> y) {
    BatchRun run;
    run.x64.assign(x.begin(), x.end());
    run.trace = golden_.trace(params64_, run.x64);
    run.trace32 = golden32_.trace(params_, x);
    add_loss<double>(folded_, run.trace[at(head_)].post, run.x64, y, a_.float_loss,
                     a_.float_accuracy);

    run.input.resize(x.size());
    quantize_activations(x, network_.input, run.input);
    std::vector<int> labels;
    if (!folded_.reconstructs()) labels.assign(y.begin(), y.end());
    session_->load_batch(run.input, labels);
    const ForwardResult forward = session_->forward();
    const auto counters = session_->counters();
    a_.device_sat_low += counters[at(static_cast<std::int64_t>(spec::Counter::sat_low_))];
    a_.device_sat_high += counters[at(static_cast<std::int64_t>(spec::Counter::sat_high_))];
    run.chain.resize(a_.layers.size());
    for (std::size_t i = 0; i < a_.layers.size(); ++i)
      if (!last(i)) run.chain[i] = session_->activation(static_cast<int>(i));
    if (folded_.reconstructs()) {
      add_loss<double>(folded_, real_values(run.chain.back(), network_.layers[at(head_)].out),
                       run.x64, y, a_.fixed_loss, a_.fixed_accuracy);
      return run;
    }
    a_.fixed_loss += forward.mean_nats() * static_cast<double>(y.size());
    a_.fixed_accuracy += forward.correct;
    run.logits = session_->logits();
    return run;
  }

  void layer(std::size_t i, const BatchRun& run) {
    const LayerInputs in = inputs(i, run);
    const LayerRun out = contract_run(i, in, run);
    errors(i, run, out);
    ranges(i, run);
    saturations(i, out, run.trace[i].post.size());
    if (has_weights(folded_.layers[i])) accumulators(i, out, run.trace[i].post);
    against_simulation(i, in, out);
  }

  [[nodiscard]] LayerInputs inputs(std::size_t i, const BatchRun& run) const {
    LayerInputs out;
    for (const int in : folded_.layers[i].inputs) {
      const bool first = in == kNetworkInput;
      out.ideal.push_back(first ? run.input
                                : quantized(run.trace[at(in)].post, network_.quant_of(in)));
      out.chain.emplace_back(first ? run.input : run.chain[at(in)]);
    }
    return out;
  }

  // Runs the contract, compares it with the device code by code, and counts the codes.
  LayerRun contract_run(std::size_t i, const LayerInputs& in, const BatchRun& run) {
    const int layer = static_cast<int>(i);
    LayerRun out;
    out.alone = contract_.run(layer, {in.ideal.begin(), in.ideal.end()});
    out.again = contract_.run(layer, in.chain);
    const auto compare = [&](const auto& device, const auto& expected) {
      for (std::size_t k = 0; k < device.size(); ++k) {
        a_.layers[i].contract_differences += device[k] != expected[k] ? 1 : 0;
        tally_[i].codes.add(device[k]);
      }
    };
    if (last(i)) {
      out.got = real_values(run.logits, network_.logits.scale);
      out.by_itself = real_values(out.alone.logits, network_.logits.scale);
      compare(run.logits, out.again.logits);
    } else {
      out.got = real_values(run.chain[i], network_.layers[i].out);
      out.by_itself = real_values(out.alone.out, network_.layers[i].out);
      compare(run.chain[i], out.again.out);
    }
    return out;
  }

  // The layer's error in its parts: total, alone, injected, inherited.
  void errors(std::size_t i, const BatchRun& run, const LayerRun& out) {
    LayerReport& r = a_.layers[i];
    const std::vector<double>& reference = run.trace[i].post;
    r.total.add<double, double>(reference, out.got);
    r.alone.add<double, double>(reference, out.by_itself);
    std::vector<std::span<const double>> golden_in;
    for (const int in : folded_.layers[i].inputs)
      golden_in.emplace_back(in == kNetworkInput ? run.x64 : run.trace[at(in)].post);
    const std::vector<double> by_rule =
        simulate_layer(golden_, network_, stated_, static_cast<int>(i), golden_in);
    r.injected.add<double, double>(reference, by_rule);
    r.inherited.add<double, double>(by_rule, out.got);
    tally_[i].channels.add(reference, out.got);
  }

  // Range of the float output, and what float32 makes of it.
  void ranges(std::size_t i, const BatchRun& run) {
    const std::vector<double>& reference = run.trace[i].post;
    const auto [smallest, greatest] = std::minmax_element(reference.begin(), reference.end());
    a_.golden_low[i] = std::min(a_.golden_low[i], *smallest);
    a_.golden_high[i] = std::max(a_.golden_high[i], *greatest);
    double& worst = a_.layers[i].float32_error;
    for (std::size_t k = 0; k < reference.size(); ++k)
      worst = std::max(worst, std::abs(static_cast<double>(run.trace32[i].post[k]) - reference[k]));
  }

  void saturations(std::size_t i, const LayerRun& out, std::size_t outputs) {
    const Layer& l = folded_.layers[i];
    const std::uint64_t low = last(i) ? out.again.logit_sat_low : out.again.sat_low;
    const std::uint64_t high = last(i) ? out.again.logit_sat_high : out.again.sat_high;
    a_.layers[i].counter_sat_low += low;
    a_.layers[i].counter_sat_high += high;
    const Ends ends = last(i) ? Ends{l.activation == Activation::none, true}
                              : lossy_ends(l, network_.layers[i].out);
    tally_[i].low += ends.low ? low : 0;
    tally_[i].high += ends.high ? high : 0;
    tally_[i].outputs += outputs;
  }

  // Of layers with weights: bits of the accumulators, and the mean error of each channel.
  void accumulators(std::size_t i, const LayerRun& out, const std::vector<double>& reference) {
    const Layer& l = folded_.layers[i];
    LayerReport& r = a_.layers[i];
    const int bits =
        accumulator_bits(std::max(out.alone.largest_accumulator, out.again.largest_accumulator));
    r.accumulator_bits = std::max(r.accumulator_bits, bits);
    // Away from clamps: where an activation cut the value off, no offset shows.
    const double lsb = r.total.lsb();
    for (std::size_t k = 0; k < reference.size(); ++k) {
      if (l.activation != Activation::none && reference[k] < 2 * lsb) continue;
      a_.channel_error[i][k % at(l.filters)] += (out.by_itself[k] - reference[k]) / lsb;
      ++tally_[i].channel_count[k % at(l.filters)];
    }
  }

  // The contract against the simulation on the same inputs.
  void against_simulation(std::size_t i, const LayerInputs& in, const LayerRun& out) {
    const Layer& l = folded_.layers[i];
    LayerReport& r = a_.layers[i];
    std::vector<std::vector<double>> real_in;
    for (std::size_t k = 0; k < in.ideal.size(); ++k)
      real_in.push_back(real_values(in.ideal[k], network_.quant_of(l.inputs[k])));
    const std::vector<double> simulated = simulate_layer(
        golden_, network_, stated_, static_cast<int>(i), {real_in.begin(), real_in.end()});
    for (std::size_t k = 0; k < simulated.size(); ++k) {
      const double distance = std::abs(simulated[k] - out.by_itself[k]) / r.total.lsb();
      r.simulation_lsb =
          std::max(r.simulation_lsb, static_cast<int>(std::min(distance + 0.25, 1e6)));
    }
  }

  void finish_layer(std::size_t i) {
    LayerReport& r = a_.layers[i];
    const LayerTally& t = tally_[i];
    const auto seen = static_cast<double>(t.outputs);
    r.sat_low = static_cast<double>(t.low) / seen;
    r.sat_high = static_cast<double>(t.high) / seen;
    a_.counted_sat_low += r.counter_sat_low;
    a_.counted_sat_high += r.counter_sat_high;
    r.code_share = t.codes.share();
    r.effective_bits = t.codes.effective_bits();
    r.stuck = t.channels.stuck(r.total.lsb());
    const double scale = std::max(std::abs(a_.golden_low[i]), std::abs(a_.golden_high[i]));
    r.float32_error = scale > 0 ? r.float32_error / scale : 0;
    for (std::size_t o = 0; o < a_.channel_error[i].size(); ++o)
      a_.channel_error[i][o] /= std::max<double>(1, static_cast<double>(t.channel_count[o]));
  }

  const Network& folded_;
  const FloatParams<float>& params_;
  const QuantizedNetwork& network_;
  int head_;
  Golden<double> golden_;
  Golden<float> golden32_;
  FloatParams<double> params64_, stated_;  // as given; as the quantized network states them
  ContractNetwork contract_;
  Session session_;
  LayerAnalysis a_;
  std::vector<LayerTally> tally_;
};

}  // namespace

LayerAnalysis analyse_layers(const Network& folded, const FloatParams<float>& params,
                             const QuantizedNetwork& network, const QuantizedNetwork& executed,
                             const Dataset& data, const DeviceOpener& open,
                             const FixedOptions& fixed, const LayerOptions& options) {
  const std::size_t wanted = std::min(data.size(), at(std::max(options.examples, 1)));
  const std::size_t batch = std::min<std::size_t>(wanted, 64);
  if (batch == 0) throw Error(ErrorKind::input, "validate: the data set has no examples");
  const std::size_t examples = wanted / batch * batch;
  const auto elements = at(folded.input.elements());
  const std::span<const float> x = std::span(data.x).first(examples * elements);
  const std::span<const Label> y = std::span(data.y).first(examples);

  LayerStudy study(folded, params, network, executed, static_cast<int>(batch), open, fixed);
  for (std::size_t first = 0; first < examples; first += batch) {
    stop_if_asked();
    study.batch(x.subspan(first * elements, batch * elements), y.subspan(first, batch));
  }
  LayerAnalysis a = study.finish();
  sensitivity(folded, params, network, x, y, fixed.threads, options.sensitivity, a);
  return a;
}

}  // namespace lastmile
