// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/planned.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <memory>

#include "cmodel/spec/registers.hpp"
#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/compiler/tiling.hpp"

namespace lastmile::profile {
namespace {

namespace reg = spec::reg;
using spec::Counter;
using spec::Descriptor;
using spec::Opcode;

constexpr std::uint64_t align_up(std::uint64_t n) {
  constexpr auto kTo = static_cast<std::uint64_t>(spec::kAlign);
  return (n + kTo - 1) / kTo * kTo;
}

// The most bytes that any operand of the command spans.
std::uint64_t operand_bytes(const Descriptor& d) {
  const std::uint64_t in = std::uint64_t{d.n} * std::max<std::uint32_t>(d.in_h, 1) *
                           std::max<std::uint32_t>(d.in_w, 1) * d.in_c;
  const std::uint64_t out = 2 * std::uint64_t{d.n} * std::max<std::uint32_t>(d.out_h, 1) *
                            std::max<std::uint32_t>(d.out_w, 1) *
                            std::max(d.out_c, std::uint32_t{1});
  const std::uint64_t rows = static_cast<Opcode>(d.opcode) == Opcode::depthwise_
                                 ? std::uint64_t{d.kernel_h} * d.kernel_w
                                 : d.out_c;
  return std::max({2 * in, out, rows * d.w_pitch, std::uint64_t{8} * d.out_c});
}

void run(Device& device, std::uint32_t address, std::uint32_t count, const std::string& phase) {
  device.annotate(phase);
  device.write_register(reg::kQueueAddr, address);
  device.write_register(reg::kQueueCount, count);
  device.write_register(reg::kCtrl, spec::kStart);
  if (!device.wait_interrupt())
    throw Error(ErrorKind::device, fmt::format("{}: no interrupt", phase));
  const std::uint32_t cause = device.read_register(reg::kIrqStatus);
  device.write_register(reg::kIrqStatus, cause);
  if (!reg::kIrqStatusError.is_set(cause)) return;
  const auto error = static_cast<spec::Error>(device.read_register(reg::kErrorCode));
  const std::uint32_t at = device.read_register(reg::kErrorCommand),
                      info = device.read_register(reg::kErrorInfo);
  device.write_register(reg::kCtrl, spec::kSoftReset);
  throw Error(ErrorKind::device, fmt::format("{}: error {} ({}) in command {}", phase,
                                             spec::to_string(error), info, at));
}

}  // namespace

void append_forward(std::vector<PlannedCommand>& commands, const Program& program,
                    const Network& network, const std::string& phase) {
  for (const Command& c : program.forward) {
    PlannedCommand p{phase, c.name, {}, c.descriptor, false};
    if (c.layer != kNetworkInput) p.layer = network.layers[static_cast<std::size_t>(c.layer)].name;
    commands.push_back(std::move(p));
  }
}

void finish_descriptor(Descriptor& d, const spec::HardwareParams& hw) {
  d.dilation_h = std::max(d.dilation_h, std::uint32_t{1});
  d.dilation_w = std::max(d.dilation_w, std::uint32_t{1});
  const std::uint64_t element = d.has(spec::kFlagW8) ? 1 : 2;
  const std::uint64_t columns = static_cast<Opcode>(d.opcode) == Opcode::depthwise_
                                    ? d.out_c
                                    : std::uint64_t{d.kernel_h} * d.kernel_w * d.cin_group;
  d.w_pitch = static_cast<std::uint32_t>(align_up(columns * element));
  d.act_min = d.has(spec::kFlagOut16) ? -32768 : -128;
  d.act_max = d.has(spec::kFlagOut16) ? 32767 : 127;
  d.add_act_min = -128;
  d.add_act_max = 127;
  d.w_keep = d.b_keep = spec::kKeepAll;
  choose_tiles(d, hw);
}

Descriptor bytes_add(std::uint64_t bytes) {
  Descriptor d;
  d.opcode = static_cast<std::uint32_t>(Opcode::add_);
  const std::uint64_t rows = std::max<std::uint64_t>(1, (bytes + 65535) / 65536);
  d.n = static_cast<std::uint32_t>(rows);
  d.in_c = static_cast<std::uint32_t>((bytes + rows - 1) / rows);
  d.add_act_min = -128;
  d.add_act_max = 127;
  return d;
}

CounterFile run_planned(const std::vector<PlannedCommand>& commands, const Program& program,
                        const CounterFile& like, const DeviceOpener& open) {
  std::uint64_t largest = 0;
  for (const PlannedCommand& c : commands) largest = std::max(largest, operand_bytes(c.descriptor));
  const std::uint64_t free_at = align_up(program.memory.total_bytes);
  const std::uint64_t queue_at = align_up(free_at + largest);
  DeviceOptions options;
  options.hardware = like.hardware;
  options.memory_bytes = queue_at + commands.size() * spec::kDescBytes;
  if (options.memory_bytes >= (std::uint64_t{1} << 32))
    throw Error(ErrorKind::input, fmt::format("{}: the commands work on {} bytes, expected less "
                                              "than 2^32",
                                              like.network, options.memory_bytes));
  const std::unique_ptr<Device> device = open(options);
  device->write_register(reg::kCtrl, spec::kSoftReset);
  device->write_register(reg::kMemLimit, static_cast<std::uint32_t>(options.memory_bytes));
  device->write_register(reg::kIrqEnable, reg::kIrqEnableDone.mask() | reg::kIrqEnableError.mask());
  device->write_register(reg::kBatchAddr, program.batch_address);
  device->write_register(reg::kLabelAddr, program.label_address);
  device->write_register(reg::kOutAddr, program.output_address);
  device->write_register(reg::kPairs, static_cast<std::uint32_t>(std::max(1, like.pairs)));
  device->write_register(reg::kDistribution, static_cast<std::uint32_t>(program.distribution));
  for (std::size_t i = 0; i < commands.size(); ++i) {
    stop_if_asked();
    Descriptor d = commands[i].descriptor;
    // Operands that the program does not hold lie in the free region.
    const auto at = static_cast<std::uint32_t>(free_at);
    if (d.in_addr == 0 && !d.has(spec::kFlagInBatch)) d.in_addr = at;
    for (std::uint32_t* address : {&d.in2_addr, &d.w_addr, &d.bias_addr, &d.rq_addr})
      if (*address == 0) *address = at;
    if (d.has(spec::kFlagIn2Label)) d.in2_addr = commands[i].descriptor.in2_addr;
    if (d.out_addr == 0 && !d.has(spec::kFlagOutBatch)) d.out_addr = at;
    const auto words = spec::encode(d);
    device->write_memory(static_cast<std::uint32_t>(queue_at + i * spec::kDescBytes),
                         std::as_bytes(std::span(words)));
  }
  CounterFile out = like;
  out.commands.clear();
  std::size_t queues = 0;
  std::vector<std::size_t> first_of;
  for (std::size_t i = 0; i < commands.size();) {
    std::size_t end = i;
    while (end < commands.size() && commands[end].phase == commands[i].phase) ++end;
    const bool plus = commands[i].phase.ends_with('+'), minus = commands[i].phase.ends_with('-');
    device->write_register(reg::kPolarity, plus ? 1 : minus ? 2 : 0);
    run(*device, static_cast<std::uint32_t>(queue_at + i * spec::kDescBytes),
        static_cast<std::uint32_t>(end - i), fmt::format("{}", queues++));
    first_of.push_back(i);
    i = end;
  }
  for (CommandCounters& c : commands_of_report(device->report())) {
    const PlannedCommand& p =
        commands[first_of[static_cast<std::size_t>(std::stoul(c.phase))] + c.command];
    c.phase = p.phase;
    c.name = p.name;
    c.layer = p.layer;
    if (p.repeated_input > 1) {
      const auto bus = static_cast<std::uint64_t>(like.hardware.bus_bytes);
      const std::uint64_t words = c.counters[Counter::act_read_bytes_] / bus;
      const std::uint64_t kept = words / static_cast<std::uint64_t>(p.repeated_input);
      c.counters[Counter::act_read_bytes_] = kept * bus;
      c.counters[Counter::bus_read_beats_] -= words - kept;
    }
    if (p.partial) {
      c.counters[Counter::act_write_bytes_] = 0;
      c.counters[Counter::bus_write_beats_] = 0;
    }
    out.commands.push_back(std::move(c));
  }
  return out;
}

}  // namespace lastmile::profile
