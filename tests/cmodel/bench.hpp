// SPDX-License-Identifier: Apache-2.0
// An Npu with memory, for tests: data is placed, commands are queued, registers set.
#pragma once

#include <cstring>
#include <span>
#include <vector>

#include "cmodel/npu/npu.hpp"
#include "tests/cmodel/reference.hpp"

namespace bench {

namespace spec = lastmile::spec;
namespace reg = lastmile::spec::reg;
using lastmile::npu::Npu;

inline spec::HardwareParams small_hardware() {
  spec::HardwareParams hw;
  hw.rows = 4;
  hw.cols = 4;
  hw.bus_bytes = 8;
  hw.act_bytes = 4096;
  hw.acc_depth = 64;
  hw.rq_lanes = 1;
  return hw;
}

inline void write64(Npu& npu, std::uint32_t offset, std::uint64_t v) {
  npu.write_register(offset, static_cast<std::uint32_t>(v));
  npu.write_register(offset + 4, static_cast<std::uint32_t>(v >> 32));
}

inline void write_registers(Npu& npu, const reference::Registers& r) {
  npu.write_register(reg::kPolarity, r.polarity);
  npu.write_register(reg::kDistribution, r.distribution);
  write64(npu, reg::kSeedLo, r.seed);
  write64(npu, reg::kMaskSeedLo, r.mask_seed);
  npu.write_register(reg::kPairs, r.pairs);
  npu.write_register(reg::kStep, r.step_mantissa | r.step_shift << 16);
  for (std::uint32_t j = 0; j < 8; ++j) {
    write64(npu, reg::kPairSeedLo + 16 * j, r.pair_seed[j]);
    npu.write_register(reg::kPairCoef + 16 * j, static_cast<std::uint32_t>(r.pair_coef[j]));
  }
}

// Writes the queue at `address` (inside `memory`, which the NPU sees) and points the registers at
// it.
inline void queue(Npu& npu, std::span<std::byte> memory, std::uint32_t address,
                  std::span<const spec::Descriptor> commands) {
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const spec::DescriptorWords words = spec::encode(commands[i]);
    std::memcpy(memory.data() + address + i * spec::kDescBytes, words.data(), sizeof words);
  }
  npu.write_register(reg::kQueueAddr, address);
  npu.write_register(reg::kQueueCount, static_cast<std::uint32_t>(commands.size()));
}

struct Outcome {
  spec::Error code;
  std::uint32_t info;
  std::uint32_t command;
  bool operator==(const Outcome&) const = default;
};
inline Outcome run(Npu& npu) {
  npu.write_register(reg::kCtrl, 1);
  return {static_cast<spec::Error>(npu.read_register(reg::kErrorCode)),
          npu.read_register(reg::kErrorInfo), npu.read_register(reg::kErrorCommand)};
}

}  // namespace bench
