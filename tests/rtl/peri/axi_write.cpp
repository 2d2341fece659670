// SPDX-License-Identifier: Apache-2.0
// npu_axi_write: memory contents, bursts and their legality, acknowledgement, byte counts, error
// answers, clears; random stalls. What is offered stays as it is, also across a clear.
#include <array>
#include <deque>
#include <map>
#include <utility>
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

// What happens in one round.
struct Plan {
  int stall_address = 0, stall_data = 0, stall_answer = 0, stall_in = 0;
  bool abort = false;
  bool poison = false;  // some answers are errors

  [[nodiscard]] bool smooth() const {
    return stall_address + stall_data + stall_answer + stall_in == 0;
  }
};

Plan random_plan(bench::Random& rnd, int number) {
  const auto stall = [&] { return static_cast<int>(rnd.below(3)) * 30; };
  Plan p;
  p.stall_address = stall(), p.stall_data = stall(), p.stall_answer = stall();
  p.stall_in = stall();
  p.abort = number % 10 == 3;
  p.poison = number % 10 == 5;
  return p;
}

// Runs of consecutive words of either client, some with holes.
std::deque<Item> random_items(bench::Random& rnd, bool smooth) {
  constexpr std::uint64_t kAll = ~std::uint64_t{0} >> (64 - kBus);
  std::deque<Item> items;
  for (int run = 0; run < (smooth ? 4 : 20); ++run) {
    auto addr = static_cast<std::uint32_t>(rnd.below(1u << 16) / kBus * kBus);
    const int client = static_cast<int>(rnd.below(2));
    const int n = static_cast<int>(smooth           ? 100
                                   : rnd.chance(20) ? rnd.between(1, 60)
                                                    : rnd.between(1, 5));
    for (int i = 0; i < n; ++i, addr += kBus) {
      Item it;
      it.client = client, it.addr = addr;
      it.strb = rnd.chance(70) ? kAll : rnd.bits() & kAll;
      for (auto& d : it.data) d = static_cast<std::uint8_t>(rnd.bits());
      items.push_back(it);
    }
  }
  return items;
}

std::uint64_t bytes_of(const std::deque<Item>& items) {
  std::uint64_t n = 0;
  for (const Item& it : items) n += static_cast<std::uint64_t>(__builtin_popcountll(it.strb));
  return n;
}

// Clients and memory around the writer; both memories survive from round to round.
class Player {
 public:
  Player(bench::Bench& b, bench::Random& rnd) : b_(b), rnd_(rnd), t_(*b.top) {
    t_.clear_i = 0, t_.flush_i = 0, t_.wr_valid_i = 0, t_.awready_i = 0, t_.wready_i = 0;
    t_.bvalid_i = 0;
    b.reset();
  }

  void play(const Plan& plan, std::deque<Item> items) {
    const std::uint64_t bytes = bytes_of(items), total = items.size(), start = b_.cycle;
    errors_ = bursts_ = poisoned_ = counted_ = 0;
    const std::uint64_t stop_at =
        plan.abort ? start + static_cast<std::uint64_t>(rnd_.between(5, 120)) : ~std::uint64_t{0};
    bool cleared = false;
    while (!items.empty() || t_.wr_valid_i != 0 || !t_.idle_o) {
      if (!cleared && b_.cycle >= stop_at) {
        cleared = true;
        t_.clear_i = 1, t_.wr_valid_i = 0;
        items.clear();
      }
      cycle(plan, items);
      if (b_.cycle > start + 100000) bench::fail("no progress", b_.cycle);
    }
    equal("quiet", t_.quiet_o, 1);
    if (plan.abort) {
      model_ = memory_;
      stray();
      return;
    }
    equal("bytes counted", counted_, bytes);
    equal("errors", errors_, poisoned_);
    equal("memory", memory_ == model_ ? 1 : 0, 1);
    if (!plan.smooth()) return;
    equal("at least 0.9 words per cycle", b_.cycle - start < total * 10 / 9 + 40 ? 1 : 0, 1);
    equal("bursts are merged", bursts_ < total / 6 ? 1 : 0, 1);
  }

 private:
  void equal(const char* what, std::uint64_t rtl, std::uint64_t expected) const {
    bench::equal(what, static_cast<std::int64_t>(rtl), static_cast<std::int64_t>(expected),
                 b_.cycle);
  }

  void cycle(const Plan& plan, std::deque<Item>& items) {
    if (t_.wr_valid_i == 0 && !items.empty() && !rnd_.chance(plan.stall_in)) offer(items.front());
    t_.flush_i = rnd_.chance(5);
    t_.awready_i = !rnd_.chance(plan.stall_address), t_.wready_i = !rnd_.chance(plan.stall_data);
    answer(plan);
    t_.eval();
    stable();
    equal("stray", t_.stray_o, 0);
    if (!t_.quiet_o) equal("nothing is taken before it is quiet", t_.wr_ready_o, 0);
    errors_ += t_.error_o;
    counted_ += t_.cnt_bytes_o;
    if (t_.awvalid_o && t_.awready_i) take_address();
    if (t_.wvalid_o && t_.wready_i) take_data();
    const bool taken = (t_.wr_valid_i & t_.wr_ready_o) != 0;
    if (taken) {
      const Item& it = items.front();
      for (std::uint32_t i = 0; i < kBus; ++i)
        if (((it.strb >> i) & 1) != 0) model_[it.addr + i] = it.data[i];
      items.pop_front();
    }
    if (clearing_ && t_.quiet_o) {
      equal("quiet once all is answered", owed(), 0);
      clearing_ = false;
    }
    b_.edge();
    clearing_ = clearing_ || t_.clear_i;
    t_.clear_i = 0;
    if (taken) t_.wr_valid_i = 0;
  }

  void offer(const Item& it) {
    t_.wr_valid_i = static_cast<std::uint8_t>(1 << it.client);
    bench::put(bench::words(t_.wr_addr_i), it.client * 32, 32, it.addr);
    for (int i = 0; i < kBus; ++i)
      bench::put(bench::words(t_.wr_data_i), (it.client * kBus + i) * 8, 8,
                 it.data[static_cast<std::size_t>(i)]);
    bench::put(bench::words(t_.wr_strb_i), it.client * kBus, kBus, it.strb);
  }

  // Acknowledges a finished burst of any ID.
  void answer(const Plan& plan) {
    t_.bvalid_i = 0;
    std::vector<std::size_t> ready;
    for (std::size_t id = 0; id < 16; ++id)
      if (answers_[id] != 0) ready.push_back(id);
    if (ready.empty() || rnd_.chance(plan.stall_answer)) return;
    const std::size_t id = ready[rnd_.below(ready.size())];
    t_.bvalid_i = 1, t_.bid_i = static_cast<std::uint8_t>(id);
    t_.bresp_i = plan.poison && rnd_.chance(20) ? 3 : 0;
    poisoned_ += t_.bresp_i != 0 ? 1 : 0;
    --answers_[id];
  }

  // Bursts that memory has taken or is offered and has not acknowledged.
  [[nodiscard]] std::uint64_t owed() const {
    std::uint64_t n = accepted_.size() + t_.awvalid_o;
    for (const int a : answers_) n += static_cast<std::uint64_t>(a);
    return n;
  }

  // An acknowledgement without a write is reported and changes nothing.
  void stray() {
    t_.bvalid_i = 1, t_.bid_i = static_cast<std::uint8_t>(rnd_.below(16)), t_.bresp_i = 2;
    t_.eval();
    equal("stray", t_.stray_o, 1);
    equal("stray is no error of a client", t_.error_o, 0);
    b_.edge();
    t_.bvalid_i = 0;
    t_.eval();
    equal("idle after a stray answer", t_.idle_o, 1);
  }

  // AXI4, A3.2.1: every signal of a channel stays while valid waits for ready.
  void stable() {
    const std::vector<std::uint64_t> address = {t_.awaddr_o, t_.awlen_o, t_.awid_o, t_.awsize_o,
                                                t_.awburst_o};
    std::vector<std::uint64_t> data = {t_.wlast_o};
    data.push_back(bench::get(bench::words(t_.wstrb_o), 0, kBus));
    for (int i = 0; i < kBus; ++i) data.push_back(bench::get(bench::words(t_.wdata_o), i * 8, 8));
    if (address_waits_) equal("address stays", t_.awvalid_o && address == address_ ? 1 : 0, 1);
    if (data_waits_) equal("data stays", t_.wvalid_o && data == data_ ? 1 : 0, 1);
    address_waits_ = t_.awvalid_o && !t_.awready_i, data_waits_ = t_.wvalid_o && !t_.wready_i;
    address_ = address, data_ = data;
  }

  void take_address() {
    equal("burst inside 4 KiB", (t_.awaddr_o & 4095) + (t_.awlen_o + 1u) * kBus <= 4096 ? 1 : 0, 1);
    accepted_.push_back({t_.awaddr_o, t_.awlen_o + 1, t_.awid_o});
    ++bursts_;
  }

  void take_data() {
    if (accepted_.empty()) bench::fail("data without address", b_.cycle);
    const Burst& burst = accepted_.front();
    const std::uint32_t addr = burst.addr + static_cast<std::uint32_t>(beat_ * kBus);
    for (int i = 0; i < kBus; ++i) {
      if (bench::get(bench::words(t_.wstrb_o), i, 1) != 0)
        memory_[addr + static_cast<std::uint32_t>(i)] =
            static_cast<std::uint8_t>(bench::get(bench::words(t_.wdata_o), i * 8, 8));
    }
    ++beat_;
    equal("last", t_.wlast_o, beat_ == burst.beats ? 1 : 0);
    if (beat_ != burst.beats) return;
    ++answers_[static_cast<std::size_t>(burst.id)];
    accepted_.pop_front(), beat_ = 0;
  }

  struct Burst {
    std::uint32_t addr = 0;
    int beats = 0, id = 0;
  };
  bench::Bench& b_;
  bench::Random& rnd_;
  Vtop& t_;
  std::map<std::uint32_t, std::uint8_t> memory_, model_;
  std::vector<std::uint64_t> address_, data_;  // of the last cycle
  bool address_waits_ = false, data_waits_ = false;
  bool clearing_ = false;  // since a clear it has not been quiet
  std::deque<Burst> accepted_;
  std::array<int, 16> answers_{};  // finished bursts to acknowledge, by ID
  int beat_ = 0;
  std::uint64_t errors_ = 0, bursts_ = 0, poisoned_ = 0, counted_ = 0;
};

}  // namespace

int main() {
  bench::Bench b;
  bench::Random rnd;
  Player player(b, rnd);
  for (int round = 0; round < 150; ++round) {
    const Plan plan = random_plan(rnd, round);
    player.play(plan, random_items(rnd, plan.smooth()));
  }
  return bench::done("axi_write");
}
