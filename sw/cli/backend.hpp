// SPDX-License-Identifier: Apache-2.0
// Where a command's devices come from, and whether the waveform that was asked of them is whole.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "sw/cli/options.hpp"
#include "sw/driver/session.hpp"

namespace lastmile {

// The waveform of the device that was closed last.
struct Waveform {
  std::string file;
  std::string wrong;  // why it is incomplete; empty: it is whole, or there is none
};

struct Backends {
  explicit Backends(DeviceOpener m) : model(std::move(m)) {}
  DeviceOpener model;  // the C++ model, which is linked in
  std::shared_ptr<Waveform> waveform = std::make_shared<Waveform>();
};

// The file that the backend options ask a waveform of; empty: none.
inline constexpr const char* kWaveformOption = "--backend-options trace";
[[nodiscard]] std::filesystem::path waveform_of(const CommonOptions& common);

// "cmodel" and those that were built, by name.
[[nodiscard]] std::vector<std::string> backend_names();

// The backend's opener: the model for "cmodel", else from the shared object liblastmile_<name>.so
// beside the program, or, installed, in lib/lastmile beside its folder. Error(device) says what to
// build. A device that leaves its waveform incomplete says so in backends.waveform.
[[nodiscard]] DeviceOpener find_backend(const CommonOptions& common, const Backends& backends);

}  // namespace lastmile
