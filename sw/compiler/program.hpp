// SPDX-License-Identifier: Apache-2.0
// What the compiler makes: two command streams, the memory they work on, and the map that says what
// is where. A program is a value; the driver loads it and never changes it. What changes from step
// to step (seed, polarity, step size, batch) is in registers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/base/shape.hpp"
#include "sw/compiler/encoding.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile {

struct Command {
  spec::Descriptor descriptor;
  int layer = kNetworkInput;  // whose result it is (a fused add: the convolution); kNetworkInput:
                              // loss, or a copy of the input
  std::string name;           // "conv2b+add2", "loss", "update fc.bias"
};

// One weight or bias tensor in the NPU's memory.
struct TensorPlace {
  std::uint32_t tensor = 0;
  int layer = 0;
  bool bias = false;
  int bits = 16;              // 8, 16, 32
  int rows = 0, columns = 0;  // bias: 1 row
  std::uint32_t pitch = 0;    // bytes from row to row
  std::uint32_t address = 0;
  bool trainable = false;
  Scaled eps;  // per |z| as the NPU draws it (numeric::z_unit)
  ScaledStep step;
  int keep = spec::kKeepAll;
  [[nodiscard]] std::uint64_t elements() const {
    return static_cast<std::uint64_t>(rows) * static_cast<std::uint64_t>(columns);
  }
};

// One activation tensor in memory, for the whole batch.
struct ActivationPlace {
  int layer = 0;  // whose output; never kNetworkInput (that is the batch)
  Shape shape;
  int bits = 8;               // 16: logits
  TensorQuant quant;          // logits: zero point 0
  std::uint32_t address = 0;  // with flag OUT_BATCH: relative to register OUT_ADDR
  bool at_output = false;     // the program's output, at register OUT_ADDR
  std::uint64_t bytes = 0;
  int first = 0, last = 0;  // commands that write it first and read it last
  int overwritten_by = -1;  // first later command whose output shares bytes with it; -1: still
                            // there when the stream has ended
};

// Bytes of one kind, all of them aligned to 64 at their start.
struct MemoryMap {
  std::uint64_t command_bytes = 0;         // both queues
  std::uint64_t weight_bytes = 0;          // with the padding of rows
  std::uint64_t parameter_bytes = 0;       // biases and requantization tables
  std::uint64_t activation_bytes = 0;      // the arena
  std::uint64_t activation_live_peak = 0;  // the most activation bytes live at once
  std::uint64_t output_bytes = 0;          // one output slot of a program that ends in a layer
  std::uint64_t loss_bytes = 0;            // per-example losses
  std::uint64_t batch_bytes = 0;           // one slot: examples and labels
  std::uint64_t constant_bytes = 0;        // what concats append, once per example of a batch
  std::uint64_t record_bytes = 0;          // records with their labels, kept and passing ones
  std::uint64_t total_bytes =
      0;  // memory that the device must have; all of the above, slots times slots
  std::uint64_t on_chip_bytes = 0;  // scratchpads and accumulators of the hardware, both halves
  int peak_command = 0;             // where activation_live_peak is reached
  std::vector<int> peak_layers;     // whose outputs are live there
};

// What a program with readouts has beside its two queues. Records are the rows of a concat, `pitch`
// bytes each; those of memory number 0 to kept + batch - 1 lie one after another, and so do their
// labels. A queue works on `batch` of them, from any record on.
struct ReadoutQueues {
  int layer = 0;            // the concat
  std::uint32_t pitch = 0;  // bytes of a record, a multiple of 64
  int kept = 0;             // records with a place of their own; the last `batch` are for others
  std::vector<Command> extract;  // batch of examples (BATCH_ADDR) -> records at OUT_ADDR
  std::vector<Command> score;    // records at BATCH_ADDR, labels at LABEL_ADDR -> logits and loss
  std::vector<Command> learn;    // the same, and a step of the head's weights
  std::uint32_t extract_address = 0, score_address = 0, learn_address = 0;  // first descriptors
  std::uint32_t record_address = 0, label_address = 0;                      // of record 0
};

// The sums that a program for channel statistics leaves at register OUT_ADDR instead of a layer's
// output. The output of a batch, at zero point 0, is taken as rows of `columns` bytes (the least
// multiple of 64 that channels fit into without a rest), `rows` of them to a chunk: per chunk int32
// sums of each column's values, then of their squares. Column k is of channel k mod `channels`.
struct MomentSums {
  int channels = 0;
  std::uint32_t columns = 0;
  std::uint32_t rows = 0;  // the last chunk may have fewer
  std::uint32_t chunks = 0;
};

// Of a program whose loss is the squared difference of output and target (Loss::reconstruction).
// Targets are where labels are else, as negated_target() has them. Examples are multiplied with
// each other in blocks, the first `block` of them, the next, ... (the last block may be smaller).
// Of a block of m the NPU leaves int32 [m][m] at loss_address + 4 * block * its first example; the
// diagonal has the sums of squares. real = sum * scale^2.
struct SquaredError {
  float scale = 1;            // of a difference
  std::uint32_t address = 0;  // of the differences: int8 [batch][elements], zero point 0
  std::uint32_t pitch = 0;    // bytes of a row that is squared, a multiple of 64
  std::uint32_t block = 0;    // examples
};

struct Program {
  std::string network;
  spec::HardwareParams hardware;
  spec::Distribution distribution = spec::Distribution::sign_;
  int batch = 0;                    // examples per pass
  int slots = 1;                    // batches (and outputs) that fit into the memory map at once
  int input_layer = kNetworkInput;  // whose output the batch is
  Shape input;
  TensorQuant input_quant;
  int output_layer = 0;  // the logits' layer, or the last layer of a program without loss
  Shape output;
  bool has_loss = true;
  bool example_losses = false;
  std::optional<SquaredError> squared_error;  // else the loss is cross-entropy
  int classes = 0;                            // 0 without loss, and without labels
  int label_bytes = 1;  // 1, or 2 above 255 classes; all ones: ignore. Of targets: the elements
  float logit_scale = 1;

  std::vector<Command> forward;
  std::vector<Command> update;        // empty: nothing trains
  std::uint32_t forward_address = 0;  // of the first descriptor
  std::uint32_t update_address = 0;
  std::optional<ReadoutQueues> readout;
  std::optional<MomentSums> moments;
  std::vector<TensorPlace> tensors;          // by tensor id
  std::vector<ActivationPlace> activations;  // by layer; tensors that fusion removed are absent
  std::uint32_t loss_address = 0;            // int32 [batch]
  // Slot s: inputs at batch_address + s * batch_stride, labels at label_address + s * label_stride,
  // outputs at output_address + s * output_stride.
  std::uint32_t batch_address = 0, batch_stride = 0;
  std::uint32_t label_address = 0, label_stride = 0;
  std::uint32_t output_address = 0, output_stride = 0;
  std::vector<std::byte>
      image;  // memory from address 0: queues, weights, biases, requantization tables
  MemoryMap memory;
  std::vector<std::string>
      notes;  // what is legal but surely not meant, such as a perturbation that rounds to nothing

  [[nodiscard]] const TensorPlace* find_tensor(
      std::uint32_t tensor) const;  // nullptr: not in this program
  [[nodiscard]] const ActivationPlace* find_activation(int layer) const;
};

// Listing for people: memory, tensors, commands with every field that their operator uses.
[[nodiscard]] std::string to_text(const Program& program, const Network& network);
// The memory part alone: bytes by kind, the peak and the tensors that make it.
[[nodiscard]] std::string memory_report(const Program& program, const Network& network);

}  // namespace lastmile
