// SPDX-License-Identifier: Apache-2.0
// The C host on this machine: plan from a loaded target, board from a Device, journal in a file.
#pragma once

#include <cstdint>
#include <filesystem>

#include "sw/device/device.hpp"
#include "sw/embedded/lm_host.h"
#include "sw/embedded/lm_readout.h"
#include "sw/trainer/journal.hpp"
#include "sw/trainer/readout.hpp"
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

// A run of readouts with the C host on `device`, which `target` has loaded: records, search and
// steps are the C host's, from the base's weights on; the target ends with the result's. All
// records must have places: Error(usage). data, split: the target's. Status is one of lm_status.
struct EmbeddedReadoutResult {
  int status = LM_OK;
  int rate = 0;
  std::uint32_t best_step = 0;
  std::int64_t held_loss = 0;  // loss sum of the records held out
  lm_host host{};
};
[[nodiscard]] EmbeddedReadoutResult run_embedded_readout(Device& device, FixedReadout& target,
                                                         const Dataset& data,
                                                         const ReadoutSplit& split,
                                                         const ReadoutRunOptions& options);

}  // namespace lastmile
