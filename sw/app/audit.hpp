// SPDX-License-Identifier: Apache-2.0
// The audit of a journal by somebody who does not trust who wrote it: every step is done again from
// the base network and the data, on any device, and must give the record's numbers.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "sw/base/progress.hpp"
#include "sw/trainer/journal.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

struct AuditOptions {
  std::filesystem::path journal;
  std::optional<std::uint32_t> steps;      // only so many
  std::optional<std::string> digest;       // what the journal must end in, 64 hexadecimal digits
  std::optional<QuantizedNetwork> result;  // what the run is said to have ended in
};

struct AuditOutcome {
  bool confirmed = false;
  std::string why;                    // else: what differs
  std::optional<std::uint32_t> step;  // the first that differs; none: before or after all steps
  std::uint32_t steps = 0;            // that were confirmed
  std::uint32_t of = 0;               // that the run was to have
  std::uint32_t weights_checked = 0;  // weights, or their digests, among them
  std::string digest;                 // of the journal; empty: its records are not chained
  std::optional<std::uint32_t> best_step;  // that the end names; none without an end
  std::uint64_t weights_hash = 0;          // after those steps, or after the best one
};

// Error(journal) if the file itself is damaged, its chain included. A journal of readouts has the
// weights of some steps (snapshots) instead of a record of each: `step` is that of the first
// snapshot that differs, so the steps since the one before are in doubt.
[[nodiscard]] AuditOutcome audit_journal(const QuantizedNetwork& base, const Dataset& train,
                                         const AuditOptions& options, const DeviceOpener& open,
                                         const FixedOptions& how, const ProgressOptions& progress);

}  // namespace lastmile
