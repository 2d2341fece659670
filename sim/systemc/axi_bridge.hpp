// SPDX-License-Identifier: Apache-2.0
// AXI4 to TLM-2.0: the NPU's bursts become generic payloads over nb_transport, their answers come
// back beat by beat. An answer's data phase ends when the payload's time says; an early completion
// (TLM_COMPLETED with annotated time) and four phases are both understood. Reads return in the
// order of their addresses, unless an older one with another ID has no answer yet. The NPU's
// channels are held to the rule of held_channel.hpp. The bridge belongs to the bus: it is reset
// with the NPU.
#pragma once

#include <tlm_utils/simple_initiator_socket.h>

#include <deque>
#include <functional>

#include "sim/systemc/base.hpp"
#include "sim/verilator/held_channel.hpp"
#include "sim/verilator/pins.hpp"

namespace lastmile::sim {

class AxiBridge {
 public:
  using Forward =
      std::function<tlm::tlm_sync_enum(tlm::tlm_generic_payload&, tlm::tlm_phase&, sc_time&)>;
  AxiBridge(const Clock& clock, std::uint32_t bus_bytes, Forward forward);

  // Before an edge: takes what the NPU offers, chooses this cycle's inputs.
  void step(const PinOutputs& out, PinInputs& in);
  // nb_transport_bw.
  tlm::tlm_sync_enum response(tlm::tlm_generic_payload& p, tlm::tlm_phase& phase, sc_time& delay);
  // Forgets everything under way; answers still to come are dropped.
  void reset();
  // Bursts that have an answer to deliver.
  [[nodiscard]] bool active() const;

 private:
  using Payload = tlm::tlm_generic_payload;
  struct Burst {
    Payload* payload = nullptr;
    std::uint8_t id = 0;
    unsigned beats = 0, done = 0;
    bool answered = false, enabled = false;
    std::uint64_t due = 0;  // cycle of the first beat, or of the write's answer
  };

  Burst burst(tlm::tlm_command command, std::uint8_t id, std::uint32_t address, unsigned length,
              unsigned size, unsigned type);
  void issue(Burst& b);
  void answer(Burst& b, const sc_time& delay) const;
  [[nodiscard]] std::uint8_t code(const Burst& b) const;
  // The burst whose turn it is; bursts.size(): none.
  [[nodiscard]] std::size_t pick(const std::deque<Burst>& bursts, std::uint64_t now) const;
  void take_word(const PinOutputs& out);

  static constexpr std::size_t kMost = 256;  // bursts of each direction in flight
  static constexpr unsigned kMostBeats = 16;

  HeldChannel<AddressSignals> held_read_{"AR"}, held_write_{"AW"};
  HeldChannel<WordSignals<BusWord>> held_word_{"W"};
  Clock clock_;
  std::uint32_t bus_;
  Forward forward_;
  PayloadPool pool_;
  std::deque<Burst> reads_, writes_;  // writes_: all data are here, waiting for the answer
  std::deque<Burst> filling_;         // writes whose data are still to come
  Payload* requesting_ = nullptr;     // between BEGIN_REQ and END_REQ
  bool read_offered_ = false, answer_offered_ = false;
  std::size_t read_ = 0, answer_ = 0;
};

}  // namespace lastmile::sim
