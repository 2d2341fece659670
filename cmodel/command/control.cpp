// SPDX-License-Identifier: Apache-2.0
#include "cmodel/command/control.hpp"

#include <bit>

namespace lastmile::npu {
namespace {

namespace reg = spec::reg;

constexpr std::uint32_t kDone = 2;
constexpr std::uint32_t kFailed = 4;

bool is_rw(std::uint32_t offset) {
  switch (offset) {
    case reg::kQueueAddr:
    case reg::kQueueCount:
    case reg::kMemLimit:
    case reg::kWatchdog:
    case reg::kBatchAddr:
    case reg::kLabelAddr:
    case reg::kOutAddr:
    case reg::kPolarity:
    case reg::kDistribution:
    case reg::kSeedLo:
    case reg::kSeedHi:
    case reg::kMaskSeedLo:
    case reg::kMaskSeedHi:
    case reg::kPairs:
    case reg::kStep:
      return true;
    default:
      break;
  }
  // lo, hi and coefficient of the pairs; the fourth word of each is no register
  return offset >= reg::kPairSeedLo &&
         offset < reg::kPairSeedLo + reg::kPairSeedLoCount * reg::kPairSeedLoStride &&
         offset % reg::kPairSeedLoStride != 12;
}

}  // namespace

RegisterFile::RegisterFile(const spec::HardwareParams& hw) : hw_(hw) {
  rw_[reg::kMemLimit / 4] = 0xffffffff;
  rw_[reg::kWatchdog / 4] = 1000000;
}

std::uint32_t RegisterFile::read(std::uint32_t offset) const {
  switch (offset) {
    case reg::kId:
      return spec::kMagic;
    case reg::kSpec:
      return spec::kSpecHash;
    case reg::kHw0:
      return static_cast<std::uint32_t>(hw_.rows) | static_cast<std::uint32_t>(hw_.cols) << 8 |
             static_cast<std::uint32_t>(hw_.bus_bytes) << 16 |
             static_cast<std::uint32_t>(hw_.rq_lanes) << 24;
    case reg::kHw1:
      return static_cast<std::uint32_t>(hw_.acc_depth) |
             static_cast<std::uint32_t>(std::countr_zero(static_cast<std::uint32_t>(hw_.act_bytes)))
                 << 16 |
             static_cast<std::uint32_t>(hw_.training) << 24;
    case reg::kStatus:
      return status_;
    case reg::kIrqStatus:
      return irq_status_;
    case reg::kIrqEnable:
      return irq_enable_;
    case reg::kErrorCode:
      return static_cast<std::uint32_t>(fault_.code);
    case reg::kErrorCommand:
      return error_command_;
    case reg::kErrorInfo:
      return fault_.info;
    case reg::kCommand:
      return command;
    case reg::kLossLo:
      return static_cast<std::uint32_t>(loss.sum);
    case reg::kLossHi:
      return static_cast<std::uint32_t>(loss.sum >> 32);
    case reg::kCorrect:
      return loss.correct;
    case reg::kExamples:
      return loss.examples;
    default:
      break;
  }
  if (is_rw(offset)) return raw(offset);
  if (offset >= reg::kCounter && offset % 4 == 0) {
    const std::uint32_t index = (offset - reg::kCounter) / reg::kCounterStride;
    if (index < spec::kCounters)
      return static_cast<std::uint32_t>(counters.value[index] >> (offset % 8 != 0 ? 32 : 0));
  }
  return 0;
}

void RegisterFile::write(std::uint32_t offset, std::uint32_t value) {
  if (is_rw(offset)) rw_[offset / 4] = value;
  if (offset == reg::kIrqEnable) irq_enable_ = value & 3;
  if (offset == reg::kIrqStatus) irq_status_ &= ~value;
}

void RegisterFile::soft_reset() {
  status_ = 0;
  irq_status_ = 0;
  fault_ = {};
  error_command_ = 0;
  command = 0;
}

void RegisterFile::begin_queue() {
  status_ = 0;
  fault_ = {};
  error_command_ = 0;
  command = 0;
  counters = {};
}

void RegisterFile::end_queue() {
  status_ = kDone;
  irq_status_ |= 1;
}

void RegisterFile::fail(std::uint32_t at, const Fault& fault) {
  fault_ = fault;
  error_command_ = at;
  status_ = kFailed;
  irq_status_ |= 2;
}

}  // namespace lastmile::npu
