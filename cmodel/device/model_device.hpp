// The bit-accurate model as a Device. It executes a queue inside the register write that starts it,
// so the interrupt line is final when that write returns.
#pragma once

#include <memory>

#include "sw/device/device.hpp"

namespace lastmile {

// DeviceOptions: hardware, memory_bytes, threads; `extra` must be empty. std::invalid_argument says
// which option is wrong.
std::unique_ptr<Device> open_model(const DeviceOptions& options);

}  // namespace lastmile
