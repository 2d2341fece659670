// SPDX-License-Identifier: Apache-2.0
// Channel statistics without labels: a shift of domain moves the mean and the deviation of what a
// channel computes before its non-linearity. The quantizer keeps both as they were on the source
// (for layers with a batch norm: QuantizedLayer::mean, deviation). Here the NPU measures them on
// unlabelled examples of the target, and each channel is scaled and moved back to what it was:
//
//     y' = factor * y + offset,    factor = d_source / d_target,
//                                  offset = m_source - factor * m_target
//
// A factor and an offset per channel are a new requantization table and new biases; no weight
// changes. The layers follow one another, each measured behind those already moved. (Test-time
// batch norm in float: Schneider et al., NeurIPS 2020; Nado et al. 2020.)
//
// The sums are exact. A layer is run with its values as int8, 0 the source's mean, kRange of its
// deviations either side; depthwise convolutions of that tensor with ones and with itself leave
// int32 sums (CONTRACT.md, Raw sums), which the host adds up.
#pragma once

#include <cstdint>
#include <vector>

#include "sw/data/dataset.hpp"
#include "sw/driver/session.hpp"
#include "sw/golden/params.hpp"
#include "sw/quantizer/quantized.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

// What a layer's channels are measured in: +-127 are kStatisticsRange source deviations.
inline constexpr double kStatisticsRange = 12;
// A channel is scaled by at most this, and by at least its inverse: a channel that has died on the
// target must not become all noise.
inline constexpr double kLargestFactor = 8;

struct LayerStatistics {
  int layer = 0;
  std::vector<float> mean, deviation;  // on the target, before the layer was moved
  std::vector<float> factor, offset;   // y' = factor * y + offset
};

struct StatisticsResult {
  QuantizedNetwork network;
  std::vector<LayerStatistics> layers;
  std::size_t examples = 0;         // measured on
  double passes = 0;                // of a batch, in whole passes by multiply-accumulates
  std::uint64_t macs = 0;           // the sums included
  std::uint64_t scratch_bytes = 0;  // most activations that were live
  std::uint64_t bytes_read = 0;     // sums, by the host
};

[[nodiscard]] bool has_statistics(const QuantizedNetwork& network);

// `data`: unlabelled (labels are not looked at); whole batches are used, the rest is not.
// Error(usage) for a network without source statistics, Error(input) for fewer examples than the
// sums need: a batch has to fill rows of 64 bytes with whole channels.
[[nodiscard]] StatisticsResult adapt_statistics(const QuantizedNetwork& network,
                                                const Dataset& data, const DeviceOpener& open,
                                                const FixedOptions& options);

// The same factors and offsets on float parameters (of the folded network).
void apply_statistics(const Network& folded, const std::vector<LayerStatistics>& layers,
                      FloatParams<float>& params);

}  // namespace lastmile
