// SPDX-License-Identifier: Apache-2.0
// npu_validate against the model's validate_command(): both sides of every limit of the contract,
// every field at the edges of all ranges, then random commands with one or several fields changed
// at random.
#include "cmodel/command/control.hpp"
#include "cmodel/command/validate.hpp"
#include "tests/cmodel/limits.hpp"
#include "tests/rtl/peri/bench.hpp"

#ifndef P_ROWS
#define P_ROWS 16
#endif
#ifndef P_TRAINING
#define P_TRAINING 1
#endif
#ifndef P_ACT_BYTES
#define P_ACT_BYTES 65536
#endif
#ifndef P_ACC_DEPTH
#define P_ACC_DEPTH 512
#endif

namespace spec = lastmile::spec;
namespace npu = lastmile::npu;

namespace {

// A command that breaks no rule when memory is 1 MiB.
spec::Descriptor valid_command(bench::Random& rnd, const spec::HardwareParams& hw) {
  spec::Descriptor d;
  const auto u = [&](std::int64_t lo, std::int64_t hi) {
    return static_cast<std::uint32_t>(rnd.between(lo, hi));
  };
  const auto op = static_cast<spec::Opcode>(u(0, static_cast<std::int64_t>(spec::kOpcodes) - 1));
  d.opcode = static_cast<std::uint32_t>(op);
  const bool conv = op == spec::Opcode::conv2d_, dw = op == spec::Opcode::depthwise_;
  d.n = u(1, 4), d.kernel_h = u(1, 3), d.kernel_w = u(1, 3), d.stride_h = u(1, 2),
  d.stride_w = u(1, 2), d.dilation_h = 1, d.dilation_w = 1;
  d.groups = conv ? u(1, 3) : 1;
  d.cin_group = u(1, 20), d.cout_group = conv ? u(1, 20) : u(1, 3);
  d.in_c = conv ? d.groups * d.cin_group : u(1, 40);
  d.out_c = conv ? d.groups * d.cout_group : dw ? d.in_c * d.cout_group : u(1, 40);
  d.in_h = u(1, 12), d.in_w = u(1, 12), d.out_h = u(1, 6), d.out_w = u(1, 6);
  d.tile_n = u(1, d.n), d.tile_h = u(1, std::min(4u, d.out_h)),
  d.tile_w = u(1, std::min(4u, d.out_w)), d.tile_c = d.in_c;
  while (d.tile_n * d.tile_h * d.tile_w > static_cast<std::uint32_t>(hw.acc_depth)) d.tile_n = 1;
  d.row_pitch = static_cast<std::uint32_t>(
                    npu::region_extent(d.tile_w, d.stride_w, d.kernel_w, d.dilation_w)) *
                    d.in_c +
                u(0, 40);
  d.w_pitch = 64 * u(64, 80);
  d.act_min = static_cast<std::int32_t>(rnd.between(-128, 0)),
  d.act_max = static_cast<std::int32_t>(rnd.between(0, 127));
  d.add_act_min = -128, d.add_act_max = 127;
  d.w_keep = 256, d.b_keep = 256, d.m1 = u(0, 65535),
  d.e1 = op == spec::Opcode::softmax_ ? 3
         : op == spec::Opcode::loss_  ? -3
                                      : -2;
  d.flags = 0;
  if (rnd.chance(30)) d.flags |= spec::kFlagW8;
  if (rnd.chance(30)) d.flags |= spec::kFlagHasBias;
  if (rnd.chance(30)) d.flags |= spec::kFlagWTrain;
  if (rnd.chance(30)) d.flags |= spec::kFlagInBatch;
  if (rnd.chance(30)) d.flags |= spec::kFlagIn2Label;
  if (rnd.chance(30)) d.flags |= spec::kFlagOutBatch;
  if (rnd.chance(30)) d.flags |= spec::kFlagLosses;
  if ((conv || dw) && rnd.chance(20))
    d.flags |= spec::kFlagResAdd;
  else if ((conv || dw) && rnd.chance(30))
    d.flags |= spec::kFlagOut16;
  d.in_addr = 64 * u(0, 1000), d.in2_addr = 64 * u(0, 1000), d.out_addr = 64 * u(0, 1000);
  d.w_addr = 64 * u(0, 1000), d.bias_addr = 64 * u(0, 1000), d.rq_addr = 64 * u(0, 1000);
  return d;
}

// One command on the RTL and the model, which have to agree; what the model says.
npu::Fault compare(bench::Bench& b, const spec::DescriptorWords& words,
                   const npu::RegisterFile& regs, const spec::HardwareParams& hw,
                   const std::string& what) {
  Vtop& t = *b.top;
  const spec::Descriptor d = spec::decode(words);
  spec::Descriptor resolved;
  const npu::Fault fault = npu::validate_command(d, regs, hw, resolved);
  std::copy_n(words.begin(), 48, bench::words(t.desc_i));
  t.polarity_i = regs.polarity(), t.distribution_i = regs.distribution(), t.pairs_i = regs.pairs(),
  t.step_shift_i = static_cast<std::uint8_t>(regs.step_shift());
  t.batch_addr_i = regs.raw(spec::reg::kBatchAddr),
  t.label_addr_i = regs.raw(spec::reg::kLabelAddr), t.out_addr_i = regs.raw(spec::reg::kOutAddr);
  t.mem_limit_i = regs.raw(spec::reg::kMemLimit);
  t.start_i = 1;
  b.edge();
  t.start_i = 0;
  int cycles = 0;
  while (!t.done_o) {
    b.edge();
    if (++cycles > 30) bench::fail("takes too long", b.cycle);
  }
  bench::equal(what + " code", t.code_o, static_cast<std::int64_t>(fault.code), b.cycle);
  bench::equal(what + " info", t.info_o, fault.info, b.cycle);
  if (!fault && d.opcode != 0) {
    bench::equal(what + " in", t.in_addr_o, resolved.in_addr, b.cycle);
    bench::equal(what + " in2", t.in2_addr_o, resolved.in2_addr, b.cycle);
    bench::equal(what + " out", t.out_addr_o, resolved.out_addr, b.cycle);
  }
  return fault;
}

// Every part of every word with values at the edges of ranges, on every opcode.
void field_edges(bench::Bench& b, const spec::HardwareParams& hw) {
  std::vector<std::int64_t> values = {0, 19, 20, 21, 29, 30, 31, 38, 39, 40, 41, 0x7fffffff};
  for (int k = 0; k < 32; ++k)
    for (const std::int64_t near : {-1, 0, 1}) {
      values.push_back((std::int64_t{1} << k) + near);
      values.push_back(-(std::int64_t{1} << k) + near);
    }
  for (const std::int64_t v : {39, 40, 41}) values.push_back(-v);
  struct Part {
    int lsb, bits;
  };
  for (unsigned op = 1; op < spec::kOpcodes; ++op) {
    for (const bool fused : {false, true}) {
      limits::Command c = limits::command(op);
      if (fused && op > 2) continue;
      if (fused) c.d.flags |= spec::kFlagResAdd;
      const npu::RegisterFile regs = c.registers(hw);
      const spec::DescriptorWords base = spec::encode(c.d);
      for (std::size_t w = 1; w < 36; ++w)
        for (const Part p : {Part{0, 32}, {0, 16}, {16, 16}, {0, 8}, {8, 8}, {16, 8}, {24, 8}})
          for (const std::int64_t v : values) {
            if (p.bits < 32 && (v < -(1 << p.bits) || v > (1 << p.bits))) continue;
            spec::DescriptorWords words = base;
            bench::put(words.data(), static_cast<int>(w) * 32 + p.lsb, p.bits,
                       static_cast<std::uint64_t>(v));
            compare(b, words, regs, hw,
                    "opcode " + std::to_string(op) + " word " + std::to_string(w) + " bit " +
                        std::to_string(p.lsb) + " value " + std::to_string(v));
          }
    }
  }
}

// Registers a command may need, some of them wrong.
npu::RegisterFile random_registers(bench::Random& rnd, const spec::HardwareParams& hw) {
  npu::RegisterFile regs(hw);
  const auto w = [&](std::uint32_t reg, std::uint64_t v) {
    regs.write(reg, static_cast<std::uint32_t>(v));
  };
  w(spec::reg::kPolarity, rnd.chance(5) ? rnd.bits() : rnd.below(3));
  w(spec::reg::kDistribution, rnd.chance(3) ? rnd.bits() : rnd.below(2));
  w(spec::reg::kPairs,
    rnd.chance(5) ? rnd.below(12) : static_cast<std::uint64_t>(rnd.between(1, 8)));
  w(spec::reg::kStep, rnd.below(65536) | (rnd.chance(5) ? rnd.below(64) : rnd.below(17)) << 16);
  w(spec::reg::kBatchAddr, rnd.chance(3) ? rnd.bits() : 64 * rnd.below(100));
  w(spec::reg::kLabelAddr, rnd.chance(3) ? rnd.bits() : 2 * rnd.below(100));
  w(spec::reg::kOutAddr, rnd.chance(3) ? rnd.bits() : 4 * rnd.below(100));
  w(spec::reg::kMemLimit, rnd.chance(10)   ? rnd.below(1 << 17)
                          : rnd.chance(10) ? 0xffffffffu
                                           : 1u << 20);
  return regs;
}

// One of eight shapes at their limits.
void stretch(spec::Descriptor& d, bench::Random& rnd, const spec::HardwareParams& hw) {
  const auto between = [&](std::int64_t lo, std::int64_t hi) {
    return static_cast<std::uint32_t>(rnd.between(lo, hi));
  };
  switch (rnd.below(8)) {
    case 0:
      d.kernel_h = between(200, 300), d.kernel_w = d.kernel_h, d.w_pitch = 262144;
      break;
    case 1:
      d.row_pitch =
          static_cast<std::uint32_t>(hw.act_bytes) / (d.tile_n * (d.tile_h + d.kernel_h)) -
          static_cast<std::uint32_t>(rnd.below(40));
      break;
    case 2:
      d.flags |= spec::kFlagPacked;
      d.groups = 1, d.cin_group = d.in_c, d.cout_group = d.out_c;
      d.row_pitch = d.kernel_w * d.in_c + static_cast<std::uint32_t>(P_ROWS * rnd.below(8)) +
                    (rnd.chance(20) ? 1 : 0);
      break;
    case 3:
      d.kernel_h = d.kernel_w = d.in_h = d.in_w = d.out_h = d.out_w = d.tile_h = d.tile_w = 1;
      d.groups = 1, d.cin_group = d.in_c, d.cout_group = d.out_c;
      d.tile_c = std::max(1u, d.in_c / 2), d.row_pitch = d.in_c;
      break;
    case 4:
      d.in_c = 65536, d.out_c = 65536, d.n = 65535, d.w_pitch = 1 << 22;
      d.in_h = d.in_w = d.out_h = d.out_w = 65535;
      break;
    case 5:
      d.in_c = between(4090, 4100);
      break;
    case 6:
      d.w_pitch = 64 * between(1, 8);
      break;
    default:
      d.act_min = static_cast<std::int32_t>(rnd.between(-40000, 40000));
      d.act_max = static_cast<std::int32_t>(rnd.between(-200, 200));
      d.in_c = between(250, 260);
      break;
  }
}

// A word of the descriptor becomes random, loses a bit, vanishes or moves a little.
void spoil(std::uint32_t& word, bench::Random& rnd) {
  switch (rnd.below(4)) {
    case 0:
      word = static_cast<std::uint32_t>(rnd.bits());
      break;
    case 1:
      word ^= 1u << rnd.below(32);
      break;
    case 2:
      word = 0;
      break;
    default:
      word += static_cast<std::uint32_t>(rnd.between(-2, 2));
      break;
  }
}

spec::DescriptorWords random_words(bench::Random& rnd, const spec::HardwareParams& hw) {
  spec::Descriptor d = valid_command(rnd, hw);
  if (rnd.chance(20)) stretch(d, rnd, hw);
  spec::DescriptorWords words = spec::encode(d);
  const std::int64_t changes = rnd.chance(50) ? 0 : rnd.between(1, 3);
  for (std::int64_t k = 0; k < changes; ++k) spoil(words[rnd.below(36)], rnd);
  return words;
}

// Both sides of every limit, with the answer that the contract gives.
void contract_limits(bench::Bench& b, const spec::HardwareParams& hw) {
  limits::for_each(hw, [&](const std::string& name, const limits::Command& c, spec::Error code,
                           std::uint32_t info) {
    const npu::Fault found = compare(b, spec::encode(c.d), c.registers(hw), hw, name);
    bench::equal(name + ": model's code", static_cast<std::int64_t>(found.code),
                 static_cast<std::int64_t>(code), b.cycle);
    bench::equal(name + ": model's info", found.info, info, b.cycle);
  });
}

// Commands at random; every code that a command can end with is seen often enough.
void random_commands(bench::Bench& b, const spec::HardwareParams& hw) {
  bench::Random rnd;
  std::array<std::uint64_t, 16> by_code{};
  for (int i = 0; i < 120000; ++i) {
    const npu::RegisterFile regs = random_registers(rnd, hw);
    const spec::DescriptorWords words = random_words(rnd, hw);
    const npu::Fault fault =
        compare(b, words, regs, hw,
                "command " + std::to_string(i) + " opcode " + std::to_string(words[0] & 0xff));
    ++by_code[static_cast<std::size_t>(fault.code)];
  }
  constexpr auto kQueue = static_cast<std::size_t>(spec::Error::queue_);
  constexpr auto kUnsupported = static_cast<std::size_t>(spec::Error::unsupported_);
  for (std::size_t c = 0; c <= kUnsupported; ++c) {
    if (c != kQueue && (P_TRAINING == 0 || c != kUnsupported) && by_code[c] < 100)
      bench::fail(
          "code " + std::to_string(c) + " seen only " + std::to_string(by_code[c]) + " times",
          b.cycle);
  }
}

}  // namespace

int main() {
  bench::Bench b;
  spec::HardwareParams hw;
  hw.rows = P_ROWS, hw.training = P_TRAINING, hw.act_bytes = P_ACT_BYTES;
  hw.acc_depth = P_ACC_DEPTH;
  b.top->clear_i = 0, b.top->start_i = 0;
  b.reset();
  contract_limits(b, hw);
  field_edges(b, hw);
  random_commands(b, hw);
  return bench::done("validate");
}
