// SPDX-License-Identifier: Apache-2.0
// The tensor core against the C++ model: random CONV2D, DEPTHWISE and POOL commands with random
// memory stalls; memory and event counters must be equal. Read clients answer from a plain memory,
// in order, each at its own pace.
//   run [commands] [first] [stall percent]     LASTMILE_SEED sets the seed
#include <verilated.h>
#if VM_TRACE
#include <verilated_fst_c.h>
#endif

#include <algorithm>
#include <array>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <string>

#include "Vtop.h"
#include "cmodel/npu/npu.hpp"
#include "tests/cmodel/random_command.hpp"

namespace {

using namespace lastmile;
using spec::Counter;
using spec::Descriptor;
using spec::Opcode;

constexpr int kBus = P_BUS_BYTES;
const spec::HardwareParams kHw{.rows = P_ROWS,
                               .cols = P_COLS,
                               .bus_bytes = P_BUS_BYTES,
                               .act_bytes = P_ACT_BYTES,
                               .acc_depth = P_ACC_DEPTH,
                               .rq_lanes = P_RQ_LANES,
                               .training = 1};

constexpr unsigned kClients = 4;  // that read: inputs, weights, parameters, addends

struct Word {
  std::uint32_t address;
  bool last;            // of its request
  std::uint64_t ready;  // cycle from which on it can be answered
};

// What a command works on, and how fast memory is.
struct Work {
  std::vector<std::byte>& memory;
  npu::Counters& counters;
  Rng& rng;
  unsigned stall;    // percent of the cycles
  unsigned latency;  // cycles
  std::array<std::deque<Word>, kClients> queue = {};

  [[nodiscard]] bool busy() { return stall != 0 && rng.below(100) < stall; }
};

class Bench {
 public:
  Bench() : context_(std::make_unique<VerilatedContext>()) {
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
    tick();
    tick();
    top_->rst_ni = 1;
    tick();
  }
  ~Bench() { dump_end(); }

  // Runs one command; returns cycles, 0 on a hang.
  std::uint64_t run(const Descriptor& d, const reference::Registers& r, Work work) {
    set_command(d, r);
    top_->start_i = 1;
    std::uint64_t quiet = 0;
    for (std::uint64_t cycle = 1;; ++cycle) {
      drive_inputs(work, cycle);
      top_->eval();
      bool moved = top_->moving_o != 0;
      for (unsigned c = 0; c < kClients; ++c) {
        if (asks(c)) {
          moved = true;
          if (!take_request(work, c, cycle)) return 0;
        }
        moved |= give_answer(work, c);
      }
      if (top_->wr_valid_o && top_->wr_ready_i) take_write(work);
      count_events(work.counters);
      const bool done = top_->done_o != 0;
      tick();
      top_->start_i = 0;
      if (done) return cycle;
      quiet = moved ? 0 : quiet + 1;
      if (quiet > 5000) {
        std::printf("hangs: engine %u waits\n", top_->waiting_o);
        return 0;
      }
    }
  }

 private:
  void set_command(const Descriptor& d, const reference::Registers& r) {
    const auto words = spec::encode(d);
    for (std::size_t i = 0; i < words.size(); ++i) top_->desc_i[i] = words[i];
    top_->polarity_i = r.polarity;
    top_->dist_i = r.distribution;
    top_->seed_i = r.seed;
    top_->mask_seed_i = r.mask_seed;
  }

  void drive_inputs(Work& w, std::uint64_t cycle) {
    top_->rd_req_ready_i = static_cast<std::uint8_t>(w.busy() ? 0 : 15);
    unsigned valid = 0, last = 0;
    for (unsigned c = 0; c < kClients; ++c) {
      const std::deque<Word>& queue = w.queue[c];
      if (queue.size() > 64) top_->rd_req_ready_i &= static_cast<std::uint8_t>(~(1u << c));
      if (queue.empty()) continue;
      if (queue.front().last) last |= 1u << c;
      if (queue.front().ready > cycle || busy_[c]) continue;
      valid |= 1u << c;
      std::memcpy(reinterpret_cast<std::byte*>(&top_->rd_rsp_data_i) + c * kBus,
                  w.memory.data() + queue.front().address, kBus);
    }
    top_->rd_rsp_valid_i = static_cast<std::uint8_t>(valid);
    top_->rd_rsp_last_i = static_cast<std::uint8_t>(last);
    top_->wr_ready_i = !w.busy();
  }

  [[nodiscard]] bool asks(unsigned c) const {
    return (top_->rd_req_valid_o >> c & 1) != 0 && (top_->rd_req_ready_i >> c & 1) != 0;
  }
  [[nodiscard]] std::uint64_t bytes_asked(unsigned c) const {  // 24 bits of each client
    const auto* words = reinterpret_cast<const std::uint32_t*>(&top_->rd_req_bytes_o);
    std::uint64_t bytes = 0;
    for (unsigned b = 0; b < 24; ++b)
      bytes |= std::uint64_t{words[(c * 24 + b) / 32] >> ((c * 24 + b) % 32) & 1} << b;
    return bytes;
  }
  // False: not in memory.
  [[nodiscard]] bool take_request(Work& w, unsigned c, std::uint64_t cycle) {
    const std::uint32_t address = top_->rd_req_addr_o[c];
    const std::uint64_t bytes = bytes_asked(c);
    if (bytes == 0 || address + bytes > w.memory.size()) {
      std::printf("client %u asks for %llu bytes at %#x\n", c,
                  static_cast<unsigned long long>(bytes), address);
      return false;
    }
    const std::uint64_t last = (address + bytes - 1) / kBus;
    for (std::uint64_t i = address / kBus; i <= last; ++i)
      w.queue[c].push_back({static_cast<std::uint32_t>(i * kBus), i == last, cycle + w.latency});
    return true;
  }
  // True: a word was taken. After each word, and while there is none, the client may pause.
  bool give_answer(Work& w, unsigned c) {
    static constexpr Counter kBytes[kClients] = {
        Counter::act_read_bytes_, Counter::weight_read_bytes_, Counter::param_read_bytes_,
        Counter::act_read_bytes_};
    const bool valid = (top_->rd_rsp_valid_i >> c & 1) != 0;
    const bool taken = valid && (top_->rd_rsp_ready_o >> c & 1) != 0;
    if (taken) {
      w.queue[c].pop_front();
      w.counters[kBytes[c]] += kBus;
      w.counters[Counter::bus_read_beats_] += 1;
    }
    if (taken || !valid) busy_[c] = w.busy();
    return taken;
  }

  void take_write(Work& w) {
    w.counters[Counter::bus_write_beats_] += 1;
    for (unsigned b = 0; b < kBus; ++b) {
      if ((top_->wr_strb_o >> b & 1) == 0) continue;
      w.counters[Counter::act_write_bytes_] += 1;
      w.memory.at(top_->wr_addr_o + b) = reinterpret_cast<const std::byte*>(&top_->wr_data_o)[b];
    }
  }

  void count_events(npu::Counters& counters) const {
    counters[Counter::macs_] += top_->cnt_macs_o;
    counters[Counter::element_ops_] += top_->cnt_ops_o;
    counters[Counter::sram_reads_] += top_->cnt_sram_read_o;
    counters[Counter::sram_writes_] += top_->cnt_sram_writes_o;
    counters[Counter::acc_reads_] += top_->cnt_acc_reads_o;
    counters[Counter::acc_writes_] += top_->cnt_acc_write_o;
    counters[Counter::weight_loads_] += top_->cnt_weight_loads_o;
    counters[Counter::random_words_] += top_->cnt_random_o;
    counters[Counter::perturbed_] += top_->cnt_perturbed_o;
    counters[Counter::clipped_] += top_->cnt_clipped_o;
    counters[Counter::sat_low_] += top_->cnt_sat_low_o;
    counters[Counter::sat_high_] += top_->cnt_sat_high_o;
    counters[Counter::array_cycles_] += top_->cnt_array_active_o;
    counters[Counter::stall_load_] += top_->cnt_stall_load_o;
    counters[Counter::stall_weight_] += top_->cnt_stall_weight_o;
    counters[Counter::stall_drain_] += top_->cnt_stall_drain_o;
    counters[Counter::drain_cycles_] += top_->cnt_drain_active_o;
  }

  void tick() {
    top_->clk_i = 0;
    top_->eval();
    dump();
    top_->clk_i = 1;
    top_->eval();
    dump();
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
  bool busy_[kClients] = {};  // the client's memory pauses
};

void describe(const Descriptor& d) {
  std::printf(
      "op %u flags %#x n %u in %ux%ux%u out %ux%ux%u kernel %ux%u stride %u %u dil %u %u pad %u %u "
      "groups %u cin %u cout %u tile %u %u %u %u pitch %u\n",
      d.opcode, d.flags, d.n, d.in_h, d.in_w, d.in_c, d.out_h, d.out_w, d.out_c, d.kernel_h,
      d.kernel_w, d.stride_h, d.stride_w, d.dilation_h, d.dilation_w, d.pad_top, d.pad_left,
      d.groups, d.cin_group, d.cout_group, d.tile_n, d.tile_h, d.tile_w, d.tile_c, d.row_pitch);
}

// The model runs a queue of this one command in a copy of the memory.
bool model_run(random_command::Case& c, std::vector<std::byte>& memory, npu::Counters& counters) {
  memory = c.memory;
  const std::size_t queue = memory.size();
  memory.resize(queue + spec::kDescBytes);
  const auto words = spec::encode(c.d);
  std::memcpy(memory.data() + queue, words.data(), sizeof words);
  npu::Npu model(kHw, memory, 1);
  namespace reg = spec::reg;
  model.write_register(reg::kQueueAddr, static_cast<std::uint32_t>(queue));
  model.write_register(reg::kQueueCount, 1);
  model.write_register(reg::kPolarity, c.regs.polarity);
  model.write_register(reg::kDistribution, c.regs.distribution);
  model.write_register(reg::kSeedLo, static_cast<std::uint32_t>(c.regs.seed));
  model.write_register(reg::kSeedHi, static_cast<std::uint32_t>(c.regs.seed >> 32));
  model.write_register(reg::kMaskSeedLo, static_cast<std::uint32_t>(c.regs.mask_seed));
  model.write_register(reg::kMaskSeedHi, static_cast<std::uint32_t>(c.regs.mask_seed >> 32));
  model.write_register(reg::kCtrl, 1);
  counters = model.counters();
  if (model.read_register(reg::kErrorCode) != 0) {
    std::printf("model: error %u info %u\n", model.read_register(reg::kErrorCode),
                model.read_register(reg::kErrorInfo));
    return false;
  }
  return true;
}

// Smaller tiles than the compiler's, so that every loop turns.
void shrink_tiles(Descriptor& d, random_command::Generator& g) {
  if (g.coin()) return;
  d.tile_n = g.in(1, d.tile_n);
  d.tile_h = g.in(1, d.tile_h);
  d.tile_w = g.in(1, d.tile_w);
  const bool can_chunk = d.opcode == 1 && d.kernel_h == 1 && d.kernel_w == 1 && d.in_h == 1 &&
                         d.in_w == 1 && d.groups == 1 && !d.has(spec::kFlagPacked);
  if (can_chunk && g.coin()) d.tile_c = g.in(1, std::min(d.tile_c, d.in_c));
}

}  // namespace

int main(int argc, char** argv) {
  const long count = argc > 1 ? std::atol(argv[1]) : 300;
  const long first = argc > 2 ? std::atol(argv[2]) : 0;
  const long stall = argc > 3 ? std::atol(argv[3]) : -1;
  const std::uint64_t seed = random_command::seed_from_environment(1);
  std::printf("seed %llu, %dx%d, bus %d\n", static_cast<unsigned long long>(seed), P_ROWS, P_COLS,
              P_BUS_BYTES);
  Bench bench;
  std::uint64_t cycles = 0, compared = 0;
  const auto begin = std::chrono::steady_clock::now();
  for (long i = first; i < first + count; ++i) {
    random_command::Generator generator(seed * 1000003 + static_cast<std::uint64_t>(i), kHw);
    Rng rng(seed * 77 + static_cast<std::uint64_t>(i));
    const Opcode op = i % 4 == 3   ? Opcode::pool_
                      : i % 4 == 2 ? Opcode::depthwise_
                                   : Opcode::conv2d_;
    random_command::Case c = generator.command(op);
    shrink_tiles(c.d, generator);
    std::vector<std::byte> expected;
    npu::Counters model, rtl;
    if (!model_run(c, expected, model)) {
      describe(c.d);
      return 1;
    }
    const unsigned percent = stall >= 0   ? static_cast<unsigned>(stall)
                             : i % 3 == 0 ? 0
                                          : static_cast<unsigned>(rng.below(70));
    std::vector<std::byte> memory = c.memory;
    memory.resize(memory.size() + 64);
    const unsigned latency = 1 + static_cast<unsigned>(rng.below(40));
    const std::uint64_t used = bench.run(c.d, c.regs, {memory, rtl, rng, percent, latency});
    cycles += used;
    bool ok = used != 0;
    for (std::size_t a = 0; ok && a < c.memory.size(); ++a) {
      ++compared;
      if (memory[a] != expected[a]) {
        std::printf("byte %#zx (output + %#zx): %d, model %d\n", a, a - c.d.out_addr,
                    static_cast<int>(memory[a]), static_cast<int>(expected[a]));
        ok = false;
      }
    }
    for (std::size_t k = 0; ok && k < spec::kCounters; ++k) {
      const auto which = static_cast<Counter>(k);
      if (which == Counter::commands_ || which == Counter::cmd_bytes_ ||
          (which >= Counter::cycles_ && which <= Counter::element_cycles_))
        continue;
      const std::uint64_t want =
          model[which] - (which == Counter::bus_read_beats_ ? spec::kDescBytes / kBus : 0);
      if (rtl[which] != want) {
        std::printf("counter %zu: %llu, model %llu\n", k,
                    static_cast<unsigned long long>(rtl[which]),
                    static_cast<unsigned long long>(want));
        ok = false;
      }
    }
    if (!ok) {
      std::printf("command %ld differs: LASTMILE_SEED=%llu run 1 %ld %u\n", i,
                  static_cast<unsigned long long>(seed), i, percent);
      describe(c.d);
      return 1;
    }
  }
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  std::printf("%ld commands, %llu cycles, %llu bytes compared, 0 differences, %.2f Mcycle/s\n",
              count, static_cast<unsigned long long>(cycles),
              static_cast<unsigned long long>(compared),
              static_cast<double>(cycles) / seconds / 1e6);
  return 0;
}
