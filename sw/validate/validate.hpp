// SPDX-License-Identifier: Apache-2.0
// `lastmile validate`: is the fixed-point network right, where does quantization hurt, and is its
// training signal still good. Reports are described in README.md.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>

#include "sw/app/run.hpp"
#include "sw/validate/findings.hpp"
#include "sw/validate/signal.hpp"
#include "sw/validate/sweep.hpp"

namespace lastmile {

struct ValidateOptions {
  RunOptions run;  // task, network, checkpoint, pre-training, quantization, adaptation, reports
  std::filesystem::path quantized;  // a quantized network to judge instead of quantizing here
  Thresholds thresholds;
  LayerOptions layers;
  SignalOptions signal;
  SweepOptions sweep;
  bool with_signal = true, with_sweep = true;
  bool strict = false;  // warnings count as failures
  bool quick = false;   // fewer probes, short sweep
};

struct ValidateOutcome {
  nlohmann::json report;
  std::string summary;  // at most 40 lines, worst first
  int status = 0;       // what the program exits with: failure_status
};

// Writes validate.json, validate-layers.csv and validate.html into the reports folder.
[[nodiscard]] ValidateOutcome validate_network(const ValidateOptions& options,
                                               const DeviceOpener& open, const Say& say,
                                               const ProgressOptions& progress);

[[nodiscard]] std::string layers_csv(const nlohmann::json& report);
[[nodiscard]] std::string validate_page(const nlohmann::json& report);
[[nodiscard]] std::string validate_summary(const nlohmann::json& report);

}  // namespace lastmile
