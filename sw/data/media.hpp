// SPDX-License-Identifier: Apache-2.0
// The files of a folder (sw/data/folder.hpp) as examples: pictures brought to one size, sounds as
// features.
#pragma once

#include <filesystem>
#include <optional>
#include <vector>

#include "sw/data/audio.hpp"
#include "sw/data/dataset.hpp"
#include "sw/data/features.hpp"
#include "sw/data/folder.hpp"
#include "sw/data/picture.hpp"

namespace lastmile {

struct MediaOptions {
  std::filesystem::path root;  // what names in errors are relative to
  std::optional<Shape> input;  // of the network; none: pictures must be of one size
  std::optional<Shape> size;   // of pictures, without it; c 0: 1 if all are grey, else 3
  Resize resize = Resize::stretch;
  FeatureOptions features;
  int threads = 1;
};
struct MediaSet {
  std::vector<Dataset> parts;  // as in the folder; no classes yet
  bool resized = false;        // some picture was
};

// Error (input) for sizes that differ where no input says which is meant; ErrorList (input) of all
// files that cannot be read. Without an input, grey pictures alone give one channel, else three.
[[nodiscard]] MediaSet read_pictures(const FolderSet& folder, const MediaOptions& options);

// Clips of the network's window, or as long as the longest file.
[[nodiscard]] MediaSet read_sounds(const FolderSet& folder, const MediaOptions& options);

// The features of clips. Where `input` has other rows, clips are padded or cut (both ends alike) to
// the samples that give these.
[[nodiscard]] Dataset features_of(const ClipSet& clips, const FeatureOptions& features,
                                  const std::optional<Shape>& input, int threads);

}  // namespace lastmile
