// SPDX-License-Identifier: Apache-2.0
// Command lists that no compiler makes, counted and timed on the same array: the backward pass of
// backpropagation, perturbation passes, other schedules.
#pragma once

#include <string>
#include <vector>

#include "sw/profile/counters.hpp"
#include "sw/profile/workload.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile::profile {

struct PlannedCommand {
  std::string phase, name, layer;
  spec::Descriptor descriptor;
  // Its output stays in the accumulators for the next command: what it writes is not counted.
  bool partial = false;
  // Its input holds everything so many times (patches): read from memory once.
  int repeated_input = 1;
};

// Commands of a compiled program's forward stream.
void append_forward(std::vector<PlannedCommand>& commands, const Program& program,
                    const Network& network, const std::string& phase);
// Sets what a command of a weighted operator needs besides shape: tiles, pitch, ranges, addresses.
void finish_descriptor(spec::Descriptor& d, const spec::HardwareParams& hw);
// ADD over so many bytes of two operands.
[[nodiscard]] spec::Descriptor bytes_add(std::uint64_t bytes);

// Runs the commands, a queue per run of equal phases, on a device that counts without executing.
// `like`: everything but counters and host traffic. program: whose memory the forward commands use.
[[nodiscard]] CounterFile run_planned(const std::vector<PlannedCommand>& commands,
                                      const Program& program, const CounterFile& like,
                                      const DeviceOpener& open);

}  // namespace lastmile::profile
