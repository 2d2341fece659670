// SPDX-License-Identifier: Apache-2.0
#include "sw/quantizer/fit.hpp"

#include <algorithm>

#include "sw/base/error.hpp"
#include "sw/golden/golden.hpp"

namespace lastmile {
namespace {

struct Counts {
  std::int64_t below = 0, above = 0, all = 0;
};

TensorFit fit_of(std::string name, const TensorQuant& q) {
  const double scale = q.scale;
  return {.name = std::move(name),
          .low = scale * (-128 - q.zero_point),
          .high = scale * (127 - q.zero_point)};
}

void count(std::span<const float> values, double lsb, TensorFit& fit, Counts& n) {
  for (const float v : values) {
    fit.seen_low = std::min<double>(fit.seen_low, v);
    fit.seen_high = std::max<double>(fit.seen_high, v);
    n.below += v < fit.low - lsb / 2 ? 1 : 0;
    n.above += v > fit.high + lsb / 2 ? 1 : 0;
  }
  n.all += static_cast<std::int64_t>(values.size());
}

}  // namespace

std::vector<TensorFit> range_fit(const QuantizedNetwork& network, std::span<const float> x,
                                 int threads) {
  const Network& net = network.network;
  const auto each = static_cast<std::size_t>(net.input.elements());
  if (x.empty() || x.size() % each != 0)
    throw Error(ErrorKind::input, "range fit: the data are not whole examples of the network");
  std::vector<TensorFit> fits = {fit_of("input", network.input)};
  std::vector<double> lsb = {network.input.scale};
  std::vector<std::size_t> layers;
  const auto head = static_cast<std::size_t>(net.logits_layer());
  for (std::size_t i = 0; i <= head; ++i) {
    const Layer& l = net.layers[i];
    if (traits(l.op).keeps_quant || l.op == Op::concat) continue;
    layers.push_back(i);
    if (i == head && !network.logits.requant.empty()) {
      const double scale = network.logits.scale;
      fits.push_back({.name = l.name, .low = scale * -32768, .high = scale * 32767});
      lsb.push_back(scale);
    } else {
      fits.push_back(fit_of(l.name, network.layers[i].out));
      lsb.push_back(network.layers[i].out.scale);
    }
  }
  std::vector<Counts> counts(fits.size());
  const Golden<float> golden(net, threads);
  const FloatParams<float> params = dequantize(network);
  constexpr std::size_t kBatch = 64;  // bounds the memory of a trace
  for (std::size_t at = 0; at < x.size(); at += kBatch * each) {
    const auto part = x.subspan(at, std::min(kBatch * each, x.size() - at));
    const std::vector<LayerTrace<float>> trace = golden.trace(params, part);
    count(part, lsb[0], fits[0], counts[0]);
    for (std::size_t k = 0; k < layers.size(); ++k)
      count(trace[layers[k]].post, lsb[k + 1], fits[k + 1], counts[k + 1]);
  }
  for (std::size_t k = 0; k < fits.size(); ++k) {
    const auto all = static_cast<double>(counts[k].all);
    fits[k].below = static_cast<double>(counts[k].below) / all;
    fits[k].above = static_cast<double>(counts[k].above) / all;
  }
  return fits;
}

}  // namespace lastmile
