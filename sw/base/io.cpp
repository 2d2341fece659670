// SPDX-License-Identifier: Apache-2.0
#include "sw/base/io.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/streams.hpp"
#include "sw/base/text.hpp"

namespace lastmile {
namespace {

[[noreturn]] void fail(const std::filesystem::path& path, const std::string& what) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", path.string(), what));
}

std::string reason(int err) { return std::generic_category().message(err); }

// An open file descriptor that closes itself.
class Descriptor {
 public:
  explicit Descriptor(int fd) : fd_(fd) {}
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int get() const { return fd_; }
  // Closes now, so that a delayed write error is seen.
  int close() {
    const int r = ::close(fd_);
    fd_ = -1;
    return r;
  }

 private:
  int fd_;
};

template <class Bytes>
Bytes read_whole(const std::filesystem::path& path, std::size_t limit) {
  // A FIFO without a writer must not hold the program up before it is seen to be none of ours.
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (fd.get() < 0) fail(path, fmt::format("cannot open: {}", reason(errno)));
  struct stat st {};
  if (::fstat(fd.get(), &st) != 0) fail(path, fmt::format("cannot stat: {}", reason(errno)));
  if (S_ISDIR(st.st_mode)) fail(path, "is a folder, expected a file");
  if (!S_ISREG(st.st_mode)) fail(path, "is not a regular file");
  const auto size = static_cast<std::size_t>(st.st_size);
  if (size > limit) fail(path, fmt::format("size {} bytes, expected at most {}", size, limit));
  Bytes bytes;
  bytes.resize(size);
  std::size_t done = 0;
  while (done < size) {
    const ssize_t got = ::read(fd.get(), bytes.data() + done, size - done);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(path, fmt::format("cannot read at byte {}: {}", done, reason(errno)));
    if (got == 0) fail(path, fmt::format("ended at byte {} of {} while being read", done, size));
    done += static_cast<std::size_t>(got);
  }
  return bytes;
}

void write_whole(int fd, std::span<const std::uint8_t> bytes, const std::filesystem::path& path) {
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path, fmt::format("cannot write: {}", reason(errno)));
    done += static_cast<std::size_t>(n);
  }
}

// Whether this is a name of the program's standard output. Its descriptor is not opened by that
// name: it belongs to messages (keep_stdout_for_results).
bool names_stdout(std::filesystem::path path) {
  const std::string own = fmt::format("/proc/{}/fd/1", ::getpid());
  constexpr int kMostLinks = 40;
  for (int i = 0; i < kMostLinks; ++i) {
    const std::filesystem::path at = std::filesystem::absolute(path).lexically_normal();
    for (const char* name : {"/dev/stdout", "/dev/fd/1", "/proc/self/fd/1", own.c_str()})
      if (at == name) return true;
    std::error_code ec;
    const std::filesystem::path to = std::filesystem::read_symlink(at, ec);
    if (ec) return false;
    path = at.parent_path() / to;
  }
  return false;
}

// A terminal, /dev/null or a pipe takes bytes as they come; there is nothing to replace.
void write_stream(const std::filesystem::path& path, std::span<const std::uint8_t> bytes) {
  Descriptor fd(::open(path.c_str(), O_WRONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (fd.get() < 0)
    fail(path, errno == ENXIO ? std::string("is a FIFO that nobody reads")
                              : fmt::format("cannot open: {}", reason(errno)));
  if (::fcntl(fd.get(), F_SETFL, 0) != 0) fail(path, reason(errno));
  write_whole(fd.get(), bytes, path);
  if (fd.close() != 0) fail(path, fmt::format("cannot close: {}", reason(errno)));
}

// The file that takes the new content until it is whole: always the same name, so that one which a
// killed process left behind is used again. Held by a lock: of two writers the second one waits.
class PartFile {
 public:
  explicit PartFile(const std::filesystem::path& target) : path_(part_of(target).string()) {
    for (;;) {
      fd_ = ::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0666);
      if (fd_ < 0) fail(target, fmt::format("cannot create {}: {}", path_, reason(errno)));
      struct stat mine {
      }, named{};
      if (::fstat(fd_, &mine) != 0 || !S_ISREG(mine.st_mode)) {
        close();
        fail(target, fmt::format("cannot create {}: something else has this name", path_));
      }
      while (::flock(fd_, LOCK_EX) != 0 && errno == EINTR) {
      }
      // Whoever held it has renamed or removed it meanwhile? Under another name it is somebody's
      // file: only the name is taken from it.
      const bool mine_still = ::stat(path_.c_str(), &named) == 0 && named.st_ino == mine.st_ino &&
                              named.st_dev == mine.st_dev;
      if (mine_still && named.st_nlink == 1) break;
      if (mine_still && ::unlink(path_.c_str()) != 0)
        fail(target, fmt::format("cannot create {}: {}", path_, reason(errno)));
      close();
    }
    if (::ftruncate(fd_, 0) != 0) fail(target, fmt::format("cannot write: {}", reason(errno)));
  }
  PartFile(const PartFile&) = delete;
  PartFile& operator=(const PartFile&) = delete;
  // Unless it was renamed it is removed, and before the lock ends.
  ~PartFile() {
    if (!renamed_ && fd_ >= 0) ::unlink(path_.c_str());
    close();
  }
  [[nodiscard]] int fd() const { return fd_; }
  void rename_to(const std::filesystem::path& target, const std::filesystem::path& name) {
    if (::rename(path_.c_str(), target.c_str()) != 0)
      fail(name, fmt::format("cannot rename {}: {}", path_, reason(errno)));
    renamed_ = true;
  }

 private:
  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }
  std::string path_;
  int fd_ = -1;
  bool renamed_ = false;
};

}  // namespace

std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::size_t limit) {
  return read_whole<std::vector<std::uint8_t>>(path, limit);
}

std::vector<std::uint8_t> read_file_maybe_gzip(const std::filesystem::path& path,
                                               std::size_t limit) {
  auto bytes = read_file(path, limit);
  return is_gzip(bytes) ? gunzip(bytes, path.string(), limit) : bytes;
}

std::vector<std::uint8_t> read_beginning(const std::filesystem::path& path, std::size_t bytes) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat st {};
  if (fd.get() < 0 || ::fstat(fd.get(), &st) != 0 || !S_ISREG(st.st_mode)) return {};
  std::vector<std::uint8_t> out(bytes);
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t got = ::read(fd.get(), out.data() + done, bytes - done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += static_cast<std::size_t>(got);
  }
  out.resize(done);
  return out;
}

std::string read_text_file(const std::filesystem::path& path, std::size_t limit) {
  return read_whole<std::string>(path, limit);
}

bool is_gzip(std::span<const std::uint8_t> bytes) noexcept {
  return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b;
}

std::vector<std::uint8_t> gunzip(std::span<const std::uint8_t> bytes, const std::string& name,
                                 std::size_t limit) {
  const auto bad = [&](const std::string& what) {
    throw Error(ErrorKind::input, fmt::format("{}: gzip: {}", name, what));
  };
  if (!is_gzip(bytes)) bad("no gzip header, expected bytes 1f 8b");
  z_stream z{};
  if (inflateInit2(&z, 15 + 16) != Z_OK) bad("zlib could not start");
  struct End {
    z_stream* z;
    ~End() { inflateEnd(z); }
  } const end{&z};
  std::vector<std::uint8_t> out;
  std::array<std::uint8_t, 1 << 16> block{};
  std::size_t used = 0;
  while (true) {  // one pass per member
    int r = Z_OK;
    while (r != Z_STREAM_END) {
      const std::size_t take = std::min<std::size_t>(bytes.size() - used, 1U << 30);
      z.next_in = const_cast<Bytef*>(bytes.data() + used);  // zlib's interface is not const-correct
      z.avail_in = static_cast<uInt>(take);
      z.next_out = block.data();
      z.avail_out = static_cast<uInt>(block.size());
      r = inflate(&z, Z_NO_FLUSH);
      used += take - z.avail_in;
      if (r == Z_BUF_ERROR || (r == Z_OK && z.avail_out > 0 && used == bytes.size()))
        bad(fmt::format("truncated after {} compressed bytes ({} decompressed)", used,
                        out.size() + block.size() - z.avail_out));
      if (r != Z_OK && r != Z_STREAM_END)
        bad(fmt::format("corrupt near compressed byte {}: {}", used, z.msg ? z.msg : "bad data"));
      const std::size_t got = block.size() - z.avail_out;
      if (got > limit - out.size())
        bad(fmt::format("decompresses to more than the limit of {} bytes", limit));
      out.insert(out.end(), block.data(), block.data() + got);
    }
    if (used == bytes.size()) return out;
    if (!is_gzip(bytes.subspan(used)))
      bad(fmt::format("{} bytes after the end of the compressed data, expected none",
                      bytes.size() - used));
    inflateReset(&z);
  }
}

std::vector<std::uint8_t> gzip(std::span<const std::uint8_t> bytes, int level) {
  z_stream z{};
  if (bytes.size() > std::numeric_limits<uInt>::max() ||
      deflateInit2(&z, level, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK)
    throw Error(ErrorKind::input, fmt::format("gzip: cannot compress {} bytes", bytes.size()));
  std::vector<std::uint8_t> out(deflateBound(&z, static_cast<uLong>(bytes.size())));
  z.next_in = const_cast<Bytef*>(bytes.data());
  z.avail_in = static_cast<uInt>(bytes.size());
  z.next_out = out.data();
  z.avail_out = static_cast<uInt>(out.size());
  const int r = deflate(&z, Z_FINISH);
  out.resize(z.total_out);
  deflateEnd(&z);
  if (r != Z_STREAM_END) throw Error(ErrorKind::input, "gzip: zlib could not finish");
  return out;
}

std::filesystem::path link_target(const std::filesystem::path& path) {
  constexpr int kMostLinks = 40;
  std::filesystem::path at = path;
  for (int i = 0; i < kMostLinks; ++i) {
    std::error_code ec;
    if (!std::filesystem::is_symlink(std::filesystem::symlink_status(at, ec))) return at;
    const std::filesystem::path to = std::filesystem::read_symlink(at, ec);
    if (ec) fail(path, fmt::format("cannot follow link: {}", ec.message()));
    at = at.parent_path() / to;  // an absolute one replaces it
  }
  fail(path, fmt::format("cannot follow link: more than {} of them", kMostLinks));
}

FileKind kind_of(const std::filesystem::path& path) {
  struct stat st {};
  if (::stat(path.c_str(), &st) != 0) {
    if (errno == ENOENT) return FileKind::none;
    fail(path, fmt::format("cannot stat: {}", reason(errno)));
  }
  if (S_ISREG(st.st_mode)) return FileKind::file;
  if (S_ISDIR(st.st_mode)) return FileKind::folder;
  return S_ISCHR(st.st_mode) || S_ISFIFO(st.st_mode) ? FileKind::stream : FileKind::other;
}

void make_folder(const std::filesystem::path& folder) {
  if (folder.empty()) return;
  std::error_code ec;
  std::filesystem::create_directories(folder, ec);
  if (ec) fail(folder, fmt::format("the folder cannot be made: {}", ec.message()));
}

std::filesystem::path beside(const std::filesystem::path& path, std::string_view suffix) {
  constexpr std::size_t kNameLimit = 255;
  const std::filesystem::path target = link_target(path);
  std::string name = target.filename().string();
  if (name.size() + suffix.size() > kNameLimit)
    name = fmt::format("lastmile-{:016x}", xxh64(bytes_of(std::span(name))));
  return target.parent_path() / (name + std::string(suffix));
}
std::filesystem::path part_of(const std::filesystem::path& path) { return beside(path, ".part"); }

void require_writable(const std::filesystem::path& path) {
  if (path.empty() || names_stdout(path)) return;
  switch (kind_of(path)) {
    case FileKind::folder:
      fail(path, "is a folder, expected a file name");
    case FileKind::other:
      fail(path, "is a device or a socket, expected a file");
    case FileKind::stream:
      if (::access(path.c_str(), W_OK) != 0)
        fail(path, fmt::format("cannot write: {}", reason(errno)));
      return;
    case FileKind::none:
    case FileKind::file:
      break;
  }
  const std::filesystem::path target = link_target(path);
  if (target.filename().empty()) fail(path, "expected a file name");
  const std::filesystem::path folder =
      target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
  if (kind_of(folder) != FileKind::folder)
    fail(path, fmt::format("there is no folder {}", folder.string()));
  const PartFile probe(target);  // permissions, read-only file systems, names too long
}

void write_file_atomic(const std::filesystem::path& path, std::span<const std::uint8_t> bytes,
                       bool durable) {
  if (names_stdout(path)) return write_whole(result_descriptor(), bytes, path);
  const FileKind kind = kind_of(path);
  if (kind == FileKind::folder) fail(path, "is a folder, expected a file name");
  if (kind == FileKind::other) fail(path, "is a device or a socket, expected a file");
  if (kind == FileKind::stream) return write_stream(path, bytes);
  const std::filesystem::path target = link_target(path);
  const std::filesystem::path folder =
      target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
  PartFile part(target);
  // What open(2) would have given, or what the replaced file has.
  struct stat st {};
  const mode_t mask = ::umask(0);
  ::umask(mask);
  const mode_t mode = ::stat(target.c_str(), &st) == 0 ? st.st_mode & 0777U : mode_t{0666U & ~mask};
  if (::fchmod(part.fd(), mode) != 0)
    fail(path, fmt::format("cannot set permissions: {}", reason(errno)));
  write_whole(part.fd(), bytes, path);
  if (durable && ::fsync(part.fd()) != 0) fail(path, fmt::format("cannot sync: {}", reason(errno)));
  // Some file systems tell only when a file is closed that it could not be written.
  const int copy = ::dup(part.fd());
  if (copy >= 0 && ::close(copy) != 0) fail(path, fmt::format("cannot close: {}", reason(errno)));
  part.rename_to(target, path);
  if (durable) {
    const Descriptor dir(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    // Some file systems refuse fsync on a folder; the file itself is already safe.
    if (dir.get() >= 0 && ::fsync(dir.get()) != 0 && errno != EINVAL)
      fail(path, fmt::format("cannot sync folder: {}", reason(errno)));
  }
}

void write_file_atomic(const std::filesystem::path& path, std::string_view text, bool durable) {
  write_file_atomic(path, bytes_of(std::span(text.data(), text.size())), durable);
}

std::uint32_t crc32(std::span<const std::uint8_t> bytes, std::uint32_t start) {
  return static_cast<std::uint32_t>(::crc32_z(start, bytes.data(), bytes.size()));
}

std::uint64_t xxh64(std::span<const std::uint8_t> bytes, std::uint64_t seed) {
  return XXH64(bytes.data(), bytes.size(), seed);
}

void require_utf8(std::string_view text, const std::string& name) {
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t length = utf8_length(text.substr(i));
    if (length == 0)
      throw Error(ErrorKind::input,
                  fmt::format("{}:{}: byte 0x{:02x} at offset {} is not UTF-8", name,
                              1 + std::count(text.begin(),
                                             text.begin() + static_cast<std::ptrdiff_t>(i), '\n'),
                              static_cast<std::uint8_t>(text[i]), i));
    i += length;
  }
}

}  // namespace lastmile
