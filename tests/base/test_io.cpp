// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <string>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/lock.hpp"
#include "sw/base/rng.hpp"
#include "tests/base/temp_dir.hpp"

using lastmile::testing::error_of;
using lastmile::testing::TempDir;
namespace fs = std::filesystem;

namespace {

std::vector<std::uint8_t> noise(std::size_t n, std::uint64_t seed) {
  lastmile::Rng rng(seed);
  std::vector<std::uint8_t> v(n);
  for (auto& b : v) b = static_cast<std::uint8_t>(rng.below(7));
  return v;
}

}  // namespace

TEST_CASE("base: a file comes back as it was written, plain or gzip") {
  const TempDir dir;
  const auto data = noise(300000, 1);
  lastmile::write_file_atomic(dir / "plain", data);
  lastmile::write_file_atomic(dir / "packed", lastmile::gzip(data));
  CHECK(lastmile::read_file(dir / "plain") == data);
  CHECK(lastmile::read_file_maybe_gzip(dir / "plain") == data);
  CHECK(lastmile::read_file_maybe_gzip(dir / "packed") == data);
  CHECK(lastmile::read_file(dir / "packed").size() < data.size());
  const std::vector<std::uint8_t> none;
  lastmile::write_file_atomic(dir / "none", none);
  CHECK(lastmile::read_file_maybe_gzip(dir / "none").empty());
  CHECK(lastmile::gunzip(lastmile::gzip(none), "none").empty());
}

TEST_CASE("base: gzip members are joined; truncated, corrupt and trailing bytes are errors") {
  const auto a = noise(100000, 2);
  const auto b = noise(10, 3);
  auto packed = lastmile::gzip(a);
  const auto second = lastmile::gzip(b);
  auto both = packed;
  both.insert(both.end(), second.begin(), second.end());
  auto joined = a;
  joined.insert(joined.end(), b.begin(), b.end());
  CHECK(lastmile::gunzip(both, "x") == joined);

  // Every proper prefix of a small member is an error.
  for (std::size_t n = 0; n < second.size(); ++n) {
    CAPTURE(n);
    CHECK(error_of([&] {
            lastmile::gunzip(std::span(second).first(n), "cut.gz");
          }).find("cut.gz: gzip: ") == 0);
  }
  packed.resize(packed.size() - 1);
  CHECK(error_of([&] { lastmile::gunzip(packed, "x"); }).find("truncated") != std::string::npos);
  auto corrupt = lastmile::gzip(a);
  corrupt[corrupt.size() - 6] ^= 1;  // the stored CRC
  CHECK(error_of([&] { lastmile::gunzip(corrupt, "x"); }).find("corrupt") != std::string::npos);
  auto trailing = lastmile::gzip(a);
  trailing.push_back(0);
  CHECK(error_of([&] { lastmile::gunzip(trailing, "x"); }).find("1 bytes after the end") !=
        std::string::npos);
}

TEST_CASE("base: a small gzip file cannot fill the memory") {
  const std::vector<std::uint8_t> zeros(1 << 20);
  const auto packed = lastmile::gzip(zeros);
  CHECK(packed.size() < 4096);
  CHECK(error_of([&] {
          lastmile::gunzip(packed, "bomb", zeros.size() - 1);
        }).find("more than the limit of 1048575 bytes") != std::string::npos);
  CHECK(lastmile::gunzip(packed, "fits", zeros.size()).size() == zeros.size());
}

TEST_CASE("base: unreadable files are named with the reason") {
  const TempDir dir;
  CHECK(error_of([&] {
          lastmile::read_file(dir / "missing");
        }).find("missing: cannot open: No such") != std::string::npos);
  CHECK(error_of([&] { lastmile::read_file(dir.path()); }).find("is a folder") !=
        std::string::npos);
  lastmile::write_file_atomic(dir / "four", std::string_view("abcd"));
  CHECK(error_of([&] {
          lastmile::read_file(dir / "four", 3);
        }).find("size 4 bytes, expected at most 3") != std::string::npos);
}

TEST_CASE("base: an atomic write replaces the file as a whole and leaves nothing beside it") {
  const TempDir dir;
  const auto file = dir / "out.txt";
  lastmile::write_file_atomic(file, std::string_view("first"));
  const auto inode = [&] {
    struct stat st {};
    REQUIRE(::stat(file.c_str(), &st) == 0);
    return st.st_ino;
  };
  // An open descriptor of the old file still sees the old content: it was replaced, not
  // overwritten.
  const fs::path keep = dir / "hard-link";
  fs::create_hard_link(file, keep);
  const auto before = inode();
  fs::permissions(file, fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read);
  lastmile::write_file_atomic(file, std::string_view("second"), false);
  CHECK(inode() != before);
  CHECK(lastmile::read_text_file(file) == "second");
  CHECK(lastmile::read_text_file(keep) == "first");
  CHECK((fs::status(file).permissions() & fs::perms::all) ==
        (fs::perms::owner_read | fs::perms::owner_write | fs::perms::group_read));

  fs::create_symlink(file, dir / "link");
  lastmile::write_file_atomic(dir / "link", std::string_view("third"));
  CHECK(fs::is_symlink(dir / "link"));
  CHECK(lastmile::read_text_file(file) == "third");

  fs::create_directory(dir / "folder");
  CHECK(error_of([&] {
          lastmile::write_file_atomic(dir / "folder", std::string_view("x"));
        }).find("is a folder") != std::string::npos);
  CHECK(error_of([&] {
          lastmile::write_file_atomic(dir / "no" / "such", std::string_view("x"));
        }).find("cannot create") != std::string::npos);
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& e : fs::directory_iterator(dir.path())) ++entries;
  CHECK(entries == 4);  // out.txt, hard-link, link, folder
}

TEST_CASE(
    "base: links are followed to what is not there yet; streams are written to, not replaced") {
  const TempDir dir;
  fs::create_directory(dir / "far");
  fs::create_symlink("far/new", dir / "dangling");
  fs::create_symlink("dangling", dir / "chain");
  lastmile::require_writable(dir / "chain");
  lastmile::write_file_atomic(dir / "chain", std::string_view("x"));
  CHECK(fs::is_symlink(dir / "chain"));
  CHECK(fs::is_symlink(dir / "dangling"));
  CHECK(lastmile::read_text_file(dir / "far" / "new") == "x");
  fs::create_symlink("loop", dir / "loop");
  fs::create_symlink("no/such", dir / "nowhere");
  for (const char* name : {"loop", "nowhere"}) {
    CAPTURE(name);
    const fs::path file = dir / name;
    CHECK(error_of([&] { lastmile::write_file_atomic(file, std::string_view("x")); }) !=
          "no error");
    CHECK(error_of([&] { lastmile::require_writable(file); }) != "no error");
    CHECK(fs::is_symlink(file));
  }

  const fs::path fifo = dir / "fifo";
  REQUIRE(::mkfifo(fifo.c_str(), 0600) == 0);
  // Neither a reader nor a writer at the other end: an error at once instead of waiting for one.
  CHECK(error_of([&] { lastmile::read_file(fifo); }).find("not a regular file") !=
        std::string::npos);
  CHECK(error_of([&] {
          lastmile::write_file_atomic(fifo, std::string_view("x"));
        }).find("nobody reads") != std::string::npos);
  const int reader = ::open(fifo.c_str(), O_RDONLY | O_NONBLOCK);
  lastmile::write_file_atomic(fifo, std::string_view("through"));
  char text[8] = {};
  CHECK(::read(reader, text, sizeof text) == 7);
  ::close(reader);
  CHECK(std::string(text) == "through");
  CHECK(fs::is_fifo(fifo));
  lastmile::write_file_atomic("/dev/null", std::string_view("x"));
  CHECK(fs::is_character_file("/dev/null"));
}

TEST_CASE("base: the part of a file that a killed process left is used again") {
  const TempDir dir;
  lastmile::write_file_atomic(dir / "out", std::string_view("old"));
  lastmile::write_file_atomic(dir / "out.part", std::string_view("left, and longer"));
  lastmile::write_file_atomic(dir / "out", std::string_view("new"));
  CHECK(lastmile::read_text_file(dir / "out") == "new");
  CHECK_FALSE(fs::exists(dir / "out.part"));
  const fs::path longest = dir / std::string(255, 'n');
  lastmile::write_file_atomic(longest, std::string_view("x"));
  CHECK(lastmile::read_text_file(longest) == "x");
  CHECK(error_of([&] { lastmile::require_writable(dir / std::string(256, 'n')); }) != "no error");
  std::size_t entries = 0;
  for ([[maybe_unused]] const auto& e : fs::directory_iterator(dir.path())) ++entries;
  CHECK(entries == 2);
}

TEST_CASE("base: a state belongs to one at a time, by whatever name, and a lock says to whom") {
  const TempDir dir;
  const fs::path file = dir / "j.lmj";
  const std::string me = "in use by process " + std::to_string(::getpid()) + " on ";
  {
    const auto held = lastmile::StateLock::of_file(file);
    CHECK(error_of([&] { lastmile::StateLock::of_file(file); }).find(me) != std::string::npos);
    fs::create_symlink("j.lmj", dir / "link");
    CHECK(error_of([&] { lastmile::StateLock::of_file(dir / "link"); }).find(me) !=
          std::string::npos);
    const auto other = lastmile::StateLock::of_file(dir / "k.lmj");
    const auto folder = lastmile::StateLock::of_folder(dir.path());
    CHECK(error_of([&] { lastmile::StateLock::of_folder(dir.path()); }).find(me) !=
          std::string::npos);
  }
  CHECK_FALSE(fs::exists(dir / "j.lmj.lock"));
  // Left behind by a process that was killed: nobody holds it.
  lastmile::write_file_atomic(dir / "j.lmj.lock", std::string_view("process 1 on nowhere\n"));
  { const auto again = lastmile::StateLock::of_file(file); }
  CHECK_FALSE(fs::exists(dir / "j.lmj.lock"));
  CHECK(error_of([&] {
          lastmile::StateLock::of_file(dir / "no" / "such");
        }).find("cannot create") != std::string::npos);
}

TEST_CASE("base: checksums are the published ones") {
  const std::string_view text = "123456789";
  const auto bytes = lastmile::bytes_of(std::span(text.data(), text.size()));
  CHECK(lastmile::crc32(bytes) == 0xcbf43926U);
  CHECK(lastmile::crc32(bytes.subspan(4), lastmile::crc32(bytes.first(4))) == 0xcbf43926U);
  CHECK(lastmile::xxh64({}) == 0xef46db3751d8e999U);
}

TEST_CASE("base: text that is not UTF-8 is refused with its line") {
  // Every boundary of RFC 3629, section 4, from both sides.
  for (const std::string_view good :
       {"", "a\x7f", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80",
        "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"}) {
    CHECK_NOTHROW(lastmile::require_utf8(good, "t"));
  }
  for (const std::string_view bad :
       {"\x80", "\xbf", "\xc1\xbf", "\xc2", "\xc2\x7f", "\xc2\xc0", "\xe0\x9f\xbf", "\xe1\x80",
        "\xe1\x80\x7f", "\xed\xa0\x80", "\xf0\x8f\xbf\xbf", "\xf1\x80\x80", "\xf4\x90\x80\x80",
        "\xf5\x80\x80\x80", "\xff"}) {
    CHECK_THROWS_AS(lastmile::require_utf8(bad, "t"), lastmile::Error);
  }
  CHECK_THROWS_WITH_AS(lastmile::require_utf8("a\nb\xff", "t.toml"),
                       "t.toml:2: byte 0xff at offset 3 is not UTF-8", lastmile::Error);
}
