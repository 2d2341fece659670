// SPDX-License-Identifier: Apache-2.0
// The lockstep device on the Verilated NPU: random queues under stalls, every way a queue can end
// in an error, recovery, and that the comparison itself can fail. Prints `N passed, N failed`.
//   lockstep-test [queues [ARRAY]]      ARRAY: rows=8,cols=16,...
// LASTMILE_SEED: of the random queues
#include <fmt/format.h>

#include <cstdlib>
#include <exception>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "cmodel/command/validate.hpp"
#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "tests/cmodel/limits.hpp"
#include "tests/sim/array.hpp"
#include "tests/sim/functional_bins.hpp"
#include "tests/sim/random_queue.hpp"

extern "C" lastmile::Device* lastmile_open_device(const lastmile::DeviceOptions& options);

namespace {

using namespace lastmile;
using random_queue::make_queue;
using random_queue::Outcome;
using random_queue::Queue;
using spec::Descriptor;

constexpr std::uint64_t kMemory = 4 << 20;
constexpr unsigned kAllOpcodes = random_command::kEveryOpcode;
constexpr unsigned kForwardOpcodes = 0x3e;  // deterministic time for watchdog and bus tests

spec::HardwareParams hardware;  // set once, by main
std::unique_ptr<functional::Bins> bins;

// Runs a queue and takes note of what it was and how it ended.
Outcome run(Device& device, const Queue& q) {
  const Outcome o = random_queue::run(device);
  bins->queue(q.commands.size());
  bins->outcome(o.code, o.info);
  for (std::size_t i = 0; i < q.commands.size() && (o.code == spec::Error::none_ || i < o.command);
       ++i) {
    bins->command(q.commands[i], q.regs);
    if (q.commands[i].opcode == 0) break;
  }
  return o;
}

std::unique_ptr<Device> open(const std::string& extra) {
  DeviceOptions o;
  o.hardware = hardware;
  o.memory_bytes = kMemory;
  o.extra = "max_cycles=3000000," + extra;  // a queue that never ends fails its check

  return std::unique_ptr<Device>(lastmile_open_device(o));
}

int passed = 0, failed = 0;
void check(const std::string& name, const std::function<void()>& body) {
  try {
    body();
    ++passed;
  } catch (const std::exception& e) {
    ++failed;
    fmt::print("FAIL {}: {}\n", name, e.what());
  }
}
void require(bool condition, const std::string& what) {
  if (!condition) throw std::runtime_error(what);
}
std::string text(const Outcome& o) {
  return fmt::format("interrupt {}, error {} in command {}, info {}", o.interrupt,
                     spec::to_string(o.code), o.command, o.info);
}

// Random queues, each compared by the device; a new one begins with whatever the one before left.
void random_queues(std::uint64_t seed, int count, const std::string& extra) {
  const auto device = open(extra);
  for (int i = 0; i < count; ++i) {
    const std::uint64_t stream = seed * 1000003 + static_cast<std::uint64_t>(i);
    const Queue q = make_queue(stream, hardware, kAllOpcodes);
    require(q.memory.size() <= kMemory, "queue larger than the memory");
    device->annotate(fmt::format("random queue {} of seed {}", i, seed));
    random_queue::load(*device, q);
    const Outcome o = run(*device, q);
    require(o.interrupt && o.code == spec::Error::none_, text(o));
  }
}

// A healthy queue, to show that the device works again.
void works(Device& device) {
  const Queue q = make_queue(5, hardware, kAllOpcodes);
  random_queue::load(device, q);
  const Outcome o = run(device, q);
  require(o.interrupt && o.code == spec::Error::none_, "after the error: " + text(o));
}

struct Malformed {
  const char* name;
  unsigned opcodes;
  spec::Error code;
  std::function<void(Descriptor&)> spoil;
};
const Malformed kMalformed[] = {
    {"unknown opcode", kAllOpcodes, spec::Error::opcode_, [](Descriptor& d) { d.opcode = 99; }},
    {"zero batch", 0x3e, spec::Error::field_, [](Descriptor& d) { d.n = 0; }},
    {"zero channels", kAllOpcodes, spec::Error::field_, [](Descriptor& d) { d.in_c = 0; }},
    {"zero stride", 0x02, spec::Error::field_, [](Descriptor& d) { d.stride_h = 0; }},
    {"unknown flag", kAllOpcodes, spec::Error::shape_, [](Descriptor& d) { d.flags |= 1U << 20; }},
    {"groups that do not divide", 0x02, spec::Error::shape_, [](Descriptor& d) { d.groups += 1; }},
    {"K too large", 0x02, spec::Error::shape_,
     [](Descriptor& d) {
       d.kernel_h = 300;
       d.kernel_w = 300;
     }},
    {"pitch below a row", 0x80, spec::Error::shape_, [](Descriptor& d) { d.in_c = 60000; }},
    {"tile above the dimension", 0x08, spec::Error::tile_,
     [](Descriptor& d) { d.tile_n = d.n + 1; }},
    {"tile above the scratchpad", 0x08, spec::Error::tile_,
     [](Descriptor& d) { d.row_pitch = 16000000; }},
    {"misaligned weights", 0x02, spec::Error::address_, [](Descriptor& d) { d.w_addr += 2; }},
    {"misaligned biases", 0x02, spec::Error::address_,
     [](Descriptor& d) {
       d.flags |= spec::kFlagHasBias;
       d.bias_addr += 32;
     }},
    {"misaligned requantization", 0x02, spec::Error::address_,
     [](Descriptor& d) {
       d.flags &= ~std::uint32_t{spec::kFlagOut32};  // which has no table
       d.rq_addr += 8;
     }},
    {"packed with dilation", 0x02, spec::Error::shape_,
     [](Descriptor& d) {
       d.flags |= spec::kFlagPacked;
       d.dilation_w = 2;
     }},
    {"output outside memory", 0x3e, spec::Error::address_,
     [](Descriptor& d) { d.out_addr = 0xfffffff0; }},
};

void malformed(const Malformed& m, std::uint64_t seed) {
  const auto device = open("stall=20");
  Queue q = make_queue(seed, hardware, m.opcodes, 4);
  std::erase_if(q.commands, [](const Descriptor& d) { return d.opcode == 0; });  // END
  const std::size_t at = seed % q.commands.size();
  m.spoil(q.commands[at]);
  q.encode();
  random_queue::load(*device, q);
  const Outcome o = run(*device, q);  // the device compares code, command and info
  require(o.interrupt && o.code == m.code && o.command == at,
          fmt::format("{}, expected error {} in command {}", text(o), spec::to_string(m.code), at));
  device->write_register(reference::spec::reg::kCtrl, 2);
  works(*device);
}

// Descriptors and registers with random changes, of which the model says that they are refused:
// anything it accepts might overwrite its own input, where no order is promised.
void spoiled(std::uint64_t seed, int count) {
  namespace reg = spec::reg;
  Rng rng(seed, 77);
  const auto device = open("stall=10,latency=3");
  for (int i = 0; i < count;) {
    Queue q = make_queue(rng.next(), hardware, kAllOpcodes, 3);
    const std::size_t at = rng.below(q.commands.size());
    spec::DescriptorWords words = spec::encode(q.commands[at]);
    for (std::uint64_t changes = rng.below(3); changes != UINT64_MAX; --changes) {
      std::uint32_t& word = words[rng.below(37)];
      switch (rng.below(4)) {
        case 0:
          word = static_cast<std::uint32_t>(rng.next());
          break;
        case 1:
          word ^= 1U << rng.below(32);
          break;
        case 2:
          word = 0;
          break;
        default:
          word += static_cast<std::uint32_t>(rng.below(5)) - 2;
      }
    }
    if (rng.below(8) == 0) q.regs.polarity = 3;
    if (rng.below(8) == 0) q.regs.pairs = 9;
    if (rng.below(8) == 0) q.regs.step_shift = 17;
    if (rng.below(8) == 0) q.regs.distribution = 2;
    q.commands[at] = spec::decode(words);
    q.encode();
    npu::RegisterFile regs(hardware);
    regs.write(reg::kPolarity, q.regs.polarity);
    regs.write(reg::kDistribution, q.regs.distribution);
    regs.write(reg::kPairs, q.regs.pairs);
    regs.write(reg::kStep, q.regs.step_mantissa | q.regs.step_shift << 16);
    regs.write(reg::kBatchAddr, q.batch_base);
    regs.write(reg::kLabelAddr, q.label_base);
    regs.write(reg::kOutAddr, q.out_base);
    regs.write(reg::kMemLimit, static_cast<std::uint32_t>(q.memory.size()));
    npu::Fault fault;
    std::size_t first = 0;
    for (; first < q.commands.size() && !fault; ++first) {
      Descriptor resolved;
      fault = npu::validate_command(q.commands[first], regs, hardware, resolved);
      if (!fault && (first == at || q.commands[first].opcode == 0)) break;
    }
    if (!fault) continue;
    ++i;
    random_queue::load(*device, q);
    const Outcome o = run(*device, q);
    require(o.interrupt && o.code == fault.code && o.info == fault.info && o.command == first - 1,
            fmt::format("{}, expected error {} in command {}, info {}", text(o),
                        spec::to_string(fault.code), first - 1, fault.info));
    device->write_register(reg::kCtrl, 2);
  }
  works(*device);
}

// Commands one step beyond each limit of the contract.
void limits_refused() {
  namespace reg = spec::reg;
  const auto device = open("stall=10");
  limits::for_each(hardware, [&](const std::string& name, const limits::Command& c,
                                 spec::Error code, std::uint32_t info) {
    if (code == spec::Error::none_) return;
    const spec::DescriptorWords words = spec::encode(c.d);
    device->annotate(name);
    device->write_memory(0, std::as_bytes(std::span(words)));
    device->write_register(reg::kPolarity, c.polarity);
    device->write_register(reg::kDistribution, c.distribution);
    device->write_register(reg::kPairs, c.pairs);
    device->write_register(reg::kStep, c.step);
    device->write_register(reg::kBatchAddr, c.batch);
    device->write_register(reg::kLabelAddr, c.label);
    device->write_register(reg::kOutAddr, c.out);
    device->write_register(reg::kQueueAddr, 0);
    device->write_register(reg::kQueueCount, 1);
    device->write_register(reg::kMemLimit, c.memory);
    device->write_register(reg::kIrqEnable, 3);
    const Outcome o = random_queue::run(*device);
    bins->outcome(o.code, o.info);
    require(o.interrupt && o.code == code && o.info == info,
            fmt::format("{}: {}, expected error {}, info {}", name, text(o), spec::to_string(code),
                        info));
    device->write_register(reg::kCtrl, 2);
  });
  device->annotate("");
  works(*device);
}

// Each kind of region at the very end of memory: the command runs, and is refused with a byte less
// of memory, with the region one step further or between two places where it may begin.
void regions_at_the_end(std::uint64_t seed) {
  namespace reg = spec::reg;
  using spec::Field;
  constexpr Field kFields[] = {Field::in_addr, Field::in2_addr,  Field::out_addr,
                               Field::w_addr,  Field::bias_addr, Field::rq_addr};
  const auto device = open("stall=10");
  std::map<std::tuple<std::uint32_t, Field, std::uint32_t>, int> seen;  // opcode, field, alignment
  for (std::uint64_t s = 0; s < 280; ++s) {
    const Queue fresh = make_queue(seed * 1000 + s, hardware, 2U << s % 7, 1);
    for (const Field f : kFields) {
      Queue q = fresh;
      Descriptor& d = q.commands[0];
      const std::uint32_t bytes = limits::region_bytes(d, f), align = limits::region_align(d, f);
      if (bytes == 0 || seen[{d.opcode, f, align}]++ >= 2) continue;
      const std::uint32_t base = f == Field::in_addr && d.has(spec::kFlagInBatch)     ? q.batch_base
                                 : f == Field::in2_addr && d.has(spec::kFlagIn2Label) ? q.label_base
                                 : f == Field::out_addr && d.has(spec::kFlagOutBatch) ? q.out_base
                                 : f == Field::w_addr && d.has(spec::kFlagWBatch)     ? q.batch_base
                                                                                      : 0;
      const std::size_t from = limits::address(d, f) + base;
      std::size_t place = (q.memory.size() + 63) / 64 * 64 + align;
      if (align == 64) place -= 64;
      std::vector<std::byte> data(q.memory.begin() + static_cast<std::ptrdiff_t>(from),
                                  q.memory.begin() + static_cast<std::ptrdiff_t>(from + bytes));
      const auto attempt = [&](std::uint32_t shift, std::uint32_t limit, bool fits) {
        limits::address(d, f) = static_cast<std::uint32_t>(place) - base + shift;
        q.encode();
        q.memory.resize(place);
        q.memory.insert(q.memory.end(), data.begin(), data.end());
        random_queue::load(*device, q);
        device->write_register(reg::kMemLimit, limit);
        const Outcome o = run(*device, q);
        const bool good =
            fits ? o.code == spec::Error::none_
                 : o.code == spec::Error::address_ && o.info == static_cast<std::uint32_t>(f);
        require(o.interrupt && good,
                fmt::format("opcode {} field {}, {} bytes, {} further, {} of memory: {}", d.opcode,
                            static_cast<int>(f), bytes, shift,
                            limit - static_cast<std::uint32_t>(place), text(o)));
        if (!fits) device->write_register(reg::kCtrl, 2);
      };
      const auto end = static_cast<std::uint32_t>(place) + bytes;
      attempt(0, end, true);
      attempt(0, end - 1, false);
      attempt(align, end, false);
      if (align > 1) attempt(align / 2, end + 64, false);
    }
  }
  // CONV2D 8, DEPTHWISE 8, POOL 2, ADD 3, SOFTMAX 2, LOSS 5, UPDATE 2
  require(seen.size() == 30, fmt::format("{} kinds of regions", seen.size()));
  works(*device);
}

// Tiles of exactly ACC_DEPTH positions, whose rows are as far apart as the scratchpad allows.
void full_tiles(std::uint64_t seed) {
  const auto depth = static_cast<std::uint32_t>(hardware.acc_depth);
  const auto bytes = static_cast<std::uint32_t>(hardware.act_bytes);
  const auto device = open("stall=10");
  int found = 0;
  for (std::uint64_t s = 0; s < 3000 && found < 6; ++s) {
    Queue q = make_queue(seed * 10000 + s, hardware, 0x06, 1);
    Descriptor& d = q.commands[0];
    if (d.has(spec::kFlagPacked) || d.tile_c != d.in_c) continue;
    for (d.tile_n = 1; d.tile_n <= d.n; ++d.tile_n) {
      for (d.tile_h = 1; d.tile_h <= d.out_h; ++d.tile_h) {
        d.tile_w = depth / (d.tile_n * d.tile_h);
        if (d.tile_n * d.tile_h * d.tile_w != depth || d.tile_w > d.out_w) continue;
        const auto rows = static_cast<std::uint32_t>(
            npu::region_extent(d.tile_h, d.stride_h, d.kernel_h, d.dilation_h));
        const auto columns = static_cast<std::uint32_t>(
            npu::region_extent(d.tile_w, d.stride_w, d.kernel_w, d.dilation_w));
        d.row_pitch = bytes / (d.tile_n * rows);
        if (d.row_pitch < columns * d.tile_c) continue;
        q.encode();
        random_queue::load(*device, q);
        const Outcome o = run(*device, q);
        require(o.interrupt && o.code == spec::Error::none_,
                fmt::format("queue {}: {}", seed * 10000 + s, text(o)));
        ++found;
      }
    }
  }
  require(found > 0 || depth > 256, "no command with so many outputs");
  works(*device);
}

// Queues that are refused as such.
void bad_queues() {
  namespace reg = spec::reg;
  const auto device = open("stall=10");
  const Queue q = make_queue(9, hardware, kAllOpcodes);
  const auto size = static_cast<std::uint32_t>(q.memory.size());
  const auto end =
      q.address + static_cast<std::uint32_t>(q.commands.size()) * std::uint32_t{spec::kDescBytes};
  for (const auto& [offset, value] : {std::pair{reg::kQueueAddr, q.address + 4},
                                      {reg::kQueueAddr, size - 64},
                                      {reg::kQueueCount, 0U},
                                      {reg::kQueueCount, 0x10000000U},
                                      {reg::kQueueCount, 0x15555556U},  // 2^36 + 128 bytes
                                      {reg::kMemLimit, end - 1},
                                      {reg::kMemLimit, q.address + 64}}) {
    random_queue::load(*device, q);
    device->write_register(offset, value);
    const Outcome o = run(*device, q);
    require(o.interrupt && o.code == spec::Error::queue_ && o.command == 0, text(o));
    device->write_register(reg::kCtrl, 2);
  }
  random_queue::load(*device, q);
  device->write_register(reg::kMemLimit, end);  // just fits
  const Outcome o = run(*device, q);
  require(o.interrupt && o.code == spec::Error::none_, text(o));
  works(*device);
}

// Every register: what is there after reset, and what stays of what is written.
void registers(std::uint64_t seed) {
  namespace reg = spec::reg;
  Rng rng(seed, 78);
  const auto device = open("stall=10");
  for (int round = 0; round < 8; ++round) {
    for (std::uint32_t offset = 0; offset < 0x400; offset += 4)  // the device compares
      static_cast<void>(device->read_register(offset));
    for (std::uint32_t offset = 0; offset < 0x200; offset += 4)
      if (offset != reg::kCtrl)
        device->write_register(offset, static_cast<std::uint32_t>(rng.next()));
  }
  device->write_register(reg::kMemLimit, UINT32_MAX);
  works(*device);
}

// The interrupt line follows status and enable bits; a bit is cleared by writing one.
void interrupts() {
  namespace reg = spec::reg;
  const auto device = open("stall=10");
  for (const bool good : {true, false}) {
    Queue q = make_queue(11, hardware, kAllOpcodes, 2);
    if (!good) q.commands[0].opcode = 99;
    q.encode();
    random_queue::load(*device, q);
    const std::uint32_t bit = good ? 1 : 2;
    device->write_register(reg::kIrqEnable, 3 - bit);
    device->write_register(reg::kCtrl, 1);
    require(!device->wait_interrupt(), "interrupt that is not enabled");
    require(device->read_register(reg::kIrqStatus) == bit, "IRQ_STATUS at the end");
    device->write_register(reg::kIrqEnable, bit);
    require(device->wait_interrupt(), "enabled later, but no interrupt");
    device->write_register(reg::kIrqStatus, 3 - bit);
    require(device->wait_interrupt(), "cleared by the other bit");
    device->write_register(reg::kIrqStatus, bit);
    require(!device->wait_interrupt(), "cleared, but still there");
    device->write_register(reg::kCtrl, 2);
  }
  works(*device);
}

// A fault of the memory in burst `n`: the queue ends with `code` and the device recovers. False if
// the queue has fewer bursts.
bool fault(const std::string& kind, std::uint64_t n, spec::Error code, std::uint64_t seed) {
  namespace reg = spec::reg;
  const auto device = open(fmt::format("stall=10,reorder=1,{}={}", kind, n));
  const Queue q = make_queue(seed, hardware, kAllOpcodes);
  random_queue::load(*device, q);
  device->write_register(reg::kWatchdog, 3000);
  const Outcome o = run(*device, q);
  if (o.code == spec::Error::none_) return false;
  require(o.interrupt && o.code == code && o.info != 0 && o.info <= 13, text(o));
  // Answers may still be due: a queue that starts now waits for them.
  const std::uint32_t defined = ~reg::kStatusDraining.mask();
  require((device->read_register(reg::kStatus) & defined) == 4, "STATUS is not error");
  device->write_register(reg::kCtrl, 2);
  require((device->read_register(reg::kStatus) & defined) == 0, "STATUS after soft reset");
  // Until then the memory is not the host's.
  for (int i = 0; reg::kStatusDraining.is_set(device->read_register(reg::kStatus)); ++i)
    require(i < 10000, "the bus never gets quiet");
  works(*device);
  return true;
}
void faults(const std::string& kind, spec::Error code) {
  int struck = 0;
  for (std::uint64_t seed = 1; seed <= 6; ++seed)
    for (const std::uint64_t n : {1U, 2U, 7U, 40U, 200U})
      struck += fault(kind, n, code, seed) ? 1 : 0;
  require(struck >= 6, fmt::format("only {} faults struck", struck));
}

// A queue that is given too few cycles: the message names the command that runs.
void names_the_command() {
  Queue q = make_queue(3, hardware, kForwardOpcodes);
  const auto device = open("stall=10,max_cycles=200");
  random_queue::load(*device, q);
  const std::string name =
      fmt::format("command 0 ({}): no end",
                  spec::to_string(static_cast<spec::Opcode>(q.commands.front().opcode)));
  try {
    static_cast<void>(run(*device, q));
  } catch (const Error& e) {
    require(std::string(e.what()).find(name) != std::string::npos, e.what());
    return;
  }
  require(false, "it ended");
}

// An inverted bit in a write: the comparison must see it.
void catches(std::uint64_t beat) {
  const auto device = open(fmt::format("stall=10,flip={}", beat));
  const Queue q = make_queue(3, hardware, kForwardOpcodes);
  random_queue::load(*device, q);
  try {
    static_cast<void>(run(*device, q));
  } catch (const Error& e) {
    require(e.kind() == ErrorKind::mismatch, e.what());
    return;
  }
  throw std::runtime_error("no difference was found");
}

}  // namespace

int main(int argc, char** argv) {
  const int queues = argc > 1 ? std::atoi(argv[1]) : 25;
  if (argc > 2) hardware = checks::parse_array(argv[2]);
  const std::uint64_t seed = random_command::seed_from_environment(1);
  bins = std::make_unique<functional::Bins>(hardware);
  fmt::print("seed {}\n", seed);
  int variant = 0;
  for (const char* extra :
       {"stall=30,seed=1,rand_reset=11,busy_writes=7", "stall=0,latency=1,rand_reset=12",
        "stall=10,latency=60,reorder=1,rand_reset=13", "stall=50,reorder=2,seed=3,rand_reset=14",
        "bandwidth=4,latency=5,reorder=2,rand_reset=15,busy_writes=8",
        "bandwidth=1,latency=73,reorder=2,rand_reset=16"}) {
    const std::uint64_t s = seed + static_cast<std::uint64_t>(100 * variant++);
    check(fmt::format("{} random queues, {}", queues, extra),
          [&] { random_queues(s, queues, extra); });
  }
  for (const Malformed& m : kMalformed)
    for (std::uint64_t s = 1; s <= 2; ++s)
      check(fmt::format("{} (seed {})", m.name, s), [&] { malformed(m, s); });
  check("descriptors and registers changed at random", [&] { spoiled(seed, 150); });
  check("limits of commands", [] { limits_refused(); });
  check("regions at the end of memory", [&] { regions_at_the_end(seed); });
  check("tiles of ACC_DEPTH positions", [&] { full_tiles(seed); });
  check("refused queues", [] { bad_queues(); });
  check("registers", [&] { registers(seed); });
  check("interrupt enable and status", [] { interrupts(); });
  check("read errors", [] { faults("read_error", spec::Error::bus_read_); });
  check("write errors", [] { faults("write_error", spec::Error::bus_write_); });
  check("decode errors", [] { faults("decode_error=1,read_error", spec::Error::bus_read_); });
  check("memory that stops answering", [] { faults("hang", spec::Error::watchdog_); });
  check("too few cycles", [] { names_the_command(); });
  for (const std::uint64_t beat : {1U, 5U, 20U})
    check(fmt::format("flipped bit in write beat {}", beat), [&] { catches(beat); });
  fmt::print("{} passed, {} failed\n", passed, failed);
  bins->write_if_asked();
  return failed == 0 ? 0 : 1;
}
