// SPDX-License-Identifier: Apache-2.0
// Between sums of losses as registers LOSS_LO and LOSS_HI hold them (units of log2, kLossFraction
// fraction bits) and means in nats: for people and for floating point. No bit of the NPU depends on
// these.
#pragma once

#include <cstdint>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::numeric {

inline constexpr double kLn2 = 0.69314718055994530942;

// 0 without examples.
[[nodiscard]] constexpr double mean_nats(std::int64_t loss_sum, double examples) {
  if (examples == 0) return 0;
  return static_cast<double>(loss_sum) / (1 << spec::kLossFraction) * kLn2 / examples;
}

// The inverse, before it is rounded.
[[nodiscard]] constexpr double loss_sum(double mean_nats, double examples) {
  return mean_nats / kLn2 * (1 << spec::kLossFraction) * examples;
}

}  // namespace lastmile::numeric
