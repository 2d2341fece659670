// SPDX-License-Identifier: Apache-2.0
// The seam between a training run and the way it learns. The run (training_run.hpp) counts steps,
// keeps the journal, resumes, replays, verifies and stops; a method knows which passes a step
// needs, what the host makes of them, and how a record changes the weights.
#pragma once

#include <cstdint>

#include "sw/trainer/journal.hpp"

namespace lastmile {

class TrainingMethod {
 public:
  TrainingMethod() = default;
  TrainingMethod(const TrainingMethod&) = delete;
  TrainingMethod& operator=(const TrainingMethod&) = delete;
  virtual ~TrainingMethod() = default;

  // What a run measures before its first step, such as a scale. Not called when it goes on later.
  virtual void begin() {}
  // The passes of step `k` and what the host made of them; no weight changes.
  [[nodiscard]] virtual JournalRecord step(std::uint32_t k) = 0;
  // Changes the weights as the record says, without a pass: after the record is in the journal, and
  // when a journal is replayed.
  virtual void apply(const JournalRecord& record) = 0;
  // Takes over what a record carries from one step to the next (a scale), as if this method had
  // made it. A run calls it with the last record before it goes on.
  virtual void restore(const JournalRecord& record) = 0;
};

}  // namespace lastmile
