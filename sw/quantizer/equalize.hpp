// SPDX-License-Identifier: Apache-2.0
// The same float function with channels that quantize better: what one layer multiplies a channel
// by, the next one divides by (positively homogeneous activations, and pools between them). A
// channel that never fires is brought down to the others, whose range it would widen.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "sw/golden/params.hpp"
#include "sw/graph/network.hpp"

namespace lastmile {

enum class Equalization {
  off,
  automatic,  // only where an estimate of the rounding errors falls by a factor of kWorthwhile
  on,         // wherever it is possible
};

struct EqualizeOptions {
  Equalization mode = Equalization::automatic;
  double weight_levels = 32767;  // largest weight code
};

// A network of healthy channels gains less than this from balancing them, and keeps its weights.
inline constexpr double kWorthwhile = 4;

struct EqualizeReport {
  std::vector<std::string> pairs;            // "conv1 -> conv2"
  std::vector<std::string> dead;             // "conv1: 2"
  std::vector<std::vector<double>> factors;  // by layer and output channel: what its weights and
                                             // bias were multiplied by; empty: no weights
  [[nodiscard]] bool changed() const { return !pairs.empty() || !dead.empty(); }
};

// `folded`: without batch norm, which `params` fit. x: whole examples, at least one; a channel is
// dead if it never fires on them. The function on x stays the same but for float rounding.
EqualizeReport equalize(const Network& folded, FloatParams<float>& params, std::span<const float> x,
                        const EqualizeOptions& options = {}, int threads = 1);

}  // namespace lastmile
