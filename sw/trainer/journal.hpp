// SPDX-License-Identifier: Apache-2.0
// The journal: base weights + the host's few bytes of every step are the adapted model. It is
// appended before an update is applied, so a run that is killed at any instant can be continued and
// ends in the same bits.
//
// File layout, little endian:
//   magic "LMJRNL1\n", uint32 header bytes, JSON header (text), uint32 CRC-32 of all before it
//   then one record per step: uint32 step, uint32 STEP register, int8 coefficient [pairs], float32
//   mean loss, float32 scale, uint32 CRC-32
// The CRC of a record continues the CRC of the record (or header) before it, so records cannot be
// reordered, dropped or taken from another run. 20 bytes + pairs a step: 10,000 steps at m = 4 take
// 240 kB. Seeds are not stored: seed of pair j of step k = header seed + k * pairs + j.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

namespace lastmile {

struct JournalHeader {
  std::uint64_t seed = 0;         // of the first pair of step 0
  int pairs = 1;                  // 1..8
  std::uint64_t base_digest = 0;  // xxh64 of the quantized network the run started from
  nlohmann::json config;          // everything else a continuation must agree with
  bool operator==(const JournalHeader&) const = default;
};

struct JournalRecord {
  std::uint32_t step = 0;           // consecutive from 0
  std::uint32_t step_register = 0;  // value of register STEP
  std::vector<std::int8_t> coefficients;
  float loss = 0;  // mean of the step's losses in nats; not needed for replay, kept for the curve
  float scale =
      0;  // what the scaled estimator divides by (0: sign); a continuation goes on with it
  bool operator==(const JournalRecord&) const = default;
};

[[nodiscard]] constexpr std::uint64_t pair_seed(std::uint64_t seed, int pairs, std::uint32_t step,
                                                int pair) {
  return seed + std::uint64_t{step} * static_cast<std::uint64_t>(pairs) +
         static_cast<std::uint64_t>(pair);
}

struct Journal {
  JournalHeader header;
  std::vector<JournalRecord> records;
  std::uint64_t valid_bytes = 0;  // length of the prefix that is whole
  bool torn = false;  // an incomplete last record followed (a run was killed while appending)
};

// Reads a journal. An incomplete record at the very end is dropped (`torn`); anything else that
// does not check out is Error(journal) naming the file, the record and the field.
[[nodiscard]] Journal read_journal(const std::filesystem::path& path);
// The same on bytes; `name` is what errors call them.
[[nodiscard]] Journal parse_journal(std::span<const std::uint8_t> bytes, const std::string& name);

// Appends records; every record has left the process when append returns (the kernel has it:
// SIGKILL cannot take it back), and is on stable storage at the latest `sync_every` records later.
class JournalWriter {
 public:
  // Starts a new file (written whole, then renamed into place; an existing one is replaced).
  static JournalWriter create(const std::filesystem::path& path, const JournalHeader& header);
  // Continues `journal`, which was read from `path`; a torn tail is cut off first.
  static JournalWriter resume(const std::filesystem::path& path, const Journal& journal);

  JournalWriter(JournalWriter&&) noexcept;
  JournalWriter& operator=(JournalWriter&&) noexcept;
  ~JournalWriter();

  void append(const JournalRecord& record);
  void sync();

 private:
  struct State;
  explicit JournalWriter(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace lastmile
