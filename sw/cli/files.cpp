// SPDX-License-Identifier: Apache-2.0
#include "sw/cli/files.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <tuple>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/streams.hpp"
#include "sw/trainer/journal.hpp"
#include "sw/trainer/readout_journal.hpp"

namespace lastmile {
namespace {

namespace fs = std::filesystem;

// What makes two names one file: device and inode; of a file that is not there yet, those of its
// folder, and its name.
using Identity = std::tuple<dev_t, ino_t, std::string>;

std::optional<Identity> identity(const fs::path& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) == 0) return Identity{st.st_dev, st.st_ino, ""};
  const fs::path target = link_target(path);
  const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
  if (::stat(folder.c_str(), &st) != 0) return std::nullopt;
  return Identity{st.st_dev, st.st_ino, target.filename().string()};
}

// What a command writes, and what is no example of any data set.
bool is_result(const fs::path& path) {
  if (path.filename() == "index.csv") return false;
  const std::string ending = path.extension().string();
  for (const char* known : {".lmq", ".lmc", ".lmj", ".toml", ".json", ".html", ".svg", ".csv",
                            ".fst", ".onnx", ".tflite"})
    if (ending == known) return true;
  return false;
}

// Whether `file` is a file of the data set in `folder`, under whatever name it lies there: links in
// it are followed. As deep and as many as data sets are, and more.
bool is_part_of(const fs::path& file, const fs::path& folder) {
  constexpr int kDeepest = 16, kMost = 1'000'000;
  const auto wanted = identity(file);
  std::error_code ec;
  fs::recursive_directory_iterator at(folder,
                                      fs::directory_options::follow_directory_symlink |
                                          fs::directory_options::skip_permission_denied,
                                      ec);
  for (int seen = 0; !ec && at != fs::recursive_directory_iterator() && seen < kMost; ++seen) {
    struct stat st {};
    if (::stat(at->path().c_str(), &st) == 0 && S_ISREG(st.st_mode) &&
        Identity{st.st_dev, st.st_ino, ""} == wanted)
      return true;
    if (at.depth() >= kDeepest) at.disable_recursion_pending();
    at.increment(ec);
  }
  return false;
}

void require_file(const fs::path& path) {
  const FileKind kind = kind_of(path);
  if (kind == FileKind::stream || kind == FileKind::other || kind == FileKind::folder)
    throw Error(ErrorKind::input,
                fmt::format("{}: is a device, a pipe, a socket or a folder, expected a file: what "
                            "is written there is read again",
                            path.string()));
}

// Whether there is something to lose.
bool has_content(const fs::path& path) {
  std::error_code none;
  return kind_of(path) == FileKind::file && fs::file_size(path, none) > 0;
}

}  // namespace

Existing existing_of(bool resume, bool overwrite) {
  if (resume && overwrite)
    throw Error(ErrorKind::usage, "--resume and --overwrite: expected one of them");
  return resume ? Existing::resumed : overwrite ? Existing::replaced : Existing::refused;
}

Files::~Files() {
  locks_.clear();
  for (const int fd : streams_) ::close(fd);
  for (auto folder = made_.rbegin(); folder != made_.rend(); ++folder) ::rmdir(folder->c_str());
}

void Files::reads(const std::string& option, const fs::path& path) {
  if (!path.empty()) inputs_.push_back({option, path});
}
void Files::reads_data(const std::string& option, const fs::path& folder) {
  if (!folder.empty()) data_.push_back({option, folder});
}
void Files::writes(const std::string& option, const fs::path& path) {
  if (!path.empty()) outputs_.push_back({option, path});
}

void Files::keeps_journal(const std::string& option, const fs::path& path, Existing found) {
  if (path.empty()) return;
  require_file(path);
  if (found == Existing::refused) {
    journals_to_be_new_.push_back(path);
    refuse_existing();
  }
  if (found == Existing::resumed && has_content(path) && ::access(path.c_str(), W_OK) != 0)
    throw Error(ErrorKind::input, fmt::format("{}: cannot be written to", path.string()));
  journals_.push_back({option, path});
}

void Files::writes_all(const std::string& option, const std::vector<fs::path>& paths) {
  for (const fs::path& path : paths) outputs_.push_back({option, path});
}

void Files::writes_into(const std::string& option, const fs::path& folder,
                        const std::vector<std::string>& names) {
  folders_.push_back({option, folder});
  if (names.empty()) locked_folders_.push_back(folder);
  std::vector<fs::path> paths;
  for (const std::string& name : names) paths.push_back(folder / name);
  writes_all(option, paths);
}

void Files::keeps_state(const std::string& option, const fs::path& folder,
                        const std::vector<std::string>& names, Existing found, bool resumes) {
  folders_.push_back({option, folder});
  locked_folders_.push_back(folder);
  for (const std::string& name : names) {
    require_file(folder / name);
    outputs_.push_back({option, folder / name});
  }
  if (found != Existing::refused) return;
  states_to_be_new_.push_back({{option, folder}, names, resumes});
  refuse_existing();
}

void Files::refuse_existing() const {
  for (const fs::path& path : journals_to_be_new_)
    if (has_content(path))
      throw Error(ErrorKind::journal,
                  fmt::format("{}: it exists; expected --resume to go on with it, --overwrite to "
                              "replace it, or another name",
                              path.string()));
  for (const auto& [folder, names, resumes] : states_to_be_new_)
    for (const std::string& name : names)
      if (has_content(folder.path / name))
        throw Error(ErrorKind::journal,
                    fmt::format("{}: it holds an earlier run ({}); expected {}--overwrite to "
                                "replace it, or another folder as {}",
                                folder.path.string(), name,
                                resumes ? "--resume to go on with it, " : "", folder.option));
}

// One by one, so that those which were not there are known.
void Files::make(const Named& folder) {
  fs::path at;
  for (const fs::path& part : folder.path) {
    at /= part;
    if (at.empty() || kind_of(at) == FileKind::folder) continue;
    if (::mkdir(at.c_str(), 0777) == 0) {
      made_.push_back(at);
    } else if (errno != EEXIST || kind_of(at) != FileKind::folder) {
      throw Error(ErrorKind::input,
                  fmt::format("{}: the folder cannot be made: {}", folder.path.string(),
                              std::generic_category().message(errno)));
    }
  }
}

void Files::compare() const {
  const auto refuse = [](const Named& a, const Named& b) {
    throw Error(ErrorKind::usage,
                fmt::format("{} {} and {} {} are one file, expected two", a.option, a.path.string(),
                            b.option, b.path.string()));
  };
  std::vector<Named> written = outputs_;
  written.insert(written.end(), journals_.begin(), journals_.end());
  const std::size_t named = written.size();
  for (std::size_t i = 0; i < named; ++i)
    if (kind_of(written[i].path) != FileKind::stream)
      written.push_back({"the new content of " + written[i].option, part_of(written[i].path)});
  for (const std::vector<Named>* files : {&outputs_, &journals_})
    for (const Named& f : *files)
      if (kind_of(f.path) != FileKind::stream)
        written.push_back({"the lock of " + f.option, lock_of_file(f.path)});
  for (const fs::path& folder : locked_folders_)
    written.push_back({"the lock", lock_of_folder(folder)});
  for (std::size_t i = 0; i < written.size(); ++i) {
    const Named& out = written[i];
    const auto id = identity(out.path);
    if (!id || kind_of(out.path) == FileKind::stream) continue;
    for (const Named& in : inputs_)
      if (identity(in.path) == id) refuse(out, in);
    for (std::size_t k = 0; k < std::min(i, named); ++k)
      if (identity(written[k].path) == id) refuse(out, written[k]);
    for (const auto& [fd, name] :
         {std::pair{result_descriptor(), "stdout"}, std::pair{STDERR_FILENO, "stderr"}}) {
      struct stat st {};
      if (::fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && Identity{st.st_dev, st.st_ino, ""} == *id)
        refuse(out, {"the program's", name});
    }
    if (i >= named) continue;  // <name>.part and <name>.lock that a kill left are nobody's data
    const fs::path target = link_target(out.path);
    for (const Named& in : data_)
      if (kind_of(target) == FileKind::file && !is_result(target) && is_part_of(target, in.path))
        throw Error(ErrorKind::usage,
                    fmt::format("{} {}: it is part of {} {}, expected another "
                                "file",
                                out.option, out.path.string(), in.option, in.path.string()));
  }
}

void Files::open_streams() {
  for (const Named& out : outputs_) {
    struct stat st {};
    if (::stat(out.path.c_str(), &st) != 0 || !S_ISFIFO(st.st_mode)) continue;
    const int fd = ::open(out.path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0 && errno == ENXIO)
      throw Error(ErrorKind::input,
                  fmt::format("{}: is a FIFO that nobody reads", out.path.string()));
    if (fd >= 0) streams_.push_back(fd);
  }
}

void Files::claim() {
  for (const Named& in : inputs_) {
    const FileKind kind = kind_of(in.path);
    if (kind == FileKind::stream || kind == FileKind::other)
      throw Error(ErrorKind::input, fmt::format("{}: is not a regular file", in.path.string()));
    if (kind == FileKind::none)
      throw Error(ErrorKind::input,
                  fmt::format("{}: cannot open: No such file or directory", in.path.string()));
    if (::access(in.path.c_str(), R_OK) != 0)
      throw Error(ErrorKind::input, fmt::format("{}: cannot open: {}", in.path.string(),
                                                std::generic_category().message(errno)));
  }
  for (const Named& folder : folders_) make(folder);
  compare();
  for (const Named& j : journals_) {
    require_writable(j.path);
    locked_files_.push_back(j.path);
  }
  for (const Named& out : outputs_) require_writable(out.path);
  // Whatever two options name alike is locked once.
  const auto lock = [&](const std::vector<fs::path>& paths, auto&& take) {
    for (std::size_t i = 0; i < paths.size(); ++i) {
      bool known = false;
      for (std::size_t k = 0; k < i; ++k) known = known || identity(paths[k]) == identity(paths[i]);
      if (!known) locks_.push_back(take(paths[i]));
    }
  };
  lock(locked_folders_, StateLock::of_folder);
  // A folder that a run works in is its own: nothing else is written there meanwhile.
  for (const std::vector<Named>* files : {&outputs_, &journals_})
    for (const Named& out : *files) {
      const fs::path target = link_target(out.path);
      const fs::path folder = target.has_parent_path() ? target.parent_path() : fs::path(".");
      bool own = false;
      for (const fs::path& mine : locked_folders_) own = own || identity(mine) == identity(folder);
      if (own) continue;
      require_free(folder);
      // Two commands that write one file, or one that appends to what another one replaces.
      const FileKind kind = kind_of(out.path);
      if (files == &journals_ || (kind != FileKind::file && kind != FileKind::none)) continue;
      if (kind == FileKind::file && (is_journal(out.path) || is_readout_journal(out.path)))
        throw Error(ErrorKind::journal, fmt::format("{} {}: it is a journal, expected another file",
                                                    out.option, out.path.string()));
      locked_files_.push_back(out.path);
    }
  lock(locked_files_, StateLock::of_file);
  for (const fs::path& file : locked_files_) require_free_file(file);
  // Once more: who held the lock until now may have written and ended since the first look.
  refuse_existing();
  open_streams();
}

}  // namespace lastmile
