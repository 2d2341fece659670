// Memory as the engines see it: one beat after another on the read and on the write channel, and
// clients that may have only so much under way.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <vector>

namespace lastmile::timing {

// One data channel. Bandwidth is handed out in windows of cycles to who asks first; who asks later
// for an earlier time gets what is left there.
class Channel {
 public:
  Channel(std::uint64_t bus_bytes, std::uint64_t bytes_per_cycle)
      : bus_(bus_bytes),
        rate_(bytes_per_cycle == 0 ? bus_bytes : std::min(bus_bytes, bytes_per_cycle)) {}

  // Cycles that `beats` take on a channel with nothing else on it.
  [[nodiscard]] std::uint64_t cycles(std::uint64_t beats) const {
    return (beats * bus_ + rate_ - 1) / rate_;
  }
  // The cycle of the last of `beats` beats, none before `from`.
  std::uint64_t take(std::uint64_t from, std::uint64_t beats) {
    std::uint64_t left = beats * bus_, done = from;
    for (std::uint64_t w = from / kWindow; left != 0; ++w) {
      if (w >= used_.size()) used_.resize(w + 64, 0);
      const std::uint64_t begin = std::max(from, w * kWindow), end = (w + 1) * kWindow;
      const std::uint64_t most = std::min(kWindow * rate_ - used_[w], (end - begin) * rate_);
      const std::uint64_t now = std::min(left, most);
      if (now == 0) continue;
      used_[w] += now;
      left -= now;
      done =
          std::max(w * kWindow + (used_[w] + rate_ - 1) / rate_, begin + (now + rate_ - 1) / rate_);
    }
    return done - cycles(1);
  }

 private:
  static constexpr std::uint64_t kWindow = 16;
  std::uint64_t bus_, rate_;
  std::vector<std::uint64_t> used_;  // bytes of each window
};

// One client of the read master (rtl/bus/npu_axi_read_client.sv): a burst goes out when the
// response buffer has room for all of it and fewer than kBursts are under way.
class Client {
 public:
  static constexpr std::uint64_t kBurst = 16;  // beats
  static constexpr std::uint64_t kBursts = 32;
  // Request, grant, address register, answer, response buffer.
  static constexpr std::uint64_t kOverhead = 3;

  Client(Channel& channel, std::uint64_t latency, std::uint64_t depth)
      : channel_(&channel), latency_(latency), depth_(depth) {}

  [[nodiscard]] bool fits(std::uint64_t words) const {
    return held_ + words <= depth_ && bursts_.size() < kBursts;
  }
  // A burst of at most kBurst words that fits, requested in cycle `request` at the earliest.
  void issue(std::uint64_t request, std::uint64_t words) {
    grant_ = std::max({request + 1, grant_ + 1, freed_ + 1});
    const std::uint64_t first = grant_ + 1 + latency_;
    const std::uint64_t last = std::max(channel_->take(first, words), last_ + 1);
    last_ = last;
    bursts_.push_back({words, last + 1});
    held_ += words;
  }
  [[nodiscard]] bool empty() const { return bursts_.empty(); }
  // When the last word of the oldest burst can be taken.
  [[nodiscard]] std::uint64_t ready() const { return bursts_.front().ready; }
  [[nodiscard]] std::uint64_t words() const { return bursts_.front().words; }
  // It was taken in that cycle.
  void pop(std::uint64_t cycle) {
    held_ -= bursts_.front().words;
    bursts_.pop_front();
    freed_ = cycle;
  }
  // Cycles per burst of `words` at best, if each word is taken as it comes.
  [[nodiscard]] std::uint64_t latency() const { return latency_; }

 private:
  struct Burst {
    std::uint64_t words, ready;
  };
  Channel* channel_;
  std::uint64_t latency_, depth_;
  std::uint64_t held_ = 0, grant_ = 0, freed_ = 0, last_ = 0;
  std::deque<Burst> bursts_;
};

// The write master (rtl/bus/npu_axi_write.sv): bursts of up to 16 words, as many as are answered in
// time; a short queue before them.
class Writer {
 public:
  static constexpr std::uint64_t kInFlight = 16;
  static constexpr std::uint64_t kBuffered = 64;    // words
  static constexpr std::uint64_t kWaiting = 5;      // bursts closed or being collected
  static constexpr std::uint64_t kToFirstBeat = 2;  // from the end of a burst to its first beat
  static constexpr std::uint64_t kAfterAnswer = 2;  // from the last answer to the commit

  Writer(const Channel& channel, std::uint64_t latency) : channel_(&channel), latency_(latency) {}

  // Runs of words, `burst` words at a time, that come into being evenly in cycles [from, to).
  // Returns when the last of them could be handed over: later than `to` if the writer is slower.
  std::uint64_t write(std::uint64_t from, std::uint64_t to, std::uint64_t words,
                      std::uint64_t burst) {
    if (words == 0) return to;
    burst = std::clamp<std::uint64_t>(burst, 1, Client::kBurst);
    const std::uint64_t bursts = (words + burst - 1) / burst;
    // sixteenths of a cycle per burst: data, or answers of those in flight
    const std::uint64_t flight = channel_->cycles(burst) + latency_ + 2;
    const std::uint64_t per_burst = std::max(channel_->cycles(burst) * kInFlight, flight);
    const std::uint64_t time = (bursts - 1) * per_burst / kInFlight;
    const std::uint64_t rest = words - (bursts - 1) * burst;
    // the last burst goes out when it is complete and those before it are gone
    const std::uint64_t first = std::max(from + burst + kToFirstBeat, free_);
    const std::uint64_t last = std::max(first + time, to + kToFirstBeat);
    free_ = last + channel_->cycles(rest);
    const std::uint64_t ahead =
        std::min(kWaiting, std::max<std::uint64_t>(1, kBuffered / burst)) * per_burst / kInFlight;
    return std::max(to, free_ > ahead + kToFirstBeat ? free_ - ahead - kToFirstBeat : 0);
  }
  // When everything is answered and the command is committed. closed: the cycle in which the
  // sequencer asks for the last burst.
  [[nodiscard]] std::uint64_t commit(std::uint64_t closed) const {
    return std::max(closed + kToFirstBeat + 1, free_) - 1 + latency_ + kAfterAnswer;
  }

 private:
  const Channel* channel_;
  std::uint64_t latency_;
  std::uint64_t free_ = 0;
};

}  // namespace lastmile::timing
