// SPDX-License-Identifier: Apache-2.0
// Any bytes either are float weights of this network, which then must survive being written again,
// or are refused with an Error. The checksum is made right in a second go.
#include <cstdint>
#include <cstring>
#include <vector>

#include "sw/base/io.hpp"
#include "sw/golden/checkpoint.hpp"
#include "sw/graph/reader.hpp"
#include "tests/fuzz/fuzz.hpp"

namespace {

const lastmile::Network& small_network() {
  static const lastmile::Network network = lastmile::parse_network(
      "name = \"n\"\ninput = [2, 2, 1]\nclasses = 2\n\n[[layer]]\nname = \"c\"\nop = \"conv2d\"\n"
      "filters = 2\nkernel = 2\nbatch_norm = true\n\n[[layer]]\nname = \"f\"\nop = "
      "\"fully_connected\"\nunits = 2\n",
      "network");
  return network;
}

void check(const std::vector<std::uint8_t>& bytes) {
  using namespace lastmile;
  fuzz::accepts([&] {
    const FloatParams<float> params = decode_checkpoint(bytes, "fuzz", small_network());
    fuzz::require(encode_checkpoint(small_network(), params) == bytes);
    fuzz::require(!describe_checkpoint(bytes, "fuzz").tensors.empty());
  });
  fuzz::accepts([&] {
    const CheckpointContents c = describe_checkpoint(bytes, "fuzz");
    for (const CheckpointContents::Tensor& t : c.tensors) {
      std::uint64_t size = 4;
      for (const std::uint32_t d : t.shape) size *= d;
      fuzz::require(size > 0 && size <= bytes.size());
    }
  });
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  std::vector<std::uint8_t> bytes(data, data + size);
  check(bytes);
  constexpr std::size_t kPrefix = 12, kSum = 8;
  if (size < kPrefix + kSum) return 0;
  std::memcpy(bytes.data(), "LMFLOAT\0\1\0\0\0", kPrefix);
  const std::uint64_t sum = lastmile::xxh64({bytes.data(), size - kSum});
  std::memcpy(bytes.data() + size - kSum, &sum, kSum);
  check(bytes);
  return 0;
}
