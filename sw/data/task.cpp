// SPDX-License-Identifier: Apache-2.0
#include "sw/data/task.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <map>
#include <set>
#include <system_error>

#include "sw/base/error.hpp"
#include "sw/base/parallel.hpp"
#include "sw/base/rng.hpp"
#include "sw/data/audio.hpp"
#include "sw/data/glyphs.hpp"
#include "sw/data/idx.hpp"
#include "sw/data/shift.hpp"

namespace lastmile {
namespace {

namespace fs = std::filesystem;

// Streams of random numbers that must not meet. The fixed ones do not depend on the task's seed.
constexpr std::uint64_t kGlyphTrainSeed = 0x676c797068730001U;
constexpr std::uint64_t kGlyphTestSeed = 0x676c797068730002U;
constexpr std::uint64_t kGlyphAdaptSeed = 0x676c797068730003U;
constexpr std::uint64_t kTestShiftSeed = 0x7368696674000001U;
constexpr std::uint64_t kSplitSeed = 0x73706c6974000001U;
constexpr std::uint64_t kTestOrderSeed = 0x73706c6974000002U;
constexpr std::uint64_t kBalanceSeed = 0x73706c6974000003U;
constexpr std::uint64_t kChooseStream = 1;
constexpr std::uint64_t kAdaptShiftStream = 2;
constexpr std::uint64_t kSpeakerStream = 3;
constexpr std::uint64_t kBalanceStream = 4;

constexpr int kGlyphTrain = 10000;
constexpr int kGlyphTest = 4000;
constexpr std::size_t kIdxTrain = 50000;

[[noreturn]] void usage(const std::string& what) { throw Error(ErrorKind::usage, what); }

Shift task_shift(const TaskOptions& options, const char* usual) {
  return parse_shift(options.shift == "default" ? usual : options.shift);
}

// The last steps of both image tasks: the two shifted sets.
void finish_images(Task& task, Dataset adapt, const Shift& shift, const TaskOptions& options) {
  task.shift = to_string(shift);
  task.preprocessing = {false, task.pretrain.shape, task.class_names, {}, {}};
  if (options.stored) require_same(*options.stored, task.preprocessing, options.origin);
  task.input_range = ValueRange{0, 1};
  task.adapt = std::move(adapt);
  apply_shift(task.adapt, shift, sub_seed(options.seed, kAdaptShiftStream), options.threads);
  task.shifted_test = task.source_test;
  apply_shift(task.shifted_test, shift, kTestShiftSeed, options.threads);
}

Task load_glyphs(const TaskOptions& options) {
  Task task;
  task.kind = TaskKind::glyphs;
  task.name = "glyphs";
  task.split = "drawn apart";
  const Shift shift = task_shift(options, "rotate=35,contrast=0.6,noise=0.1");
  const auto make = [&](int n, std::uint64_t seed) {
    return to_dataset(make_glyphs(n, seed, options.threads), options.threads);
  };
  task.pretrain = make(kGlyphTrain, kGlyphTrainSeed);
  task.source_test = make(kGlyphTest, kGlyphTestSeed);
  task.class_names = glyph_class_names();
  finish_images(task, make(options.adapt, sub_seed(kGlyphAdaptSeed, options.seed)), shift, options);
  return task;
}

Task load_idx(const TaskOptions& options, const IdxFolder& files) {
  Task task;
  task.kind = TaskKind::images;
  task.split = "stratified by class";
  const Shift shift = task_shift(options, "rotate=25");
  IdxTask sets = read_idx_folder(files);
  const std::size_t n = sets.train.labels.size();
  const std::size_t train = std::min(kIdxTrain, n * 5 / 6);
  if (static_cast<std::size_t>(options.adapt) > n - train)
    usage(fmt::format(
        "adapt: {} images, expected 1 to {} ({} has {}, {} of them are for pre-training)",
        options.adapt, n - train, files.train_images.string(), n, train));
  // Files may come sorted, by class or by who drew: every part is a sample of every class.
  const std::vector<std::size_t> chosen = stratified_indices(sets.train.labels, train, kSplitSeed);
  const ImageSet rest = select(sets.train, remaining_indices(n, chosen));
  task.pretrain = to_dataset(select(sets.train, chosen), options.threads);
  sets.train = {};
  task.source_test =
      to_dataset(select(sets.test, shuffled_indices(sets.test.labels.size(), kTestOrderSeed)),
                 options.threads);
  const ImageSet adapt =
      select(rest, stratified_indices(rest.labels, static_cast<std::size_t>(options.adapt),
                                      sub_seed(options.seed, kChooseStream)));
  for (int k = 0; k < task.pretrain.classes; ++k) task.class_names.push_back(std::to_string(k));
  finish_images(task, to_dataset(adapt, options.threads), shift, options);
  return task;
}

// Which clips of each held-out speaker are for adaptation: of every class the stated part, rounded
// up, in random order.
std::vector<bool> choose_adaptation(const std::vector<Cut>& cuts, const TaskOptions& options) {
  std::map<std::pair<std::string, int>, std::vector<std::size_t>> cells;
  for (std::size_t i = 0; i < cuts.size(); ++i)
    if (cuts[i].split == Split::adapt) cells[{cuts[i].speaker, cuts[i].label}].push_back(i);
  std::vector<bool> chosen(cuts.size());
  Rng rng(options.seed, kSpeakerStream);
  for (auto& [cell, clips] : cells) {
    rng.shuffle(std::span(clips));
    const auto take = static_cast<std::size_t>(
        std::ceil(options.speaker_adapt * static_cast<double>(clips.size()) - 1e-9));
    for (std::size_t i = 0; i < take; ++i) chosen[clips[i]] = true;
  }
  return chosen;
}

Task load_audio(const TaskOptions& given, const fs::path& index) {
  TaskOptions options = given;
  if (given.stored && given.stored->audio && !given.features_given)
    options.features = given.stored->features;
  if (options.shift != "default" && !parse_shift(options.shift).none())
    usage(fmt::format(
        "shift: '{}' for the audio data of {}, expected none (its held-out speakers are the shift)",
        options.shift, options.data.string()));
  if (!(options.speaker_adapt > 0 && options.speaker_adapt < 1))
    usage(fmt::format("speaker part for adaptation: {}, expected above 0 and below 1",
                      options.speaker_adapt));
  const FeatureExtractor extractor(options.features);
  const ClipSet clips = read_clips(options.data, options.features.rate, options.threads);
  const auto& cuts = clips.list.cuts;
  const auto fail = [&](const std::string& what) {
    throw Error(ErrorKind::input, fmt::format("{}: {}", index.string(), what));
  };

  Task task;
  task.kind = TaskKind::audio;
  task.shift = "speakers";
  task.split = "index.csv; of each held-out speaker a part of every class";
  task.class_names = clips.list.class_names;
  std::set<std::string> held_out;
  for (const Cut& cut : cuts)
    if (cut.split == Split::adapt) held_out.insert(cut.speaker);
  for (const Cut& cut : cuts)
    if (cut.split != Split::adapt && held_out.contains(cut.speaker))
      fail(fmt::format("line {}: speaker '{}' is in the adapt split too, expected in no other",
                       cut.line, cut.speaker));
  task.speakers.assign(held_out.begin(), held_out.end());

  Dataset all;
  all.shape = extractor.shape(clips.samples);
  all.classes = static_cast<int>(task.class_names.size());
  all.x.resize(cuts.size() * static_cast<std::size_t>(all.shape.elements()));
  for (const Cut& cut : cuts) {
    all.y.push_back(static_cast<std::uint8_t>(cut.label));
    const auto at = std::lower_bound(task.speakers.begin(), task.speakers.end(), cut.speaker);
    all.group.push_back(cut.split == Split::adapt ? static_cast<int>(at - task.speakers.begin())
                                                  : -1);
  }
  const auto samples = static_cast<std::size_t>(clips.samples);
  parallel_for(
      options.threads, static_cast<std::int64_t>(cuts.size()),
      [&](std::int64_t begin, std::int64_t end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
          extractor.extract(std::span(clips.data).subspan(i * samples, samples), all.example(i));
      });

  const auto chosen = choose_adaptation(cuts, options);
  const auto pick = [&](const char* split, auto wanted) {
    std::vector<std::size_t> indices;
    for (std::size_t i = 0; i < cuts.size(); ++i)
      if (wanted(i)) indices.push_back(i);
    if (indices.empty()) fail(fmt::format("split {}: no clip, expected some", split));
    return select(all, indices);
  };
  task.pretrain = pick("train", [&](std::size_t i) { return cuts[i].split == Split::train; });
  task.source_test = pick("test", [&](std::size_t i) { return cuts[i].split == Split::test; });
  task.adapt = pick("adapt (part to adapt on)",
                    [&](std::size_t i) { return cuts[i].split == Split::adapt && chosen[i]; });
  task.shifted_test = pick("adapt (part to test on)", [&](std::size_t i) {
    return cuts[i].split == Split::adapt && !chosen[i];
  });
  task.pretrain.group.clear();
  task.source_test.group.clear();
  task.preprocessing = {true, all.shape, task.class_names, options.features, {}};
  if (options.stored) require_same(*options.stored, task.preprocessing, options.origin);
  const Normalization normalization =
      options.stored ? options.stored->normalization : fit_normalization(task.pretrain);
  task.preprocessing.normalization = normalization;
  for (Dataset* d : {&task.pretrain, &task.source_test, &task.adapt, &task.shifted_test})
    normalize(*d, normalization);
  return task;
}

}  // namespace

Task load_task(const TaskOptions& options) {
  if (options.adapt < 1 || options.adapt > 10'000'000)
    usage(fmt::format("adapt: {} examples, expected 1 to 10000000", options.adapt));
  if (options.data.empty()) {
    Task task = load_glyphs(options);
    task.preprocessing.seen = options.stored ? options.stored->seen : seen_of(task.pretrain.x);
    task.as_stored = options.stored.has_value();
    return task;
  }
  const std::string folder = options.data.string();
  std::error_code ec;
  if (!fs::exists(options.data, ec))
    throw Error(ErrorKind::input, fmt::format("{}: no such folder", folder));
  if (!fs::is_directory(options.data, ec))
    throw Error(
        ErrorKind::input,
        fmt::format("{}: not a folder, expected one with IDX files or an index.csv", folder));
  // Without this right nothing in it is found, whatever is there.
  if (::access(folder.c_str(), R_OK | X_OK) != 0)
    throw Error(ErrorKind::input, fmt::format("{}: cannot be read: {}", folder,
                                              std::generic_category().message(errno)));
  const auto idx = find_idx_folder(options.data);
  const fs::path index = options.data / "index.csv";
  const bool audio = fs::exists(index, ec);
  if (idx && audio)
    throw Error(ErrorKind::input,
                fmt::format("{}: has IDX files and an index.csv, expected one of the two", folder));
  if (!idx && !audio)
    throw Error(
        ErrorKind::input,
        fmt::format(
            "{}: neither train-images-idx3-ubyte[.gz] (and train-labels-idx1-ubyte, t10k-...) nor "
            "index.csv, expected one of the two",
            folder));
  Task task = idx ? load_idx(options, *idx) : load_audio(options, index);
  const fs::path clean = fs::absolute(options.data).lexically_normal();
  task.name = (clean.has_filename() ? clean : clean.parent_path()).filename().string();
  task.preprocessing.seen = options.stored ? options.stored->seen : seen_of(task.pretrain.x);
  task.as_stored = options.stored.has_value();
  if (options.balance) {
    task.pretrain = balanced(task.pretrain, kBalanceSeed);
    task.adapt = balanced(task.adapt, sub_seed(options.seed, kBalanceStream));
    task.split += "; rare classes repeated";
  }
  return task;
}

SpeakerData speaker_data(const Task& task, int speaker) {
  if (speaker < 0 || speaker >= static_cast<int>(task.speakers.size()))
    usage(fmt::format("speaker: {}, expected below {} (the held-out speakers of {})", speaker,
                      task.speakers.size(), task.name));
  return {of_group(task.adapt, speaker), of_group(task.shifted_test, speaker)};
}

}  // namespace lastmile
