// SPDX-License-Identifier: Apache-2.0
// PNG and JPEG in memory. libpng and libjpeg are not instrumented: this covers our own checks, how
// the libraries are left after an error, and resizing what was read.
#include <cmath>

#include "sw/data/picture.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lastmile;
  fuzz::accepts([&] {
    const Shape claimed = picture_shape({data, size}, "picture");
    if (claimed.elements() > 1 << 20) return;  // for speed
    const Picture p = decode_picture({data, size}, "picture");
    fuzz::require(p.shape == claimed);
    fuzz::require(p.size() == static_cast<std::size_t>(p.shape.elements()));
    for (const Resize how : {Resize::stretch, Resize::fit, Resize::crop}) {
      std::vector<float> out(7 * 5 * 3);
      conform(p, {7, 5, 3}, how, out);
      for (const float v : out) fuzz::require(v >= 0 && v <= 1);
    }
  });
  return 0;
}
