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

// One forward command and the tensors behind its addresses.
struct Step {
  Command command;
  int in = kNone, in2 = kNone, out = kNone;
};

struct Lowered {
  Program program;  // all but forward, activations, addresses, image and memory map
  std::vector<Step> steps;
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
