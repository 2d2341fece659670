// SPDX-License-Identifier: Apache-2.0
// Forward-gradient training (sign-m-SPSA, arXiv 2411.04036 section 3, and its scaled form), one
// loop for fixed point and float: the host draws nothing and differentiates nothing. Per step it
// gives m seeds, compares the two losses of each, and hands back m small integers.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/trainer/journal.hpp"

namespace lastmile {

// What the loop trains: a network whose weights it cannot see.
class ForwardGradientTarget {
 public:
  ForwardGradientTarget() = default;
  ForwardGradientTarget(const ForwardGradientTarget&) = delete;
  ForwardGradientTarget& operator=(const ForwardGradientTarget&) = delete;
  virtual ~ForwardGradientTarget() = default;

  // The examples (indices of the training set) that the next losses are of.
  virtual void set_batch(std::span<const std::uint32_t> examples) = 0;
  // Loss of the batch at w + delta(seed) or w - delta(seed), mean over examples, nats. Differences
  // of two results are exact for fixed point.
  virtual double loss(spec::Polarity polarity, std::uint64_t seed) = 0;
  // w -= step * sum_j coefficient_j z(seed_j); step_register is register STEP (factor = mantissa /
  // 65536 / 2^shift).
  virtual void update(std::span<const std::uint64_t> seeds,
                      std::span<const std::int8_t> coefficients, std::uint32_t step_register) = 0;
};

enum class Estimator {
  sign,    // s_j = sign(L+ - L-): the paper's
  scaled,  // s_j = round(127 (L+ - L-) / D), saturated: SPSA itself, with D fixed at the start.
           // Steps shrink with the slope, and a pair is worth pi/2 times a sign (method.md:
           // cosines)
};
enum class StepSchedule { constant, cosine };

struct ForwardGradientOptions {
  std::uint32_t steps = 10000;
  int pairs = 1;  // m, 1..8
  int batch = 64;
  Estimator estimator = Estimator::scaled;
  StepSchedule schedule = StepSchedule::cosine;
  double final_factor = 0.0;  // the cosine ends at this fraction of the first step
  std::uint64_t seed = 1;     // of perturbations and batches
};

// Throws Error(usage) naming the option that is out of range. `examples`: size of the training set.
void validate(const ForwardGradientOptions& options, std::size_t examples);

// Factor of the step size at `step`, in (0, 1], as register STEP holds it. Only IEEE + - * / and
// our own cosine: equal on every machine.
[[nodiscard]] std::uint32_t step_register(const ForwardGradientOptions& options,
                                          std::uint32_t step);
// A factor in (0, 1] as register STEP holds it; smaller than 2^-33 becomes 2^-32.
[[nodiscard]] std::uint32_t encode_step_factor(double factor);
[[nodiscard]] double step_factor(std::uint32_t step_register);

// Coefficients of one step from its loss differences L+ - L-; `scale` is D, ignored by the sign
// estimator.
[[nodiscard]] std::vector<std::int8_t> coefficients(Estimator estimator,
                                                    std::span<const double> differences,
                                                    double scale);

// Batches without replacement: epoch e is the permutation of seed and e, so any step's batch is
// known without those before it.
class BatchSampler {
 public:
  BatchSampler(std::uint64_t seed, std::size_t examples, int batch);
  [[nodiscard]] std::vector<std::uint32_t> batch(std::uint32_t step);

 private:
  std::uint64_t seed_;
  std::size_t examples_;
  std::size_t batch_;
  std::uint64_t epoch_ = ~std::uint64_t{0};
  std::vector<std::uint32_t> order_;
};

struct StepReport {
  std::uint32_t step = 0;
  double loss = 0;  // mean of L+ and L- over the pairs, nats
  std::span<const std::int8_t> coefficients;
};
using StepCallback = std::function<void(const StepReport&)>;

// D of the scaled estimator: kScaleOverRms times the root mean square of kScaleProbes loss
// differences at the start, on the batch of step 0 with seeds that training does not use. The
// journal records it.
inline constexpr int kScaleProbes = 16;
inline constexpr double kScaleOverRms = 1;
[[nodiscard]] std::uint64_t probe_seed(std::uint64_t seed, int probe);

// Where a run goes on; the default is the start.
struct TrainingPosition {
  std::uint32_t step = 0;
  float scale = 0;
};

// Runs steps from.step .. options.steps - 1. Each record is in `journal` (if any) before its update
// starts.
void train_forward_gradient(ForwardGradientTarget& target, std::size_t examples,
                            const ForwardGradientOptions& options, TrainingPosition from,
                            JournalWriter* journal, const StepCallback& callback);

// Applies the updates of a journal, without a single forward pass.
void replay(ForwardGradientTarget& target, const Journal& journal, std::uint32_t from,
            std::uint32_t to);

[[nodiscard]] Estimator parse_estimator(const std::string& text);
[[nodiscard]] StepSchedule parse_schedule(const std::string& text);
[[nodiscard]] const char* name_of(Estimator estimator);
[[nodiscard]] const char* name_of(StepSchedule schedule);

}  // namespace lastmile
