// SPDX-License-Identifier: Apache-2.0
// Data parallelism with a fixed partition: which indices a call gets depends on (threads, n) alone,
// never on timing. Results that do not depend on the partition (each index writes its own output)
// are then equal for any thread count.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace lastmile {

// Work on indices [begin, end).
using RangeFn = std::function<void(std::int64_t begin, std::int64_t end)>;

// Threads of this machine that the process may use (at least 1).
[[nodiscard]] int default_threads();

// Threads that are kept between calls: for loops that are entered often. Calls from several threads
// at once are allowed.
class Workers {
 public:
  explicit Workers(
      int threads = 0);  // 0: default_threads(); Error (usage) if negative or above 1024
  ~Workers();
  Workers(Workers&&) noexcept;
  Workers& operator=(Workers&&) noexcept;

  [[nodiscard]] int threads() const noexcept;

  // Calls fn on chunk k = [k n / T, (k+1) n / T) for each k < T = min(threads, n), and returns when
  // all have returned. With one chunk it runs on the calling thread. The first exception a chunk
  // throws is rethrown here.
  void parallel_for(std::int64_t n, const RangeFn& fn) const;

 private:
  struct Arena;
  int threads_;
  std::unique_ptr<Arena> arena_;
};

// The same for a single loop.
void parallel_for(int threads, std::int64_t n, const RangeFn& fn);

}  // namespace lastmile
