// SPDX-License-Identifier: Apache-2.0
#include "sw/quantizer/rescale.hpp"

#include <fmt/format.h>

#include <cmath>

#include "sw/base/error.hpp"

namespace lastmile {

QuantizedNetwork rescale(const QuantizedNetwork& from, const NewRanges& ranges) {
  QuantizedNetwork q = from;
  const auto chosen = [](const TensorRange::Interval& i) { return choose_quant(i.low, i.high); };
  if (ranges.input) q.input = chosen(*ranges.input);
  const auto head = static_cast<std::size_t>(q.network.logits_layer());
  for (std::size_t i = 0; i < q.layers.size(); ++i) {
    const Layer& l = q.network.layers[i];
    QuantizedLayer& layer = q.layers[i];
    if (l.op == Op::concat)
      throw Error(ErrorKind::input,
                  fmt::format("rescale: layer '{}' of network '{}' is a concat, expected a network "
                              "without",
                              l.name, q.network.name));
    const TensorQuant in = q.quant_of(l.inputs[0]);
    if (traits(l.op).keeps_quant) {
      layer.out = in;
    } else if (i < ranges.layers.size() && ranges.layers[i]) {
      layer.out = chosen(*ranges.layers[i]);
    }
    if (encode_operator(l, in, q.quant_of(l.inputs.back()), layer)) continue;
    const auto clamp = activation_clamp(l.activation, layer.out);
    layer.act_min = clamp[0];
    layer.act_max = clamp[1];
    if (!has_weights(l)) continue;
    const double was = from.quant_of(l.inputs[0]).scale, is = in.scale;
    for (std::int32_t& b : layer.bias) {
      const double moved = std::round(b * was / is);
      if (!(std::abs(moved) <= numeric::kBiasMax))
        throw Error(ErrorKind::input, fmt::format("rescale: layer '{}': a bias is {} LSBs, "
                                                  "expected 32 bits",
                                                  l.name, moved));
      b = static_cast<std::int32_t>(moved);
    }
    for (std::size_t o = 0; o < layer.requant.size(); ++o)
      layer.requant[o] = encode_requant(is * layer.weight_scale[o] / layer.out.scale,
                                        "layer '" + l.name + "': scale ratio");
    if (i == head && !q.logits.requant.empty())
      q.logits = encode_logits(l, layer.weight_scale, is,
                               ranges.largest_logit.value_or(32767.0 * q.logits.scale), 1);
  }
  check_quantized(q, "rescale");
  return q;
}

}  // namespace lastmile
