// SPDX-License-Identifier: Apache-2.0
#include "sw/base/progress.hpp"

#include <fmt/format.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <mutex>
#include <utility>

namespace lastmile {
namespace {

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

int terminal_columns() {
  winsize size{};
  if (::ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 20) return size.ws_col;
  return 80;
}

void write_stderr(std::string_view text) {
  std::fwrite(text.data(), 1, text.size(), stderr);
  std::fflush(stderr);
}

}  // namespace

std::string format_duration(double seconds) {
  const auto s = static_cast<std::int64_t>(std::clamp(std::ceil(seconds), 0.0, 1e9));
  if (s < 60) return fmt::format("{} s", s);
  if (s < 3600) return fmt::format("{} min {:02} s", s / 60, s % 60);
  return fmt::format("{} h {:02} min", s / 3600, s % 3600 / 60);
}

struct Progress::State {
  std::string label;
  std::int64_t total;
  ProgressOptions options;
  bool terminal = false;
  double started = 0;
  std::atomic<std::int64_t> done{0};
  std::atomic<double> next_output{0};
  std::mutex mutex;  // guards what follows and the output
  std::string extra;
  bool shown = false;
  bool finished = false;

  void draw(double now, bool last) {
    const double fraction =
        std::clamp(static_cast<double>(done.load()) / static_cast<double>(total), 0.0, 1.0);
    const double elapsed = now - started;
    std::string tail = fmt::format("{:3.0f} %", std::floor(fraction * 100));
    if (last)
      tail += fmt::format("  {}", format_duration(elapsed));
    else if (fraction > 0)
      tail += fmt::format("  {} left", format_duration(elapsed * (1 - fraction) / fraction));
    if (!extra.empty()) tail += "  " + extra;
    shown = true;
    if (!terminal) {
      options.write(fmt::format("{} {}\n", label, tail));
      return;
    }
    const int columns = options.columns > 0 ? options.columns : terminal_columns();
    const int room = columns - static_cast<int>(label.size() + tail.size()) - 6;
    std::string line = label;
    if (room >= 5) {
      const int width = std::min(room, 40);
      const auto full = static_cast<std::size_t>(fraction * width);
      line += fmt::format(" [{:-<{}}]", std::string(full, '#'), width);
    }
    line += " " + tail;
    if (line.size() >= static_cast<std::size_t>(columns))
      line.resize(static_cast<std::size_t>(columns - 1));
    options.write(fmt::format("\r{}\033[K{}", line, last ? "\n" : ""));
  }
};

Progress::Progress(std::string label, std::int64_t total, ProgressOptions options)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.label = std::move(label);
  s.total = std::max<std::int64_t>(1, total);
  s.options = std::move(options);
  if (!s.options.now) s.options.now = steady_seconds;
  if (!s.options.write) s.options.write = write_stderr;
  s.terminal = s.options.is_terminal ? s.options.is_terminal() : ::isatty(STDERR_FILENO) == 1;
  s.started = s.options.now();
  s.next_output = s.started + (s.terminal ? s.options.start_after
                                          : std::max(s.options.start_after, s.options.line_every));
}

Progress::~Progress() { finish(); }

void Progress::add(std::int64_t done) {
  State& s = *state_;
  s.done += done;
  if (!s.options.enabled) return;
  const double now = s.options.now();
  if (now < s.next_output.load(std::memory_order_relaxed)) return;
  const std::unique_lock lock(s.mutex, std::try_to_lock);  // another thread is drawing: let it
  if (!lock.owns_lock() || s.finished || now < s.next_output) return;
  s.next_output = now + (s.terminal ? s.options.bar_every : s.options.line_every);
  s.draw(now, false);
}

void Progress::note(std::string text) {
  const std::scoped_lock lock(state_->mutex);
  state_->extra = std::move(text);
}

void Progress::finish() {
  State& s = *state_;
  const std::scoped_lock lock(s.mutex);
  if (std::exchange(s.finished, true) || !s.shown) return;
  s.draw(s.options.now(), true);
}

}  // namespace lastmile
