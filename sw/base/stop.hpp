// SPDX-License-Identifier: Apache-2.0
// Ending in order: SIGINT, SIGTERM and SIGHUP as a wish that a loop looks at.
#pragma once

#include <stdexcept>
#include <string>

namespace lastmile {

// While one of these lives, the first of those signals is only noted; a second one ends the process
// as it always did. One at a time: main's.
class StopSignals {
 public:
  StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;
  ~StopSignals();
};

// The signal that came, 0 for none.
[[nodiscard]] int stop_signal();

// Thrown where work ends because of a signal: what is open is closed on the way to main, which says
// how to go on and ends with 128 + signal.
class Stopped : public std::runtime_error {
 public:
  // `where`: how far it came, such as "after step 5 of 100"; may be empty.
  Stopped(int signal, const std::string& where);
  [[nodiscard]] int signal() const noexcept { return signal_; }

 private:
  int signal_;
};

// For loops that take long and leave nothing half done between two rounds.
void stop_if_asked();

}  // namespace lastmile
