// SPDX-License-Identifier: Apache-2.0
// The TLM sockets of the platform's parts under random traffic: two initiators, blocking and
// non-blocking, legal and illegal addresses, byte enables, streaming, debug and direct access,
// through monitors and the interconnect to a flat memory, one with banks and four phases, and the
// registers of an NPU. Every byte read is compared, every monitor must be content. Then the monitor
// itself: each rule broken once on purpose. Ends with `N passed, N failed`.
//
// usage: protocol_test [TRANSACTIONS [SEED]]
#include <fmt/format.h>

#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "cmodel/spec/npu_identity.hpp"
#include "sim/systemc/interconnect.hpp"
#include "sim/systemc/memory.hpp"
#include "sim/systemc/monitor.hpp"
#include "sim/systemc/npu_model.hpp"
#include "sw/base/rng.hpp"

namespace lastmile::sim {
namespace {

constexpr std::uint64_t kBytes = 65536;  // of each memory
constexpr std::uint64_t kSecond = 0x100000;
constexpr std::uint64_t kMine = kBytes / 2;  // each initiator's half

class RandomInitiator : public sc_core::sc_module {
 public:
  tlm_utils::simple_initiator_socket<RandomInitiator> socket;

  RandomInitiator(sc_core::sc_module_name name, unsigned index, std::uint64_t transactions,
                  std::uint64_t seed)
      : sc_module(name),
        socket("socket"),
        index_(index),
        left_(transactions),
        rng_(seed, index),
        pool_(512) {
    SC_HAS_PROCESS(RandomInitiator);
    SC_THREAD(run);
    socket.register_nb_transport_bw(this, &RandomInitiator::backward);
    socket.register_invalidate_direct_mem_ptr(this, &RandomInitiator::invalidate);
    for (auto& m : expected_) m.assign(kMine, 0);
  }
  std::uint64_t blocking = 0, nonblocking = 0, debug = 0, direct = 0, refused = 0, invalidated = 0;
  std::vector<std::string> wrong;
  bool finished = false;

 private:
  using Payload = tlm::tlm_generic_payload;

  void fail(const std::string& what) {
    if (wrong.size() < 5) wrong.push_back(what);
  }
  // What a legal access to memory m at offset does, byte by byte.
  template <class F>
  void each_byte(const Payload& p, F f) {
    const unsigned char* e = p.get_byte_enable_ptr();
    for (unsigned i = 0; i < p.get_data_length(); ++i)
      if (e == nullptr || e[i % p.get_byte_enable_length()] != 0) f(i, i % p.get_streaming_width());
  }

  tlm::tlm_sync_enum backward(Payload& p, tlm::tlm_phase& phase, sc_time& delay) {
    if (phase == tlm::END_REQ) return tlm::TLM_ACCEPTED;
    if (&p != waiting_) fail("a response to another transaction");
    answered_ = true;
    answer_.notify(delay);
    if (rng_.below(2) == 0) return tlm::TLM_COMPLETED;
    if (rng_.below(2) == 0) {
      phase = tlm::END_RESP;
      return tlm::TLM_UPDATED;
    }
    end_later_ = true;
    return tlm::TLM_ACCEPTED;
  }
  void invalidate(sc_dt::uint64, sc_dt::uint64) { ++invalidated; }

  void send(Payload& p, bool block) {
    sc_time delay(static_cast<double>(rng_.below(30)), sc_core::SC_NS);
    if (block) {
      ++blocking;
      socket->b_transport(p, delay);
      if (rng_.below(4) == 0) wait(delay);
      return;
    }
    ++nonblocking;
    tlm::tlm_phase phase = tlm::BEGIN_REQ;
    delay = sc_core::SC_ZERO_TIME;
    waiting_ = &p;
    answered_ = end_later_ = false;
    const tlm::tlm_sync_enum answer = socket->nb_transport_fw(p, phase, delay);
    if (answer == tlm::TLM_COMPLETED) {
      wait(delay);
    } else if (answer == tlm::TLM_UPDATED && phase == tlm::BEGIN_RESP) {
      wait(delay);
      phase = tlm::END_RESP;
      delay = sc_core::SC_ZERO_TIME;
      static_cast<void>(socket->nb_transport_fw(p, phase, delay));
    } else {
      if (!answered_) wait(answer_);
      if (end_later_) {
        wait(5, sc_core::SC_NS);
        phase = tlm::END_RESP;
        delay = sc_core::SC_ZERO_TIME;
        static_cast<void>(socket->nb_transport_fw(p, phase, delay));
      }
    }
    waiting_ = nullptr;
  }

  void one() {
    const auto memory = static_cast<std::size_t>(rng_.below(2));
    const std::uint64_t base = (memory == 0 ? 0 : kSecond) + index_ * kMine;
    const std::uint64_t kind = rng_.below(100);
    const auto length = static_cast<std::size_t>(1 + rng_.below(kind < 5 ? 256 : 64));
    const std::uint64_t offset = rng_.below(kMine - length + 1);
    const bool write = rng_.below(2) == 0;
    Payload* p =
        pool_.take(write ? tlm::TLM_WRITE_COMMAND : tlm::TLM_READ_COMMAND, base + offset, length);
    unsigned char* data = p->get_data_ptr();
    if (write)
      for (std::size_t i = 0; i < length; ++i) data[i] = static_cast<unsigned char>(rng_.next());
    std::vector<unsigned char>& expected = expected_[memory];
    if (kind < 4) {  // nobody there, or across the end of a range
      p->set_address(rng_.below(2) == 0 ? 0x40000000 + offset : kSecond + kBytes - length / 2);
      if (p->get_address() < 0x40000000 && length < 2) p->set_address(0x80000000);
      send(*p, rng_.below(2) == 0);
      if (p->get_response_status() != tlm::TLM_ADDRESS_ERROR_RESPONSE)
        fail("an address without a target was answered with " + p->get_response_string());
      ++refused;
    } else if (kind < 6) {
      p->set_command(tlm::TLM_IGNORE_COMMAND);
      send(*p, true);
      if (!p->is_response_ok()) fail("IGNORE: " + p->get_response_string());
    } else if (kind < 10) {  // registers: legal reads, and three ways to be refused
      const std::uint64_t way = rng_.below(4);
      p->set_read();
      p->set_address(kRegisterBase + (way == 0 ? 2 : 0));
      const unsigned n = way == 1 ? 8 : 4;
      p->set_data_length(n);
      p->set_streaming_width(n);
      unsigned char* e = PayloadPool::enables(*p);
      std::memset(e, 0xff, 4);
      if (way == 2) {
        e[1] = 0;
        p->set_byte_enable_ptr(e);
        p->set_byte_enable_length(4);
      }
      send(*p, true);
      std::uint32_t id = 0;
      std::memcpy(&id, data, 4);
      const auto status = p->get_response_status();
      const bool good = way == 0   ? status == tlm::TLM_ADDRESS_ERROR_RESPONSE
                        : way == 1 ? status == tlm::TLM_BURST_ERROR_RESPONSE
                        : way == 2 ? status == tlm::TLM_BYTE_ENABLE_ERROR_RESPONSE
                                   : p->is_response_ok() && id == spec::kMagic;
      if (!good) fail(fmt::format("register read {}: {}", way, p->get_response_string()));
    } else if (kind < 15) {
      ++debug;
      const unsigned n = socket->transport_dbg(*p);
      if (n != length) fail("debug access moved another number of bytes");
      compare_or_store(*p, write, offset, expected);
    } else if (kind < 18) {
      ++direct;
      tlm::tlm_dmi dmi;
      const bool registers = rng_.below(4) == 0;
      if (registers) p->set_address(kRegisterBase);
      const bool granted = socket->get_direct_mem_ptr(*p, dmi);
      if (granted != (memory == 0 && !registers)) fail("direct access granted to the wrong target");
      if (granted && !write) {
        if (std::memcmp(dmi.get_dmi_ptr() + (base + offset - dmi.get_start_address()),
                        expected.data() + offset, length) != 0)
          fail("direct access sees other bytes");
      }
    } else {
      if (kind < 35) {
        const auto n = static_cast<unsigned>(1 + rng_.below(length));
        unsigned char* e = PayloadPool::enables(*p);
        for (unsigned i = 0; i < n; ++i) e[i] = rng_.below(2) == 0 ? 0 : 0xff;
        p->set_byte_enable_ptr(e);
        p->set_byte_enable_length(n);
      }
      if (kind >= 30 && kind < 40)
        p->set_streaming_width(static_cast<unsigned>(1 + rng_.below(length)));
      send(*p, rng_.below(2) == 0);
      if (!p->is_response_ok()) fail("memory: " + p->get_response_string());
      compare_or_store(*p, write, offset, expected);
    }
    p->release();
  }

  void compare_or_store(const Payload& p, bool write, std::uint64_t offset,
                        std::vector<unsigned char>& expected) {
    const unsigned char* data = p.get_data_ptr();
    bool good = true;
    each_byte(p, [&](unsigned i, unsigned at) {
      unsigned char& cell = expected[offset + at];
      if (write) {
        cell = data[i];
      } else {
        good = good && cell == data[i];
      }
    });
    if (!good) fail("other bytes than written");
  }

  void run() {
    for (; left_ != 0; --left_) one();
    if (pool_.in_use() != 0) fail("payloads are still referenced");
    finished = true;
  }

  unsigned index_;
  std::uint64_t left_;
  Rng rng_;
  PayloadPool pool_;
  std::array<std::vector<unsigned char>, 2> expected_;
  Payload* waiting_ = nullptr;
  bool answered_ = false, end_later_ = false;
  sc_core::sc_event answer_;
};

// Both ends of a monitor, misbehaving as told.
class Rogue : public sc_core::sc_module {
 public:
  tlm_utils::simple_initiator_socket<Rogue> out;
  tlm_utils::simple_target_socket<Rogue> in;
  using Target = std::function<void(tlm::tlm_generic_payload&, sc_time&)>;
  Target target;
  tlm::tlm_sync_enum answer = tlm::TLM_COMPLETED;
  tlm::tlm_phase answer_phase = tlm::END_REQ;
  unsigned debug_bytes = 0;
  std::uint64_t dmi_start = 0;

  explicit Rogue(sc_core::sc_module_name name) : sc_module(name), out("out"), in("in") {
    out.register_nb_transport_bw(this, &Rogue::backward);
    in.register_b_transport(this, &Rogue::blocking);
    in.register_nb_transport_fw(this, &Rogue::forward);
    in.register_transport_dbg(this, &Rogue::debug);
    in.register_get_direct_mem_ptr(this, &Rogue::direct);
  }

 private:
  using Payload = tlm::tlm_generic_payload;
  void blocking(Payload& p, sc_time& delay) {
    p.set_response_status(tlm::TLM_OK_RESPONSE);
    if (target) target(p, delay);
  }
  tlm::tlm_sync_enum forward(Payload& p, tlm::tlm_phase& phase, sc_time&) {
    if (answer == tlm::TLM_COMPLETED) p.set_response_status(tlm::TLM_OK_RESPONSE);
    if (answer == tlm::TLM_UPDATED) phase = answer_phase;
    return answer;
  }
  tlm::tlm_sync_enum backward(Payload&, tlm::tlm_phase&, sc_time&) { return tlm::TLM_ACCEPTED; }
  unsigned debug(Payload&) { return debug_bytes; }
  bool direct(Payload&, tlm::tlm_dmi& dmi) {
    dmi.set_start_address(dmi_start);
    dmi.set_end_address(dmi_start + 15);
    dmi.allow_read_write();
    return true;
  }
};

// Breaks every rule once; the monitor between must notice each, and nothing in good behaviour.
class RuleBreaker : public sc_core::sc_module {
 public:
  RuleBreaker(sc_core::sc_module_name name, const Clock& clock)
      : sc_module(name), rogues_("rogue", kRules + 1) {
    SC_HAS_PROCESS(RuleBreaker);
    for (std::size_t i = 0; i < rogues_.size(); ++i) {
      monitors_.push_back(
          std::make_unique<Monitor>(fmt::format("monitor{}", i).c_str(), clock, true));
      rogues_[i].out.bind(monitors_[i]->in);
      monitors_[i]->out.bind(rogues_[i].in);
    }
    SC_THREAD(run);
  }
  [[nodiscard]] bool noticed(std::size_t rule) const {
    return monitors_[rule]->violations(static_cast<Rule>(rule)) == 1;
  }
  [[nodiscard]] std::uint64_t noticed_in_good_behaviour() const {
    return monitors_[kRules]->violations();
  }

 private:
  using Payload = tlm::tlm_generic_payload;
  Rogue& of(Rule rule) { return rogues_[static_cast<std::size_t>(rule)]; }
  void blocking(Rule rule, const std::function<void(Payload&)>& change, Rogue::Target target = {}) {
    Payload p;
    set_up(p, tlm::TLM_WRITE_COMMAND, 0, data_.data(), 8);
    if (change) change(p);
    of(rule).target = std::move(target);
    sc_time delay(10, sc_core::SC_NS);
    of(rule).out->b_transport(p, delay);
  }
  tlm::tlm_sync_enum begin(Rogue& r, Payload& p, tlm::tlm_phase phase = tlm::BEGIN_REQ) {
    sc_time delay = sc_core::SC_ZERO_TIME;
    return r.out->nb_transport_fw(p, phase, delay);
  }
  Payload* take() { return pool_.take(tlm::TLM_READ_COMMAND, 0, 8); }

  void run() {
    blocking(Rule::initial_status, [](Payload& p) { p.set_response_status(tlm::TLM_OK_RESPONSE); });
    blocking(Rule::command, [](Payload& p) { p.set_command(static_cast<tlm::tlm_command>(3)); });
    blocking(Rule::data_pointer, [](Payload& p) {
      p.set_read();
      p.set_data_ptr(nullptr);
    });
    blocking(Rule::data_length, [](Payload& p) { p.set_data_length(0); });
    blocking(Rule::streaming_width, [](Payload& p) { p.set_streaming_width(0); });
    blocking(Rule::byte_enables, [this](Payload& p) {
      enable_[1] = 1;
      p.set_byte_enable_ptr(enable_.data());
      p.set_byte_enable_length(4);
    });
    blocking(Rule::dmi_hint, [](Payload& p) { p.set_dmi_allowed(true); });
    blocking(Rule::final_status, {},
             [](Payload& p, sc_time&) { p.set_response_status(tlm::TLM_INCOMPLETE_RESPONSE); });
    blocking(Rule::attributes, {}, [](Payload& p, sc_time&) { p.set_data_length(4); });
    blocking(Rule::write_data, {}, [](Payload& p, sc_time&) { p.get_data_ptr()[3] ^= 1; });
    blocking(Rule::time, {}, [](Payload&, sc_time& t) { t = sc_core::SC_ZERO_TIME; });
    blocking(Rule::in_flight, {}, [this](Payload& p, sc_time& t) {
      Rogue& r = of(Rule::in_flight);
      r.target = {};
      p.set_response_status(tlm::TLM_INCOMPLETE_RESPONSE);
      r.out->b_transport(p, t);
    });
    {  // no memory manager
      Payload p;
      set_up(p, tlm::TLM_READ_COMMAND, 0, data_.data(), 8);
      static_cast<void>(begin(of(Rule::memory_manager), p));
    }
    static_cast<void>(begin(of(Rule::phase_order), *take(), tlm::END_RESP));
    {
      Rogue& r = of(Rule::request_exclusion);
      r.answer = tlm::TLM_ACCEPTED;
      static_cast<void>(begin(r, *take()));
      static_cast<void>(begin(r, *take()));
    }
    {
      Rogue& r = of(Rule::response_exclusion);
      r.answer = tlm::TLM_ACCEPTED;
      std::array<Payload*, 2> both{take(), take()};
      for (Payload* p : both) {
        static_cast<void>(begin(r, *p));
        tlm::tlm_phase phase = tlm::END_REQ;
        sc_time delay = sc_core::SC_ZERO_TIME;
        static_cast<void>(r.in->nb_transport_bw(*p, phase, delay));
      }
      for (Payload* p : both) {
        p->set_response_status(tlm::TLM_OK_RESPONSE);
        tlm::tlm_phase phase = tlm::BEGIN_RESP;
        sc_time delay = sc_core::SC_ZERO_TIME;
        static_cast<void>(r.in->nb_transport_bw(*p, phase, delay));
      }
    }
    {
      Rogue& r = of(Rule::dmi_range);
      r.dmi_start = 4096;
      Payload* p = take();
      tlm::tlm_dmi dmi;
      static_cast<void>(r.out->get_direct_mem_ptr(*p, dmi));
    }
    of(Rule::debug_length).debug_bytes = 9;
    static_cast<void>(of(Rule::debug_length).out->transport_dbg(*take()));
    // Good behaviour.
    Payload p;
    set_up(p, tlm::TLM_WRITE_COMMAND, 0, data_.data(), 8);
    sc_time delay = sc_core::SC_ZERO_TIME;
    rogues_[kRules].out->b_transport(p, delay);
    static_cast<void>(begin(rogues_[kRules], *take()));
  }

  sc_core::sc_vector<Rogue> rogues_;
  std::vector<std::unique_ptr<Monitor>> monitors_;
  PayloadPool pool_{64};
  std::array<unsigned char, 64> data_{};
  std::array<unsigned char, 4> enable_{};
};

int main_of(std::uint64_t transactions, std::uint64_t seed) {
  fmt::print("{} transactions, seed {}\n", transactions, seed);
  const Clock clock(1000);
  tlm_utils::tlm_quantumkeeper::set_global_quantum(clock.cycles(1000));
  Interconnect bus("bus", clock, {.share = {100, 60}},
                   {{0, kBytes}, {kSecond, kBytes}, {kRegisterBase, kRegisterBytes}}, 2);
  MemoryTarget flat("flat", clock, {}, kBytes, 16);
  MemoryTarget banked("banked", clock,
                      {.bandwidth = 8, .banks = 4, .row_bytes = 512, .four_phases = true}, kBytes,
                      16);
  PlatformOptions options;
  options.memory_bytes = 4096;
  NpuModel npu("npu", clock, options);
  sc_core::sc_signal<bool> irq("irq"), reset("reset");
  npu.irq(irq);
  npu.reset(reset);
  MemoryTarget npu_memory("npu_memory", clock, {}, 4096, 16);
  npu.memory.bind(npu_memory.socket);
  std::vector<std::unique_ptr<RandomInitiator>> initiators;
  std::vector<std::unique_ptr<Monitor>> monitors;
  for (unsigned i = 0; i < 2; ++i) {
    initiators.push_back(std::make_unique<RandomInitiator>(fmt::format("initiator{}", i).c_str(), i,
                                                           transactions / 2, seed));
    monitors.push_back(std::make_unique<Monitor>(fmt::format("in{}", i).c_str(), clock, true));
    initiators[i]->socket.bind(monitors[i]->in);
    monitors[i]->out.bind(bus.in[i]);
  }
  for (unsigned i = 0; i < 3; ++i)
    monitors.push_back(std::make_unique<Monitor>(fmt::format("out{}", i).c_str(), clock, true));
  for (unsigned i = 0; i < 3; ++i) bus.out[i].bind(monitors[2 + i]->in);
  monitors[2]->out.bind(flat.socket);
  monitors[3]->out.bind(banked.socket);
  monitors[4]->out.bind(npu.registers);
  RuleBreaker breaker("breaker", clock);
  sc_core::sc_start(sc_time(100, sc_core::SC_SEC));

  int passed = 0, failed = 0;
  const auto check = [&](bool good, const std::string& what) {
    ++(good ? passed : failed);
    if (!good) fmt::print("  FAIL {}\n", what);
  };
  for (const auto& i : initiators) {
    check(i->finished, fmt::format("{}: did not end", i->name()));
    check(i->wrong.empty(), fmt::format("{}: {}", i->name(), fmt::join(i->wrong, "; ")));
    fmt::print("{}: {} blocking, {} non-blocking, {} debug, {} direct, {} to nobody\n", i->name(),
               i->blocking, i->nonblocking, i->debug, i->direct, i->refused);
  }
  for (const auto& m : monitors) {
    check(m->violations() == 0, fmt::format("{}", fmt::join(m->messages(), "; ")));
    check(m->count().unanswered == 0, fmt::format("{}: requests without an answer", m->name()));
  }
  for (std::size_t rule = 0; rule < kRules; ++rule)
    check(breaker.noticed(rule),
          fmt::format("rule \"{}\" was broken and not noticed", name_of(static_cast<Rule>(rule))));
  check(breaker.noticed_in_good_behaviour() == 0, "a rule is said to be broken that was not");
  fmt::print("{} passed, {} failed\n", passed, failed);
  std::fflush(stdout);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace lastmile::sim

// SystemC's main() calls it; here the name keeps the file out of the common test runner.
int main(int argc, char** argv) { return sc_core::sc_elab_and_sim(argc, argv); }
int sc_main(int argc, char** argv) {
  sc_core::sc_report_handler::set_actions(sc_core::SC_INFO, sc_core::SC_DO_NOTHING);
  return lastmile::sim::main_of(argc > 1 ? std::stoull(argv[1]) : 1000000,
                                argc > 2 ? std::stoull(argv[2]) : 1);
}
