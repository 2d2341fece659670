// SPDX-License-Identifier: Apache-2.0
// PNG files for tests: samples as the file holds them, no filter, one IDAT.
#pragma once

#include <zlib.h>

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "sw/base/io.hpp"

namespace lastmile::testing {

using Bytes = std::vector<std::uint8_t>;

inline void put_u32(Bytes& out, std::uint32_t v) {
  for (const int shift : {24, 16, 8, 0}) out.push_back(static_cast<std::uint8_t>(v >> shift));
}
inline void put_chunk(Bytes& out, std::string_view type, std::span<const std::uint8_t> data) {
  put_u32(out, static_cast<std::uint32_t>(data.size()));
  Bytes body(type.begin(), type.end());
  body.insert(body.end(), data.begin(), data.end());
  out.insert(out.end(), body.begin(), body.end());
  put_u32(out, crc32(std::span<const std::uint8_t>(body)));
}

// `color`: 0 grey, 2 colour, 3 palette, 4 grey and alpha, 6 colour and alpha. `rows`: `h` rows of
// equal length.
inline Bytes png(int h, int w, int depth, int color, const Bytes& rows, const Bytes& palette = {}) {
  Bytes out{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  Bytes head;
  put_u32(head, static_cast<std::uint32_t>(w));
  put_u32(head, static_cast<std::uint32_t>(h));
  for (const int v : {depth, color, 0, 0, 0}) head.push_back(static_cast<std::uint8_t>(v));
  put_chunk(out, "IHDR", head);
  if (!palette.empty()) put_chunk(out, "PLTE", palette);
  Bytes raw;
  const std::size_t each = h == 0 ? 0 : rows.size() / static_cast<std::size_t>(h);
  for (std::size_t y = 0; each != 0 && y < static_cast<std::size_t>(h); ++y) {
    raw.push_back(0);
    raw.insert(raw.end(), rows.begin() + static_cast<std::ptrdiff_t>(y * each),
               rows.begin() + static_cast<std::ptrdiff_t>((y + 1) * each));
  }
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  Bytes packed(size);
  compress(packed.data(), &size, raw.data(), static_cast<uLong>(raw.size()));
  packed.resize(size);
  put_chunk(out, "IDAT", packed);
  put_chunk(out, "IEND", {});
  return out;
}

}  // namespace lastmile::testing
