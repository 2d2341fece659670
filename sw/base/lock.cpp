// SPDX-License-Identifier: Apache-2.0
#include "sw/base/lock.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <ctime>
#include <string_view>
#include <system_error>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/text.hpp"

namespace lastmile {
namespace {

constexpr std::size_t kHolderLimit = 300;
constexpr std::string_view kHolder = "process ";  // begins what a lock says

constexpr const char* kFolderLock = ".lastmile.lock";

std::string reason(int err) { return std::generic_category().message(err); }

// This process, for whoever finds the lock taken.
std::string self() {
  std::array<char, 256> host{};
  if (::gethostname(host.data(), host.size() - 1) != 0) host[0] = '?';
  const std::time_t now = std::time(nullptr);
  std::tm parts{};
  ::localtime_r(&now, &parts);
  std::array<char, 32> when{};
  std::strftime(when.data(), when.size(), "%Y-%m-%d %H:%M:%S", &parts);
  return fmt::format("{}{} on {} since {}", kHolder, ::getpid(), host.data(), when.data());
}

[[noreturn]] void taken(const std::filesystem::path& what, const std::filesystem::path& lock,
                        bool own_is_other = false) {
  const std::vector<std::uint8_t> text = read_beginning(lock, kHolderLimit);
  std::string who(text.begin(), text.end());
  while (!who.empty() && who.back() == '\n') who.pop_back();
  // Under another name of the file it is this process that holds the lock.
  if (who.rfind(fmt::format("{}{} ", kHolder, ::getpid()), 0) == 0 && own_is_other) who.clear();
  throw Error(ErrorKind::journal,
              fmt::format("{}: in use by {}; expected nobody else to work on it", what.string(),
                          who.empty() ? "another process" : printable(who, kHolderLimit)));
}

// flock without waiting; false if somebody else has it.
bool try_lock(int fd, const std::filesystem::path& what) {
  while (::flock(fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno == EINTR) continue;
    if (errno == EWOULDBLOCK) return false;
    throw Error(ErrorKind::input, fmt::format("{}: cannot lock: {}", what.string(), reason(errno)));
  }
  return true;
}

}  // namespace

struct StateLock::State {
  std::filesystem::path path;
  int fd = -1;
  State(const std::filesystem::path& what, std::filesystem::path lock) : path(std::move(lock)) {
    for (;;) {
      fd = ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
      struct stat mine {
      }, named{};
      if (fd < 0 || ::fstat(fd, &mine) != 0)
        throw Error(ErrorKind::input, fmt::format("{}: cannot create {}: {}", what.string(),
                                                  path.string(), reason(errno)));
      if (!try_lock(fd, what)) {
        ::close(fd);
        taken(what, path);
      }
      // A lock that a killed process left is used again; anything else is somebody's file.
      const std::vector<std::uint8_t> old = read_beginning(path, kHolder.size());
      if (mine.st_nlink > 1 || !std::equal(old.begin(), old.end(), kHolder.begin())) {
        ::close(fd);
        throw Error(ErrorKind::input, fmt::format("{}: cannot create {}: something else has this "
                                                  "name",
                                                  what.string(), path.string()));
      }
      // The one before us removed the file between our open and our lock?
      if (::stat(path.c_str(), &named) == 0 && named.st_ino == mine.st_ino &&
          named.st_dev == mine.st_dev)
        break;
      ::close(fd);
    }
    const std::string text = self() + "\n";
    // For messages only: on a full disk the lock holds all the same.
    if (::ftruncate(fd, 0) != 0 || ::pwrite(fd, text.data(), text.size(), 0) < 0) return;
  }
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    ::unlink(path.c_str());  // while it is locked: nobody else's is removed
    ::close(fd);
  }
};

StateLock::StateLock(std::unique_ptr<State> state) : state_(std::move(state)) {}
StateLock::StateLock(StateLock&&) noexcept = default;
StateLock& StateLock::operator=(StateLock&&) noexcept = default;
StateLock::~StateLock() = default;

StateLock StateLock::of_file(const std::filesystem::path& file) {
  return StateLock(std::make_unique<State>(file, lock_of_file(file)));
}
StateLock StateLock::of_folder(const std::filesystem::path& folder) {
  return StateLock(std::make_unique<State>(folder, lock_of_folder(folder)));
}

std::filesystem::path lock_of_file(const std::filesystem::path& file) {
  return beside(file, ".lock");
}
std::filesystem::path lock_of_folder(const std::filesystem::path& folder) {
  return folder / kFolderLock;
}

void require_free(const std::filesystem::path& folder) {
  const std::filesystem::path lock = lock_of_folder(folder);
  const int fd = ::open(lock.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
  if (fd < 0) return;
  const bool free = try_lock(fd, folder);
  ::close(fd);
  if (!free) taken(folder, lock);
}

void require_free_file(const std::filesystem::path& file) {
  const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return;
  const bool free = try_lock(fd, file);
  ::close(fd);
  if (!free) taken(file, lock_of_file(file), true);
}

void lock_open_file(int fd, const std::filesystem::path& file) {
  if (!try_lock(fd, file)) taken(file, lock_of_file(file), true);
}

}  // namespace lastmile
