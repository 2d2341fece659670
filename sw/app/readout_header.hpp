// SPDX-License-Identifier: Apache-2.0
// What a journal of readouts says of its run: the one place that writes it and reads it.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "sw/app/readout.hpp"

namespace lastmile {

// largest_rate: real, at STEP factor 1; inner: tensors below the head that train.
[[nodiscard]] nlohmann::json readout_header(const QuantizedNetwork& base, const Dataset& train,
                                            const ReadoutAdaptOptions& options, double largest_rate,
                                            std::span<const TensorTraining> inner);

// A run as its journal describes it. Of `options` what the header holds is set.
struct ReadoutRun {
  ReadoutAdaptOptions options;
  double largest_rate = 0;
  std::vector<TensorTraining> inner;
};
// Error(journal) naming `name`, the field, the value and what was expected.
[[nodiscard]] ReadoutRun parse_readout_header(const nlohmann::json& header,
                                              const std::string& name);

// First field in which `found` is not `expected`: "FIELD is VALUE, expected VALUE"; empty: none.
[[nodiscard]] std::string header_difference(const nlohmann::json& found,
                                            const nlohmann::json& expected);

}  // namespace lastmile
