// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/statistics.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/quantizer/quantize.hpp"

namespace lastmile {
namespace {

constexpr double kLeastDeviation = 1e-6;  // of a channel on the source: below, it is left alone
constexpr int kCode = 127;

// Real value of one unit of a layer's accumulator in channel c.
double unit_of(const QuantizedNetwork& net, std::size_t layer, std::size_t c) {
  return static_cast<double>(net.quant_of(net.network.layers[layer].inputs[0]).scale) *
         static_cast<double>(net.layers[layer].weight_scale[c]);
}

std::int32_t moved(std::int32_t bias, double by) {
  return static_cast<std::int32_t>(
      std::clamp(std::round(bias + by), -double{numeric::kBiasMax}, double{numeric::kBiasMax}));
}

// The network up to a layer whose outputs are its channels' values in source deviations.
QuantizedNetwork probe_of(const QuantizedNetwork& net, std::size_t layer) {
  QuantizedNetwork out = net;
  QuantizedLayer& q = out.layers[layer];
  q.out.zero_point = 0;
  q.act_min = -kCode - 1;
  q.act_max = kCode;
  for (std::size_t c = 0; c < q.mean.size(); ++c) {
    const double deviation = std::max<double>(q.deviation[c], kLeastDeviation);
    const double unit = unit_of(net, layer, c);
    q.bias[c] = moved(q.bias[c], -q.mean[c] / unit);
    q.requant[c] = encode_requant(unit * kCode / (kStatisticsRange * deviation),
                                  "statistics of layer '" + net.network.layers[layer].name + "'");
  }
  return out;
}

// Examples per batch: at most `wanted`, so that a batch's values fill rows of 64 bytes.
int batch_for(const Layer& layer, int wanted, std::size_t examples) {
  const std::int64_t columns = std::lcm(std::int64_t{layer.out.c}, std::int64_t{spec::kAlign});
  const std::int64_t step = columns / std::gcd(columns, layer.out.elements());
  const std::int64_t most = std::min<std::int64_t>(std::max<std::int64_t>(wanted, step),
                                                   static_cast<std::int64_t>(examples));
  if (most < step)
    throw Error(ErrorKind::input,
                fmt::format("statistics of layer '{}': {} examples, expected at least {}",
                            layer.name, examples, step));
  return static_cast<int>(most / step * step);
}

class Measurement {
 public:
  Measurement(const Dataset& data, const DeviceOpener& open, const FixedOptions& options)
      : data_(data), open_(open), o_(options) {}

  Driver::Moments run(const QuantizedNetwork& probe, int layer, StatisticsResult& result) {
    const Layer& l = probe.network.layers[static_cast<std::size_t>(layer)];
    CompileOptions c;
    c.batch = batch_for(l, o_.batch, data_.size());
    c.output_layer = layer;
    c.moments = true;
    const Session session = open_session(compile(probe, o_.hardware, c), open_, o_.threads);
    const auto batch = static_cast<std::size_t>(c.batch);
    const std::size_t batches = data_.size() / batch;
    const auto each = static_cast<std::size_t>(data_.shape.elements());
    std::vector<std::int8_t> x(batch * each);
    Driver::Moments all;
    for (std::size_t b = 0; b < batches; ++b) {
      stop_if_asked();
      quantize_activations(std::span(data_.x).subspan(b * x.size(), x.size()), probe.input, x);
      session->load_batch(x, {});
      static_cast<void>(session->forward());
      const Driver::Moments m = session->moments();
      all.count += m.count;
      all.sums.resize(m.sums.size());
      all.squares.resize(m.squares.size());
      for (std::size_t k = 0; k < m.sums.size(); ++k)
        all.sums[k] += m.sums[k], all.squares[k] += m.squares[k];
    }
    std::int64_t below = 0;
    for (int i = 0; i <= layer; ++i)
      below += macs(probe.network.layers[static_cast<std::size_t>(i)]);
    result.macs += static_cast<std::uint64_t>(below + 2 * l.out.elements()) * batches * batch;
    result.examples = std::max(result.examples, batches * batch);
    result.scratch_bytes =
        std::max(result.scratch_bytes, session->program().memory.activation_live_peak);
    result.bytes_read += session->traffic(Traffic::result).bytes_read;
    return all;
  }

 private:
  const Dataset& data_;
  const DeviceOpener& open_;
  const FixedOptions& o_;
};

}  // namespace

bool has_statistics(const QuantizedNetwork& network) {
  return std::any_of(network.layers.begin(), network.layers.end(),
                     [](const QuantizedLayer& q) { return !q.mean.empty(); });
}

StatisticsResult adapt_statistics(const QuantizedNetwork& network, const Dataset& data,
                                  const DeviceOpener& open, const FixedOptions& options) {
  if (!has_statistics(network))
    throw Error(ErrorKind::usage,
                fmt::format("network '{}' holds no channel statistics of its source, expected a "
                            "network quantized from one with batch norm",
                            network.network.name));
  StatisticsResult result;
  result.network = network;
  Measurement measurement(data, open, options);
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    QuantizedLayer& q = result.network.layers[i];
    if (q.mean.empty()) continue;
    const Driver::Moments m =
        measurement.run(probe_of(result.network, i), static_cast<int>(i), result);
    LayerStatistics s;
    s.layer = static_cast<int>(i);
    for (std::size_t c = 0; c < q.mean.size(); ++c) {
      const double source = q.deviation[c],
                   lsb = std::max(source, kLeastDeviation) * kStatisticsRange / kCode;
      const double n = static_cast<double>(m.count);
      const double mean = static_cast<double>(m.sums[c]) / n;
      const double variance = std::max(0.0, static_cast<double>(m.squares[c]) / n - mean * mean);
      const double target_mean = q.mean[c] + lsb * mean, target = lsb * std::sqrt(variance);
      const bool alive = source > kLeastDeviation;
      const double factor = alive ? std::clamp(source / std::max(target, source / kLargestFactor),
                                               1 / kLargestFactor, kLargestFactor)
                                  : 1.0;
      const double offset = alive ? q.mean[c] - factor * target_mean : 0.0;
      s.mean.push_back(static_cast<float>(target_mean));
      s.deviation.push_back(static_cast<float>(target));
      s.factor.push_back(static_cast<float>(factor));
      s.offset.push_back(static_cast<float>(offset));
      // y' = (factor * unit) * (accumulator + bias + offset / (factor * unit))
      q.weight_scale[c] = static_cast<float>(q.weight_scale[c] * factor);
      const double unit = unit_of(result.network, i, c);
      q.bias[c] = moved(q.bias[c], offset / unit);
      q.requant[c] = encode_requant(unit / static_cast<double>(q.out.scale),
                                    "layer '" + network.network.layers[i].name + "'");
    }
    result.layers.push_back(std::move(s));
  }
  result.passes = static_cast<double>(result.macs) /
                  (static_cast<double>(macs(network.network)) * std::max(1, options.batch));
  return result;
}

void apply_statistics(const Network& folded, const std::vector<LayerStatistics>& layers,
                      FloatParams<float>& params) {
  for (const LayerStatistics& s : layers) {
    const auto i = static_cast<std::size_t>(s.layer);
    LayerParams<float>& p = params.layers[i];
    const std::size_t filters = s.factor.size();
    const std::size_t per_filter = p.weights.size() / filters;
    const bool last = folded.layers[i].op == Op::depthwise_conv2d;
    for (std::size_t c = 0; c < filters; ++c) {
      for (std::size_t k = 0; k < per_filter; ++k)
        p.weights[last ? k * filters + c : c * per_filter + k] *= s.factor[c];
      p.bias[c] = s.factor[c] * p.bias[c] + s.offset[c];
    }
  }
}

}  // namespace lastmile
