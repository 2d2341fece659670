// SPDX-License-Identifier: Apache-2.0
#include "sw/base/io.hpp"

#include <fcntl.h>
#include <fmt/format.h>
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

// Removes the temporary file unless the rename has happened.
class Cleanup {
 public:
  explicit Cleanup(std::string path) : path_(std::move(path)) {}
  Cleanup(const Cleanup&) = delete;
  Cleanup& operator=(const Cleanup&) = delete;
  ~Cleanup() {
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void done() { path_.clear(); }

 private:
  std::string path_;
};

template <class Bytes>
Bytes read_whole(const std::filesystem::path& path, std::size_t limit) {
  const Descriptor fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
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

}  // namespace

std::vector<std::uint8_t> read_file(const std::filesystem::path& path, std::size_t limit) {
  return read_whole<std::vector<std::uint8_t>>(path, limit);
}

std::vector<std::uint8_t> read_file_maybe_gzip(const std::filesystem::path& path,
                                               std::size_t limit) {
  auto bytes = read_file(path, limit);
  return is_gzip(bytes) ? gunzip(bytes, path.string(), limit) : bytes;
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

void write_file_atomic(const std::filesystem::path& path, std::span<const std::uint8_t> bytes,
                       bool durable) {
  std::error_code ec;
  std::filesystem::path target = path;
  if (std::filesystem::is_symlink(path, ec)) {
    target = std::filesystem::weakly_canonical(path, ec);
    if (ec) fail(path, fmt::format("cannot follow link: {}", ec.message()));
  }
  if (std::filesystem::is_directory(target, ec)) fail(path, "is a folder, expected a file name");
  const std::filesystem::path folder =
      target.has_parent_path() ? target.parent_path() : std::filesystem::path(".");
  std::string temp = target.string() + ".XXXXXX";
  Descriptor fd(::mkostemp(temp.data(), O_CLOEXEC));
  if (fd.get() < 0) fail(path, fmt::format("cannot create {}: {}", temp, reason(errno)));
  Cleanup cleanup(temp);
  // mkostemp creates 0600; give what open(2) would have given, or what the replaced file has.
  struct stat st {};
  const bool replaces = ::stat(target.c_str(), &st) == 0;
  const mode_t mask = ::umask(0);
  ::umask(mask);
  if (::fchmod(fd.get(), replaces ? (st.st_mode & 0777U) : (0666U & ~mask)) != 0)
    fail(path, fmt::format("cannot set permissions: {}", reason(errno)));
  std::size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::write(fd.get(), bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(path, fmt::format("cannot write: {}", reason(errno)));
    done += static_cast<std::size_t>(n);
  }
  if (durable && ::fsync(fd.get()) != 0) fail(path, fmt::format("cannot sync: {}", reason(errno)));
  if (fd.close() != 0) fail(path, fmt::format("cannot close: {}", reason(errno)));
  if (::rename(temp.c_str(), target.c_str()) != 0)
    fail(path, fmt::format("cannot rename {}: {}", temp, reason(errno)));
  cleanup.done();
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
  const auto byte = [&](std::size_t i) { return static_cast<std::uint8_t>(text[i]); };
  for (std::size_t i = 0; i < text.size();) {
    const std::uint8_t lead = byte(i);
    // Overlong forms, surrogates and what lies beyond U+10FFFF show in the second byte.
    std::size_t length = 1;
    std::uint8_t low = 0x80, high = 0xbf;
    if (lead >= 0x80) {
      length = lead >= 0xc2 && lead <= 0xdf ? 2 : (lead & 0xf0) == 0xe0 ? 3 : 4;
      if (lead == 0xe0) low = 0xa0;
      if (lead == 0xed) high = 0x9f;
      if (lead == 0xf0) low = 0x90;
      if (lead == 0xf4) high = 0x8f;
    }
    bool good = (lead < 0x80 || lead >= 0xc2) && lead <= 0xf4 && length <= text.size() - i;
    for (std::size_t k = 1; good && k < length; ++k) {
      good = byte(i + k) >= low && byte(i + k) <= high;
      low = 0x80;
      high = 0xbf;
    }
    if (!good) {
      throw Error(ErrorKind::input,
                  fmt::format("{}:{}: byte 0x{:02x} at offset {} is not UTF-8", name,
                              1 + std::count(text.begin(),
                                             text.begin() + static_cast<std::ptrdiff_t>(i), '\n'),
                              lead, i));
    }
    i += length;
  }
}

}  // namespace lastmile
