// SPDX-License-Identifier: Apache-2.0
// A data set of any format as examples of one shape: what a file or folder holds, before anything
// is split, shifted or normalized.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sw/data/arrays.hpp"
#include "sw/data/dataset.hpp"
#include "sw/data/features.hpp"
#include "sw/data/picture.hpp"

namespace lastmile {

enum class SetFormat {
  idx,       // a folder with the four files of MNIST, or a file of images (labels beside it)
  arrays,    // numpy's (sw/data/arrays.hpp)
  pictures,  // a folder of PNG and JPEG by class (sw/data/folder.hpp)
  sounds,    // a folder of WAV and FLAC by class
  cut_list,  // a folder with an index.csv (sw/data/cut_list.hpp)
};
[[nodiscard]] const char* name_of(SetFormat format);

// By content. Error (input) says what would have been expected.
[[nodiscard]] SetFormat format_of(const std::filesystem::path& path);
// Whether it is a set of sounds; false, too, for what cannot be read.
[[nodiscard]] bool is_sound_set(const std::filesystem::path& path);

struct CollectionOptions {
  std::optional<Shape> input;  // of the network; none: as the examples are
  // Without it, of pictures; c 0: 1 if all are grey, else 3.
  std::optional<Shape> size;
  // Given: arrays and IDX images are brought to `input`, too.
  std::optional<Resize> resize;
  Resize pictures = Resize::stretch;  // without it
  Layout layout = Layout::automatic;
  FeatureOptions features;
  // The classes that labels and folders belong to; empty: the set's own.
  std::vector<std::string> class_names;
  int classes = 0;         // of the network, where its classes have no names; 0: the set's own
  bool one_class = false;  // is enough: the other one of two is empty
  int threads = 1;
};

// Examples and the file that each came from, relative to the set; empty for sets that are one file.
struct Examples {
  Dataset data;
  std::vector<std::string> files;
};

struct Collection {
  SetFormat format = SetFormat::idx;
  std::string name;  // of the file or folder
  bool labelled = true;
  bool unit_range = true;  // values are 0 to 1, of bytes or pictures; else as a file has them
  // How pictures were resized; empty: no picture had to be.
  std::string resized;
  std::vector<std::string> class_names;  // one per class
  Examples train, test;                  // test is empty where the set has no parts
  std::vector<std::string> notes;        // what was left out, for people
};

// Unreadable pictures and sounds are an ErrorList, all at once. Audio is not normalized.
[[nodiscard]] Collection read_collection(const std::filesystem::path& path,
                                         const CollectionOptions& options);

}  // namespace lastmile
