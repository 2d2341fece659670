// SPDX-License-Identifier: Apache-2.0
// Any bytes either are a quantized network, which then must survive being written again, or are
// refused with an Error. The header's checksum is made right first, so that what lies behind it is
// reached too.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/quantizer/file.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lastmile;
  std::vector<std::uint8_t> bytes(data, data + size);
  const auto parse = [&] {
    try {
      const QuantizedNetwork network = parse_quantized(bytes, "fuzz");
      if (serialize(network) != bytes) std::abort();
      if (parse_quantized(serialize(network), "again") != network) std::abort();
    } catch (const Error&) {
    }
  };
  parse();
  constexpr std::size_t kPrefix = 24;
  if (size < kPrefix) return 0;
  std::memcpy(bytes.data(), "LMQUANT\n\1\0\0\0", 12);
  std::uint32_t header = 0;
  std::memcpy(&header, bytes.data() + 12, 4);
  if (header > size - kPrefix) {
    header = static_cast<std::uint32_t>(size - kPrefix);
    std::memcpy(bytes.data() + 12, &header, 4);
  }
  const std::uint64_t hash = xxh64(std::span(bytes).subspan(kPrefix, header));
  std::memcpy(bytes.data() + 16, &hash, 8);
  parse();
  return 0;
}
