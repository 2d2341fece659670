// SPDX-License-Identifier: Apache-2.0
// A device opened for a program, with the driver that runs it.
#pragma once

#include <functional>
#include <memory>

#include "sw/driver/driver.hpp"

namespace lastmile {

// Opens a fresh device of the chosen backend.
using DeviceOpener = std::function<std::unique_ptr<Device>(const DeviceOptions&)>;

struct Session {
  std::unique_ptr<Device> device;
  std::unique_ptr<Driver> driver;
  Driver* operator->() const { return driver.get(); }
};

// The program decides what hardware is asked for and how much memory it gets.
[[nodiscard]] Session open_session(Program program, const DeviceOpener& open, int threads = 1);

}  // namespace lastmile
