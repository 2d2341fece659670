// SPDX-License-Identifier: Apache-2.0
#include "sw/data/folder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/data/dataset.hpp"

namespace lastmile {
namespace {

namespace fs = std::filesystem;

// Names in one folder that are looked at.
constexpr std::size_t kMostEntries = 2'000'000;

[[noreturn]] void fail(const fs::path& where, const std::string& what) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", where.string(), what));
}

std::string lower(std::string text) {
  for (char& c : text)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return text;
}

struct Listing {
  std::vector<std::string> pictures, sounds, folders;  // sorted
  std::size_t others = 0;
  [[nodiscard]] bool media() const { return !pictures.empty() || !sounds.empty(); }
};

Listing list(const fs::path& folder) {
  Listing out;
  std::error_code ec;
  fs::directory_iterator it(folder, ec);
  if (ec) fail(folder, fmt::format("cannot be read: {}", ec.message()));
  std::size_t seen = 0;
  for (; it != fs::directory_iterator(); it.increment(ec)) {
    if (ec) break;
    if (++seen > kMostEntries)
      fail(folder, fmt::format("more than {} entries, expected at most so many", kMostEntries));
    std::string name = it->path().filename().string();
    if (name.empty() || name.front() == '.') continue;
    const std::string ending = lower(it->path().extension().string());
    std::error_code unknown;  // a link that leads nowhere or in a circle is found when it is read
    if (it->is_directory(unknown))
      out.folders.push_back(std::move(name));
    else if (ending == ".png" || ending == ".jpg" || ending == ".jpeg")
      out.pictures.push_back(std::move(name));
    else if (ending == ".wav" || ending == ".flac")
      out.sounds.push_back(std::move(name));
    else if (name != "classes.txt")
      ++out.others;
  }
  if (ec) fail(folder, fmt::format("cannot be read: {}", ec.message()));
  for (auto* names : {&out.pictures, &out.sounds, &out.folders})
    std::sort(names->begin(), names->end());
  return out;
}

// The part that a folder of this name is; empty: none.
std::string part_of(const std::string& folder) {
  const std::string name = lower(folder);
  if (name == "train" || name == "test" || name == "val") return name;
  return name == "valid" || name == "validation" ? "val" : "";
}

// Collects what the parts have, and finds contradictions between them.
class Scan {
 public:
  explicit Scan(fs::path folder) : root_(std::move(folder)) {}

  void part(const std::string& name, const fs::path& folder, const Listing& here) {
    parts_.push_back({name, folder, {}});
    set_.others += here.others;
    if (here.media()) add(folder, here, nullptr);
    for (const std::string& sub : here.folders) {
      const Listing inside = list(folder / sub);
      set_.others += inside.others;
      if (!inside.media()) {
        empty_.push_back(folder / sub);
        continue;
      }
      add(folder / sub, inside, &sub);
    }
  }

  std::optional<FolderSet> finish() {
    if (pictures_.empty() && sounds_.empty()) return std::nullopt;
    if (!pictures_.empty() && !sounds_.empty())
      fail(root_, fmt::format("has pictures ({}) and sounds ({}), expected one of the two",
                              pictures_.string(), sounds_.string()));
    if (!loose_.empty() && !classes_.empty())
      fail(root_, fmt::format("has examples in folders of classes ('{}') and beside them ({}), "
                              "expected all or none to be labelled",
                              *classes_.begin(), loose_.string()));
    if (loose_.empty() && !empty_.empty())
      fail(empty_.front(),
           "no picture or sound in this folder of a class, expected some, or no "
           "such folder");
    set_.sounds = !sounds_.empty();
    set_.labelled = loose_.empty();
    if (set_.labelled) name_classes();
    std::map<std::string, Label> label;
    for (std::size_t k = 0; k < set_.class_names.size(); ++k)
      label[set_.class_names[k]] = static_cast<Label>(k);
    for (Found& p : parts_) {
      FolderPart part{p.name, {}};
      for (auto& [name, files] : p.files)
        for (fs::path& file : files)
          part.files.push_back({std::move(file), set_.labelled ? label.at(name) : Label{0}});
      std::stable_sort(part.files.begin(), part.files.end(),
                       [](const FolderFile& a, const FolderFile& b) { return a.label < b.label; });
      set_.parts.push_back(std::move(part));
    }
    return std::move(set_);
  }

 private:
  struct Found {
    std::string name;
    fs::path folder;
    std::map<std::string, std::vector<fs::path>> files;  // by class; "" without
  };

  // `name` of the class; none: the examples are loose.
  void add(const fs::path& folder, const Listing& in, const std::string* name) {
    std::vector<fs::path>& files = parts_.back().files[name == nullptr ? "" : *name];
    const auto take = [&](const std::vector<std::string>& names, fs::path& first) {
      for (const std::string& file : names) {
        files.push_back(folder / file);
        if (first.empty()) first = files.back();
      }
    };
    take(in.pictures, pictures_);
    take(in.sounds, sounds_);
    if (name != nullptr)
      classes_.insert(*name);
    else if (loose_.empty())
      loose_ = files.front();
  }

  void name_classes() {
    set_.class_names.assign(classes_.begin(), classes_.end());
    const auto listed = read_class_names(root_);
    if (listed) {
      for (const std::string& name : classes_)
        if (std::find(listed->begin(), listed->end(), name) == listed->end())
          fail(root_ / name, "this class is not in classes.txt, expected one of its lines");
      set_.class_names = *listed;
    }
    if (set_.class_names.size() > static_cast<std::size_t>(kMaxClasses))
      fail(root_, fmt::format("{} folders of classes, expected at most {}", set_.class_names.size(),
                              kMaxClasses));
  }

  fs::path root_;
  FolderSet set_;
  std::vector<Found> parts_;
  std::set<std::string> classes_;
  fs::path pictures_, sounds_, loose_;  // the first of each
  std::vector<fs::path> empty_;
};

}  // namespace

std::optional<FolderSet> scan_folder(const fs::path& folder) {
  const Listing top = list(folder);
  std::map<std::string, std::string> parts;  // to their folders
  for (const std::string& sub : top.folders) {
    const std::string part = part_of(sub);
    if (part.empty() || top.media()) {
      parts.clear();
      break;
    }
    if (const auto [it, fresh] = parts.emplace(part, sub); !fresh)
      fail(folder, fmt::format("has '{}' and '{}', expected one of them", it->second, sub));
  }
  Scan scan(folder);
  if (parts.empty()) scan.part("", folder, top);
  for (const auto& [part, sub] : parts) scan.part(part, folder / sub, list(folder / sub));
  return scan.finish();
}

std::optional<std::vector<std::string>> read_class_names(const fs::path& folder) {
  const fs::path file = folder / "classes.txt";
  if (kind_of(file) == FileKind::none) return std::nullopt;
  const std::string text = read_text_file(file, std::size_t{1} << 20);
  std::vector<std::string> names;
  std::size_t at = 0;
  for (int line = 1; at < text.size(); ++line) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    std::string name = text.substr(at, end - at);
    if (name.ends_with('\r')) name.pop_back();
    at = end + 1;
    if (name.empty() && at >= text.size()) break;
    if (name.empty() || std::find(names.begin(), names.end(), name) != names.end())
      fail(file, fmt::format("line {}: '{}', expected the name of a class that no other line has",
                             line, name));
    names.push_back(std::move(name));
    if (names.size() > static_cast<std::size_t>(kMaxClasses))
      fail(file, fmt::format("more than {} lines, expected at most so many classes", kMaxClasses));
  }
  if (names.empty()) fail(file, "empty, expected a name of a class in each line");
  return names;
}

}  // namespace lastmile
