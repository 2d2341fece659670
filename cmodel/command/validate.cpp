// SPDX-License-Identifier: Apache-2.0
#include "cmodel/command/validate.hpp"

#include <algorithm>
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
  const bool bad = spec::flags_bad(d.flags, op);
  return bad ? shape_fault(ShapeRule::flags_) : Fault{};
}

Fault check_registers(const Descriptor& d, const RegisterFile& regs, Opcode op) {
  namespace reg = spec::reg;
  const bool update = op == Opcode::update_;
  const auto bad = [&regs](std::uint32_t offset, const spec::RegisterField& field) {
    return !field.allows(regs.parameter(offset));
  };
  // pairs of an update are drawn, unless the host gives its direction
  const bool pairs = update && !d.has(spec::kFlagGradient);
  if (pairs || d.has(spec::kFlagWTrain) || d.has(spec::kFlagBTrain)) {
    if (bad(reg::kPolarity, reg::kPolarityValue)) return {Error::register_, reg::kPolarity};
    if (bad(reg::kDistribution, reg::kDistributionValue))
      return {Error::register_, reg::kDistribution};
  }
  if (pairs && bad(reg::kPairs, reg::kPairsValue)) return {Error::register_, reg::kPairs};
  if (update && bad(reg::kStep, reg::kStepShift)) return {Error::register_, reg::kStep};
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
  if (op == Opcode::loss_ &&
      (d.m1 > spec::kLossMultiplierMax || d.e1 < -spec::kLossShiftMax || d.e1 > 0))
    return false;
  if (op == Opcode::softmax_ && (d.e1 < 0 || d.e1 > spec::kSoftmaxShiftMax)) return false;
  return true;
}

bool pack_ok(const Descriptor& d, const spec::HardwareParams& hw, Opcode op) {
  if (!d.has(spec::kFlagPacked) || !uses_weights(op)) return true;
  if (op == Opcode::depthwise_ || d.groups != 1 || d.dilation_w != 1) return false;
  const U rows = static_cast<U>(hw.rows);
  return U{d.row_pitch} * d.dilation_h % rows == U{d.kernel_w} * d.in_c % rows;
}

// Elements of one row of the tensor at w_addr; 0: the command has none.
U weight_row_elements(const Descriptor& d) {
  const U k = U{d.kernel_h} * d.kernel_w * d.cin_group;
  switch (d.op()) {
    case Opcode::conv2d_:
      return d.has(spec::kFlagWTransposed) ? d.out_c : k;
    case Opcode::depthwise_:
      return d.out_c;
    case Opcode::update_:
      return d.in_c;
    default:
      return 0;
  }
}

Fault check_shape(const Descriptor& d, const spec::HardwareParams& hw, Opcode op) {
  const U taps = U{d.kernel_h} * d.kernel_w;
  if (op == Opcode::conv2d_ &&
      (U{d.groups} * d.cin_group != d.in_c || U{d.groups} * d.cout_group != d.out_c ||
       (d.has(spec::kFlagWTransposed) && d.groups != 1)))
    return shape_fault(ShapeRule::groups_);
  if (op == Opcode::depthwise_ && U{d.in_c} * d.cout_group != d.out_c)
    return shape_fault(ShapeRule::groups_);
  switch (op) {
    case Opcode::conv2d_:
      if (taps * d.cin_group > spec::kMaxK) return shape_fault(ShapeRule::k_);
      break;
    case Opcode::depthwise_:
      if (taps > spec::kMaxK) return shape_fault(ShapeRule::k_);
      break;
    case Opcode::pool_:
      if (taps > spec::kMaxPoolTaps) return shape_fault(ShapeRule::k_);
      break;
    case Opcode::softmax_:
      if (d.in_c > spec::kSoftmaxClasses) return shape_fault(ShapeRule::k_);
      break;
    default:
      break;
  }
  const U row_elements = weight_row_elements(d);
  if (row_elements * weight_bytes(d) > d.w_pitch && row_elements != 0)
    return shape_fault(ShapeRule::pitch_);
  if (uses_tiles(op) && d.out_pitch != 0 &&
      (d.has(spec::kFlagResAdd) || d.out_pitch % output_bytes(d) != 0 ||
       d.out_pitch < Wide{d.out_h} * d.out_w * output_channels(d) * output_bytes(d)))
    return shape_fault(ShapeRule::pitch_);
  if (!range_ok(d, op)) return shape_fault(ShapeRule::range_);
  if (!pack_ok(d, hw, op)) return shape_fault(ShapeRule::pack_);
  if (op == Opcode::conv2d_ && d.tile_c < d.in_c) {
    const bool point =
        taps == 1 && d.in_h == 1 && d.in_w == 1 && d.out_h == 1 && d.out_w == 1 && d.groups == 1;
    if (!point) return shape_fault(ShapeRule::chunk_);
  }
  return {};
}

Fault check_tiles(const Descriptor& d, const spec::HardwareParams& hw, Opcode op) {
  if (!uses_tiles(op)) return {};
  const U positions = U{d.tile_n} * d.tile_h * d.tile_w;
  if (d.tile_n > d.n || d.tile_h > d.out_h || d.tile_w > d.out_w || d.tile_c > d.in_c ||
      (op != Opcode::pool_ && positions > static_cast<U>(hw.acc_depth))) {
    return {Error::tile_, static_cast<std::uint32_t>(spec::TileRule::positions_)};
  }
  const U rows = region_extent(d.tile_h, d.stride_h, d.kernel_h, d.dilation_h);
  const U columns = region_extent(d.tile_w, d.stride_w, d.kernel_w, d.dilation_w);
  if (columns * d.tile_c > d.row_pitch ||
      Wide{d.tile_n} * rows * d.row_pitch > static_cast<U>(hw.act_bytes))
    return {Error::tile_, static_cast<std::uint32_t>(spec::TileRule::bytes_)};
  return {};
}

// One behind the last row (column) of the image that a tile reads; 0: all of them lie in the
// padding. outputs, tile: positions along the axis, of the command and of a tile.
U end_of_axis(U outputs, U tile, U stride, U kernel, U dilation, U pad, U extent) {
  for (U first = (outputs - 1) / tile * tile;; first -= tile) {
    const U count = std::min(tile, outputs - first);
    const auto begin = static_cast<std::int64_t>(first * stride) - static_cast<std::int64_t>(pad);
    const std::int64_t end =
        std::min(begin + static_cast<std::int64_t>(region_extent(count, stride, kernel, dilation)),
                 static_cast<std::int64_t>(extent));
    if (std::max<std::int64_t>(begin, 0) < end) return static_cast<U>(end);
    if (first == 0) return 0;
  }
}

// Bytes of a region up to the last one that the command touches: rows and columns that only the
// padding covers or that no window reaches are not read, nor is the pitch behind the last row.
Wide reach(const Descriptor& d, const Region& r) {
  if (r.field == Field::in_addr && uses_tiles(d.op())) {
    const U rows =
        end_of_axis(d.out_h, d.tile_h, d.stride_h, d.kernel_h, d.dilation_h, d.pad_top, d.in_h);
    const U columns =
        end_of_axis(d.out_w, d.tile_w, d.stride_w, d.kernel_w, d.dilation_w, d.pad_left, d.in_w);
    if (rows == 0 || columns == 0) return 0;
    const Wide row = (Wide{d.n} - 1) * d.in_h + rows - 1;
    return (row * d.in_w + columns) * d.in_c;
  }
  if (r.field == Field::w_addr)
    return r.bytes - d.w_pitch + weight_row_elements(d) * weight_bytes(d);
  return r.bytes;
}

}  // namespace

std::array<Region, 6> regions(const Descriptor& d) {
  using spec::Engine;
  using spec::Layout;
  using spec::Result;
  using spec::Second;
  const Opcode op = d.op();
  const spec::OpcodeTraits& is = spec::traits(op);
  const Wide rows = d.n, flat = rows * d.in_c;
  // a command of images leaves a gap of out_pitch bytes between two, but none behind the last
  const Wide image = Wide{d.out_h} * d.out_w * output_channels(d);
  const Wide image_span = (rows - 1) * output_image_elements(d) + image;
  std::array<Region, 6> r{};
  auto& [in, second, out, weight, bias, requant] = r;

  in = {.field = Field::in_addr, .address = d.in_addr, .align = is.in_bytes, .engine = is.load};
  switch (is.layout) {
    case Layout::none_:
      break;
    case Layout::tensor_:
      in.bytes = gradient_bytes(d);
      in.align = spec::kAlign;
      in.used = d.has(spec::kFlagGradient);
      break;
    case Layout::image_:
      in.bytes = rows * d.in_h * d.in_w * d.in_c * is.in_bytes;
      in.used = true;
      break;
    case Layout::rows_:
      in.bytes = flat * is.in_bytes;
      in.used = true;
      break;
  }

  second = {.field = Field::in2_addr, .address = d.in2_addr, .engine = is.engine};
  switch (is.second) {
    case Second::none_:
      break;
    case Second::fused_:
      second.bytes = rows * image;
      second.engine = Engine::drain_;
      second.used = d.has(spec::kFlagResAdd);
      break;
    case Second::addend_:
      second.bytes = flat;
      second.used = true;
      break;
    case Second::label_:
      second.align = label_bytes(d);
      second.bytes = rows * label_bytes(d);
      second.used = true;
      break;
  }

  const std::uint32_t out_bytes = output_bytes(d);
  out = {.field = Field::out_addr,
         .address = d.out_addr,
         .align = out_bytes,
         .write = true,
         .engine = is.store};
  switch (is.result) {
    case Result::none_:
    case Result::in_place_:  // the region of the weights
      break;
    case Result::elements_:
      out.bytes = (is.layout == Layout::image_ ? image_span : flat) * out_bytes;
      out.used = true;
      break;
    case Result::losses_:
      out.bytes = (d.has(spec::kFlagErrors) ? flat : rows) * out_bytes;
      out.used = d.has(spec::kFlagLosses) || d.has(spec::kFlagErrors);
      break;
  }

  const Wide taps = Wide{d.kernel_h} * d.kernel_w;
  const Wide weight_rows = op == Opcode::depthwise_        ? taps
                           : d.has(spec::kFlagWTransposed) ? taps * d.cin_group
                                                           : Wide{d.out_c};
  weight = {.field = Field::w_addr,
            .address = d.w_addr,
            .bytes = weight_rows * d.w_pitch,
            .align = spec::kAlign,
            .engine = is.weights ? Engine::weight_ : is.engine,
            .used = is.weights || is.layout == Layout::tensor_};
  bias = {.field = Field::bias_addr,
          .address = d.bias_addr,
          .bytes = Wide{d.out_c} * 4,
          .align = spec::kAlign,
          .engine = Engine::param_,
          .used = is.weights && d.has(spec::kFlagHasBias)};
  requant = {.field = Field::rq_addr,
             .address = d.rq_addr,
             .bytes = Wide{d.out_c} * 8,
             .align = spec::kAlign,
             .engine = Engine::param_,
             .used = is.weights && !d.has(spec::kFlagOut32)};
  return r;
}

Fault validate_queue(const RegisterFile& regs) {
  const U address = regs.parameter(spec::reg::kQueueAddr);
  const U count = regs.parameter(spec::reg::kQueueCount);
  if (address % spec::kAlign != 0 || count == 0 ||
      address + count * spec::kDescBytes > regs.parameter(spec::reg::kMemLimit)) {
    return {Error::queue_, 0};
  }
  return {};
}

Fault validate_command(const Descriptor& d, const RegisterFile& regs,
                       const spec::HardwareParams& hw, Descriptor& resolved) {
  if (!spec::known_opcode(d.opcode)) return {Error::opcode_, 0};
  const Opcode op = d.op();
  resolved = d;
  if (op == Opcode::end_) return {};
  if (hw.training == 0) {
    const bool train = d.has(spec::kFlagWTrain) || d.has(spec::kFlagBTrain);
    if (spec::traits(op).training || (train && regs.polarized())) return {Error::unsupported_, 0};
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
  if (d.has(spec::kFlagInBatch)) used[0].address += regs.parameter(spec::reg::kBatchAddr);
  if (d.has(spec::kFlagIn2Label)) used[1].address += regs.parameter(spec::reg::kLabelAddr);
  if (d.has(spec::kFlagOutBatch)) used[2].address += regs.parameter(spec::reg::kOutAddr);
  if (d.has(spec::kFlagWBatch)) used[3].address += regs.parameter(spec::reg::kBatchAddr);
  const U limit = regs.parameter(spec::reg::kMemLimit);
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
    if (!r.used || r.address + r.bytes <= memory_bytes) continue;
    const Wide touched = reach(resolved, r);
    if (touched != 0 && r.address + touched > memory_bytes) {
      return {r.write ? Error::bus_write_ : Error::bus_read_, static_cast<std::uint32_t>(r.engine)};
    }
  }
  return {};
}

}  // namespace lastmile::npu
