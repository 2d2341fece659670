// SPDX-License-Identifier: Apache-2.0
// The host's part of a forward-gradient step (sign-m-SPSA, arXiv 2411.04036 section 3, and its
// scaled form) as numbers: options, batches, seeds, step sizes, coefficients. No network and no
// file: everything here is known from the options and from loss differences.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "cmodel/numeric/host_rule.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile {

enum class Estimator {
  sign,    // s_j = sign(L+ - L-): the paper's
  scaled,  // s_j = round(127 (L+ - L-) / D), saturated: SPSA itself, with D fixed at the start.
           // Steps shrink with the slope, and a pair is worth pi/2 times a sign
};
enum class StepSchedule { constant, cosine };
// How the seeds of pairs follow from that of the run.
enum class SeedRule {
  hashed,    // CONTRACT.md, section Host's rule
  counting,  // seed + step * pairs + pair: journals that do not say otherwise
};

struct ForwardGradientOptions {
  std::uint32_t steps = 10000;
  int pairs = 1;  // m, 1..8
  int batch = 64;
  Estimator estimator = Estimator::scaled;
  StepSchedule schedule = StepSchedule::cosine;
  double final_factor = 0.0;  // the cosine ends at this fraction of the first step
  std::uint64_t seed = 1;     // of perturbations and batches
  SeedRule seed_rule = SeedRule::hashed;
  bool operator==(const ForwardGradientOptions&) const = default;
};

// Throws Error(usage) naming the option that is out of range. `examples`: size of the training set.
void check_options(const ForwardGradientOptions& options, std::size_t examples);

[[nodiscard]] Estimator parse_estimator(const std::string& text);
[[nodiscard]] StepSchedule parse_schedule(const std::string& text);
[[nodiscard]] const char* name_of(Estimator estimator);
[[nodiscard]] const char* name_of(StepSchedule schedule);

// Seeds of all pairs of a step. They are not stored anywhere.
[[nodiscard]] std::vector<std::uint64_t> pair_seeds(const ForwardGradientOptions& options,
                                                    std::uint32_t step);

// Factor of the step size at `step`, in (0, 1], as register STEP holds it. Only IEEE + - * / and
// our own cosine: equal on every machine.
[[nodiscard]] std::uint32_t step_register(const ForwardGradientOptions& options,
                                          std::uint32_t step);
// A factor in (0, 1] as register STEP holds it; smaller than 2^-33 becomes 2^-32.
[[nodiscard]] std::uint32_t encode_step_factor(double factor);
[[nodiscard]] double step_factor(std::uint32_t step_register);

// Coefficients of one step from its differences L+ - L- of loss sums; `scale` is D, ignored by the
// sign estimator. CONTRACT.md, section Host's rule.
[[nodiscard]] std::vector<std::int8_t> coefficients(Estimator estimator,
                                                    std::span<const std::int64_t> differences,
                                                    std::uint64_t scale);

// Seeds of the probes that set D, on the batch of step 0; training does not use them. The journal
// records D.
[[nodiscard]] std::uint64_t probe_seed(std::uint64_t seed, int probe);

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

}  // namespace lastmile
