// SPDX-License-Identifier: Apache-2.0
#include "cmodel/command/control.hpp"

#include "cmodel/spec/npu_identity.hpp"

namespace lastmile::npu {
namespace {

namespace reg = spec::reg;

// What a read shows, a write changes and a written one clears, by word of the register window.
struct Access {
  std::uint32_t readable = 0, written = 0, cleared = 0;
};
constexpr std::size_t kWords = spec::kRegisterBytes / 4;

// The table of npu.toml, opened up: a lookup per access.
constexpr std::array<Access, kWords> kAccess = [] {
  std::array<Access, kWords> access{};
  for (const spec::Register& r : spec::kRegisters) {
    for (std::uint32_t i = 0; i < r.count; ++i)
      access[(r.offset + i * r.stride) / 4] = {r.readable, r.written, r.cleared};
  }
  return access;
}();

constexpr bool known(std::uint32_t offset) {
  return offset % 4 == 0 && offset < static_cast<std::uint32_t>(spec::kRegisterBytes);
}

}  // namespace

RegisterFile::RegisterFile(const spec::HardwareParams& hw) : hw_(hw) { reset(); }

void RegisterFile::reset() {
  running_ = false;
  words_ = {};
  for (const spec::Register& r : spec::kRegisters) {
    for (std::uint32_t i = 0; i < r.count; ++i) word(r.offset + i * r.stride) = r.reset;
  }
  word(reg::kId) = spec::kMagic;
  word(reg::kSpec) = spec::kSpecHash;
  const spec::HardwareWords hardware = spec::hardware_words(hw_);
  for (std::size_t i = 0; i < hardware.size(); ++i) word(spec::kHardwareRegisters[i]) = hardware[i];
  counters = {};
}

std::uint32_t RegisterFile::read(std::uint32_t offset) const {
  if (!known(offset)) return 0;
  if (offset >= reg::kCounter) {
    const std::uint32_t index = (offset - reg::kCounter) / reg::kCounterStride;
    if (index < spec::kCounters) {
      const bool high = (offset - reg::kCounter) % reg::kCounterStride != 0;
      return static_cast<std::uint32_t>(counters.value[index] >> (high ? 32 : 0));
    }
  }
  return raw(offset) & kAccess[offset / 4].readable;
}

void RegisterFile::write(std::uint32_t offset, std::uint32_t value) {
  if (!known(offset)) return;
  const Access& a = kAccess[offset / 4];
  std::uint32_t& w = word(offset);
  w = (w & ~a.written & ~(value & a.cleared)) | (value & a.written);
}

void RegisterFile::soft_reset() {
  running_ = false;
  clear_status();
  word(reg::kIrqStatus) = 0;
}

void RegisterFile::begin_queue() {
  clear_status();
  counters = {};
  latched_ = words_;
  running_ = true;
}

void RegisterFile::clear_status() {
  word(reg::kStatus) = 0;
  word(reg::kErrorCode) = 0;
  word(reg::kErrorCommand) = 0;
  word(reg::kErrorInfo) = 0;
  word(reg::kCommand) = 0;
}

void RegisterFile::end_queue() {
  running_ = false;
  word(reg::kStatus) = reg::kStatusDone.mask();
  word(reg::kIrqStatus) |= reg::kIrqStatusDone.mask();
}

void RegisterFile::fail(std::uint32_t at, const Fault& fault) {
  running_ = false;
  word(reg::kErrorCode) = static_cast<std::uint32_t>(fault.code);
  word(reg::kErrorInfo) = fault.info;
  word(reg::kErrorCommand) = at;
  word(reg::kStatus) = reg::kStatusError.mask();
  word(reg::kIrqStatus) |= reg::kIrqStatusError.mask();
}

void RegisterFile::set_loss(const LossResult& loss) {
  word(reg::kLossLo) = static_cast<std::uint32_t>(loss.sum);
  word(reg::kLossHi) = static_cast<std::uint32_t>(loss.sum >> 32);
  word(reg::kCorrect) = loss.correct;
  word(reg::kExamples) = loss.examples;
}

bool RegisterFile::interrupt() const {
  const std::uint32_t cause = raw(reg::kIrqStatus), enable = raw(reg::kIrqEnable);
  return (reg::kIrqStatusDone.is_set(cause) && reg::kIrqEnableDone.is_set(enable)) ||
         (reg::kIrqStatusError.is_set(cause) && reg::kIrqEnableError.is_set(enable));
}

}  // namespace lastmile::npu
