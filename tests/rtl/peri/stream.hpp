// SPDX-License-Identifier: Apache-2.0
// Shared by the benches of engines that stream tensors (add, softmax, loss, update): a memory that
// answers their read clients and takes their writes with random stalls, and what is compared
// after each command.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <string>
#include <type_traits>
#include <utility>

#include "cmodel/spec/npu_spec.hpp"
#include "tests/rtl/peri/bench.hpp"

namespace bench {

inline constexpr int kBus = P_BUS_BYTES;

// Only the bytes somebody touched; the others are zero.
struct Memory {
  std::map<std::uint64_t, std::uint8_t> bytes;
  std::uint8_t& operator[](std::uint64_t a) { return bytes[a]; }
  // Little-endian, up to 8 bytes.
  std::uint64_t get(std::uint64_t at, int count) {
    std::uint64_t v = 0;
    for (int k = 0; k < count; ++k) v |= std::uint64_t{bytes[at + k]} << (8 * k);
    return v;
  }
  void put(std::uint64_t at, int count, std::uint64_t v) {
    for (int k = 0; k < count; ++k) bytes[at + k] = static_cast<std::uint8_t>(v >> (8 * k));
  }
};

// Words of the bus that hold `count` bytes at `addr`.
inline std::int64_t words_of(std::uint64_t addr, std::uint64_t count) {
  return static_cast<std::int64_t>((addr + count - 1) / kBus - addr / kBus + 1);
}

// How often memory is not ready for a request, an answer, a write; percent of the cycles.
struct Stalls {
  int requests = 0, answers = 0, writes = 0;
  [[nodiscard]] bool none() const { return requests + answers + writes == 0; }
};
inline Stalls random_stalls(Random& rnd) {
  const auto percent = [&rnd] { return 30 * static_cast<int>(rnd.below(3)); };
  Stalls s;
  s.requests = percent();
  s.answers = percent();
  s.writes = percent();
  return s;
}

// The pins of a read client and the words it asked for. Each cycle: drive(), the engine's
// combinational outputs, observe(), the clock edge, advance().
template <typename Data>
struct ReadPort {
  const CData& req_valid;
  CData& req_ready;
  const IData& req_addr;
  const IData& req_bytes;
  CData& rsp_valid;
  const CData& rsp_ready;
  Data& rsp_data;
  CData* rsp_last = nullptr;  // of engines that want to know the last word of a request
  std::int64_t words = 0;     // asked for so far

  void drive(Memory& memory, Random& rnd, const Stalls& stalls) {
    req_ready = !rnd.chance(stalls.requests);
    if (rsp_valid || queue.empty() || rnd.chance(stalls.answers)) return;
    rsp_valid = 1;
    if (rsp_last != nullptr) *rsp_last = queue.front().second;
    for (int k = 0; k < kBus; ++k)
      bench::put(bench::words(rsp_data), k * 8, 8, memory[queue.front().first + k]);
  }
  void observe() {
    taken = rsp_valid && rsp_ready;
    if (!req_valid || !req_ready) return;
    const std::uint64_t first = req_addr / kBus,
                        last = (std::uint64_t{req_addr} + req_bytes - 1) / kBus;
    for (std::uint64_t w = first; w <= last; ++w) queue.push_back({w * kBus, w == last});
    words += static_cast<std::int64_t>(last - first + 1);
  }
  void advance() {
    if (taken) queue.pop_front(), rsp_valid = 0;
  }

  std::deque<std::pair<std::uint64_t, bool>> queue = {};  // address, last of its request
  bool taken = false;
};

inline auto read_port(Vtop& t) {
  return ReadPort<std::remove_reference_t<decltype(t.rd_rsp_data_i)>>{
      t.rd_req_valid_o, t.rd_req_ready_i, t.rd_req_addr_o, t.rd_req_bytes_o,
      t.rd_rsp_valid_i, t.rd_rsp_ready_o, t.rd_rsp_data_i};
}

// Resets an engine whose memory is not ready yet.
inline void reset_engine(Bench& b) {
  Vtop& t = *b.top;
  t.clear_i = 0, t.start_i = 0, t.rd_req_ready_i = 0, t.rd_rsp_valid_i = 0, t.wr_ready_i = 0;
  b.reset();
}

inline void start_command(Bench& b, const lastmile::spec::Descriptor& d) {
  Vtop& t = *b.top;
  const lastmile::spec::DescriptorWords dw = lastmile::spec::encode(d);
  std::copy_n(dw.begin(), 48, words(t.desc_i));
  t.start_i = 1;
  b.edge();
  t.start_i = 0;
}

// The enabled bytes of the word that the engine writes in this cycle.
inline void take_write(Vtop& t, Memory& written) {
  for (int k = 0; k < kBus; ++k) {
    if (get(words(t.wr_strb_o), k, 1) != 0)
      written[t.wr_addr_o + k] = static_cast<std::uint8_t>(get(words(t.wr_data_o), k * 8, 8));
  }
}

struct Finished {
  std::uint64_t cycles = 0;
  std::int64_t words_written = 0;
};

// Memory until the started command is done: answers `ports` from `memory`, puts what is written
// into `written` (which may be the same). `count` is called once in each cycle, when the engine's
// outputs are valid, to add up its events.
template <typename Count, typename... Ports>
Finished serve(Bench& b, Random& rnd, const Stalls& stalls, Memory& memory, Memory& written,
               std::uint64_t most_cycles, const Count& count, Ports&... ports) {
  Vtop& t = *b.top;
  Finished f;
  const std::uint64_t start = b.cycle;
  while (!t.done_o) {
    (ports.drive(memory, rnd, stalls), ...);
    t.wr_ready_i = !rnd.chance(stalls.writes);
    t.eval();
    count();
    (ports.observe(), ...);
    if (t.wr_valid_o && t.wr_ready_i) {
      ++f.words_written;
      take_write(t, written);
    }
    b.edge();
    (ports.advance(), ...);
    if (b.cycle > start + most_cycles) fail("no progress", b.cycle);
  }
  f.cycles = b.cycle - start;
  return f;
}

}  // namespace bench
