// SPDX-License-Identifier: Apache-2.0
// The journal: what was appended is read back; every corruption is reported with its place; a torn
// tail is not an error.
#include <doctest/doctest.h>
#include <unistd.h>

#include <bit>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/trainer/journal.hpp"

namespace lastmile {
namespace {

struct TempDir {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("lastmile-journal-" + std::to_string(::getpid()));
  TempDir() { std::filesystem::create_directories(path); }
  ~TempDir() { std::filesystem::remove_all(path); }
};

RunConfig config(int pairs) {
  RunConfig c;
  c.base_digest = 0x0123456789abcdefULL;
  c.data_digest = ~std::uint64_t{0};
  c.forward.seed = 42;
  c.forward.pairs = pairs;
  c.tensors = {{0, 1.5, 0.25, 256}, {3, 1e-3, 1e6, 26}};
  return c;
}

JournalRecord record(std::uint32_t step, int pairs) {
  JournalRecord r{step,
                  0x00018000u + step,
                  {},
                  (std::int64_t{1} << 40) - step,
                  std::uint64_t{0x123456789a} + step};
  for (int p = 0; p < pairs; ++p)
    r.coefficients.push_back(static_cast<std::int8_t>((static_cast<int>(step) + p) % 3 - 1));
  return r;
}

std::vector<std::uint8_t> written(const std::filesystem::path& path, int pairs,
                                  std::uint32_t steps) {
  auto w = JournalWriter::create(path, config(pairs));
  for (std::uint32_t s = 0; s < steps; ++s) w.append(record(s, pairs));
  return read_file(path);
}

void put32(std::vector<std::uint8_t>& to, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) to.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
}

// A journal as version 1 of the format had it: losses and scale in float32.
std::vector<std::uint8_t> version_1(int pairs, std::uint32_t steps, float loss, float scale) {
  const std::string text = to_text(config(pairs));
  std::vector<std::uint8_t> out = {'L', 'M', 'J', 'R', 'N', 'L', '1', '\n'};
  put32(out, static_cast<std::uint32_t>(text.size()));
  out.insert(out.end(), text.begin(), text.end());
  std::uint32_t chain = crc32(out);
  put32(out, chain);
  for (std::uint32_t s = 0; s < steps; ++s) {
    const JournalRecord r = record(s, pairs);
    std::vector<std::uint8_t> body;
    put32(body, s);
    put32(body, r.step_register);
    for (const std::int8_t c : r.coefficients) body.push_back(static_cast<std::uint8_t>(c));
    put32(body, std::bit_cast<std::uint32_t>(loss));
    put32(body, std::bit_cast<std::uint32_t>(scale));
    chain = crc32(body, chain);
    put32(body, chain);
    out.insert(out.end(), body.begin(), body.end());
  }
  return out;
}

}  // namespace

TEST_CASE("journal: version 1 is read for replay, and refused where a run would go on with it") {
  const TempDir dir;
  const auto bytes = version_1(3, 5, 0.69314718F, 0.5F);
  const Journal j = parse_journal(bytes, "old");
  CHECK(j.version == 1);
  REQUIRE(j.records.size() == 5);
  CHECK_FALSE(j.torn);
  const std::int64_t passes = std::int64_t{2} * 3 * config(3).forward.batch;
  for (std::uint32_t s = 0; s < 5; ++s) {
    CHECK(j.records[s].step_register == record(s, 3).step_register);
    CHECK(j.records[s].coefficients == record(s, 3).coefficients);
    // A loss of ln 2 nats is one bit for every example and pass.
    CHECK(std::abs(j.records[s].loss_sum - (passes << spec::kLossFraction)) < 100);  // of float32
    CHECK(mean_loss(j.records[s], config(3).forward) == doctest::Approx(0.69314718));
  }
  write_file_atomic(dir.path / "old.lmj", std::span<const std::uint8_t>(bytes), false);
  CHECK_THROWS_WITH_AS(JournalWriter::resume(dir.path / "old.lmj", j),
                       doctest::Contains("old.lmj: a journal of version 1: it can be replayed"),
                       Error);
  CHECK(read_file(dir.path / "old.lmj") == bytes);
  const std::vector<std::uint8_t> torn(bytes.begin(), bytes.end() - 1);
  CHECK(parse_journal(torn, "old").records.size() == 4);
  CHECK(parse_journal(torn, "old").torn);
}

TEST_CASE("journal: records come back as they were appended, in 28 bytes plus one per pair") {
  const TempDir dir;
  const auto path = dir.path / "j";
  const auto bytes = written(path, 4, 5);
  const Journal j = read_journal(path);
  CHECK(j.config == config(4));
  REQUIRE(j.records.size() == 5);
  for (std::uint32_t s = 0; s < 5; ++s) CHECK(j.records[s] == record(s, 4));
  CHECK_FALSE(j.torn);
  const auto longer = written(path, 4, 10000);
  CHECK(longer.size() <= 400000);
  CHECK(longer.size() - bytes.size() == 9995 * 32);
}

TEST_CASE(
    "journal: cut anywhere in its records, the whole ones remain and the run continues to the same "
    "bytes") {
  const TempDir dir;
  const auto path = dir.path / "j";
  const auto bytes = written(path, 3, 4);
  const std::size_t size = 31;
  const std::size_t start = bytes.size() - 4 * size;
  for (std::size_t cut = start; cut < bytes.size(); ++cut) {
    const std::vector<std::uint8_t> part(bytes.begin(),
                                         bytes.begin() + static_cast<std::ptrdiff_t>(cut));
    write_file_atomic(path, std::span<const std::uint8_t>(part), false);
    const Journal j = read_journal(path);
    REQUIRE(j.records.size() == (cut - start) / size);
    CHECK(j.torn == ((cut - start) % size != 0));
    auto w = JournalWriter::resume(path, j);
    for (auto s = static_cast<std::uint32_t>(j.records.size()); s < 4; ++s) w.append(record(s, 3));
    REQUIRE(read_file(path) == bytes);
  }
}

TEST_CASE("journal: a flipped bit anywhere, a dropped or swapped record is an error") {
  const TempDir dir;
  const auto bytes = written(dir.path / "j", 2, 4);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    for (const int bit : {0, 3, 7}) {
      auto bad = bytes;
      bad[i] = static_cast<std::uint8_t>(bad[i] ^ (1 << bit));
      CHECK_THROWS_AS(static_cast<void>(parse_journal(bad, "j")), Error);
    }
  }
  auto dropped = bytes;
  dropped.erase(dropped.end() - 2 * 30, dropped.end() - 30);
  CHECK_THROWS_WITH_AS(static_cast<void>(parse_journal(dropped, "j")),
                       doctest::Contains("record 2"), Error);
  auto swapped = bytes;
  std::swap_ranges(swapped.end() - 30, swapped.end(), swapped.end() - 60);
  CHECK_THROWS_AS(static_cast<void>(parse_journal(swapped, "j")), Error);
}

TEST_CASE("journal: the wrong step, pair count or file is refused with its name") {
  const TempDir dir;
  auto w = JournalWriter::create(dir.path / "j", config(2));
  CHECK_THROWS_WITH_AS(w.append(record(1, 2)), doctest::Contains("step is 1, expected 0"), Error);
  CHECK_THROWS_WITH_AS(w.append(record(0, 3)), doctest::Contains("3 coefficients, expected 2"),
                       Error);
  CHECK_THROWS_WITH_AS(JournalWriter::create(dir.path / "k", config(9)),
                       doctest::Contains("pairs is 9"), Error);
  const std::vector<std::uint8_t> text = {'h', 'e', 'l', 'l', 'o'};
  CHECK_THROWS_WITH_AS(static_cast<void>(parse_journal(text, "file.lmj")),
                       doctest::Contains("file.lmj: not a journal"), Error);
}

}  // namespace lastmile
