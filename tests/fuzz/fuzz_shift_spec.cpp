// SPDX-License-Identifier: Apache-2.0
// Shift texts: what is read is written back as the same shift, and applying it leaves values from 0
// to 1.
#include "sw/data/shift.hpp"
#include "tests/fuzz/fuzz.hpp"

using lastmile::fuzz::require;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  lastmile::fuzz::accepts([&] {
    const auto shift = lastmile::parse_shift(lastmile::fuzz::as_text(data, size));
    require(lastmile::parse_shift(lastmile::to_string(shift)) == shift);
    lastmile::Dataset d;
    d.shape = {3, 2, 2};
    d.classes = 2;
    d.x = {0, 1, .5F, .25F, 1, 1, 0, 0, .1F, .9F, .3F, .7F};
    d.y = {0};
    lastmile::apply_shift(d, shift, size);
    for (const float v : d.x) require(v >= 0 && v <= 1);
  });
  return 0;
}
