// SPDX-License-Identifier: Apache-2.0
// The journal: what was appended is read back; every corruption is reported with its place; a torn
// tail is not an error.
#include <doctest/doctest.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
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
      if (i + 30 + 4 < bytes.size()) {
        CHECK_THROWS_AS(static_cast<void>(parse_journal(bad, "j")), Error);
      } else {  // no whole record behind it: it may never have been written, and is left out
        const Journal j = parse_journal(bad, "j");
        CHECK(j.records.size() == (i + 30 < bytes.size() ? 2 : 3));
        CHECK_FALSE(j.damage.empty());
        CHECK(j.valid_bytes + 30 * (4 - j.records.size()) == bytes.size());
      }
    }
  }
  // Whole records follow.
  const auto longer = written(dir.path / "k", 2, 8);
  auto dropped = longer;
  dropped.erase(dropped.end() - 6 * 30, dropped.end() - 5 * 30);
  CHECK_THROWS_WITH_AS(static_cast<void>(parse_journal(dropped, "j")),
                       doctest::Contains("record 2"), Error);
  auto swapped = longer;
  std::swap_ranges(swapped.end() - 6 * 30, swapped.end() - 5 * 30, swapped.end() - 7 * 30);
  CHECK_THROWS_WITH_AS(static_cast<void>(parse_journal(swapped, "j")),
                       doctest::Contains("record 1"), Error);
}

TEST_CASE("journal: what a power cut leaves at the end is left out, more is refused or salvaged") {
  const TempDir dir;
  const std::uint32_t steps = 600;
  const auto path = dir.path / "j";
  const auto bytes = written(path, 1, steps);
  const std::size_t size = 29;
  const auto damaged = [&](std::size_t from_end, std::size_t count) {
    auto bad = bytes;
    std::fill_n(bad.end() - static_cast<std::ptrdiff_t>(from_end), count, std::uint8_t{0});
    return bad;
  };
  const auto left = [&](const std::vector<std::uint8_t>& bad, const JournalReading& how) {
    return parse_journal(bad, "j", how).records.size();
  };
  // Zeros up to the end, of at most the records that are not synced.
  for (const std::size_t lost : {1U, 7U, 255U, 256U}) {
    const auto bad = damaged(lost * size, lost * size);
    const Journal j = parse_journal(bad, "j");
    CHECK(j.records.size() == steps - lost);
    CHECK(j.damage.find(fmt::format("record {} ", steps - lost)) == 0);
    write_file_atomic(path, std::span<const std::uint8_t>(bad), false);
    auto w = JournalWriter::resume(path, j);
    for (auto s = static_cast<std::uint32_t>(steps - lost); s < steps; ++s) w.append(record(s, 1));
    CHECK(read_file(path) == bytes);
  }
  const auto more = damaged(257 * size, 257 * size);
  CHECK_THROWS_WITH_AS(static_cast<void>(parse_journal(more, "j")),
                       doctest::Contains("j: record 343 "), Error);
  CHECK(left(more, {.salvage = true}) == 343);
  CHECK(left(more, {.records = 343}) == 343);
  CHECK(parse_journal(more, "j", {.records = 343}).damage.empty());
  CHECK_THROWS_AS(static_cast<void>(parse_journal(more, "j", {.records = 344})), Error);
  // Whole records behind the damage: a lost block, or something that no power cut does.
  CHECK(left(damaged(100 * size, 600), {}) == steps - 100);
  CHECK_THROWS_AS(static_cast<void>(parse_journal(damaged(100 * size, 400), "j")), Error);
  CHECK(left(damaged(100 * size, 400), {.salvage = true}) == steps - 100);
}

TEST_CASE("journal: a record that checks out and holds what no host writes is an error") {
  const TempDir dir;
  const auto refused = [&](std::uint32_t step_register, std::int8_t coefficient, const char* says) {
    {
      auto w = JournalWriter::create(dir.path / "j", config(1));
      w.append(record(0, 1));
      JournalRecord r = record(1, 1);
      r.step_register = step_register;
      r.coefficients[0] = coefficient;
      w.append(r);
    }
    CHECK_THROWS_WITH_AS(static_cast<void>(read_journal(dir.path / "j")), doctest::Contains(says),
                         Error);
  };
  refused(17U << 16 | 40000, 1, "record 1 (byte");
  refused(17U << 16 | 40000, 1, "STEP is 0x119c40, expected a shift of at most 16");
  refused(1U << 22 | 40000, 1, "STEP is 0x409c40");
  refused(40000, -128, "a coefficient is -128, expected at least -127");
}

TEST_CASE("journal: it is not cut where another process appended since it was read") {
  const TempDir dir;
  const auto path = dir.path / "j";
  written(path, 2, 4);
  const Journal before = read_journal(path);
  {
    auto w = JournalWriter::resume(path, before);
    w.append(record(4, 2));
    CHECK_THROWS_WITH_AS(JournalWriter::resume(path, before), doctest::Contains("in use by"),
                         Error);
    CHECK_THROWS_WITH_AS(JournalWriter::create(path, config(2)), doctest::Contains("in use by"),
                         Error);
  }
  CHECK_THROWS_WITH_AS(JournalWriter::resume(path, before), doctest::Contains("when it was read"),
                       Error);
  CHECK(read_journal(path).records.size() == 5);
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

TEST_CASE(
    "journal: an end is a record like any other, the last, and only where examples are held "
    "out") {
  const TempDir dir;
  const auto path = dir.path / "end";
  for (const std::uint32_t every : {0U, 2U}) {
    CAPTURE(every);
    RunConfig c = config(3);
    c.hold_out = 10;
    if (every != 0) c.audit = {every, std::string(64, 'a'), std::string(64, 'b')};
    const std::size_t size = 31 + (every != 0 ? 40 : 0);
    const JournalEnd end{2, -5, std::int64_t{1} << 50};
    std::string before;
    {
      auto w = JournalWriter::create(path, c);
      for (std::uint32_t s = 0; s < 4; ++s) w.append(record(s, 3));
      before = read_journal(path).digest;
      w.append_end(end);
      CHECK_THROWS_WITH_AS(w.append(record(4, 3)), doctest::Contains("after the end"), Error);
    }
    const auto bytes = read_file(path);
    const Journal j = read_journal(path);
    REQUIRE(j.end);
    CHECK(*j.end == end);
    CHECK(j.records.size() == 4);
    CHECK(j.result_step() == 2);
    CHECK(j.digest.empty() == (every == 0));
    if (every != 0) CHECK(j.digest != before);
    CHECK_FALSE(read_journal(path, {.records = 4}).end);
    const auto at = bytes.size() - size;
    CHECK(bytes[at] == 0xff);
    CHECK(bytes[at + 4] == 2);
    // Cut anywhere in it: a journal without an end, which is gone on with.
    for (std::size_t cut = at; cut < bytes.size(); cut += 7) {
      write_file_atomic(
          path, std::vector(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(cut)));
      const Journal torn = read_journal(path);
      CHECK_FALSE(torn.end);
      CHECK(torn.result_step() == 4);
      JournalWriter::resume(path, torn).append_end(end);
      CHECK(read_file(path) == bytes);
    }
    // Nothing may follow.
    auto longer = bytes;
    longer.resize(longer.size() + size);
    CHECK_THROWS_WITH_AS(static_cast<void>(parse_journal(longer, "j")),
                         doctest::Contains("bytes after the end"), Error);
    CHECK(parse_journal(longer, "j", {.salvage = true}).valid_bytes == bytes.size());
    CHECK_THROWS_WITH_AS(JournalWriter::resume(path, j).append(record(4, 3)),
                         doctest::Contains("after the end"), Error);
    if (every != 0) continue;
    // What no run writes: a later best step, numbers where zeros are, an end without hold_out.
    const auto refused = [&](std::size_t byte, std::uint8_t value, const char* what) {
      auto bad = bytes;
      bad[at + byte] = value;
      const std::uint32_t chain = static_cast<std::uint32_t>(
          bad[at - 4] | bad[at - 3] << 8 | bad[at - 2] << 16 | std::uint32_t{bad[at - 1]} << 24);
      const std::uint32_t crc = crc32(std::span(bad).subspan(at, size - 4), chain);
      bad.resize(bad.size() - 4);
      put32(bad, crc);
      CHECK_THROWS_WITH_AS(static_cast<void>(parse_journal(bad, "j")), doctest::Contains(what),
                           Error);
    };
    refused(4, 5, "record 4 (byte");
    refused(4, 5, "the best step is 5, expected at most 4");
    refused(9, 1, "an end with coefficients");
  }
  auto plain = JournalWriter::create(path, config(3));
  CHECK_THROWS_WITH_AS(plain.append_end({}), doctest::Contains("none without hold_out"), Error);
  JournalRecord r = record(0, 3);
  r.step = kEndStep;
  CHECK_THROWS_AS(plain.append(r), Error);
}

}  // namespace lastmile
