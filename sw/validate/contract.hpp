// SPDX-License-Identifier: Apache-2.0
// Two ways to compute a quantized network on the host, for measuring:
//   - ContractNetwork: the integers of the numeric contract, layer by layer, on inputs of the
//     caller's choice, with its accumulators;
//   - simulate(): float arithmetic with quantize-dequantize after the layers that are quantized, at
//     widths the hardware need not have.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sw/golden/golden.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile {

// The layer whose output is int16, the logits of a classifier; none (no layer's index) of a network
// with Loss::reconstruction, whose last layer is as wide as the others.
[[nodiscard]] inline int wide_layer(const Network& network) {
  return network.reconstructs() ? kNetworkInput : network.logits_layer();
}

// One layer's result on n examples.
struct ContractOutput {
  std::vector<std::int8_t> out;
  std::vector<std::int16_t> logits;      // only of logits_layer(), if the network has int16 logits
  std::int64_t largest_accumulator = 0;  // magnitude
  std::uint64_t sat_low = 0, sat_high = 0;              // as the NPU counts them, of `out`
  std::uint64_t logit_sat_low = 0, logit_sat_high = 0;  // of `logits`
};

class ContractNetwork {
 public:
  explicit ContractNetwork(const QuantizedNetwork& network, int threads = 1);
  // inputs: one span per Layer::inputs, n examples each. Accumulators are computed in double, which
  // is exact: they have 40 bits. Error(usage) for a softmax, which training programs do not have.
  [[nodiscard]] ContractOutput run(int layer,
                                   const std::vector<std::span<const std::int8_t>>& inputs) const;

 private:
  QuantizedNetwork network_;
  Golden<double> golden_;         // without activations
  FloatParams<double> integers_;  // the codes as they are
};

// Bits per kind; 0: not quantized.
struct Widths {
  int weights = 16;
  int activations = 8;
  int logits = 16;
  friend bool operator==(const Widths&, const Widths&) = default;
};

// Real values to the tensor's grid and back: `bits` 8 is the grid itself, 16 is 256 times finer
// over the same range (emulated: the NPU has int8 activations). Clamped to act_min..act_max.
template <class T>
void fake_quantize(std::span<T> values, const TensorQuant& quant, std::int32_t act_min,
                   std::int32_t act_max, int bits);

// Weight codes on a coarser grid: the codes of `bits` that are nearest to those of the network's
// own width, in LSBs of the coarser grid (2^(own - bits) of the network's). bits <= own width.
[[nodiscard]] std::vector<std::int32_t> narrow_weights(std::span<const std::int16_t> codes, int own,
                                                       int bits);

// `from`, with the layers of `quantized` (empty: all) replaced by the network's dequantized
// weights, narrowed to `weight_bits` (0: none replaced), and biases.
template <class T>
[[nodiscard]] FloatParams<T> simulated_params(const QuantizedNetwork& network,
                                              const FloatParams<T>& from, int weight_bits,
                                              const std::vector<bool>& quantized = {});

// By layer; empty where nothing was computed.
template <class T>
using LayerOutputs = std::vector<std::vector<T>>;

// Layers first .. logits_layer() on n examples; `outputs` by layer, those below `first` given by
// the caller (only what later layers read). Outputs of the layers of `quantized` (empty: all) are
// quantized to widths.activations; the logits to widths.logits instead, returned as codes of the
// 16-bit grid in `logit_codes` if it is not null. Returns the logits.
template <class T>
std::vector<T> simulate(const Golden<T>& golden, const QuantizedNetwork& network,
                        const FloatParams<T>& params, std::span<const T> x,
                        LayerOutputs<T>& outputs, int first, const Widths& widths,
                        const std::vector<bool>& quantized = {},
                        std::vector<std::int16_t>* logit_codes = nullptr);

// Network input to its grid, as the driver's quantization does it, and back.
template <class T>
[[nodiscard]] std::vector<T> simulated_input(const QuantizedNetwork& network,
                                             std::span<const float> x, int activation_bits);

}  // namespace lastmile
