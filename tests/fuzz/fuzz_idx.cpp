// SPDX-License-Identifier: Apache-2.0
// IDX images and labels, and both joined: the first byte says where the labels begin.
#include "sw/data/idx.hpp"
#include "tests/fuzz/fuzz.hpp"

using lastmile::fuzz::accepts;
using lastmile::fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span bytes(data, size);
  accepts([&] {
    const auto set = lastmile::parse_idx_images(bytes, "images");
    require(set.pixels.size() == static_cast<std::size_t>(set.n) * static_cast<std::size_t>(set.h) *
                                     static_cast<std::size_t>(set.w) *
                                     static_cast<std::size_t>(set.c));
  });
  accepts([&] { require(lastmile::parse_idx_labels(bytes, "labels").size() == size - 8); });
  if (size == 0 || data[0] >= size) return 0;
  const auto rest = bytes.subspan(1);
  accepts([&] {
    const auto set =
        lastmile::join_idx(lastmile::parse_idx_images(rest.subspan(data[0]), "images"), "images",
                           lastmile::parse_idx_labels(rest.first(data[0]), "labels"), "labels");
    lastmile::check(lastmile::to_dataset(set), "set");
  });
  return 0;
}
