// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/host.hpp"

#include <fmt/format.h>

#include <chrono>
#include <exception>
#include <stdexcept>
#include <utility>

#include "cmodel/spec/registers.hpp"
#include "sw/base/error.hpp"

namespace lastmile::sim {

class Host::TlmDevice final : public Device {
 public:
  TlmDevice(Host& host, std::uint64_t bytes) : host_(host), bytes_(bytes), lease_(++host.lease_) {}

  std::uint32_t read_register(std::uint32_t offset) override {
    check();
    std::uint32_t value = 0;
    ++host_.register_reads_;
    host_.access(tlm::TLM_READ_COMMAND, kRegisterBase + offset, &value, 4);
    return value;
  }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    check();
    host_.access(tlm::TLM_WRITE_COMMAND, kRegisterBase + offset, &value, 4);
    if (host_.options_.busy_writes && offset == spec::reg::kCtrl && spec::starts(value))
      write_while_busy();
  }
  void read_memory(std::uint32_t address, std::span<std::byte> to) override {
    move(tlm::TLM_READ_COMMAND, address, to.data(), to.size());
  }
  void write_memory(std::uint32_t address, std::span<const std::byte> from) override {
    // A target may not change the data of a write.
    move(tlm::TLM_WRITE_COMMAND, address, const_cast<std::byte*>(from.data()), from.size());
  }
  std::uint64_t memory_size() const override { return bytes_; }
  bool wait_interrupt() override {
    check();
    return host_.wait_for_interrupt();
  }

 private:
  void check() const {
    if (lease_ != host_.lease_)
      throw Error(ErrorKind::device, "platform: this device is out of use: another was opened");
  }
  // The queue that has just started has the registers of its start: none of this may show.
  void write_while_busy() {
    constexpr std::uint64_t kPause = 400;  // cycles
    for (const bool invert : {true, false}) {
      for (const spec::Register& r : spec::kRegisters) {
        if (!spec::latched(r)) continue;
        for (std::uint32_t i = 0; i < r.count; ++i) {
          const std::uint64_t address = kRegisterBase + r.offset + i * r.stride;
          std::uint32_t value = 0;
          host_.access(tlm::TLM_READ_COMMAND, address, &value, 4);
          value = ~value;
          host_.access(tlm::TLM_WRITE_COMMAND, address, &value, 4);
        }
      }
      if (invert) host_.spend(kPause);
    }
  }
  void move(tlm::tlm_command command, std::uint32_t address, std::byte* data, std::size_t bytes) {
    check();
    if (bytes > bytes_ || address > bytes_ - bytes)
      throw std::out_of_range(
          fmt::format("platform memory: {} bytes at {}, size {}", bytes, address, bytes_));
    const std::size_t most = host_.options_.host_burst;
    for (std::size_t i = 0; i < bytes;) {
      const std::size_t n = std::min(bytes - i, most - (address + i) % most);
      host_.access(command, kMemoryBase + address + i, data + i, n);
      i += n;
    }
  }

  Host& host_;
  std::uint64_t bytes_, lease_;
};

Host::Host(sc_core::sc_module_name name, const Clock& clock, const PlatformOptions& options,
           Software software)
    : sc_module(name),
      socket("socket"),
      irq("irq"),
      reset("reset"),
      clock_(clock),
      options_(options),
      software_(std::move(software)) {
  SC_HAS_PROCESS(Host);
  SC_THREAD(run);
  set_stack_size(8 << 20);
}

void Host::run() {
  wait(go_);
  started_ = true;
  local_.reset();
  const auto begin = std::chrono::steady_clock::now();
  try {
    software_(*this);
  } catch (const std::exception& e) {
    failure_ = e.what();
  }
  seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  local_.sync();
  finished_ = true;
  done_.notify(sc_core::SC_ZERO_TIME);
}

std::unique_ptr<Device> Host::open(const DeviceOptions& options) {
  if (!(options.hardware == options_.hardware))
    throw Error(ErrorKind::usage, "platform: opened with other hardware parameters than its NPU's");
  if (options.memory_bytes > options_.memory_bytes)
    throw Error(ErrorKind::device, fmt::format("platform: memory has {} bytes, {} are needed",
                                               options_.memory_bytes, options.memory_bytes));
  return std::make_unique<TlmDevice>(*this, options_.memory_bytes);
}

void Host::access(tlm::tlm_command command, std::uint64_t address, void* data, std::size_t bytes) {
  tlm::tlm_generic_payload p;
  set_up(p, command, address, data, bytes);
  sc_time delay = local_.get_local_time();
  const sc_time begin = sc_core::sc_time_stamp() + delay;
  socket->b_transport(p, delay);
  const sc_time end = sc_core::sc_time_stamp() + delay;
  if (clock_.count(end - begin) > options_.bus_timeout) {
    spend(options_.bus_timeout);
    throw Error(ErrorKind::device,
                fmt::format("bus: no answer to a {} of {} bytes at {:#x} in {} cycles",
                            command == tlm::TLM_READ_COMMAND ? "read" : "write", bytes, address,
                            options_.bus_timeout));
  }
  local_.set(delay);
  if (local_.need_sync()) local_.sync();
  if (!p.is_response_ok())
    throw Error(ErrorKind::device,
                fmt::format("bus: a {} of {} bytes at {:#x} was answered with {}",
                            command == tlm::TLM_READ_COMMAND ? "read" : "write", bytes, address,
                            p.get_response_string()));
}

bool Host::wait_for_interrupt() {
  ++waits_;
  local_.sync();
  if (!irq.read()) wait(clock_.cycles(options_.irq_timeout), irq.posedge_event());
  return irq.read();
}

void Host::reset_npu() {
  local_.sync();
  reset.write(true);
  wait(clock_.cycles(16));
  reset.write(false);
  wait(clock_.cycles(16));
}

void Host::spend(std::uint64_t cycles) {
  local_.inc(clock_.cycles(cycles));
  local_.sync();
}

}  // namespace lastmile::sim
