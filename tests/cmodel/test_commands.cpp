#include <doctest/doctest.h>

#include <array>
#include <cstring>
#include <string>

#include "cmodel/npu/npu.hpp"
#include "tests/cmodel/random_command.hpp"
#include "tests/cmodel/reference.hpp"

using lastmile::npu::Npu;
using lastmile::spec::Counter;
using lastmile::spec::Descriptor;
using lastmile::spec::Opcode;
namespace spec = lastmile::spec;
namespace reg = lastmile::spec::reg;

namespace {

void write64(Npu& npu, std::uint32_t offset, std::uint64_t v) {
  npu.write_register(offset, static_cast<std::uint32_t>(v));
  npu.write_register(offset + 4, static_cast<std::uint32_t>(v >> 32));
}

// Puts the descriptor behind the data, runs it, and returns the device's error code.
std::uint32_t run(Npu& npu, std::vector<std::byte>& memory, const random_command::Case& c) {
  const spec::DescriptorWords words = spec::encode(c.d);
  const auto queue = static_cast<std::uint32_t>(c.memory.size());
  std::memcpy(memory.data() + queue, words.data(), sizeof words);
  npu.write_register(reg::kQueueAddr, queue);
  npu.write_register(reg::kQueueCount, 1);
  npu.write_register(reg::kPolarity, c.regs.polarity);
  npu.write_register(reg::kDistribution, c.regs.distribution);
  write64(npu, reg::kSeedLo, c.regs.seed);
  write64(npu, reg::kMaskSeedLo, c.regs.mask_seed);
  npu.write_register(reg::kPairs, c.regs.pairs);
  npu.write_register(reg::kStep, c.regs.step_mantissa | c.regs.step_shift << 16);
  for (std::uint32_t j = 0; j < 8; ++j) {
    write64(npu, reg::kPairSeedLo + 16 * j, c.regs.pair_seed[j]);
    npu.write_register(reg::kPairCoef + 16 * j, static_cast<std::uint32_t>(c.regs.pair_coef[j]));
  }
  npu.write_register(reg::kCtrl, 1);
  return npu.read_register(reg::kErrorCode);
}

std::string describe(const Descriptor& d) {
  return "op " + std::to_string(d.opcode) + " flags " + std::to_string(d.flags) + " n " +
         std::to_string(d.n) + " in " + std::to_string(d.in_h) + "x" + std::to_string(d.in_w) +
         "x" + std::to_string(d.in_c) + " out " + std::to_string(d.out_h) + "x" +
         std::to_string(d.out_w) + "x" + std::to_string(d.out_c) + " kernel " +
         std::to_string(d.kernel_h) + "x" + std::to_string(d.kernel_w) + " groups " +
         std::to_string(d.groups);
}

void compare(Opcode op, int cases, const spec::HardwareParams& hw, int threads,
             std::uint64_t seed) {
  random_command::Generator generator(seed, hw);
  for (int i = 0; i < cases; ++i) {
    const random_command::Case c = generator.command(op);
    std::vector<std::byte> expected = c.memory;
    reference::Model model(expected, c.regs);
    const reference::Counts counts = model.run(c.d);
    std::vector<std::byte> memory = c.memory;
    memory.resize(c.memory.size() + spec::kDescBytes);
    Npu npu(hw, memory, threads);
    INFO("seed " << seed << " case " << i << " threads " << threads << ": " << describe(c.d));
    REQUIRE(run(npu, memory, c) == 0);
    memory.resize(c.memory.size());
    std::size_t at = 0;
    while (at < memory.size() && memory[at] == expected[at]) ++at;
    INFO("first difference at byte " << at << ", output starts at " << c.d.out_addr
                                     << ", weights at " << c.d.w_addr);
    REQUIRE(at == memory.size());
    const auto& counters = npu.counters();
    CHECK(counters[Counter::perturbed_] == counts.perturbed);
    CHECK(counters[Counter::clipped_] == counts.clipped);
    CHECK(counters[Counter::sat_low_] == counts.sat_low);
    CHECK(counters[Counter::sat_high_] == counts.sat_high);
    CHECK(counters[Counter::updated_] == counts.updated);
    CHECK(counters[Counter::update_zero_] == counts.zero);
    CHECK(counters[Counter::update_clipped_] == counts.update_clipped);
    if (op == Opcode::loss_) {
      CHECK((npu.read_register(reg::kLossLo) | std::uint64_t{npu.read_register(reg::kLossHi)}
                                                   << 32) == counts.loss);
      CHECK(npu.read_register(reg::kCorrect) == counts.correct);
      CHECK(npu.read_register(reg::kExamples) == counts.examples);
    }
  }
}

spec::HardwareParams small_hardware() {
  spec::HardwareParams hw;
  hw.rows = 4;
  hw.cols = 4;
  hw.bus_bytes = 8;
  hw.act_bytes = 4096;
  hw.acc_depth = 64;
  hw.rq_lanes = 1;
  return hw;
}

}  // namespace

TEST_CASE("cmodel: commands equal plain loops on random shapes and data") {
  const std::uint64_t seed = random_command::seed_from_environment(20250101);
  const std::array<std::pair<Opcode, int>, 7> mix = {{{Opcode::conv2d_, 250},
                                                      {Opcode::depthwise_, 120},
                                                      {Opcode::pool_, 120},
                                                      {Opcode::add_, 80},
                                                      {Opcode::softmax_, 40},
                                                      {Opcode::loss_, 60},
                                                      {Opcode::update_, 80}}};
  for (const auto& [op, cases] : mix) {
    compare(op, cases, spec::HardwareParams{}, 1, seed + static_cast<std::uint64_t>(op));
    compare(op, cases / 2, small_hardware(), 2, seed + 100 + static_cast<std::uint64_t>(op));
  }
}
