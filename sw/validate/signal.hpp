// SPDX-License-Identifier: Apache-2.0
// The training signal: whether the fixed-point difference L+ - L- has the sign of the float64 one,
// what that does to the direction of a step, and what rounding does to the update.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sw/app/adapt.hpp"
#include "sw/validate/contract.hpp"
#include "sw/validate/metrics.hpp"

namespace lastmile {

struct SignalOptions {
  // Factors on AdaptOptions::eps; those that the descriptors cannot hold are left out.
  std::vector<double> eps = {0.01, 0.03, 0.1, 0.3, 1, 3, 10};
  std::vector<int> batches = {8, 32, 128};
  std::vector<double> steps = {0.03, 0.1, 0.3, 1, 3};  // factors on AdaptOptions::step
  int probes = 128;         // pairs per point, a multiple of 8: 8 pairs share a batch
  int examples = 1024;      // of the adaptation data
  bool every_width = true;  // widths at every e, not only at those of batches and pairs
  int drift_steps = 100;
  std::uint32_t short_steps = 200;  // of the short trainings that e and step are judged by
  int short_seeds = 2;
  int judged_examples = 512;  // of the adaptation data, beyond `examples` if there are as many
};

// L+ - L- of the same pairs, fixed point against float64.
struct FlipPoint {
  double x = 0;  // e (in the unit of AdaptOptions::unit), batch or bits
  double eps = 0;
  std::string label;  // of points that are not numbers
  std::int64_t probes = 0, flips = 0, zeros = 0;
  // Flips plus half the zeros (a difference of zero says nothing), with its interval.
  Share lost;
  // Of theory::flip_share from the deviations below: Gaussian signal, independent Gaussian noise.
  double predicted = 0;
  // The same from two numbers for all e: the slope of the gradient, and the noise at the smallest
  // e.
  double linear = 0;
  double signal = 0,
         noise = 0;       // root mean square of the float64 difference; of fixed minus float64
  double cosine = 0;      // of one fixed-point pair with the backpropagated gradient
  double projection = 0;  // of it: 1 if all signs were those of the gradient, 0 by chance
  double curvature = 0;  // float64 difference against 2 e z.g: relative RMS. Large: not linear at e
};

// Theory is about differences that are linear in e: where FlipPoint::curvature is at most this.
inline constexpr double kLinear = 0.3;

// m pairs of one batch, in coordinates where all elements are perturbed alike.
struct DirectionPoint {
  double eps = 0;
  int pairs = 1;
  std::int64_t groups = 0;
  double fixed_signed = 0, float_signed = 0, fixed_scaled = 0;  // cosine with backpropagation
  double fixed_float = 0;                                       // with the float64 estimate
  double theory_signed = 0, theory_scaled = 0;                  // sqrt(2m / pi d), sqrt(m / d)
  double exact_signed = 0, exact_scaled = 0;                    // without m << d
  double standard_error = 0;                                    // of fixed_signed
  double any_flip = 0;           // share of steps with a flipped or lost sign
  double any_flip_expected = 0;  // 1 - (1 - that of one pair)^m: pairs that flip independently
};

// Update of `step` LSBs per |z| = 1, by rounding: mean and variance of the error in LSBs, share of
// the intended movement that happens.
struct RoundingPoint {
  double step = 0;
  struct Rule {
    double bias = 0, variance = 0, retained = 0;
  } stochastic, nearest, floor;
};

struct TensorSignal {
  std::string name;
  std::int64_t elements = 0;
  double eps_lsb = 0, step_lsb = 0;  // for z of variance 1; step: of a typical pair
};

// A short training on the device with the user's estimator and schedule; mean over seeds.
struct StepPoint {
  double eps = 0, step = 0;
  double loss_change = 0, standard_error = 0;  // nats, on examples it did not train on
  double accuracy = 0;                         // per cent, after it
};

struct SignalReport {
  std::int64_t parameters = 0;  // d
  std::string unit;             // of e and step: "rms" of each tensor, or its "curvature"
  int batch = 0;
  double eps = 0;
  double participation = 0;  // (sum g^2)^2 / sum g^4: coordinates that carry the gradient
  std::vector<FlipPoint> by_eps, by_batch, by_width;
  std::vector<DirectionPoint> by_pairs;
  std::vector<RoundingPoint> rounding_sign, rounding_gaussian;
  std::vector<TensorSignal> tensors;
  // Perturbation in LSBs, elements by size: 0, 1, 2-3, 4-7, ... (last: 2^15 and more).
  std::vector<std::int64_t> delta_histogram;
  double delta_zero_share = 0;
  double unchanged_share = 0, unchanged_late_share = 0;  // of weights, at the first step and at a
                                                         // tenth of it; the device's counters
  // drift_steps updates with random signs.
  double drift = 0, drift_theory = 0;  // root mean square, in steps of each tensor
  double drift_bias_sigma = 0;         // mean over its standard error
  std::int64_t drift_clipped = 0;
  double drift_accuracy_before = 0, drift_accuracy_after = 0;
  std::uint32_t short_steps = 0;
  double judged_loss = 0, judged_accuracy = 0;  // before any step
  std::vector<StepPoint> by_step;
  double recommended_eps = 0, recommended_step = 0;
  int recommended_pairs = 1;
  std::vector<std::string> remarks;  // where theory does not apply, and what was read from where
};

[[nodiscard]] SignalReport measure_signal(const Network& folded, const FloatParams<float>& params,
                                          const QuantizedNetwork& network, const Dataset& adapt,
                                          const Dataset& test, const AdaptOptions& how,
                                          const SignalOptions& options, const DeviceOpener& open,
                                          const Say& say);

// Recommendations from the measured curves, with remarks that say which: m; then e, step and where
// theory does not apply.
void recommend_pairs(SignalReport& report);
void recommend_signal(const AdaptOptions& how, SignalReport& report);
// The e that the signs alone recommend: the smallest that keeps 98 % of the best projection.
[[nodiscard]] const FlipPoint& best_signs(const std::vector<FlipPoint>& by_eps);

// Parts of it, for tests and for the sweep.
[[nodiscard]] FlipPoint compare_differences(std::span<const double> reference,
                                            std::span<const double> fixed);
[[nodiscard]] RoundingPoint measure_rounding(double step_lsb, spec::Distribution distribution,
                                             int draws, std::uint64_t seed);
// L+ - L- of pairs whose seeds start at `seed`; batches[p / share] is the batch of pair p.
[[nodiscard]] std::vector<double> loss_differences(
    ForwardGradientTarget& target, const std::vector<std::vector<std::uint32_t>>& batches,
    int pairs, int share, std::uint64_t seed);

}  // namespace lastmile
