// SPDX-License-Identifier: Apache-2.0
// Whose run a folder holds, and what of it is done.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

#include "sw/app/run.hpp"

namespace lastmile {

// One domain to adapt to: the whole shifted set, or one speaker.
struct Domain {
  std::string name;
  Dataset train, test;
};

// The part of a file name that a domain gives. Speakers are called as their data set pleases.
[[nodiscard]] std::string file_word(const std::string& name);

// What `out` holds of a run, and whether this one may go on with it: the options as given, digests
// of all that it reads, the domains, which name files, and digests of the networks it wrote.
// Error(journal) where the folder is another run's, or a file in it is not what the run wrote.
class RunState {
 public:
  RunState(const RunOptions& o, const Task& task, const std::vector<Domain>& domains);
  // `file` is there, and of this run. One that was not kept() may be half of what it was to be.
  [[nodiscard]] bool has(const std::filesystem::path& file) const;
  // `file` is written.
  void kept(const std::filesystem::path& file);
  [[nodiscard]] bool continues() const { return continues_; }

  // The run came to its end and its report was written, with what it measured; `diverged` as in
  // RunOutcome.
  void complete(const std::filesystem::path& report, const std::vector<std::string>& diverged);
  // The outcome of such a run, if its report is there as it was written and its files are.
  [[nodiscard]] std::optional<RunOutcome> outcome(const std::filesystem::path& report) const;

 private:
  void write() const;
  void require_same(const nlohmann::json& found) const;
  // Files that a run of this state writes beside it.
  static std::vector<std::string> names_of(const nlohmann::json& state);
  [[nodiscard]] nlohmann::json digests() const;
  // What an earlier run left would not belong to this one. `found`: its state, if it can be read.
  void remove_old(const RunOptions& o, const nlohmann::json& found) const;

  std::filesystem::path path_;
  nlohmann::json wanted_;
  bool continues_ = false;
};

}  // namespace lastmile
