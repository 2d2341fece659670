// SPDX-License-Identifier: Apache-2.0
#include "sw/base/parallel.hpp"

#include <fmt/format.h>
#include <oneapi/tbb/info.h>
#include <oneapi/tbb/parallel_for.h>
#include <oneapi/tbb/partitioner.h>
#include <oneapi/tbb/task_arena.h>

#include <algorithm>

#include "sw/base/error.hpp"

namespace lastmile {

struct Workers::Arena {
  // More threads than processors gain nothing, and TBB would complain on stderr: the chunks stay,
  // their threads are shared.
  explicit Arena(int threads) : arena(std::min(threads, default_threads())) {}
  tbb::task_arena arena;
};

int default_threads() { return std::max(1, tbb::info::default_concurrency()); }

Workers::Workers(int threads) : threads_(threads == 0 ? default_threads() : threads) {
  if (threads < 0 || threads > 1024)
    throw Error(ErrorKind::usage, fmt::format("threads: {}, expected 0 (all) to 1024", threads));
  if (threads_ > 1) arena_ = std::make_unique<Arena>(threads_);
}
Workers::~Workers() = default;
Workers::Workers(Workers&&) noexcept = default;
Workers& Workers::operator=(Workers&&) noexcept = default;

int Workers::threads() const noexcept { return threads_; }

void Workers::parallel_for(std::int64_t n, const RangeFn& fn) const {
  if (n <= 0) return;
  const std::int64_t chunks = std::min<std::int64_t>(threads_, n);
  if (chunks == 1) {
    fn(0, n);
    return;
  }
  arena_->arena.execute([&] {
    tbb::parallel_for(
        std::int64_t{0}, chunks, [&](std::int64_t k) { fn(k * n / chunks, (k + 1) * n / chunks); },
        tbb::static_partitioner{});
  });
}

void parallel_for(int threads, std::int64_t n, const RangeFn& fn) {
  Workers(threads).parallel_for(n, fn);
}

}  // namespace lastmile
