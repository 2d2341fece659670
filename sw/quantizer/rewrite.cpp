// SPDX-License-Identifier: Apache-2.0
#include "sw/quantizer/rewrite.hpp"

#include <utility>

namespace lastmile {
namespace {

bool is_depthwise(const Layer& l) {
  return l.op == Op::conv2d && l.groups > 1 && l.groups == l.in.c;
}

}  // namespace

Network depthwise_groups(const Network& network) {
  Network out = network;
  for (Layer& l : out.layers) {
    if (!is_depthwise(l)) continue;
    l.op = Op::depthwise_conv2d;
    l.multiplier = l.filters / l.groups;
    l.groups = 1;
  }
  return out;
}

FloatParams<float> depthwise_groups(const Network& network, FloatParams<float> params) {
  for (std::size_t i = 0; i < network.layers.size(); ++i) {
    const Layer& l = network.layers[i];
    if (!is_depthwise(l)) continue;
    // Filter by filter, each a plane, becomes position by position: OHWI with one channel to HWO.
    std::vector<float>& w = params.layers[i].weights;
    const auto filters = static_cast<std::size_t>(l.filters);
    const std::size_t plane = w.size() / filters;
    std::vector<float> moved(w.size());
    for (std::size_t o = 0; o < filters; ++o)
      for (std::size_t k = 0; k < plane; ++k) moved[k * filters + o] = w[o * plane + k];
    w = std::move(moved);
  }
  return params;
}

Network weighted_head(const Network& network) {
  const int head = network.logits_layer();
  Network out = network;
  if (has_weights(out.layers[static_cast<std::size_t>(head)])) return out;
  Layer l;
  l.op = Op::fully_connected;
  l.name = network.layers[static_cast<std::size_t>(head)].name + "_logits";
  l.inputs = {head};
  l.filters = network.classes;
  l.in = network.layers[static_cast<std::size_t>(head)].out;
  l.out = {1, 1, network.classes};
  out.layers.insert(out.layers.begin() + head + 1, l);
  // What came behind it, a softmax at most, reads the new layer.
  for (std::size_t i = static_cast<std::size_t>(head) + 2; i < out.layers.size(); ++i)
    out.layers[i].inputs = {head + 1}, out.layers[i].in = l.out, out.layers[i].out = l.out;
  return out;
}

FloatParams<float> weighted_head(const Network& network, FloatParams<float> params) {
  const int head = network.logits_layer();
  if (has_weights(network.layers[static_cast<std::size_t>(head)])) return params;
  const auto classes = static_cast<std::size_t>(network.classes);
  LayerParams<float> same;
  same.weights.assign(classes * classes, 0.0F);
  for (std::size_t k = 0; k < classes; ++k) same.weights[k * classes + k] = 1;
  params.layers.insert(params.layers.begin() + head + 1, std::move(same));
  return params;
}

}  // namespace lastmile
