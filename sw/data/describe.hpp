// SPDX-License-Identifier: Apache-2.0
// What is in a data set, for people: everything is read, and what cannot be is told all at once
// instead of ending the look.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "sw/data/collection.hpp"

namespace lastmile {

struct SetDescription {
  std::string format;  // empty: not known, problems say why
  bool labelled = true;
  std::vector<std::string> class_names;
  struct Part {
    std::string name;
    std::size_t examples = 0;
    std::vector<std::size_t> per_class;  // of labelled sets
  };
  std::vector<Part> parts;
  // Of images: the smallest and largest rows and columns; channels are the most of any.
  Shape least, most;
  // Of images by channel (0 to 1, or as a file has them), of sounds the samples (-1 to 1).
  struct Channel {
    double low = 0, high = 0, mean = 0, deviation = 0;
  };
  std::vector<Channel> channels;
  // Of sounds: files by rate and by channels; seconds of a clip.
  std::map<int, std::size_t> rates, sound_channels;
  double shortest = 0, longest = 0;
  std::size_t speakers = 0;  // of an index.csv
  std::string network_gets;  // in words
  std::vector<std::string> notes, problems;
};

// Never an Error for what is wrong with the set.
[[nodiscard]] SetDescription describe_set(const std::filesystem::path& path,
                                          const CollectionOptions& options);

}  // namespace lastmile
