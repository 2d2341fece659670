// SPDX-License-Identifier: Apache-2.0
// Runs training steps (or passes of inference) of a program on a device and collects what they
// cost.
#pragma once

#include <cstdint>
#include <string>

#include "sw/profile/counters.hpp"
#include "sw/profile/workload.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile::profile {

struct MeasureOptions {
  spec::HardwareParams hardware;
  int pairs = 1;
  std::uint64_t steps = 1;
  std::uint64_t seed = 1;
  int threads = 1;
  std::string backend = "cmodel";  // only recorded
  std::string memory;              // only recorded
};

struct Measurement {
  CounterFile file;
  Program program;
  std::string report;  // of the backend
};

// Forward passes at w + e z and w - e z for each pair, then the update; inference: one pass a step.
// Random inputs and labels, drawn from `seed`.
[[nodiscard]] Measurement measure(const QuantizedNetwork& network, const CompileOptions& compile,
                                  const std::string& variant, const DeviceOpener& open,
                                  const MeasureOptions& options);

}  // namespace lastmile::profile
