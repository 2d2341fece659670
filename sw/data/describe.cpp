// SPDX-License-Identifier: Apache-2.0
#include "sw/data/describe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <set>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/parallel.hpp"
#include "sw/data/audio.hpp"
#include "sw/data/folder.hpp"

namespace lastmile {
namespace {

namespace fs = std::filesystem;

// Sums over the values of one channel.
struct Sums {
  double n = 0, sum = 0, squares = 0;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  void add(double v) {
    ++n;
    sum += v;
    squares += v * v;
    low = std::min(low, v);
    high = std::max(high, v);
  }
  void add(const Sums& o) {
    n += o.n;
    sum += o.sum;
    squares += o.squares;
    low = std::min(low, o.low);
    high = std::max(high, o.high);
  }
  [[nodiscard]] SetDescription::Channel channel() const {
    const double mean = sum / n;
    return {low, high, mean, std::sqrt(std::max(0.0, squares / n - mean * mean))};
  }
};

// What one file adds.
struct FileFacts {
  Shape shape;
  std::array<Sums, 3> sums;
  AudioInfo sound;
  double seconds = 0;
  std::string problem;
};

FileFacts facts_of(const fs::path& file, bool sound, int rate) {
  FileFacts f;
  try {
    if (sound) {
      const std::vector<std::int16_t> samples = read_audio(file, rate, &f.sound);
      f.seconds = static_cast<double>(samples.size()) / rate;
      for (const std::int16_t v : samples) f.sums[0].add(v / 32768.0);
      return f;
    }
    const Picture p = decode_picture(read_file(file, std::size_t{1} << 28), file.string());
    f.shape = p.shape;
    for (std::size_t i = 0; i < p.size(); ++i)
      f.sums[i % static_cast<std::size_t>(p.shape.c)].add(static_cast<double>(p.sample(i)) /
                                                          p.top());
  } catch (const Error& e) {
    f.problem = e.what();
  }
  return f;
}

std::string frames_text(const CollectionOptions& o, double seconds) {
  const FeatureExtractor extractor(o.features);
  const auto samples = static_cast<std::int64_t>(std::llround(seconds * o.features.rate));
  if (samples < o.features.frame) return "nothing: the clips are shorter than one frame";
  const Shape s = extractor.shape(samples);
  return fmt::format(
      "{} x {} x 1: {} of clips of {:.3f} s at {} Hz, or of the clips that its own "
      "input says",
      s.h, s.w, o.features.kind == FeatureKind::mfcc ? "MFCC" : "log-mel energies", seconds,
      o.features.rate);
}

void describe_folder(const fs::path& path, const CollectionOptions& o, SetDescription& d) {
  const std::optional<FolderSet> folder = scan_folder(path);
  if (!folder) return;  // format_of() has found one
  d.labelled = folder->labelled;
  d.class_names = folder->class_names;
  if (folder->others != 0)
    d.notes.push_back(fmt::format("{} other files are left out", folder->others));
  std::vector<const FolderFile*> files;
  for (const FolderPart& p : folder->parts) {
    SetDescription::Part part{p.name.empty() ? "all" : p.name, p.files.size(), {}};
    part.per_class.resize(d.class_names.size());
    for (const FolderFile& f : p.files) {
      files.push_back(&f);
      if (d.labelled) ++part.per_class[f.label];
    }
    d.parts.push_back(std::move(part));
  }
  std::vector<FileFacts> facts(files.size());
  parallel_for(o.threads, static_cast<std::int64_t>(files.size()),
               [&](std::int64_t begin, std::int64_t end) {
                 for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end);
                      ++i)
                   facts[i] = facts_of(files[i]->path, folder->sounds, o.features.rate);
               });
  std::array<Sums, 3> sums;
  bool first = true;
  for (const FileFacts& f : facts) {
    if (!f.problem.empty()) {
      d.problems.push_back(f.problem);
      continue;
    }
    // Grey counts for each colour.
    for (std::size_t c = 0; c < 3; ++c) sums[c].add(f.sums[f.shape.c == 3 ? c : 0]);
    if (folder->sounds) {
      ++d.rates[f.sound.rate];
      ++d.sound_channels[f.sound.channels];
      d.shortest = first ? f.seconds : std::min(d.shortest, f.seconds);
      d.longest = std::max(d.longest, f.seconds);
    } else if (first) {
      d.least = d.most = f.shape;
    } else {
      d.least = {std::min(d.least.h, f.shape.h), std::min(d.least.w, f.shape.w),
                 std::min(d.least.c, f.shape.c)};
      d.most = {std::max(d.most.h, f.shape.h), std::max(d.most.w, f.shape.w),
                std::max(d.most.c, f.shape.c)};
    }
    first = false;
  }
  if (first) return;  // not one can be read
  const std::size_t channels = folder->sounds || d.most.c == 1 ? 1 : 3;
  for (std::size_t c = 0; c < channels; ++c) d.channels.push_back(sums[c].channel());
  if (folder->sounds)
    d.network_gets = frames_text(o, d.longest);
  else if (d.least.h == d.most.h && d.least.w == d.most.w)
    d.network_gets =
        fmt::format("{} x {} x {}, or what its own input says", d.most.h, d.most.w, d.most.c);
  else
    d.network_gets =
        "its own input, to which pictures are stretched (--resize); one that takes any "
        "size needs --size";
}

void describe_dataset(const Dataset& data, const char* name, SetDescription& d,
                      std::vector<Sums>& sums) {
  if (data.size() == 0) return;
  SetDescription::Part part{name, data.size(), {}};
  if (d.labelled) part.per_class = class_counts(data);
  d.parts.push_back(std::move(part));
  d.least = d.most = data.shape;
  sums.resize(static_cast<std::size_t>(data.shape.c));
  for (std::size_t i = 0; i < data.x.size(); ++i)
    sums[i % sums.size()].add(static_cast<double>(data.x[i]));
}

void describe_arrays(const fs::path& path, const CollectionOptions& o, SetDescription& d) {
  const Collection set = read_collection(path, o);
  d.labelled = set.labelled;
  if (set.labelled) d.class_names = set.class_names;
  std::vector<Sums> sums;
  const bool divided = set.test.data.size() != 0;
  describe_dataset(set.train.data, divided ? "train" : "all", d, sums);
  describe_dataset(set.test.data, "test", d, sums);
  for (const Sums& s : sums) d.channels.push_back(s.channel());
  d.notes = set.notes;
  const Shape& s = set.train.data.shape;
  d.network_gets = fmt::format("{} x {} x {}{}", s.h, s.w, s.c,
                               set.unit_range ? "" : ", numbers as the file has them");
}

void describe_cuts(const fs::path& path, const CollectionOptions& o, SetDescription& d) {
  const ClipSet clips = read_clips(path, o.features.rate, o.threads);
  d.class_names = clips.list.class_names;
  std::set<std::string> files, speakers;
  std::map<Split, SetDescription::Part> parts;
  std::int64_t shortest = clips.samples;
  for (const Cut& cut : clips.list.cuts) {
    SetDescription::Part& p = parts[cut.split];
    p.name = !clips.list.divided         ? "all"
             : cut.split == Split::train ? "train"
             : cut.split == Split::test  ? "test"
                                         : "adapt";
    p.per_class.resize(d.class_names.size());
    ++p.examples;
    ++p.per_class[static_cast<std::size_t>(cut.label)];
    shortest = std::min(shortest, cut.length);
    files.insert(cut.file);
    if (clips.list.divided) speakers.insert(cut.speaker);
  }
  for (auto& [split, p] : parts) d.parts.push_back(std::move(p));
  d.speakers = speakers.size();
  d.shortest = static_cast<double>(shortest) / o.features.rate;
  d.longest = static_cast<double>(clips.samples) / o.features.rate;
  Sums sums;
  for (const std::string& file : files) {
    const FileFacts f = facts_of(path / file, true, o.features.rate);
    ++d.rates[f.sound.rate];
    ++d.sound_channels[f.sound.channels];
    sums.add(f.sums[0]);
  }
  d.channels.push_back(sums.channel());
  d.network_gets = frames_text(o, d.longest);
}

}  // namespace

SetDescription describe_set(const fs::path& path, const CollectionOptions& options) {
  SetDescription d;
  try {
    const SetFormat format = format_of(path);
    d.format = name_of(format);
    switch (format) {
      case SetFormat::idx:
      case SetFormat::arrays:
        describe_arrays(path, options, d);
        break;
      case SetFormat::pictures:
      case SetFormat::sounds:
        describe_folder(path, options, d);
        break;
      case SetFormat::cut_list:
        describe_cuts(path, options, d);
        break;
    }
  } catch (const Error& e) {
    d.problems.emplace_back(e.what());
  }
  return d;
}

}  // namespace lastmile
