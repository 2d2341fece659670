// SPDX-License-Identifier: Apache-2.0
// A network with readouts: beside the features that its last layer reads, that layer reads inner
// activations (taps), average-pooled to a grid, and a constant. Everything but the last layer is as
// it was, and the new columns of its weights start at zero, so the network computes what it
// computed; training the last layer alone then adapts it.
//
//     record = [features | taps | 1 | zeros up to a multiple of 64]      int8, one scale
//     logits = weights * record + bias
//
// The record takes over the bytes of its inputs. Their scales differ, so in real numbers each input
// is multiplied by (scale of the record) / (its own scale).
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sw/golden/params.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile {

// An inner activation. `grid`: cells along its longer side after pooling, at most; 0: as it is.
struct ReadoutTap {
  std::string layer;
  int grid = 0;
  friend bool operator==(const ReadoutTap&, const ReadoutTap&) = default;
};

struct ReadoutOptions {
  std::string taps = "auto";         // auto, none, or "layer[:grid],..."
  std::int64_t record_bytes = 4096;  // auto: what a record may take
  // Of the range of the new weights, the part that the old ones take, at most: readouts grow.
  double weight_range = 0.25;
  double logit_headroom = 2;  // times the range that the logits had
};

struct ReadoutNetwork {
  QuantizedNetwork network;
  int record = 0;                // the concat
  std::vector<ReadoutTap> taps;  // as chosen, grids resolved
};

// "auto": from shapes and the budget alone, no example is looked at. The activations are grouped by
// height and width; of each group the last one before the features is a candidate, and from the
// features outward each gets the largest grid with which the record still fits. Without room for
// one cell, or with another zero point than the features have, it is left out.
// Error(usage) naming the tap for one that does not exist, is not an inner activation of the zero
// point of the features, or has a grid that cannot be; Error(input) for a network whose last layer
// is not fully connected.
[[nodiscard]] ReadoutNetwork make_readout_network(const QuantizedNetwork& base,
                                                  const ReadoutOptions& options = {});

// The float parameters of `network` (made from the network that `params` are of, without batch
// norm): the same, zeros for the new columns.
[[nodiscard]] FloatParams<float> readout_params(const Network& network,
                                                const FloatParams<float>& params);

}  // namespace lastmile
