// SPDX-License-Identifier: Apache-2.0
// npu_axi_read: data, order and last flag of six clients at once, with stalls and any order between
// IDs; legality and use of the bus; error answers; clears in mid-flight, with answers that come
// late or never.
#include <array>
#include <deque>
#include <vector>

#include "tests/rtl/peri/bench.hpp"

namespace {

constexpr int kBus = P_BUS_BYTES;
constexpr int kWords = kBus / 4;

std::uint32_t content(std::uint64_t word, int part) {  // of bus word `word`
  return static_cast<std::uint32_t>((word * 0x9e3779b97f4a7c15ULL) >> 29) ^
         static_cast<std::uint32_t>(part * 0x1234567);
}

struct Burst {
  std::uint64_t word = 0;
  int left = 0;
  std::uint64_t born = 0;
  bool stale = false;  // from before a clear: its beats are dropped and not counted
};
struct Expected {
  std::uint64_t word = 0;
  bool last = false;
};

}  // namespace

int main() {
  bench::Bench b;
  bench::Random rnd;
  Vtop& t = *b.top;
  t.clear_i = 0, t.req_valid_i = 0, t.rsp_ready_i = 0, t.arready_i = 0, t.rvalid_i = 0;
  b.reset();
  std::array<std::deque<Burst>, 16> bus;
  std::uint64_t beats = 0, counted = 0;
  bool stale_address = false;  // the address on offer is from before a clear
  for (int round = 0; round < 120; ++round) {
    const int stall_ar = static_cast<int>(rnd.below(3)) * 30,
              stall_r = static_cast<int>(rnd.below(3)) * 30,
              stall_rsp = static_cast<int>(rnd.below(3)) * 30;
    const bool smooth = stall_ar == 0 && stall_r == 0 && stall_rsp == 0;
    const std::uint64_t latency = rnd.below(30);
    const bool dead = round % 10 == 7;            // the memory stops answering, then a clear
    const bool forgets = dead && rnd.chance(50);  // and never answers what it had accepted
    const bool abort = dead || round % 10 == 3;
    const int poison = round % 10 == 5 ? static_cast<int>(rnd.below(200))
                                       : -1;  // this beat is answered with SLVERR
    std::array<std::deque<std::pair<std::uint32_t, std::uint32_t>>, 6> requests;
    std::array<std::deque<Expected>, 6> expected;
    for (int c = 0; c < 6; ++c) {
      const auto n = rnd.below(smooth ? 3 : 25);
      for (std::uint64_t i = 0; i < n; ++i) {
        auto addr = static_cast<std::uint32_t>(rnd.below(1u << 20));
        if (rnd.chance(30))
          addr = (addr & ~4095u) + 4096 - static_cast<std::uint32_t>(rnd.below(64));
        const auto bytes = static_cast<std::uint32_t>(smooth           ? 3000
                                                      : rnd.chance(20) ? rnd.between(1, 3000)
                                                                       : rnd.between(1, 200));
        requests[c].push_back({addr, bytes});
        const std::uint64_t first = addr / kBus, last = (std::uint64_t{addr} + bytes - 1) / kBus;
        for (std::uint64_t w = first; w <= last; ++w) expected[c].push_back({w, w == last});
      }
    }
    std::uint64_t total = 0, served = 0, seen_errors = 0;
    for (const auto& e : expected) total += e.size();
    const std::uint64_t start = b.cycle;
    int poisoned_client = -1, beat_index = 0;
    const std::uint64_t stop_at = abort ? start + rnd.between(20, 300) : ~std::uint64_t{0};
    while (true) {
      bool empty = true;
      for (const auto& e : expected) empty = empty && e.empty();
      if (empty || b.cycle >= stop_at) break;
      // clients
      for (int c = 0; c < 6; ++c) {
        const bool valid = ((t.req_valid_i >> c) & 1) != 0;
        if (!valid && !requests[c].empty()) {
          t.req_valid_i |= static_cast<std::uint8_t>(1 << c);
          bench::put(bench::words(t.req_addr_i), c * 32, 32, requests[c].front().first);
          bench::put(bench::words(t.req_bytes_i), c * 24, 24, requests[c].front().second);
        }
      }
      t.rsp_ready_i = 0;
      for (int c = 0; c < 6; ++c) {
        if (!rnd.chance(stall_rsp)) t.rsp_ready_i |= static_cast<std::uint8_t>(1 << c);
      }
      // memory
      t.arready_i = !rnd.chance(stall_ar) && !(dead && b.cycle > start + 60);
      std::vector<int> ready;
      for (int id = 0; id < 16; ++id) {
        if (!bus[id].empty() && b.cycle >= bus[id].front().born + latency) ready.push_back(id);
      }
      t.rvalid_i = 0;
      int id = -1;
      if (!ready.empty() && !rnd.chance(stall_r) && !(dead && b.cycle > start + 60)) {
        id = ready[rnd.below(ready.size())];
        Burst& x = bus[id].front();
        t.rvalid_i = 1, t.rid_i = static_cast<std::uint8_t>(id), t.rlast_i = x.left == 1,
        t.rresp_i = 0;
        if (beat_index++ == poison) t.rresp_i = 2, poisoned_client = id & 7;
        for (int k = 0; k < kWords; ++k) bench::words(t.rdata_i)[k] = content(x.word, k);
      }
      t.eval();
      if (bench::get(t.status_o, bench::read_status::kError) != 0) {
        ++seen_errors;
        const auto client =
            static_cast<std::int64_t>(bench::get(t.status_o, bench::read_status::kClient));
        bench::equal("error client", client, poisoned_client, b.cycle);
      }
      counted += t.cnt_beats_o;
      if (t.rvalid_i && !bus[id].front().stale) ++beats;
      for (int c = 0; c < 6; ++c) {
        if (((t.rsp_valid_o >> c) & 1) == 0 || ((t.rsp_ready_i >> c) & 1) == 0) continue;
        if (expected[c].empty()) bench::fail("data nobody asked for", b.cycle);
        const Expected e = expected[c].front();
        expected[c].pop_front();
        for (int k = 0; k < kWords; ++k) {
          bench::equal("data of client " + std::to_string(c),
                       bench::words(t.rsp_data_o)[c * kWords + k], content(e.word, k), b.cycle);
        }
        bench::equal("last of client " + std::to_string(c), (t.rsp_last_o >> c) & 1, e.last,
                     b.cycle);
        ++served;
      }
      const int taken = t.req_valid_i & t.req_ready_o;
      if (t.arvalid_o && t.arready_i) {
        bench::equal("size", t.arsize_o, __builtin_ctz(kBus), b.cycle);
        bench::equal("burst inside 4 KiB", (t.araddr_o & 4095) + (t.arlen_o + 1u) * kBus <= 4096, 1,
                     b.cycle);
        bench::equal("at most 16 beats", t.arlen_o < 16, 1, b.cycle);
        bus[t.arid_o].push_back({t.araddr_o / kBus, t.arlen_o + 1, b.cycle, stale_address});
        stale_address = false;
      }
      if (id >= 0 && --bus[id].front().left == 0) {
        bus[id].pop_front();
      } else if (id >= 0) {
        ++bus[id].front().word;
      }
      b.edge();
      for (int c = 0; c < 6; ++c) {
        if (((taken >> c) & 1) != 0)
          requests[c].pop_front(), t.req_valid_i &= static_cast<std::uint8_t>(~(1 << c));
      }
      if (b.cycle > start + 200000) bench::fail("no progress", b.cycle);
    }
    if (poison >= 0 && poison < beat_index)
      bench::equal("errors seen", static_cast<std::int64_t>(seen_errors), 1, b.cycle);
    // not behind an abort: transfers from before it may still hold the bus
    if (smooth && !abort && total > 500 && round % 10 != 4 && round % 10 != 8) {
      bench::equal("at least 0.9 words per cycle", b.cycle - start < total * 10 / 9 + 60, 1,
                   b.cycle);
    }
    t.rvalid_i = 0, t.rsp_ready_i = 0, t.arready_i = 0;
    if (abort) {
      t.req_valid_i = 0;
      t.clear_i = 1;
      b.edge();
      t.clear_i = 0;
      b.edge();
      t.eval();
      stale_address = t.arvalid_o;
      for (auto& q : bus) {
        for (Burst& x : q) x.stale = true;
      }
      if (forgets) {
        for (auto& q : bus) q.clear();
      }
    } else {
      const auto waiting =
          static_cast<std::int64_t>(bench::get(t.status_o, bench::read_status::kWaiting));
      bench::equal("nothing waits", waiting, 0, b.cycle);
    }
  }
  bench::equal("beats counted", static_cast<std::int64_t>(counted),
               static_cast<std::int64_t>(beats), b.cycle);
  return bench::done("axi_read");
}
