// SPDX-License-Identifier: Apache-2.0
#include "sw/base/gzip_head.hpp"

#include <zlib.h>

#include <algorithm>

namespace lastmile {

std::vector<std::uint8_t> gunzip_head(std::span<const std::uint8_t> bytes, std::size_t count) {
  z_stream z{};
  if (inflateInit2(&z, 15 + 16) != Z_OK) return {};
  std::vector<std::uint8_t> out(count);
  z.next_in = const_cast<Bytef*>(bytes.data());  // zlib's interface is not const-correct
  z.avail_in = static_cast<uInt>(std::min<std::size_t>(bytes.size(), 1U << 30));
  z.next_out = out.data();
  z.avail_out = static_cast<uInt>(count);
  static_cast<void>(inflate(&z, Z_SYNC_FLUSH));
  out.resize(count - z.avail_out);
  inflateEnd(&z);
  return out;
}

}  // namespace lastmile
