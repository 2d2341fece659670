// SPDX-License-Identifier: Apache-2.0
// Memory as the engines see it: one beat after another on the read and on the write channel, and
// clients that may have only so much under way.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cmodel/timing/timing.hpp"

namespace lastmile::timing {

using U = std::uint64_t;

// A queue in a block of memory that grows when it must.
template <class T>
class Ring {
 public:
  [[nodiscard]] bool empty() const { return size_ == 0; }
  [[nodiscard]] std::size_t size() const { return size_; }
  [[nodiscard]] const T& front() const { return values_[first_]; }
  [[nodiscard]] const T& operator[](std::size_t i) const {
    return values_[(first_ + i) & (values_.size() - 1)];
  }
  void push_back(const T& value) {
    if (size_ == values_.size()) grow();
    values_[(first_ + size_++) & (values_.size() - 1)] = value;
  }
  void pop_front() {
    first_ = (first_ + 1) & (values_.size() - 1);
    --size_;
  }

 private:
  void grow() {
    std::vector<T> larger(2 * values_.size());
    for (std::size_t i = 0; i < size_; ++i) larger[i] = (*this)[i];
    values_.swap(larger);
    first_ = 0;
  }
  std::vector<T> values_ = std::vector<T>(64);  // a power of two
  std::size_t first_ = 0, size_ = 0;
};

// One data channel. Bandwidth is handed out in windows of cycles to who asks first; who asks later
// for an earlier time gets what is left there. Bandwidth not used in a stall is used after it.
class Channel {
 public:
  Channel(U bus_bytes, const MemoryTiming& memory)
      : bus_(100 * bus_bytes),
        rate_(std::min<U>(
            memory.bytes_per_cycle == 0 ? 100 * bus_bytes : U{100} * memory.bytes_per_cycle,
            (100 - memory.stall) * bus_bytes)),
        beat_(std::max<U>(1, bus_ / rate_)),
        saves_(memory.bytes_per_cycle != 0 && memory.bytes_per_cycle < bus_bytes) {}

  // Cycles that `beats` take on a channel with nothing else on it.
  [[nodiscard]] U cycles(U beats) const { return (beats * bus_ + rate_ - 1) / rate_; }
  // The cycle of the last of `beats` beats, none before `from`.
  U take(U from, U beats) {
    U left = beats * bus_, done = from;
    if (saves_ && from >= kWindow) {  // up to a beat that was not used just before
      U& used = used_at(from / kWindow - 1);
      const U now = std::min({left, bus_, kWindow * rate_ - used});
      used += now;
      left -= now;
    }
    for (U w = from / kWindow; left != 0; ++w) {
      U& used = used_at(w);
      const U begin = std::max(from, w * kWindow), end = (w + 1) * kWindow;
      // what was handed out before lies behind `from`, as far as anybody can tell
      const U room = (end - begin) * rate_;
      const U most = room > used ? room - used : 0;
      const U now = std::min(left, most);
      if (now == 0) continue;
      used += now;
      left -= now;
      done = std::max(w * kWindow + cycles_of(used), begin + cycles_of(now));
    }
    const U last = from + beats - 1;
    return done > last + beat_ ? done - beat_ : last;
  }

 private:
  static constexpr U kWindow = 4;
  // Cycles of a window that so much of it takes, rounded up. Most predictions spend their time
  // here, and a division would be half of that.
  [[nodiscard]] U cycles_of(U part) const {
    U n = 0;
    for (U cycle = 0; cycle < kWindow; ++cycle) n += part > cycle * rate_ ? 1 : 0;
    return n;
  }
  U& used_at(U window) {
    if (window >= used_.size()) used_.resize(window + 64, 0);
    return used_[window];
  }
  U bus_, rate_;         // hundredths of a byte, per beat and per cycle
  U beat_;               // whole cycles of a beat
  bool saves_;           // a slow memory collects a little while nobody asks
  std::vector<U> used_;  // of each window
};

// One client of the read master (rtl/bus/npu_axi_read_client.sv): a burst goes out when the
// response buffer has room for all of it and fewer than kBursts are under way.
class Client {
 public:
  static constexpr U kBurst = 16;  // beats
  static constexpr U kBursts = 32;
  // Request, grant, address register, answer, response buffer.
  static constexpr U kOverhead = 3;

  Client(Channel& channel, U latency, U depth)
      : channel_(&channel), latency_(latency), depth_(depth) {}

  // Whether it is known when there is room for one more burst of at most kBurst words.
  [[nodiscard]] bool fits(U words) const { return issued_ + words <= popped_ + depth_; }
  // When such a burst, requested in that cycle, gets the address channel at the earliest.
  [[nodiscard]] U grant(U request) const {
    return std::max(
        {request + 1, grant_ + 1, under_way_.size() == kBursts ? under_way_.front() : 0});
  }
  // It does, once there is room. Returns when the client can take the next request.
  U issue(U request, U words) {
    grant_ = std::max(grant(request), room(words));
    last_ = std::max(channel_->take(grant_ + 1 + latency_, words), last_ + 1);
    if (under_way_.size() == kBursts) under_way_.pop_front();
    under_way_.push_back(last_ + 1);
    bursts_.push_back({words, last_ + 1});
    issued_ += words;
    return grant_;
  }
  [[nodiscard]] bool empty() const { return bursts_.empty(); }
  // When the first, the last word of the oldest burst can be taken.
  [[nodiscard]] U begins() const {
    return bursts_.front().ready - channel_->cycles(bursts_.front().words - 1);
  }
  [[nodiscard]] U ready() const { return bursts_.front().ready; }
  [[nodiscard]] U words() const { return bursts_.front().words; }
  // Its words were taken, one every `each` cycles, the last one in that cycle.
  void pop(U cycle, U each) {
    popped_ += bursts_.front().words;
    bursts_.pop_front();
    pops_.push_back({popped_, cycle, each});
  }
  // The cycle after which a burst has room: so many words of those before are gone.
  [[nodiscard]] U room(U words) {
    if (issued_ + words <= depth_) return 0;
    const U gone = issued_ + words - depth_;
    while (pops_.front().total < gone) pops_.pop_front();
    const Pop& p = pops_.front();
    const U before = (p.total - gone) * p.each;
    return (p.cycle > before ? p.cycle - before : 0) + 1;
  }

 private:
  struct Burst {
    U words, ready;
  };
  struct Pop {
    U total, cycle, each;
  };
  Channel* channel_;
  U latency_, depth_;
  U issued_ = 0, popped_ = 0, grant_ = 0, last_ = 0;
  Ring<Burst> bursts_;
  Ring<Pop> pops_;
  Ring<U> under_way_;  // when the last kBursts have arrived
};

// The write master (rtl/bus/npu_axi_write.sv): bursts of up to 16 words, as many as are answered in
// time; a short queue before them.
class Writer {
 public:
  static constexpr U kInFlight = 16;
  static constexpr U kBuffered = 64;    // words
  static constexpr U kWaiting = 5;      // bursts closed or being collected
  static constexpr U kPatience = 8;     // idle cycles after which a burst goes out as it is
  static constexpr U kToFirstBeat = 2;  // from the end of a burst to its first beat
  static constexpr U kAfterAnswer = 2;  // from the last answer to the commit

  Writer(const Channel& channel, U latency) : channel_(&channel), latency_(latency) {}

  // Words in so many runs, more bursts if they are long, that come into being evenly in cycles
  // [from, to). Returns when the last of them could be handed over: later than `to` if the writer
  // is slower.
  U write(U from, U to, U words, U runs) {
    if (words == 0) return to;
    runs = to > from + (kPatience + 1) * words ? words : std::clamp<U>(runs, 1, words);
    const U bursts = runs * ((words + runs * Client::kBurst - 1) / (runs * Client::kBurst));
    const U burst = (words + bursts - 1) / bursts;  // the longest
    // sixteenths of a cycle per burst: data, or answers of those in flight
    const U flight = channel_->cycles(burst) + latency_ + 2;
    const U per_burst = std::max(channel_->cycles(words) * kInFlight / bursts, flight);
    const U time = (bursts - 1) * per_burst / kInFlight;
    // the last burst goes out when it is complete and those before it are gone
    const U first = std::max(from + burst + kToFirstBeat, free_);
    const U last = std::max(first + time, to + kToFirstBeat);
    free_ = last + channel_->cycles(burst);
    const U ahead = std::min(kWaiting, std::max<U>(1, kBuffered / burst)) * per_burst / kInFlight;
    return std::max(to, free_ > ahead + kToFirstBeat ? free_ - ahead - kToFirstBeat : 0);
  }
  // When everything is answered and the command is committed. closed: the cycle in which the
  // sequencer asks for the last burst.
  [[nodiscard]] U commit(U closed) const {
    return std::max(closed + kToFirstBeat + 1, free_) - 1 + latency_ + kAfterAnswer;
  }

 private:
  const Channel* channel_;
  U latency_;
  U free_ = 0;
};

}  // namespace lastmile::timing
