// SPDX-License-Identifier: Apache-2.0
// What stands between a recording or a picture and a network's input. A network is right for one
// such path alone, so it is stored with it (checkpoints, quantized networks) and checked against
// the data.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "sw/base/shape.hpp"
#include "sw/data/features.hpp"

namespace lastmile {

struct Preprocessing {
  bool audio = false;  // else images: byte b is b / 255, or numbers as a file has them
  Shape input;
  std::vector<std::string> class_names;
  FeatureOptions features;  // audio
  // Audio: of each column, fitted. Images: of each channel, as it was given (--mean, --std), in
  // units of 0 to 1; none: empty.
  Normalization normalization;
  // Values that the network was trained on; a deviation of 0: not known.
  struct Seen {
    double mean = 0, deviation = 0;
  } seen = {};
  std::string resize = {};  // how pictures get the size of the input; empty: none had to
};
[[nodiscard]] Preprocessing::Seen seen_of(std::span<const float> values);

// A JSON object in one line. Numbers come back as the same bits.
[[nodiscard]] std::string to_text(const Preprocessing& p);
// Error (input) naming `origin` and the field for anything but what to_text writes.
[[nodiscard]] Preprocessing parse_preprocessing(const std::string& text, const std::string& origin);

// Error (input) naming both sides where the data are not those that the network of `origin` was
// made for: kind, feature settings, normalization of images, how they are resized, input size,
// classes and their names and order.
void require_same(const Preprocessing& stored, const Preprocessing& data,
                  const std::string& origin);

}  // namespace lastmile
