// SPDX-License-Identifier: Apache-2.0
// Queues of random valid commands in one memory image, and what drives them through a Device.
#pragma once

#include <cstdint>
#include <vector>

#include "sw/device/device.hpp"
#include "tests/cmodel/random_command.hpp"

namespace random_queue {

using lastmile::Device;
using random_command::Case;
using random_command::Generator;
namespace spec = lastmile::spec;
namespace reg = lastmile::spec::reg;

struct Queue {
  std::vector<std::byte> memory;
  std::vector<spec::Descriptor> commands;
  reference::Registers regs;
  std::uint32_t address = 0;
  std::uint32_t batch_base = 0, label_base = 0, out_base = 0;  // BATCH_ADDR, LABEL_ADDR, OUT_ADDR

  // The commands as they are now, behind the data.
  void encode() {
    memory.resize(address);
    for (const spec::Descriptor& d : commands) {
      const spec::DescriptorWords words = spec::encode(d);
      const auto* bytes = reinterpret_cast<const std::byte*>(words.data());
      memory.insert(memory.end(), bytes, bytes + sizeof words);
    }
    memory.resize(memory.size() + 64);
  }
};

// opcodes: bit k allows opcode k. Addresses of each command's data move behind those before it; the
// registers are those of the last command.
inline Queue make_queue(std::uint64_t seed, const spec::HardwareParams& hw, unsigned opcodes,
                        std::uint32_t most = 5) {
  Generator g(seed, hw);
  Queue q;
  // weights of the batch (flag W_BATCH) need an aligned base
  q.batch_base = g.coin() ? 64 * g.in(0, 4) : g.in(0, 256);
  q.label_base = g.in(0, 256);
  q.out_base = g.in(0, 256);
  const std::uint32_t count = g.in(1, most);
  while (q.commands.size() < count) {
    const std::uint32_t op = g.in(1, random_command::kLastOpcode);
    if ((opcodes >> op & 1) == 0) continue;
    Case c = g.command(static_cast<spec::Opcode>(op));
    const auto base = static_cast<std::uint32_t>(q.memory.size());
    for (std::uint32_t* a :
         {&c.d.in_addr, &c.d.in2_addr, &c.d.out_addr, &c.d.w_addr, &c.d.bias_addr, &c.d.rq_addr})
      *a += base;
    // Some addresses are relative to a register. All lie above the bases.
    const auto relative = [&](std::uint32_t flag, std::uint32_t& a, std::uint32_t to) {
      if (a < 256 || g.in(0, 3) != 0) return;
      c.d.flags |= flag;
      a -= to;
    };
    if (c.d.has(spec::kFlagWBatch)) {
      if (q.batch_base % 64 == 0) {
        c.d.w_addr -= q.batch_base;
      } else {
        c.d.flags &= ~std::uint32_t{spec::kFlagWBatch};
      }
    }
    if (c.d.opcode != static_cast<std::uint32_t>(spec::Opcode::update_)) {
      relative(spec::kFlagInBatch, c.d.in_addr, q.batch_base);
      relative(spec::kFlagIn2Label, c.d.in2_addr, q.label_base);
      relative(spec::kFlagOutBatch, c.d.out_addr, q.out_base);
    }
    q.memory.insert(q.memory.end(), c.memory.begin(), c.memory.end());
    q.memory.resize((q.memory.size() + 63) / 64 * 64);
    q.commands.push_back(c.d);
    q.regs = c.regs;
  }
  if (g.in(0, 7) == 0) {  // what follows an END is not executed
    spec::Descriptor end;
    end.opcode = static_cast<std::uint32_t>(spec::Opcode::end_);
    q.commands.insert(q.commands.begin() + g.in(1, count), end);
  }
  q.address = static_cast<std::uint32_t>(q.memory.size());
  q.encode();
  return q;
}

inline void write64(Device& device, std::uint32_t offset, std::uint64_t v) {
  device.write_register(offset, static_cast<std::uint32_t>(v));
  device.write_register(offset + 4, static_cast<std::uint32_t>(v >> 32));
}

inline void load(Device& device, const Queue& q) {
  device.write_memory(0, q.memory);
  const reference::Registers& r = q.regs;
  device.write_register(reg::kPolarity, r.polarity);
  device.write_register(reg::kDistribution, r.distribution);
  write64(device, reg::kSeedLo, r.seed);
  write64(device, reg::kMaskSeedLo, r.mask_seed);
  device.write_register(reg::kPairs, r.pairs);
  device.write_register(reg::kStep, r.step_mantissa | r.step_shift << 16);
  for (std::uint32_t j = 0; j < 8; ++j) {
    write64(device, reg::kPairSeedLo + 16 * j, r.pair_seed[j]);
    device.write_register(reg::kPairCoef + 16 * j, static_cast<std::uint32_t>(r.pair_coef[j]));
  }
  device.write_register(reg::kBatchAddr, q.batch_base);
  device.write_register(reg::kLabelAddr, q.label_base);
  device.write_register(reg::kOutAddr, q.out_base);
  device.write_register(reg::kQueueAddr, q.address);
  device.write_register(reg::kQueueCount, static_cast<std::uint32_t>(q.commands.size()));
  device.write_register(reg::kMemLimit, static_cast<std::uint32_t>(q.memory.size()));
  device.write_register(reg::kIrqEnable, 3);
}

struct Outcome {
  bool interrupt = false;
  spec::Error code = spec::Error::none_;
  std::uint32_t command = 0, info = 0;
};
// Runs the loaded queue and takes the interrupt back.
inline Outcome run(Device& device) {
  device.write_register(reg::kCtrl, 1);
  Outcome o;
  o.interrupt = device.wait_interrupt();
  o.code = static_cast<spec::Error>(device.read_register(reg::kErrorCode));
  o.command = device.read_register(reg::kErrorCommand);
  o.info = device.read_register(reg::kErrorInfo);
  device.write_register(reg::kIrqStatus, 3);
  return o;
}

}  // namespace random_queue
