// SPDX-License-Identifier: Apache-2.0
// Any bytes as registers, queue and memory of the NPU model: it answers with results or an error
// code and never leaves its memory. Layout of the input: hardware choice, registers (4 bytes each),
// then the start of memory; the queue lies at its beginning. Descriptors are made plausible field
// by field where a byte says so, because random words hardly ever pass the first rules.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "cmodel/npu/npu.hpp"

namespace {

namespace spec = lastmile::spec;
namespace reg = lastmile::spec::reg;

constexpr std::size_t kMemory = 16384;

class Input {
 public:
  Input(const std::uint8_t* data, std::size_t size) : data_(data, size) {}
  std::uint32_t byte() { return at_ < data_.size() ? data_[at_++] : 0; }
  std::uint32_t word() {
    std::uint32_t v = 0;
    for (int i = 0; i < 4; ++i) v |= byte() << (8 * i);
    return v;
  }
  std::span<const std::uint8_t> rest() const { return data_.subspan(at_); }

 private:
  std::span<const std::uint8_t> data_;
  std::size_t at_ = 0;
};

// Small numbers in the fields that shape a command.
void tame(spec::Descriptor& d, Input& in) {
  d.opcode = in.byte() % (spec::kOpcodes + 1);
  d.flags &= spec::kKnownFlags;
  const auto small = [&](std::uint32_t& field, std::uint32_t most) {
    field = 1 + in.byte() % most;
  };
  small(d.n, 4);
  small(d.in_h, 9);
  small(d.in_w, 9);
  small(d.out_h, 9);
  small(d.out_w, 9);
  small(d.kernel_h, 4);
  small(d.kernel_w, 4);
  small(d.stride_h, 3);
  small(d.stride_w, 3);
  small(d.dilation_h, 3);
  small(d.dilation_w, 3);
  small(d.groups, 3);
  small(d.cin_group, 20);
  small(d.cout_group, 20);
  d.in_c = d.groups * d.cin_group;
  d.out_c = d.opcode == 2 ? d.in_c * d.cout_group : d.groups * d.cout_group;
  d.w_pitch = 64 * (1 + in.byte() % 8);
  d.pad_top %= 5, d.pad_left %= 5;
  d.in_zp = static_cast<std::int8_t>(d.in_zp), d.out_zp = static_cast<std::int8_t>(d.out_zp);
  d.in2_zp = static_cast<std::int8_t>(d.in2_zp), d.add_zp = static_cast<std::int8_t>(d.add_zp);
  d.act_min = std::min(static_cast<std::int32_t>(static_cast<std::int8_t>(d.act_min)),
                       d.act_max = static_cast<std::int8_t>(d.act_max));
  d.add_act_min = std::min(static_cast<std::int32_t>(static_cast<std::int8_t>(d.add_act_min)),
                           d.add_act_max = static_cast<std::int8_t>(d.add_act_max));
  d.w_keep %= 257, d.b_keep %= 257;
  d.w_eps_shift %= 32, d.b_eps_shift %= 32, d.step_shift %= 40, d.add_shift %= 21;
  d.m1 &= 0x7fffffff, d.m2 &= 0x7fffffff, d.mo &= 0x7fffffff;
  for (std::int32_t* e : {&d.e1, &d.e2, &d.eo}) *e = std::clamp(*e, -40, 30);
  d.diff_min = std::min(d.diff_min, 0);
  d.tile_n = d.tile_h = d.tile_w = 1;
  d.tile_c = d.in_c;
  d.row_pitch = ((d.kernel_w - 1) * d.dilation_w + 1) * d.tile_c;
  for (std::uint32_t* a : {&d.w_addr, &d.bias_addr, &d.rq_addr}) *a = *a % kMemory / 64 * 64;
  for (std::uint32_t* a : {&d.in_addr, &d.in2_addr, &d.out_addr}) *a = *a % kMemory / 4 * 4;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input in(data, size);
  spec::HardwareParams hw;
  const std::uint32_t choice = in.byte();
  if ((choice & 1) != 0) {
    hw.rows = 4, hw.cols = 8, hw.bus_bytes = 64, hw.act_bytes = 4096, hw.acc_depth = 64;
  }
  hw.training = (choice & 2) != 0 ? 0 : 1;
  const bool plausible = (choice & 4) == 0;
  // guards on both sides show a write that the sanitizer would not see
  std::vector<std::byte> guarded(kMemory + 128, std::byte{0xa5});
  const std::span<std::byte> memory(guarded.data() + 64, kMemory);
  lastmile::npu::Npu npu(hw, memory, (choice & 8) != 0 ? 2 : 1);
  npu.write_register(reg::kQueueCount, 1 + in.byte() % 3);
  npu.write_register(reg::kMemLimit,
                     (choice & 16) != 0 ? in.word() : static_cast<std::uint32_t>(kMemory));
  for (std::uint32_t offset = reg::kBatchAddr; offset <= reg::kStep; offset += 4) {
    npu.write_register(offset, plausible ? in.byte() % 3 : in.word());
  }
  for (std::uint32_t offset = reg::kPairSeedLo; offset < 0x100; offset += 4)
    npu.write_register(offset, in.word());
  if (!plausible) npu.write_register(in.word() & 0xffc, in.word());
  std::array<spec::Descriptor, 3> commands;
  for (spec::Descriptor& d : commands) {
    spec::DescriptorWords words{};
    for (std::uint32_t& w : words) w = in.word();
    d = spec::decode(words);
    if (plausible) tame(d, in);
  }
  const auto rest = in.rest();
  std::memcpy(memory.data(), rest.data(), std::min(rest.size(), memory.size()));
  const std::size_t queue = kMemory - 3 * spec::kDescBytes;
  for (std::size_t i = 0; i < commands.size(); ++i) {
    const spec::DescriptorWords words = spec::encode(commands[i]);
    std::memcpy(memory.data() + queue + i * spec::kDescBytes, words.data(), sizeof words);
  }
  if (plausible) npu.write_register(reg::kQueueAddr, queue);
  npu.write_register(reg::kCtrl, 1);
  const std::uint32_t status = npu.read_register(reg::kStatus);
  if (status != 2 && status != 4) std::abort();
  if ((status == 4) != (npu.read_register(reg::kErrorCode) != 0)) std::abort();
  for (std::size_t i = 0; i < 64; ++i) {
    if (guarded[i] != std::byte{0xa5} || guarded[kMemory + 64 + i] != std::byte{0xa5}) std::abort();
  }
  return 0;
}
