// SPDX-License-Identifier: Apache-2.0
#include "sw/base/append_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/lock.hpp"

namespace lastmile {
namespace {

// What the disk refuses is a bad output, as of every other file; the journal is no worse for it.
bool of_disk(int err) {
  return err == ENOSPC || err == EDQUOT || err == EFBIG || err == EIO || err == EROFS;
}

[[noreturn]] void fail(const std::string& name, const std::string& what, int err) {
  throw Error(of_disk(err) ? ErrorKind::input : ErrorKind::journal,
              fmt::format("{}: {}: {}", name, what, std::generic_category().message(err)));
}

}  // namespace

AppendFile::AppendFile(const std::filesystem::path& path) : name_(path.string()) {
  fd_ = ::open(name_.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC | O_NONBLOCK);
  if (fd_ < 0) fail(name_, "cannot be opened for appending", errno);
  try {
    lock_open_file(fd_, path);
  } catch (...) {
    ::close(fd_);
    throw;
  }
}

AppendFile::AppendFile(AppendFile&& other) noexcept
    : name_(std::move(other.name_)), fd_(std::exchange(other.fd_, -1)) {}
AppendFile& AppendFile::operator=(AppendFile&& other) noexcept {
  std::swap(name_, other.name_);
  std::swap(fd_, other.fd_);
  return *this;
}
AppendFile::~AppendFile() {
  if (fd_ >= 0) ::close(fd_);
}

AppendFile AppendFile::create(const std::filesystem::path& path,
                              std::span<const std::uint8_t> beginning) {
  // Who replaces a file under a process that appends to it loses that process's records.
  std::optional<AppendFile> old;
  if (kind_of(path) == FileKind::file) old.emplace(AppendFile(path));
  write_file_atomic(path, beginning);
  return AppendFile(path);
}

AppendFile AppendFile::open(const std::filesystem::path& path, std::uint64_t size,
                            std::uint64_t valid) {
  AppendFile file(path);
  struct stat st {};
  if (::fstat(file.fd_, &st) != 0) fail(file.name_, "cannot stat", errno);
  if (static_cast<std::uint64_t>(st.st_size) != size)
    throw Error(ErrorKind::journal,
                fmt::format("{}: it has {} bytes, expected the {} that it had when it was read",
                            file.name_, st.st_size, size));
  if (size != valid && ::ftruncate(file.fd_, static_cast<off_t>(valid)) != 0)
    fail(file.name_, "its torn tail cannot be cut off", errno);
  return file;
}

void AppendFile::append(std::span<const std::uint8_t> bytes, const std::string& what) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd_, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(name_, what, errno);
    done += static_cast<std::size_t>(n);
  }
}

void AppendFile::sync() {
  struct stat st {};
  if (::fstat(fd_, &st) == 0 && st.st_nlink == 0)
    throw Error(ErrorKind::journal,
                fmt::format("{}: it was removed or replaced while records were appended", name_));
  if (::fdatasync(fd_) != 0) fail(name_, "cannot be synced", errno);
}

}  // namespace lastmile
