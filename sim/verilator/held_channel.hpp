// SPDX-License-Identifier: Apache-2.0
// The rule that every AXI channel obeys: once valid is high it stays, and with it every signal of
// the channel, until ready is high at an edge (AMBA AXI4, A3.2.1). One object per channel; whoever
// plays the other side of the bus asks it once per cycle.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

namespace lastmile::sim {

// Signals of the channels AR and AW.
struct AddressSignals {
  std::uint32_t address = 0;
  std::uint8_t id = 0, length = 0, size = 0, burst = 0;
  bool operator==(const AddressSignals&) const = default;
};

// Signals of the channel W; Word: its data.
template <class Word>
struct WordSignals {
  Word data{};
  std::uint64_t strobe = 0;
  bool last = false;
  bool operator==(const WordSignals&) const = default;
};

template <class Signals>
class HeldChannel {
 public:
  explicit HeldChannel(const char* name) : name_(name) {}
  // Before a rising edge, with what the channel shows in this cycle; signals() is called only while
  // something waits. std::runtime_error if what waited has changed.
  template <class Get>
  void step(bool valid, bool ready, Get signals) {
    if (!waits_ && (!valid || ready)) return;
    const Signals now = signals();
    if (waits_ && (!valid || now != held_))
      throw std::runtime_error(std::string("AXI4 protocol, channel ") + name_ +
                               (valid ? ": a signal changes" : ": VALID falls") +
                               " while the channel waits for READY");
    waits_ = valid && !ready;
    held_ = now;
  }
  // Of both sides of the bus.
  void reset() { waits_ = false; }

 private:
  const char* name_;
  bool waits_ = false;
  Signals held_{};
};

}  // namespace lastmile::sim
