// SPDX-License-Identifier: Apache-2.0
#include "cmodel/timing/timing.hpp"

#include <algorithm>

#include "cmodel/timing/context.hpp"

namespace lastmile::timing {
namespace {

using spec::Counter;
using spec::Engine;
using spec::Opcode;

// Fetch and checks (rtl/control/npu_fetch.sv, npu_validate.sv): the descriptor's words, then a rule
// or product per cycle. An END is not checked any further.
constexpr U kChecks = 29;
constexpr U kChecksOfEnd = 4;

U fetch_words(const spec::HardwareParams& hw) {
  return static_cast<U>(spec::kDescBytes / hw.bus_bytes);
}
U fetched(const spec::HardwareParams& hw, const MemoryTiming& memory) {
  Channel reads(static_cast<U>(hw.bus_bytes), memory);
  return reads.take(1 + Client::kOverhead + memory.latency, fetch_words(hw));
}

}  // namespace

void Context::fetch_next() {
  const U words = fetch_words(hw);
  const U last = reads.take(Client::kOverhead + latency, words) + 1;
  t.engine(Engine::fetch_) = {0, last + kChecks, words};
  t.fetch = last + kChecks;
  t.fetch_end = last + kChecksOfEnd;
}

CommandTiming predict(const spec::Descriptor& d, const npu::TrafficMode& mode,
                      const spec::HardwareParams& hw, const MemoryTiming& memory) {
  Context c(d, mode, hw, memory);
  U done = 0;
  const spec::OpcodeTraits& is = spec::traits(c.op);
  switch (is.layout) {
    case spec::Layout::none_:
      break;
    case spec::Layout::image_:
      c.fetch_next();
      done = is.weights ? matrix_time(c) : pool_time(c);
      break;
    case spec::Layout::rows_:
    case spec::Layout::tensor_:
      done = element_time(c);
      break;
  }
  // the sequencer waits for the answers to all writes
  c.t.execution =
      c.op == Opcode::loss_ && !d.has(spec::kFlagLosses) ? done + 2 : c.writer.commit(done + 1);
  c.t.counters[Counter::cycles_] = c.t.execution + 1;
  return c.t;
}

spec::Descriptor timed_part(const spec::Descriptor& d) {
  spec::Descriptor t;
  t.opcode = d.opcode;
  t.flags = d.flags &
            (spec::kFlagHasBias | spec::kFlagResAdd | spec::kFlagLosses | spec::kFlagMax |
             spec::kFlagW8 | spec::kFlagW32 | spec::kFlagPacked | spec::kFlagOut16 |
             spec::kFlagOut32 | spec::kFlagWTransposed | spec::kFlagErrors | spec::kFlagGradient);
  using Field = std::uint32_t spec::Descriptor::*;
  for (const Field address :
       {&spec::Descriptor::in_addr, &spec::Descriptor::in2_addr, &spec::Descriptor::out_addr,
        &spec::Descriptor::bias_addr, &spec::Descriptor::rq_addr})
    t.*address = d.*address % spec::kAlign;
  for (const Field field :
       {&spec::Descriptor::n,          &spec::Descriptor::in_h,      &spec::Descriptor::in_w,
        &spec::Descriptor::in_c,       &spec::Descriptor::out_h,     &spec::Descriptor::out_w,
        &spec::Descriptor::out_c,      &spec::Descriptor::kernel_h,  &spec::Descriptor::kernel_w,
        &spec::Descriptor::stride_h,   &spec::Descriptor::stride_w,  &spec::Descriptor::dilation_h,
        &spec::Descriptor::dilation_w, &spec::Descriptor::pad_top,   &spec::Descriptor::pad_left,
        &spec::Descriptor::groups,     &spec::Descriptor::cin_group, &spec::Descriptor::cout_group,
        &spec::Descriptor::tile_n,     &spec::Descriptor::tile_h,    &spec::Descriptor::tile_w,
        &spec::Descriptor::tile_c,     &spec::Descriptor::row_pitch, &spec::Descriptor::w_pitch,
        &spec::Descriptor::w_keep,     &spec::Descriptor::out_pitch})
    t.*field = d.*field;
  return t;
}

CommandTiming Predictions::of(const spec::Descriptor& d, const npu::TrafficMode& mode,
                              const spec::HardwareParams& hw, const MemoryTiming& memory) {
  const std::lock_guard lock(mutex_);
  auto entry = std::find_if(entries_.begin(), entries_.end(),
                            [&](const Entry& e) { return e.hw == hw && e.memory == memory; });
  if (entry == entries_.end()) entry = entries_.insert(entry, {hw, memory, {}});
  return entry->cache.of(d, mode, [&](const spec::Descriptor& key, const npu::TrafficMode& same) {
    return predict(key, same, hw, memory);
  });
}

const CommandTiming& TimingCache::of(const spec::Descriptor& d, const npu::TrafficMode& mode) {
  // perturbation takes no time; the update draws each pair's numbers
  const npu::TrafficMode timed{.pairs = mode.pairs};
  return cache_.of(timed_part(d), timed,
                   [this](const spec::Descriptor& key, const npu::TrafficMode& same) {
                     return shared_ != nullptr ? shared_->of(key, same, hw_, memory_)
                                               : predict(key, same, hw_, memory_);
                   });
}

QueueClock::QueueClock(const spec::HardwareParams& hw, const MemoryTiming& memory)
    : first_(fetched(hw, memory) + kChecks), first_end_(fetched(hw, memory) + kChecksOfEnd) {}

// Cycle 1 looks at the queue's place, cycle 2 starts the fetch.
void QueueClock::begin() {
  started_ = 0;
  committed_ = 0;
  counted_ = 1;
  descriptor_ = 1 + first_;
  end_ = 1 + first_end_;
}

U QueueClock::command(const CommandTiming& t) {
  started_ = std::max(committed_ + 1, descriptor_);
  committed_ = started_ + t.execution;
  descriptor_ = started_ + t.fetch;
  end_ = started_ + t.fetch_end;
  const U cycles = committed_ - counted_;
  counted_ = committed_;
  return cycles;
}

U QueueClock::end(bool end) {
  return end ? std::max(committed_ + 1, end_) + 2 - counted_ : committed_ + 1 - counted_;
}

}  // namespace lastmile::timing
