// SPDX-License-Identifier: Apache-2.0
// npu_axi_read: data, order and last flag of six clients at once, with stalls and any order between
// IDs; legality and use of the bus; error answers; clears in mid-flight, with answers that come
// late, however late, or never; answers that nobody has asked for.
#include <array>
#include <deque>
#include <string>
#include <utility>
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

constexpr int kClients = 6;
constexpr std::uint64_t kNever = ~std::uint64_t{0};

// What happens in one round.
struct Plan {
  int number = 0;
  int stall_address = 0, stall_data = 0, stall_response = 0;
  std::uint64_t latency = 0;
  bool dead = false;     // the memory stops answering, then a clear
  bool forgets = false;  // and never answers what it had accepted
  bool abort = false;
  int poison = -1;  // this beat is answered with SLVERR

  [[nodiscard]] bool smooth() const {
    return stall_address == 0 && stall_data == 0 && stall_response == 0;
  }
};

Plan random_plan(bench::Random& rnd, int number) {
  const auto stall = [&] { return static_cast<int>(rnd.below(3)) * 30; };
  Plan p;
  p.number = number;
  p.stall_address = stall(), p.stall_data = stall(), p.stall_response = stall();
  p.latency = rnd.below(30);
  p.dead = number % 10 == 7;
  p.forgets = p.dead && rnd.chance(50);
  p.abort = p.dead || number % 10 == 3;
  p.poison = number % 10 == 5 ? static_cast<int>(rnd.below(200)) : -1;
  return p;
}

// Requests of every client and the words that answer them.
struct Traffic {
  std::array<std::deque<std::pair<std::uint32_t, std::uint32_t>>, kClients> requests;
  std::array<std::deque<Expected>, kClients> expected;

  [[nodiscard]] std::uint64_t words() const {
    std::uint64_t n = 0;
    for (const auto& e : expected) n += e.size();
    return n;
  }
};

Traffic random_traffic(bench::Random& rnd, bool smooth) {
  Traffic out;
  for (std::size_t c = 0; c < kClients; ++c) {
    const auto n = rnd.below(smooth ? 3 : 25);
    for (std::uint64_t i = 0; i < n; ++i) {
      auto addr = static_cast<std::uint32_t>(rnd.below(1u << 20));
      if (rnd.chance(30))  // near the end of 4 KiB
        addr = (addr & ~4095u) + 4096 - static_cast<std::uint32_t>(rnd.below(64));
      const auto bytes = static_cast<std::uint32_t>(smooth           ? 3000
                                                    : rnd.chance(20) ? rnd.between(1, 3000)
                                                                     : rnd.between(1, 200));
      out.requests[c].push_back({addr, bytes});
      const std::uint64_t first = addr / kBus, last = (std::uint64_t{addr} + bytes - 1) / kBus;
      for (std::uint64_t w = first; w <= last; ++w) out.expected[c].push_back({w, w == last});
    }
  }
  return out;
}

// Clients and memory around the reader; what is on its way survives from round to round.
class Player {
 public:
  Player(bench::Bench& b, bench::Random& rnd) : b_(b), rnd_(rnd), t_(*b.top) {
    t_.clear_i = 0, t_.req_valid_i = 0, t_.rsp_ready_i = 0, t_.arready_i = 0, t_.rvalid_i = 0;
    b.reset();
  }

  void play(const Plan& plan, Traffic& traffic) {
    const std::uint64_t total = traffic.words();
    start_ = b_.cycle;
    beat_index_ = 0, poisoned_client_ = -1, seen_errors_ = 0;
    const std::uint64_t stop_at =
        plan.abort ? start_ + static_cast<std::uint64_t>(rnd_.between(20, 300)) : kNever;
    while (traffic.words() != 0 && b_.cycle < stop_at) {
      cycle(plan, traffic);
      if (b_.cycle > start_ + 200000) bench::fail("no progress", b_.cycle);
    }
    if (plan.poison >= 0 && plan.poison < beat_index_) equal("errors seen", seen_errors_, 1);
    // not behind an abort: transfers from before it may still hold the bus
    if (plan.smooth() && !plan.abort && total > 500 && plan.number % 10 != 4 &&
        plan.number % 10 != 8)
      equal("at least 0.9 words per cycle", b_.cycle - start_ < total * 10 / 9 + 60 ? 1 : 0, 1);
    t_.rvalid_i = 0, t_.rsp_ready_i = 0, t_.arready_i = 0;
    if (plan.abort) {
      clear(plan);
    } else {
      equal("nothing waits", status(bench::read_status::kWaiting), 0);
    }
  }

  void finish() const {
    equal("beats counted", static_cast<std::int64_t>(counted_), static_cast<std::int64_t>(beats_));
  }

 private:
  [[nodiscard]] std::int64_t status(bench::Member m) const {
    return static_cast<std::int64_t>(bench::get(t_.status_o, m));
  }

  void equal(const std::string& what, std::int64_t rtl, std::int64_t expected) const {
    bench::equal(what, rtl, expected, b_.cycle);
  }

  void cycle(const Plan& plan, Traffic& traffic) {
    offer_requests(plan, traffic);
    const bool dead = plan.dead && b_.cycle > start_ + 60;
    t_.arready_i = !rnd_.chance(plan.stall_address) && !dead;
    const int id = offer_beat(plan, dead);
    t_.eval();
    equal("stray", status(bench::read_status::kStray), 0);
    if (status(bench::read_status::kError) != 0) {
      ++seen_errors_;
      equal("error client", status(bench::read_status::kClient), poisoned_client_);
    }
    counted_ += t_.cnt_beats_o;
    if (t_.rvalid_i && !bus_[static_cast<std::size_t>(id)].front().stale) ++beats_;
    for (int c = 0; c < kClients; ++c) take_response(c, traffic);
    const int taken = t_.req_valid_i & t_.req_ready_o;
    if (t_.arvalid_o && t_.arready_i) take_address();
    if (id >= 0) advance(bus_[static_cast<std::size_t>(id)]);
    b_.edge();
    for (int c = 0; c < kClients; ++c) {
      if (((taken >> c) & 1) == 0) continue;
      traffic.requests[static_cast<std::size_t>(c)].pop_front();
      t_.req_valid_i &= static_cast<std::uint8_t>(~(1 << c));
    }
  }

  void offer_requests(const Plan& plan, const Traffic& traffic) {
    for (int c = 0; c < kClients; ++c) {
      const auto& requests = traffic.requests[static_cast<std::size_t>(c)];
      if (((t_.req_valid_i >> c) & 1) != 0 || requests.empty()) continue;
      t_.req_valid_i |= static_cast<std::uint8_t>(1 << c);
      bench::put(bench::words(t_.req_addr_i), c * 32, 32, requests.front().first);
      bench::put(bench::words(t_.req_bytes_i), c * 24, 24, requests.front().second);
    }
    t_.rsp_ready_i = 0;
    for (int c = 0; c < kClients; ++c)
      if (!rnd_.chance(plan.stall_response)) t_.rsp_ready_i |= static_cast<std::uint8_t>(1 << c);
  }

  // A beat of any burst that has waited long enough; its ID, -1 without one.
  int offer_beat(const Plan& plan, bool dead) {
    std::vector<int> ready;
    for (int id = 0; id < 16; ++id) {
      const auto& q = bus_[static_cast<std::size_t>(id)];
      if (!q.empty() && b_.cycle >= q.front().born + plan.latency) ready.push_back(id);
    }
    t_.rvalid_i = 0;
    if (ready.empty() || rnd_.chance(plan.stall_data) || dead) return -1;
    const int id = ready[rnd_.below(ready.size())];
    const Burst& x = bus_[static_cast<std::size_t>(id)].front();
    t_.rvalid_i = 1, t_.rid_i = static_cast<std::uint8_t>(id), t_.rlast_i = x.left == 1;
    t_.rresp_i = 0;
    if (beat_index_++ == plan.poison) t_.rresp_i = 2, poisoned_client_ = id & 7;
    for (int k = 0; k < kWords; ++k) bench::words(t_.rdata_i)[k] = content(x.word, k);
    return id;
  }

  void take_response(int c, Traffic& traffic) {
    if (((t_.rsp_valid_o >> c) & 1) == 0 || ((t_.rsp_ready_i >> c) & 1) == 0) return;
    auto& expected = traffic.expected[static_cast<std::size_t>(c)];
    if (expected.empty()) bench::fail("data nobody asked for", b_.cycle);
    const Expected e = expected.front();
    expected.pop_front();
    for (int k = 0; k < kWords; ++k)
      equal("data of client " + std::to_string(c), bench::words(t_.rsp_data_o)[c * kWords + k],
            content(e.word, k));
    equal("last of client " + std::to_string(c), (t_.rsp_last_o >> c) & 1, e.last);
  }

  void take_address() {
    equal("size", t_.arsize_o, __builtin_ctz(kBus));
    equal("burst inside 4 KiB", (t_.araddr_o & 4095) + (t_.arlen_o + 1u) * kBus <= 4096, 1);
    equal("at most 16 beats", t_.arlen_o < 16, 1);
    bus_[t_.arid_o].push_back({t_.araddr_o / kBus, t_.arlen_o + 1, b_.cycle, stale_address_});
    stale_address_ = false;
  }

  static void advance(std::deque<Burst>& bursts) {
    if (--bursts.front().left == 0) {
      bursts.pop_front();
    } else {
      ++bursts.front().word;
    }
  }

  void clear(const Plan& plan) {
    t_.req_valid_i = 0;
    t_.clear_i = 1;
    b_.edge();
    t_.clear_i = 0;
    b_.edge();
    t_.eval();
    stale_address_ = t_.arvalid_o;
    for (auto& q : bus_) {
      for (Burst& x : q) x.stale = true;
      if (plan.forgets && !q.empty()) lost_ = true;
      if (plan.forgets) q.clear();
    }
    if (plan.dead && !plan.forgets) wait_long();
    if (plan.forgets) give_up();
  }

  [[nodiscard]] bool due() const {
    if (t_.arvalid_o) return true;
    for (const auto& q : bus_)
      if (!q.empty()) return true;
    return false;
  }

  // Answers that take longer than any patience: nothing is asked for meanwhile, and it says so.
  void wait_long() {
    const bool waits = due();
    t_.req_valid_i = 1;
    bench::put(bench::words(t_.req_addr_i), 0, 32, 64);
    bench::put(bench::words(t_.req_bytes_i), 0, 24, 64);
    for (int i = 0; waits && i < 6000; ++i) {
      t_.eval();
      equal("not quiet while answers are due", status(bench::read_status::kQuiet), 0);
      equal("only the address of before", t_.arvalid_o, stale_address_);
      b_.edge();
      t_.req_valid_i = 0;
    }
    // What was asked above belongs to no plan.
    t_.req_valid_i = 0, t_.clear_i = 1;
    b_.edge();
    t_.clear_i = 0;
  }

  // Answers that never come: quiet only after a reset, of the memory, too.
  void give_up() {
    const bool waits = due() || lost_;
    for (int i = 0; waits && i < 6000; ++i) {
      t_.eval();
      equal("not quiet", status(bench::read_status::kQuiet), 0);
      b_.edge();
    }
    for (auto& q : bus_) q.clear();
    stale_address_ = false, lost_ = false;
    const std::uint64_t cycle = b_.cycle;
    b_.reset();
    b_.cycle = cycle;
    stray();
    // Sticky bits are the sequencer's; this block only forgets with a reset what it has seen.
    b_.reset();
    b_.cycle = cycle;
  }

  // Beats without a request: they are reported and go to nobody.
  void stray() {
    for (int id = 0; id < 16; ++id) {
      t_.rvalid_i = 1, t_.rid_i = static_cast<std::uint8_t>(id);
      t_.rlast_i = rnd_.chance(50), t_.rresp_i = 0;
      t_.eval();
      equal("stray", status(bench::read_status::kStray), 1);
      equal("stray is no error of a client", status(bench::read_status::kError), 0);
      b_.edge();
      t_.rvalid_i = 0;
      t_.eval();
      equal("stray goes to nobody", t_.rsp_valid_o, 0);
      equal("quiet all the same", status(bench::read_status::kQuiet), 1);
    }
  }

  bench::Bench& b_;
  bench::Random& rnd_;
  Vtop& t_;
  std::array<std::deque<Burst>, 16> bus_;
  std::uint64_t beats_ = 0, counted_ = 0, start_ = 0;
  bool stale_address_ = false;  // the address on offer is from before a clear
  bool lost_ = false;           // the memory has forgotten a burst
  int beat_index_ = 0, poisoned_client_ = -1, seen_errors_ = 0;
};

}  // namespace

int main() {
  bench::Bench b;
  bench::Random rnd;
  Player player(b, rnd);
  for (int round = 0; round < 120; ++round) {
    const Plan plan = random_plan(rnd, round);
    Traffic traffic = random_traffic(rnd, plan.smooth());
    player.play(plan, traffic);
  }
  player.finish();
  return bench::done("axi_read");
}
