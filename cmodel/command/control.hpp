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

// The registers: a word of memory each, and the table of npu.toml that says what a read shows, a
// write changes and a reset sets. What an engine or the end of a queue leaves is set here, too.
class RegisterFile {
 public:
  explicit RegisterFile(const spec::HardwareParams& hw);

  [[nodiscard]] std::uint32_t read(std::uint32_t offset) const;
  // CTRL takes nothing: what is written to it is Npu's.
  void write(std::uint32_t offset, std::uint32_t value);
  // The line rst_ni: every register as npu.toml has it.
  void reset();
  // CTRL.SOFT_RESET.
  void soft_reset();
  // CTRL.START: what starting a queue clears. The parameters below stay what they are now until the
  // queue has ended: what is written meanwhile is for the next one.
  void begin_queue();
  void end_queue();
  void fail(std::uint32_t command, const Fault& fault);
  void set_loss(const LossResult& loss);
  void next_command() { ++word(spec::reg::kCommand); }

  [[nodiscard]] bool interrupt() const;
  [[nodiscard]] std::uint32_t command() const { return raw(spec::reg::kCommand); }
  [[nodiscard]] std::uint32_t raw(std::uint32_t offset) const { return words_[offset / 4]; }

  // A register as the running queue has it; without one, as the host has written it.
  [[nodiscard]] std::uint32_t parameter(std::uint32_t offset) const {
    return (running_ ? latched_ : words_)[offset / 4];
  }
  [[nodiscard]] std::uint64_t parameter(const spec::WideRegister& r, std::uint32_t at = 0) const {
    return parameter(r.low + at) | std::uint64_t{parameter(r.high + at)} << 32;
  }
  [[nodiscard]] std::uint32_t polarity() const { return parameter(spec::reg::kPolarity); }
  // Are passes perturbed?
  [[nodiscard]] bool polarized() const {
    return polarity() != static_cast<std::uint32_t>(spec::Polarity::none_);
  }
  [[nodiscard]] std::uint32_t distribution() const { return parameter(spec::reg::kDistribution); }
  [[nodiscard]] std::uint64_t seed() const { return parameter(spec::reg::kSeedWide); }
  [[nodiscard]] std::uint64_t mask_seed() const { return parameter(spec::reg::kMaskSeedWide); }
  [[nodiscard]] std::uint32_t pairs() const { return parameter(spec::reg::kPairs); }
  [[nodiscard]] std::uint64_t pair_seed(std::uint32_t j) const {
    return parameter(spec::reg::kPairSeedWide, j * spec::reg::kPairSeedLoStride);
  }
  [[nodiscard]] std::int32_t pair_coef(std::uint32_t j) const {
    return spec::reg::kPairCoefValue.get_signed(
        parameter(spec::reg::kPairCoef + j * spec::reg::kPairCoefStride));
  }
  [[nodiscard]] std::uint32_t step_mantissa() const {
    return spec::reg::kStepMantissa.get(parameter(spec::reg::kStep));
  }
  [[nodiscard]] std::uint32_t step_shift() const {
    return spec::reg::kStepShift.get(parameter(spec::reg::kStep));
  }

  Counters counters;

 private:
  [[nodiscard]] std::uint32_t& word(std::uint32_t offset) { return words_[offset / 4]; }
  void clear_status();

  spec::HardwareParams hw_;
  using Words = std::array<std::uint32_t, spec::kRegisterBytes / 4>;
  Words words_{}, latched_{};
  bool running_ = false;
};

}  // namespace lastmile::npu
