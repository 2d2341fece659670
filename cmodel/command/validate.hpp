// SPDX-License-Identifier: Apache-2.0
// The contract's section Validation: which rule a queue or a command violates first. Nothing here
// touches memory.
#pragma once

#include <array>
#include <cstdint>

#include "cmodel/command/control.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// Rule 1, when a queue is started.
[[nodiscard]] Fault validate_queue(const RegisterFile& regs);

// Rules 2 to 9. On success `resolved` is the descriptor with the register bases added to its
// addresses.
[[nodiscard]] Fault validate_command(const spec::Descriptor& d, const RegisterFile& regs,
                                     const spec::HardwareParams& hw, spec::Descriptor& resolved);

// What the bus answers to a valid command that touches bytes which a memory of `memory_bytes` does
// not have: BUS_READ or BUS_WRITE with the engine. The model tells before anything is touched. What
// a region holds and no tile reads need not exist.
[[nodiscard]] Fault check_memory(const spec::Descriptor& resolved, std::uint64_t memory_bytes);

// One byte range a command uses.
struct Region {
  spec::Field field = spec::Field::none_;
  std::uint64_t address = 0;    // 33 bits: base and offset added
  unsigned __int128 bytes = 0;  // products of four fields reach 2^65
  std::uint32_t align = 1;
  bool write = false;
  spec::Engine engine = spec::Engine::none_;
  bool used = false;
};
// in, in2, out, w, bias, rq: the contract's order. Addresses are taken as they stand in `d`. UPDATE
// writes the region of its weights, too.
[[nodiscard]] std::array<Region, 6> regions(const spec::Descriptor& d);

// Rows and columns of a tile's input region (CONTRACT.md, Tiles).
[[nodiscard]] constexpr std::uint64_t region_extent(std::uint64_t tile, std::uint64_t stride,
                                                    std::uint64_t kernel, std::uint64_t dilation) {
  return (tile - 1) * stride + (kernel - 1) * dilation + 1;
}

[[nodiscard]] constexpr bool uses_tiles(spec::Opcode op) { return spec::traits(op).tiles; }
[[nodiscard]] constexpr bool uses_weights(spec::Opcode op) { return spec::traits(op).weights; }

// Bytes of one element of the tensor at w_addr.
[[nodiscard]] constexpr std::uint32_t weight_bytes(const spec::Descriptor& d) {
  return d.has(spec::kFlagW8) ? 1 : d.has(spec::kFlagW32) ? 4 : 2;
}
// Bytes of one element at out_addr, and its channels.
[[nodiscard]] constexpr std::uint32_t output_bytes(const spec::Descriptor& d) {
  return d.has(spec::kFlagOut32)    ? 4
         : d.has(spec::kFlagOut16)  ? 2
         : d.has(spec::kFlagErrors) ? 1
                                    : spec::traits(d.op()).out_bytes;
}
[[nodiscard]] constexpr std::uint32_t output_channels(const spec::Descriptor& d) {
  return uses_weights(d.op()) ? d.out_c : d.in_c;
}
// DEPTHWISE, POOL: output channels of a chunk of tile_c input channels (CONTRACT.md, Tiles).
[[nodiscard]] constexpr std::uint64_t output_chunk(const spec::Descriptor& d) {
  return std::uint64_t{d.tile_c} * (d.op() == spec::Opcode::depthwise_ ? d.cout_group : 1);
}
// Elements from one output image to the next.
[[nodiscard]] constexpr std::uint64_t output_image_elements(const spec::Descriptor& d) {
  return d.out_pitch != 0 ? d.out_pitch / output_bytes(d)
                          : std::uint64_t{d.out_h} * d.out_w * output_channels(d);
}
// UPDATE with GRADIENT: bytes from one row of the gradient to the next, and of all.
[[nodiscard]] constexpr std::uint64_t gradient_pitch(const spec::Descriptor& d) {
  constexpr auto kTo = static_cast<std::uint64_t>(spec::kAlign);
  return (std::uint64_t{d.in_c} * 4 + kTo - 1) / kTo * kTo;
}
[[nodiscard]] constexpr unsigned __int128 gradient_bytes(const spec::Descriptor& d) {
  return static_cast<unsigned __int128>(d.out_c - 1) * gradient_pitch(d) +
         std::uint64_t{d.in_c} * 4;
}
[[nodiscard]] constexpr std::uint32_t label_bytes(const spec::Descriptor& d) {
  return d.in_c > spec::kLabel8Classes ? 2 : 1;
}

}  // namespace lastmile::npu
