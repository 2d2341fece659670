// SPDX-License-Identifier: Apache-2.0
// Everything one run needs of data: what to pre-train on, what to adapt on, and the tests on both
// sides of the shift.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sw/data/arrays.hpp"
#include "sw/data/dataset.hpp"
#include "sw/data/features.hpp"
#include "sw/data/picture.hpp"
#include "sw/data/preprocessing.hpp"

namespace lastmile {

struct TaskOptions {
  // Sets of any format that sw/data/collection.hpp reads. `source`, or `data`, which is the same:
  // what is pre-trained on; nothing: the built-in digits. `target`: the domain that is met; without
  // it a part of the source, shifted. `target` alone: a trained network meets it.
  std::filesystem::path data, source, target;
  // Shift of images (sw/data/shift.hpp), on top of a target; "default": rotate=35,contrast=0.6,
  // noise=0.1 for the digits, rotate=25 for a set alone, none with a target. Audio knows only
  // "default" and "none", which are the same.
  std::string shift = "default";
  // Chooses the adaptation examples, their noise, and the halves of a speaker's clips. Pre-training
  // data and tests of images do not depend on it, so that one pre-trained network serves every
  // seed.
  std::uint64_t seed = 1;
  // Adaptation examples (but of an index.csv alone); none: those that there are, at most 4000.
  std::optional<int> adapt;
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
  // What the network takes, as far as it is known (use_network of sw/app/pipeline.hpp).
  std::optional<Shape> input;
  int classes = 0;
  // Loss::reconstruction: labels take no part. One class is enough, examples without labels are
  // normal ones (class 0).
  bool autoencoder = false;
  std::optional<Shape> size;     // of pictures, where `input` is not known; c 0: as they are
  std::optional<Resize> resize;  // of pictures: stretch unless the network's file says otherwise
  // Per channel, or one for all, in units of 0 to 1; empty: that of the network's file, or none.
  std::vector<float> mean, deviation;
  Layout layout = Layout::automatic;  // of arrays
  bool labels_optional = false;       // of the target
  int threads = 1;
};

inline constexpr int kDefaultAdapt = 4000;

enum class TaskKind { glyphs, images, audio };

// The values that an input's type can hold.
struct ValueRange {
  double low = 0, high = 0;
};

struct Task {
  TaskKind kind = TaskKind::glyphs;
  std::string name;                // "glyphs" or the name of the file or folder
  std::string split;               // how pre-training and adaptation examples were told apart
  std::vector<std::string> notes;  // what was left out, for people
  std::string shift;  // as parse_shift reads it, or "speakers", or the target's name (and shift)
  Dataset pretrain;   // both without an example, but with a shape, where there is a target alone
  Dataset source_test;
  Dataset adapt;         // shifted; by speakers: the adaptation clips of all that are held out
  Dataset shifted_test;  // of one set: the source test, shifted; by speakers: their other clips
  bool labelled = true;  // false: labels of shifted_test are 0, and adapt is empty
  std::vector<std::string> shifted_files;  // that shifted_test came from; empty: one file has all
  std::optional<ValueRange> input_range;   // of images whose pixels are bytes
  Preprocessing preprocessing;             // what a network that is trained on this is for
  bool as_stored = false;                  // ... and what TaskOptions::stored says
  std::vector<std::string> class_names;
  std::vector<std::string> speakers;  // index.csv alone: held-out speakers, sorted; Dataset::group
                                      // is an index into it (adapt, shifted_test). Empty for images
};

// Glyphs: pre-train 10,000, test 4,000, adapt on `adapt` more.
// An index.csv alone: splits as the cut list says; held-out speakers are the shift.
// Another set alone: its test part, or a fifth of it, is the test; of the rest pre-train on 50,000
// (5/6 of it if there are fewer than 60,000), drawn with a fixed seed, and adapt on `adapt` of what
// is left, drawn with the task's. Source and target: the same of each; without a test part, a fifth
// of the source and a third of the target are tests; the target adapts on `adapt` of its rest.
// Every draw has the same share of every class. Pixels become 0 to 1, then (x - mean) / deviation;
// audio features are normalized with mean and deviation of the pre-training examples, or those of
// the network's file.
// Errors: input (data sets) and usage (options), naming what and where.
[[nodiscard]] Task load_task(const TaskOptions& options);

// Error (usage) naming --source where there is none; `what` needs it.
void require_source(const Task& task, const std::string& what);

// One held-out speaker's part of an audio task. Error (usage) if there is no such speaker.
struct SpeakerData {
  Dataset adapt, test;
};
[[nodiscard]] SpeakerData speaker_data(const Task& task, int speaker);

}  // namespace lastmile
