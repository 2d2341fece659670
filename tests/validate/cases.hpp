// SPDX-License-Identifier: Apache-2.0
// A small network with data and what validate() needs of it.
#pragma once

#include <vector>

#include "cmodel/device/model_device.hpp"
#include "sw/validate/findings.hpp"
#include "tests/quantizer/cases.hpp"

namespace lastmile {

struct ValidateCase {
  Network network;  // without batch norm
  FloatParams<float> params;
  QuantizedNetwork quantized;
  Dataset data;
};

inline Dataset random_data(const Network& network, int examples, std::uint64_t seed) {
  Dataset d;
  d.shape = network.input;
  d.classes = network.classes;
  d.x = random_values<float>(network, examples, seed);
  Rng rng(seed, 3);
  for (int i = 0; i < examples; ++i)
    d.y.push_back(static_cast<Label>(rng.below(static_cast<std::uint64_t>(d.classes))));
  return d;
}

inline ValidateCase validate_case(const Network& described, std::uint64_t seed,
                                  const QuantizeOptions& options = {}, int layer = 0,
                                  double factor = 1) {
  ValidateCase c;
  auto params = random_params<float>(described, seed);
  LayerParams<float>& scaled = params.layers[static_cast<std::size_t>(layer)];
  for (auto* tensor : {&scaled.weights, &scaled.bias})
    for (float& v : *tensor) v *= static_cast<float>(factor);
  c.data = random_data(described, 192, seed + 1);
  c.network = fold_network(described);
  c.params = fold_params(described, params);
  c.quantized =
      quantize(described, params, calibrate(Golden<float>(described), params, c.data.x), options);
  return c;
}

inline Network two_convolutions() {
  return make_network(
      "two", "[8, 8, 2]",
      layer_text("conv1", "conv2d",
                 "filters = 8\nkernel = 3\npadding = \"same\"\nactivation = "
                 "\"relu\"") +
          layer_text("pool", "max_pool2d", "kernel = 2") +
          layer_text("conv2", "conv2d", "filters = 8\nkernel = 3\nactivation = \"relu\"") +
          layer_text("conv3", "conv2d", "filters = 6\nkernel = 1"));
}

inline LayerAnalysis analyse(const ValidateCase& c, const QuantizedNetwork& executed,
                             bool sensitivity = false, int examples = 192) {
  FixedOptions fixed;
  LayerOptions o;
  o.examples = examples;
  o.sensitivity = sensitivity;
  return analyse_layers(c.network, c.params, c.quantized, executed, c.data, open_model, fixed, o);
}

inline std::vector<Finding> findings_of(const ValidateCase& c, const QuantizedNetwork& executed,
                                        const Thresholds& thresholds = {}) {
  return judge(c.network, c.params, c.quantized, analyse(c, executed), thresholds);
}

}  // namespace lastmile
