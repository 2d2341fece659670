// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/layers.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <utility>

#include "sw/base/error.hpp"
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
  if (layer == golden.network().logits_layer()) {
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

// Sum over examples of loss and correct answers of simulated logits.
template <class T>
void add_loss(std::span<const T> logits, std::span<const std::uint8_t> y, double& loss,
              double& correct) {
  const BatchLoss b = cross_entropy<T>(logits, y);
  loss += b.mean * static_cast<double>(y.size());
  correct += static_cast<double>(b.correct);
}

void sensitivity(const Network& folded, const FloatParams<float>& params,
                 const QuantizedNetwork& network, std::span<const float> x,
                 std::span<const std::uint8_t> y, int threads, bool each, LayerAnalysis& a) {
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
    add_loss<float>(logits, y, loss, correct);
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

}  // namespace

LayerAnalysis analyse_layers(const Network& folded, const FloatParams<float>& params,
                             const QuantizedNetwork& network, const QuantizedNetwork& executed,
                             const Dataset& data, const DeviceOpener& open,
                             const FixedOptions& fixed, const LayerOptions& options) {
  LayerAnalysis a;
  const int head = folded.logits_layer();
  const std::size_t wanted = std::min(data.size(), at(std::max(options.examples, 1)));
  const std::size_t batch = std::min<std::size_t>(wanted, 64);
  a.examples = wanted / batch * batch;
  if (a.examples == 0) throw Error(ErrorKind::input, "validate: the data set has no examples");

  const Golden<double> golden(folded, fixed.threads);
  const Golden<float> golden32(folded, fixed.threads);
  const auto params64 = convert_params<double>(params);
  constexpr int own = 16;  // every layer as wide as it is
  const auto stated = simulated_params<double>(network, params64, own);
  const ContractNetwork contract(executed, fixed.threads);
  const Session session =
      open_session(readable_program(executed, static_cast<int>(batch), fixed), open, fixed.threads);

  const auto layers = at(head + 1);
  std::vector<CodeUse> codes;
  std::vector<ChannelRange> channels;
  std::vector<double> largest_value(layers, 0);
  std::vector<std::uint64_t> low(layers, 0), high(layers, 0), outputs_seen(layers, 0);
  std::vector<std::vector<std::int64_t>> channel_count(layers);
  a.channel_error.resize(layers);
  a.channel_zero_point.resize(layers);
  a.golden_low.assign(layers, 0);
  a.golden_high.assign(layers, 0);
  for (std::size_t i = 0; i < layers; ++i) {
    const Layer& l = folded.layers[i];
    const QuantizedLayer& q = network.layers[i];
    const bool logits = static_cast<int>(i) == head;
    const double lsb = logits ? network.logits.scale : q.out.scale;
    LayerReport r;
    r.layer = static_cast<int>(i);
    r.name = l.name;
    r.op = name_of(l.op);
    r.reduction = has_weights(l) ? reduction(l) : 0;
    r.total = r.injected = r.inherited = r.alone = ErrorStats(lsb);
    if (has_weights(l)) {
      audit_weights(l, params.layers[i], q, weight_limit(network.weight_type_of(i)),
                    network.quant_of(l.inputs[0]), r);
      a.channel_error[i].assign(at(l.filters), 0);
      channel_count[i].assign(at(l.filters), 0);
      a.channel_zero_point[i] = input_shift(golden, network, stated, r);
    }
    a.layers.push_back(std::move(r));
    const bool add = l.op == Op::add;
    codes.emplace_back(logits ? network.logits.act_min
                       : add  ? q.add.act_min
                              : q.act_min,
                       logits ? network.logits.act_max
                       : add  ? q.add.act_max
                              : q.act_max);
    channels.emplace_back(l.out.c);
  }

  const auto elements = at(folded.input.elements());
  for (std::size_t first = 0; first < a.examples; first += batch) {
    const std::span<const float> x = std::span(data.x).subspan(first * elements, batch * elements);
    const std::span<const std::uint8_t> y = std::span(data.y).subspan(first, batch);
    const std::vector<double> x64(x.begin(), x.end());
    const auto trace = golden.trace(params64, x64);
    const auto trace32 = golden32.trace(params, x);
    add_loss<double>(trace[at(head)].post, y, a.float_loss, a.float_accuracy);

    std::vector<std::int8_t> input(x.size());
    quantize_activations(x, network.input, input);
    session->load_batch(input, std::vector<int>(y.begin(), y.end()));
    const ForwardResult forward = session->forward();
    a.fixed_loss += forward.mean_nats() * static_cast<double>(batch);
    a.fixed_accuracy += forward.correct;
    const auto counters = session->counters();
    a.device_sat_low += counters[at(static_cast<std::int64_t>(spec::Counter::sat_low_))];
    a.device_sat_high += counters[at(static_cast<std::int64_t>(spec::Counter::sat_high_))];
    std::vector<std::vector<std::int8_t>> chain(layers);
    for (std::size_t i = 0; i + 1 < layers; ++i)
      chain[i] = session->activation(static_cast<int>(i));
    const std::vector<std::int16_t> logits = session->logits();

    for (std::size_t i = 0; i < layers; ++i) {
      const Layer& l = folded.layers[i];
      LayerReport& r = a.layers[i];
      const bool last = static_cast<int>(i) == head;
      std::vector<std::vector<std::int8_t>> ideal;
      std::vector<std::span<const std::int8_t>> ideal_in, chain_in;
      for (const int in : l.inputs) {
        ideal.push_back(in == kNetworkInput ? input
                                            : quantized(trace[at(in)].post, network.quant_of(in)));
        chain_in.emplace_back(in == kNetworkInput ? input : chain[at(in)]);
      }
      ideal_in.assign(ideal.begin(), ideal.end());
      const ContractOutput alone = contract.run(static_cast<int>(i), ideal_in);
      const ContractOutput again = contract.run(static_cast<int>(i), chain_in);
      const std::vector<double>& reference = trace[i].post;

      std::vector<double> got, by_itself;
      if (last) {
        got = real_values(logits, network.logits.scale);
        by_itself = real_values(alone.logits, network.logits.scale);
        for (std::size_t k = 0; k < logits.size(); ++k) {
          r.contract_differences += logits[k] != again.logits[k] ? 1 : 0;
          codes[i].add(logits[k]);
        }
      } else {
        got = real_values(chain[i], network.layers[i].out);
        by_itself = real_values(alone.out, network.layers[i].out);
        for (std::size_t k = 0; k < chain[i].size(); ++k) {
          r.contract_differences += chain[i][k] != again.out[k] ? 1 : 0;
          codes[i].add(chain[i][k]);
        }
      }
      r.total.add<double, double>(reference, got);
      r.alone.add<double, double>(reference, by_itself);
      std::vector<std::span<const double>> golden_in;
      for (const int in : l.inputs)
        golden_in.emplace_back(in == kNetworkInput ? x64 : trace[at(in)].post);
      const std::vector<double> by_rule =
          simulate_layer(golden, network, stated, static_cast<int>(i), golden_in);
      r.injected.add<double, double>(reference, by_rule);
      r.inherited.add<double, double>(by_rule, got);
      channels[i].add(reference, got);

      const auto [smallest, greatest] = std::minmax_element(reference.begin(), reference.end());
      a.golden_low[i] = std::min(a.golden_low[i], *smallest);
      a.golden_high[i] = std::max(a.golden_high[i], *greatest);
      for (std::size_t k = 0; k < reference.size(); ++k)
        r.float32_error = std::max(
            r.float32_error, std::abs(static_cast<double>(trace32[i].post[k]) - reference[k]));

      const std::uint64_t sat_low = last ? again.logit_sat_low : again.sat_low;
      const std::uint64_t sat_high = last ? again.logit_sat_high : again.sat_high;
      r.counter_sat_low += sat_low;
      r.counter_sat_high += sat_high;
      const Ends ends = last ? Ends{l.activation == Activation::none, true}
                             : lossy_ends(l, network.layers[i].out);
      low[i] += ends.low ? sat_low : 0;
      high[i] += ends.high ? sat_high : 0;
      outputs_seen[i] += reference.size();
      if (has_weights(l)) {
        const int bits =
            accumulator_bits(std::max(alone.largest_accumulator, again.largest_accumulator));
        r.accumulator_bits = std::max(r.accumulator_bits, bits);
        // Away from clamps: where an activation cut the value off, no offset shows.
        const double lsb = r.total.lsb();
        for (std::size_t k = 0; k < reference.size(); ++k) {
          if (l.activation != Activation::none && reference[k] < 2 * lsb) continue;
          a.channel_error[i][k % at(l.filters)] += (by_itself[k] - reference[k]) / lsb;
          ++channel_count[i][k % at(l.filters)];
        }
      }

      // The contract against the simulation on the same inputs.
      std::vector<std::vector<double>> real_in;
      for (std::size_t k = 0; k < ideal.size(); ++k)
        real_in.push_back(real_values(ideal[k], network.quant_of(l.inputs[k])));
      const std::vector<double> simulated = simulate_layer(
          golden, network, stated, static_cast<int>(i), {real_in.begin(), real_in.end()});
      for (std::size_t k = 0; k < simulated.size(); ++k) {
        const double distance = std::abs(simulated[k] - by_itself[k]) / r.total.lsb();
        r.simulation_lsb =
            std::max(r.simulation_lsb, static_cast<int>(std::min(distance + 0.25, 1e6)));
      }
    }
  }

  const auto n = static_cast<double>(a.examples);
  a.float_loss /= n, a.fixed_loss /= n;
  a.float_accuracy *= 100 / n, a.fixed_accuracy *= 100 / n;
  for (std::size_t i = 0; i < layers; ++i) {
    LayerReport& r = a.layers[i];
    const double seen = static_cast<double>(outputs_seen[i]);
    r.sat_low = static_cast<double>(low[i]) / seen;
    r.sat_high = static_cast<double>(high[i]) / seen;
    a.counted_sat_low += r.counter_sat_low;
    a.counted_sat_high += r.counter_sat_high;
    r.code_share = codes[i].share();
    r.effective_bits = codes[i].effective_bits();
    r.stuck = channels[i].stuck(r.total.lsb());
    const double scale = std::max(std::abs(a.golden_low[i]), std::abs(a.golden_high[i]));
    r.float32_error = scale > 0 ? r.float32_error / scale : 0;
    for (std::size_t o = 0; o < a.channel_error[i].size(); ++o)
      a.channel_error[i][o] /= std::max<double>(1, static_cast<double>(channel_count[i][o]));
  }
  const std::span<const float> x = std::span(data.x).first(a.examples * elements);
  sensitivity(folded, params, network, x, std::span(data.y).first(a.examples), fixed.threads,
              options.sensitivity, a);
  return a;
}

}  // namespace lastmile
