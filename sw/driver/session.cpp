// SPDX-License-Identifier: Apache-2.0
#include "sw/driver/session.hpp"

#include <utility>

namespace lastmile {

Session open_session(Program program, const DeviceOpener& open, int threads) {
  DeviceOptions options;
  options.hardware = program.hardware;
  options.memory_bytes = program.memory.total_bytes;
  options.threads = threads;
  Session s;
  s.device = open(options);
  s.driver = std::make_unique<Driver>(*s.device, std::move(program));
  return s;
}

}  // namespace lastmile
