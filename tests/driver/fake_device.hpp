// SPDX-License-Identifier: Apache-2.0
// A device of registers and memory that computes nothing: it answers what it is told to and keeps
// account of what the host does.
#pragma once

#include <algorithm>
#include <cstring>
#include <functional>
#include <map>
#include <stdexcept>
#include <vector>

#include "cmodel/spec/npu_identity.hpp"
#include "sw/device/device.hpp"

namespace lastmile::testing {

class FakeDevice final : public Device {
 public:
  explicit FakeDevice(const spec::HardwareParams& hw, std::size_t bytes) : memory(bytes) {
    registers[spec::reg::kId] = spec::kMagic;
    registers[spec::reg::kSpec] = spec::kSpecHash;
    const spec::HardwareWords words = spec::hardware_words(hw);
    for (std::size_t i = 0; i < words.size(); ++i)
      registers[spec::kHardwareRegisters[i]] = words[i];
  }

  std::uint32_t read_register(std::uint32_t offset) override {
    ++reads;
    return registers[offset];
  }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    ++writes;
    written.emplace_back(offset, value);
    registers[offset] = value;
    if (offset == spec::reg::kIrqStatus) registers[offset] = 0;  // write one to clear
    if (offset == spec::reg::kCtrl && spec::reg::kCtrlStart.is_set(value)) {
      registers[spec::reg::kIrqStatus] = irq;
      if (on_start) on_start();
    }
  }
  void read_memory(std::uint32_t address, std::span<std::byte> to) override {
    if (address + to.size() > memory.size()) throw std::out_of_range("read_memory");
    std::memcpy(to.data(), memory.data() + address, to.size());
    bytes_read += to.size();
  }
  void write_memory(std::uint32_t address, std::span<const std::byte> from) override {
    if (address + from.size() > memory.size()) throw std::out_of_range("write_memory");
    std::memcpy(memory.data() + address, from.data(), from.size());
    bytes_written += from.size();
  }
  [[nodiscard]] std::uint64_t memory_size() const override { return memory.size(); }
  [[nodiscard]] bool wait_interrupt() override { return interrupts; }

  std::vector<std::byte> memory;
  std::map<std::uint32_t, std::uint32_t> registers;
  std::vector<std::pair<std::uint32_t, std::uint32_t>> written;  // registers, in order
  std::uint64_t reads = 0, writes = 0, bytes_read = 0, bytes_written = 0;
  bool interrupts = true;
  std::uint32_t irq = spec::reg::kIrqStatusDone.mask();  // IRQ_STATUS when a queue ends
  std::function<void()> on_start;
};

}  // namespace lastmile::testing
