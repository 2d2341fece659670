// SPDX-License-Identifier: Apache-2.0
// A quantized network and its training steps, written from CONTRACT.md alone: one element at a
// time, 128-bit intermediates, no tiles, no addresses, and its own hash, tables, rounding, loss and
// update. It shares nothing with the model, the compiler and the headers of cmodel/numeric.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sw/compiler/training.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile::networks {

// How weights are disturbed while they are read.
struct Draw {
  int polarity = 0;  // +1, -1; 0: not at all
  std::uint64_t seed = 0;
};

struct Outputs {
  std::vector<std::vector<std::int8_t>> layers;  // NHWC, by layer, all examples
  std::vector<std::int16_t> logits;              // examples x classes
};

struct Losses {
  std::int64_t sum = 0;
  std::uint32_t correct = 0, examples = 0;
  std::vector<std::int32_t> each;
  friend bool operator==(const Losses&, const Losses&) = default;
};

struct StepSize {
  std::uint32_t mantissa = 0;
  int shift = 0;
};

class Simulation {
 public:
  // training: LSBs as the compiler gets them; what descriptors can hold of them is worked out here.
  Simulation(QuantizedNetwork network, std::vector<TensorTraining> training, bool gaussian,
             std::uint64_t mask_seed)
      : net_(std::move(network)),
        training_(std::move(training)),
        gaussian_(gaussian),
        mask_seed_(mask_seed) {}

  [[nodiscard]] const QuantizedNetwork& network() const { return net_; }
  [[nodiscard]] Outputs forward(std::span<const std::int8_t> x, const Draw& draw) const;
  // labels: -1 = ignored.
  [[nodiscard]] Losses losses(std::span<const std::int16_t> logits,
                              std::span<const int> labels) const;
  void update(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
              StepSize run);
  // A step of the head, a row of `record` for each label, by the errors of its outputs.
  void learn(std::span<const std::int8_t> record, std::span<const std::int16_t> logits,
             std::span<const int> labels, double step_lsb, StepSize run, std::uint64_t seed);
  // Weights (even ids) or biases of a layer.
  [[nodiscard]] std::vector<std::int32_t> tensor(std::uint32_t id) const;

 private:
  [[nodiscard]] std::int64_t limit_of(std::uint32_t id) const;
  [[nodiscard]] std::vector<std::int32_t> disturbed(std::uint32_t id, const Draw& draw) const;
  [[nodiscard]] std::vector<std::int64_t> sums(std::size_t layer, std::span<const std::int8_t> x,
                                               const Draw& draw) const;
  [[nodiscard]] std::int32_t z(std::uint64_t seed, std::uint32_t id, std::uint32_t row,
                               std::uint32_t column) const;
  [[nodiscard]] bool takes_part(std::uint32_t id, int keep, std::uint32_t row,
                                std::uint32_t column) const;
  void move(std::uint32_t id, std::size_t index, std::int64_t g, StepSize step, std::uint32_t r);
  [[nodiscard]] std::size_t columns_of(std::uint32_t id) const;

  QuantizedNetwork net_;
  std::vector<TensorTraining> training_;
  bool gaussian_;
  std::uint64_t mask_seed_;
};

// The host's rule: coefficients of pairs from differences of loss sums; `scaled` with divisor d.
[[nodiscard]] std::int8_t coefficient(std::int64_t difference, bool scaled, std::uint64_t d);

}  // namespace lastmile::networks
