// SPDX-License-Identifier: Apache-2.0
// A memory behind the NPU's AXI4 master: configurable latency, random stalls on every channel,
// answers of different IDs in any order. One read beat and one write beat per cycle at most, so the
// bandwidth is the bus width.
#pragma once

#include <cstdint>
#include <cstring>
#include <deque>
#include <vector>

#include "sw/base/rng.hpp"

namespace bench {

struct AxiOptions {
  unsigned latency = 20;  // cycles from address to first beat
  unsigned stall = 0;     // percent of cycles in which a channel does not take or give
  bool reorder = false;   // serve read bursts of different IDs in random order
};

// Top: a Verilated `npu`. Call drive() before the rising edge's eval, sample() after the inputs are
// settled, once per cycle each.
template <class Top, int BusBytes>
class AxiMemory {
 public:
  AxiMemory(std::vector<std::byte>& bytes, std::uint64_t seed) : bytes_(bytes), rng_(seed) {}
  AxiOptions options;
  std::uint64_t read_beats = 0, write_beats = 0;

  void drive(Top& top) {
    ++cycle_;
    top.m_axi_arready_i = !busy();
    top.m_axi_awready_i = !busy() && writes_.size() < 32;
    top.m_axi_wready_i = !busy();
    if (!reading_ && !reads_.empty() && !busy()) pick();
    top.m_axi_rvalid_i = 0;
    if (reading_ && (hold_ || !busy())) {
      hold_ = true;
      top.m_axi_rvalid_i = 1;
      top.m_axi_rid_i = current_.id;
      const std::uint64_t at = current_.address;
      const bool inside = at + BusBytes <= bytes_.size();
      if (inside) std::memcpy(&top.m_axi_rdata_i, bytes_.data() + at, BusBytes);
      top.m_axi_rresp_i = inside ? 0 : 2;
      top.m_axi_rlast_i = current_.beats == 1;
    }
    top.m_axi_bvalid_i = 0;
    if (!answers_.empty() && answers_.front().ready <= cycle_ && (hold_b_ || !busy())) {
      hold_b_ = true;
      top.m_axi_bvalid_i = 1;
      top.m_axi_bid_i = answers_.front().id;
      top.m_axi_bresp_i = answers_.front().response;
    }
  }

  void sample(Top& top) {
    if (top.m_axi_arvalid_o && top.m_axi_arready_i) {
      reads_.push_back({top.m_axi_arid_o, 0, top.m_axi_araddr_o, top.m_axi_arlen_o + 1u,
                        cycle_ + options.latency});
    }
    if (top.m_axi_rvalid_i && top.m_axi_rready_o) {
      ++read_beats;
      hold_ = false;
      current_.address += BusBytes;
      if (--current_.beats == 0) reading_ = false;
      if (!reading_ && !reads_.empty()) pick();
    }
    if (top.m_axi_awvalid_o && top.m_axi_awready_i) {
      writes_.push_back({top.m_axi_awid_o, 0, top.m_axi_awaddr_o, top.m_axi_awlen_o + 1u, 0});
    }
    if (top.m_axi_wvalid_o && top.m_axi_wready_i) data_.push_back(beat(top));
    while (!writes_.empty() && !data_.empty()) {
      Burst& w = writes_.front();
      const Beat& b = data_.front();
      ++write_beats;
      if (w.address + BusBytes <= bytes_.size()) {
        for (int i = 0; i < BusBytes; ++i) {
          if ((b.strobe >> i & 1) != 0) bytes_[w.address + static_cast<unsigned>(i)] = b.data[i];
        }
      } else if (b.strobe != 0) {
        w.response = 2;
      }
      w.address += BusBytes;
      data_.pop_front();
      if (--w.beats == 0) {
        w.ready = cycle_ + options.latency;
        answers_.push_back(w);
        writes_.pop_front();
      }
    }
    if (top.m_axi_bvalid_i && top.m_axi_bready_o) {
      hold_b_ = false;
      answers_.pop_front();
    }
  }

 private:
  struct Burst {
    std::uint8_t id;
    std::uint8_t response;
    std::uint64_t address;
    unsigned beats;
    std::uint64_t ready;
  };
  struct Beat {
    std::byte data[BusBytes];
    std::uint64_t strobe;
  };

  bool busy() { return options.stall != 0 && rng_.below(100) < options.stall; }
  Beat beat(Top& top) {
    Beat b;
    std::memcpy(b.data, &top.m_axi_wdata_o, BusBytes);
    b.strobe = top.m_axi_wstrb_o;
    return b;
  }
  // The next burst to answer: the oldest, or one of another ID whose older ones are all answered.
  void pick() {
    std::size_t chosen = 0;
    if (options.reorder) {
      chosen = rng_.below(reads_.size());
      for (std::size_t i = 0; i < chosen; ++i) {
        if (reads_[i].id == reads_[chosen].id) chosen = i;
      }
    }
    if (reads_[chosen].ready > cycle_) return;
    current_ = reads_[chosen];
    reads_.erase(reads_.begin() + static_cast<std::ptrdiff_t>(chosen));
    reading_ = true;
  }

  std::vector<std::byte>& bytes_;
  lastmile::Rng rng_;
  std::uint64_t cycle_ = 0;
  std::deque<Burst> reads_, writes_, answers_;
  std::deque<Beat> data_;
  Burst current_{};
  bool reading_ = false, hold_ = false, hold_b_ = false;
};

}  // namespace bench
