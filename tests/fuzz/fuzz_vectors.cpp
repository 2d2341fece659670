// SPDX-License-Identifier: Apache-2.0
// Any text either is a vector case, which then runs on the model to a verdict or an Error, or is
// refused with an Error.
#include <cstddef>
#include <cstdint>
#include <string>

#include "cmodel/device/model_device.hpp"
#include "sw/base/error.hpp"
#include "sw/vectors/vectors.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lastmile;
  try {
    const VectorCase c =
        parse_vector_case(std::string(reinterpret_cast<const char*>(data), size), "fuzz");
    const auto device =
        open_model({.hardware = {}, .memory_bytes = 1 << 16, .threads = 1, .extra = {}});
    static_cast<void>(run_vector_case(*device, c, "fuzz"));
  } catch (const Error&) {
  }
  return 0;
}
