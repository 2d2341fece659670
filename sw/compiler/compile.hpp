// SPDX-License-Identifier: Apache-2.0
// Network to program. The result depends on the arguments alone: equal arguments give equal bytes.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "sw/compiler/program.hpp"
#include "sw/compiler/training.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile {

// Readouts: the logits' layer is fully connected and reads a concat, the record, below which
// nothing trains. The program then has the queues of ReadoutQueues.
struct ReadoutTraining {
  double step_lsb = 0;  // LSBs of the head's weights per unit of error * (record - zero point),
                        // summed over the batch, at STEP factor 1; an error of 1 is 128 units
  int kept = 0;         // records that stay in memory: one per example, computed once
};

struct CompileOptions {
  int batch = 64;
  int slots = 1;  // batches kept in memory at once; the host switches between them by a register
  std::vector<TensorTraining> training;  // empty: inference only
  spec::Distribution distribution = spec::Distribution::sign_;
  bool example_losses = false;  // LOSS writes one int32 per example
  std::optional<ReadoutTraining> readout;
  // Part of a network: the batch is the output of this layer, and only what follows is compiled.
  // Every path from the network's input to the program's output must pass it.
  int input_layer = kNetworkInput;
  // Without a value: int16 logits (Loss::reconstruction: int8 differences) and the loss. With a
  // value: the program ends with this layer's int8 output, which goes to register OUT_ADDR (a
  // feature extractor, or probabilities if the layer is a softmax).
  std::optional<int> output_layer;
  // With an output layer: the program ends with the sums of MomentSums over it instead.
  bool moments = false;
  // An add into the convolution before it, and an input of a concat written straight into its
  // place; the same bits either way.
  bool fuse_adds = true;
  bool reuse_memory =
      true;  // false: every activation keeps its bytes, so that all can be read after a pass
  std::uint64_t memory_bytes = std::uint64_t{64} << 20;  // the program must fit
};

// Error(input) naming network, layer, field, the value found and what was expected, for whatever
// the hardware cannot do; Error(usage) for options outside their ranges.
[[nodiscard]] Program compile(const QuantizedNetwork& network, const spec::HardwareParams& hardware,
                              const CompileOptions& options);

}  // namespace lastmile
