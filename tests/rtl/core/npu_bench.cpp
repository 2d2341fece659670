// SPDX-License-Identifier: Apache-2.0
// The whole NPU against the C++ model: queues of random commands through registers and AXI, with
// random stalls; memory, registers and event counters must be equal.
//   run [queues] [first] [stall percent]     LASTMILE_SEED sets the seed, TRACE a waveform file
#include <verilated.h>
#if VM_TRACE
#include <verilated_fst_c.h>
#endif

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <span>
#include <string>

#include "Vtop.h"
#include "cmodel/npu/npu.hpp"
#include "tests/cmodel/random_command.hpp"
#include "tests/rtl/core/axi_memory.hpp"

namespace {

using namespace lastmile;
using spec::Counter;
using spec::Opcode;
namespace reg = spec::reg;

const spec::HardwareParams kHw{.rows = P_ROWS,
                               .cols = P_COLS,
                               .bus_bytes = P_BUS_BYTES,
                               .act_bytes = P_ACT_BYTES,
                               .acc_depth = P_ACC_DEPTH,
                               .rq_lanes = P_RQ_LANES,
                               .training = 1};

class Bench {
 public:
  explicit Bench(std::uint64_t seed) : context_(std::make_unique<VerilatedContext>()), axi(seed) {
    context_->traceEverOn(VM_TRACE != 0);
    top_ = std::make_unique<Vtop>(context_.get());
#if VM_TRACE
    if (const char* file = std::getenv("TRACE")) {
      trace_ = std::make_unique<VerilatedFstC>();
      top_->trace(trace_.get(), 99);
      trace_->open(file);
    }
#endif
    top_->rst_ni = 0;
    cycle();
    cycle();
    top_->rst_ni = 1;
    cycle();
  }
  ~Bench() { dump_end(); }

  void write(std::uint32_t offset, std::uint32_t value) {
    top_->s_axil_awvalid_i = top_->s_axil_wvalid_i = 1;
    top_->s_axil_awaddr_i = static_cast<std::uint16_t>(offset);
    top_->s_axil_wdata_i = value;
    top_->s_axil_wstrb_i = 15;
    top_->s_axil_bready_i = 1;
    for (bool aw = false, w = false, b = false; !(aw && w && b);) {
      top_->eval();
      const bool take_aw = top_->s_axil_awvalid_i && top_->s_axil_awready_o;
      const bool take_w = top_->s_axil_wvalid_i && top_->s_axil_wready_o;
      b = b || top_->s_axil_bvalid_o;
      cycle();
      if (take_aw) aw = true, top_->s_axil_awvalid_i = 0;
      if (take_w) w = true, top_->s_axil_wvalid_i = 0;
    }
    top_->s_axil_bready_i = 0;
  }
  std::uint32_t read(std::uint32_t offset) {
    top_->s_axil_arvalid_i = 1;
    top_->s_axil_araddr_i = static_cast<std::uint16_t>(offset);
    top_->s_axil_rready_i = 1;
    for (;;) {
      top_->eval();
      const bool take = top_->s_axil_arvalid_i && top_->s_axil_arready_o;
      const bool answer = top_->s_axil_rvalid_o;
      const std::uint32_t value = top_->s_axil_rdata_o;
      cycle();
      if (take) top_->s_axil_arvalid_i = 0;
      if (answer) {
        top_->s_axil_rready_i = 0;
        return value;
      }
    }
  }
  bool wait(std::uint64_t most) {
    for (std::uint64_t i = 0; i < most; ++i) {
      if (top_->irq_o) return true;
      cycle();
    }
    return false;
  }

 private:
  void cycle() {
    axi.drive(*top_);
    top_->clk_i = 0;
    top_->eval();
    axi.sample(*top_);
    dump();
    top_->clk_i = 1;
    top_->eval();
    dump();
    ++cycles;
  }

  std::unique_ptr<VerilatedContext> context_;
  std::unique_ptr<Vtop> top_;
#if VM_TRACE
  std::unique_ptr<VerilatedFstC> trace_;
  std::uint64_t time_ = 0;
  void dump() {
    if (trace_) trace_->dump(time_++);
  }
  void dump_end() {
    if (trace_) trace_->close();
  }
#else
  void dump() {}
  void dump_end() {}
#endif

 public:
  bench::AxiMemory<Vtop, P_BUS_BYTES> axi;
  std::uint64_t cycles = 0;
};

template <class Device>
void registers(Device&& write, const reference::Registers& r) {
  write(reg::kPolarity, r.polarity);
  write(reg::kDistribution, r.distribution);
  write(reg::kSeedLo, static_cast<std::uint32_t>(r.seed));
  write(reg::kSeedHi, static_cast<std::uint32_t>(r.seed >> 32));
  write(reg::kMaskSeedLo, static_cast<std::uint32_t>(r.mask_seed));
  write(reg::kMaskSeedHi, static_cast<std::uint32_t>(r.mask_seed >> 32));
  write(reg::kPairs, r.pairs);
  write(reg::kStep, r.step_mantissa | r.step_shift << 16);
  for (std::uint32_t j = 0; j < 8; ++j) {
    write(reg::kPairSeedLo + 16 * j, static_cast<std::uint32_t>(r.pair_seed[j]));
    write(reg::kPairSeedHi + 16 * j, static_cast<std::uint32_t>(r.pair_seed[j] >> 32));
    write(reg::kPairCoef + 16 * j, static_cast<std::uint32_t>(r.pair_coef[j]) & 0xff);
  }
}

// Commands of several cases in one memory: their addresses move by where the case's memory begins.
struct Queue {
  std::vector<std::byte> memory;
  reference::Registers regs;
  std::uint32_t address = 0, count = 0;
  bool has_loss =
      false;  // the registers of the last LOSS outlive a queue; the model of each queue is new
};

Queue make_queue(std::uint64_t seed, unsigned opcodes) {
  random_command::Generator g(seed, kHw);
  Queue q;
  std::vector<spec::Descriptor> commands;
  const std::uint32_t count = g.in(1, 5);
  while (commands.size() < count) {
    const std::uint32_t op = g.in(1, random_command::kLastOpcode);
    if ((opcodes >> op & 1) == 0) continue;
    random_command::Case c = g.command(static_cast<Opcode>(op));
    const auto base = static_cast<std::uint32_t>(q.memory.size());
    for (std::uint32_t* a :
         {&c.d.in_addr, &c.d.in2_addr, &c.d.out_addr, &c.d.w_addr, &c.d.bias_addr, &c.d.rq_addr})
      *a += base;
    q.memory.insert(q.memory.end(), c.memory.begin(), c.memory.end());
    q.memory.resize((q.memory.size() + 63) / 64 * 64);
    commands.push_back(c.d);
    q.has_loss = q.has_loss || op == 6;
    q.regs = c.regs;
  }
  q.address = static_cast<std::uint32_t>(q.memory.size());
  q.count = count;
  for (const auto& d : commands) {
    const auto words = spec::encode(d);
    const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
    q.memory.insert(q.memory.end(), bytes, bytes + sizeof words);
  }
  q.memory.resize(q.memory.size() + 64);
  return q;
}

}  // namespace

int main(int argc, char** argv) {
  const long count = argc > 1 ? std::atol(argv[1]) : 100;
  const long first = argc > 2 ? std::atol(argv[2]) : 0;
  const long stall = argc > 3 ? std::atol(argv[3]) : -1;
  const char* ops = std::getenv("OPCODES");
  const unsigned opcodes = ops != nullptr ? static_cast<unsigned>(std::strtoul(ops, nullptr, 0))
                                          : random_command::kEveryOpcode;
  const std::uint64_t seed = random_command::seed_from_environment(1);
  std::printf("seed %llu, %dx%d, bus %d\n", static_cast<unsigned long long>(seed), P_ROWS, P_COLS,
              P_BUS_BYTES);
  Bench rtl(seed);
  std::uint64_t compared = 0, commands = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (long i = first; i < first + count; ++i) {
    const std::uint64_t stream = seed * 1000003 + static_cast<std::uint64_t>(i);
    Queue q = make_queue(stream, opcodes);
    Rng rng(stream + 7);
    sim::MemoryOptions memory;
    memory.stall = stall >= 0   ? static_cast<std::uint32_t>(stall)
                   : i % 3 == 0 ? 0
                                : static_cast<std::uint32_t>(rng.below(60));
    memory.latency = 1 + static_cast<std::uint32_t>(rng.below(60));
    memory.reorder = static_cast<std::uint32_t>(rng.below(3));
    rtl.axi.restart(memory);
    std::vector<std::byte> expected = q.memory;
    npu::Npu model(kHw, expected, 1);
    rtl.axi.load(q.memory);
    const auto both = [&](std::uint32_t offset, std::uint32_t value) {
      rtl.write(offset, value);
      model.write_register(offset, value);
    };
    registers(both, q.regs);
    both(reg::kQueueAddr, q.address);
    both(reg::kQueueCount, q.count);
    both(reg::kMemLimit, static_cast<std::uint32_t>(q.memory.size()));
    both(reg::kIrqEnable, 3);
    both(reg::kCtrl, 1);
    bool ok = true;
    if (!rtl.wait(20000000)) {
      std::printf("no interrupt; command %u\n", rtl.read(reg::kCommand));
      ok = false;
    }
    for (std::uint32_t r :
         {reg::kStatus, reg::kErrorCode, reg::kErrorCommand, reg::kErrorInfo, reg::kCommand,
          reg::kLossLo, reg::kLossHi, reg::kCorrect, reg::kExamples}) {
      if (!ok) break;
      if (r >= reg::kLossLo && r <= reg::kExamples && !q.has_loss) continue;
      const std::uint32_t a = rtl.read(r), b = model.read_register(r);
      if (a != b) std::printf("register %#x: %#x, model %#x\n", r, a, b), ok = false;
    }
    const std::span<const std::byte> found = rtl.axi.bytes();
    for (std::size_t a = 0; ok && a < expected.size(); ++a) {
      ++compared;
      if (found[a] != expected[a]) {
        std::printf("byte %#zx: %d, model %d\n", a, static_cast<int>(found[a]),
                    static_cast<int>(expected[a]));
        ok = false;
      }
    }
    for (std::uint32_t k = 0; ok && k < spec::kCounters; ++k) {
      const auto which = static_cast<Counter>(k);
      if (which >= Counter::cycles_ && which <= Counter::element_cycles_) continue;
      const std::uint64_t v = rtl.read(reg::kCounter + 8 * k) |
                              std::uint64_t{rtl.read(reg::kCounter + 8 * k + 4)} << 32;
      if (v != model.counters()[which]) {
        std::printf("counter %u: %llu, model %llu\n", k, static_cast<unsigned long long>(v),
                    static_cast<unsigned long long>(model.counters()[which]));
        ok = false;
      }
    }
    rtl.write(reg::kIrqStatus, 3);
    model.write_register(reg::kIrqStatus, 3);
    commands += q.count;
    if (!ok) {
      std::printf("queue %ld differs: LASTMILE_SEED=%llu run 1 %ld %u\n", i,
                  static_cast<unsigned long long>(seed), i, memory.stall);
      for (std::uint32_t k = 0; k < q.count; ++k) {
        spec::DescriptorWords words;
        std::memcpy(words.data(), q.memory.data() + q.address + k * spec::kDescBytes, sizeof words);
        const auto d = spec::decode(words);
        std::printf(
            "  %u: op %u flags %#x n %u in %ux%ux%u out %ux%ux%u kernel %ux%u in %#x in2 %#x out "
            "%#x w %#x\n",
            k, d.opcode, d.flags, d.n, d.in_h, d.in_w, d.in_c, d.out_h, d.out_w, d.out_c,
            d.kernel_h, d.kernel_w, d.in_addr, d.in2_addr, d.out_addr, d.w_addr);
      }
      return 1;
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf(
      "%ld queues, %llu commands, %llu cycles, %llu bytes compared, 0 differences, %.2f Mcycle/s\n",
      count, static_cast<unsigned long long>(commands), static_cast<unsigned long long>(rtl.cycles),
      static_cast<unsigned long long>(compared), static_cast<double>(rtl.cycles) / seconds / 1e6);
  return 0;
}
