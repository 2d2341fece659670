// SPDX-License-Identifier: Apache-2.0
// Where a command's devices come from, and whether the waveform that was asked of them is whole.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "sw/cli/options.hpp"
#include "sw/driver/session.hpp"

namespace lastmile {

struct Backends {
  explicit Backends(DeviceOpener m) : model(std::move(m)) {}
  DeviceOpener model;  // the C++ model, which is linked in
  // What is wrong with the waveform of the device that was closed last; empty: nothing.
  std::shared_ptr<std::string> waveform = std::make_shared<std::string>();
};

// The backend's opener: the model for "cmodel", else from the shared object liblastmile_<name>.so
// beside the program. Error(device) says what to build. A waveform that its device leaves
// incomplete is removed, since half of one would mislead, and backends.waveform says why.
[[nodiscard]] DeviceOpener find_backend(const CommonOptions& common, const Backends& backends);

}  // namespace lastmile
