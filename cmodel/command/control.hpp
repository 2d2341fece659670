// SPDX-License-Identifier: Apache-2.0
// Registers, and the run-time values that engines take from them. CONTRACT.md, section Registers;
// offsets: ../spec/REFERENCE.md.
#pragma once

#include <array>
#include <cstdint>

#include "cmodel/command/counters.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// One error as the registers report it.
struct Fault {
  spec::Error code = spec::Error::none_;
  std::uint32_t info = 0;
  explicit operator bool() const { return code != spec::Error::none_; }
  bool operator==(const Fault&) const = default;
};

struct LossResult {
  std::uint64_t sum = 0;
  std::uint32_t correct = 0;
  std::uint32_t examples = 0;
};

// What the host wrote, and what it may read back.
class RegisterFile {
 public:
  explicit RegisterFile(const spec::HardwareParams& hw);

  [[nodiscard]] std::uint32_t read(std::uint32_t offset) const;
  // Everything but CTRL, which is Npu's.
  void write(std::uint32_t offset, std::uint32_t value);
  // CTRL bit 1.
  void soft_reset();
  // CTRL bit 0: what starting a queue clears.
  void begin_queue();
  void end_queue();
  void fail(std::uint32_t command, const Fault& fault);

  [[nodiscard]] bool interrupt() const { return (irq_status_ & irq_enable_) != 0; }
  [[nodiscard]] std::uint32_t raw(std::uint32_t offset) const {
    return rw_[offset / 4];
  }  // rw registers
  [[nodiscard]] std::uint64_t raw64(std::uint32_t offset) const {
    return raw(offset) | std::uint64_t{raw(offset + 4)} << 32;
  }

  [[nodiscard]] std::uint32_t polarity() const { return raw(spec::reg::kPolarity); }
  [[nodiscard]] std::uint32_t distribution() const { return raw(spec::reg::kDistribution); }
  [[nodiscard]] std::uint64_t seed() const { return raw64(spec::reg::kSeedLo); }
  [[nodiscard]] std::uint64_t mask_seed() const { return raw64(spec::reg::kMaskSeedLo); }
  [[nodiscard]] std::uint32_t pairs() const { return raw(spec::reg::kPairs); }
  [[nodiscard]] std::uint64_t pair_seed(std::uint32_t j) const {
    return raw64(spec::reg::kPairSeedLo + j * spec::reg::kPairSeedLoStride);
  }
  [[nodiscard]] std::int32_t pair_coef(std::uint32_t j) const {
    return static_cast<std::int8_t>(raw(spec::reg::kPairCoef + j * spec::reg::kPairCoefStride));
  }
  [[nodiscard]] std::uint32_t step_mantissa() const { return raw(spec::reg::kStep) & 0xffff; }
  [[nodiscard]] std::uint32_t step_shift() const { return raw(spec::reg::kStep) >> 16 & 0x3f; }

  Counters counters;
  LossResult loss;
  std::uint32_t command = 0;

 private:
  spec::HardwareParams hw_;
  std::array<std::uint32_t, 64> rw_{};  // the rw registers, all below 0x100
  std::uint32_t status_ = 0;
  std::uint32_t irq_status_ = 0;
  std::uint32_t irq_enable_ = 0;
  std::uint32_t error_command_ = 0;
  Fault fault_;
};

}  // namespace lastmile::npu
