// SPDX-License-Identifier: Apache-2.0
// The C host on this machine: plan from a loaded target, board from a Device, journal in a file.
#pragma once

#include <cstdint>
#include <filesystem>

#include "sw/device/device.hpp"
#include "sw/embedded/lm_host.h"
#include "sw/trainer/journal.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

struct EmbeddedRun {
  RunConfig config;
  std::size_t examples = 0;               // of the target's data
  std::filesystem::path path;             // of the journal
  bool resume = false;                    // go on with the journal at `path`, which is of this run
  std::uint32_t stop_after = UINT32_MAX;  // steps
};

// Trains the network that `target` has loaded on `device`, with the C host instead of the trainer;
// examples are put into memory by the target, seeds and scalars go through `device`. The host's
// state at the end; status is one of lm_status. Error(journal) for a journal that cannot be read or
// written.
struct EmbeddedResult {
  int status = LM_OK;
  lm_host host{};
};
[[nodiscard]] EmbeddedResult run_embedded(Device& device, FixedTarget& target,
                                          const EmbeddedRun& run);

}  // namespace lastmile
