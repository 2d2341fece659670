// SPDX-License-Identifier: Apache-2.0
#include "sw/data/collection.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/parallel.hpp"
#include "sw/data/audio.hpp"
#include "sw/data/folder.hpp"
#include "sw/data/idx.hpp"
#include "sw/data/media.hpp"

namespace lastmile {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& where, const std::string& what) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", where.string(), what));
}

constexpr const char* kExpected =
    "expected folders of PNG, JPEG, WAV or FLAC files, one per class; an index.csv of audio; IDX "
    "files (train-images-idx3-ubyte[.gz], ...); or numpy's x_train.npy, ..., .npy, .npz";

bool begins_like_idx(const fs::path& path) {
  std::vector<std::uint8_t> head = read_beginning(path, 1 << 16);
  if (is_gzip(head)) return true;  // nothing else here is compressed as a whole
  return head.size() >= 4 && head[0] == 0 && head[1] == 0 && head[2] == 8;
}

// A part of a set on its way: which examples have which label is known, the names are not settled.
struct Part {
  std::string name;
  Examples examples;
};

// One part of two or more: the others' roles are train and test.
void assign_parts(std::vector<Part> parts, Collection& set) {
  const auto take = [&](const char* name) -> std::optional<Part> {
    for (auto it = parts.begin(); it != parts.end(); ++it)
      if (it->name == name && !it->examples.data.y.empty()) {
        Part p = std::move(*it);
        parts.erase(it);
        return p;
      }
    return std::nullopt;
  };
  std::optional<Part> train = take("train"), test = take("test"), val = take("val"),
                      whole = take("");
  const std::size_t left_out = val ? val->examples.data.size() : 0;
  if (train && !test && val) test = std::exchange(val, std::nullopt);
  if (!train && test && val) train = std::exchange(val, std::nullopt);
  if (!train)
    train = test ? std::exchange(test, std::nullopt) : val ? std::move(val) : std::move(whole);
  else if (test && val)
    set.notes.push_back(fmt::format("{}: {} examples of val are left out", set.name, left_out));
  set.train = std::move(train->examples);
  if (test) {
    set.test = std::move(test->examples);
  } else {
    set.test.data.shape = set.train.data.shape;
  }
}

// Labels by the names that are expected, where they are the set's own otherwise. `named`: own_names
// are of the set, else only numbers. An index.csv has both, and may lack a network's last classes.
void settle_classes(const fs::path& path, const CollectionOptions& o,
                    std::vector<std::string> own_names, bool named, std::vector<Part>& parts,
                    Collection& set) {
  const std::size_t own = own_names.size();
  if (!o.class_names.empty() && named) {
    std::vector<Label> to(own);
    std::vector<std::string> unknown;
    for (std::size_t k = 0; k < own; ++k) {
      const auto at = std::find(o.class_names.begin(), o.class_names.end(), own_names[k]);
      if (at == o.class_names.end()) unknown.push_back('\'' + own_names[k] + '\'');
      to[k] = static_cast<Label>(at - o.class_names.begin());
    }
    if (!unknown.empty())
      fail(path, fmt::format("class {} is none of '{}'", fmt::join(unknown, ", "),
                             fmt::join(o.class_names, "', '")));
    for (Part& p : parts)
      for (Label& y : p.examples.data.y) y = to[y];
  }
  const std::size_t classes = !o.class_names.empty() ? o.class_names.size()
                              : o.classes > 0        ? static_cast<std::size_t>(o.classes)
                              : o.one_class          ? std::max<std::size_t>(own, 2)
                                                     : own;
  if (named && set.format != SetFormat::cut_list && o.class_names.empty() && own != classes)
    fail(path, fmt::format("{} classes ('{}'), expected {} as the network has; a classes.txt there "
                           "names all of them, a line each",
                           own, fmt::join(own_names, "', '"), classes));
  if (own > classes)
    fail(path, fmt::format("labels of {} classes, expected at most {}", own, classes));
  if (classes < 2)
    fail(path, fmt::format("examples of {} class{}, expected at least 2 classes", classes,
                           own_names.empty() ? "" : " ('" + own_names[0] + "')"));
  set.class_names = std::move(own_names);
  if (!o.class_names.empty()) set.class_names = o.class_names;
  for (std::size_t k = set.class_names.size(); k < classes; ++k)
    set.class_names.push_back(std::to_string(k));
  for (Part& p : parts) p.examples.data.classes = static_cast<int>(classes);
}

// Names for labels that are numbers: those of classes.txt beside them, else the numbers.
std::vector<std::string> names_of_numbers(const fs::path& folder, const std::vector<Part>& parts,
                                          bool& named) {
  std::size_t classes = 0;
  for (const Part& p : parts)
    for (const Label y : p.examples.data.y)
      classes = std::max<std::size_t>(classes, std::size_t{y} + 1);
  std::vector<std::string> names;
  if (auto listed = read_class_names(folder.empty() ? "." : folder)) {
    named = true;
    if (listed->size() < classes)
      fail(folder / "classes.txt", fmt::format("{} names, expected {}: the largest label is {}",
                                               listed->size(), classes, classes - 1));
    return *listed;
  }
  for (std::size_t k = 0; k < classes; ++k) names.push_back(std::to_string(k));
  return names;
}

// Arrays and IDX images are taken as they are, unless a way to resize them was given.
void conform_arrays(std::vector<Part>& parts, const CollectionOptions& o, Collection& set) {
  if (!o.resize || !o.input) return;
  for (Part& p : parts) {
    Dataset& d = p.examples.data;
    if (d.shape == *o.input || d.y.empty()) continue;
    const auto each = static_cast<std::size_t>(o.input->elements());
    if (static_cast<std::int64_t>(d.size()) > kMostSetValues / o.input->elements())
      throw Error(ErrorKind::input, fmt::format("{}: {} examples of {} values, expected at most {} "
                                                "values in all",
                                                set.name, d.size(), each, kMostSetValues));
    std::vector<float> x(d.size() * each);
    parallel_for(
        o.threads, static_cast<std::int64_t>(d.size()), [&](std::int64_t begin, std::int64_t end) {
          for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
            conform(std::as_const(d).example(i), d.shape, *o.input, *o.resize,
                    std::span(x).subspan(i * each, each));
        });
    d.x = std::move(x);
    d.shape = *o.input;
    set.resized = name_of(*o.resize);
  }
}

std::vector<Part> read_idx_parts(const fs::path& path, const CollectionOptions& o,
                                 Collection& set) {
  std::vector<Part> parts;
  if (const auto folder =
          kind_of(path) == FileKind::folder ? find_idx_folder(path) : std::nullopt) {
    const int known = o.class_names.empty() ? o.classes : static_cast<int>(o.class_names.size());
    IdxTask sets = read_idx_folder(*folder, known == 0 && o.one_class ? kMaxClasses : known);
    parts.push_back({"train", {to_dataset(sets.train, o.threads), {}}});
    sets.train = {};
    parts.push_back({"test", {to_dataset(sets.test, o.threads), {}}});
    return parts;
  }
  std::string labels = path.filename().string();
  for (const auto& [from, to] :
       {std::pair{"images", "labels"}, std::pair{"idx3", "idx1"}, std::pair{"idx4", "idx1"}})
    if (const auto at = labels.find(from); at != std::string::npos)
      labels.replace(at, std::string(from).size(), to);
  const fs::path beside = path.parent_path() / labels;
  ImageSet images;
  if (beside != path && kind_of(beside) != FileKind::none) {
    images = read_idx(path, beside, kMaxClasses);
  } else {
    images = parse_idx_images(read_file_maybe_gzip(path, std::size_t{1} << 29), path.string());
    images.labels.resize(static_cast<std::size_t>(images.n));
    set.labelled = false;
  }
  parts.push_back({"", {to_dataset(images, o.threads), {}}});
  return parts;
}

std::vector<Part> read_array_parts(const fs::path& path, const CollectionOptions& o,
                                   Collection& set) {
  std::optional<ArraySet> arrays = read_arrays(path, o.layout, o.input);
  if (!arrays) fail(path, kExpected);
  set.unit_range = arrays->bytes;
  std::vector<Part> parts;
  bool some = false;
  for (ArrayPart& p : arrays->parts) {
    some = some || p.labelled;
    set.labelled = set.labelled && p.labelled;
    parts.push_back({p.name, {std::move(p.data), {}}});
  }
  if (some && !set.labelled)
    fail(path, "some parts have labels and some have none, expected all or none");
  return parts;
}

std::vector<Part> read_folder_parts(const fs::path& path, FolderSet& folder,
                                    const CollectionOptions& o, Collection& set) {
  set.labelled = folder.labelled;
  if (folder.others != 0)
    set.notes.push_back(fmt::format("{}: {} other file{} left out", set.name, folder.others,
                                    folder.others == 1 ? " is" : "s are"));
  MediaOptions how{path, o.input, o.size, o.resize.value_or(o.pictures), o.features, o.threads};
  MediaSet media = folder.sounds ? read_sounds(folder, how) : read_pictures(folder, how);
  if (!folder.sounds) set.resized = media.resized ? name_of(how.resize) : "";
  set.unit_range = !folder.sounds;
  std::vector<Part> parts;
  for (std::size_t i = 0; i < folder.parts.size(); ++i) {
    Part p{folder.parts[i].name, {std::move(media.parts[i]), {}}};
    for (const FolderFile& f : folder.parts[i].files)
      p.examples.files.push_back(f.path.lexically_relative(path).string());
    parts.push_back(std::move(p));
  }
  return parts;
}

std::vector<Part> read_cut_parts(const fs::path& path, const CollectionOptions& o,
                                 std::vector<std::string>& names, Collection& set) {
  const ClipSet clips = read_clips(path, o.features.rate, o.threads);
  set.unit_range = false;
  names = clips.list.class_names;
  Dataset all = features_of(clips, o.features, o.input, o.threads);
  std::vector<Part> parts;
  const auto file_of = [](const Cut& cut) { return fmt::format("{}:{}", cut.file, cut.start); };
  if (!clips.list.divided) {
    std::vector<std::string> files;
    for (const Cut& cut : clips.list.cuts) files.push_back(file_of(cut));
    parts.push_back({"", {std::move(all), std::move(files)}});
    return parts;
  }
  for (const auto& [name, split] :
       {std::pair{"train", Split::train}, std::pair{"test", Split::test},
        std::pair{"adapt", Split::adapt}}) {
    std::vector<std::size_t> indices;
    std::vector<std::string> files;
    for (std::size_t i = 0; i < clips.list.cuts.size(); ++i)
      if (clips.list.cuts[i].split == split) {
        indices.push_back(i);
        files.push_back(file_of(clips.list.cuts[i]));
      }
    if (indices.empty()) continue;
    // Of a set without speakers to train on, those held out are what there is.
    const bool held = split == Split::adapt;
    if (held && !parts.empty() && parts[0].name == "train") {
      set.notes.push_back(
          fmt::format("{}: {} clips of the adapt split are left out", set.name, indices.size()));
      continue;
    }
    parts.push_back({held ? "train" : name, {select(all, indices), std::move(files)}});
  }
  return parts;
}

}  // namespace

const char* name_of(SetFormat format) {
  switch (format) {
    case SetFormat::idx:
      return "IDX images";
    case SetFormat::arrays:
      return "numpy arrays";
    case SetFormat::pictures:
      return "pictures";
    case SetFormat::sounds:
      return "sounds";
    case SetFormat::cut_list:
      break;
  }
  return "sounds by index.csv";
}

SetFormat format_of(const fs::path& path) {
  switch (kind_of(path)) {
    case FileKind::none:
      fail(path, "no such folder or file");
    case FileKind::stream:
    case FileKind::other:
      fail(path, "not a regular file");
    case FileKind::file: {
      const std::vector<std::uint8_t> head = read_beginning(path, 6);
      const std::string_view text(reinterpret_cast<const char*>(head.data()), head.size());
      if (text.starts_with("PK\x03\x04") || text.starts_with("\x93NUMPY")) return SetFormat::arrays;
      if (begins_like_idx(path)) return SetFormat::idx;
      fail(path, "a file that is neither of numpy (.npy, .npz) nor IDX; as a folder: " +
                     std::string(kExpected));
    }
    case FileKind::folder:
      break;
  }
  // Without this right nothing in it is found, whatever is there.
  if (::access(path.c_str(), R_OK | X_OK) != 0)
    fail(path, fmt::format("cannot be read: {}", std::generic_category().message(errno)));
  const bool idx = find_idx_folder(path).has_value();
  const bool cuts = kind_of(path / "index.csv") != FileKind::none;
  if (idx && cuts) fail(path, "has IDX files and an index.csv, expected one of the two");
  if (idx) return SetFormat::idx;
  if (cuts) return SetFormat::cut_list;
  for (const char* name :
       {"x.npy", "images.npy", "x_train.npy", "train_images.npy", "x_test.npy", "test_images.npy"})
    if (kind_of(path / name) == FileKind::file) return SetFormat::arrays;
  const auto folder = scan_folder(path);
  if (!folder) fail(path, std::string("nothing in it is known; ") + kExpected);
  return folder->sounds ? SetFormat::sounds : SetFormat::pictures;
}

bool is_sound_set(const fs::path& path) {
  if (path.empty()) return false;
  try {
    if (kind_of(path) != FileKind::folder) return false;
    if (kind_of(path / "index.csv") != FileKind::none) return true;
    const auto folder = scan_folder(path);
    return folder && folder->sounds;
  } catch (const Error&) {
    return false;  // who reads it says why
  }
}

Collection read_collection(const fs::path& path, const CollectionOptions& o) {
  Collection set;
  set.format = format_of(path);
  const fs::path clean = fs::absolute(path).lexically_normal();
  set.name = (clean.has_filename() ? clean : clean.parent_path()).filename().string();
  std::vector<Part> parts;
  std::vector<std::string> names;
  bool named = true;
  switch (set.format) {
    case SetFormat::idx:
    case SetFormat::arrays: {
      parts = set.format == SetFormat::idx ? read_idx_parts(path, o, set)
                                           : read_array_parts(path, o, set);
      named = false;
      names = names_of_numbers(kind_of(path) == FileKind::folder ? path : path.parent_path(), parts,
                               named);
      conform_arrays(parts, o, set);
      break;
    }
    case SetFormat::pictures:
    case SetFormat::sounds: {
      std::optional<FolderSet> folder = scan_folder(path);
      if (!folder) fail(path, kExpected);
      names = folder->class_names;
      parts = read_folder_parts(path, *folder, o, set);
      break;
    }
    case SetFormat::cut_list:
      parts = read_cut_parts(path, o, names, set);
      break;
  }
  if (set.labelled) {
    settle_classes(path, o, std::move(names), named, parts, set);
  } else {
    set.class_names = o.class_names;
    for (int k = static_cast<int>(set.class_names.size()); k < std::max(o.classes, 2); ++k)
      set.class_names.push_back(std::to_string(k));
    for (Part& p : parts) p.examples.data.classes = static_cast<int>(set.class_names.size());
  }
  assign_parts(std::move(parts), set);
  if (set.test.data.classes == 0) set.test.data.classes = set.train.data.classes;
  return set;
}

}  // namespace lastmile
