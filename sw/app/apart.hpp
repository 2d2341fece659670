// SPDX-License-Identifier: Apache-2.0
// Whether fixed point does what the float network does, on both domains, before anything adapts.
#pragma once

#include <string>
#include <vector>

#include "sw/app/pipeline.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

inline constexpr double kApartPoints = 10;  // that fixed point may lose, unless told otherwise

struct FloatAgainstFixed {
  std::string domain;              // "source", "shifted"
  double floating = 0, fixed = 0;  // per cent of a sample of its test; squared errors per element
  double balanced = 0;             // the latter, every class weighing the same
  std::size_t examples = 0;
  bool reconstruction = false;  // nobody judges squared errors
};

// `given`: the float network as it was trained.
[[nodiscard]] std::vector<FloatAgainstFixed> float_against_fixed(
    const Network& network, const FloatParams<float>& given, const QuantizedNetwork& quantized,
    const Task& task, const DeviceOpener& open, const FixedOptions& options);
// "float 99.10 %, fixed point 99.05 % (source); ..."
[[nodiscard]] std::string text_of(const std::vector<FloatAgainstFixed>& all);
// Error(mismatch) with advice where fixed point is more than `points` below float, and more than
// chance explains.
void require_near(const std::vector<FloatAgainstFixed>& all, double points);

}  // namespace lastmile
