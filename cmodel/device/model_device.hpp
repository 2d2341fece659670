// SPDX-License-Identifier: Apache-2.0
// The bit-accurate model as a Device. It executes a queue inside the register write that starts it,
// so the interrupt line is final when that write returns.
#pragma once

#include <memory>

#include "sw/device/device.hpp"

namespace lastmile {

namespace timing {
class Predictions;
}

// DeviceOptions: hardware, memory_bytes, threads; `extra`: latency=, bandwidth=, stall=, the memory
// that the counters of kind "cycle" are predicted for, as for the backend rtl (20; 0: the bus
// width; 0);
// execute=0: commands are checked, counted and timed but compute nothing (networks too large to
// execute); spans=1: the report says when each engine worked.
// std::invalid_argument says which option is wrong.
// report(): {"cycles", "phases": see profile.hpp, "spans": see spans.hpp}
std::unique_ptr<Device> open_model(const DeviceOptions& options);

// The same for programs that open many: their machines share what the cycle model said of each
// command.
class ModelOpener {
 public:
  ModelOpener();
  std::unique_ptr<Device> operator()(const DeviceOptions& options) const;

 private:
  std::shared_ptr<timing::Predictions> predictions_;
};

}  // namespace lastmile
