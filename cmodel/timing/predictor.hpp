// SPDX-License-Identifier: Apache-2.0
// The prediction beside something else that executes the commands: it is told what the host writes
// to registers and which commands are committed.
#pragma once

#include "cmodel/command/control.hpp"
#include "cmodel/timing/timing.hpp"

namespace lastmile::timing {

class Predictor {
 public:
  Predictor(const spec::HardwareParams& hw, const MemoryTiming& memory)
      : hw_(hw), regs_(hw), cache_(hw, memory), clock_(hw, memory) {}
  // Any register but CTRL.
  void write_register(std::uint32_t offset, std::uint32_t value) { regs_.write(offset, value); }
  // The queue has the registers as they are now.
  void begin_queue() {
    regs_.begin_queue();
    clock_.begin();
  }
  // The command that lies in memory as `words`, valid, was committed: its counters of kind "cycle",
  // CYCLES since the commit before.
  [[nodiscard]] npu::Counters commit(const spec::DescriptorWords& words);

 private:
  spec::HardwareParams hw_;
  npu::RegisterFile regs_;
  TimingCache cache_;
  QueueClock clock_;
};

}  // namespace lastmile::timing
