// SPDX-License-Identifier: Apache-2.0
// The built-in task: ten digits drawn with a pen that wobbles. Every image depends on (seed, index)
// alone and has the same bytes with every compiler and thread count. No font and no file is
// involved.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sw/data/dataset.hpp"

namespace lastmile {

inline constexpr int kGlyphSide = 16;
inline constexpr int kGlyphClasses = 10;

// `n` grey images of kGlyphSide x kGlyphSide, ink bright on dark: random slant, turn (10 degrees
// standard deviation), size, position, bend, pen width and ink, a little noise. Labels are drawn
// uniformly. 1 to 10^7 images.
[[nodiscard]] ImageSet make_glyphs(int n, std::uint64_t seed, int threads = 1);

// "0" to "9".
[[nodiscard]] std::vector<std::string> glyph_class_names();

}  // namespace lastmile
