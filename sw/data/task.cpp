// SPDX-License-Identifier: Apache-2.0
#include "sw/data/task.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "sw/data/audio.hpp"
#include "sw/data/collection.hpp"
#include "sw/data/glyphs.hpp"
#include "sw/data/media.hpp"
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
constexpr std::uint64_t kSourceTestSeed = 0x73706c6974000004U;
constexpr std::uint64_t kTargetTestSeed = 0x73706c6974000005U;
constexpr std::uint64_t kBalanceSeed = 0x73706c6974000003U;
constexpr std::uint64_t kChooseStream = 1;
constexpr std::uint64_t kAdaptShiftStream = 2;
constexpr std::uint64_t kSpeakerStream = 3;
constexpr std::uint64_t kBalanceStream = 4;

constexpr int kGlyphTrain = 10000;
constexpr int kGlyphTest = 4000;
constexpr std::size_t kMostPretrain = 50000;

[[noreturn]] void usage(const std::string& what) { throw Error(ErrorKind::usage, what); }

Shift task_shift(const TaskOptions& options, const char* usual) {
  return parse_shift(options.shift == "default" ? usual : options.shift);
}

std::size_t adapt_count(const TaskOptions& o, std::size_t available, const std::string& of) {
  const auto wanted = static_cast<std::size_t>(o.adapt.value_or(kDefaultAdapt));
  if (o.adapt && wanted > available)
    usage(fmt::format("--adapt-examples: {}, expected 1 to {} ({})", wanted, available, of));
  return std::min(wanted, available);
}

// One value of --mean and --std per channel.
Normalization given_normalization(const TaskOptions& o, const Shape& shape) {
  if (o.mean.empty() && o.deviation.empty())
    return o.stored && !o.stored->audio ? o.stored->normalization : Normalization{};
  const auto channels = static_cast<std::size_t>(shape.c);
  const auto spread = [&](std::vector<float> v, const char* option, float usual) {
    if (v.empty()) v = {usual};
    if (v.size() == 1) v.resize(channels, v[0]);
    if (v.size() != channels)
      usage(fmt::format("{}: {} values, expected 1 or {} (one per channel)", option, v.size(),
                        channels));
    return v;
  };
  Normalization n{spread(o.mean, "--mean", 0), spread(o.deviation, "--std", 1)};
  for (const float d : n.deviation)
    if (!(d > 0)) usage(fmt::format("--std: {}, expected a number above 0", d));
  return n;
}

// By channel, unlike the normalization of audio, which is by column.
void normalize_channels(Dataset& data, const Normalization& n) {
  if (n.mean.empty()) return;
  for (std::size_t i = 0; i < data.x.size(); ++i) {
    const std::size_t c = i % n.mean.size();
    data.x[i] = (data.x[i] - n.mean[c]) / n.deviation[c];
  }
}

// The last steps of all image tasks: what is shifted (`adapt` and the shifted test, which are there
// already), checks and normalization.
void finish_images(Task& task, const Shift& shift, const TaskOptions& options, bool unit_range,
                   const std::string& resized) {
  const Normalization n = given_normalization(options, task.pretrain.shape);
  task.preprocessing = {false, task.pretrain.shape, task.class_names, {}, n, {}, resized};
  if (options.stored) require_same(*options.stored, task.preprocessing, options.origin);
  if (unit_range) {
    ValueRange range{0, 1};
    for (std::size_t c = 0; c < n.mean.size(); ++c) {
      const double low =
          (0.0 - static_cast<double>(n.mean[c])) / static_cast<double>(n.deviation[c]);
      const double high =
          (1.0 - static_cast<double>(n.mean[c])) / static_cast<double>(n.deviation[c]);
      range = c == 0 ? ValueRange{low, high}
                     : ValueRange{std::min(range.low, low), std::max(range.high, high)};
    }
    task.input_range = range;
  } else if (!shift.none()) {
    for (const Dataset* d : {&task.adapt, &task.shifted_test})
      for (const float v : d->x)
        if (!(v >= 0 && v <= 1))
          usage(
              fmt::format("--shift {}: the set has a value {}, and shifts are of values from 0 to "
                          "1; expected --shift none, or arrays of uint8",
                          to_string(shift), v));
  }
  apply_shift(task.adapt, shift, sub_seed(options.seed, kAdaptShiftStream), options.threads);
  apply_shift(task.shifted_test, shift, kTestShiftSeed, options.threads);
  for (Dataset* d : {&task.pretrain, &task.source_test, &task.adapt, &task.shifted_test})
    normalize_channels(*d, n);
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
  task.shift = to_string(shift);
  task.adapt = make(options.adapt.value_or(kDefaultAdapt), sub_seed(kGlyphAdaptSeed, options.seed));
  task.shifted_test = task.source_test;
  finish_images(task, shift, options, true, "");
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

// The front end: as asked, else that of the network's file, else that whose columns the network
// has.
FeatureOptions features_for(const TaskOptions& o) {
  if (o.stored && o.stored->audio && !o.features_given) return o.stored->features;
  FeatureOptions f = o.features;
  if (!o.features_given && o.input && o.input->w == f.coefficients && f.coefficients != f.bands)
    f.kind = FeatureKind::mfcc;
  return f;
}

Task load_audio(const TaskOptions& given, const fs::path& index) {
  TaskOptions options = given;
  options.features = features_for(given);
  if (options.shift != "default" && !parse_shift(options.shift).none())
    usage(fmt::format(
        "shift: '{}' for the audio data of {}, expected none (its held-out speakers are the shift)",
        options.shift, index.parent_path().string()));
  if (!(options.speaker_adapt > 0 && options.speaker_adapt < 1))
    usage(fmt::format("speaker part for adaptation: {}, expected above 0 and below 1",
                      options.speaker_adapt));
  const ClipSet clips = read_clips(index.parent_path(), options.features.rate, options.threads);
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

  Dataset all = features_of(clips, options.features, options.input, options.threads);
  for (const Cut& cut : cuts) {
    const auto at = std::lower_bound(task.speakers.begin(), task.speakers.end(), cut.speaker);
    all.group.push_back(cut.split == Split::adapt ? static_cast<int>(at - task.speakers.begin())
                                                  : -1);
  }

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

Dataset without_examples(const Dataset& like) {
  Dataset d;
  d.shape = like.shape;
  d.classes = like.classes;
  return d;
}

// Indices of an undivided set's test: one of `part` examples, but one at least.
std::vector<std::size_t> drawn_test(const Dataset& data, std::size_t part, std::uint64_t seed) {
  return stratified_indices(data.y, std::max<std::size_t>(1, data.size() / part), seed);
}

void require_examples(const Collection& set, std::size_t least, const char* why) {
  if (set.train.data.size() < least)
    throw Error(ErrorKind::input, fmt::format("{}: {} example{}, expected at least {} ({})",
                                              set.name, set.train.data.size(),
                                              set.train.data.size() == 1 ? "" : "s", least, why));
}

// "200 of 240 to pre-train on".
std::string share(std::size_t part, std::size_t of, const char* what) {
  return part == of ? fmt::format("all {} {}", part, what)
                    : fmt::format("{} of {} {}", part, of, what);
}

// Where the adaptation examples come from, and the shifted test that belongs to them.
void split_target(Task& task, Collection& set, const TaskOptions& o) {
  if (!set.labelled) {
    if (!o.labels_optional)
      throw Error(
          ErrorKind::input,
          fmt::format("{}: its examples have no labels, expected some: `lastmile eval` alone "
                      "does without",
                      set.name));
    task.labelled = false;
    task.shifted_test = std::move(set.train.data);
    task.shifted_files = std::move(set.train.files);
    task.adapt = without_examples(task.shifted_test);
    task.split += fmt::format("{}: all {} examples, which have no labels", set.name,
                              task.shifted_test.size());
    return;
  }
  Dataset& all = set.train.data;
  std::vector<std::size_t> rest(all.size());
  if (set.test.data.size() != 0) {
    require_examples(set, 1, "to adapt on");
    for (std::size_t i = 0; i < rest.size(); ++i) rest[i] = i;
    const auto order = shuffled_indices(set.test.data.size(), kTestOrderSeed);
    task.shifted_test = select(set.test.data, order);
    for (const std::size_t i : order)
      if (!set.test.files.empty()) task.shifted_files.push_back(set.test.files[i]);
  } else {
    require_examples(set, 2, "one to adapt on, one to test on");
    const auto test = drawn_test(all, 3, kTargetTestSeed);
    rest = remaining_indices(all.size(), test);
    task.shifted_test = select(all, test);
    for (const std::size_t i : test)
      if (!set.train.files.empty()) task.shifted_files.push_back(set.train.files[i]);
  }
  const Dataset left = select(all, rest);
  const std::size_t count =
      adapt_count(o, left.size(), fmt::format("{} has {}", set.name, left.size()));
  task.adapt = select(left, stratified_indices(left.y, count, sub_seed(o.seed, kChooseStream)));
  task.split += fmt::format("{}: {}, {} to test", set.name,
                            share(count, left.size(), "to adapt on"), task.shifted_test.size());
}

// What is pre-trained on and its test; with `alone` the examples to adapt on, too.
void split_source(Task& task, Collection& set, const TaskOptions& o, bool alone) {
  if (!set.labelled)
    throw Error(ErrorKind::input,
                fmt::format("{}: its examples have no labels, expected some", set.name));
  Dataset all = std::move(set.train.data);
  std::vector<std::string> files;
  const bool divided = set.test.data.size() != 0;
  const std::size_t whole = all.size();
  const std::size_t least = (alone ? 2 : 1) + (divided ? 0 : 1);
  if (whole < least)
    throw Error(ErrorKind::input,
                fmt::format("{}: {} examples, expected at least {}: one to pre-train on{}{}",
                            set.name, whole, least, alone ? ", one to adapt on" : "",
                            divided ? "" : ", one to test on"));
  if (divided) {
    const auto order = shuffled_indices(set.test.data.size(), kTestOrderSeed);
    task.source_test = select(set.test.data, order);
    for (const std::size_t i : order)
      if (!set.test.files.empty()) files.push_back(set.test.files[i]);
  } else {
    const auto test = drawn_test(all, 5, kSourceTestSeed);
    task.source_test = select(all, test);
    for (const std::size_t i : test)
      if (!set.train.files.empty()) files.push_back(set.train.files[i]);
    all = select(all, remaining_indices(all.size(), test));
  }
  const std::size_t n = all.size();
  if (!alone) {
    task.pretrain = std::move(all);
    task.split = fmt::format("{}: all {} to pre-train on, {} to test; ", set.name, n,
                             task.source_test.size());
    return;
  }
  const std::size_t train = std::min(kMostPretrain, std::max<std::size_t>(1, n * 5 / 6));
  const std::size_t count = adapt_count(
      o, n - train, fmt::format("{} has {}, {} of them are for pre-training", set.name, n, train));
  // Files may come sorted, by class or by who drew: every part is a sample of every class.
  const std::vector<std::size_t> chosen = stratified_indices(all.y, train, kSplitSeed);
  const Dataset rest = select(all, remaining_indices(n, chosen));
  task.pretrain = select(all, chosen);
  all = {};
  task.adapt = select(rest, stratified_indices(rest.y, count, sub_seed(o.seed, kChooseStream)));
  task.shifted_test = task.source_test;
  task.shifted_files = std::move(files);
  task.split = fmt::format("stratified by class: {}, {} of the rest to adapt on, {} to test",
                           share(train, n, "to pre-train on"), count, task.source_test.size());
}

void finish_sounds(Task& task, const TaskOptions& o, const FeatureOptions& features) {
  task.preprocessing = {true, task.pretrain.shape, task.class_names, features, {}};
  if (o.stored) require_same(*o.stored, task.preprocessing, o.origin);
  const bool alone = task.pretrain.size() == 0;
  const Normalization n = o.stored
                              ? o.stored->normalization
                              : fit_normalization(!alone                   ? task.pretrain
                                                  : task.adapt.size() != 0 ? task.adapt
                                                                           : task.shifted_test);
  if (alone && !o.stored) task.split += "; features are normalized on the target";
  task.preprocessing.normalization = n;
  for (Dataset* d : {&task.pretrain, &task.source_test, &task.adapt, &task.shifted_test})
    normalize(*d, n);
}

bool sounds(SetFormat f) { return f == SetFormat::sounds || f == SetFormat::cut_list; }

// Before either is read: a picture has no sense for a network of sounds.
void require_one_kind(const fs::path& source, const fs::path& target, const TaskOptions& o) {
  const auto text = [](const fs::path& path) {
    return fmt::format("{} has {}", path.string(), name_of(format_of(path)));
  };
  if (!source.empty() && !target.empty() && sounds(format_of(source)) != sounds(format_of(target)))
    throw Error(ErrorKind::input, fmt::format("{} and {}, expected both to be pictures or sounds",
                                              text(source), text(target)));
  for (const fs::path& path : {source, target})
    if (!path.empty() && o.stored && o.stored->audio != sounds(format_of(path)))
      throw Error(ErrorKind::input,
                  fmt::format("{}: it was made for data of kind {}, but {}", o.origin,
                              o.stored->audio ? "audio" : "images", text(path)));
}

// Sets of any format but an index.csv alone.
Task load_sets(const TaskOptions& o, const fs::path& source, const fs::path& target) {
  CollectionOptions how;
  how.input = o.input;
  if (!how.input) how.size = o.size;
  how.resize = o.resize;
  if (!o.resize && o.stored && !o.stored->resize.empty())
    for (const Resize r : {Resize::stretch, Resize::fit, Resize::crop})
      if (o.stored->resize == name_of(r)) how.pictures = r;
  how.layout = o.layout;
  how.features = features_for(o);
  how.one_class = o.autoencoder;
  how.threads = o.threads;
  Task task;
  std::optional<Collection> from, to;
  require_one_kind(source, target, o);
  if (!source.empty()) {
    from = read_collection(source, how);
    how.class_names = from->class_names;
    if (!how.input) how.input = from->train.data.shape;
  } else if (o.stored) {
    how.class_names = o.stored->class_names;
  } else {
    how.classes = o.classes;
  }
  if (!target.empty()) to = read_collection(target, how);
  for (std::optional<Collection>* set : {&from, &to}) {
    if (!*set || (*set)->labelled || !o.autoencoder || o.labels_optional) continue;
    (*set)->labelled = true;
    (*set)->notes.push_back(
        fmt::format("{}: examples without labels are taken for normal ones", (*set)->name));
  }
  const Collection& first = from ? *from : *to;
  if (from && to) {
    const Shape &a = from->train.data.shape, &b = to->train.data.shape;
    if (a != b)
      throw Error(
          ErrorKind::input,
          fmt::format("{}: its examples are {} x {} x {}, expected {} x {} x {} as in {}{}",
                      target.string(), b.h, b.w, b.c, a.h, a.w, a.c, source.string(),
                      sounds(to->format) ? "" : " (--resize brings arrays to a network's size)"));
    if (from->unit_range != to->unit_range && !sounds(from->format))
      task.split = "values of one set are bytes, of the other as its file has them; ";
  }
  task.kind = sounds(first.format) ? TaskKind::audio : TaskKind::images;
  task.name = first.name;
  task.class_names = first.class_names;
  const std::string remark = task.split;
  for (const auto& set : {&from, &to})
    if (*set)
      for (const std::string& note : (*set)->notes) task.notes.push_back(note);
  const std::string resized = first.resized.empty() && to ? to->resized : first.resized;
  const bool unit = (!from || from->unit_range) && (!to || to->unit_range);
  Shift shift;
  if (sounds(first.format)) {
    if (o.shift != "default" && !parse_shift(o.shift).none())
      usage(
          fmt::format("shift: '{}' for the audio data of {}, expected none", o.shift, first.name));
  } else {
    shift = task_shift(o, to || !unit ? "none" : "rotate=25");
  }
  if (from) split_source(task, *from, o, !to);
  if (to) {
    split_target(task, *to, o);
    task.shift = to->name + (shift.none() ? "" : ", " + to_string(shift));
  } else {
    task.shift = to_string(shift);
  }
  task.split = remark + task.split;
  if (!from) {
    task.pretrain = without_examples(task.shifted_test);
    task.source_test = without_examples(task.shifted_test);
  }
  from.reset();
  to.reset();
  if (task.kind == TaskKind::audio)
    finish_sounds(task, o, how.features);
  else
    finish_images(task, shift, o, unit, resized);
  return task;
}

}  // namespace

Task load_task(const TaskOptions& options) {
  if (options.adapt && (*options.adapt < 1 || *options.adapt > 10'000'000))
    usage(fmt::format("adapt: {} examples, expected 1 to 10000000", *options.adapt));
  if (!options.data.empty() && !options.source.empty())
    usage("--data and --source mean the same, expected one of them");
  const fs::path& source = options.source.empty() ? options.data : options.source;
  Task task;
  if (source.empty() && options.target.empty()) {
    task = load_glyphs(options);
    task.preprocessing.seen = options.stored ? options.stored->seen : seen_of(task.pretrain.x);
    task.as_stored = options.stored.has_value();
    return task;
  }
  const auto by_speakers = [&] {
    const fs::path index = source / "index.csv";
    return options.target.empty() && format_of(source) == SetFormat::cut_list &&
           parse_cut_list(read_text_file(index), index.string()).divided;
  };
  if (by_speakers()) {
    task = load_audio(options, source / "index.csv");
    const fs::path clean = fs::absolute(source).lexically_normal();
    task.name = (clean.has_filename() ? clean : clean.parent_path()).filename().string();
  } else {
    task = load_sets(options, source, options.target);
  }
  task.preprocessing.seen = options.stored ? options.stored->seen : seen_of(task.pretrain.x);
  task.as_stored = options.stored.has_value();
  if (options.balance) {
    if (task.pretrain.size() != 0) task.pretrain = balanced(task.pretrain, kBalanceSeed);
    if (task.adapt.size() != 0)
      task.adapt = balanced(task.adapt, sub_seed(options.seed, kBalanceStream));
    task.split += "; rare classes repeated";
  }
  return task;
}

void require_source(const Task& task, const std::string& what) {
  if (task.pretrain.size() == 0)
    usage(
        fmt::format("{} needs data of the source domain, and {} is a target alone; expected "
                    "--source",
                    what, task.name));
}

SpeakerData speaker_data(const Task& task, int speaker) {
  if (speaker < 0 || speaker >= static_cast<int>(task.speakers.size()))
    usage(fmt::format("speaker: {}, expected below {} (the held-out speakers of {})", speaker,
                      task.speakers.size(), task.name));
  return {of_group(task.adapt, speaker), of_group(task.shifted_test, speaker)};
}

}  // namespace lastmile
