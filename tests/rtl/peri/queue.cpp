// SPDX-License-Identifier: Apache-2.0
// npu_control: registers against the model's register file; whole queues with an engine played by
// the bench: order, prefetch, commit points, every way to end (last, END, bad descriptor, bus
// errors, watchdog, soft reset), and that the next queue runs after each. A queue has the registers
// as they were at its start, whatever is written while it runs, and begins when the bus is quiet.
#include <algorithm>
#include <array>
#include <deque>
#include <string>
#include <vector>

#include "cmodel/command/control.hpp"
#include "cmodel/command/validate.hpp"
#include "cmodel/spec/registers.hpp"
#include "tests/rtl/peri/bench.hpp"

namespace spec = lastmile::spec;
namespace npu = lastmile::npu;
namespace reg = lastmile::spec::reg;

namespace {

constexpr int kBus = P_BUS_BYTES;

bench::Bench* b;
bench::Random* rnd;
void tick();

void write(std::uint32_t offset, std::uint32_t value) {
  namespace write = bench::axil_write;
  namespace written = bench::axil_written;
  Vtop& t = *b->top;
  bench::set(t.axil_write_i, write::kAwvalid, 1);
  bench::set(t.axil_write_i, write::kAwaddr, offset);
  bench::set(t.axil_write_i, write::kWvalid, rnd->chance(50) ? 1 : 0);
  bench::set(t.axil_write_i, write::kWdata, value);
  bench::set(t.axil_write_i, write::kWstrb, 15);
  for (int i = 0;; ++i) {
    t.eval();
    const bool done = bench::get(t.axil_written_o, written::kAwready) != 0 &&
                      bench::get(t.axil_written_o, written::kWready) != 0;
    tick();
    if (done) break;
    bench::set(t.axil_write_i, write::kWvalid, 1);
    if (i > 100) bench::fail("register write hangs", b->cycle);
  }
  bench::set(t.axil_write_i, write::kAwvalid, 0);
  bench::set(t.axil_write_i, write::kWvalid, 0);
  while (bench::get(t.axil_written_o, written::kBvalid) == 0) tick();
  bench::set(t.axil_write_i, write::kBready, 1);
  tick();
  bench::set(t.axil_write_i, write::kBready, 0);
}

std::uint32_t read(std::uint32_t offset) {
  namespace read = bench::axil_read;
  namespace data = bench::axil_data;
  Vtop& t = *b->top;
  bench::set(t.axil_read_i, read::kArvalid, 1);
  bench::set(t.axil_read_i, read::kAraddr, offset);
  for (;;) {
    t.eval();
    const bool done = bench::get(t.axil_data_o, data::kArready) != 0;
    tick();
    if (done) break;
  }
  bench::set(t.axil_read_i, read::kArvalid, 0);
  while (bench::get(t.axil_data_o, data::kRvalid) == 0) tick();
  if (rnd->chance(30)) tick();
  const auto v = static_cast<std::uint32_t>(bench::get(t.axil_data_o, data::kRdata));
  bench::set(t.axil_read_i, read::kRready, 1);
  tick();
  bench::set(t.axil_read_i, read::kRready, 0);
  return v;
}

// What surrounds the control block in one queue.
struct World {
  std::vector<std::array<std::uint32_t, 48>> queue;
  std::uint32_t base = 0;
  int fetch_error_at = -1;  // this descriptor is answered with an error
  int error_at = -1;        // this command meets a bus error while it runs
  bool error_is_write = false;
  int error_client = 1;
  int silent_at = -1;         // this command never ends
  bool silent_fetch = false;  // the memory never answers the fetch of command silent_at
  bool silent_writes = false;
  int stray_at = -1;  // while this command runs an answer comes that nobody has asked for
  // state
  std::deque<std::pair<int, int>> words;  // descriptor, word
  int running = -1;
  int work = 0, writes = 0;
  std::vector<int> started, done;
  std::uint64_t inc = 0;
};
World w;
int draining = 0;    // cycles until the last answer from before an abort
bool stray = false;  // an answer without a request has come

void read_error(int client) {
  bench::set(b->top->rd_status_i, bench::read_status::kError, 1);
  bench::set(b->top->rd_status_i, bench::read_status::kClient, static_cast<std::uint64_t>(client));
}

void tick() {
  Vtop& t = *b->top;
  // fetch client
  t.rd_req_ready_i = rnd->chance(70);
  bench::set(t.rd_status_i, bench::read_status::kError, 0);
  bench::set(t.rd_status_i, bench::read_status::kStray, 0);
  bench::set(t.rd_status_i, bench::read_status::kQuiet, draining < 40 ? 1 : 0);  // reads end first
  t.wr_quiet_i = draining == 0, t.wr_stray_i = 0;
  if (draining > 0) --draining;
  if (!t.rd_rsp_valid_i && !w.words.empty() && rnd->chance(60) &&
      !(w.silent_fetch && w.words.front().first == w.silent_at)) {
    const auto [d, k] = w.words.front();
    t.rd_rsp_valid_i = 1, t.rd_rsp_last_i = k == 192 / kBus - 1;
    for (int i = 0; i < kBus / 4; ++i)
      bench::words(t.rd_rsp_data_i)[i] =
          w.queue[static_cast<std::size_t>(d)][static_cast<std::size_t>(k * kBus / 4 + i)];
    if (d == w.fetch_error_at && k == 2) read_error(0);
  }
  // engine
  t.engine_done_i = 0, t.progress_i = 0, t.wr_error_i = 0;
  if (w.running >= 0 && !(w.running == w.silent_at && !w.silent_fetch && !w.silent_writes)) {
    if (w.work > 0) --w.work, t.progress_i = 1;
    if (w.work == 5 && w.running == w.stray_at) {
      stray = true;
      if (rnd->chance(50))
        t.wr_stray_i = 1;
      else
        bench::set(t.rd_status_i, bench::read_status::kStray, 1);
    }
    if (w.work == 5 && w.running == w.error_at) {
      if (w.error_is_write)
        t.wr_error_i = 1;
      else
        read_error(w.error_client);
    }
    if (w.work == 0)
      t.engine_done_i = 1, w.done.push_back(w.running), w.running = -1,
      w.writes = static_cast<int>(rnd->below(10));
  } else if (w.writes > 0) {
    --w.writes;
  }
  t.wr_idle_i = w.running < 0 && w.writes == 0 &&
                !(w.silent_writes && !w.done.empty() && w.done.back() == w.silent_at);
  bench::set(t.rd_status_i, bench::read_status::kWaiting, w.running >= 0 ? 4 : 0);
  t.eval();
  if (bench::get(t.rd_req_o, bench::read_request::kValid) != 0 && t.rd_req_ready_i) {
    const auto address =
        static_cast<std::uint32_t>(bench::get(t.rd_req_o, bench::read_request::kAddr));
    const std::uint32_t index = (address - w.base) / 192;
    bench::equal("fetch address", address, w.base + index * 192, b->cycle);
    if (index >= w.queue.size()) bench::fail("fetch behind the queue", b->cycle);
    bench::equal("the bus is quiet", draining, 0, b->cycle);
    for (int k = 0; k < 192 / kBus; ++k) w.words.push_back({static_cast<int>(index), k});
  }
  const bool taken = t.rd_rsp_valid_i && t.rd_rsp_ready_o;
  const bool abort = t.abort_o;
  int start = -1;
  for (int op = 0; op < static_cast<int>(spec::kOpcodes); ++op) {
    if (((t.engine_start_o >> op) & 1) != 0) start = op;
  }
  const std::uint32_t index = start >= 0 ? bench::words(t.desc_o)[1] & 0xffff : 0;  // the tag
  b->edge();
  if (taken) w.words.pop_front(), t.rd_rsp_valid_i = 0;
  if (abort) {
    w.words.clear(), t.rd_rsp_valid_i = 0, w.running = -1, w.writes = 0;
    draining = std::max(draining, rnd->chance(50) ? static_cast<int>(rnd->below(200)) : 0);
  }
  if (start >= 0 && !abort) {
    bench::equal("no engine runs", w.running, -1, b->cycle);
    bench::equal("opcode started", start, static_cast<std::int64_t>(w.queue[index][0] & 0xff),
                 b->cycle);
    w.running = static_cast<int>(index), w.work = static_cast<int>(rnd->between(6, 60));
    w.started.push_back(w.running);
  }
}

spec::Descriptor command(std::uint32_t tag) {
  spec::Descriptor d;
  d.opcode =
      static_cast<std::uint32_t>(rnd->chance(50) ? spec::Opcode::add_ : spec::Opcode::softmax_);
  d.tag = tag, d.n = 1, d.in_c = 10, d.add_act_max = 5, d.in_addr = 64 * tag,
  d.flags = rnd->chance(50) ? static_cast<std::uint32_t>(spec::kFlagInBatch) : 0u;
  return d;
}

// Random reads and writes of all registers but CTRL, and what the engines see of the pairs.
void registers(const spec::HardwareParams& hw) {
  npu::RegisterFile model(hw);
  for (int i = 0; i < 3000; ++i) {
    const auto offset = static_cast<std::uint32_t>(rnd->below(rnd->chance(90) ? 80 : 1024)) * 4;
    if (offset == reg::kCtrl) continue;
    if (rnd->chance(50)) {
      const auto v = static_cast<std::uint32_t>(rnd->bits());
      write(offset, v);
      model.write(offset, v);
    } else {
      bench::equal("register " + std::to_string(offset), read(offset), model.read(offset),
                   b->cycle);
    }
  }
  // The engines see them once a queue begins: here one that is empty.
  write(reg::kQueueCount, 0);
  write(reg::kCtrl, 1);
  Vtop& t = *b->top;
  for (int j = 0; j < 8; ++j) {
    bench::equal("pair seed",
                 static_cast<std::int64_t>(bench::get(bench::words(t.pair_seed_o), j * 64, 64)),
                 static_cast<std::int64_t>(model.pair_seed(static_cast<std::uint32_t>(j))), 0);
    bench::equal("pair coefficient",
                 static_cast<std::int8_t>(bench::get(bench::words(t.pair_coef_o), j * 8, 8)),
                 model.pair_coef(static_cast<std::uint32_t>(j)), 0);
  }
}

// How a queue is made to end.
enum class End {
  end,          // END in its middle
  field,        // a bad descriptor
  fetch_error,  // the descriptor's read is answered with an error
  read_error,
  write_error,
  silent_engine,
  silent_fetch,
  silent_writes,
  reset,
  bad_queue,
  lost,   // answers from before the start do not come in time
  stray,  // an answer without a request
  whole,  // its last command; three times as likely as any other
};
constexpr int kEnds = 14;

// A queue in `w`, and what the registers have to say of it afterwards.
struct Case {
  End end = End::whole;
  std::uint32_t victim = 0;  // the command it ends at
  std::uint32_t count = 0, queue_count = 0, watchdog = 2000;
  std::int64_t code = 0, info = 0, at = 0, commands = 0;

  void fails(spec::Error error, std::int64_t error_info) {
    code = static_cast<std::int64_t>(error), info = error_info, at = commands = victim;
  }
};

// Engine blamed for an error of a read client: of the streams it is the one that runs.
std::int64_t engine_of_client(int client, spec::Opcode op, spec::Engine running) {
  using spec::Engine;
  const spec::OpcodeTraits& is = spec::traits(op);
  const Engine stream = is.second == spec::Second::fused_ ? Engine::drain_ : running;
  const std::array<Engine, 6> engines = {Engine::none_,  is.load, Engine::weight_,
                                         Engine::param_, stream,  running};
  return static_cast<std::int64_t>(engines[static_cast<std::size_t>(client)]);
}

// A queue that is refused at once: misaligned, empty, or not inside memory.
void spoil_queue(Case& c) {
  c.code = static_cast<std::int64_t>(spec::Error::queue_), c.commands = 0;
  if (rnd->chance(30)) {
    w.base += 4;
  } else if (rnd->chance(50)) {
    c.queue_count = 0;
  } else {
    w.base = ((1 << 20) - 192 * c.count + 64) & ~63u;
    c.queue_count = c.count + 1;
  }
}

Case make_case() {
  w = World{};
  w.base = 64 * static_cast<std::uint32_t>(rnd->below(1000));
  Case c;
  c.count = c.queue_count = static_cast<std::uint32_t>(rnd->between(1, 6));
  c.commands = c.count;
  for (std::uint32_t i = 0; i < c.count; ++i) w.queue.push_back(spec::encode(command(i)));
  c.victim = static_cast<std::uint32_t>(rnd->below(c.count));
  const int kind = static_cast<int>(rnd->below(kEnds));
  c.end = kind < static_cast<int>(End::whole) ? static_cast<End>(kind) : End::whole;
  const auto op = static_cast<spec::Opcode>(w.queue[c.victim][0] & 0xff);
  const spec::Engine running = spec::traits(op).engine;
  const auto engine = static_cast<std::int64_t>(running);
  const int victim = static_cast<int>(c.victim);
  switch (c.end) {
    case End::end:
      w.queue[c.victim][0] &= ~0xffu, c.commands = c.victim;
      break;
    case End::field:
      w.queue[c.victim][1] &= 0xffffu;  // n = 0
      c.fails(spec::Error::field_, static_cast<std::int64_t>(spec::Field::n));
      break;
    case End::fetch_error:
      w.fetch_error_at = victim;
      c.fails(spec::Error::bus_read_, static_cast<std::int64_t>(spec::Engine::fetch_));
      break;
    case End::read_error:
      w.error_at = victim, w.error_client = static_cast<int>(rnd->between(1, 5));
      c.fails(spec::Error::bus_read_, engine_of_client(w.error_client, op, running));
      break;
    case End::write_error:
      w.error_at = victim, w.error_is_write = true;
      c.fails(spec::Error::bus_write_, engine);
      break;
    case End::silent_engine:
      w.silent_at = victim, c.watchdog = 300;
      c.fails(spec::Error::watchdog_, static_cast<std::int64_t>(spec::Engine::weight_));
      break;
    case End::silent_fetch:
      w.silent_at = victim, w.silent_fetch = true, c.watchdog = 300;
      c.fails(spec::Error::watchdog_, static_cast<std::int64_t>(spec::Engine::fetch_));
      break;
    case End::silent_writes:
      w.silent_at = victim, w.silent_writes = true, c.watchdog = 300;
      c.fails(spec::Error::watchdog_, engine);
      break;
    case End::bad_queue:
      spoil_queue(c);
      break;
    case End::lost:
      c.watchdog = 300, draining = 1500;
      c.fails(spec::Error::watchdog_, static_cast<std::int64_t>(spec::Engine::bus_));
      c.at = c.commands = 0;
      break;
    case End::stray:
      w.stray_at = victim;
      c.fails(spec::Error::bus_read_, static_cast<std::int64_t>(spec::Engine::bus_));
      break;
    case End::reset:
    case End::whole:
      break;
  }
  return c;
}

// Soft reset at any time: nothing is left but the parameters.
void reset_midway() {
  const auto wait = rnd->below(200);
  for (std::uint64_t i = 0; i < wait; ++i) tick();
  write(reg::kCtrl, 2);
  for (int i = 0; i < 5; ++i) tick();
  bench::equal("status after reset", read(reg::kStatus) & ~reg::kStatusBusLost.mask(),
               draining > 0 ? reg::kStatusDraining.mask() : 0, b->cycle);
  bench::equal("interrupt after reset", b->top->irq_o, 0, b->cycle);
  bench::equal("parameters stay", read(reg::kQueueAddr), w.base, b->cycle);
}

bool lost = false;  // BUS_LOST
bool refused(const Case& c) { return c.end == End::bad_queue || c.end == End::lost; }

void check_registers(const Case& c, const std::string& what) {
  const auto equal = [&](const char* name, std::int64_t rtl, std::int64_t expected) {
    bench::equal(what + " " + name, rtl, expected, b->cycle);
  };
  const std::uint32_t sticky =
      (lost ? reg::kStatusBusLost.mask() : 0) | (stray ? reg::kStatusBusStray.mask() : 0);
  const std::uint32_t still = draining > 0 ? reg::kStatusDraining.mask() : 0;
  equal("status", read(reg::kStatus), (c.code != 0 ? 4 : 2) | sticky | still);
  equal("interrupt", read(reg::kIrqStatus), c.code != 0 ? 2 : 1);
  equal("code", read(reg::kErrorCode), c.code);
  equal("command at fault", read(reg::kErrorCommand), c.at);
  equal("info", read(reg::kErrorInfo), c.info);
  equal("commands", read(reg::kCounter), c.commands);
  // Taken up: not one whose fetch failed, nor one fetched ahead.
  const bool unfetched = c.end == End::fetch_error || c.end == End::silent_fetch;
  const bool in_the_middle = c.end == End::end || (c.code != 0 && !unfetched);
  const std::int64_t fetched = refused(c) ? 0 : in_the_middle ? c.victim + 1 : c.commands;
  equal("descriptor bytes", read(reg::kCounter + 8 * 3), fetched * 192);
  const bool at_victim = c.code != 0 || c.end == End::end;
  equal("index", read(reg::kCommand), refused(c) ? 0 : at_victim ? c.victim : c.count - 1);
}

// The host sets up another queue while this one runs: none of it may show.
void scribble() {
  for (const spec::Register& r : spec::kRegisters) {
    if (!spec::latched(r) || rnd->chance(50)) continue;
    write(r.offset, static_cast<std::uint32_t>(rnd->bits()));
  }
}

void set_up() {
  write(reg::kPolarity, 0), write(reg::kDistribution, 0), write(reg::kMemLimit, 1 << 20);
  write(reg::kBatchAddr, 4096), write(reg::kLabelAddr, 0), write(reg::kOutAddr, 0);
}

void play(const Case& c) {
  if (c.end != End::lost && rnd->chance(60)) draining = 0;
  set_up();
  write(reg::kWatchdog, c.watchdog), write(reg::kQueueAddr, w.base);
  write(reg::kQueueCount, c.queue_count);
  if (c.end != End::lost && draining > 100) draining = 100;
  write(reg::kCtrl, 1);
  lost = lost || c.end == End::lost;
  if (c.end != End::reset && rnd->chance(30)) scribble();
  if (c.end == End::reset) return reset_midway();
  const std::string what = "kind " + std::to_string(static_cast<int>(c.end));
  std::uint64_t waited = 0;
  while (!b->top->irq_o) {
    tick();
    if (++waited > 20000) bench::fail("queue never ends, " + what, b->cycle);
  }
  for (int i = 0; i < 3; ++i) tick();
  check_registers(c, what);
  for (std::size_t i = 0; i < w.started.size(); ++i)
    bench::equal("order", w.started[i], static_cast<std::int64_t>(i), b->cycle);
  if (rnd->chance(50)) {
    write(reg::kIrqStatus, 3);
  } else {
    write(reg::kCtrl, 2);
  }
  bench::equal("interrupt cleared", b->top->irq_o, 0, b->cycle);
}

// Every later queue fails, too, until NPU and bus are reset.
void after_stray() {
  draining = 0;
  w = World{};
  write(reg::kQueueAddr, 0), write(reg::kQueueCount, 1), write(reg::kCtrl, 2);
  while (draining > 0) tick();
  write(reg::kIrqStatus, 3), write(reg::kCtrl, 1);
  for (int i = 0; i < 20; ++i) tick();
  bench::equal("status of a queue after a stray answer",
               read(reg::kStatus) & ~(reg::kStatusBusLost.mask() | reg::kStatusDraining.mask()),
               4 | reg::kStatusBusStray.mask(), b->cycle);
  bench::equal("code", read(reg::kErrorCode), static_cast<std::int64_t>(spec::Error::bus_read_),
               b->cycle);
  const std::uint64_t cycle = b->cycle;
  b->reset();
  b->cycle = cycle;
  stray = lost = false, draining = 0;
  bench::equal("status after rst_ni", read(reg::kStatus), 0, b->cycle);
  write(reg::kIrqEnable, 3);
}

}  // namespace

int main() {
  bench::Bench bench_top;
  bench::Random random;
  b = &bench_top, rnd = &random;
  bench_top.reset();
  spec::HardwareParams hw;
  hw.bus_bytes = kBus;
  registers(hw);
  write(reg::kIrqEnable, 3), write(reg::kIrqStatus, 3);
  for (int round = 0; round < 500; ++round) {
    play(make_case());
    if (stray) after_stray();
  }
  return bench::done("control");
}
