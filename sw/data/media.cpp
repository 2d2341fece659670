// SPDX-License-Identifier: Apache-2.0
#include "sw/data/media.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <functional>

#include "sw/base/error_list.hpp"
#include "sw/base/io.hpp"
#include "sw/base/parallel.hpp"
#include "sw/base/text.hpp"
#include "sw/data/arrays.hpp"

namespace lastmile {
namespace {

namespace fs = std::filesystem;

// A picture or clip as a file.
constexpr std::size_t kMostFileBytes = std::size_t{1} << 28;
// Lines of a message about files that cannot be read.
constexpr std::size_t kMostListed = 20;

std::vector<const FolderFile*> all_files(const FolderSet& folder) {
  std::vector<const FolderFile*> out;
  for (const FolderPart& p : folder.parts)
    for (const FolderFile& f : p.files) out.push_back(&f);
  return out;
}

// use(i, file) for every file, on several threads; what is wrong with files is told at the end.
void each_file(const std::vector<const FolderFile*>& files, int threads,
               const std::function<void(std::size_t, const fs::path&)>& use) {
  std::vector<std::string> wrong(files.size());
  parallel_for(
      threads, static_cast<std::int64_t>(files.size()), [&](std::int64_t begin, std::int64_t end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
          try {
            use(i, files[i]->path);
          } catch (const Error& e) {
            wrong[i] = printable(e.what());
          }
        }
      });
  std::string text;
  std::size_t count = 0;
  for (const std::string& w : wrong) {
    if (w.empty()) continue;
    if (++count <= kMostListed) text += (text.empty() ? "" : "\n") + w;
  }
  if (count == 0) return;
  if (count > kMostListed) text += fmt::format("\nand {} more", count - kMostListed);
  if (count > 1) text = fmt::format("{} files cannot be used:\n{}", count, text);
  throw ErrorList(ErrorKind::input, text);
}

std::string size_text(const Shape& s) { return fmt::format("{} x {} x {}", s.h, s.w, s.c); }

void check_values(const fs::path& where, std::size_t examples, const Shape& shape,
                  const char* hint) {
  if (static_cast<std::int64_t>(examples) > kMostSetValues / shape.elements())
    throw Error(ErrorKind::input,
                fmt::format("{}: {} examples of {} values, expected at most {} values in all{}",
                            where.string(), examples, shape.elements(), kMostSetValues, hint));
}

// What pictures are without a network that says what it wants: all of one size.
Shape common_shape(const std::vector<const FolderFile*>& files, const MediaOptions& o) {
  std::vector<Shape> shapes(files.size());
  each_file(files, o.threads, [&](std::size_t i, const fs::path& file) {
    shapes[i] = picture_shape(read_file(file, kMostFileBytes), file.string());
  });
  Shape out = o.size.value_or(shapes.at(0));
  if (o.size && o.size->c != 0) return out;
  out.c = shapes.at(0).c;
  for (std::size_t i = 1; i < shapes.size(); ++i) {
    if (!o.size && (shapes[i].h != out.h || shapes[i].w != out.w))
      throw Error(
          ErrorKind::input,
          fmt::format("{}: {} is {}, {} is {}; the network takes any size: expected "
                      "pictures of one, or --size ROWSxCOLUMNS",
                      o.root.string(), files[0]->path.filename().string(), size_text(shapes[0]),
                      files[i]->path.filename().string(), size_text(shapes[i])));
    out.c = std::max(out.c, shapes[i].c);
  }
  return out;
}

// Data sets of the folder's parts with room for the values.
std::vector<Dataset> room_for(const FolderSet& folder, const Shape& shape,
                              std::vector<std::span<float>>& examples) {
  std::vector<Dataset> parts;
  for (const FolderPart& p : folder.parts) {
    Dataset d;
    d.shape = shape;
    for (const FolderFile& f : p.files) d.y.push_back(f.label);
    d.x.resize(d.y.size() * static_cast<std::size_t>(shape.elements()));
    parts.push_back(std::move(d));
  }
  for (Dataset& d : parts)
    for (std::size_t i = 0; i < d.size(); ++i) examples.push_back(d.example(i));
  return parts;
}

}  // namespace

MediaSet read_pictures(const FolderSet& folder, const MediaOptions& o) {
  const std::vector<const FolderFile*> files = all_files(folder);
  const Shape shape = o.input ? *o.input : common_shape(files, o);
  check_values(o.root, files.size(), shape,
               o.input ? "" : "; --size ROWSxCOLUMNS makes them smaller");
  MediaSet set;
  std::vector<std::span<float>> examples;
  set.parts = room_for(folder, shape, examples);
  std::vector<std::uint8_t> resized(files.size());  // a byte each: threads write side by side
  each_file(files, o.threads, [&](std::size_t i, const fs::path& file) {
    const Picture p = decode_picture(read_file(file, kMostFileBytes), file.string());
    resized[i] = p.shape.h != shape.h || p.shape.w != shape.w;
    conform(p, shape, o.resize, examples[i]);
  });
  set.resized = std::find(resized.begin(), resized.end(), 1) != resized.end();
  return set;
}

namespace {

// Samples of a clip that gives the rows of `input`; 0: any.
std::size_t window_of(const FeatureOptions& f, const std::optional<Shape>& input) {
  if (!input) return 0;
  return static_cast<std::size_t>(f.frame) +
         static_cast<std::size_t>(input->h - 1) * static_cast<std::size_t>(f.hop);
}

}  // namespace

MediaSet read_sounds(const FolderSet& folder, const MediaOptions& o) {
  const FeatureExtractor extractor(o.features);
  const std::vector<const FolderFile*> files = all_files(folder);
  std::vector<std::vector<std::int16_t>> clips(files.size());
  const std::size_t window = window_of(o.features, o.input);
  const auto limit = static_cast<std::size_t>(kMaxClipSamples);
  each_file(files, o.threads, [&](std::size_t i, const fs::path& file) {
    clips[i] = read_audio(file, o.features.rate);
    if (window != 0 && clips[i].size() > window) clips[i] = fitted_clip(clips[i], window);
    if (clips[i].size() > limit)
      throw Error(ErrorKind::input,
                  fmt::format("{}: {} samples at {} Hz, expected at most {}: an index.csv cuts "
                              "longer recordings",
                              file.string(), clips[i].size(), o.features.rate, limit));
  });
  std::size_t longest = window;
  if (window == 0)
    for (const auto& clip : clips) longest = std::max(longest, clip.size());
  const Shape shape = extractor.shape(static_cast<std::int64_t>(longest));
  check_values(o.root, files.size(), shape, "");
  MediaSet set;
  std::vector<std::span<float>> examples;
  set.parts = room_for(folder, shape, examples);
  each_file(files, o.threads, [&](std::size_t i, const fs::path&) {
    extractor.extract(fitted_clip(clips[i], longest), examples[i]);
  });
  return set;
}

Dataset features_of(const ClipSet& clips, const FeatureOptions& features,
                    const std::optional<Shape>& input, int threads) {
  const FeatureExtractor extractor(features);
  const auto samples = static_cast<std::size_t>(clips.samples);
  std::size_t window = samples;
  if (input && (clips.samples < features.frame || extractor.shape(clips.samples).h != input->h))
    window = window_of(features, input);
  Dataset all;
  all.shape = extractor.shape(static_cast<std::int64_t>(window));
  all.classes = static_cast<int>(clips.list.class_names.size());
  for (const Cut& cut : clips.list.cuts) all.y.push_back(static_cast<Label>(cut.label));
  all.x.resize(all.y.size() * static_cast<std::size_t>(all.shape.elements()));
  parallel_for(
      threads, static_cast<std::int64_t>(all.y.size()), [&](std::int64_t begin, std::int64_t end) {
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
          const auto clip = std::span(clips.data).subspan(i * samples, samples);
          if (window == samples)
            extractor.extract(clip, all.example(i));
          else
            extractor.extract(fitted_clip(clip, window), all.example(i));
        }
      });
  return all;
}

}  // namespace lastmile
