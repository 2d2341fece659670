// SPDX-License-Identifier: Apache-2.0
// Ending in order: SIGINT, SIGTERM and SIGHUP as a wish that a loop looks at.
#pragma once

namespace lastmile {

// While one of these lives, the first of those signals is only noted; a second one ends the process
// as it always did. One at a time.
class StopSignals {
 public:
  StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals();
  // The signal that came, 0 for none.
  [[nodiscard]] int received() const;
};

}  // namespace lastmile
