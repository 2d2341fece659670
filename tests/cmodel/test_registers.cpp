// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cmodel/device/model_device.hpp"
#include "cmodel/spec/npu_identity.hpp"
#include "cmodel/spec/registers.hpp"
#include "tests/cmodel/bench.hpp"
#include "tests/cmodel/random_command.hpp"

using bench::Outcome;
using lastmile::npu::Npu;
using lastmile::spec::Counter;
using lastmile::spec::Descriptor;
using lastmile::spec::Error;
using lastmile::spec::Field;
using lastmile::spec::HardwareParams;
using lastmile::spec::Opcode;
using lastmile::spec::ShapeRule;
namespace spec = lastmile::spec;
namespace reg = lastmile::spec::reg;

namespace {

constexpr std::uint32_t kMemory = 1 << 16;
constexpr std::uint32_t kQueue = 0xf000;

std::uint32_t code(Field f) { return static_cast<std::uint32_t>(f); }
std::uint32_t code(ShapeRule r) { return static_cast<std::uint32_t>(r); }

// A small valid command of each kind; addresses are apart and aligned.
Descriptor valid(Opcode op) {
  Descriptor d;
  d.opcode = static_cast<std::uint32_t>(op);
  d.n = 2;
  d.in_addr = 0x1000, d.in2_addr = 0x2000, d.out_addr = 0x3000;
  d.w_addr = 0x4000, d.bias_addr = 0x5000, d.rq_addr = 0x6000;
  d.in_h = d.in_w = d.out_h = d.out_w = 4;
  d.in_c = d.out_c = 8;
  d.groups = 1, d.cin_group = 8, d.cout_group = op == Opcode::depthwise_ ? 1 : 8;
  d.kernel_h = d.kernel_w = 3;
  d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
  d.pad_top = d.pad_left = 1;
  d.w_pitch = op == Opcode::conv2d_ ? 192 : 64;
  d.act_min = -128, d.act_max = 127;
  d.w_keep = d.b_keep = 256;
  d.m1 = 40000;
  d.e1 = op == Opcode::softmax_ ? 20 : -10;
  d.tile_n = 1, d.tile_h = 4, d.tile_w = 4, d.tile_c = 8, d.row_pitch = 48;
  if (op == Opcode::conv2d_ || op == Opcode::depthwise_) d.flags = spec::kFlagHasBias;
  if (op == Opcode::loss_) d.flags = spec::kFlagLosses;
  return d;
}

struct Machine {
  explicit Machine(const HardwareParams& hw = {})
      : memory(kMemory, std::byte{0x5a}), npu(hw, memory) {
    npu.write_register(reg::kMemLimit, kMemory);
    npu.write_register(reg::kPairs, 1);
  }
  Outcome operator()(const std::vector<Descriptor>& commands) {
    bench::queue(npu, memory, kQueue, commands);
    const std::vector<std::byte> before = memory;
    const Outcome o = bench::run(npu);
    touched = memory != before;
    return o;
  }
  std::vector<std::byte> memory;
  Npu npu;
  bool touched = false;
};

struct Rule {
  const char* what;
  Opcode op;
  std::function<void(Descriptor&, Npu&)> breaks;
  Error error;
  std::uint32_t info;
};

#define BREAK(...) []([[maybe_unused]] Descriptor& d, [[maybe_unused]] Npu& npu) { __VA_ARGS__; }

// In the contract's order: each rule must win over all that come after it in its list.
std::vector<Rule> conv_rules(Opcode op) {
  const bool conv = op == Opcode::conv2d_;
  std::vector<Rule> rules = {
      {"unknown flag", op, BREAK(d.flags |= 1U << 20), Error::shape_, code(ShapeRule::flags_)},
      {"batch of none", op, BREAK(d.n = 0), Error::field_, code(Field::n)},
      {"no input rows", op, BREAK(d.in_h = 0), Error::field_, code(Field::in_h)},
      {"padding", op, BREAK(d.pad_left = 40000), Error::field_, code(Field::pad_left)},
      {"zero point", op, BREAK(d.in_zp = 128), Error::field_, code(Field::in_zp)},
      {"mask", op, BREAK(d.w_keep = 257), Error::field_, code(Field::w_keep)},
      {"pitch of rows", op, BREAK(d.row_pitch = 0), Error::field_, code(Field::row_pitch)},
      {"polarity", op, BREAK(d.flags |= spec::kFlagWTrain; npu.write_register(reg::kPolarity, 3)),
       Error::register_, reg::kPolarity},
      {"distribution", op,
       BREAK(d.flags |= spec::kFlagBTrain; npu.write_register(reg::kDistribution, 2)),
       Error::register_, reg::kDistribution},
      {"channels", op, BREAK(d.out_c = 9), Error::shape_, code(ShapeRule::groups_)},
      {"long row", op,
       BREAK(d.w_pitch = 64; d.kernel_h = 5; d.out_c = 40; d.in_c = 40; d.cin_group = d.groups * 40;
             d.cout_group = d.opcode == 1 ? 40 : 1),
       Error::shape_, code(ShapeRule::pitch_)},
      {"clamp upside down", op, BREAK(d.act_min = 5; d.act_max = 4), Error::shape_,
       code(ShapeRule::range_)},
      {"packed in the wrong bank", op, BREAK(d.flags |= spec::kFlagPacked; d.row_pitch = 49),
       Error::shape_, code(ShapeRule::pack_)},
      {"tile above the batch", op, BREAK(d.tile_n = 3), Error::tile_, 1},
      {"row too short", op, BREAK(d.row_pitch = 47), Error::tile_, 2},
      {"input outside", op, BREAK(d.in_addr = kMemory - 100), Error::address_,
       code(Field::in_addr)},
      {"output outside", op, BREAK(d.out_addr = 0xffffff00), Error::address_,
       code(Field::out_addr)},
      {"weights off their alignment", op, BREAK(d.w_addr += 32), Error::address_,
       code(Field::w_addr)},
      {"bias outside", op, BREAK(d.bias_addr = kMemory), Error::address_, code(Field::bias_addr)},
      {"table off its alignment", op, BREAK(d.rq_addr += 4), Error::address_, code(Field::rq_addr)},
  };
  if (conv)
    rules.insert(rules.begin() + 3,
                 {"groups of none", op, BREAK(d.groups = 0), Error::field_, code(Field::groups)});
  if (conv) std::swap(rules[2], rules[3]);  // groups has the smaller id
  return rules;
}

}  // namespace

TEST_CASE("cmodel: valid commands of every kind run, invalid ones touch nothing") {
  for (std::uint32_t op = 1; op < spec::kOpcodes; ++op) {
    Machine m;
    INFO("opcode " << op);
    CHECK(m({valid(static_cast<Opcode>(op))}) == Outcome{Error::none_, 0, 0});
    CHECK(m.npu.read_register(reg::kStatus) == 2);
    CHECK(m.npu.counters()[Counter::commands_] == 1);
  }
}

TEST_CASE("cmodel: the first violated rule names itself, in the contract's order") {
  for (const Opcode op : {Opcode::conv2d_, Opcode::depthwise_}) {
    const auto rules = conv_rules(op);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      Machine alone;
      Descriptor d = valid(op);
      rules[i].breaks(d, alone.npu);
      INFO(rules[i].what << " on opcode " << static_cast<int>(op));
      CHECK(alone({d}) == Outcome{rules[i].error, rules[i].info, 0});
      CHECK_FALSE(alone.touched);
      CHECK(alone.npu.read_register(reg::kStatus) == 4);
      CHECK(alone.npu.counters()[Counter::commands_] == 0);
      CHECK(alone.npu.counters()[Counter::cmd_bytes_] == 192);
      // with a later violation as well
      for (std::size_t k = i + 1; k < rules.size(); ++k) {
        Machine both;
        Descriptor two = valid(op);
        rules[k].breaks(two, both.npu);
        rules[i].breaks(two, both.npu);
        INFO("and " << rules[k].what);
        const Outcome found = both({two});
        // two changes of the same field leave only one violation
        const bool shared = found == Outcome{rules[k].error, rules[k].info, 0} &&
                            (std::string(rules[i].what) == "packed in the wrong bank" ||
                             std::string(rules[k].what) == "long row");
        CHECK((found == Outcome{rules[i].error, rules[i].info, 0} || shared));
      }
    }
  }
}

TEST_CASE("cmodel: rules of the other commands") {
  const std::vector<Rule> rules = {
      {"opcode", Opcode::add_, BREAK(d.opcode = spec::kOpcodes), Error::opcode_, 0},
      {"both widths", Opcode::update_, BREAK(d.flags = spec::kFlagW8 | spec::kFlagW32),
       Error::shape_, code(ShapeRule::flags_)},
      {"int32 weights", Opcode::conv2d_, BREAK(d.flags |= spec::kFlagW32), Error::shape_,
       code(ShapeRule::flags_)},
      {"wide pool", Opcode::pool_, BREAK(d.flags |= spec::kFlagOut16), Error::shape_,
       code(ShapeRule::flags_)},
      {"wide addition", Opcode::conv2d_, BREAK(d.flags |= spec::kFlagOut16 | spec::kFlagResAdd),
       Error::shape_, code(ShapeRule::flags_)},
      {"addition behind a pool", Opcode::pool_, BREAK(d.flags |= spec::kFlagResAdd), Error::shape_,
       code(ShapeRule::flags_)},
      {"addend", Opcode::add_, BREAK(d.m2 = 0x80000000), Error::field_, code(Field::m2)},
      {"fused addend", Opcode::conv2d_, BREAK(d.flags |= spec::kFlagResAdd; d.eo = -41),
       Error::field_, code(Field::eo)},
      {"differences", Opcode::softmax_, BREAK(d.diff_min = 1), Error::field_,
       code(Field::diff_min)},
      {"step", Opcode::update_, BREAK(d.step_shift = 40), Error::field_, code(Field::step_shift)},
      {"pairs", Opcode::update_, BREAK(npu.write_register(reg::kPairs, 9)), Error::register_,
       reg::kPairs},
      {"no pairs", Opcode::update_, BREAK(npu.write_register(reg::kPairs, 0)), Error::register_,
       reg::kPairs},
      {"step of the run", Opcode::update_, BREAK(npu.write_register(reg::kStep, 17U << 16)),
       Error::register_, reg::kStep},
      {"update's polarity", Opcode::update_, BREAK(npu.write_register(reg::kPolarity, 7)),
       Error::register_, reg::kPolarity},
      {"K", Opcode::conv2d_, BREAK(d.kernel_h = 300; d.kernel_w = 300), Error::shape_,
       code(ShapeRule::k_)},
      {"window", Opcode::pool_, BREAK(d.kernel_h = 300; d.kernel_w = 300), Error::shape_,
       code(ShapeRule::k_)},
      {"classes", Opcode::softmax_, BREAK(d.in_c = 4096), Error::shape_, code(ShapeRule::k_)},
      {"row", Opcode::update_, BREAK(d.in_c = 33), Error::shape_, code(ShapeRule::pitch_)},
      {"sum's clamp", Opcode::add_, BREAK(d.add_act_min = 1; d.add_act_max = 0), Error::shape_,
       code(ShapeRule::range_)},
      {"logit multiplier", Opcode::loss_, BREAK(d.m1 = 65536), Error::shape_,
       code(ShapeRule::range_)},
      {"logit shift", Opcode::loss_, BREAK(d.e1 = 1), Error::shape_, code(ShapeRule::range_)},
      {"softmax shift", Opcode::softmax_, BREAK(d.e1 = -1), Error::shape_, code(ShapeRule::range_)},
      {"int8 clamp", Opcode::pool_, BREAK(d.act_max = 128), Error::shape_, code(ShapeRule::range_)},
      {"chunks of an image", Opcode::conv2d_, BREAK(d.tile_c = 4), Error::shape_,
       code(ShapeRule::chunk_)},
      {"pool too large", Opcode::pool_, BREAK(d.row_pitch = 0xffffff), Error::tile_, 2},
      {"positions", Opcode::conv2d_, BREAK(d.n = d.tile_n = 40; d.kernel_h = d.kernel_w = 1),
       Error::tile_, 1},
      {"logits off", Opcode::loss_, BREAK(d.in_addr += 1), Error::address_, code(Field::in_addr)},
      {"labels off", Opcode::loss_, BREAK(d.in_c = 256; d.in2_addr += 1), Error::address_,
       code(Field::in2_addr)},
      {"losses off", Opcode::loss_, BREAK(d.out_addr += 2), Error::address_, code(Field::out_addr)},
      {"wide outputs off", Opcode::conv2d_, BREAK(d.flags |= spec::kFlagOut16; d.out_addr += 1),
       Error::address_, code(Field::out_addr)},
      {"pitch off", Opcode::update_, BREAK(d.w_pitch = 96), Error::address_, code(Field::w_addr)},
      {"base beyond 32 bits", Opcode::add_,
       BREAK(d.flags |= spec::kFlagInBatch; npu.write_register(reg::kBatchAddr, 0xffffff00)),
       Error::address_, code(Field::in_addr)},
  };
  for (const Rule& r : rules) {
    Machine m;
    Descriptor d = valid(r.op);
    r.breaks(d, m.npu);
    INFO(r.what);
    CHECK(m({d}) == Outcome{r.error, r.info, 0});
    CHECK_FALSE(m.touched);
  }
}

TEST_CASE(
    "cmodel: regions may end at MEM_LIMIT and not one byte later; missing memory answers like a "
    "bus") {
  Machine m;
  Descriptor d = valid(Opcode::add_);
  m.npu.write_register(reg::kMemLimit, kQueue + 192);
  d.out_addr = kQueue + 192 - 16;  // overwrites its own descriptor: it was fetched
  CHECK(m({d}).code == Error::none_);
  d.out_addr += 1;
  CHECK(m({d}) == Outcome{Error::address_, code(Field::out_addr), 0});
  m.npu.write_register(reg::kMemLimit, 0xffffffff);
  d.out_addr = kMemory - 15;
  CHECK(m({d}) == Outcome{Error::bus_write_, static_cast<std::uint32_t>(spec::Engine::add_), 0});
  CHECK_FALSE(m.touched);
  Descriptor conv = valid(Opcode::conv2d_);
  conv.w_addr = kMemory;
  CHECK(m({conv}) ==
        Outcome{Error::bus_read_, static_cast<std::uint32_t>(spec::Engine::weight_), 0});
  m.npu.write_register(reg::kQueueAddr, kMemory - 192);
  m.npu.write_register(reg::kQueueCount, 2);
  std::fill(m.memory.end() - 192, m.memory.end(), std::byte{0});
  m.memory[kMemory - 192] = std::byte{9};
  CHECK(bench::run(m.npu).code == Error::opcode_);
  const spec::DescriptorWords words = spec::encode(valid(Opcode::pool_));
  std::memcpy(m.memory.data() + kMemory - 192, words.data(), 192);
  CHECK(bench::run(m.npu) ==
        Outcome{Error::bus_read_, static_cast<std::uint32_t>(spec::Engine::fetch_), 1});
}

TEST_CASE("cmodel: only what a command reads has to exist") {
  const auto engine = [](spec::Engine e) { return static_cast<std::uint32_t>(e); };
  for (const Opcode op : {Opcode::conv2d_, Opcode::depthwise_, Opcode::pool_}) {
    CAPTURE(static_cast<int>(op));
    // Windows of one row and column at 0 and 3 of a 5 x 5 image: row and column 4 are not reached
    // by tiles of one position.
    Descriptor d = valid(op);
    d.n = 1;
    d.in_h = d.in_w = 5, d.out_h = d.out_w = 2;
    d.kernel_h = d.kernel_w = 1, d.stride_h = d.stride_w = 3;
    d.pad_top = d.pad_left = 0;
    d.tile_h = d.tile_w = 1, d.row_pitch = 16;
    const std::uint32_t reach = ((3 * 5) + 4) * 8;  // bytes up to pixel 3, 3
    const auto result = [&](std::uint32_t in_addr, Outcome expected) {
      Machine m;
      m.npu.write_register(reg::kMemLimit, 0xffffffff);
      std::fill(m.memory.begin(), m.memory.end(), std::byte{0});
      for (std::uint32_t i = 0; i < reach && in_addr + i < kMemory; ++i)
        m.memory[in_addr + i] = static_cast<std::byte>(i % 100);
      for (std::uint32_t i = 0; i < 8 * 64; ++i)
        m.memory[d.w_addr + i] = static_cast<std::byte>(i % 5);
      for (std::uint32_t i = 0; i < 8 * 8; i += 8) m.memory[d.rq_addr + i + 3] = std::byte{0x40};
      Descriptor at = d;
      at.in_addr = in_addr;
      CHECK(m({at}) == expected);
      const auto first = m.memory.begin() + d.out_addr;
      return std::vector<std::byte>(first, first + 4 * 8);
    };
    const Outcome good{Error::none_, 0, 0};
    const Outcome missing{Error::bus_read_,
                          engine(op == Opcode::pool_ ? spec::traits(op).load : spec::Engine::load_),
                          0};
    const auto inside = result(0x1000, good);
    CHECK(std::ranges::count(inside, inside.front()) < 32);
    CHECK(result(kMemory - reach, good) == inside);
    result(kMemory - reach + 1, missing);
    // A third row and column of windows lies in the padding: it reads nothing more.
    d.out_h = d.out_w = 3;
    const auto padded = result(0x1000, good);
    CHECK(result(kMemory - reach, good) == padded);
    // One tile reads all between its first and its last window, as far as the image goes.
    d.tile_h = d.tile_w = 3, d.row_pitch = 64;
    result(kMemory - reach, missing);
    CHECK(result(kMemory - 5 * 5 * 8, good) == padded);
    // Nothing but padding: the image may be anywhere.
    d.out_h = d.out_w = d.tile_h = d.tile_w = 1, d.row_pitch = 16, d.pad_left = 1;
    result(0x10000000, good);
  }
  Machine m;
  m.npu.write_register(reg::kMemLimit, 0xffffffff);
  Descriptor update = valid(Opcode::update_);
  update.w_pitch = 192;
  update.w_addr = kMemory - 7 * 192 - 64;
  CHECK(m({update}).code == Error::none_);
  update.w_addr += 64;
  CHECK(m({update}) == Outcome{Error::bus_read_, engine(spec::Engine::update_), 0});
}

TEST_CASE("cmodel: queues end at their count, at END, at the first error") {
  Machine m;
  Descriptor end;
  const Descriptor pool = valid(Opcode::pool_);
  Descriptor bad = pool;
  bad.in_c = 0;
  CHECK(m({pool, pool, end, bad}).code == Error::none_);
  CHECK(m.npu.read_register(reg::kCommand) == 2);
  CHECK(m.npu.counters()[Counter::commands_] == 2);
  CHECK(m.npu.counters()[Counter::cmd_bytes_] == 3 * 192);
  m.memory[pool.out_addr] = std::byte{1};
  CHECK(m({pool, bad, pool}) == Outcome{Error::field_, code(Field::in_c), 1});
  CHECK(m.npu.counters()[Counter::commands_] == 1);
  CHECK(m.npu.counters()[Counter::cmd_bytes_] == 2 * 192);
  CHECK(m.touched);  // by the command before
  // the queue itself
  m.npu.write_register(reg::kQueueCount, 0);
  CHECK(bench::run(m.npu) == Outcome{Error::queue_, 0, 0});
  m.npu.write_register(reg::kQueueCount, 1);
  m.npu.write_register(reg::kQueueAddr, kQueue + 32);
  CHECK(bench::run(m.npu) == Outcome{Error::queue_, 0, 0});
  m.npu.write_register(reg::kQueueAddr, kQueue);
  m.npu.write_register(reg::kMemLimit, kQueue + 191);
  CHECK(bench::run(m.npu) == Outcome{Error::queue_, 0, 0});
  CHECK(m.npu.counters()[Counter::cmd_bytes_] == 0);
}

TEST_CASE("cmodel: status, interrupt and soft reset") {
  Machine m;
  Npu& npu = m.npu;
  const Descriptor pool = valid(Opcode::pool_);
  Descriptor bad = pool;
  bad.n = 0;
  CHECK(npu.read_register(reg::kStatus) == 0);
  m({pool});
  CHECK(npu.read_register(reg::kStatus) == 2);
  CHECK(npu.read_register(reg::kIrqStatus) == 1);
  CHECK_FALSE(npu.interrupt());  // not enabled
  npu.write_register(reg::kIrqEnable, 0xffffffff);
  CHECK(npu.read_register(reg::kIrqEnable) == 3);
  CHECK(npu.interrupt());
  m({bad});
  CHECK(npu.read_register(reg::kStatus) == 4);
  CHECK(npu.read_register(reg::kIrqStatus) == 3);  // both are kept until cleared
  npu.write_register(reg::kIrqStatus, 1);
  CHECK(npu.read_register(reg::kIrqStatus) == 2);
  npu.write_register(reg::kIrqEnable, 1);
  CHECK_FALSE(npu.interrupt());
  npu.write_register(reg::kCtrl, 3);  // reset wins
  CHECK(npu.read_register(reg::kStatus) == 0);
  CHECK(npu.read_register(reg::kIrqStatus) == 0);
  CHECK(npu.read_register(reg::kErrorCode) == 0);
  CHECK(npu.read_register(reg::kErrorInfo) == 0);
  CHECK(npu.read_register(reg::kQueueAddr) == kQueue);  // parameters stay
  CHECK(npu.read_register(reg::kMemLimit) == kMemory);
  CHECK(npu.read_register(reg::kIrqEnable) == 1);
  m({pool});
  CHECK(npu.read_register(reg::kErrorCode) == 0);
}

TEST_CASE("cmodel: registers keep what they are given, unknown ones read as zero") {
  HardwareParams hw = bench::small_hardware();
  hw.training = 0;
  std::vector<std::byte> memory(1024);
  Npu npu(hw, memory);
  CHECK(npu.read_register(reg::kId) == spec::kMagic);
  CHECK(npu.read_register(reg::kSpec) == spec::kSpecHash);
  CHECK(npu.read_register(reg::kHw0) == 0x01080404);
  CHECK(npu.read_register(reg::kHw1) == (64 | 12U << 16));
  CHECK(npu.read_register(reg::kMemLimit) == 0xffffffff);
  CHECK(npu.read_register(reg::kWatchdog) == 1000000);
  const std::array<std::uint32_t, 20> rw = {
      reg::kQueueAddr,        reg::kQueueCount,    reg::kMemLimit,
      reg::kWatchdog,         reg::kBatchAddr,     reg::kLabelAddr,
      reg::kOutAddr,          reg::kPolarity,      reg::kDistribution,
      reg::kSeedLo,           reg::kSeedHi,        reg::kMaskSeedLo,
      reg::kMaskSeedHi,       reg::kPairs,         reg::kStep,
      reg::kPairSeedLo,       reg::kPairSeedHi,    reg::kPairCoef,
      reg::kPairSeedLo + 112, reg::kPairCoef + 112};
  for (std::size_t i = 0; i < rw.size(); ++i)
    npu.write_register(rw[i], static_cast<std::uint32_t>(0x80000001 + i));
  for (std::size_t i = 0; i < rw.size(); ++i) CHECK(npu.read_register(rw[i]) == 0x80000001 + i);
  for (std::uint32_t offset = 0; offset < 4096; offset += 4) {
    if (std::find(rw.begin(), rw.end(), offset) != rw.end()) continue;
    const std::uint32_t before = npu.read_register(offset);
    if (offset != reg::kCtrl && offset != reg::kIrqEnable) npu.write_register(offset, 0xffffffff);
    CHECK((offset == reg::kIrqEnable || (offset >= 0x80 && offset < 0x100) ||
           npu.read_register(offset) == before));
  }
  CHECK(npu.read_register(0x8c) == 0);
  CHECK(npu.read_register(0xffc) == 0);
}

TEST_CASE("cmodel: counters are cleared by a start, loss results by nothing but a loss") {
  Machine m;
  m({valid(Opcode::loss_)});
  const std::uint32_t examples = m.npu.read_register(reg::kExamples);
  const std::uint32_t loss = m.npu.read_register(reg::kLossLo);
  CHECK(m.npu.read_register(reg::kCounter +
                            8 * static_cast<std::uint32_t>(Counter::element_ops_)) == 16);
  m({valid(Opcode::pool_)});
  CHECK(m.npu.read_register(reg::kCounter) == 1);
  CHECK(m.npu.read_register(reg::kCounter + 4) == 0);
  CHECK(m.npu.read_register(reg::kCounter + 8 * static_cast<std::uint32_t>(
                                                    Counter::element_ops_)) == 2 * 16 * 9 * 8);
  m.npu.write_register(reg::kCtrl, 2);
  CHECK(m.npu.read_register(reg::kExamples) == examples);
  CHECK(m.npu.read_register(reg::kLossLo) == loss);
}

TEST_CASE("cmodel: an inference-only build refuses training") {
  HardwareParams hw;
  hw.training = 0;
  Machine m(hw);
  CHECK(m({valid(Opcode::loss_)}).code == Error::unsupported_);
  CHECK(m({valid(Opcode::update_)}).code == Error::unsupported_);
  Descriptor d = valid(Opcode::conv2d_);
  d.flags |= spec::kFlagWTrain;
  CHECK(m({d}).code == Error::none_);  // polarity none
  m.npu.write_register(reg::kPolarity, 1);
  CHECK(m({d}).code == Error::unsupported_);
  CHECK(m({valid(Opcode::conv2d_)}).code == Error::none_);
}

TEST_CASE("cmodel: perturbed commands leave weights and biases in memory as they were") {
  random_command::Generator generator(5, HardwareParams{});
  for (int i = 0; i < 20; ++i) {
    random_command::Case c = generator.command(i % 2 == 0 ? Opcode::conv2d_ : Opcode::depthwise_);
    if (c.d.has(spec::kFlagWTransposed)) continue;
    c.d.flags |= spec::kFlagWTrain | spec::kFlagBTrain | spec::kFlagHasBias;
    c.d.w_eps = 5000;
    c.regs.polarity = 1;
    std::vector<std::byte> memory = c.memory;
    memory.resize(memory.size() + 192);
    Npu npu({}, memory);
    bench::write_registers(npu, c.regs);
    bench::queue(npu, memory, static_cast<std::uint32_t>(c.memory.size()), std::array{c.d});
    REQUIRE(bench::run(npu).code == Error::none_);
    CHECK(npu.counters()[Counter::random_words_] > 0);
    CHECK(std::equal(memory.begin(), memory.begin() + c.d.out_addr, c.memory.begin()));
  }
}

TEST_CASE("cmodel: step by step is the same queue") {
  Machine whole, steps;
  const std::vector<Descriptor> commands = {valid(Opcode::conv2d_), valid(Opcode::pool_),
                                            valid(Opcode::loss_)};
  whole(commands);
  bench::queue(steps.npu, steps.memory, kQueue, commands);
  steps.npu.start();
  CHECK(steps.npu.read_register(reg::kStatus) == 1);
  int done = 0;
  do {
    ++done;
    // Registers that the host writes meanwhile are for the next queue; a read shows what it wrote.
    for (const spec::Register& r : spec::kRegisters) {
      if (!spec::latched(r)) continue;
      for (std::uint32_t i = 0; i < r.count; ++i) {
        const std::uint32_t offset = r.offset + i * r.stride;
        steps.npu.write_register(offset, 0xdeadbeef + offset);
        CHECK(steps.npu.read_register(offset) == ((0xdeadbeef + offset) & r.written));
      }
    }
  } while (steps.npu.step());
  CHECK(done == 3);
  CHECK(steps.npu.last_command().opcode == static_cast<std::uint32_t>(Opcode::loss_));
  CHECK(steps.memory == whole.memory);
  CHECK(steps.npu.counters() == whole.npu.counters());
  CHECK(steps.npu.read_register(reg::kStatus) == 2);
  CHECK_FALSE(steps.npu.step());
}

TEST_CASE("cmodel: the device checks its options and its host's accesses") {
  lastmile::DeviceOptions options;
  options.memory_bytes = 4096;
  const auto device = lastmile::open_model(options);
  CHECK(device->memory_size() == 4096);
  CHECK(device->read_register(reg::kId) == spec::kMagic);
  CHECK_FALSE(device->wait_interrupt());
  std::array<std::byte, 16> data{};
  data[3] = std::byte{7};
  device->write_memory(4080, data);
  std::array<std::byte, 16> back{};
  device->read_memory(4080, back);
  CHECK(back == data);
  CHECK_THROWS_AS(device->read_memory(4081, back), std::out_of_range);
  CHECK_THROWS_AS(device->write_memory(0xffffffff, data), std::out_of_range);
  options.extra = "speed=9";
  CHECK_THROWS_AS(lastmile::open_model(options), std::invalid_argument);
  options.extra.clear();
  options.hardware.rows = 12;
  CHECK_THROWS_AS(lastmile::open_model(options), std::invalid_argument);
  options.hardware.rows = 16;
  options.memory_bytes = 0;
  CHECK_THROWS_AS(lastmile::open_model(options), std::invalid_argument);
}
