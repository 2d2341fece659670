// SPDX-License-Identifier: Apache-2.0
// Any bytes either are arrays, which then survive being written again, or are refused.
#include <algorithm>
#include <cmath>

#include "sw/golden/npz.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lastmile;
  const auto same = [](const NpyArray& a, const NpyArray& b) {
    return a.shape == b.shape &&
           std::equal(a.values.begin(), a.values.end(), b.values.begin(), b.values.end(),
                      [](float x, float y) { return x == y || (std::isnan(x) && std::isnan(y)); });
  };
  fuzz::accepts([&] {
    const NpyArray array = parse_npy({data, size}, "fuzz");
    fuzz::require(same(parse_npy(encode_npy(array), "again"), array));
  });
  fuzz::accepts([&] {
    const auto arrays = parse_npz({data, size}, "fuzz");
    const auto again = parse_npz(encode_npz(arrays), "again");
    fuzz::require(again.size() == arrays.size());
    for (std::size_t i = 0; i < arrays.size(); ++i)
      fuzz::require(again[i].first == arrays[i].first && same(again[i].second, arrays[i].second));
  });
  return 0;
}
