// SPDX-License-Identifier: Apache-2.0
#include "sw/compiler/planner.hpp"

#include <algorithm>
#include <numeric>

namespace lastmile {
namespace {

std::uint64_t align_up(std::uint64_t value, std::uint64_t alignment) {
  return (value + alignment - 1) / alignment * alignment;
}

}  // namespace

ArenaPlan plan_arena(std::span<const BufferLife> buffers, std::uint64_t alignment) {
  ArenaPlan plan;
  plan.offsets.assign(buffers.size(), 0);

  std::vector<std::size_t> order(buffers.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return buffers[a].bytes > buffers[b].bytes;
  });

  std::vector<std::size_t> placed;  // by offset
  for (const std::size_t index : order) {
    const BufferLife& b = buffers[index];
    std::uint64_t end = 0;  // of the placed buffers so far that are live with this one
    std::uint64_t best = UINT64_MAX, best_gap = UINT64_MAX;
    for (const std::size_t other : placed) {
      const BufferLife& o = buffers[other];
      if (o.last < b.first || b.last < o.first) continue;
      const std::uint64_t start = align_up(end, alignment);
      if (plan.offsets[other] >= start + b.bytes && plan.offsets[other] - end < best_gap) {
        best = start;
        best_gap = plan.offsets[other] - end;
      }
      end = std::max(end, plan.offsets[other] + o.bytes);
    }
    plan.offsets[index] = best != UINT64_MAX ? best : align_up(end, alignment);
    plan.bytes = std::max(plan.bytes, plan.offsets[index] + b.bytes);
    const auto at = std::upper_bound(
        placed.begin(), placed.end(), plan.offsets[index],
        [&](std::uint64_t offset, std::size_t p) { return offset < plan.offsets[p]; });
    placed.insert(at, index);
  }

  // Only where a buffer begins can the live sum reach a new high.
  for (const BufferLife& b : buffers) {
    std::uint64_t live = 0;
    for (const BufferLife& o : buffers)
      if (o.first <= b.first && b.first <= o.last) live += o.bytes;
    if (live > plan.live_peak || (live == plan.live_peak && b.first < plan.peak_at)) {
      plan.live_peak = live;
      plan.peak_at = b.first;
    }
  }
  return plan;
}

}  // namespace lastmile
