// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <array>
#include <string>

#include "cmodel/npu/npu.hpp"
#include "tests/cmodel/bench.hpp"
#include "tests/cmodel/random_command.hpp"
#include "tests/cmodel/reference.hpp"

using lastmile::npu::Npu;
using lastmile::spec::Counter;
using lastmile::spec::Descriptor;
using lastmile::spec::Opcode;
namespace spec = lastmile::spec;
namespace reg = lastmile::spec::reg;

namespace {

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
    // the instruction sets of this CPU in turn
    const auto kernels = lastmile::npu::all_kernels();
    const lastmile::npu::Kernels& now = *kernels[static_cast<std::size_t>(i) % kernels.size()];
    Npu npu(hw, memory, threads, {}, now);
    INFO("seed " << seed << " case " << i << " threads " << threads << " kernels "
                 << std::string(now.name) << ": " << describe(c.d));
    bench::write_registers(npu, c.regs);
    bench::queue(npu, memory, static_cast<std::uint32_t>(c.memory.size()), std::array{c.d});
    REQUIRE(bench::run(npu).code == spec::Error::none_);
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
    compare(op, cases / 2, bench::small_hardware(), 2, seed + 100 + static_cast<std::uint64_t>(op));
  }
}

namespace {

// Memory after a case on `hw` with `threads` and `kernels`.
std::vector<std::byte> result_with(const lastmile::npu::Kernels& kernels,
                                   const random_command::Case& c, const spec::HardwareParams& hw,
                                   int threads, lastmile::npu::Counters& counters) {
  std::vector<std::byte> memory = c.memory;
  memory.resize(c.memory.size() + spec::kDescBytes);
  Npu npu(hw, memory, threads, {}, kernels);
  bench::write_registers(npu, c.regs);
  bench::queue(npu, memory, static_cast<std::uint32_t>(c.memory.size()), std::array{c.d});
  REQUIRE(bench::run(npu).code == spec::Error::none_);
  counters = npu.counters();
  memory.resize(c.memory.size());
  return memory;
}

// The same with every instruction set of this CPU: all must agree.
std::vector<std::byte> result(const random_command::Case& c, const spec::HardwareParams& hw,
                              int threads, lastmile::npu::Counters& counters) {
  const auto all = lastmile::npu::all_kernels();
  const std::vector<std::byte> first = result_with(*all.front(), c, hw, threads, counters);
  for (const lastmile::npu::Kernels* k : all.subspan(1)) {
    lastmile::npu::Counters other;
    INFO("kernels " << std::string(k->name));
    CHECK(result_with(*k, c, hw, threads, other) == first);
    CHECK(other == counters);
  }
  return first;
}

}  // namespace

TEST_CASE("cmodel: bits and data counters do not depend on tiles, array size or threads") {
  const std::uint64_t seed = random_command::seed_from_environment(7);
  for (const Opcode op : {Opcode::conv2d_, Opcode::depthwise_, Opcode::pool_}) {
    random_command::Generator generator(seed + static_cast<std::uint64_t>(op),
                                        bench::small_hardware());
    for (int i = 0; i < 40; ++i) {
      random_command::Case c = generator.command(op);
      INFO("seed " << seed << " case " << i << ": " << describe(c.d));
      lastmile::npu::Counters first, other;
      const auto expected = result(c, bench::small_hardware(), 1, first);
      CHECK(result(c, bench::small_hardware(), 3, other) == expected);
      CHECK(other == first);
      // the smallest tile there is, then tiles of the large array; PACKED belongs to the array's
      // rows
      c.d.flags &= ~std::uint32_t{spec::kFlagPacked};
      c.d.tile_n = c.d.tile_h = c.d.tile_w = 1;
      c.d.row_pitch = ((c.d.kernel_w - 1) * c.d.dilation_w + 1) * c.d.tile_c;
      CHECK(result(c, bench::small_hardware(), 2, other) == expected);
      spec::HardwareParams large;
      large.rows = 32;
      large.cols = 8;
      lastmile::choose_tiles(c.d, large);
      CHECK(result(c, large, 2, other) == expected);
      for (const Counter k :
           {Counter::macs_, Counter::element_ops_, Counter::perturbed_, Counter::clipped_,
            Counter::sat_low_, Counter::sat_high_, Counter::act_write_bytes_}) {
        CHECK(other[k] == first[k]);
      }
    }
  }
}

TEST_CASE("cmodel: the longest dot product reaches exactly both ends of 40 bits") {
  // K = 65536, every weight -2^15, every x - zero_point 255 or -255, bias at its ends
  struct End {
    std::int8_t x;
    std::int32_t zp, bias;
    std::int64_t acc;
  };
  for (const End& end : {End{127, -128, -0x7fffffff - 1, -(std::int64_t{1} << 39)},
                         End{-128, 127, 0x7fffffff, (std::int64_t{1} << 39) - 1}}) {
    for (const int act_bytes : {65536, 4096}) {
      random_command::Case c;
      Descriptor& d = c.d;
      d.opcode = static_cast<std::uint32_t>(Opcode::conv2d_);
      d.flags = spec::kFlagHasBias | spec::kFlagOut16;
      d.n = d.groups = d.in_h = d.in_w = d.out_h = d.out_w = d.kernel_h = d.kernel_w = 1;
      d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
      d.in_c = d.cin_group = 65536;
      d.out_c = d.cout_group = 3;
      d.w_pitch = 131072;
      d.in_zp = end.zp;
      d.act_min = -32768, d.act_max = 32767;
      d.in_addr = 0;
      d.w_addr = 65536;
      d.bias_addr = d.w_addr + 3 * d.w_pitch;
      d.rq_addr = d.bias_addr + 64;
      d.out_addr = d.rq_addr + 64;
      c.memory.resize(d.out_addr + 64);
      std::memset(c.memory.data(), end.x, 65536);
      for (std::uint32_t i = 0; i < 3 * 65536; ++i) {
        const std::int16_t w = -32768;
        std::memcpy(c.memory.data() + d.w_addr + 2 * i, &w, 2);
      }
      for (std::uint32_t o = 0; o < 3; ++o) {
        const std::int32_t table[2] = {0x7fffffff - static_cast<std::int32_t>(o),
                                       -25 + static_cast<std::int32_t>(o)};
        std::memcpy(c.memory.data() + d.bias_addr + 4 * o, &end.bias, 4);
        std::memcpy(c.memory.data() + d.rq_addr + 8 * o, table, 8);
      }
      spec::HardwareParams hw;
      hw.act_bytes = act_bytes;
      lastmile::choose_tiles(d, hw);
      lastmile::npu::Counters counters;
      const auto memory = result(c, hw, 1, counters);
      for (std::uint32_t o = 0; o < 3; ++o) {
        std::int16_t found;
        std::memcpy(&found, memory.data() + d.out_addr + 2 * o, 2);
        const std::int64_t y = reference::requantize(
            end.acc, 0x7fffffff - static_cast<std::int32_t>(o), -25 + static_cast<int>(o));
        CHECK(found == std::clamp<std::int64_t>(y, -32768, 32767));
      }
    }
  }
}

TEST_CASE("cmodel: large images and long sums, where the model cuts its work") {
  spec::HardwareParams hw;
  hw.act_bytes = 262144;
  random_command::Generator generator(random_command::seed_from_environment(31), hw);
  for (int round = 0; round < 4; ++round) {
    random_command::Case c = generator.command(Opcode::conv2d_);
    Descriptor& d = c.d;
    // a padded image beyond what is converted at once, and K beyond a block of 32-bit sums with
    // full-range weights
    d.flags = round % 2 != 0 ? std::uint32_t{spec::kFlagW8} : 0U;
    d.n = 1, d.groups = 1;
    d.in_h = d.in_w = round < 2 ? 3 : 5;
    d.in_c = d.cin_group = round < 2 ? 1 : 700;
    d.out_c = d.cout_group = round < 2 ? 2 : 17;
    d.kernel_h = d.kernel_w = 3;
    d.stride_h = d.stride_w = round < 2 ? 40 : 1;
    d.dilation_h = d.dilation_w = 1;
    d.pad_top = d.pad_left = round < 2 ? 400 : 1;
    d.out_h = d.out_w = round < 2 ? 30 : 5;
    d.w_pitch = (9 * d.in_c * 2 + 63) / 64 * 64;
    d.w_keep = d.b_keep = 256;
    d.w_zp = 0;
    d.out_pitch = 0;
    d.in_addr = 0;
    d.w_addr = 65536;
    d.rq_addr = d.w_addr + d.out_c * d.w_pitch;
    d.rq_addr = (d.rq_addr + 63) / 64 * 64;
    d.out_addr = d.rq_addr + 64 * d.out_c;
    d.act_min = -128, d.act_max = 127;
    c.memory.assign((d.out_addr + d.out_h * d.out_w * d.out_c + 255) / 64 * 64, std::byte{0});
    lastmile::Rng rng(static_cast<std::uint64_t>(round));
    for (std::size_t i = 0; i < d.rq_addr; ++i)
      c.memory[i] = static_cast<std::byte>(rng.next() & 0xff);
    for (std::uint32_t o = 0; o < d.out_c; ++o) {
      const std::int32_t table[2] = {1 << 30, d.has(spec::kFlagW8) ? -8 : -17};
      std::memcpy(c.memory.data() + d.rq_addr + 8 * o, table, 8);
    }
    lastmile::choose_tiles(d, hw);
    std::vector<std::byte> expected = c.memory;
    reference::Model(expected, c.regs).run(d);
    lastmile::npu::Counters counters;
    INFO("round " << round << " " << describe(d));
    CHECK(result(c, hw, 2, counters) == expected);
  }
}

TEST_CASE("cmodel: one machine keeps nothing of a command that the next one could see") {
  const std::uint64_t seed = random_command::seed_from_environment(55);
  random_command::Generator generator(seed, spec::HardwareParams{});
  std::vector<std::byte> memory(1 << 21);
  Npu npu({}, memory, 2);
  for (int i = 0; i < 150; ++i) {
    const random_command::Case c = generator.command(static_cast<Opcode>(generator.in(1, 3)));
    INFO("seed " << seed << " case " << i << ": " << describe(c.d));
    REQUIRE(c.memory.size() + spec::kDescBytes < memory.size());
    std::copy(c.memory.begin(), c.memory.end(), memory.begin());
    std::vector<std::byte> expected = c.memory;
    reference::Model(expected, c.regs).run(c.d);
    bench::write_registers(npu, c.regs);
    bench::queue(npu, memory, static_cast<std::uint32_t>(c.memory.size()), std::array{c.d});
    REQUIRE(bench::run(npu).code == spec::Error::none_);
    REQUIRE(std::equal(expected.begin(), expected.end(), memory.begin()));
  }
}

TEST_CASE("cmodel: sums around 2^31, where the array changes to 64 bits") {
  // all products have the same sign: with K = 256 their sum is just inside 32 bits, the bias takes
  // it out
  for (const std::uint32_t k : {255U, 256U, 257U, 258U, 511U, 512U, 513U, 1025U}) {
    for (const std::int32_t bias : {0, 8388607, 8388608, 8388609, 0x7fffffff, -0x7fffffff}) {
      for (const bool depthwise : {false, true}) {
        for (const int sign : {1, -1}) {
          random_command::Case c;
          Descriptor& d = c.d;
          d.opcode = static_cast<std::uint32_t>(depthwise ? Opcode::depthwise_ : Opcode::conv2d_);
          d.flags = spec::kFlagHasBias | spec::kFlagOut16;
          d.n = d.groups = d.out_h = d.out_w = d.stride_h = d.stride_w = d.dilation_h =
              d.dilation_w = 1;
          d.in_h = d.kernel_h = depthwise ? k : 1;
          d.in_w = d.kernel_w = 1;
          d.in_c = depthwise ? 3 : k;
          d.cin_group = k;
          d.out_c = 3;
          d.cout_group = depthwise ? 1 : 3;
          d.w_pitch = depthwise ? 64 : (2 * k + 63) / 64 * 64;
          const std::uint32_t rows = depthwise ? k : 3;
          d.in_zp = sign > 0 ? 127 : -128;
          d.act_min = -32768, d.act_max = 32767;
          d.w_addr = 8192;
          d.bias_addr = d.w_addr + rows * d.w_pitch;
          d.rq_addr = d.bias_addr + 64;
          d.out_addr = d.rq_addr + 64;
          c.memory.resize(d.out_addr + 64);
          std::memset(c.memory.data(), sign > 0 ? -128 : 127, d.w_addr);
          for (std::uint32_t i = d.w_addr; i < d.bias_addr; i += 2) {
            const std::int16_t w = -32768;
            std::memcpy(c.memory.data() + i, &w, 2);
          }
          for (std::uint32_t o = 0; o < 3; ++o) {
            const std::int32_t table[2] = {0x7fffffff, -17};
            std::memcpy(c.memory.data() + d.bias_addr + 4 * o, &bias, 4);
            std::memcpy(c.memory.data() + d.rq_addr + 8 * o, table, 8);
          }
          lastmile::choose_tiles(d, {});
          std::vector<std::byte> expected = c.memory;
          reference::Model(expected, c.regs).run(d);
          lastmile::npu::Counters counters;
          INFO("K " << k << " bias " << bias << " sign " << sign << " depthwise " << depthwise);
          CHECK(result(c, {}, 1, counters) == expected);
        }
      }
    }
  }
}

TEST_CASE("cmodel: the all-ones label is ignored even where it could be a class") {
  random_command::Case c;
  Descriptor& d = c.d;
  d.opcode = static_cast<std::uint32_t>(Opcode::loss_);
  d.n = 2;
  d.in_c = 65536;
  d.m1 = 40000;
  d.in2_addr = 4 * 65536;
  c.memory.resize(d.in2_addr + 64);
  const std::uint16_t labels[2] = {65535, 65534};
  std::memcpy(c.memory.data() + d.in2_addr, labels, sizeof labels);
  std::vector<std::byte> memory = c.memory;
  memory.resize(memory.size() + spec::kDescBytes);
  Npu npu({}, memory);
  bench::queue(npu, memory, static_cast<std::uint32_t>(c.memory.size()), std::array{d});
  REQUIRE(bench::run(npu).code == spec::Error::none_);
  CHECK(npu.read_register(reg::kExamples) == 1);
  CHECK(npu.read_register(reg::kLossLo) == 16U << 20);
}
