// SPDX-License-Identifier: Apache-2.0
// Single commands of many shapes whose cycles are measured.
#pragma once

#include <cstring>
#include <string>
#include <tuple>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "sw/compiler/tiling.hpp"
#include "sw/device/device.hpp"

namespace timing_shapes {

using lastmile::Device;
using lastmile::spec::Descriptor;
using lastmile::spec::Opcode;
namespace spec = lastmile::spec;
namespace reg = lastmile::spec::reg;

struct Shape {
  std::string name;
  Descriptor d;
  bool perturbed = true, gaussian = false;
  std::uint32_t pairs = 1;
};

inline Descriptor conv(std::uint32_t n, std::uint32_t size, std::uint32_t in, std::uint32_t out,
                       std::uint32_t kernel, std::uint32_t stride = 1, std::uint32_t groups = 1,
                       std::uint32_t dilation = 1) {
  Descriptor d;
  d.opcode = static_cast<std::uint32_t>(Opcode::conv2d_);
  d.flags = spec::kFlagHasBias | spec::kFlagWTrain | spec::kFlagBTrain;
  d.n = n;
  d.in_h = d.in_w = size;
  d.in_c = in;
  d.out_c = out;
  d.kernel_h = d.kernel_w = kernel;
  d.stride_h = d.stride_w = stride;
  d.dilation_h = d.dilation_w = dilation;
  d.pad_top = d.pad_left = (kernel - 1) * dilation / 2;
  d.out_h = d.out_w = (size + stride - 1) / stride;
  d.groups = groups;
  d.cin_group = in / groups;
  d.cout_group = out / groups;
  d.w_keep = d.b_keep = 256;
  d.act_min = -128;
  d.act_max = 127;
  return d;
}
inline Descriptor depthwise(std::uint32_t n, std::uint32_t size, std::uint32_t channels,
                            std::uint32_t multiplier, std::uint32_t kernel, std::uint32_t stride) {
  Descriptor d = conv(n, size, channels, channels * multiplier, kernel, stride);
  d.opcode = static_cast<std::uint32_t>(Opcode::depthwise_);
  d.cin_group = 1;
  d.cout_group = multiplier;
  return d;
}
inline Descriptor pool(std::uint32_t n, std::uint32_t size, std::uint32_t channels,
                       std::uint32_t kernel, std::uint32_t stride, bool maximum) {
  Descriptor d = conv(n, size, channels, channels, kernel, stride);
  d.opcode = static_cast<std::uint32_t>(Opcode::pool_);
  d.flags = maximum ? std::uint32_t{spec::kFlagMax} : 0U;
  d.pad_top = d.pad_left = 0;
  d.out_h = d.out_w = (size - kernel) / stride + 1;
  return d;
}
inline Descriptor add(std::uint32_t n, std::uint32_t elements) {
  Descriptor d;
  d.opcode = static_cast<std::uint32_t>(Opcode::add_);
  d.n = n;
  d.in_c = elements;
  d.m1 = d.m2 = d.mo = 1U << 30;
  d.add_shift = 20;
  d.eo = -20;
  d.add_act_min = -128;
  d.add_act_max = 127;
  return d;
}
inline Descriptor rows(Opcode op, std::uint32_t n, std::uint32_t classes, std::uint32_t flags = 0) {
  Descriptor d;
  d.opcode = static_cast<std::uint32_t>(op);
  d.flags = flags;
  d.n = n;
  d.in_c = classes;
  d.m1 = op == Opcode::softmax_ ? 1U << 30 : 1000;
  d.e1 = op == Opcode::softmax_ ? 22 : -10;
  d.diff_min = -200;
  return d;
}
inline Descriptor update(std::uint32_t tensor_rows, std::uint32_t columns, std::uint32_t flags,
                         std::uint32_t keep = 256) {
  Descriptor d;
  d.opcode = static_cast<std::uint32_t>(Opcode::update_);
  d.flags = flags;
  d.out_c = tensor_rows;
  d.in_c = columns;
  d.w_keep = keep;
  d.step = 40000;
  d.step_shift = 20;
  return d;
}
inline Descriptor with(Descriptor d, std::uint32_t flags) {
  d.flags |= flags;
  return d;
}
inline Descriptor masked(Descriptor d) {
  d.w_keep = d.b_keep = 100;
  return d;
}

// The commands of a readout's step: logits of a batch of records, errors, their product with the
// records, and the update of the readout by it.
inline std::vector<Shape> readout(std::uint32_t batch, std::uint32_t classes,
                                  std::uint32_t elements) {
  const std::string size = " " + std::to_string(batch) + " x " + std::to_string(classes) + " x " +
                           std::to_string(elements);
  Descriptor logits = with(conv(batch, 1, elements, classes, 1), spec::kFlagOut16);
  Descriptor gradient = conv(1, 1, 1, elements, 1);
  gradient.flags = spec::kFlagW8 | spec::kFlagWTransposed | spec::kFlagOut32;
  gradient.in_h = gradient.kernel_h = batch;
  gradient.in_w = gradient.out_w = classes;
  return {{"readout logits" + size, logits, false},
          {"readout errors" + size, rows(Opcode::loss_, batch, classes, spec::kFlagErrors), false},
          {"readout gradient" + size, gradient, false},
          {"readout update" + size, update(classes, elements, spec::kFlagGradient), false}};
}

// Matrix product of two size x size matrices.
inline Shape product(std::uint32_t size) {
  return {"product " + std::to_string(size), conv(size, 1, size, size, 1)};
}

inline std::vector<Shape> all() {
  constexpr std::uint32_t w8 = spec::kFlagW8, w32 = spec::kFlagW32, out16 = spec::kFlagOut16,
                          res = spec::kFlagResAdd;
  std::vector<Shape> s = {
      {"conv 1x1 16-16 16x16", conv(1, 16, 16, 16, 1)},
      {"conv 1x1 64-64 8x8", conv(1, 8, 64, 64, 1)},
      {"conv 1x1 64-64 8x8 n4", conv(4, 8, 64, 64, 1)},
      {"conv 3x3 1-16 28x28", conv(1, 28, 1, 16, 3)},
      {"conv 3x3 3-16 32x32", conv(1, 32, 3, 16, 3)},
      {"conv 3x3 16-16 16x16", conv(1, 16, 16, 16, 3)},
      {"conv 3x3 16-32 s2 16x16", conv(2, 16, 16, 32, 3, 2)},
      {"conv 3x3 32-32 8x8", conv(1, 8, 32, 32, 3)},
      {"conv 3x3 20-24 7x7", conv(3, 7, 20, 24, 3)},
      {"conv 5x5 8-16 12x12", conv(1, 12, 8, 16, 5)},
      {"conv 3x3 dilated 16-16 14x14", conv(1, 14, 16, 16, 3, 1, 1, 2)},
      {"conv 3x3 groups 4 32-32 8x8", conv(1, 8, 32, 32, 3, 1, 4)},
      {"conv 3x3 16-16 16x16 w8", with(conv(1, 16, 16, 16, 3), w8)},
      {"conv 3x3 16-16 16x16 res", with(conv(1, 16, 16, 16, 3), res)},
      {"conv 3x3 32-32 8x8 res", with(conv(2, 8, 32, 32, 3), res)},
      {"conv 3x3 16-16 16x16 gaussian masked", masked(conv(1, 16, 16, 16, 3)), true, true},
      {"conv 3x3 16-16 16x16 unperturbed", conv(1, 16, 16, 16, 3), false},
      {"fc 64-10", conv(1, 1, 64, 10, 1)},
      {"fc 1024-64", conv(1, 1, 1024, 64, 1)},
      {"fc 1024-64 w8", with(conv(1, 1, 1024, 64, 1), w8)},
      {"fc 256-10 n16 out16", with(conv(16, 1, 256, 10, 1), out16)},
      {"fc 4096-32 n16", conv(16, 1, 4096, 32, 1)},
      {"depthwise 3x3 64 10x10", depthwise(1, 10, 64, 1, 3, 1)},

      {"depthwise 3x3 32 s2 15x15", depthwise(2, 15, 32, 1, 3, 2)},
      {"depthwise 3x3 8x2 9x9 w8", with(depthwise(1, 9, 8, 2, 3, 1), w8)},
      {"pool max 2x2 16 16x16", pool(1, 16, 16, 2, 2, true)},
      {"pool average 2x2 32 14x14", pool(2, 14, 32, 2, 2, false)},
      {"pool average 8x8 64", pool(4, 8, 64, 8, 8, false)},
      {"pool average 7x7 2048 in chunks", pool(2, 7, 2048, 7, 1, false)},
      {"depthwise 5x5 3000 7x7 in chunks", depthwise(1, 7, 3000, 1, 5, 1)},
      {"add 1024", add(1, 1024)},
      {"add 16x1000", add(16, 1000)},
      {"softmax 16x10", rows(Opcode::softmax_, 16, 10)},
      {"softmax 2x100", rows(Opcode::softmax_, 2, 100)},
      {"loss 16x10", rows(Opcode::loss_, 16, 10)},
      {"loss 16x100 stored", rows(Opcode::loss_, 16, 100, spec::kFlagLosses)},
      {"update 16x144", update(16, 144, 0)},
      {"update 64x576", update(64, 576, 0), true, false, 2},
      {"update 10x64 w8", update(10, 64, w8), true, true, 4},
      {"update bias 64", update(1, 64, w32), true, false, 8},
      {"update 32x100 masked", update(32, 100, 0, 100), true, true, 1},
      {"update 64x576 8 pairs w8", update(64, 576, w8, 30), true, true, 8},
      {"update 20x100 gradient w8", update(20, 100, spec::kFlagGradient | w8), false},
      {"update 20x100 gradient int32 masked", update(20, 100, spec::kFlagGradient | w32, 100),
       false},
      {"conv 3x3 16-16 16x16 int32", with(conv(1, 16, 16, 16, 3), spec::kFlagOut32)},
  };
  for (const auto& [batch, classes, elements] :
       {std::tuple{64U, 10U, 2752U}, {64U, 128U, 512U}, {16U, 35U, 320U}}) {
    const std::vector<Shape> step = readout(batch, classes, elements);
    s.insert(s.end(), step.begin(), step.end());
  }
  return s;
}

// Runs the command and an END, on random data.
inline void execute(Device& device, const Shape& shape, const spec::HardwareParams& hw) {
  Descriptor d = shape.d;
  lastmile::Rng rng(1);
  std::uint64_t next = 0;
  const auto place = [&](std::uint64_t bytes) {
    const auto at = static_cast<std::uint32_t>(next);
    next += (bytes + 63) / 64 * 64;
    std::vector<std::byte> data(bytes);
    for (std::byte& b : data) b = static_cast<std::byte>(rng.below(64));
    device.write_memory(at, data);
    return at;
  };
  const std::uint64_t pixels =
      std::uint64_t{d.n} * (d.in_h == 0 ? 1 : d.in_h) * (d.in_w == 0 ? 1 : d.in_w);
  const std::uint64_t outputs =
      d.out_h == 0 ? std::uint64_t{d.n} * d.in_c
                   : std::uint64_t{d.n} * d.out_h * d.out_w * (d.out_c == 0 ? d.in_c : d.out_c);
  const std::uint32_t bytes = d.has(spec::kFlagW8) ? 1 : d.has(spec::kFlagW32) ? 4 : 2;
  std::uint32_t columns = d.in_c, tensor_rows = d.out_c;
  const auto op = static_cast<Opcode>(d.opcode);
  if (op == Opcode::conv2d_) columns = d.kernel_h * d.kernel_w * d.cin_group;
  if (d.has(spec::kFlagWTransposed)) {
    tensor_rows = columns;
    columns = d.out_c;
  }
  if (op == Opcode::depthwise_) {
    columns = d.out_c;
    tensor_rows = d.kernel_h * d.kernel_w;
  }
  d.w_pitch = (columns * bytes + 63) / 64 * 64;
  d.in_addr =
      place(d.has(spec::kFlagGradient) ? std::uint64_t{d.out_c} * ((d.in_c * 4 + 63) / 64 * 64)
                                       : pixels * d.in_c * 2);
  d.in2_addr = place(outputs * 2);
  d.out_addr = place(outputs * 4);
  d.w_addr = place(std::uint64_t{tensor_rows} * d.w_pitch);
  d.bias_addr = place(std::uint64_t{d.out_c} * 4);
  d.rq_addr = place(std::uint64_t{d.out_c} * 8);
  if (d.has(spec::kFlagResAdd)) {
    const Descriptor a = add(1, 1);
    d.m1 = a.m1, d.m2 = a.m2, d.mo = a.mo, d.add_shift = a.add_shift, d.eo = a.eo;
    d.add_act_min = a.add_act_min, d.add_act_max = a.add_act_max;
  }
  if (d.has(spec::kFlagOut16)) d.act_min = -32768, d.act_max = 32767;
  lastmile::choose_tiles(d, hw);
  const spec::DescriptorWords words = spec::encode(d), end = spec::encode({});
  const std::uint32_t queue = place(2 * sizeof words);
  device.write_memory(queue, std::as_bytes(std::span(words)));
  device.write_memory(queue + sizeof words, std::as_bytes(std::span(end)));
  device.annotate(shape.name);
  device.write_register(reg::kPolarity, shape.perturbed ? 1 : 0);
  device.write_register(reg::kDistribution, shape.gaussian ? 1 : 0);
  device.write_register(reg::kPairs, shape.pairs);
  device.write_register(reg::kStep, 0x8000);
  device.write_register(reg::kQueueAddr, queue);
  device.write_register(reg::kQueueCount, 2);
  device.write_register(reg::kMemLimit, static_cast<std::uint32_t>(device.memory_size()));
  device.write_register(reg::kIrqEnable, 3);
  device.write_register(reg::kCtrl, 1);
  const bool ended = device.wait_interrupt();
  const std::uint32_t error = device.read_register(reg::kErrorCode);
  if (!ended || error != 0)
    throw std::runtime_error(shape.name + ": error " + std::to_string(error) + ", information " +
                             std::to_string(device.read_register(reg::kErrorInfo)));
  device.write_register(reg::kIrqStatus, 3);
}

}  // namespace timing_shapes
