// SPDX-License-Identifier: Apache-2.0
// The smallest backend: registers, memory and an interrupt behind the host's device interface. Its
// queues end well and compute nothing.
#include <array>
#include <cstring>
#include <stdexcept>
#include <vector>

#include "cmodel/spec/npu_identity.hpp"
#include "cmodel/spec/registers.hpp"
#include "sw/device/device.hpp"

namespace {

using namespace lastmile;
namespace reg = spec::reg;

class Backend final : public Device {
 public:
  explicit Backend(const DeviceOptions& o) : memory_(o.memory_bytes) {
    word(reg::kId) = spec::kMagic;
    word(reg::kSpec) = spec::kSpecHash;
    const spec::HardwareWords hardware = spec::hardware_words(o.hardware);
    for (std::size_t i = 0; i < hardware.size(); ++i)
      word(spec::kHardwareRegisters[i]) = hardware[i];
  }
  std::uint32_t read_register(std::uint32_t offset) override { return word(offset); }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    if (offset == reg::kIrqStatus) {
      word(offset) &= ~value;
    } else if (offset != reg::kCtrl) {
      word(offset) = value;
    } else if (spec::starts(value)) {
      word(reg::kIrqStatus) = reg::kIrqStatusDone.mask();
      word(reg::kStatus) = reg::kStatusDone.mask();
    }
  }
  void read_memory(std::uint32_t address, std::span<std::byte> to) override {
    std::memcpy(to.data(), &memory_.at(address), to.size());
  }
  void write_memory(std::uint32_t address, std::span<const std::byte> from) override {
    std::memcpy(&memory_.at(address), from.data(), from.size());
  }
  std::uint64_t memory_size() const override { return memory_.size(); }
  bool wait_interrupt() override { return word(reg::kIrqStatus) != 0; }

 private:
  std::uint32_t& word(std::uint32_t offset) { return words_.at(offset / 4); }

  std::array<std::uint32_t, spec::kRegisterBytes / 4> words_{};
  std::vector<std::byte> memory_;
};

}  // namespace

extern "C" Device* lastmile_open_device(const DeviceOptions& options) {
  return new Backend(options);
}
