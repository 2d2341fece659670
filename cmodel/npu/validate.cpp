// SPDX-License-Identifier: Apache-2.0
#include "cmodel/npu/validate.hpp"

#include <utility>

namespace lastmile::npu {
namespace {

using spec::Descriptor;
using spec::Error;
using spec::Field;
using spec::Opcode;
using spec::ShapeRule;
using U = std::uint64_t;
using Wide = unsigned __int128;  // products of four fields reach 2^65

Fault shape_fault(ShapeRule r) { return {Error::shape_, static_cast<std::uint32_t>(r)}; }

Fault check_flags(const Descriptor& d, Opcode op) {
  const bool matrix = uses_weights(op);
  const bool bad =
      (d.flags & ~spec::kKnownFlags) != 0 || (d.has(spec::kFlagW8) && d.has(spec::kFlagW32)) ||
      (d.has(spec::kFlagW32) && op != Opcode::update_) || (d.has(spec::kFlagOut16) && !matrix) ||
      (d.has(spec::kFlagResAdd) && (!matrix || d.has(spec::kFlagOut16))) ||
      (d.has(spec::kFlagWTransposed) && (op != Opcode::conv2d_ || d.has(spec::kFlagWTrain))) ||
      (d.has(spec::kFlagWBatch) && !d.has(spec::kFlagWTransposed)) ||
      (d.has(spec::kFlagOut32) &&
       (op != Opcode::conv2d_ || d.has(spec::kFlagOut16) || d.has(spec::kFlagResAdd))) ||
      (d.has(spec::kFlagErrors) && (op != Opcode::loss_ || d.has(spec::kFlagLosses))) ||
      (d.has(spec::kFlagGradient) && op != Opcode::update_);
  return bad ? shape_fault(ShapeRule::flags_) : Fault{};
}

Fault check_registers(const Descriptor& d, const RegisterFile& regs, Opcode op) {
  const bool train = d.has(spec::kFlagWTrain) || d.has(spec::kFlagBTrain);
  const bool update = op == Opcode::update_;
  const bool draws = train || (update && !d.has(spec::kFlagGradient));
  if (draws && regs.polarity() > 2) return {Error::register_, spec::reg::kPolarity};
  if (draws && regs.distribution() > 1) return {Error::register_, spec::reg::kDistribution};
  if (update && draws && (regs.pairs() < 1 || regs.pairs() > spec::kMaxPairs))
    return {Error::register_, spec::reg::kPairs};
  if (update && regs.step_shift() > 16) return {Error::register_, spec::reg::kStep};
  return {};
}

bool range_ok(const Descriptor& d, Opcode op) {
  if (op == Opcode::conv2d_ && d.w_zp != 0 &&
      !(d.has(spec::kFlagWTransposed) && d.has(spec::kFlagW8)))
    return false;
  if (uses_tiles(op) && !d.has(spec::kFlagOut32)) {
    const std::int32_t low = d.has(spec::kFlagOut16) ? -32768 : -128;
    const std::int32_t high = d.has(spec::kFlagOut16) ? 32767 : 127;
    if (d.act_min > d.act_max || d.act_min < low || d.act_max > high) return false;
  }
  if ((op == Opcode::add_ || d.has(spec::kFlagResAdd)) && d.add_act_min > d.add_act_max)
    return false;
  if (op == Opcode::loss_ && (d.m1 > 65535 || d.e1 < -31 || d.e1 > 0)) return false;
  if (op == Opcode::softmax_ && (d.e1 < 0 || d.e1 > 30)) return false;
  return true;
}

bool pack_ok(const Descriptor& d, const spec::HardwareParams& hw, Opcode op) {
  if (!d.has(spec::kFlagPacked) || !uses_weights(op)) return true;
  if (op == Opcode::depthwise_ || d.groups != 1 || d.dilation_w != 1) return false;
  const U rows = static_cast<U>(hw.rows);
  return U{d.row_pitch} * d.dilation_h % rows == U{d.kernel_w} * d.in_c % rows;
}

Fault check_shape(const Descriptor& d, const spec::HardwareParams& hw, Opcode op) {
  const U taps = U{d.kernel_h} * d.kernel_w;
  if (op == Opcode::conv2d_ &&
      (U{d.groups} * d.cin_group != d.in_c || U{d.groups} * d.cout_group != d.out_c ||
       (d.has(spec::kFlagWTransposed) && d.groups != 1)))
    return shape_fault(ShapeRule::groups_);
  if (op == Opcode::depthwise_ && U{d.in_c} * d.cout_group != d.out_c)
    return shape_fault(ShapeRule::groups_);
  U row_elements = 0;
  switch (op) {
    case Opcode::conv2d_:
      row_elements = taps * d.cin_group;
      if (row_elements > spec::kMaxK) return shape_fault(ShapeRule::k_);
      if (d.has(spec::kFlagWTransposed)) row_elements = d.out_c;
      break;
    case Opcode::depthwise_:
      row_elements = d.out_c;
      if (taps > spec::kMaxK) return shape_fault(ShapeRule::k_);
      break;
    case Opcode::pool_:
      if (taps > spec::kMaxPoolTaps) return shape_fault(ShapeRule::k_);
      break;
    case Opcode::softmax_:
      if (d.in_c > 4095) return shape_fault(ShapeRule::k_);
      break;
    case Opcode::update_:
      row_elements = d.in_c;
      break;
    default:
      break;
  }
  if (row_elements * weight_bytes(d) > d.w_pitch && row_elements != 0)
    return shape_fault(ShapeRule::pitch_);
  if (uses_tiles(op) && d.out_pitch != 0 &&
      (d.has(spec::kFlagResAdd) || d.out_pitch % output_bytes(d) != 0 ||
       d.out_pitch < Wide{d.out_h} * d.out_w * output_channels(d) * output_bytes(d)))
    return shape_fault(ShapeRule::pitch_);
  if (!range_ok(d, op)) return shape_fault(ShapeRule::range_);
  if (!pack_ok(d, hw, op)) return shape_fault(ShapeRule::pack_);
  if (uses_tiles(op) && d.tile_c < d.in_c) {
    const bool point =
        taps == 1 && d.in_h == 1 && d.in_w == 1 && d.out_h == 1 && d.out_w == 1 && d.groups == 1;
    if (op != Opcode::conv2d_ || !point) return shape_fault(ShapeRule::chunk_);
  }
  return {};
}

Fault check_tiles(const Descriptor& d, const spec::HardwareParams& hw, Opcode op) {
  if (!uses_tiles(op)) return {};
  const U positions = U{d.tile_n} * d.tile_h * d.tile_w;
  if (d.tile_n > d.n || d.tile_h > d.out_h || d.tile_w > d.out_w || d.tile_c > d.in_c ||
      (op != Opcode::pool_ && positions > static_cast<U>(hw.acc_depth))) {
    return {Error::tile_, 1};
  }
  const U rows = region_extent(d.tile_h, d.stride_h, d.kernel_h, d.dilation_h);
  const U columns = region_extent(d.tile_w, d.stride_w, d.kernel_w, d.dilation_w);
  if (columns * d.tile_c > d.row_pitch ||
      Wide{d.tile_n} * rows * d.row_pitch > static_cast<U>(hw.act_bytes))
    return {Error::tile_, 2};
  return {};
}

}  // namespace

std::array<Region, 6> regions(const Descriptor& d) {
  using spec::Engine;
  const auto op = static_cast<Opcode>(d.opcode);
  std::array<Region, 6> r{};
  const bool tiled = uses_tiles(op);
  const bool matrix = uses_weights(op);
  const Wide flat = Wide{d.n} * d.in_c;
  const Wide image = Wide{d.out_h} * d.out_w * (matrix ? d.out_c : d.in_c);
  const Wide outputs = d.n * image;
  Engine self = Engine::none_;
  if (op == Opcode::add_) self = Engine::add_;
  if (op == Opcode::softmax_) self = Engine::softmax_;
  if (op == Opcode::loss_) self = Engine::loss_;
  if (op == Opcode::update_) self = Engine::update_;
  const bool loss = op == Opcode::loss_;
  const bool gradient = op == Opcode::update_ && d.has(spec::kFlagGradient);
  const bool errors = loss && d.has(spec::kFlagErrors);

  r[0] = {Field::in_addr,
          d.in_addr,
          tiled      ? Wide{d.n} * d.in_h * d.in_w * d.in_c
          : loss     ? flat * 2
          : gradient ? gradient_bytes(d)
                     : flat,
          loss       ? 2u
          : gradient ? std::uint32_t{spec::kAlign}
                     : 1u,
          false,
          tiled ? (op == Opcode::pool_ ? Engine::pool_ : Engine::load_) : self,
          op != Opcode::update_ || gradient};
  const bool fused = matrix && d.has(spec::kFlagResAdd);
  r[1] = {Field::in2_addr,
          d.in2_addr,
          fused  ? outputs
          : loss ? Wide{d.n} * label_bytes(d)
                 : flat,
          loss ? label_bytes(d) : 1u,
          false,
          fused ? Engine::drain_ : self,
          fused || loss || op == Opcode::add_};
  const bool losses = loss && !errors;
  const Wide pitch = d.out_pitch != 0 ? Wide{d.out_pitch} : image * output_bytes(d);
  r[2] = {Field::out_addr,
          d.out_addr,
          tiled    ? (Wide{d.n} - 1) * pitch + image * output_bytes(d)
          : losses ? Wide{d.n} * 4u
                   : flat,
          losses  ? 4u
          : tiled ? output_bytes(d)
                  : 1u,
          true,
          tiled ? (op == Opcode::pool_ ? Engine::pool_ : Engine::store_) : self,
          op != Opcode::update_ && (!loss || errors || d.has(spec::kFlagLosses))};
  const Wide taps = Wide{d.kernel_h} * d.kernel_w;
  const Wide rows = op == Opcode::depthwise_        ? taps
                    : d.has(spec::kFlagWTransposed) ? taps * d.cin_group
                                                    : Wide{d.out_c};
  r[3] = {Field::w_addr,
          d.w_addr,
          rows * d.w_pitch,
          spec::kAlign,
          false,
          matrix ? Engine::weight_ : self,
          matrix || op == Opcode::update_};
  r[4] = {Field::bias_addr,
          d.bias_addr,
          Wide{d.out_c} * 4,
          spec::kAlign,
          false,
          Engine::param_,
          matrix && d.has(spec::kFlagHasBias)};
  r[5] = {Field::rq_addr,
          d.rq_addr,
          Wide{d.out_c} * 8,
          spec::kAlign,
          false,
          Engine::param_,
          matrix && !d.has(spec::kFlagOut32)};
  return r;
}

Fault validate_queue(const RegisterFile& regs) {
  const U address = regs.raw(spec::reg::kQueueAddr);
  const U count = regs.raw(spec::reg::kQueueCount);
  if (address % spec::kAlign != 0 || count == 0 ||
      address + count * spec::kDescBytes > regs.raw(spec::reg::kMemLimit)) {
    return {Error::queue_, 0};
  }
  return {};
}

Fault validate(const Descriptor& d, const RegisterFile& regs, const spec::HardwareParams& hw,
               Descriptor& resolved) {
  if (d.opcode > static_cast<std::uint32_t>(Opcode::update_)) return {Error::opcode_, 0};
  const auto op = static_cast<Opcode>(d.opcode);
  resolved = d;
  if (op == Opcode::end_) return {};
  if (hw.training == 0) {
    const bool train = d.has(spec::kFlagWTrain) || d.has(spec::kFlagBTrain);
    if (op == Opcode::loss_ || op == Opcode::update_ || (train && regs.polarity() != 0))
      return {Error::unsupported_, 0};
  }
  if (const Fault f = check_flags(d, op)) return f;
  if (const Field bad = spec::field_out_of_range(d, d.has(spec::kFlagResAdd));
      bad != Field::none_) {
    return {Error::field_, static_cast<std::uint32_t>(bad)};
  }
  if (const Fault f = check_registers(d, regs, op)) return f;
  if (const Fault f = check_shape(d, hw, op)) return f;
  if (const Fault f = check_tiles(d, hw, op)) return f;

  auto used = regions(d);
  if (d.has(spec::kFlagInBatch)) used[0].address += regs.raw(spec::reg::kBatchAddr);
  if (d.has(spec::kFlagIn2Label)) used[1].address += regs.raw(spec::reg::kLabelAddr);
  if (d.has(spec::kFlagOutBatch)) used[2].address += regs.raw(spec::reg::kOutAddr);
  if (d.has(spec::kFlagWBatch)) used[3].address += regs.raw(spec::reg::kBatchAddr);
  const U limit = regs.raw(spec::reg::kMemLimit);
  for (const Region& r : used) {
    if (!r.used) continue;
    const bool aligned =
        r.address % r.align == 0 && (r.field != Field::w_addr || d.w_pitch % spec::kAlign == 0);
    if (!aligned || r.address + r.bytes > limit)
      return {Error::address_, static_cast<std::uint32_t>(r.field)};
  }
  resolved.in_addr = static_cast<std::uint32_t>(used[0].address);
  resolved.in2_addr = static_cast<std::uint32_t>(used[1].address);
  resolved.out_addr = static_cast<std::uint32_t>(used[2].address);
  resolved.w_addr = static_cast<std::uint32_t>(used[3].address);
  return {};
}

Fault check_memory(const Descriptor& resolved, std::uint64_t memory_bytes) {
  for (const Region& r : regions(resolved)) {
    if (r.used && r.address + r.bytes > memory_bytes) {
      return {r.write ? Error::bus_write_ : Error::bus_read_, static_cast<std::uint32_t>(r.engine)};
    }
  }
  return {};
}

}  // namespace lastmile::npu
