// SPDX-License-Identifier: Apache-2.0
// What a command reads and writes, settled before its work: every output can be written, neither it
// nor what is made beside it (the new content, locks) is an input (by device and inode, whatever
// its name), journals and folders belong to this process alone for as long as this object lives.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "sw/base/lock.hpp"

namespace lastmile {

// What may be where a run is to keep its state.
enum class Existing {
  refused,   // neither --resume nor --overwrite was given
  resumed,   // --resume
  replaced,  // --overwrite
};
[[nodiscard]] Existing existing_of(bool resume, bool overwrite);

class Files {
 public:
  Files() = default;
  Files(const Files&) = delete;
  Files& operator=(const Files&) = delete;
  // Removes folders that it made, if nothing was written there.
  ~Files();

  // An empty path is nothing. `option` is what messages call it.
  void reads(const std::string& option, const std::filesystem::path& path);
  // The folder of a data set: its index, images, labels and sounds.
  void reads_data(const std::string& option, const std::filesystem::path& folder);
  void writes(const std::string& option, const std::filesystem::path& path);
  void keeps_journal(const std::string& option, const std::filesystem::path& path, Existing found);
  // Files that belong together.
  void writes_all(const std::string& option, const std::vector<std::filesystem::path>& paths);
  // The same in a folder that is made if it is not there; without names all of it is meant.
  void writes_into(const std::string& option, const std::filesystem::path& folder,
                   const std::vector<std::string>& names = {});
  // The state of a run, in such a folder. `resumes`: the command has --resume.
  void keeps_state(const std::string& option, const std::filesystem::path& folder,
                   const std::vector<std::string>& names, Existing found, bool resumes = true);

  // Error(usage) if two of them are one file, Error(input) if one cannot be written or an input is
  // no file, Error(journal) if another process owns one or there is state that must not be lost.
  void claim();

 private:
  struct Named {
    std::string option;
    std::filesystem::path path;
  };
  struct NewState {
    Named folder;
    std::vector<std::string> names;
    bool resumes;
  };
  void make(const Named& folder);
  // Error(journal) for state that neither --resume nor --overwrite speaks of.
  void refuse_existing() const;
  void compare() const;
  // A FIFO that nobody reads is known now; held open, so that its reader waits for the content.
  void open_streams();

  std::vector<Named> inputs_, data_, outputs_, journals_, folders_;
  std::vector<std::filesystem::path> locked_files_, locked_folders_;
  std::vector<std::filesystem::path> made_, journals_to_be_new_;
  std::vector<NewState> states_to_be_new_;
  std::vector<StateLock> locks_;
  std::vector<int> streams_;
};

}  // namespace lastmile
