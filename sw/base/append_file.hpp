// SPDX-License-Identifier: Apache-2.0
// A file that only grows, one record at a time, and belongs to the process that has it open: what
// the journals are kept in. Failures are Error(journal) naming the file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>

namespace lastmile {

class AppendFile {
 public:
  // A new file with this beginning, written whole, then renamed into place. An existing one is
  // replaced, unless another process has it open.
  static AppendFile create(const std::filesystem::path& path,
                           std::span<const std::uint8_t> beginning);
  // One that was read when it had `size` bytes; those after the first `valid` are cut off.
  static AppendFile open(const std::filesystem::path& path, std::uint64_t size,
                         std::uint64_t valid);

  AppendFile(AppendFile&& other) noexcept;
  AppendFile& operator=(AppendFile&& other) noexcept;
  ~AppendFile();

  // All of it has left the process when this returns. `what` is what an error calls it.
  void append(std::span<const std::uint8_t> bytes, const std::string& what);
  void sync();
  [[nodiscard]] const std::string& name() const { return name_; }

 private:
  explicit AppendFile(const std::filesystem::path& path);

  std::string name_;
  int fd_ = -1;
};

}  // namespace lastmile
