// SPDX-License-Identifier: Apache-2.0
// First half of the compiler, and only its own: which layers, which commands, which tensors; no
// address yet.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sw/compiler/compile.hpp"

namespace lastmile::lowering {

// Tensors are named by the layer whose output they are, and:
inline constexpr int kBatch = kNetworkInput;  // the batch in its slot
// The batch in the arena, for a second addend: in2_addr cannot be relative to BATCH_ADDR.
inline constexpr int kBatchCopy = -2;
inline constexpr int kNone = -3;
inline constexpr int kErrors = -4;      // of the outputs: int8 [batch][classes]
inline constexpr int kGradient = -5;    // of the head's weights: int32 [classes][record]
inline constexpr int kRecords = -6;     // the records at register OUT_ADDR
inline constexpr int kMoments = -7;     // int32 at register OUT_ADDR: see MomentSums
inline constexpr int kOnes = -8;        // int8 ones, a chunk of them: in the image
inline constexpr int kDifference = -9;  // output minus target: int8 [batch][elements]
inline constexpr int kPadded = -10;     // the same in rows of whole 64 bytes: in the image
inline constexpr int kSquares = -11;    // products of examples: see SquaredError
// The constants of concat `layer`, once per example: in the image.
constexpr int constants_of(int layer) { return -16 - layer; }
constexpr bool is_constants(int tensor) { return tensor <= -16; }
constexpr int concat_of(int tensor) { return -16 - tensor; }

// One forward command and the tensors behind its addresses.
struct Step {
  Command command;
  int in = kNone, in2 = kNone, out = kNone;
  std::uint32_t out_offset = 0;  // bytes from the start of `out`: a part of a concat
  // Weights that are no tensor of the network (a moment's), and where in them and in `in` to begin.
  int weights = kNone;
  std::uint32_t in_offset = 0, weights_offset = 0;
};

struct Lowered {
  Program program;  // all but forward, activations, addresses, image and memory map
  std::vector<Step> steps;
  std::vector<Step> extract, score, learn;  // of a program with readouts
};

// Throws what compile() throws, but for memory.
[[nodiscard]] Lowered lower(const QuantizedNetwork& network, const spec::HardwareParams& hardware,
                            const CompileOptions& options);

// Smallest multiple of the NPU's alignment that is at least `value`.
[[nodiscard]] constexpr std::uint64_t align_up(std::uint64_t value) {
  constexpr auto kTo = static_cast<std::uint64_t>(spec::kAlign);
  return (value + kTo - 1) / kTo * kTo;
}
[[noreturn]] void fail(const Network& network, const std::string& text);

}  // namespace lastmile::lowering
