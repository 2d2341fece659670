// SPDX-License-Identifier: Apache-2.0
// Who owns a journal or an output folder: one process, for as long as it works on it. The lock is
// advisory (flock) on a small file beside it, which says who holds it. The kernel gives it up when
// the process ends, however it ends; the file that a killed one leaves is used again.
#pragma once

#include <filesystem>
#include <memory>
#include <string>

namespace lastmile {

class StateLock {
 public:
  // `<file>.lock`; links are followed first, so that two names of one file are one lock.
  static StateLock of_file(const std::filesystem::path& file);
  // `<folder>/.lastmile.lock`
  static StateLock of_folder(const std::filesystem::path& folder);

  StateLock(StateLock&&) noexcept;
  StateLock& operator=(StateLock&&) noexcept;
  ~StateLock();

 private:
  struct State;
  explicit StateLock(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

// The files that such locks are.
[[nodiscard]] std::filesystem::path lock_of_file(const std::filesystem::path& file);
[[nodiscard]] std::filesystem::path lock_of_folder(const std::filesystem::path& folder);

// Error(journal) if a process owns this folder.
void require_free(const std::filesystem::path& folder);

// The same of a file that a process appends to (lock_open_file), under another name of it, too.
void require_free_file(const std::filesystem::path& file);

// A file that is open anyway is locked itself, too: another name of it (a hard link) is no way
// around. Error(journal) says who holds `file`, as the functions above do.
void lock_open_file(int fd, const std::filesystem::path& file);

}  // namespace lastmile
