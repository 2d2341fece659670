// SPDX-License-Identifier: Apache-2.0
// What a command must have written, and the words for a difference.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "cmodel/spec/npu_spec.hpp"
#include "sim/verilator/simulation.hpp"

namespace lastmile::sim {

// Rows of `row_bytes` bytes, `pitch` apart; no rows: the command writes nothing.
struct Region {
  std::uint64_t first = 0, rows = 0, row_bytes = 0, pitch = 0;
  std::uint32_t element_bytes = 1;
  [[nodiscard]] std::uint64_t bytes() const { return rows * row_bytes; }
  [[nodiscard]] std::uint64_t elements() const { return bytes() / element_bytes; }
  [[nodiscard]] bool holds(const Range& r) const;
};
// d: addresses resolved.
[[nodiscard]] Region output_region(const spec::Descriptor& d);

// The element of the region that holds `address`: "output [image 0][row 3][column 2][channel 5]".
[[nodiscard]] std::string element_text(const spec::Descriptor& d, const Region& region,
                                       std::uint64_t address);

struct MemoryDifference {
  std::uint64_t address = 0;  // of the first byte of the element
  std::int64_t rtl = 0, model = 0;
};
// First element of the region in which two memories differ.
[[nodiscard]] std::optional<MemoryDifference> compare_region(const Region& region,
                                                             std::span<const std::byte> rtl,
                                                             std::span<const std::byte> model);

}  // namespace lastmile::sim
