// SPDX-License-Identifier: Apache-2.0
// The main job: pre-train in float, quantize, fail on the shifted domain, adapt by forward passes,
// compare, report.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sw/app/adapt.hpp"
#include "sw/app/pipeline.hpp"
#include "sw/app/readout.hpp"

namespace lastmile {

struct RunOptions {
  TaskOptions task;
  std::string network = "small-cnn";
  std::filesystem::path checkpoint;  // float weights to start from instead of pre-training
  PretrainOptions pretrain;
  QuantizeStageOptions quantize;
  AdaptOptions adapt;
  ReadoutAdaptOptions readout;
  std::uint32_t inner_steps = 6000;  // of `readout`, where inner layers train, too
  BackpropSearchOptions backprop;
  bool statistics = false;    // channel statistics first: every method starts from their result
  bool with_forward = true;   // adapt by forward gradients
  bool with_readout = true;   // adapt by readouts
  bool with_both = false;     // adapt by readouts and inner layers
  bool with_float = true;     // also in float, each of them
  bool with_backprop = true;  // also adapt by backpropagation in float
  double apart_points = 10;   // that fixed point may lose against float, or the run stops
  double saturation_warn = 0.001;  // share of a tensor's values beyond which a warning says so
  std::optional<int> speaker;      // audio: only this held-out speaker (index); else each in turn
  std::filesystem::path out = "build/run";          // checkpoint, quantized networks, journal
  std::filesystem::path reports = "build/reports";  // run.json, run.html
  // Go on with the run in `out`, if there is one: it must have been asked for in the same words.
  bool resume = false;
  bool salvage = false;  // with resume: JournalFile::salvage of its journals
  nlohmann::json settings = nlohmann::json::object();  // those words: option to value
};
inline constexpr const char* kRunState = "run-state.json";  // in `out`: settings and digest of data

// One line per number that changed hands, as `run` prints it; the report's fields are described in
// sw/app/README.md.
struct RunOutcome {
  nlohmann::json report;
  std::vector<std::string> diverged;  // forward gradients in fixed point: on which domain, and what
                                      // came of it
};
[[nodiscard]] RunOutcome run_experiment(const RunOptions& options, const DeviceOpener& open,
                                        const Say& say, const ProgressOptions& progress);

// What held-out examples said of a run; empty if none were.
[[nodiscard]] nlohmann::json held_json(const std::optional<HeldResult>& held);
// The same for people; `of`: steps of the run.
[[nodiscard]] std::string held_text(const HeldResult& held, std::uint32_t of);

// Balanced accuracy, per cent per class (null: no example), and examples by label and prediction.
[[nodiscard]] nlohmann::json confusion_json(const Accuracy& a);

// A number for people; "-" for one that is not known (null, NaN).
[[nodiscard]] std::string figure(const nlohmann::json& number, int digits);

// run.html from run.json.
[[nodiscard]] std::string run_page(const nlohmann::json& report);

}  // namespace lastmile
