// SPDX-License-Identifier: Apache-2.0
// Random valid commands with their data, for tests that compare the model with reference.hpp.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "sw/compiler/tiling.hpp"
#include "tests/cmodel/reference.hpp"

namespace random_command {

using lastmile::Rng;
using lastmile::spec::Descriptor;
using lastmile::spec::Opcode;
namespace spec = lastmile::spec;

inline std::uint64_t seed_from_environment(std::uint64_t otherwise) {
  const char* text = std::getenv("LASTMILE_SEED");
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 0);
}

// Opcodes are 1 to kLastOpcode (0 is END); a bit for each of them.
inline constexpr std::uint32_t kLastOpcode = static_cast<std::uint32_t>(spec::kOpcodes) - 1;
inline constexpr unsigned kEveryOpcode = (1U << spec::kOpcodes) - 2;

struct Case {
  Descriptor d;
  reference::Registers regs;
  std::vector<std::byte> memory;
};

class Generator {
 public:
  Generator(std::uint64_t seed, const spec::HardwareParams& hw) : rng_(seed), hw_(hw) {}

  std::uint32_t in(std::uint32_t low, std::uint32_t high) {
    return low + static_cast<std::uint32_t>(rng_.below(high - low + 1));
  }
  std::int32_t between(std::int32_t low, std::int32_t high) {
    return low + static_cast<std::int32_t>(
                     rng_.below(static_cast<std::uint64_t>(std::int64_t{high} - low + 1)));
  }
  bool coin() { return rng_.below(2) == 0; }
  bool rarely() { return rng_.below(5) == 0; }

  Case command(Opcode op) {
    for (;;) {
      Case c = attempt(op);
      if (c.memory.empty()) continue;
      return c;
    }
  }

 private:
  std::uint32_t place(Case& c, std::uint64_t bytes, std::uint32_t align) {
    std::uint64_t at = (c.memory.size() + align - 1) / align * align;
    if (align < 64) at += std::uint64_t{align} * in(0, 9);
    c.memory.resize(at + bytes);
    for (std::uint64_t i = at; i < at + bytes; ++i)
      c.memory[i] = static_cast<std::byte>(rng_.next() & 0xff);
    return static_cast<std::uint32_t>(at);
  }

  void registers(Case& c) {
    reference::Registers& r = c.regs;
    r.polarity = in(0, 2);
    r.distribution = in(0, 1);
    r.seed = rng_.next();
    r.mask_seed = rng_.next();
    r.pairs = in(1, 8);
    for (int j = 0; j < 8; ++j) {
      r.pair_seed[j] = rng_.next();
      r.pair_coef[j] = coin() ? between(-127, 127) : (coin() ? 1 : -1);
    }
    r.step_mantissa = in(0, 65535);
    r.step_shift = in(0, 16);
  }

  // 2^30 makes ties of half of the odd accumulators.
  std::uint32_t multiplier() {
    if (rarely()) return coin() ? 1u << 30 : in(0, 0x7fffffff);
    return in(1u << 30, 0x7fffffff);
  }
  std::uint32_t keep() { return coin() ? 256 : rarely() ? 0 : in(0, 256); }

  void addition(Descriptor& d) {
    d.in2_zp = between(-128, 127);
    d.add_zp = between(-128, 127);
    d.add_shift = coin() ? 20 : in(0, 20);
    for (std::uint32_t* m : {&d.m1, &d.m2, &d.mo}) *m = multiplier();
    d.e1 = rarely() ? between(-40, 30) : between(-3, 0);
    d.e2 = rarely() ? between(-40, 30) : between(-3, 0);
    d.eo = rarely() ? between(-40, 30) : between(-21, -16);
    d.add_act_min = coin() ? -128 : between(-128, 0);
    d.add_act_max = coin() ? 127 : between(0, 127);
  }

  void geometry(Case& c, std::uint32_t largest) {
    Descriptor& d = c.d;
    d.n = in(1, 5);
    const bool point = rarely();
    d.in_h = point ? 1 : in(1, largest);
    d.in_w = point ? 1 : in(1, largest);
    d.kernel_h = point ? 1 : in(1, 4);
    d.kernel_w = point ? 1 : in(1, 4);
    d.stride_h = in(1, 3);
    d.stride_w = in(1, 3);
    d.dilation_h = rarely() ? in(1, 3) : 1;
    d.dilation_w = rarely() ? in(1, 3) : 1;
    d.pad_top = point ? 0 : in(0, 3);
    d.pad_left = point ? 0 : in(0, 3);
    d.out_h = point ? 1 : in(1, largest);
    d.out_w = point ? 1 : in(1, largest);
  }

  void matrix(Case& c, Opcode op) {
    Descriptor& d = c.d;
    geometry(c, 9);
    if (coin()) d.flags |= spec::kFlagW8;
    if (coin()) d.flags |= spec::kFlagHasBias;
    if (coin()) d.flags |= spec::kFlagWTrain;
    if (coin()) d.flags |= spec::kFlagBTrain;
    d.groups = 1;
    if (op == Opcode::conv2d_) {
      d.groups = rarely() ? in(2, 4) : 1;
      d.cin_group = rarely() ? in(1, 300) : in(1, 20);
      d.cout_group = rarely() ? in(1, 40) : in(1, 18);
      d.in_c = d.groups * d.cin_group;
    } else {
      d.in_c = in(1, 40);
      d.cout_group = coin() ? 1 : in(1, 4);
    }
    d.out_c = op == Opcode::conv2d_ ? d.groups * d.cout_group : d.in_c * d.cout_group;
    const std::uint32_t taps = d.kernel_h * d.kernel_w;
    const bool transposed = op == Opcode::conv2d_ && d.groups == 1 && rarely();
    if (transposed) {
      d.flags |= spec::kFlagWTransposed;
      d.flags &= ~std::uint32_t{spec::kFlagWTrain};
      if (coin()) d.flags |= spec::kFlagW8;
      if (d.has(spec::kFlagW8)) d.w_zp = coin() ? -128 : between(-128, 127);
      if (coin()) d.flags |= spec::kFlagWBatch;  // BATCH_ADDR is 0, or the queue moves w_addr
    }
    const bool by_rows = op == Opcode::conv2d_ && !transposed;
    const std::uint32_t rows = by_rows ? d.out_c : taps * (transposed ? d.cin_group : 1);
    const std::uint32_t columns = by_rows ? taps * d.cin_group : d.out_c;
    const std::uint32_t bytes = d.has(spec::kFlagW8) ? 1 : 2;
    d.w_pitch = (columns * bytes + 63) / 64 * 64;
    d.in_zp = coin() ? -128 : between(-128, 127);
    d.out_zp = rarely() ? -128 : between(-128, 127);
    d.w_tensor = in(0, 65535);
    d.b_tensor = in(0, 65535);
    d.w_eps = rarely() ? in(0, 65535) : in(0, 300);
    d.w_eps_shift = in(0, 12);
    d.b_eps = in(0, (1u << 24) - 1);
    d.b_eps_shift = in(0, 20);
    d.w_keep = keep();
    d.b_keep = keep();
    if (rarely()) d.flags |= spec::kFlagOut16;
    if (!d.has(spec::kFlagOut16) && rarely()) d.flags |= spec::kFlagResAdd;
    if (!d.has(spec::kFlagOut16) && !d.has(spec::kFlagResAdd) && (transposed ? coin() : rarely()))
      d.flags |= spec::kFlagOut32;
    const bool raw = d.has(spec::kFlagOut32);
    const bool wide = d.has(spec::kFlagOut16);
    d.act_min = coin() ? (wide ? -32768 : -128) : between(-128, 0);
    d.act_max = coin() ? (wide ? 32767 : 127) : between(0, 127);
    d.in_addr = place(c, std::uint64_t{d.n} * d.in_h * d.in_w * d.in_c, 1);
    d.w_addr = place(c, std::uint64_t{rows} * d.w_pitch, 64);
    if (coin() && !d.has(spec::kFlagW8)) small_weights(c, rows);
    const std::uint64_t outputs = std::uint64_t{d.n} * d.out_h * d.out_w * d.out_c;
    if (d.has(spec::kFlagResAdd)) {
      addition(d);
      d.in2_addr = place(c, outputs, 1);
    }
    d.bias_addr = place(c, std::uint64_t{d.out_c} * 4, 64);
    if (coin()) {
      for (std::uint32_t o = 0; o < d.out_c; ++o)
        write(c, d.bias_addr + 4 * o, between(-30000, 30000));
    }
    d.rq_addr = place(c, std::uint64_t{d.out_c} * 8, 64);
    const std::int32_t typical = d.has(spec::kFlagW8) ? -7 : -15;
    for (std::uint32_t o = 0; o < d.out_c; ++o) {
      if (rarely()) continue;  // what is there is random: any bits are defined
      write(c, d.rq_addr + 8 * o, static_cast<std::int32_t>(multiplier()));
      write(c, d.rq_addr + 8 * o + 4, std::min(30, typical + between(-4, 3) + (wide ? 8 : 0)));
    }
    const std::uint32_t element = raw ? 4 : wide ? 2 : 1;
    d.out_addr = place(c, output_bytes(d, d.out_c, element), element);
  }

  // Sometimes images lie apart. Bytes of the whole output.
  std::uint64_t output_bytes(Descriptor& d, std::uint64_t channels, std::uint32_t element) {
    const std::uint64_t image = std::uint64_t{d.out_h} * d.out_w * channels * element;
    std::uint64_t pitch = image;
    if (!d.has(spec::kFlagResAdd) && rarely()) {
      pitch += element * in(0, 70);
      d.out_pitch = static_cast<std::uint32_t>(pitch);
    }
    return (d.n - 1) * pitch + image;
  }

  // The direction of an update in memory: any bits, small values, or extremes.
  void gradient(Case& c) {
    Descriptor& d = c.d;
    d.flags |= spec::kFlagGradient;
    const std::uint32_t pitch = (d.in_c * 4 + 63) / 64 * 64;
    d.in_addr = place(c, std::uint64_t{d.out_c - 1} * pitch + d.in_c * 4, 64);
    if (coin()) d.step_shift = in(20, 39);
    if (rarely()) return;
    for (std::uint32_t r = 0; r < d.out_c; ++r) {
      for (std::uint32_t i = 0; i < d.in_c; ++i)
        write(c, d.in_addr + r * pitch + 4 * i,
              rarely() ? (coin() ? INT32_MIN : INT32_MAX) : between(-100000, 100000));
    }
  }

  void small_weights(Case& c, std::uint32_t rows) {
    for (std::uint64_t at = c.d.w_addr; at < c.d.w_addr + std::uint64_t{rows} * c.d.w_pitch;
         at += 2) {
      const auto w = static_cast<std::int16_t>(between(-4000, 4000));
      std::memcpy(c.memory.data() + at, &w, 2);
    }
  }
  static void write(Case& c, std::uint32_t at, std::int32_t v) {
    std::memcpy(c.memory.data() + at, &v, 4);
  }

  Case attempt(Opcode op) {
    Case c;
    c.memory.resize(256);
    Descriptor& d = c.d;
    d.opcode = static_cast<std::uint32_t>(op);
    d.tag = in(0, 65535);
    registers(c);
    switch (op) {
      case Opcode::conv2d_:
      case Opcode::depthwise_:
        matrix(c, op);
        break;
      case Opcode::pool_:
        geometry(c, 12);
        d.in_c = in(1, 40);
        if (coin()) d.flags |= spec::kFlagMax;
        d.act_min = coin() ? -128 : between(-128, 20);
        d.act_max = coin() ? 127 : between(20, 127);
        d.in_addr = place(c, std::uint64_t{d.n} * d.in_h * d.in_w * d.in_c, 1);
        d.out_addr = place(c, output_bytes(d, d.in_c, 1), 1);
        break;
      case Opcode::add_:
        d.n = in(1, 4);
        d.in_c = in(1, 300);
        d.in_zp = between(-128, 127);
        addition(d);
        d.in_addr = place(c, std::uint64_t{d.n} * d.in_c, 1);
        d.in2_addr = place(c, std::uint64_t{d.n} * d.in_c, 1);
        d.out_addr = place(c, std::uint64_t{d.n} * d.in_c, 1);
        break;
      case Opcode::softmax_:
        d.n = in(1, 4);
        d.in_c = in(1, 60);
        d.in_zp = between(-128, 127);
        d.m1 = in(1u << 30, 0x7fffffff);
        d.e1 = between(18, 24);
        d.diff_min = between(-5000, 0);
        d.in_addr = place(c, std::uint64_t{d.n} * d.in_c, 1);
        d.out_addr = place(c, std::uint64_t{d.n} * d.in_c, 1);
        break;
      case Opcode::loss_:
        d.n = in(1, 20);
        d.in_c = rarely() ? in(250, 300) : in(1, 30);
        d.m1 = in(1, 65535);
        d.e1 = between(-20, 0);
        d.w_tensor = in(0, 65535);
        if (coin()) d.flags |= coin() ? spec::kFlagLosses : spec::kFlagErrors;
        d.in_addr = place(c, std::uint64_t{d.n} * d.in_c * 2, 2);
        d.in2_addr = place(c, std::uint64_t{d.n} * 2, 2);
        if (d.in_c <= 255) {
          for (std::uint32_t i = 0; i < d.n; ++i)
            c.memory[d.in2_addr + i] = static_cast<std::byte>(rarely() ? 255 : in(0, d.in_c));
        } else {
          for (std::uint32_t i = 0; i < d.n; ++i) {
            const auto label = static_cast<std::uint16_t>(rarely() ? 65535 : in(0, d.in_c));
            std::memcpy(c.memory.data() + d.in2_addr + 2 * i, &label, 2);
          }
        }
        if (rarely()) {  // equal logits
          for (std::uint64_t i = 0; i < std::uint64_t{d.n} * d.in_c; ++i) {
            const auto logit = static_cast<std::int16_t>(between(-2, 2));
            std::memcpy(c.memory.data() + d.in_addr + 2 * i, &logit, 2);
          }
        }
        d.out_addr = d.has(spec::kFlagErrors) ? place(c, std::uint64_t{d.n} * d.in_c, 1)
                                              : place(c, std::uint64_t{d.n} * 4, 4);
        break;
      case Opcode::update_: {
        d.out_c = in(1, 12);
        d.in_c = in(1, 150);
        const std::uint32_t width = in(0, 2);
        d.flags |= width == 0   ? std::uint32_t{spec::kFlagW8}
                   : width == 1 ? std::uint32_t{spec::kFlagW32}
                                : 0u;
        const std::uint32_t bytes = width == 0 ? 1 : width == 1 ? 4 : 2;
        d.w_pitch = (d.in_c * bytes + 63) / 64 * 64;
        d.w_tensor = in(0, 65535);
        d.w_keep = keep();
        d.step = in(0, 65535);
        d.step_shift = rarely() ? 0 : in(0, 39);
        if (rarely()) c.regs.step_shift = 0;
        d.w_addr = place(c, std::uint64_t{d.out_c} * d.w_pitch, 64);
        if (coin()) gradient(c);
        break;
      }
      case Opcode::end_:
        break;
    }
    c.memory.resize((c.memory.size() + 255) / 64 * 64);
    try {
      lastmile::choose_tiles(d, hw_);
    } catch (const lastmile::Error&) {
      return {};  // does not fit this scratchpad
    }
    if (rarely()) smaller_tiles(d);
    return c;
  }

  // Any tile inside one that fits does so, too.
  void smaller_tiles(Descriptor& d) {
    for (std::uint32_t* t : {&d.tile_n, &d.tile_h, &d.tile_w})
      if (*t != 0) *t = in(1, *t);
    const bool point = d.opcode == static_cast<std::uint32_t>(Opcode::conv2d_) && d.groups == 1 &&
                       d.kernel_h * d.kernel_w * d.in_h * d.in_w * d.out_h * d.out_w == 1;
    const bool channelwise = d.op() == Opcode::depthwise_ || d.op() == Opcode::pool_;
    if (point || channelwise) d.tile_c = coin() ? in(1, d.tile_c) : (d.tile_c + 1) / 2;
  }

  Rng rng_;
  spec::HardwareParams hw_;
};

}  // namespace random_command
