// SPDX-License-Identifier: Apache-2.0
// The memory behind the NPU's AXI4 master: latency, bandwidth, random stalls on all five channels,
// answers of different IDs in any order, error responses, silence. It also holds the master to the
// protocol: incrementing bursts of at most 16 full words that stay inside 4 KiB, WLAST where it
// belongs, channels that stay as they are while they wait (held_channel.hpp). A violation is a
// std::runtime_error.
//
// step() is called once per cycle before the rising edge: it carries out what this cycle's inputs
// and the master's outputs hand over, and chooses the inputs of the next cycle: a memory whose
// outputs are registers, so that an answer is at least a cycle behind its request.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "sim/verilator/held_channel.hpp"
#include "sim/verilator/simulation.hpp"

namespace lastmile::sim {

template <class Top, int kBus>
class AxiMemory {
 public:
  explicit AxiMemory(std::uint64_t bytes) : bytes_(bytes), existing_(bytes) {}

  std::span<std::byte> bytes() { return bytes_; }
  // Other contents from address 0 on, and the size of the memory for the bursts to come; those of
  // before may still be on their way, so their bytes stay.
  void load(std::span<const std::byte> bytes) {
    if (bytes.size() > bytes_.size()) bytes_.resize(bytes.size());
    existing_ = bytes.size();
    std::ranges::copy(bytes, bytes_.begin());
  }
  // Takes nothing and answers nothing more, or goes on.
  void silence(bool on) { silent_ = on; }
  [[nodiscard]] const std::vector<Range>& written() const { return written_; }
  [[nodiscard]] std::uint64_t written_bytes() const { return written_bytes_; }
  [[nodiscard]] const BusMonitor& monitor() const { return monitor_; }
  void clear_written() {
    written_.clear();
    written_bytes_ = 0;
  }
  void restart(const MemoryOptions& options) {
    options_ = options;
    random_ = options.seed * 0x9e3779b97f4a7c15U + 0x632be59bd9b4e019U;
    if (random_ == 0) random_ = 1;
    threshold_ = options.stall * 4096 / 100;
    bursts_ = reads_taken_ = writes_taken_ = words_ = 0;
    silent_ = false;
  }

  void step(Top& top) {
    check_held(top);
    // What this cycle's inputs and outputs hand over at the edge.
    if (top.m_axi_arvalid_o && top.m_axi_arready_i) take_read(top);
    if (read_offered_ && top.m_axi_rready_o) read_done();
    if (top.m_axi_awvalid_o && top.m_axi_awready_i) take_write(top);
    if (top.m_axi_wvalid_o && top.m_axi_wready_i) take_word(top);
    if (answer_offered_ && top.m_axi_bready_o) {
      answers_.erase(answer_);
      answer_offered_ = false;
    }

    // Inputs of the next cycle.
    ++cycle_;
    std::uint64_t chance = ~std::uint64_t{0};
    if (threshold_ != 0) chance = next();
    read_tokens_ = spend(read_tokens_);
    write_tokens_ = spend(write_tokens_);
    const auto stalled = [&](int channel) {
      return silent_ || (chance >> (12 * channel) & 4095) < threshold_;
    };
    top.m_axi_arready_i = reads_.size() < kQueue && !stalled(0);
    if (!read_offered_) {
      top.m_axi_rvalid_i = 0;
      if (!reads_.empty() && !stalled(1) && read_tokens_ >= kBus) offer_read(top);
    }
    top.m_axi_awready_i = writes_.size() < kQueue && !stalled(2);
    top.m_axi_wready_i =
        !writes_.empty() && answers_.size() < kQueue && !stalled(3) && write_tokens_ >= kBus;
    if (!answer_offered_) {
      top.m_axi_bvalid_i = 0;
      if (!answers_.empty() && !stalled(4)) offer_answer(top);
    }
  }

 private:
  using Word = std::array<std::byte, kBus>;
  void check_held(const Top& top) {
    held_read_.step(top.m_axi_arvalid_o, top.m_axi_arready_i, [&] {
      return AddressSignals{top.m_axi_araddr_o, top.m_axi_arid_o, top.m_axi_arlen_o,
                            top.m_axi_arsize_o, top.m_axi_arburst_o};
    });
    held_write_.step(top.m_axi_awvalid_o, top.m_axi_awready_i, [&] {
      return AddressSignals{top.m_axi_awaddr_o, top.m_axi_awid_o, top.m_axi_awlen_o,
                            top.m_axi_awsize_o, top.m_axi_awburst_o};
    });
    held_word_.step(top.m_axi_wvalid_o, top.m_axi_wready_i, [&] {
      WordSignals<Word> w;
      std::memcpy(w.data.data(), &top.m_axi_wdata_o, kBus);
      w.strobe = top.m_axi_wstrb_o;
      w.last = top.m_axi_wlast_o;
      return w;
    });
  }

  static constexpr std::size_t kQueue = 256;
  struct Burst {
    std::uint64_t ready;
    std::uint32_t address;
    std::uint8_t id, beats, response;
  };
  // Bursts in order of arrival; one may leave from the middle.
  class Queue {
   public:
    [[nodiscard]] bool empty() const { return head_ == tail_; }
    [[nodiscard]] std::size_t size() const { return tail_ - head_; }
    Burst& operator[](std::size_t i) { return at_[(head_ + i) % kQueue]; }
    void push(const Burst& b) { at_[tail_++ % kQueue] = b; }
    void erase(std::size_t i) {
      for (; i > 0; --i) (*this)[i] = (*this)[i - 1];
      ++head_;
    }

   private:
    std::array<Burst, kQueue> at_{};
    std::size_t head_ = 0, tail_ = 0;
  };

  std::uint64_t next() {  // xorshift64*
    random_ ^= random_ >> 12;
    random_ ^= random_ << 25;
    random_ ^= random_ >> 27;
    return random_ * 0x2545f4914f6cdd1dU >> 4;
  }
  std::uint32_t spend(std::uint32_t tokens) const {
    if (options_.bandwidth == 0) return kBus;
    const std::uint32_t full = options_.bandwidth > kBus ? options_.bandwidth : kBus;
    tokens += options_.bandwidth;
    return tokens > 2 * full ? 2 * full : tokens;
  }
  [[noreturn]] static void violation(const char* channel, const std::string& what) {
    throw std::runtime_error(std::string("AXI4 protocol, channel ") + channel + ": " + what);
  }
  Burst burst(const char* channel, unsigned id, std::uint32_t address, unsigned length,
              unsigned size, unsigned type) {
    if (type != 1 || (1U << size) != kBus) violation(channel, "not an incrementing burst of words");
    if (length > 15) violation(channel, "more than 16 beats");
    if (address % kBus != 0) violation(channel, "address is not aligned to the bus");
    if (address % 4096 + (length + 1) * kBus > 4096) violation(channel, "burst crosses 4 KiB");
    Burst b{};
    b.id = static_cast<std::uint8_t>(id);
    b.address = address;
    b.beats = static_cast<std::uint8_t>(length + 1);
    b.ready = cycle_ + options_.latency;
    if (std::uint64_t{address} + (length + 1) * kBus > existing_) b.response = 3;
    monitor_.highest = std::max(monitor_.highest, std::uint64_t{address} + (length + 1) * kBus);
    if (++bursts_ == options_.hang) silent_ = true;
    return b;
  }
  [[nodiscard]] std::uint8_t error() const { return options_.decode_error ? 3 : 2; }

  void take_read(Top& top) {
    Burst b = burst("AR", top.m_axi_arid_o, top.m_axi_araddr_o, top.m_axi_arlen_o,
                    top.m_axi_arsize_o, top.m_axi_arburst_o);
    if (++reads_taken_ == options_.read_error) b.response = error();
    reads_.push(b);
  }
  // An entry whose time has come and that no older one of its ID precedes.
  bool pick(Queue& queue, std::size_t& chosen) {
    chosen = 0;
    if (options_.reorder != 0 && queue.size() > 1) {
      chosen = next() % queue.size();
      for (std::size_t i = 0; i < chosen; ++i)
        if (queue[i].id == queue[chosen].id) chosen = i;
    }
    return queue[chosen].ready <= cycle_;
  }
  void offer_read(Top& top) {
    if (options_.reorder == 2 || !read_open_) {
      if (!pick(reads_, read_)) return;
      read_open_ = true;
    }
    const Burst& b = reads_[read_];
    if (b.response != 3) std::memcpy(&top.m_axi_rdata_i, bytes_.data() + b.address, kBus);
    top.m_axi_rid_i = b.id;
    top.m_axi_rresp_i = b.response;
    top.m_axi_rlast_i = b.beats == 1;
    top.m_axi_rvalid_i = 1;
    read_offered_ = true;
  }
  void read_done() {
    read_offered_ = false;
    ++monitor_.read_beats;
    read_tokens_ -= kBus;
    Burst& b = reads_[read_];
    b.address += kBus;
    if (--b.beats == 0) {
      reads_.erase(read_);
      read_open_ = false;
    }
  }

  void take_write(Top& top) {
    Burst b = burst("AW", top.m_axi_awid_o, top.m_axi_awaddr_o, top.m_axi_awlen_o,
                    top.m_axi_awsize_o, top.m_axi_awburst_o);
    if (++writes_taken_ == options_.write_error) b.response = error();
    writes_.push(b);
  }
  void take_word(Top& top) {
    write_tokens_ -= kBus;
    Burst& b = writes_[0];
    const std::uint64_t strobe = top.m_axi_wstrb_o;
    if ((top.m_axi_wlast_o != 0) != (b.beats == 1)) violation("W", "WLAST is not at the last beat");
    if (strobe != 0 && b.response == 0) store(top, b.address, strobe);
    b.address += kBus;
    if (--b.beats == 0) {
      b.ready = cycle_ + options_.latency;
      answers_.push(b);
      writes_.erase(0);
    }
  }
  void store(Top& top, std::uint32_t address, std::uint64_t strobe) {
    Word word;
    std::memcpy(word.data(), &top.m_axi_wdata_o, kBus);
    const auto low = static_cast<unsigned>(std::countr_zero(strobe));
    const auto high = static_cast<unsigned>(std::bit_width(strobe));
    const auto count = static_cast<unsigned>(std::popcount(strobe));
    written_bytes_ += count;
    monitor_.written_bytes += count;
    if (++words_ == options_.flip) word[low] ^= std::byte{1};
    if (count == high - low) {
      std::memcpy(bytes_.data() + address + low, word.data() + low, count);
      note(address + low, std::uint64_t{address} + high);
    } else {
      for (unsigned i = low; i < high; ++i) {
        if ((strobe >> i & 1) == 0) continue;
        bytes_[address + i] = word[i];
        note(address + i, std::uint64_t{address} + i + 1);
      }
    }
  }
  void note(std::uint32_t first, std::uint64_t last) {
    if (!written_.empty() && written_.back().last == first) {
      written_.back().last = last;
    } else {
      written_.push_back({first, last});
    }
  }
  void offer_answer(Top& top) {
    if (!pick(answers_, answer_)) return;
    top.m_axi_bid_i = answers_[answer_].id;
    top.m_axi_bresp_i = answers_[answer_].response;
    top.m_axi_bvalid_i = 1;
    answer_offered_ = true;
  }

  HeldChannel<AddressSignals> held_read_{"AR"}, held_write_{"AW"};
  HeldChannel<WordSignals<Word>> held_word_{"W"};
  std::vector<std::byte> bytes_;
  std::uint64_t existing_;  // bytes that a burst may reach
  MemoryOptions options_;
  std::uint64_t random_ = 1, cycle_ = 0;
  std::uint64_t bursts_ = 0, reads_taken_ = 0, writes_taken_ = 0, words_ = 0, written_bytes_ = 0;
  std::uint32_t threshold_ = 0, read_tokens_ = 0, write_tokens_ = 0;
  bool silent_ = false, read_open_ = false, read_offered_ = false, answer_offered_ = false;
  Queue reads_, writes_, answers_;
  std::size_t read_ = 0, answer_ = 0;
  std::vector<Range> written_;
  BusMonitor monitor_;
};

}  // namespace lastmile::sim
