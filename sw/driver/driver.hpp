// SPDX-License-Identifier: Apache-2.0
// Runs a program on a device through registers, memory and the interrupt, and counts what crosses
// that seam. During a step the host writes seeds, scalars and addresses and reads losses; it never
// sees a weight, a perturbation or a gradient.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "sw/compiler/program.hpp"
#include "sw/device/device.hpp"

namespace lastmile {

struct ForwardResult {
  std::int64_t loss_sum = 0;  // units of log2, 20 fraction bits; sum over the examples that have a
                              // label. Of a program with squared errors: their sum, over the
                              // examples that were loaded, none of them correct
  std::uint32_t correct = 0;
  std::uint32_t examples = 0;
  [[nodiscard]] double mean_nats() const;  // of cross-entropy; 0 without examples
};

// What crossed the seam. A register access moves 4 bytes.
struct HostTraffic {
  std::uint64_t register_reads = 0, register_writes = 0;
  std::uint64_t bytes_read = 0, bytes_written = 0;  // memory
  [[nodiscard]] std::uint64_t bytes() const {
    return 4 * (register_reads + register_writes) + bytes_read + bytes_written;
  }
  HostTraffic& operator+=(const HostTraffic& other);
  friend HostTraffic operator-(const HostTraffic& a, const HostTraffic& b);
  friend bool operator==(const HostTraffic&, const HostTraffic&) = default;
};
enum class Traffic {
  load,
  batch,
  step,
  result,
  debug
};  // program image; examples and labels; passes and updates; features, losses,
    // logits; counters, tensors, activations
inline constexpr std::size_t kTrafficKinds = 5;

class Driver {
 public:
  // Checks ID, SPEC and the hardware parameters against the program, and that the memory is large
  // enough; then loads the image. Error (device) naming the register, the value found and what was
  // expected. The device must outlive the driver, and nobody else may use it meanwhile.
  Driver(Device& device, Program program);
  Driver(const Driver&) = delete;
  Driver& operator=(const Driver&) = delete;

  [[nodiscard]] const Program& program() const { return program_; }

  // Examples of the program's input, NHWC int8, at most `batch` of them; labels as many, -1 =
  // ignore (empty for a program without loss). The rest of the slot is ignored by the loss.
  // Error(input) naming the example for a wrong label.
  void load_batch(std::span<const std::int8_t> examples, std::span<const int> labels, int slot = 0);
  // The same for a program with squared errors, whose targets are its examples (load_batch without
  // labels), or these, as many bytes of the network's input, where it begins behind a layer.
  void load_targets(std::span<const std::int8_t> examples, std::span<const std::int8_t> targets,
                    int slot = 0);
  // The slot of the next passes: three register words.
  void select_batch(int slot);

  // The seed of the sparsity masks; 0 at the start.
  void set_mask_seed(std::uint64_t seed);

  // One pass over the selected batch. A program without loss gives zeros.
  ForwardResult forward(spec::Polarity polarity = spec::Polarity::none_, std::uint64_t seed = 0);
  // w -= step * sum_j coefficient_j * z(seed_j). step_register: register STEP (16-bit mantissa,
  // shift in bits 16..21; factor = mantissa / 65536 / 2^shift). Error(usage) for anything but 1..8
  // pairs, as many coefficients of -127..127, a shift above 16, other bits set, and for a program
  // that trains nothing.
  void update(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
              std::uint32_t step_register);

  // Readouts (Error(usage) for a program without them). Records are numbered from 0; the last
  // `batch` of kept + batch are a place for records that are not kept.
  // Records of the selected batch of examples, into places first to first + batch - 1.
  void extract(int first, spec::Polarity polarity = spec::Polarity::none_, std::uint64_t seed = 0);
  // Labels of records from `first` on, -1 = ignore. Error(input) naming the record for a wrong one.
  void set_labels(std::span<const int> labels, int first);
  // The head and the loss on records first to first + batch - 1.
  ForwardResult score(int first);
  // The same, and a step of the head by the errors of its outputs; the result is of before the
  // step. `seed` draws how errors and weights are rounded. Error(usage) for a bad step register.
  ForwardResult learn(std::uint32_t step_register, std::uint64_t seed, int first);

  // Of the last pass.
  [[nodiscard]] std::vector<std::int32_t>
  example_losses();  // Error(usage) unless compiled with example_losses
  [[nodiscard]] std::vector<std::int16_t> logits();  // batch x classes
  // Of a program with squared errors: batch x output, output minus target.
  [[nodiscard]] std::vector<std::int8_t> differences();
  [[nodiscard]] std::vector<std::int8_t> output(
      int slot = 0);  // of a program without loss: batch x output
  // Of a program with moments: per channel, over the batch.
  struct Moments {
    std::int64_t count = 0;  // values of a channel
    std::vector<std::int64_t> sums, squares;
  };
  [[nodiscard]] Moments moments();
  // Any int8 activation. Error(usage) if the layer has none in this program (fused, or outside it)
  // or its bytes were used again.
  [[nodiscard]] std::vector<std::int8_t> activation(int layer);
  // All counters of the last queue, in the order of spec::Counter.
  [[nodiscard]] std::array<std::uint64_t, spec::kCounters> counters();

  // Tensors as the NPU holds them, rows x columns (bias: one row). Error(usage) for an id that the
  // program does not have or a wrong size; values outside the tensor's width are Error(input).
  [[nodiscard]] std::vector<std::int32_t> read_tensor(std::uint32_t tensor);
  void write_tensor(std::uint32_t tensor, std::span<const std::int32_t> values);
  // All of the program's tensors into or from a quantized network of the same shape.
  void read_weights(QuantizedNetwork& into);
  void write_weights(const QuantizedNetwork& from);

  [[nodiscard]] const HostTraffic& traffic(Traffic kind) const {
    return traffic_[static_cast<std::size_t>(kind)];
  }

 private:
  std::uint32_t read(std::uint32_t offset, Traffic kind);
  std::uint64_t read64(spec::WideRegister r, Traffic kind);
  void write(std::uint32_t offset, std::uint32_t value, Traffic kind);
  // Writes a register only if its value changes.
  void set(std::uint32_t offset, std::uint32_t value, Traffic kind);
  void set64(spec::WideRegister r, std::uint64_t value, Traffic kind);
  void read_memory(std::uint32_t address, std::span<std::byte> to, Traffic kind);
  void write_memory(std::uint32_t address, std::span<const std::byte> from, Traffic kind);
  void check_device();
  void wait_for_bus();
  void run(std::uint32_t queue, const std::vector<Command>& commands, const std::string& phase);
  [[noreturn]] void fail(const std::vector<Command>& commands, const std::string& phase);
  const TensorPlace& place(std::uint32_t tensor) const;
  int checked_slot(int slot) const;
  std::size_t checked_examples(std::span<const std::int8_t> examples) const;
  void write_examples(std::span<const std::int8_t> examples, std::size_t count, int slot);
  const ReadoutQueues& readout() const;
  void select_records(int first);
  void set_step(std::uint32_t step_register);
  void set_polarity(spec::Polarity polarity, std::uint64_t seed);
  std::vector<std::byte> label_bytes(std::span<const int> labels, std::size_t count) const;
  ForwardResult result();
  ForwardResult squares();
  // Sums of squares of the first `count` examples.
  std::vector<std::int32_t> read_squares(std::size_t count, Traffic kind);

  Device& device_;
  Program program_;
  int slot_ = 0;                                   // of the passes
  std::vector<std::size_t> loaded_;                // examples, by slot
  std::map<std::uint32_t, std::uint32_t> shadow_;  // registers that only this driver writes
  std::array<HostTraffic, kTrafficKinds> traffic_{};
};

}  // namespace lastmile
