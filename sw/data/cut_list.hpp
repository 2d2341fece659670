// SPDX-License-Identifier: Apache-2.0
// The cut list of an audio data set: `index.csv`, one line per clip, columns found by the names in
// its first line:
//   file        path of a WAV or FLAC file, relative to the list's folder
//   start       first sample of the clip, from 0
//   length      samples, at least 1
//   class       0 .. 4094
//   class_name  the same for every clip of a class
//   speaker     who speaks (any text)
//   split       train, test or adapt
// The last two may both be missing: then the set is undivided. Other columns are ignored. Fields
// may be quoted as in RFC 4180; lines end in LF or CR LF.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lastmile {

enum class Split { train, test, adapt };

struct Cut {
  std::string file;
  std::int64_t start = 0, length = 0;
  int label = 0;
  std::string speaker;
  Split split = Split::train;
  int line = 0;  // in the cut list, for errors
};

struct CutList {
  std::vector<Cut> cuts;
  bool divided = true;                   // speakers and splits are there
  std::vector<std::string> class_names;  // one per class; every class has a clip
};

// Longest clip that is accepted: one minute at 16 kHz.
inline constexpr std::int64_t kMaxClipSamples = 960'000;

// `name` is what errors call the list. Error (input) names the line, the column, the value and what
// was expected: missing columns, wrong field counts, numbers out of range, paths that leave the
// folder, classes with two names or without a clip.
[[nodiscard]] CutList parse_cut_list(std::string_view text, const std::string& name);

// Fields of CSV text, quotes removed, with the line each record starts on; blank lines are skipped.
// Error (input) on a quote that does not end or that is followed by text.
struct CsvRecord {
  int line = 0;
  std::vector<std::string> fields;
};
[[nodiscard]] std::vector<CsvRecord> parse_csv(std::string_view text, const std::string& name);

}  // namespace lastmile
