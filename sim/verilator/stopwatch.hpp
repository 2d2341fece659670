// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <time.h>

#include <cstdint>

namespace lastmile::sim {

// Wall time, and processor time of all threads: on a busy machine only the second says anything.
class Stopwatch {
 public:
  void start() { wall_ -= now(CLOCK_MONOTONIC), cpu_ -= now(CLOCK_PROCESS_CPUTIME_ID); }
  void stop() { wall_ += now(CLOCK_MONOTONIC), cpu_ += now(CLOCK_PROCESS_CPUTIME_ID); }
  [[nodiscard]] double wall() const { return 1e-9 * static_cast<double>(wall_); }
  [[nodiscard]] double cpu() const { return 1e-9 * static_cast<double>(cpu_); }

 private:
  static std::int64_t now(clockid_t clock) {
    timespec t{};
    ::clock_gettime(clock, &t);
    return std::int64_t{t.tv_sec} * 1000000000 + t.tv_nsec;
  }
  std::int64_t wall_ = 0, cpu_ = 0;
};

}  // namespace lastmile::sim
