// SPDX-License-Identifier: Apache-2.0
// The seam between the host and an NPU: 32-bit registers, byte-addressed memory, one level
// interrupt. Everything the host knows of a backend is here; the C++ model, the Verilated RTL and
// the SystemC platform implement it. Offsets, bits and errors: cmodel/spec/REFERENCE.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile {

class Device {
 public:
  Device() = default;
  Device(const Device&) = delete;
  Device& operator=(const Device&) = delete;
  virtual ~Device() = default;

  // offset: multiple of 4 below 4096. Reads of unknown registers give 0, writes to them are
  // dropped.
  [[nodiscard]] virtual std::uint32_t read_register(std::uint32_t offset) = 0;
  virtual void write_register(std::uint32_t offset, std::uint32_t value) = 0;

  // The NPU's memory as the host sees it (not counted as NPU traffic). Only while the NPU is idle.
  // Out of range: std::out_of_range.
  virtual void read_memory(std::uint32_t address, std::span<std::byte> to) = 0;
  virtual void write_memory(std::uint32_t address, std::span<const std::byte> from) = 0;
  [[nodiscard]] virtual std::uint64_t memory_size() const = 0;

  // Blocks until the interrupt line is high; false if the backend knows that it never will be.
  [[nodiscard]] virtual bool wait_interrupt() = 0;

  // Step, phase and the like for backends that compare or trace; others ignore it. `what` is shown
  // in reports; "step <k>" begins a step, anything else names the queue that comes next.
  virtual void annotate(const std::string& what) { static_cast<void>(what); }
  // What a backend measured since it was opened, as a JSON object (documented by the backend);
  // empty if it measures nothing.
  [[nodiscard]] virtual std::string report() const { return {}; }
};

struct DeviceOptions {
  spec::HardwareParams hardware;
  std::uint64_t memory_bytes = std::uint64_t{64} << 20;
  int threads = 1;    // for backends that can use them; never changes a bit
  std::string extra;  // backend's own options, "key=value,..." (documented by the backend)
};

// Entry point that a backend built as a shared object exports: `extern "C" Device*
// lastmile_open_device(const DeviceOptions&)`.
using OpenDevice = Device* (*)(const DeviceOptions&);
inline constexpr const char* kOpenDeviceSymbol = "lastmile_open_device";

}  // namespace lastmile
