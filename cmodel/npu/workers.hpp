// SPDX-License-Identifier: Apache-2.0
// Threads of the model: a fixed number of parts, each computed by the same code whatever thread
// runs it.
#pragma once

#include <tbb/info.h>
#include <tbb/parallel_for.h>
#include <tbb/partitioner.h>
#include <tbb/task_arena.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace lastmile::npu {

// Scratch of a part stands on cache lines of its own (pairs of lines are fetched together), or the
// threads take them from each other at every write.
inline constexpr std::size_t kPartAlign = 128;

class Workers {
 public:
  explicit Workers(int threads)
      : threads_(std::clamp(threads, 1, 256)),
        arena_(std::min(threads_, tbb::info::default_concurrency())) {}

  [[nodiscard]] int threads() const { return threads_; }

  // body() on a thread of the pool, once: splits inside it need not enter the pool each time.
  template <class Body>
  void enter(const Body& body) {
    if (threads_ == 1) return body();
    arena_.execute(body);
  }

  // body(part, begin, end) for the `threads()` contiguous parts of 0..count-1, empty parts left
  // out.
  template <class Body>
  void split(std::uint64_t count, const Body& body) {
    const auto parts = static_cast<std::uint64_t>(threads_);
    const auto run = [&](int part) {
      const auto p = static_cast<std::uint64_t>(part);
      const std::uint64_t begin = count * p / parts;
      const std::uint64_t end = count * (p + 1) / parts;
      if (begin < end) body(part, begin, end);
    };
    if (threads_ == 1 || count < 2) {
      for (int part = 0; part < threads_; ++part) run(part);
      return;
    }
    arena_.execute([&] { tbb::parallel_for(0, threads_, run, tbb::static_partitioner()); });
  }

 private:
  int threads_;
  tbb::task_arena arena_;
};

}  // namespace lastmile::npu
