// SPDX-License-Identifier: Apache-2.0
// Runs golden vectors on any device, through descriptors and registers alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>

#include "sw/base/error.hpp"
#include "sw/device/device.hpp"
#include "sw/vectors/case.hpp"

namespace lastmile {

// A case that is in order, but beyond what this hardware runs: neither right nor wrong.
class Unsupported : public Error {
 public:
  explicit Unsupported(const std::string& what) : Error(ErrorKind::unsupported, what) {}
};

struct VectorResult {
  std::string name;
  std::string op;
  bool passed = false;
  std::uint64_t compared = 0;  // elements
  std::string
      difference;  // the first one: layer, element, value found and expected; empty if passed
};

// Each layer that has an expected output is compared; the first difference ends the case. Layers
// run on what the device computed before them. Error(input): the case cannot be run (shapes that
// contradict each other, fields outside the NPU's limits, memory or scratchpad too small), naming
// file, layer and field. Error(device): the device is not an NPU of this specification.
[[nodiscard]] VectorResult run_vector_case(Device& device, const VectorCase& vectors,
                                           const std::string& file);
[[nodiscard]] VectorResult run_vector_file(Device& device, const std::filesystem::path& path);

// Hardware parameters of a device, from HW0 and HW1. Error(device) unless ID and SPEC are this
// specification's.
[[nodiscard]] spec::HardwareParams read_hardware(Device& device);

}  // namespace lastmile
