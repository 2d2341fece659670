// SPDX-License-Identifier: Apache-2.0
// Everything one run needs of data: what to pre-train on, what to adapt on, and the tests on both
// sides of the shift.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sw/data/dataset.hpp"
#include "sw/data/features.hpp"
#include "sw/data/preprocessing.hpp"

namespace lastmile {

struct TaskOptions {
  // "": the built-in digits; otherwise a folder with either the four files of an IDX image set or
  // an index.csv of audio.
  std::filesystem::path data;
  // Shift of images (sw/data/shift.hpp); "default": rotate=35,contrast=0.6,noise=0.1 for the
  // digits, rotate=25 for IDX sets. Audio knows only "default" and "none", which are the same: its
  // held-out speakers are the shift.
  std::string shift = "default";
  // Chooses the adaptation examples, their noise, and the halves of a speaker's clips. Pre-training
  // data and tests of images do not depend on it, so that one pre-trained network serves every
  // seed.
  std::uint64_t seed = 1;
  int adapt = 4000;            // adaptation examples (images)
  bool balance = false;        // repeat examples of rare classes: pre-training and adaptation see
                               // every class equally often
  double speaker_adapt = 0.5;  // part of a held-out speaker's clips to adapt on, the rest is its
                               // test; above 0, below 1
  FeatureOptions features;     // audio
  // What the network's file says of its data: its normalization is used, everything else must be
  // the same. `origin`: that file, for messages.
  std::optional<Preprocessing> stored;
  std::string origin;
  bool features_given = false;  // false: the stored features are taken, where there are some
  int threads = 1;
};

enum class TaskKind { glyphs, images, audio };

// The values that an input's type can hold.
struct ValueRange {
  double low = 0, high = 0;
};

struct Task {
  TaskKind kind = TaskKind::glyphs;
  std::string name;   // "glyphs" or the folder's name
  std::string split;  // how pre-training and adaptation examples were told apart
  std::string shift;  // as parse_shift reads it, or "speakers"
  Dataset pretrain;
  Dataset source_test;
  Dataset adapt;         // shifted; of audio: the adaptation clips of all held-out speakers
  Dataset shifted_test;  // of images: the source test, shifted; of audio: the other clips of the
                         // held-out speakers
  std::optional<ValueRange> input_range;  // of images, whose pixels are bytes: 0 to 1
  Preprocessing preprocessing;            // what a network that is trained on this is for
  bool as_stored = false;                 // ... and what TaskOptions::stored says
  std::vector<std::string> class_names;
  std::vector<std::string> speakers;  // audio: held-out speakers, sorted; Dataset::group is an
                                      // index into it (adapt, shifted_test). Empty for images
};

// Glyphs: pre-train 10,000, test 4,000, adapt on `adapt` more.
// IDX: pre-train on 50,000 of the training images (5/6 of them if there are fewer than 60,000), the
// same share of every class, drawn with a fixed seed; adapt on `adapt` of the remaining ones, drawn
// so with the task's; test on the whole test part. Pixels become 0 to 1. Audio:
// splits as the cut list says; features normalized with mean and deviation of the training split.
// Errors: input (data sets) and usage (options), naming what and where.
[[nodiscard]] Task load_task(const TaskOptions& options);

// One held-out speaker's part of an audio task. Error (usage) if there is no such speaker.
struct SpeakerData {
  Dataset adapt, test;
};
[[nodiscard]] SpeakerData speaker_data(const Task& task, int speaker);

}  // namespace lastmile
