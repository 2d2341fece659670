// SPDX-License-Identifier: Apache-2.0
// Commands on both sides of every limit of the contract's section Validation: one that just fits,
// the same one step beyond it, and the error that has to follow. Written from the contract, for
// tests of the model and of the RTL. Those that just fit need ACT_BYTES of at least 65536 and an
// ACC_DEPTH below 1600.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cmodel/command/control.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace limits {

namespace spec = lastmile::spec;
using spec::Descriptor;
using spec::Error;
using spec::Field;
using spec::HardwareParams;
using spec::ShapeRule;

// A descriptor and the registers it depends on.
struct Command {
  Descriptor d;
  std::uint32_t polarity = 0, distribution = 0, pairs = 1, step = 0;
  std::uint32_t batch = 0, label = 0, out = 0, memory = 0xffffffff;

  [[nodiscard]] lastmile::npu::RegisterFile registers(const HardwareParams& hw) const {
    lastmile::npu::RegisterFile r(hw);
    r.write(spec::reg::kPolarity, polarity);
    r.write(spec::reg::kDistribution, distribution);
    r.write(spec::reg::kPairs, pairs);
    r.write(spec::reg::kStep, step);
    r.write(spec::reg::kBatchAddr, batch);
    r.write(spec::reg::kLabelAddr, label);
    r.write(spec::reg::kOutAddr, out);
    r.write(spec::reg::kMemLimit, memory);
    return r;
  }
};

using Change = std::function<void(Command&, const HardwareParams&)>;
struct Limit {
  std::string name;
  unsigned opcodes;     // bit k: on opcode k
  Change fits, beyond;  // beyond: what is changed after fits
  Error code;
  std::uint32_t info;
  bool training = false;  // needs a build with TRAINING
};

// Opcodes.
constexpr unsigned kConv = 0x02, kDepthwise = 0x04, kPool = 0x08, kAdd = 0x10, kSoftmax = 0x20,
                   kLoss = 0x40, kUpdate = 0x80;
constexpr unsigned kMatrix = kConv | kDepthwise, kTiled = kMatrix | kPool,
                   kAll = (1U << spec::kOpcodes) - 2;
constexpr unsigned kTrainingOpcodes = kLoss | kUpdate;  // what other builds do not have

// All data of it lies below 1 MiB, with addresses that are multiples of 64.
inline Command command(unsigned opcode) {
  Command c;
  Descriptor& d = c.d;
  const unsigned op = 1U << opcode;
  d.opcode = opcode;
  d.n = 2;
  d.in_addr = 0x1000, d.in2_addr = 0x2000, d.out_addr = 0x3000;
  d.w_addr = 0x4000, d.bias_addr = 0x5000, d.rq_addr = 0x6000;
  d.in_h = d.in_w = d.out_h = d.out_w = 4;
  d.in_c = d.out_c = 8;
  d.groups = 1, d.cin_group = 8, d.cout_group = (op & kDepthwise) != 0 ? 1 : 8;
  d.kernel_h = d.kernel_w = 3;
  d.stride_h = d.stride_w = d.dilation_h = d.dilation_w = 1;
  d.pad_top = d.pad_left = 1;
  d.w_pitch = (op & kConv) != 0 ? 192 : 64;
  d.act_min = -128, d.act_max = 127;
  d.add_act_min = -128, d.add_act_max = 127;
  d.w_keep = d.b_keep = 256;
  d.m1 = 40000;
  d.e1 = (op & kSoftmax) != 0 ? 20 : -10;
  d.tile_n = 1, d.tile_h = 4, d.tile_w = 4, d.tile_c = 8, d.row_pitch = 48;
  return c;
}

#define LIMIT_CHANGE(...)                                                      \
  []([[maybe_unused]] Command& c, [[maybe_unused]] const HardwareParams& hw) { \
    [[maybe_unused]] Descriptor& d = c.d;                                      \
    __VA_ARGS__;                                                               \
  }
constexpr std::uint32_t id(Field f) { return static_cast<std::uint32_t>(f); }
constexpr std::uint32_t id(ShapeRule r) { return static_cast<std::uint32_t>(r); }

// One channel, everything of size one: no tile is in the way of long sums and many positions.
inline void single(Descriptor& d) {
  d.n = d.in_h = d.in_w = d.out_h = d.out_w = d.kernel_h = d.kernel_w = 1;
  d.in_c = d.out_c = d.groups = d.cin_group = d.cout_group = 1;
  d.tile_n = d.tile_h = d.tile_w = d.tile_c = d.row_pitch = 1;
}
inline void channels(Descriptor& d, std::uint32_t k) {
  d.in_c = d.cin_group = d.tile_c = d.row_pitch = k;
  if (d.opcode == 2) d.cin_group = 1, d.out_c = k;
}

inline std::vector<Limit> opcode_limits() {
  const Change same = LIMIT_CHANGE();
  return {
      {"opcode", kAdd, same, LIMIT_CHANGE(d.opcode = spec::kOpcodes), Error::opcode_, 0},
      {"opcode of 8 bits", kAdd, same, LIMIT_CHANGE(d.opcode = 128), Error::opcode_, 0},
  };
}

inline std::vector<Limit> flag_limits() {
  using F = ShapeRule;
  const Change same = LIMIT_CHANGE();
  const auto shape = Error::shape_;
  return {
      {"known flags", kAll, LIMIT_CHANGE(d.flags |= 1U << 12), LIMIT_CHANGE(d.flags |= 1U << 18),
       shape, id(F::flags_)},
      {"last flag", kAll, same, LIMIT_CHANGE(d.flags |= 1U << 23), shape, id(F::flags_)},
      {"both widths", kUpdate, LIMIT_CHANGE(d.flags |= spec::kFlagW32),
       LIMIT_CHANGE(d.flags |= spec::kFlagW8), shape, id(F::flags_)},
      {"int32 weights", kAll & ~kUpdate, LIMIT_CHANGE(d.flags |= spec::kFlagW8),
       LIMIT_CHANGE(d.flags ^= spec::kFlagW8 | spec::kFlagW32), shape, id(F::flags_)},
      {"int16 outputs", kAll & ~kMatrix, same, LIMIT_CHANGE(d.flags |= spec::kFlagOut16), shape,
       id(F::flags_)},
      {"addition", kAll & ~kMatrix, same, LIMIT_CHANGE(d.flags |= spec::kFlagResAdd), shape,
       id(F::flags_)},
      {"int16 addition", kMatrix, LIMIT_CHANGE(d.flags |= spec::kFlagResAdd),
       LIMIT_CHANGE(d.flags |= spec::kFlagOut16), shape, id(F::flags_)},
      {"transposed weights", kConv, LIMIT_CHANGE(d.flags |= spec::kFlagWTransposed),
       LIMIT_CHANGE(d.flags |= spec::kFlagWTrain), shape, id(F::flags_)},
      {"transposed weights elsewhere", kAll & ~kConv, same,
       LIMIT_CHANGE(d.flags |= spec::kFlagWTransposed), shape, id(F::flags_)},
      {"weights of the batch", kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagWTransposed | spec::kFlagWBatch),
       LIMIT_CHANGE(d.flags ^= spec::kFlagWTransposed), shape, id(F::flags_)},
      {"int32 outputs and int16 ones", kMatrix, LIMIT_CHANGE(d.flags |= spec::kFlagOut32),
       LIMIT_CHANGE(d.flags |= spec::kFlagOut16), shape, id(F::flags_)},
      {"int32 outputs and addition", kMatrix, LIMIT_CHANGE(d.flags |= spec::kFlagOut32),
       LIMIT_CHANGE(d.flags |= spec::kFlagResAdd), shape, id(F::flags_)},
      {"int32 outputs elsewhere", kAll & ~kMatrix, same, LIMIT_CHANGE(d.flags |= spec::kFlagOut32),
       shape, id(F::flags_)},
      {"errors and losses", kLoss, LIMIT_CHANGE(d.flags |= spec::kFlagErrors),
       LIMIT_CHANGE(d.flags |= spec::kFlagLosses), shape, id(F::flags_)},
      {"errors elsewhere", kAll & ~kLoss, same, LIMIT_CHANGE(d.flags |= spec::kFlagErrors), shape,
       id(F::flags_)},
      {"gradient elsewhere", kAll & ~kUpdate, same, LIMIT_CHANGE(d.flags |= spec::kFlagGradient),
       shape, id(F::flags_)},
  };
}

// Registers that a command depends on; the others may hold anything.
inline std::vector<Limit> register_limits() {
  return {
      {"registers a gradient does not use", kUpdate,
       LIMIT_CHANGE(d.flags |= spec::kFlagGradient; c.polarity = 3; c.distribution = 2;
                    c.pairs = 9),
       LIMIT_CHANGE(d.flags ^= spec::kFlagGradient), Error::register_, spec::reg::kPolarity},
      {"step of a gradient", kUpdate,
       LIMIT_CHANGE(d.flags |= spec::kFlagGradient; c.step = 16U << 16),
       LIMIT_CHANGE(c.step = 17U << 16), Error::register_, spec::reg::kStep},
      {"polarity of weights", kAll, LIMIT_CHANGE(d.flags |= spec::kFlagWTrain; c.polarity = 2),
       LIMIT_CHANGE(c.polarity = 3), Error::register_, spec::reg::kPolarity, true},
      {"polarity of biases", kAll, LIMIT_CHANGE(d.flags |= spec::kFlagBTrain; c.polarity = 2),
       LIMIT_CHANGE(c.polarity = 0x80000000), Error::register_, spec::reg::kPolarity, true},
      {"polarity that is not used", kMatrix, LIMIT_CHANGE(c.polarity = 3; c.distribution = 2),
       LIMIT_CHANGE(d.flags |= spec::kFlagWTrain), Error::register_, spec::reg::kPolarity, true},
      {"polarity of updates", kUpdate, LIMIT_CHANGE(c.polarity = 2), LIMIT_CHANGE(c.polarity = 3),
       Error::register_, spec::reg::kPolarity},
      {"distribution of weights", kAll,
       LIMIT_CHANGE(d.flags |= spec::kFlagWTrain; c.distribution = 1),
       LIMIT_CHANGE(c.distribution = 2), Error::register_, spec::reg::kDistribution, true},
      {"distribution of updates", kUpdate, LIMIT_CHANGE(c.distribution = 1),
       LIMIT_CHANGE(c.distribution = 2), Error::register_, spec::reg::kDistribution},
      {"pairs", kUpdate, LIMIT_CHANGE(c.pairs = 8), LIMIT_CHANGE(c.pairs = 9), Error::register_,
       spec::reg::kPairs},
      {"no pairs", kUpdate, LIMIT_CHANGE(c.pairs = 1), LIMIT_CHANGE(c.pairs = 0), Error::register_,
       spec::reg::kPairs},
      {"step", kUpdate, LIMIT_CHANGE(c.step = 16U << 16 | 0xffff), LIMIT_CHANGE(c.step = 17U << 16),
       Error::register_, spec::reg::kStep},
      {"no pairs elsewhere", kAll & ~kUpdate, LIMIT_CHANGE(c.pairs = 0; c.step = 17U << 16),
       LIMIT_CHANGE(d.opcode = spec::kOpcodes), Error::opcode_, 0},
  };
}

inline std::vector<Limit> group_limits() {
  using F = ShapeRule;
  const auto shape = Error::shape_;
  return {
      {"input channels", kConv, LIMIT_CHANGE(d.groups = 2; d.cin_group = d.cout_group = 4),
       LIMIT_CHANGE(d.in_c = 9), shape, id(F::groups_)},
      {"output channels", kConv, LIMIT_CHANGE(d.groups = 2; d.cin_group = d.cout_group = 4),
       LIMIT_CHANGE(d.out_c = 9), shape, id(F::groups_)},
      {"output channels below", kConv, LIMIT_CHANGE(d.groups = 2; d.cin_group = d.cout_group = 4),
       LIMIT_CHANGE(d.out_c = 7), shape, id(F::groups_)},
      {"channel multiplier", kDepthwise, LIMIT_CHANGE(d.cout_group = 3; d.out_c = 24),
       LIMIT_CHANGE(d.out_c = 25), shape, id(F::groups_)},
      {"channel multiplier below", kDepthwise, LIMIT_CHANGE(d.cout_group = 3; d.out_c = 24),
       LIMIT_CHANGE(d.out_c = 23), shape, id(F::groups_)},
      {"groups of transposed weights", kConv, LIMIT_CHANGE(d.flags |= spec::kFlagWTransposed),
       LIMIT_CHANGE(d.groups = 2; d.cin_group = d.cout_group = 4), shape, id(F::groups_)},
  };
}

// Sums, windows, rows of weights, pitches.
inline std::vector<Limit> length_limits() {
  using F = ShapeRule;
  const auto shape = Error::shape_;
  return {
      {"K", kConv,
       LIMIT_CHANGE(single(d); d.kernel_h = d.kernel_w = d.row_pitch = 256; d.w_pitch = 131072),
       LIMIT_CHANGE(d.kernel_h = 2; d.kernel_w = 1; channels(d, 32769); d.w_pitch = 4194304), shape,
       id(F::k_)},
      {"taps", kDepthwise, LIMIT_CHANGE(single(d); d.kernel_h = d.kernel_w = d.row_pitch = 256),
       LIMIT_CHANGE(d.kernel_h = 2; d.kernel_w = 32769), shape, id(F::k_)},
      {"window", kPool, LIMIT_CHANGE(single(d); d.kernel_h = 255; d.kernel_w = d.row_pitch = 257),
       LIMIT_CHANGE(d.kernel_h = d.kernel_w = 256), shape, id(F::k_)},
      {"classes", kSoftmax, LIMIT_CHANGE(d.in_c = 4095), LIMIT_CHANGE(d.in_c = 4096), shape,
       id(F::k_)},
      {"classes of a loss", kLoss, LIMIT_CHANGE(d.in_c = 65536), LIMIT_CHANGE(d.in_c = 65537),
       Error::field_, id(Field::in_c)},
      {"row of int8 weights", kMatrix,
       LIMIT_CHANGE(single(d); d.flags |= spec::kFlagW8; channels(d, 64); d.w_pitch = 64),
       LIMIT_CHANGE(channels(d, 65)), shape, id(F::pitch_)},
      {"row of int16 weights", kMatrix, LIMIT_CHANGE(single(d); channels(d, 32); d.w_pitch = 64),
       LIMIT_CHANGE(channels(d, 33)), shape, id(F::pitch_)},
      {"row of taps", kConv, LIMIT_CHANGE(d.w_pitch = 192; d.kernel_h = 12; d.kernel_w = 1),
       LIMIT_CHANGE(d.kernel_h = 13), shape, id(F::pitch_)},
      {"row of an int8 tensor", kUpdate, LIMIT_CHANGE(d.flags |= spec::kFlagW8; d.in_c = 64),
       LIMIT_CHANGE(d.in_c = 65), shape, id(F::pitch_)},
      {"row of an int16 tensor", kUpdate, LIMIT_CHANGE(d.in_c = 32), LIMIT_CHANGE(d.in_c = 33),
       shape, id(F::pitch_)},
      {"row of an int32 tensor", kUpdate, LIMIT_CHANGE(d.flags |= spec::kFlagW32; d.in_c = 16),
       LIMIT_CHANGE(d.in_c = 17), shape, id(F::pitch_)},
      {"row of transposed weights", kConv,
       LIMIT_CHANGE(single(d); d.flags |= spec::kFlagWTransposed; d.out_c = d.cout_group = 32;
                    d.w_pitch = 64),
       LIMIT_CHANGE(d.out_c = d.cout_group = 33), shape, id(F::pitch_)},
      {"pitch of images", kTiled,
       LIMIT_CHANGE(d.out_pitch = d.out_h * d.out_w * (d.opcode == 3 ? d.in_c : d.out_c)),
       LIMIT_CHANGE(d.out_pitch -= 1), shape, id(F::pitch_)},
      {"pitch of int16 images", kMatrix,
       LIMIT_CHANGE(d.flags |= spec::kFlagOut16;
                    d.out_pitch = 2 * (d.out_h * d.out_w * d.out_c + 1)),
       LIMIT_CHANGE(d.out_pitch -= 1), shape, id(F::pitch_)},
      {"pitch of small int16 images", kMatrix,
       LIMIT_CHANGE(d.flags |= spec::kFlagOut16; d.out_pitch = 2 * d.out_h * d.out_w * d.out_c),
       LIMIT_CHANGE(d.out_pitch -= 2), shape, id(F::pitch_)},
      {"pitch of int32 images", kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagOut32;
                    d.out_pitch = 4 * (d.out_h * d.out_w * d.out_c + 1)),
       LIMIT_CHANGE(d.out_pitch -= 2), shape, id(F::pitch_)},
      {"pitch of sums", kMatrix, LIMIT_CHANGE(d.out_pitch = 1000),
       LIMIT_CHANGE(d.flags |= spec::kFlagResAdd), shape, id(F::pitch_)},
      {"pitch of images beyond 32 bits", kTiled, LIMIT_CHANGE(d.out_pitch = 0x10000),
       LIMIT_CHANGE(d.out_h = d.out_w = 32768), shape, id(F::pitch_)},
  };
}

// Zero points, clamps, shifts.
inline std::vector<Limit> range_limits() {
  using F = ShapeRule;
  const auto shape = Error::shape_;
  return {
      {"zero point of int8 weights", kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagW8 | spec::kFlagWTransposed; d.w_zp = -128),
       LIMIT_CHANGE(d.flags ^= spec::kFlagWTransposed), shape, id(F::range_)},
      {"zero point of int16 weights", kConv, LIMIT_CHANGE(d.flags |= spec::kFlagWTransposed),
       LIMIT_CHANGE(d.w_zp = 1), shape, id(F::range_)},
      {"clamp of int32", kMatrix, LIMIT_CHANGE(d.flags |= spec::kFlagOut32; d.act_min = 200),
       LIMIT_CHANGE(d.flags ^= spec::kFlagOut32), shape, id(F::range_)},
      {"clamp upside down", kTiled, LIMIT_CHANGE(d.act_min = d.act_max = -5),
       LIMIT_CHANGE(d.act_min = -4), shape, id(F::range_)},
      {"clamp below int8", kTiled, LIMIT_CHANGE(d.act_min = -128), LIMIT_CHANGE(d.act_min = -129),
       shape, id(F::range_)},
      {"clamp above int8", kTiled, LIMIT_CHANGE(d.act_max = 127), LIMIT_CHANGE(d.act_max = 128),
       shape, id(F::range_)},
      {"clamp of int16", kMatrix,
       LIMIT_CHANGE(d.flags |= spec::kFlagOut16; d.act_min = -32768; d.act_max = 32767),
       LIMIT_CHANGE(d.flags &= ~std::uint32_t{spec::kFlagOut16}), shape, id(F::range_)},
      {"clamp of a sum", kAdd, LIMIT_CHANGE(d.add_act_min = d.add_act_max = 5),
       LIMIT_CHANGE(d.add_act_max = 4), shape, id(F::range_)},
      {"clamp of a fused sum", kMatrix,
       LIMIT_CHANGE(d.flags |= spec::kFlagResAdd; d.add_act_min = d.add_act_max = 5),
       LIMIT_CHANGE(d.add_act_min = 6), shape, id(F::range_)},
      {"clamp of no sum", kMatrix, LIMIT_CHANGE(d.add_act_min = 6; d.add_act_max = 5),
       LIMIT_CHANGE(d.flags |= spec::kFlagResAdd), shape, id(F::range_)},
      {"logit multiplier", kLoss, LIMIT_CHANGE(d.m1 = 65535), LIMIT_CHANGE(d.m1 = 65536), shape,
       id(F::range_)},
      {"logit shift", kLoss, LIMIT_CHANGE(d.e1 = -31), LIMIT_CHANGE(d.e1 = -32), shape,
       id(F::range_)},
      {"left shift of logits", kLoss, LIMIT_CHANGE(d.e1 = 0), LIMIT_CHANGE(d.e1 = 1), shape,
       id(F::range_)},
      {"right shift of a softmax", kSoftmax, LIMIT_CHANGE(d.e1 = 0), LIMIT_CHANGE(d.e1 = -1), shape,
       id(F::range_)},
      {"left shift of a softmax", kSoftmax, LIMIT_CHANGE(d.e1 = 30), LIMIT_CHANGE(d.e1 = 31),
       Error::field_, id(Field::e1)},
  };
}

// Packed taps: rows of the kernel 24 lanes apart.
inline std::vector<Limit> packed_limits() {
  using F = ShapeRule;
  const Change same = LIMIT_CHANGE();
  const auto shape = Error::shape_;
  return {
      {"packed", kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagPacked;
                    d.row_pitch = 24 + 2 * static_cast<std::uint32_t>(hw.rows) * 8),
       LIMIT_CHANGE(d.row_pitch += 1), shape, id(F::pack_)},
      {"packed, half the array off", kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagPacked;
                    d.row_pitch = 24 + 2 * static_cast<std::uint32_t>(hw.rows) * 8),
       LIMIT_CHANGE(d.row_pitch += static_cast<std::uint32_t>(hw.rows) / 2), shape, id(F::pack_)},
      {"packed with dilation below", kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagPacked; d.dilation_h = 2;
                    d.row_pitch = 12 + static_cast<std::uint32_t>(hw.rows / 2 + hw.rows * 16)),
       LIMIT_CHANGE(d.dilation_h = 1), shape, id(F::pack_)},
      {"packed with dilation", kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagPacked;
                    d.row_pitch = 24 + static_cast<std::uint32_t>(hw.rows) * 8),
       LIMIT_CHANGE(d.dilation_w = 2), shape, id(F::pack_)},
      {"packed groups", kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagPacked;
                    d.row_pitch = 24 + static_cast<std::uint32_t>(hw.rows) * 8),
       LIMIT_CHANGE(d.groups = 2; d.cin_group = d.cout_group = 4), shape, id(F::pack_)},
      {"packed channels", kDepthwise, same, LIMIT_CHANGE(d.flags |= spec::kFlagPacked), shape,
       id(F::pack_)},
  };
}

// Tiles of some of the channels.
inline std::vector<Limit> chunk_limits() {
  using F = ShapeRule;
  const auto shape = Error::shape_;
  return {
      {"chunk of a window", kConv, LIMIT_CHANGE(single(d); channels(d, 8); d.tile_c = 4),
       LIMIT_CHANGE(d.kernel_w = 2), shape, id(F::chunk_)},
      {"chunk of a high image", kConv, LIMIT_CHANGE(single(d); channels(d, 8); d.tile_c = 7),
       LIMIT_CHANGE(d.in_h = 2), shape, id(F::chunk_)},
      {"chunk of a wide image", kConv, LIMIT_CHANGE(single(d); channels(d, 8); d.tile_c = 7),
       LIMIT_CHANGE(d.in_w = 2), shape, id(F::chunk_)},
      {"chunk of output rows", kConv, LIMIT_CHANGE(single(d); channels(d, 8); d.tile_c = 1),
       LIMIT_CHANGE(d.out_h = 2), shape, id(F::chunk_)},
      {"chunk of output columns", kConv, LIMIT_CHANGE(single(d); channels(d, 8); d.tile_c = 1),
       LIMIT_CHANGE(d.out_w = 2), shape, id(F::chunk_)},
      {"chunk of groups", kConv, LIMIT_CHANGE(single(d); channels(d, 8); d.tile_c = 4),
       LIMIT_CHANGE(d.groups = 2; d.cin_group = 4; d.out_c = 2), shape, id(F::chunk_)},
  };
}

inline std::vector<Limit> tile_limits() {
  const auto tile = Error::tile_;
  const auto depth = [](const HardwareParams& hw) {
    return static_cast<std::uint32_t>(hw.acc_depth);
  };
  // n, rows, columns of a tile of `count` positions in a tensor that is larger
  const auto line = [depth](int dimension, std::uint32_t more) -> Change {
    return [=](Command& c, const HardwareParams& hw) {
      Descriptor& d = c.d;
      single(d);
      d.n = d.out_h = d.out_w = d.in_h = d.in_w = 1600;
      d.tile_n = d.tile_h = d.tile_w = 1;
      (dimension == 0 ? d.tile_n : dimension == 1 ? d.tile_h : d.tile_w) = depth(hw) + more;
      d.row_pitch = d.tile_w;
    };
  };
  const Change block = [depth](Command& c, const HardwareParams& hw) {
    Descriptor& d = c.d;
    single(d);
    d.n = d.out_h = d.out_w = d.in_h = d.in_w = 1600;
    d.tile_n = 2, d.tile_h = 4, d.tile_w = d.row_pitch = depth(hw) / 8;
  };
  const auto act = [](const HardwareParams& hw) {
    return static_cast<std::uint32_t>(hw.act_bytes);
  };
  return {
      {"images of a tile", kTiled, LIMIT_CHANGE(d.tile_n = 2), LIMIT_CHANGE(d.tile_n = 3), tile, 1},
      {"rows of a tile", kTiled, LIMIT_CHANGE(d.tile_h = 4), LIMIT_CHANGE(d.tile_h = 5), tile, 1},
      {"columns of a tile", kTiled, LIMIT_CHANGE(d.row_pitch = 80), LIMIT_CHANGE(d.tile_w = 5),
       tile, 1},
      {"channels of a tile", kTiled, LIMIT_CHANGE(d.row_pitch = 80), LIMIT_CHANGE(d.tile_c = 9),
       tile, 1},
      {"positions, images", kMatrix, line(0, 0), line(0, 1), tile, 1},
      {"positions, rows", kMatrix, line(1, 0), line(1, 1), tile, 1},
      {"positions, columns", kMatrix, line(2, 0), line(2, 1), tile, 1},
      {"positions", kMatrix, block, LIMIT_CHANGE(d.tile_w += 1; d.row_pitch += 1), tile, 1},
      {"positions of a pool", kPool, line(2, 1), LIMIT_CHANGE(d.row_pitch -= 1), tile, 2},
      // bytes
      {"row of a tile", kTiled, LIMIT_CHANGE(d.row_pitch = 48), LIMIT_CHANGE(d.row_pitch = 47),
       tile, 2},
      {"row with stride and dilation", kTiled,
       LIMIT_CHANGE(d.tile_w = 3; d.stride_w = 2; d.dilation_w = 3; d.row_pitch = (4 + 6 + 1) * 8),
       LIMIT_CHANGE(d.row_pitch -= 1), tile, 2},
      {"row of a chunk", kTiled,
       LIMIT_CHANGE(single(d); channels(d, 8); d.tile_c = 3; d.row_pitch = 3),
       LIMIT_CHANGE(d.row_pitch = 2), tile, 2},
      {"columns of a chunk", kDepthwise | kPool,
       LIMIT_CHANGE(channels(d, 8); d.tile_c = 3; d.row_pitch = 6 * 3),
       LIMIT_CHANGE(d.row_pitch -= 1), tile, 2},
      {"packed pool", kPool, LIMIT_CHANGE(d.flags |= spec::kFlagPacked),
       LIMIT_CHANGE(d.row_pitch = 47), tile, 2},
      {"bytes of a tile", kTiled,
       [act](Command& c, const HardwareParams& hw) {
         c.d.tile_n = 2, c.d.kernel_h = 1, c.d.row_pitch = act(hw) / 8;
       },
       LIMIT_CHANGE(d.row_pitch += 1), tile, 2},
      {"bytes with stride and dilation", kTiled,
       [act](Command& c, const HardwareParams& hw) {
         c.d.tile_h = 3, c.d.stride_h = 2, c.d.dilation_h = 6;
         c.d.row_pitch = act(hw) / (4 + 12 + 1);
       },
       LIMIT_CHANGE(d.row_pitch += 1), tile, 2},
      {"images that do not fit", kPool,
       [act](Command& c, const HardwareParams& hw) {
         single(c.d);
         c.d.n = c.d.out_h = 65535;
         c.d.tile_h = act(hw) / 8, c.d.tile_n = 8;
       },
       LIMIT_CHANGE(d.tile_n = 9), tile, 2},
      {"row pitch", kTiled, LIMIT_CHANGE(), LIMIT_CHANGE(d.row_pitch = 16777215), tile, 2},
  };
}

inline std::uint32_t& address(Descriptor& d, Field f) {
  return f == Field::in_addr     ? d.in_addr
         : f == Field::in2_addr  ? d.in2_addr
         : f == Field::out_addr  ? d.out_addr
         : f == Field::w_addr    ? d.w_addr
         : f == Field::bias_addr ? d.bias_addr
                                 : d.rq_addr;
}

// Bytes that a small command uses at an address; 0: none.
inline std::uint32_t region_bytes(const Descriptor& d, Field f) {
  const unsigned op = 1U << d.opcode;
  const bool tiled = (op & kTiled) != 0, matrix = (op & kMatrix) != 0;
  const std::uint32_t flat = d.n * d.in_c;
  const std::uint32_t outputs = d.n * d.out_h * d.out_w * (matrix ? d.out_c : d.in_c);
  switch (f) {
    case Field::in_addr:
      if (op == kUpdate)
        return d.has(spec::kFlagGradient)
                   ? (d.out_c - 1) * ((4 * d.in_c + 63) / 64 * 64) + 4 * d.in_c
                   : 0;
      return tiled ? flat * d.in_h * d.in_w : op == kLoss ? 2 * flat : flat;
    case Field::in2_addr:
      if (op == kLoss) return d.in_c > 255 ? 2 * d.n : d.n;
      return op == kAdd ? flat : matrix && d.has(spec::kFlagResAdd) ? outputs : 0;
    case Field::out_addr:
      if (op == kLoss)
        return d.has(spec::kFlagLosses) ? 4 * d.n : d.has(spec::kFlagErrors) ? flat : 0;
      if (op == kUpdate) return 0;
      if (!tiled) return flat;
      if (d.out_pitch != 0)
        return (d.n - 1) * d.out_pitch + outputs / d.n * (d.has(spec::kFlagOut32) ? 4 : 1);
      return d.has(spec::kFlagOut32)   ? 4 * outputs
             : d.has(spec::kFlagOut16) ? 2 * outputs
                                       : outputs;
    case Field::w_addr:
      if (op == kDepthwise) return d.kernel_h * d.kernel_w * d.w_pitch;
      if (d.has(spec::kFlagWTransposed)) return d.kernel_h * d.kernel_w * d.in_c * d.w_pitch;
      return (op & (kConv | kUpdate)) != 0 ? d.out_c * d.w_pitch : 0;
    case Field::bias_addr:
      return matrix && d.has(spec::kFlagHasBias) ? 4 * d.out_c : 0;
    case Field::rq_addr:
      return matrix && !d.has(spec::kFlagOut32) ? 8 * d.out_c : 0;
    default:
      return 0;
  }
}
inline std::uint32_t region_align(const Descriptor& d, Field f) {
  const bool loss = 1U << d.opcode == kLoss;
  if (f == Field::in_addr) return 1U << d.opcode == kUpdate ? 64 : loss ? 2 : 1;
  if (f == Field::in2_addr) return loss && d.in_c > 255 ? 2 : 1;
  if (f == Field::out_addr && loss) return d.has(spec::kFlagErrors) ? 1 : 4;
  if (f == Field::out_addr) return d.has(spec::kFlagOut32) ? 4 : d.has(spec::kFlagOut16) ? 2 : 1;
  return 64;
}

// A region of memory that `opcodes` use after `choose`.
struct Use {
  const char* name;
  Field field;
  unsigned opcodes;
  Change choose;
  std::uint32_t align;
};

inline std::vector<Use> region_uses() {
  const Change same = LIMIT_CHANGE();
  const Change wide = LIMIT_CHANGE(d.flags |= spec::kFlagOut16);
  const Change fused = LIMIT_CHANGE(d.flags |= spec::kFlagResAdd);
  return {
      {"input", Field::in_addr, kTiled, LIMIT_CHANGE(d.in_h = 3; d.in_w = 5), 1},
      {"input", Field::in_addr, kAdd | kSoftmax, same, 1},
      {"logits", Field::in_addr, kLoss, same, 2},
      {"fused addend", Field::in2_addr, kMatrix, fused, 1},
      {"addend", Field::in2_addr, kAdd, same, 1},
      {"labels", Field::in2_addr, kLoss, LIMIT_CHANGE(d.in_c = 255), 1},
      {"wide labels", Field::in2_addr, kLoss, LIMIT_CHANGE(d.in_c = 256), 2},
      {"output", Field::out_addr, kMatrix, same, 1},
      {"int16 output", Field::out_addr, kMatrix, wide, 2},
      {"output", Field::out_addr, kPool, LIMIT_CHANGE(d.out_h = 5; d.out_w = 7), 1},
      {"output", Field::out_addr, kAdd | kSoftmax, same, 1},
      {"losses", Field::out_addr, kLoss, LIMIT_CHANGE(d.flags |= spec::kFlagLosses), 4},
      {"errors", Field::out_addr, kLoss, LIMIT_CHANGE(d.flags |= spec::kFlagErrors), 1},
      {"int32 output", Field::out_addr, kMatrix, LIMIT_CHANGE(d.flags |= spec::kFlagOut32), 4},
      {"images apart", Field::out_addr, kTiled, LIMIT_CHANGE(d.out_pitch = 1003), 1},
      {"int32 images apart", Field::out_addr, kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagOut32; d.out_pitch = 1004), 4},
      {"gradient", Field::in_addr, kUpdate, LIMIT_CHANGE(d.flags |= spec::kFlagGradient), 64},
      {"gradient of wide rows", Field::in_addr, kUpdate,
       LIMIT_CHANGE(d.flags |= spec::kFlagGradient; d.in_c = 17), 64},
      {"transposed weights", Field::w_addr, kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagWTransposed; d.w_pitch = 128), 64},
      {"weights", Field::w_addr, kConv | kUpdate, LIMIT_CHANGE(d.w_pitch = 256), 64},
      {"weights", Field::w_addr, kDepthwise, LIMIT_CHANGE(d.kernel_h = 2), 64},
      {"biases", Field::bias_addr, kMatrix, LIMIT_CHANGE(d.flags |= spec::kFlagHasBias), 64},
      {"requantization table", Field::rq_addr, kMatrix, same, 64},
  };
}

inline Limit region_limit(const Use& u, const std::string& what, const Change& fits,
                          const Change& beyond) {
  return {std::string(u.name) + what, u.opcodes, fits, beyond, Error::address_, id(u.field)};
}

// The region ends with memory, above everything else.
inline Change at_end_of_memory(const Use& u) {
  return [u](Command& c, const HardwareParams& hw) {
    const std::uint32_t at = 0x100000 + u.align;
    u.choose(c, hw);
    address(c.d, u.field) = at;
    c.memory = at + region_bytes(c.d, u.field);
  };
}

inline std::vector<Limit> absolute_limits(const Use& u) {
  const Change end = at_end_of_memory(u);
  std::vector<Limit> list = {
      region_limit(u, ": a byte less of memory", end, LIMIT_CHANGE(c.memory -= 1)),
      region_limit(u, ": further by its alignment", end,
                   [u](Command& c, const HardwareParams&) { address(c.d, u.field) += u.align; })};
  for (std::uint32_t bit = 1; bit < u.align; bit *= 2) {
    list.push_back(region_limit(u, ": off by " + std::to_string(bit), end,
                                [u, bit](Command& c, const HardwareParams&) {
                                  address(c.d, u.field) += bit;
                                  c.memory = 0xffffffff;
                                }));
  }
  return list;
}

// The flag that makes an address relative to a register; 0: there is none.
inline std::uint32_t base_flag(Field f) {
  return f == Field::in_addr    ? std::uint32_t{spec::kFlagInBatch}
         : f == Field::in2_addr ? std::uint32_t{spec::kFlagIn2Label}
         : f == Field::out_addr ? std::uint32_t{spec::kFlagOutBatch}
                                : 0;
}

inline std::vector<Limit> relative_limits(const Use& u) {
  const std::uint32_t flag = base_flag(u.field);
  if (flag == 0) return {};
  const auto base = [u](Command& c) -> std::uint32_t& {
    return u.field == Field::in_addr ? c.batch : u.field == Field::in2_addr ? c.label : c.out;
  };
  const Change end = at_end_of_memory(u);
  const Change relative = [=](Command& c, const HardwareParams& hw) {
    end(c, hw);
    c.d.flags |= flag;
    base(c) = 0x2345 * u.align;
    address(c.d, u.field) -= base(c);
  };
  std::vector<Limit> list = {
      region_limit(u, " with a base: a byte less of memory", relative, LIMIT_CHANGE(c.memory -= 1)),
      region_limit(u, " with a base: base too far", relative,
                   [=](Command& c, const HardwareParams&) { base(c) += u.align; })};
  if (u.align > 1)
    list.push_back(
        region_limit(u, " with a base: base off", relative, [=](Command& c, const HardwareParams&) {
          base(c) += u.align / 2;
          c.memory = 0xffffffff;
        }));
  list.push_back(region_limit(
      u, " with a base: beyond 32 bits",
      [=](Command& c, const HardwareParams& hw) {
        u.choose(c, hw);
        c.d.flags |= flag;
        base(c) = 0xfffff000;
        address(c.d, u.field) = 0;
      },
      [=](Command& c, const HardwareParams&) { address(c.d, u.field) = 0x1000; }));
  return list;
}

inline std::vector<Limit> region_limits() {
  std::vector<Limit> list;
  for (const Use& u : region_uses())
    for (const auto& part : {absolute_limits(u), relative_limits(u)})
      list.insert(list.end(), part.begin(), part.end());
  return list;
}

// Products that are small again in 32 or 34 bits, and addresses that only some commands use.
inline std::vector<Limit> other_limits() {
  const Change same = LIMIT_CHANGE();
  const Change high = LIMIT_CHANGE(d.in_addr = d.in2_addr = d.out_addr = d.w_addr = d.bias_addr =
                                       d.rq_addr = 0xffffffff);
  const auto bad = Error::address_;
  const Change weights = LIMIT_CHANGE(d.out_c = d.cout_group = 32768; d.w_pitch = 65536);
  return {
      {"input of 2^34 bytes", kTiled, same, LIMIT_CHANGE(d.in_h = d.in_w = 32768), bad,
       id(Field::in_addr)},
      {"input of 2^32 bytes", kTiled, same, LIMIT_CHANGE(d.in_h = 32768; d.in_w = 8192), bad,
       id(Field::in_addr)},
      {"output of 2^34 bytes", kTiled, same, LIMIT_CHANGE(d.out_h = d.out_w = 32768), bad,
       id(Field::out_addr)},
      {"int16 output of 2^34 bytes", kMatrix, LIMIT_CHANGE(d.flags |= spec::kFlagOut16),
       LIMIT_CHANGE(d.out_h = 32768; d.out_w = 16384), bad, id(Field::out_addr)},
      {"int16 output of 2^32 bytes", kMatrix, LIMIT_CHANGE(d.flags |= spec::kFlagOut16),
       LIMIT_CHANGE(d.out_h = 32768; d.out_w = 4096), bad, id(Field::out_addr)},
      {"fused addend of 2^34 bytes", kMatrix, LIMIT_CHANGE(d.flags |= spec::kFlagResAdd),
       LIMIT_CHANGE(d.out_h = d.out_w = 32768), bad, id(Field::in2_addr)},
      {"logits of 2^32 bytes", kLoss, same, LIMIT_CHANGE(d.n = 32768; d.in_c = 65536), bad,
       id(Field::in_addr)},
      {"weights of 2^34 bytes", kConv | kUpdate, weights,
       LIMIT_CHANGE(d.out_c = d.cout_group = 65536; d.w_pitch = 262144), bad, id(Field::w_addr)},
      {"weights of 2^38 bytes", kConv | kUpdate, weights,
       LIMIT_CHANGE(d.out_c = d.cout_group = 65536; d.w_pitch = 4194304), bad, id(Field::w_addr)},
      {"weights of 2^34 bytes", kDepthwise,
       LIMIT_CHANGE(single(d); d.kernel_h = d.kernel_w = d.row_pitch = 64),
       LIMIT_CHANGE(d.w_pitch = 4194304), bad, id(Field::w_addr)},
      {"pitch of weights", kMatrix | kUpdate, LIMIT_CHANGE(d.w_pitch = 256),
       LIMIT_CHANGE(d.w_pitch += 32), bad, id(Field::w_addr)},
      {"pitch of weights, last bit", kMatrix | kUpdate, LIMIT_CHANGE(d.w_pitch = 256),
       LIMIT_CHANGE(d.w_pitch += 1), bad, id(Field::w_addr)},
      {"no biases", kMatrix, LIMIT_CHANGE(d.bias_addr = 0xffffffff),
       LIMIT_CHANGE(d.flags |= spec::kFlagHasBias), bad, id(Field::bias_addr)},
      {"no addend", kMatrix, LIMIT_CHANGE(d.in2_addr = 0xffffffff),
       LIMIT_CHANGE(d.flags |= spec::kFlagResAdd), bad, id(Field::in2_addr)},
      {"no table", kMatrix, LIMIT_CHANGE(d.flags |= spec::kFlagOut32; d.rq_addr = 0xffffffff),
       LIMIT_CHANGE(d.flags ^= spec::kFlagOut32), bad, id(Field::rq_addr)},
      {"weights of the batch", kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagWTransposed | spec::kFlagWBatch; c.batch = 0x1000),
       LIMIT_CHANGE(c.batch = 0x1020), bad, id(Field::w_addr)},
      {"weights of the batch beyond 32 bits", kConv,
       LIMIT_CHANGE(d.flags |= spec::kFlagWTransposed | spec::kFlagWBatch; c.batch = 0x1000),
       LIMIT_CHANGE(c.batch = 0xffffffc0), bad, id(Field::w_addr)},
      {"no errors", kLoss, LIMIT_CHANGE(d.out_addr = 0xffffffff),
       LIMIT_CHANGE(d.flags |= spec::kFlagErrors), bad, id(Field::out_addr)},
      {"no losses", kLoss, LIMIT_CHANGE(d.out_addr = 0xffffffff),
       LIMIT_CHANGE(d.flags |= spec::kFlagLosses), bad, id(Field::out_addr)},
      {"addresses a pool does not use", kPool,
       LIMIT_CHANGE(d.in2_addr = d.w_addr = d.bias_addr = d.rq_addr = 0xffffffff;
                    d.flags |= spec::kFlagHasBias),
       LIMIT_CHANGE(d.in_addr = 0xffffffff), bad, id(Field::in_addr)},
      {"addresses a sum does not use", kAdd,
       LIMIT_CHANGE(d.w_addr = d.bias_addr = d.rq_addr = 0xffffffff; d.flags |= spec::kFlagHasBias),
       LIMIT_CHANGE(d.in2_addr = 0xffffffff), bad, id(Field::in2_addr)},
      {"addresses a softmax does not use", kSoftmax,
       LIMIT_CHANGE(d.in2_addr = d.w_addr = d.bias_addr = d.rq_addr = 0xffffffff;
                    d.flags |= spec::kFlagHasBias),
       LIMIT_CHANGE(d.out_addr = 0xffffffff), bad, id(Field::out_addr)},
      {"addresses an update does not use", kUpdate,
       LIMIT_CHANGE(d.in_addr = d.in2_addr = d.out_addr = d.bias_addr = d.rq_addr = 0xffffffff;
                    d.flags |= spec::kFlagHasBias),
       LIMIT_CHANGE(d.w_addr = 0xffffffc0), bad, id(Field::w_addr)},
      {"an END", 0x01, high, LIMIT_CHANGE(d.opcode = spec::kOpcodes), Error::opcode_, 0},
  };
}

inline std::vector<Limit> all() {
  std::vector<Limit> list;
  for (auto part : {opcode_limits(), flag_limits(), register_limits(), group_limits(),
                    length_limits(), range_limits(), packed_limits(), chunk_limits(), tile_limits(),
                    region_limits(), other_limits()})
    list.insert(list.end(), part.begin(), part.end());
  return list;
}

// Calls body(name, command, expected code, expected info) on both sides of each limit, for each of
// its opcodes that `hw` has.
template <typename Body>
void for_each(const HardwareParams& hw, Body body) {
  for (const Limit& l : all()) {
    for (unsigned op = 0; op < spec::kOpcodes; ++op) {
      if ((l.opcodes >> op & 1) == 0) continue;
      if (hw.training == 0 && (l.training || (kTrainingOpcodes >> op & 1) != 0)) continue;
      Command c = command(op);
      l.fits(c, hw);
      const std::string name = l.name + ", opcode " + std::to_string(op);
      body(name + ", fits", c, Error::none_, 0U);
      l.beyond(c, hw);
      body(name + ", does not", c, l.code, l.info);
    }
  }
}

#undef LIMIT_CHANGE

}  // namespace limits
