// SPDX-License-Identifier: Apache-2.0
// Files as bytes: whole-file reads (plain or gzip) under a size limit, atomic writes, checksums.
// Every failure is lastmile::Error (input) that names the file and the operating system's reason.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace lastmile {

// Largest file (after decompression) that is read unless the caller says otherwise: 2 GiB.
inline constexpr std::size_t kDefaultReadLimit = std::size_t{1} << 31;

// The whole file as it is on disk. Error if it is missing, not a regular file, or larger than
// `limit` bytes.
std::vector<std::uint8_t> read_file(const std::filesystem::path& path,
                                    std::size_t limit = kDefaultReadLimit);

// The whole file; if it starts with the gzip magic 1f 8b (whatever its name), its decompressed
// content.
std::vector<std::uint8_t> read_file_maybe_gzip(const std::filesystem::path& path,
                                               std::size_t limit = kDefaultReadLimit);

// The whole file as text (not decompressed, line ends untouched).
std::string read_text_file(const std::filesystem::path& path,
                           std::size_t limit = std::size_t{64} << 20);

// Decompresses one or more gzip members. `name` is what errors call the data. Error on a truncated
// or corrupt member, on bytes after the last member, and when the result would exceed `limit`
// bytes.
std::vector<std::uint8_t> gunzip(std::span<const std::uint8_t> bytes, const std::string& name,
                                 std::size_t limit = kDefaultReadLimit);

// One gzip member without time stamp or name, so that equal input gives equal bytes.
std::vector<std::uint8_t> gzip(std::span<const std::uint8_t> bytes, int level = 6);

[[nodiscard]] bool is_gzip(std::span<const std::uint8_t> bytes) noexcept;

// Its first bytes, fewer if it has no more; none if it cannot be read or is no regular file.
std::vector<std::uint8_t> read_beginning(const std::filesystem::path& path, std::size_t bytes);

enum class FileKind {
  none,  // nothing has this name, or a link to nothing
  file,  // regular
  folder,
  stream,  // character devices and FIFOs: written to, never replaced
  other,
};
// Of what the name leads to. Error(input) where that cannot be seen.
[[nodiscard]] FileKind kind_of(const std::filesystem::path& path);
// Where a chain of links ends, existing or not; the path itself if it is none. Error(input) on a
// circle.
[[nodiscard]] std::filesystem::path link_target(const std::filesystem::path& path);

// The folder and those it is in, where they are not there yet. Error(input) if that cannot be.
void make_folder(const std::filesystem::path& folder);

// Error(input) if write_file_atomic could not begin to write there: asked before the work whose
// result it is. Nothing for an empty path.
void require_writable(const std::filesystem::path& path);

// A name in the folder of the file that `path` leads to: that file's and `suffix`, or a digest of
// it where that would be too long a name.
[[nodiscard]] std::filesystem::path beside(const std::filesystem::path& path,
                                           std::string_view suffix);
// The file that takes the new content of `path` until it is whole.
[[nodiscard]] std::filesystem::path part_of(const std::filesystem::path& path);

// Writes a file of its own in the same folder (`<name>.part`, used again if a killed process left
// one), fsyncs it if `durable`, and renames it over `path`; the folder is fsynced too if `durable`.
// A reader sees the old content or the new, never a part. On failure `path` is untouched and the
// other file removed. Links are followed, so that they survive, also those to a file that is not
// there yet. Character devices and FIFOs are written to, names of stdout (/dev/stdout) mean where
// results go; other devices and folders are refused.
void write_file_atomic(const std::filesystem::path& path, std::span<const std::uint8_t> bytes,
                       bool durable = true);
void write_file_atomic(const std::filesystem::path& path, std::string_view text,
                       bool durable = true);

// CRC-32 (IEEE 802.3, as gzip and PNG use it); pass the result of a first part as `start` to
// continue.
[[nodiscard]] std::uint32_t crc32(std::span<const std::uint8_t> bytes, std::uint32_t start = 0);
// XXH64 of the bytes.
[[nodiscard]] std::uint64_t xxh64(std::span<const std::uint8_t> bytes, std::uint64_t seed = 0);

// Throws Error(input), naming text, line and byte, if the text is not UTF-8 (RFC 3629). For parsers
// of TOML: toml11 3.7.1 reads beyond its buffer when it reports a bad sequence.
void require_utf8(std::string_view text, const std::string& name);

// The bytes of any contiguous range of trivially copyable values, for the functions above.
template <class T, std::size_t N>
[[nodiscard]] std::span<const std::uint8_t> bytes_of(std::span<T, N> values) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  return {reinterpret_cast<const std::uint8_t*>(values.data()), values.size_bytes()};
}

}  // namespace lastmile
