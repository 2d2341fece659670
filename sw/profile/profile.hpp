// SPDX-License-Identifier: Apache-2.0
// `lastmile profile`: what a training step costs, where, and against what.
#pragma once

#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "sw/app/pipeline.hpp"
#include "sw/profile/energy.hpp"
#include "sw/profile/measure.hpp"

namespace lastmile::profile {

struct ProfileOptions {
  std::vector<std::string> networks = {"resnet8", "small-cnn", "ds-cnn"};  // of suite(), or files
  std::vector<Variant> variants = {Variant::full, Variant::head, Variant::sparse};
  WeightType weight_type = WeightType::w16;
  spec::Distribution distribution = spec::Distribution::sign_;
  int batch = 0;  // 0: the workload's
  MeasureOptions measure;
  std::string backend_options;  // those given: latency= and bandwidth= come before the memory's own
  bool predict = false;         // count without executing, whatever the network's size
  bool execute = false;         // execute networks that are only predicted otherwise, too
  bool compare = true;          // inference, backpropagation, floor, schedules
  bool inference = false;       // no steps; a pass ends with the network's outputs, not its loss
  bool sweep = false;           // hardware, batch and pairs, for the first network
  std::string table = "22nm";
  std::string dram;  // a memory of sw/share/memory or a file; empty: flat
  std::filesystem::path reports = "build/reports";
  std::filesystem::path trace;    // Perfetto trace of a step of the first network; empty: none
  std::filesystem::path against;  // an earlier profile.json; empty: none
};

struct ProfileOutcome {
  nlohmann::json report;  // profile.json; fields: sw/profile/README.md
  std::string summary;    // at most 40 lines
};

// Opens a device with these backend options (DeviceOptions.extra); second: the cycle model in place
// of the chosen backend.
using OpenWith = std::function<DeviceOpener(const std::string& extra, bool model)>;

// Writes profile.json, profile.html, CSVs and counters into o.reports.
ProfileOutcome profile_networks(const ProfileOptions& o, const OpenWith& open, const Say& say,
                                const ProgressOptions& progress);

// Pages and text from the report alone. `old`: an earlier report, or null.
[[nodiscard]] std::string profile_page(const nlohmann::json& report, const nlohmann::json& old);
[[nodiscard]] std::string profile_summary(const nlohmann::json& report);
// What the two were made with and differs: {settings: {what, network, old, new}, warnings,
// energy_not_compared: why energies are left out, or empty}.
[[nodiscard]] nlohmann::json profile_comparison(const nlohmann::json& report,
                                                const nlohmann::json& old);
// Cycles, bytes and, unless the tables forbid it, energy of every step and layer in both reports:
// {network, variant, phase, layer, what, old, new, percent}, largest change first.
[[nodiscard]] nlohmann::json profile_differences(const nlohmann::json& report,
                                                 const nlohmann::json& old);

// Array size, scratchpad, bus, batch and pairs: cycles, energy and memory of a full step, with the
// points that nothing dominates marked.
[[nodiscard]] nlohmann::json sweep(const Workload& workload, const ProfileOptions& o,
                                   const EnergyTable& table, const DeviceOpener& count_only,
                                   const ProgressOptions& progress);

}  // namespace lastmile::profile
