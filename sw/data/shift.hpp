// SPDX-License-Identifier: Apache-2.0
// Domain shifts of images. A shift is written as `rotate=25,contrast=0.6,noise=0.1`; what it does
// to an example depends on the shift, the seed and the example's index alone: not on the thread
// count, the compiler or the order in the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "sw/data/dataset.hpp"

namespace lastmile {

// Applied in this order (optics first, then the sensor), to images with values in [0, 1], which
// they are clamped to afterwards.
struct Shift {
  double rotate =
      0;  // degrees, counter-clockwise, about the centre; bilinear, 0 outside; -360 to 360
  double blur = 0;        // standard deviation of a Gaussian in pixels, edges replicated; 0 to 10
  double contrast = 1;    // factor on the distance from the image's own mean (per channel); 0 to 10
  double gain = 1;        // factor on every value; 0 to 10
  double brightness = 0;  // added; -1 to 1
  double noise = 0;       // standard deviation of Gaussian noise, added; 0 to 10
  friend bool operator==(const Shift&, const Shift&) = default;
  [[nodiscard]] bool none() const { return *this == Shift{}; }
};

// Reads "name=value,..." with the names above, each at most once; "" and "none" are no shift. Error
// (usage) names the item, what is wrong with it and what was expected.
[[nodiscard]] Shift parse_shift(std::string_view spec);
// The shortest text that parse_shift reads as this shift; "none" for none.
[[nodiscard]] std::string to_string(const Shift& shift);

// Applies it to every example, with noise from (seed, index).
void apply_shift(Dataset& data, const Shift& shift, std::uint64_t seed, int threads = 1);

}  // namespace lastmile
