// SPDX-License-Identifier: Apache-2.0
// Folders of pictures or sounds, one subfolder per class:
//   folder/CLASS/*.png            one undivided set
//   folder/train/CLASS/*.png      parts: train, test, val (or valid, validation)
//   folder/*.png                  examples without labels
// Names decide what is looked at (.png, .jpg, .jpeg; .wav, .flac; those that begin with a dot are
// not), contents what it is. Nothing deeper is entered, so that links may lead anywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sw/base/label.hpp"

namespace lastmile {

struct FolderFile {
  std::filesystem::path path;
  Label label = 0;
};
struct FolderPart {
  std::string name;               // "train", "test", "val", or empty: undivided
  std::vector<FolderFile> files;  // by class, then by name
};
struct FolderSet {
  bool sounds = false;
  bool labelled = true;
  std::vector<FolderPart> parts;
  std::vector<std::string> class_names;  // of labelled sets, by label
  std::size_t others = 0;                // files that were not looked at
};

// Nothing if there is neither a picture nor a sound where they may be. Classes are in the order of
// folder/classes.txt if it is there, else of their names' bytes. Error (input) for pictures beside
// sounds, labelled examples beside others, classes without an example, more than kMaxClasses, or a
// folder that cannot be read.
[[nodiscard]] std::optional<FolderSet> scan_folder(const std::filesystem::path& folder);

// folder/classes.txt: a name per line, no two alike. Nothing if there is no such file.
[[nodiscard]] std::optional<std::vector<std::string>> read_class_names(
    const std::filesystem::path& folder);

}  // namespace lastmile
