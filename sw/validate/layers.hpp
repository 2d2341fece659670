// SPDX-License-Identifier: Apache-2.0
// Fixed point against float, layer by layer: what each layer adds to the error, what it inherits,
// and how its range is used.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sw/data/dataset.hpp"
#include "sw/golden/golden.hpp"
#include "sw/quantizer/quantized.hpp"
#include "sw/trainer/targets.hpp"
#include "sw/validate/contract.hpp"
#include "sw/validate/metrics.hpp"

namespace lastmile {

// The output of one layer. Tensors are compared in real units with the float64 golden model; an LSB
// is the output's scale (of the last layer: the int16 logits').
struct LayerReport {
  int layer = 0;
  std::string name, op;
  std::int64_t reduction = 0;  // K; 0 for layers without weights

  ErrorStats total;      // device, whole chain, against golden
  ErrorStats injected;   // this layer's own quantization: simulated in float64 on golden inputs
  ErrorStats inherited;  // device against that: what the errors of its inputs became
  ErrorStats alone;      // this layer in the integer contract, golden inputs on their int8 grid
  double float32_error =
      0;  // float32 golden against float64: largest difference over largest value

  // Shares of the outputs that were cut off at the end of the type where the layer has no clamp of
  // its own; counted from the accumulators of the chain.
  double sat_low = 0, sat_high = 0;
  std::uint64_t counter_sat_low = 0, counter_sat_high = 0;  // as the NPU counts them

  int accumulator_bits = 0;        // high water on these examples, 40 is the width; 0: no weights
  int accumulator_worst_bits = 0;  // bound from weights and input range
  double code_share = 0;           // of the codes between act_min and act_max
  double effective_bits = 0;
  std::vector<int> stuck;                 // channels
  std::int64_t contract_differences = 0;  // device against the contract on the same inputs
  int simulation_lsb = 0;  // largest distance of the contract from the simulation on the same int8
                           // inputs: 1 at most when tables fit scales

  // Parameters against the float ones.
  double weight_sqnr_db = kPerfectSqnr;
  double weight_gain = 1;     // median of fixed over float
  double weight_clipped = 0;  // share of weights beyond the largest code of their channel
  double weight_range = 1;    // of those, the furthest over that code
  double weight_use = 0;      // largest code over the limit

  // One-at-a-time, simulated quantization in float32.
  double only_loss = 0, only_accuracy = 0;        // only this layer quantized
  double without_loss = 0, without_accuracy = 0;  // all but this one
};

struct LayerAnalysis {
  std::vector<LayerReport> layers;  // by layer, up to the logits' layer
  std::size_t examples = 0;
  double float_loss = 0, float_accuracy = 0;                // float64 golden
  double fixed_loss = 0, fixed_accuracy = 0;                // device
  double simulated_loss = 0, simulated_accuracy = 0;        // float32, everything quantized
  std::uint64_t device_sat_low = 0, device_sat_high = 0;    // counters of the device
  std::uint64_t counted_sat_low = 0, counted_sat_high = 0;  // the same from the contract
  // Per layer with weights, by output channel in LSBs of the output, for the audit: mean error of
  // the layer alone where no activation cut the value off, and how far an input zero point that is
  // off by one moves the channel.
  std::vector<std::vector<double>> channel_error, channel_zero_point;
  std::vector<double> golden_low, golden_high;  // range of each layer's float output
};

struct LayerOptions {
  int examples = 256;
  bool sensitivity = true;
};

// `executed`: what the device runs; the same as `network` unless a test pulls them apart. `folded`,
// `params`: the float network without batch norm. Uses the first examples of `data`, whole batches.
[[nodiscard]] LayerAnalysis analyse_layers(const Network& folded, const FloatParams<float>& params,
                                           const QuantizedNetwork& network,
                                           const QuantizedNetwork& executed, const Dataset& data,
                                           const DeviceOpener& open, const FixedOptions& fixed,
                                           const LayerOptions& options);

}  // namespace lastmile
