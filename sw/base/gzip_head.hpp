// SPDX-License-Identifier: Apache-2.0
// The beginning of compressed data: what a file claims to hold, before memory is spent on it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lastmile {

// The first `count` bytes that a gzip member decompresses to; fewer if it has no more or is damaged
// (gunzip in io.hpp then says how).
[[nodiscard]] std::vector<std::uint8_t> gunzip_head(std::span<const std::uint8_t> bytes,
                                                    std::size_t count);

}  // namespace lastmile
