// SPDX-License-Identifier: Apache-2.0
// Forward-gradient training as a method, one for fixed point and float: the host draws nothing and
// differentiates nothing. Per step it gives m seeds, compares the two losses of each, and hands
// back m small integers.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/trainer/host_rule.hpp"
#include "sw/trainer/method.hpp"

namespace lastmile {

// What the method trains: a network whose weights it cannot see.
class ForwardGradientTarget {
 public:
  ForwardGradientTarget() = default;
  ForwardGradientTarget(const ForwardGradientTarget&) = delete;
  ForwardGradientTarget& operator=(const ForwardGradientTarget&) = delete;
  virtual ~ForwardGradientTarget() = default;

  // The examples (indices of the training set) that the next losses are of.
  virtual void set_batch(std::span<const std::uint32_t> examples) = 0;
  // Sum of the batch's losses at w + delta(seed) or w - delta(seed) as registers LOSS_LO and
  // LOSS_HI hold it: units of log2 with kLossFraction fraction bits.
  virtual std::int64_t loss_sum(spec::Polarity polarity, std::uint64_t seed) = 0;
  // The same as a mean over examples, nats: for people, and for what is measured in floating point.
  virtual double loss(spec::Polarity polarity, std::uint64_t seed) = 0;
  // w -= step * sum_j coefficient_j z(seed_j); step_register is register STEP (factor = mantissa /
  // 65536 / 2^shift).
  virtual void update(std::span<const std::uint64_t> seeds,
                      std::span<const std::int8_t> coefficients, std::uint32_t step_register) = 0;
  // Step `k` begins: for reports and waveforms.
  virtual void announce(std::uint32_t) {}
};

class ForwardGradient final : public TrainingMethod {
 public:
  // `examples`: size of the training set; a step throws what check_options throws. Replaying needs
  // none. `target` must outlive this.
  ForwardGradient(ForwardGradientTarget& target, std::size_t examples,
                  const ForwardGradientOptions& options);

  void begin() override;
  [[nodiscard]] JournalRecord step(std::uint32_t k) override;
  void apply(const JournalRecord& record) override;
  void restore(const JournalRecord& record) override { scale_ = record.scale; }

 private:
  struct Pair {
    std::int64_t plus = 0, minus = 0;
  };
  [[nodiscard]] Pair pair(std::uint64_t seed);

  ForwardGradientTarget& target_;
  std::size_t examples_;
  ForwardGradientOptions options_;
  BatchSampler sampler_;
  std::uint64_t scale_ = 0;
};

}  // namespace lastmile
