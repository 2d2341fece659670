// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/npu_model.hpp"

#include "cmodel/command/validate.hpp"
#include "cmodel/spec/registers.hpp"

namespace lastmile::sim {

namespace reg = spec::reg;
using spec::Counter;
using spec::Engine;

namespace {

// The memory that the cycle model assumes: what an access costs when nobody else is there.
timing::MemoryTiming predicted_for(const PlatformOptions& o) {
  const MemoryTiming& m = o.memory;
  return {.latency = o.bus.latency + m.latency, .bytes_per_cycle = m.bandwidth};
}

}  // namespace

NpuModel::NpuModel(sc_core::sc_module_name name, const Clock& clock, const PlatformOptions& options)
    : NpuTarget(name, clock),
      options_(options),
      bytes_(options.memory_bytes),
      npu_(options.hardware, bytes_, options.threads, predicted_for(options)) {
  SC_HAS_PROCESS(NpuModel);
  SC_THREAD(run);
  set_stack_size(1 << 20);
  SC_METHOD(reset_changed);
  sensitive << reset;
  dont_initialize();
  SC_METHOD(drive_interrupt);
  sensitive << line_;
  dont_initialize();
}

void NpuModel::drive_interrupt() { irq.write(!running_ && npu_.interrupt()); }

void NpuModel::reset_changed() {
  if (!reset.read()) return;
  ++generation_;
  running_ = false;
  npu_.reset();
  drive_interrupt();
}

std::uint32_t NpuModel::read_register(std::uint32_t offset, sc_time& delay) {
  delay += clock_.cycles(2);
  if (offset == reg::kStatus && running_) return reg::kStatusBusy.mask();
  return npu_.read_register(offset);
}

bool NpuModel::peek_register(std::uint32_t offset, std::uint32_t& value) const {
  value = offset == reg::kStatus && running_ ? reg::kStatusBusy.mask() : npu_.read_register(offset);
  return true;
}

void NpuModel::write_register(std::uint32_t offset, std::uint32_t value, sc_time& delay) {
  delay += clock_.cycles(2);
  if (offset != reg::kCtrl) {
    npu_.write_register(offset, value);
  } else if (spec::resets(value)) {
    ++generation_;
    running_ = false;
    npu_.write_register(reg::kCtrl, spec::kSoftReset);
  } else if (spec::starts(value) && !running_) {
    ++generation_;
    npu_.start();
    running_ = true;
    start_.notify(delay);
    return;
  }
  line_.notify(delay);
}

void NpuModel::run() {
  for (;;) {
    wait(start_);
    // A start while the thread was still waiting for the end of a queue given up is not lost.
    std::uint64_t done = 0;
    do {
      done = generation_;
      if (running_) run_queue();
    } while (generation_ != done);
  }
}

void NpuModel::run_queue() {
  const std::uint64_t mine = generation_;
  local_.reset();
  begin_ = clock_.count_up(sc_core::sc_time_stamp());
  while (npu_.running()) {
    const bool more = run_command();
    const sc_time ahead = std::max(clock_.cycles(begin_), sc_core::sc_time_stamp());
    local_.set(ahead - sc_core::sc_time_stamp());
    if (local_.need_sync()) local_.sync();
    if (generation_ != mine) return;
    if (!more) break;
  }
  local_.sync();
  if (generation_ != mine) return;
  queue_ended();
  running_ = false;
  irq.write(npu_.interrupt());
}

std::uint64_t NpuModel::patience() const {
  const std::uint32_t cycles = npu_.parameter(reg::kWatchdog);
  return cycles == 0 ? UINT64_MAX : cycles;
}

bool NpuModel::fail(spec::Error code, Engine engine, std::uint64_t at) {
  npu_.fail(code, static_cast<std::uint32_t>(engine));
  begin_ = std::max(begin_, at);
  return false;
}

bool NpuModel::transfer(bool write, std::uint64_t address, std::uint64_t bytes, std::uint64_t at,
                        Engine engine) {
  Payload p;
  set_up(p, write ? tlm::TLM_WRITE_COMMAND : tlm::TLM_READ_COMMAND, address,
         bytes_.data() + address, bytes);
  const sc_time time = clock_.cycles(at);
  sc_time delay = time - std::min(time, sc_core::sc_time_stamp());
  const std::uint64_t mine = generation_;
  memory->b_transport(p, delay);
  if (generation_ != mine) return false;
  const std::uint64_t end = clock_.count_up(sc_core::sc_time_stamp() + delay);
  if (end - at > patience()) return fail(spec::Error::watchdog_, engine, at + patience());
  bus_end_ = std::max(bus_end_, end);
  if (p.is_response_ok()) return true;
  return fail(write ? spec::Error::bus_write_ : spec::Error::bus_read_, engine, end);
}

void NpuModel::silent_read(std::uint64_t address, std::uint64_t bytes) {
  Payload p;
  set_up(p, tlm::TLM_READ_COMMAND, address, bytes_.data() + address, bytes);
  static_cast<void>(memory->transport_dbg(p));
}

bool NpuModel::stream(bool write, const std::vector<Operand>& operands, std::uint64_t bytes) {
  const auto bus = static_cast<std::uint64_t>(options_.hardware.bus_bytes);
  std::uint64_t left = bytes;
  bool first = true;
  do {
    for (const Operand& o : operands) {
      // Reads move whole words of the bus, writes what they change.
      std::uint64_t a = write ? o.address : o.address / bus * bus;
      std::uint64_t end = o.address + o.bytes;
      if (!write) end = (end + bus - 1) / bus * bus;
      while (a < end && left != 0) {
        const std::uint64_t n = std::min<std::uint64_t>({left, options_.npu_burst, end - a});
        if (!transfer(write, a, n, begin_ + issued_ / bus, o.engine)) return false;
        issued_ += n;
        left -= n;
        a += n;
      }
      if (!write && first && a < end) silent_read(a, end - a);
    }
    first = false;
  } while (left != 0 && !operands.empty());
  return true;
}

bool NpuModel::run_command() {
  const std::uint64_t queue = npu_.parameter(reg::kQueueAddr);
  const std::uint64_t at =
      queue + std::uint64_t{npu_.read_register(reg::kCommand)} * spec::kDescBytes;
  bus_end_ = begin_;
  if (at + spec::kDescBytes <= bytes_.size() &&
      !transfer(false, at, spec::kDescBytes, begin_, Engine::fetch_))
    return false;
  if (!npu_.prepare()) return false;
  const spec::Descriptor& d = npu_.last_command();
  const bool end = d.op() == spec::Opcode::end_;

  // Operands by the counter that they count in.
  std::vector<Operand> activations, weights, parameters, results;
  const bool update = d.op() == spec::Opcode::update_;
  if (!end) {
    for (const npu::Region& r : npu::regions(d)) {
      if (!r.used) continue;
      const Operand o{r.address, static_cast<std::uint64_t>(r.bytes), r.engine};
      const bool weight = r.field == spec::Field::w_addr;
      (r.write                            ? results
       : weight                           ? weights
       : r.engine == spec::Engine::param_ ? parameters
                                          : activations)
          .push_back(o);
    }
  }
  const npu::Counters expected = npu_.expected();
  issued_ = 0;
  const Counter weight_counter = update ? Counter::update_read_bytes_ : Counter::weight_read_bytes_;
  if (!stream(false, activations, expected[Counter::act_read_bytes_]) ||
      !stream(false, weights, expected[weight_counter]) ||
      !stream(false, parameters, expected[Counter::param_read_bytes_]))
    return false;

  npu_.execute();
  const std::uint64_t cycles = end ? 0 : npu_.last_cycles();
  if (update) {  // rows without the padding between them
    results.clear();
    const std::uint64_t row = std::uint64_t{d.in_c} * npu::weight_bytes(d);
    for (std::uint64_t i = 0; i < d.out_c; ++i)
      results.push_back({d.w_addr + i * d.w_pitch, row, Engine::update_});
  } else if (npu::uses_tiles(d.op()) && d.out_pitch != 0 && d.n > 1) {
    // Images without the gap between them: what lies there belongs to others.
    const Operand all = results.front();
    const std::uint64_t image = all.bytes - (std::uint64_t{d.n} - 1) * d.out_pitch;
    results.clear();
    for (std::uint64_t i = 0; i < d.n; ++i)
      results.push_back({all.address + i * d.out_pitch, image, all.engine});
  }
  const std::uint64_t written =
      expected[update ? Counter::update_write_bytes_ : Counter::act_write_bytes_];
  const auto bus = static_cast<std::uint64_t>(options_.hardware.bus_bytes);
  const std::uint64_t start = begin_;
  begin_ += cycles > written / bus ? cycles - written / bus : 0;  // writes end with the command
  issued_ = 0;
  if (!stream(true, results, written)) return false;
  const std::uint64_t counted = npu_.counters()[Counter::cycles_];
  const bool more = npu_.commit();
  begin_ = std::max(start + cycles, bus_end_) + npu_.counters()[Counter::cycles_] - counted;
  return more;
}

}  // namespace lastmile::sim
