// SPDX-License-Identifier: Apache-2.0
// A quantized network as one file, written atomically.
//
//     bytes 0..7    "LMQUANT\n"
//     bytes 8..11   version (1 to 4)         little-endian, as everything below
//     bytes 12..15  bytes of the header
//     bytes 16..23  XXH64 of the header
//     header        JSON: the network as TOML, widths, scales, clamps, and for each array its
//     element count and XXH64 arrays        by layer: weights (int8 or int16), weight scales
//     (float32), bias (int32), requantization ({int32, int32}), where `statistics` is true also
//     mean and deviation (float32); then the
//                   logits' requantization. Nothing follows.
//
// Version 2 has, in the header's layers, `weight_type` where it is not the network's, and
// `constants` for a concat; version 3 also `statistics` (QuantizedLayer::mean); version 4 also
// `preprocessing`, what the input has to go through. A network is written as the oldest version
// that has all of it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "sw/quantizer/quantized.hpp"

namespace lastmile {

[[nodiscard]] std::vector<std::uint8_t> serialize(const QuantizedNetwork& network);
// Error(input) naming `origin` and the field for whatever is not exactly what serialize() writes.
[[nodiscard]] QuantizedNetwork parse_quantized(std::span<const std::uint8_t> bytes,
                                               const std::string& origin);

void save_quantized(const std::filesystem::path& path, const QuantizedNetwork& network);
[[nodiscard]] QuantizedNetwork load_quantized(const std::filesystem::path& path);

}  // namespace lastmile
