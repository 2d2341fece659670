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
  std::vector<std::string> networks = {"small-cnn", "resnet8", "ds-cnn"};  // of suite(), or files
  std::vector<Variant> variants = {Variant::full, Variant::head, Variant::sparse};
  WeightType weight_type = WeightType::w16;
  spec::Distribution distribution = spec::Distribution::sign_;
  int batch = 0;  // 0: the workload's
  MeasureOptions measure;
  std::string backend_options;  // of the memory: latency=, bandwidth=
  std::string table = "22nm", dram;
  std::filesystem::path reports = "build/reports";
};

struct ProfileOutcome {
  nlohmann::json report;  // profile.json; fields: sw/profile/README.md
  std::string summary;    // at most 40 lines
};

// Opens a device with these backend options (DeviceOptions.extra) instead of its own.
using OpenWith = std::function<DeviceOpener(const std::string& extra)>;

// Writes profile.json, CSVs and counters into o.reports.
ProfileOutcome profile_networks(const ProfileOptions& o, const OpenWith& open, const Say& say);

}  // namespace lastmile::profile
