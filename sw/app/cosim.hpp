// SPDX-License-Identifier: Apache-2.0
// Cosimulation: training steps on a backend that compares itself with the model (lockstep), from
// any step of a journal. The model goes ahead: it writes the journal, or replays a given one up to
// the first step wanted; then the backend runs whole steps, and its records must be the journal's.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <string>

#include "sw/app/run.hpp"
#include "sw/base/error.hpp"

namespace lastmile {

struct CosimOptions {
  RunOptions run;               // task, network, and how the model adapts where it goes ahead
  std::string backend;          // its name, for the report
  std::string backend_options;  // of the backend
  // Network to start from (default: a short pre-training), journal to take the run from (with
  // `input`; default: one the model writes).
  std::filesystem::path input, journal;
  std::filesystem::path out = "build/cosim";  // network, journal and waveform
  std::filesystem::path report = "build/reports/cosim.json";
  std::uint32_t from = 0, steps = 20;
};

// A backend with these options.
using OpenBackend = std::function<DeviceOpener(const std::string& backend_options)>;
// The command that repeats step `step` of the run that these options describe.
using ReplayLine = std::function<std::string(const CosimOptions& options, std::uint32_t step)>;

struct CosimOutcome {
  nlohmann::json report;                 // fields: sim/README.md
  std::string failure;                   // empty: no difference
  ErrorKind kind = ErrorKind::mismatch;  // of the failure: a difference, or the device's error
  std::string waveform;                  // what to tell of the waveform, if anything
  std::string replay;                    // the command that repeats the step with the difference
};
// Fills in what the options leave to it (input, journal).
[[nodiscard]] CosimOutcome cosimulate(CosimOptions& options, const DeviceOpener& model,
                                      const OpenBackend& open, const ReplayLine& replay_line,
                                      const Say& say, const ProgressOptions& progress);

}  // namespace lastmile
