// SPDX-License-Identifier: Apache-2.0
// What the commands say of the ranges of a quantized network on the data that it meets.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sw/data/dataset.hpp"
#include "sw/quantizer/fit.hpp"

namespace lastmile {

inline constexpr double kSaturationWarn = 0.001;  // share of a tensor's values
inline constexpr std::size_t kFitExamples = 512;  // a sample shows what is cut off

// On a sample of the data.
[[nodiscard]] std::vector<TensorFit> range_fit_of(const QuantizedNetwork& network,
                                                  const Dataset& data, int threads);
[[nodiscard]] nlohmann::json fit_json(const std::vector<TensorFit>& fits);
// One line: the tensors of whose values more than `warn` saturate, worst first, and what helps; or
// the largest share.
[[nodiscard]] std::string fit_text(const std::vector<TensorFit>& fits, const std::string& domain,
                                   double warn);

}  // namespace lastmile
