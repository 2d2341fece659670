// SPDX-License-Identifier: Apache-2.0
// Widths of weights, activations and logits against accuracy and training. Every point is emulated
// on the host with quantize-dequantize arithmetic on the grid of the network's 16-bit weights: a
// weight of b bits is a 16-bit code rounded to a multiple of 2^(16 - b), and so are its
// perturbation and its update.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sw/app/adapt.hpp"
#include "sw/validate/contract.hpp"
#include "sw/validate/metrics.hpp"

namespace lastmile {

// A turn is read only where float gains this many points: less may be chance.
inline constexpr double kLeastGain = 2;

struct SweepOptions {
  std::vector<int> weights = {8, 10, 12, 14, 16}, activations = {8, 16}, logits = {8, 16};
  std::vector<std::string> layers = {"head"};
  double eps = 1e-3;    // the seed paper's: of the largest weight code, not of the RMS
  double step = 0.015;  // relative to RMS
  std::uint32_t steps = 2000;
  int seeds = 3;  // adaptations of each point
  int batch = 32;
  int probes = 64;
  int examples = 1000;  // to adapt on
  int test_examples = 1000;
};

struct SweepPoint {
  Widths widths;  // all 0: float
  bool gaussian = false;
  double eps_lsb = 0;             // of a weight's LSB at that width
  double perturbed_share = 0;     // weights that the rounded perturbation moves
  double lost = 0;                // signs of L+ - L- against float64: flips + half the zeros
  double source = 0;              // accuracy on the source test after quantization, per cent
  double before = 0, after = 0;   // on the shifted test; `after`: mean over seeds
  double standard_error = 0;      // of `after`
  std::vector<double> each = {};  // `after` by seed
};

struct SweepReport {
  std::vector<SweepPoint> points;
  // By distribution (signs, Gaussian), activations 8, logits 16: the narrowest weights that gain at
  // least half of what float gains; 0: none does, or float gains less than kLeastGain. And float
  // minus 16-bit fixed point, points.
  int turns_at[2] = {0, 0};
  double gap[2] = {0, 0}, gap_error[2] = {0, 0};  // mean over seeds, its standard error
  double narrow_gain[2] = {0, 0}, wide_gain[2] = {0, 0}, float_gain[2] = {0, 0};
};

// `network` has 16-bit weights.
struct SweepData {
  const Dataset &adapt, &shifted_test, &source_test;
};
[[nodiscard]] SweepReport sweep_widths(const Network& folded, const FloatParams<float>& params,
                                       const QuantizedNetwork& network, const SweepData& data,
                                       const AdaptOptions& how, const SweepOptions& options,
                                       const Say& say);

}  // namespace lastmile
