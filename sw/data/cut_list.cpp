// SPDX-License-Identifier: Apache-2.0
#include "sw/data/cut_list.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>

#include "sw/base/error.hpp"
#include "sw/data/dataset.hpp"

namespace lastmile {
namespace {

[[noreturn]] void fail(const std::string& name, int line, const std::string& what) {
  throw Error(ErrorKind::input, fmt::format("{}: line {}: {}", name, line, what));
}

enum Column : std::size_t {
  kFile,
  kStart,
  kLength,
  kClass,
  kClassName,
  kSpeaker,
  kSplit,
  kColumns
};
constexpr std::array<std::string_view, kColumns> kColumnNames{
    "file", "start", "length", "class", "class_name", "speaker", "split"};

constexpr std::size_t kAbsent = ~std::size_t{0};

// A relative path that stays below the folder of the list.
bool stays_inside(std::string_view path) {
  if (path.empty() || path.front() == '/' || path.find('\0') != std::string_view::npos)
    return false;
  while (true) {
    const auto slash = path.find('/');
    if (path.substr(0, slash) == "..") return false;
    if (slash == std::string_view::npos) return true;
    path.remove_prefix(slash + 1);
  }
}

// One record and what it takes to complain about it.
struct Row {
  const CsvRecord& record;
  const std::array<std::size_t, kColumns>& at;
  const std::string& name;

  [[nodiscard]] const std::string& text(Column c) const { return record.fields[at[c]]; }
  [[nodiscard]] std::int64_t number(Column c, std::int64_t min, std::int64_t max) const {
    const std::string& s = text(c);
    std::int64_t value = 0;
    const auto [end, ec] = std::from_chars(s.data(), s.data() + s.size(), value);
    if (ec != std::errc() || end != s.data() + s.size() || value < min || value > max)
      bad(c, fmt::format("a whole number from {} to {}", min, max));
    return value;
  }
  [[noreturn]] void bad(Column c, const std::string& expected) const {
    fail(name, record.line,
         fmt::format("{}: '{}', expected {}", kColumnNames[c], text(c), expected));
  }
};

Cut parse_cut(const Row& row) {
  Cut cut;
  cut.line = row.record.line;
  cut.file = row.text(kFile);
  if (!stays_inside(cut.file)) row.bad(kFile, "a path below the folder of the list");
  cut.start = row.number(kStart, 0, std::numeric_limits<std::int64_t>::max() - kMaxClipSamples);
  cut.length = row.number(kLength, 1, kMaxClipSamples);
  cut.label = static_cast<int>(row.number(kClass, 0, kMaxClasses - 1));
  if (row.at[kSplit] == kAbsent) return cut;
  cut.speaker = row.text(kSpeaker);
  const std::string& split = row.text(kSplit);
  if (split == "train")
    cut.split = Split::train;
  else if (split == "test")
    cut.split = Split::test;
  else if (split == "adapt")
    cut.split = Split::adapt;
  else
    row.bad(kSplit, "train, test or adapt");
  return cut;
}

}  // namespace

std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& name) {
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);  // byte order mark
  std::vector<CsvRecord> records;
  int line = 1;
  std::size_t i = 0;
  while (i < text.size()) {
    CsvRecord record{line, {}};
    while (true) {  // one pass per field
      std::string field;
      if (i < text.size() && text[i] == '"') {
        const int opened = line;
        for (++i;; ++i) {
          if (i >= text.size()) fail(name, opened, "a quoted field does not end");
          if (text[i] == '"') {
            if (i + 1 >= text.size() || text[i + 1] != '"') break;
            ++i;  // "" is a quote
          }
          if (text[i] == '\n') ++line;
          field += text[i];
        }
        ++i;
        if (i < text.size() && text[i] != ',' && text[i] != '\n' && text[i] != '\r')
          fail(name, line, "text after a quoted field, expected a comma or the end of the line");
      } else {
        while (i < text.size() && text[i] != ',' && text[i] != '\n' && text[i] != '\r')
          field += text[i++];
      }
      record.fields.push_back(std::move(field));
      if (i >= text.size() || text[i] != ',') break;
      ++i;
    }
    if (i < text.size() && text[i] == '\r') {
      ++i;
      if (i < text.size() && text[i] != '\n')
        fail(name, line, "a carriage return inside the line, expected only before its end");
    }
    if (i < text.size()) {
      ++i;
      ++line;
    }
    if (record.fields.size() > 1 || !record.fields[0].empty()) records.push_back(std::move(record));
  }
  return records;
}

CutList parse_cut_list(std::string_view text, const std::string& name) {
  const auto records = parse_csv(text, name);
  if (records.empty()) fail(name, 1, "empty, expected a line of column names");
  const auto& header = records.front().fields;
  std::array<std::size_t, kColumns> at{};
  CutList list;
  const auto there = [&](Column c) {
    return std::find(header.begin(), header.end(), kColumnNames[c]) != header.end();
  };
  list.divided = there(kSpeaker) || there(kSplit);
  for (std::size_t c = 0; c < kColumns; ++c) {
    if (!list.divided && (c == kSpeaker || c == kSplit)) {
      at[c] = kAbsent;
      continue;
    }
    const auto count = std::count(header.begin(), header.end(), kColumnNames[c]);
    if (count != 1)
      fail(name, records.front().line,
           fmt::format("column '{}' is there {} times, expected once; columns: {}", kColumnNames[c],
                       count, fmt::join(header, ", ")));
    at[c] = static_cast<std::size_t>(std::find(header.begin(), header.end(), kColumnNames[c]) -
                                     header.begin());
  }
  std::vector<const std::string*> names(static_cast<std::size_t>(kMaxClasses));
  std::size_t classes = 0;
  for (std::size_t r = 1; r < records.size(); ++r) {
    const Row row{records[r], at, name};
    if (row.record.fields.size() != header.size())
      fail(name, row.record.line,
           fmt::format("{} fields, expected {} as in the first line", row.record.fields.size(),
                       header.size()));
    list.cuts.push_back(parse_cut(row));
    const auto label = static_cast<std::size_t>(list.cuts.back().label);
    const std::string& class_name = row.text(kClassName);
    if (names[label] == nullptr) names[label] = &class_name;
    if (*names[label] != class_name)
      row.bad(kClassName,
              fmt::format("'{}' as in the earlier lines of class {}", *names[label], label));
    classes = std::max(classes, label + 1);
  }
  if (classes < 2)
    fail(name, records.front().line,
         fmt::format("{} clips of {} classes follow, expected at least 2 classes", list.cuts.size(),
                     classes));
  for (std::size_t k = 0; k < classes; ++k) {
    if (names[k] == nullptr)
      fail(name, records.front().line,
           fmt::format(
               "class {} has no clip but class {} has, expected every class up to the largest", k,
               classes - 1));
    list.class_names.push_back(*names[k]);
  }
  return list;
}

}  // namespace lastmile
