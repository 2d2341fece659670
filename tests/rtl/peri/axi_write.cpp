// SPDX-License-Identifier: Apache-2.0
// npu_axi_write: memory contents, bursts and their legality, acknowledgement, byte counts, error
// answers, clears; random stalls.
#include <array>
#include <deque>
#include <map>
#include <vector>

#include "tests/rtl/peri/bench.hpp"

namespace {

constexpr int kBus = P_BUS_BYTES;
using Word = std::array<std::uint8_t, kBus>;

struct Item {
  int client = 0;
  std::uint32_t addr = 0;
  Word data{};
  std::uint64_t strb = 0;
};

}  // namespace

int main() {
  bench::Bench b;
  bench::Random rnd;
  Vtop& t = *b.top;
  t.clear_i = 0, t.flush_i = 0, t.wr_valid_i = 0, t.awready_i = 0, t.wready_i = 0, t.bvalid_i = 0;
  b.reset();
  std::map<std::uint32_t, std::uint8_t> memory, model;
  std::deque<std::pair<std::uint32_t, int>>
      addresses;  // accepted bursts: address, beats; id beside
  std::deque<int> ids;
  std::array<std::deque<std::uint64_t>, 16> answers;
  int beat = 0;
  for (int round = 0; round < 150; ++round) {
    const int stall_aw = static_cast<int>(rnd.below(3)) * 30,
              stall_w = static_cast<int>(rnd.below(3)) * 30,
              stall_b = static_cast<int>(rnd.below(3)) * 30;
    const int stall_in = static_cast<int>(rnd.below(3)) * 30;
    const bool smooth = stall_aw + stall_w + stall_b + stall_in == 0;
    const bool abort = round % 10 == 3;
    const bool poison = round % 10 == 5;
    std::deque<Item> items;
    std::uint64_t bytes = 0, counted = 0;
    for (int run = 0; run < (smooth ? 4 : 20); ++run) {
      auto addr = static_cast<std::uint32_t>(rnd.below(1u << 16) / kBus * kBus);
      const int client = static_cast<int>(rnd.below(2));
      const int n = static_cast<int>(smooth           ? 100
                                     : rnd.chance(20) ? rnd.between(1, 60)
                                                      : rnd.between(1, 5));
      for (int i = 0; i < n; ++i, addr += kBus) {
        Item it;
        it.client = client, it.addr = addr;
        it.strb = rnd.chance(70) ? ~std::uint64_t{0} >> (64 - kBus)
                                 : rnd.bits() & (~std::uint64_t{0} >> (64 - kBus));
        for (auto& d : it.data) d = static_cast<std::uint8_t>(rnd.bits());
        bytes += static_cast<std::uint64_t>(__builtin_popcountll(it.strb));
        items.push_back(it);
      }
    }
    const std::size_t total = items.size();
    const std::uint64_t start = b.cycle;
    std::uint64_t errors = 0, bursts = 0, poisoned = 0;
    const std::uint64_t stop_at =
        abort ? start + static_cast<std::uint64_t>(rnd.between(5, 120)) : ~std::uint64_t{0};
    bool cleared = false;
    while (!items.empty() || t.wr_valid_i != 0 || !t.idle_o) {
      if (!cleared && b.cycle >= stop_at) {
        cleared = true;
        t.clear_i = 1, t.wr_valid_i = 0;
        items.clear();
      }
      if (t.wr_valid_i == 0 && !items.empty() && !rnd.chance(stall_in)) {
        const Item& it = items.front();
        t.wr_valid_i = static_cast<std::uint8_t>(1 << it.client);
        bench::put(bench::words(t.wr_addr_i), it.client * 32, 32, it.addr);
        for (int i = 0; i < kBus; ++i)
          bench::put(bench::words(t.wr_data_i), (it.client * kBus + i) * 8, 8, it.data[i]);
        bench::put(bench::words(t.wr_strb_i), it.client * kBus, kBus, it.strb);
      }
      t.flush_i = rnd.chance(5);
      t.awready_i = !rnd.chance(stall_aw), t.wready_i = !rnd.chance(stall_w);
      t.bvalid_i = 0;
      std::vector<int> ready;
      for (int id = 0; id < 16; ++id) {
        if (!answers[id].empty()) ready.push_back(id);
      }
      if (!ready.empty() && !rnd.chance(stall_b)) {
        const int id = ready[rnd.below(ready.size())];
        t.bvalid_i = 1, t.bid_i = static_cast<std::uint8_t>(id),
        t.bresp_i = poison && rnd.chance(20) ? 3 : 0;
        poisoned += t.bresp_i != 0 ? 1 : 0;
        answers[id].pop_front();
      }
      t.eval();
      errors += t.error_o;
      counted += t.cnt_bytes_o;
      if (t.awvalid_o && t.awready_i) {
        bench::equal("burst inside 4 KiB", (t.awaddr_o & 4095) + (t.awlen_o + 1u) * kBus <= 4096, 1,
                     b.cycle);
        addresses.push_back({t.awaddr_o, t.awlen_o + 1});
        ids.push_back(t.awid_o);
        ++bursts;
      }
      if (t.wvalid_o && t.wready_i) {
        if (addresses.empty()) bench::fail("data without address", b.cycle);
        const std::uint32_t addr =
            addresses.front().first + static_cast<std::uint32_t>(beat * kBus);
        for (int i = 0; i < kBus; ++i) {
          if (bench::get(bench::words(t.wstrb_o), i, 1) != 0) {
            memory[addr + static_cast<std::uint32_t>(i)] =
                static_cast<std::uint8_t>(bench::get(bench::words(t.wdata_o), i * 8, 8));
          }
        }
        ++beat;
        bench::equal("last", t.wlast_o, beat == addresses.front().second, b.cycle);
        if (beat == addresses.front().second) {
          answers[ids.front()].push_back(b.cycle);
          addresses.pop_front(), ids.pop_front(), beat = 0;
        }
      }
      const bool taken = (t.wr_valid_i & t.wr_ready_o) != 0;
      if (taken) {
        const Item& it = items.front();
        for (int i = 0; i < kBus; ++i) {
          if (((it.strb >> i) & 1) != 0)
            model[it.addr + static_cast<std::uint32_t>(i)] = it.data[i];
        }
        items.pop_front();
      }
      b.edge();
      t.clear_i = 0;
      if (taken) t.wr_valid_i = 0;
      if (b.cycle > start + 100000) bench::fail("no progress", b.cycle);
    }
    if (abort) {
      model = memory;
    } else {
      bench::equal("bytes counted", static_cast<std::int64_t>(counted),
                   static_cast<std::int64_t>(bytes), b.cycle);
      bench::equal("errors", static_cast<std::int64_t>(errors), static_cast<std::int64_t>(poisoned),
                   b.cycle);
      bench::equal("memory", memory == model, 1, b.cycle);
      if (smooth) {
        bench::equal("at least 0.9 words per cycle", b.cycle - start < total * 10 / 9 + 40, 1,
                     b.cycle);
        bench::equal("bursts are merged", bursts < total / 6, 1, b.cycle);
      }
    }
  }
  return bench::done("axi_write");
}
