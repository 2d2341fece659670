// SPDX-License-Identifier: Apache-2.0
// The whole NPU when things go wrong: malformed commands, addresses outside the memory, a memory
// that falls silent, resets in mid-flight. Codes equal the model's, and after each the next queue
// leaves the same memory, registers and counters as the model.
//   faults [rounds] [first]     LASTMILE_SEED sets the seed
#include <verilated.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include "Vtop.h"
#include "cmodel/command/control.hpp"
#include "cmodel/command/validate.hpp"
#include "cmodel/npu/npu.hpp"
#include "tests/cmodel/random_command.hpp"
#include "tests/rtl/core/axi_memory.hpp"

namespace {

using namespace lastmile;
using spec::Opcode;
namespace reg = spec::reg;

const spec::HardwareParams kHw{};  // the default build

class Rtl {
 public:
  explicit Rtl(std::uint64_t seed)
      : context_(std::make_unique<VerilatedContext>()),
        top_(std::make_unique<Vtop>(context_.get())),
        axi(seed) {
    top_->rst_ni = 0;
    cycle(), cycle();
    top_->rst_ni = 1;
    cycle();
  }
  void write(std::uint32_t offset, std::uint32_t value) {
    top_->s_axil_awvalid_i = top_->s_axil_wvalid_i = 1;
    top_->s_axil_awaddr_i = static_cast<std::uint16_t>(offset), top_->s_axil_wdata_i = value,
    top_->s_axil_wstrb_i = 15, top_->s_axil_bready_i = 1;
    for (;;) {
      top_->eval();
      const bool take = top_->s_axil_awready_o && top_->s_axil_wready_o;
      cycle();
      if (take) break;
    }
    top_->s_axil_awvalid_i = top_->s_axil_wvalid_i = 0;
    cycle();
    top_->s_axil_bready_i = 0;
  }
  std::uint32_t read(std::uint32_t offset) {
    top_->s_axil_arvalid_i = 1, top_->s_axil_araddr_i = static_cast<std::uint16_t>(offset),
    top_->s_axil_rready_i = 1;
    cycle();
    top_->s_axil_arvalid_i = 0;
    top_->eval();
    while (!top_->s_axil_rvalid_o) cycle();
    const std::uint32_t value = top_->s_axil_rdata_o;
    cycle();
    top_->s_axil_rready_i = 0;
    return value;
  }
  bool wait(std::uint64_t most) {
    for (std::uint64_t i = 0; i < most && !top_->irq_o; ++i) cycle();
    return top_->irq_o;
  }
  // The memory is silent for so many cycles more.
  void silent_for(std::uint64_t cycles_more) {
    axi.silence(cycles_more != 0);
    wake_ = cycles + cycles_more;
  }
  // A word that was on offer at a reset is still written: memory is the host's once it is through.
  void wait_for_offered_word() {
    if (!top_->m_axi_wvalid_o) return;
    axi.silence(false);
    while ((read(reg::kStatus) & reg::kStatusDraining.mask()) != 0) {
    }
  }
  void cycle() {
    if (cycles == wake_) axi.silence(false);
    axi.drive(*top_);
    top_->clk_i = 0;
    top_->eval();
    axi.sample(*top_);
    top_->clk_i = 1;
    top_->eval();
    ++cycles;
  }

  std::uint64_t cycles = 0;

 private:
  std::unique_ptr<VerilatedContext> context_;
  std::unique_ptr<Vtop> top_;
  std::uint64_t wake_ = ~std::uint64_t{0};

 public:
  bench::AxiMemory<Vtop, 16> axi;
};

struct Queue {
  std::vector<std::byte> memory;
  std::vector<spec::Descriptor> commands;
  reference::Registers regs;
  std::uint32_t address = 0;
  // Bytes of memory with the commands behind it.
  [[nodiscard]] std::uint32_t size_sealed() const {
    return static_cast<std::uint32_t>(memory.size() + commands.size() * spec::kDescBytes + 64);
  }
  void seal() {
    const std::uint32_t size = size_sealed();
    address = static_cast<std::uint32_t>(memory.size());
    for (const auto& d : commands) {
      const auto words = spec::encode(d);
      const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
      memory.insert(memory.end(), bytes, bytes + sizeof words);
    }
    memory.resize(size);
  }
};

Queue make_queue(random_command::Generator& g, std::uint32_t most) {
  Queue q;
  const std::uint32_t count = g.in(1, most);
  while (q.commands.size() < count) {
    random_command::Case c = g.command(static_cast<Opcode>(g.in(1, random_command::kLastOpcode)));
    const auto base = static_cast<std::uint32_t>(q.memory.size());
    for (std::uint32_t* a :
         {&c.d.in_addr, &c.d.in2_addr, &c.d.out_addr, &c.d.w_addr, &c.d.bias_addr, &c.d.rq_addr})
      *a += base;
    q.memory.insert(q.memory.end(), c.memory.begin(), c.memory.end());
    q.memory.resize((q.memory.size() + 63) / 64 * 64);
    q.commands.push_back(c.d);
    q.regs = c.regs;
  }
  return q;
}

template <class Write>
void registers(Write&& write, const Queue& q, std::uint32_t limit, std::uint32_t watchdog) {
  const reference::Registers& r = q.regs;
  write(reg::kPolarity, r.polarity), write(reg::kDistribution, r.distribution);
  write(reg::kSeedLo, static_cast<std::uint32_t>(r.seed)),
      write(reg::kSeedHi, static_cast<std::uint32_t>(r.seed >> 32));
  write(reg::kMaskSeedLo, static_cast<std::uint32_t>(r.mask_seed)),
      write(reg::kMaskSeedHi, static_cast<std::uint32_t>(r.mask_seed >> 32));
  write(reg::kPairs, r.pairs), write(reg::kStep, r.step_mantissa | r.step_shift << 16);
  for (std::uint32_t j = 0; j < 8; ++j) {
    write(reg::kPairSeedLo + 16 * j, static_cast<std::uint32_t>(r.pair_seed[j])),
        write(reg::kPairSeedHi + 16 * j, static_cast<std::uint32_t>(r.pair_seed[j] >> 32));
    write(reg::kPairCoef + 16 * j, static_cast<std::uint32_t>(r.pair_coef[j]) & 0xff);
  }
  write(reg::kQueueAddr, q.address),
      write(reg::kQueueCount, static_cast<std::uint32_t>(q.commands.size()));
  write(reg::kMemLimit, limit), write(reg::kWatchdog, watchdog), write(reg::kIrqEnable, 3);
}

std::uint64_t compared = 0;
long round_number = 0;
std::uint64_t the_seed = 1;

void fail(const std::string& what) {
  std::printf("FAILED: %s (round %ld: LASTMILE_SEED=%llu faults 1 %ld)\n", what.c_str(),
              round_number, static_cast<unsigned long long>(the_seed), round_number);
  std::exit(1);
}

// Runs a queue on both and compares all that is defined: registers, memory, event counters.
void run_equal(Rtl& rtl, const Queue& q, std::uint32_t limit, bool memory_too,
               const std::string& what) {
  std::vector<std::byte> expected = q.memory;
  npu::Npu model(kHw, expected, 1);
  rtl.axi.load(q.memory);
  const auto both = [&](std::uint32_t o, std::uint32_t v) {
    rtl.write(o, v), model.write_register(o, v);
  };
  registers(both, q, limit, 100000);
  both(reg::kCtrl, 1);
  if (!rtl.wait(30000000)) fail(what + ": no interrupt");
  for (const std::uint32_t r : {reg::kStatus, reg::kIrqStatus, reg::kErrorCode, reg::kErrorCommand,
                                reg::kErrorInfo, reg::kCommand}) {
    ++compared;
    // Answers may still be due after an error; the model's memory answers at once.
    const std::uint32_t defined = r == reg::kStatus ? ~reg::kStatusDraining.mask() : ~0U;
    if ((rtl.read(r) & defined) != model.read_register(r)) {
      fail(what + ": register " + std::to_string(r) + ": " + std::to_string(rtl.read(r)) +
           ", model " + std::to_string(model.read_register(r)) + " (code " +
           std::to_string(rtl.read(reg::kErrorCode)) + "/" +
           std::to_string(model.read_register(reg::kErrorCode)) + ", opcode " +
           std::to_string(q.commands.back().opcode) + ")");
    }
  }
  if (memory_too) {
    compared += expected.size();
    if (!std::ranges::equal(rtl.axi.bytes(), expected)) fail(what + ": memory differs");
    for (std::uint32_t k = 0; k < spec::kCounters; ++k) {
      const auto c = static_cast<spec::Counter>(k);
      if (c >= spec::Counter::cycles_ && c <= spec::Counter::element_cycles_) continue;
      if (rtl.read(reg::kCounter + 8 * k) != static_cast<std::uint32_t>(model.counters()[c]))
        fail(what + ": counter " + std::to_string(k));
    }
  }
  rtl.write(reg::kIrqStatus, 3);
}

}  // namespace

int main(int argc, char** argv) {
  const long rounds = argc > 1 ? std::atol(argv[1]) : 100,
             first = argc > 2 ? std::atol(argv[2]) : 0;
  the_seed = random_command::seed_from_environment(1);
  Rtl rtl(the_seed);
  int kinds[5] = {};
  for (round_number = first; round_number < first + rounds; ++round_number) {
    random_command::Generator g(the_seed * 7919 + static_cast<std::uint64_t>(round_number), kHw);
    rtl.axi.restart({.latency = g.in(1, 50), .stall = g.in(0, 40), .reorder = g.in(0, 2)});
    Queue q = make_queue(g, 3);
    const std::uint32_t kind = g.in(0, 3);
    bool used = true;
    if (kind ==
        0) {  // one field of the last command is changed; only what the model refuses is run
      auto words = spec::encode(q.commands.back());
      words[g.in(0, 35)] ^=
          g.coin() ? 1u << g.in(0, 31) : static_cast<std::uint32_t>(g.in(0, 0x7fffffff));
      q.commands.back() = spec::decode(words);
      q.seal();
      const spec::Descriptor& d = q.commands.back();
      const auto size = static_cast<std::uint32_t>(q.memory.size());
      // the model's verdict on the last command alone; what passes is not run, it may overlap
      // itself
      npu::RegisterFile regs(kHw);
      registers([&](std::uint32_t o, std::uint32_t v) { regs.write(o, v); }, q, size, 0);
      spec::Descriptor resolved;
      used = static_cast<bool>(npu::validate_command(d, regs, kHw, resolved));
      if (used) run_equal(rtl, q, size, true, "malformed");
    } else if (kind == 1) {  // an address the memory does not have
      spec::Descriptor& d = q.commands.back();
      const std::uint32_t which = g.in(0, 5);
      std::uint32_t& address = which == 0   ? d.in_addr
                               : which == 1 ? d.in2_addr
                               : which == 2 ? d.out_addr
                               : which == 3 ? d.w_addr
                               : which == 4 ? d.bias_addr
                                            : d.rq_addr;
      // Far away, or across the end of memory, where only what is read has to exist. What is
      // written would meet the queue there.
      const npu::Region region = npu::regions(d)[which];
      const bool writes = region.write || (which == 3 && d.op() == Opcode::update_);
      if (writes || g.coin()) {
        address += 0x10000000;
      } else {
        const auto lines = static_cast<std::uint32_t>((region.bytes + 63) / 64);
        address = q.size_sealed() - std::min(g.in(1, lines + 1), q.size_sealed() / 64) * 64;
      }
      d.flags &= ~(std::uint32_t{spec::kFlagInBatch} | spec::kFlagIn2Label | spec::kFlagOutBatch);
      q.seal();
      run_equal(rtl, q, 0xffffffff, false, "outside");
    } else {
      q.seal();
      rtl.axi.load(q.memory);
      registers([&](std::uint32_t o, std::uint32_t v) { rtl.write(o, v); }, q,
                static_cast<std::uint32_t>(q.memory.size()), 2000);
      rtl.write(reg::kCtrl, 1);
      for (std::uint32_t i = g.in(0, 3000); i > 0; --i) rtl.cycle();
      if (kind == 2) {  // the memory falls silent
        rtl.axi.silence(true);
        const bool running = rtl.read(reg::kStatus) == 1;
        if (running) {
          if (!rtl.wait(2000000)) fail("silent memory: no interrupt");
          const std::uint32_t code = rtl.read(reg::kErrorCode), info = rtl.read(reg::kErrorInfo);
          // a command may still end, if all it needs is here; then the next one starves
          if (rtl.read(reg::kStatus) != 2 && (code != 11 || info == 0 || info > 13))
            fail("silent memory: code " + std::to_string(code) + " info " + std::to_string(info));
        }
        // Longer than any patience, while the next queue is set up and started.
        rtl.silent_for(g.coin() ? 0 : g.in(1, 20000));
      }
      rtl.write(reg::kCtrl, 2);
      if ((rtl.read(reg::kStatus) & ~reg::kStatusDraining.mask()) != 0 ||
          rtl.read(reg::kErrorCode) != 0)
        fail("reset leaves an error");
      rtl.write(reg::kIrqStatus, 3);
      rtl.wait_for_offered_word();
    }
    if (used) ++kinds[kind];
    // whatever happened: the next queue runs as if nothing had
    if (g.coin()) rtl.write(reg::kCtrl, 2);
    for (std::uint32_t i = g.in(0, 300); i > 0; --i) rtl.cycle();
    Queue next = make_queue(g, 2);
    next.seal();
    run_equal(rtl, next, static_cast<std::uint32_t>(next.memory.size()), true,
              "after kind " + std::to_string(kind));
  }
  std::printf(
      "faults: %ld rounds (%d malformed, %d outside memory, %d silent memory, %d resets), %llu "
      "values equal\n",
      rounds, kinds[0], kinds[1], kinds[2], kinds[3], static_cast<unsigned long long>(compared));
  return 0;
}
