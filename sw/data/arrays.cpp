// SPDX-License-Identifier: Apache-2.0
#include "sw/data/arrays.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/npy.hpp"

namespace lastmile {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const std::string& where, const std::string& what) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", where, what));
}

struct Names {
  const char* part;
  std::array<const char*, 2> examples, labels;
};
constexpr std::array<Names, 4> kNames{{
    {"train", {"x_train", "train_images"}, {"y_train", "train_labels"}},
    {"val", {"x_val", "val_images"}, {"y_val", "val_labels"}},
    {"test", {"x_test", "test_images"}, {"y_test", "test_labels"}},
    {"", {"x", "images"}, {"y", "labels"}},
}};
constexpr const char* kExpected =
    "x and y, images and labels, or x_train, y_train, x_test and y_test";

// The arrays of a set by name, and the bytes they are in.
struct Arrays {
  std::vector<std::vector<std::uint8_t>> files;
  std::map<std::string, NpzEntry> by_name;

  void add(const std::string& name, const fs::path& file) {
    files.push_back(read_file(file));
    by_name.insert_or_assign(name, npy_entry(files.back(), file.string()));
  }
  template <std::size_t N>
  [[nodiscard]] const NpzEntry* find(const std::array<const char*, N>& names) const {
    for (const char* name : names)
      if (const auto it = by_name.find(name); it != by_name.end()) return &it->second;
    return nullptr;
  }
};

Arrays open(const fs::path& path) {
  Arrays a;
  if (kind_of(path) == FileKind::folder) {
    for (const Names& n : kNames)
      for (const auto& names : {n.examples, n.labels})
        for (const char* name : names)
          if (const fs::path file = path / (std::string(name) + ".npy");
              kind_of(file) != FileKind::none)
            a.add(name, file);
    return a;
  }
  if (path.extension() != ".npy") {
    a.files.push_back(read_file(path));
    for (NpzEntry& e : npz_entries(a.files.back(), path.string())) {
      const std::string name = e.name;
      if (!a.by_name.emplace(name, std::move(e)).second)
        fail(path.string(), fmt::format("two arrays are called \"{}\"", name.substr(0, 80)));
    }
    return a;
  }
  a.add("x", path);
  const fs::path beside = path.parent_path();
  for (const fs::path& labels : {beside / (path.stem().string() + "_labels.npy"), beside / "y.npy"})
    if (!a.by_name.contains("y") && labels != path && kind_of(labels) != FileKind::none)
      a.add("y", labels);
  return a;
}

// What an array's shape is as examples, and whether channels come first.
struct Form {
  std::size_t n = 0;
  Shape shape;
  bool channels_first = false;
};
Form form_of(const NpzEntry& e, Layout layout, const std::optional<Shape>& input) {
  const std::vector<std::int64_t>& s = e.header.shape;
  const auto text = [&] { return fmt::format("shape {}", fmt::join(s, " x ")); };
  if (s.size() < 2 || s.size() > 4)
    fail(e.where, text() +
                      ", expected examples x rows x columns x channels (or channels first), "
                      "examples x rows x columns, or examples x values");
  if (static_cast<std::int64_t>(e.header.elements()) > kMostSetValues)
    fail(e.where, fmt::format("{}, expected at most {} values", text(), kMostSetValues));
  for (std::size_t d = 0; d < s.size(); ++d)
    if (s[d] < 1 || (d > 0 && s[d] > 65536 * (s.size() == 2 ? 16 : 1)))
      fail(e.where, text() + ", expected every side to be 1 to 65536");
  Form f;
  f.n = static_cast<std::size_t>(s[0]);
  const auto side = [&](std::size_t d) { return static_cast<int>(s[d]); };
  if (s.size() == 2) {
    f.shape = {1, 1, side(1)};
    if (input && input->elements() == s[1]) f.shape = *input;
    return f;
  }
  if (s.size() == 3) {
    f.shape = {side(1), side(2), 1};
    return f;
  }
  const Shape last{side(1), side(2), side(3)}, first{side(2), side(3), side(1)};
  if (layout != Layout::automatic)
    f.channels_first = layout == Layout::nchw;
  else if (input && (last == *input || first == *input))
    f.channels_first = last != *input;
  else
    f.channels_first = last.c > 4 && first.c <= 4;
  f.shape = f.channels_first ? first : last;
  return f;
}

std::vector<Label> labels_of(const NpzEntry& e, const NpzEntry& examples, std::size_t n) {
  const std::vector<std::int64_t>& s = e.header.shape;
  if (s.empty() || s[0] != static_cast<std::int64_t>(n) || e.header.elements() != n)
    fail(e.where, fmt::format("labels of shape {}, expected {} as in {}", fmt::join(s, " x "), n,
                              examples.where));
  const NpyArray a = read_array(e);
  std::vector<Label> out(n);
  for (std::size_t i = 0; i < n; ++i) {
    const float v = a.values[i];
    if (!(v >= 0 && v < static_cast<float>(kMaxClasses)) || v != std::floor(v))
      fail(e.where, fmt::format("label {} of example {}, expected a whole number from 0 to {}", v,
                                i, kMaxClasses - 1));
    out[i] = static_cast<Label>(v);
  }
  return out;
}

ArrayPart part_of(const Names& names, const NpzEntry& e, const NpzEntry* labels, Layout layout,
                  const std::optional<Shape>& input) {
  const bool bytes = e.header.type == "|u1";
  if (!bytes && e.header.type[1] != 'f')
    fail(e.where, fmt::format("element type is {}, expected uint8 (|u1) or float16, float32, "
                              "float64",
                              e.header.type));
  const Form f = form_of(e, layout, input);
  ArrayPart p;
  p.name = names.part;
  p.where = e.where;
  p.labelled = labels != nullptr;
  p.data.shape = f.shape;
  p.data.y = p.labelled ? labels_of(*labels, e, f.n) : std::vector<Label>(f.n);
  std::vector<float> values = read_array(e).values;
  if (bytes)
    for (float& v : values) v /= 255.0F;
  if (f.channels_first && f.shape.c > 1) {
    const auto c = static_cast<std::size_t>(f.shape.c);
    const std::size_t pixels = static_cast<std::size_t>(f.shape.elements()) / c;
    std::vector<float> example(pixels * c);
    for (std::size_t i = 0; i < f.n; ++i) {
      const std::span<float> x = std::span(values).subspan(i * example.size(), example.size());
      for (std::size_t at = 0; at < pixels; ++at)
        for (std::size_t k = 0; k < c; ++k) example[at * c + k] = x[k * pixels + at];
      std::copy(example.begin(), example.end(), x.begin());
    }
  }
  p.data.x = std::move(values);
  const auto bad =
      std::find_if(p.data.x.begin(), p.data.x.end(), [](float v) { return !std::isfinite(v); });
  if (bad != p.data.x.end())
    fail(e.where, fmt::format("value {} in example {}, expected a finite number", *bad,
                              (bad - p.data.x.begin()) / f.shape.elements()));
  return p;
}

}  // namespace

std::optional<ArraySet> read_arrays(const fs::path& path, Layout layout,
                                    const std::optional<Shape>& input) {
  const Arrays arrays = open(path);
  if (arrays.by_name.empty() && kind_of(path) == FileKind::folder) return std::nullopt;
  ArraySet set;
  std::int64_t values = 0;
  const NpzEntry* first = nullptr;
  for (const Names& names : kNames) {
    const NpzEntry* e = arrays.find(names.examples);
    if (e == nullptr) continue;
    if (*names.part == '\0' && first != nullptr) break;  // parts win over a whole
    values += static_cast<std::int64_t>(e->header.elements());
    if (values > kMostSetValues)
      fail(path.string(),
           fmt::format("more than {} values, expected at most so many in all", kMostSetValues));
    if (first != nullptr && (e->header.type == "|u1") != (first->header.type == "|u1"))
      fail(e->where, fmt::format("element type is {}, but {} of {}", e->header.type,
                                 first->header.type, first->where));
    set.parts.push_back(part_of(names, *e, arrays.find(names.labels), layout, input));
    if (first == nullptr) first = e;
    if (set.parts.back().data.shape != set.parts.front().data.shape)
      fail(e->where, "its examples have another shape than those of " + first->where);
  }
  if (first == nullptr) {
    std::vector<std::string> found;
    for (const auto& [name, e] : arrays.by_name)
      if (found.size() < 20) found.push_back('"' + name.substr(0, 80) + '"');
    fail(
        path.string(),
        fmt::format("arrays {}, expected {}",
                    found.empty() ? "none" : fmt::format("{}", fmt::join(found, ", ")), kExpected));
  }
  set.bytes = first->header.type == "|u1";
  return set;
}

}  // namespace lastmile
