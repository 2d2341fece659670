// SPDX-License-Identifier: Apache-2.0
// Progress of long work on stderr: a bar with percent and time left on a terminal, a plain line
// every ten seconds otherwise. Work of less than two seconds prints nothing. One object per piece
// of work; add() may be called from any thread.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

namespace lastmile {

struct ProgressOptions {
  bool enabled = true;       // false: count, print nothing (--quiet, --json)
  double start_after = 2.0;  // seconds before the first output
  double bar_every = 0.1;    // seconds between redraws on a terminal
  double line_every = 10.0;  // seconds between lines elsewhere
  int columns = 0;           // width of the terminal; 0: ask it
  // Replaced by tests; the defaults are the steady clock, isatty(stderr) and a write to stderr.
  std::function<double()> now = {};
  std::function<bool()> is_terminal = {};
  std::function<void(std::string_view)> write = {};
};

class Progress {
 public:
  // `total` is the amount of work in any unit (at least 1 is assumed).
  Progress(std::string label, std::int64_t total, ProgressOptions options = {});
  ~Progress();  // finishes
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void add(std::int64_t done = 1);
  // A short text after the numbers, such as "loss 0.412".
  void note(std::string text);
  // Last state of the bar and a line feed, if anything was shown. Further calls do nothing.
  void finish();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "42 s", "3 min 05 s", "2 h 07 min".
[[nodiscard]] std::string format_duration(double seconds);

}  // namespace lastmile
