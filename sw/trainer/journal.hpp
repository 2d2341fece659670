// SPDX-License-Identifier: Apache-2.0
// The journal: base weights + the host's few bytes of every step are the adapted model. It is
// appended before an update is applied, so a run that is killed at any instant can be continued and
// ends in the same bits.
//
// File layout, little endian:
//   magic "LMJRNL2\n", uint32 header bytes, header (text: run_config.hpp), uint32 CRC-32 of all
//   before it
//   then one record per step: uint32 step, uint32 STEP register, int8 coefficient [pairs], int64
//   loss sum, uint64 scale, uint32 CRC-32
// The CRC of a record continues the CRC of the record (or header) before it, so records cannot be
// reordered, dropped or taken from another run. 28 bytes + pairs a step: 10,000 steps at m = 4 take
// 320 kB. With an audit (AuditConfig) a record has, before its CRC-32, uint64 digest of the weights
// before the step (0 where the interval asks for none) and a SHA-256 of that of the record before
// it (the first: of all before the header's CRC) and of all bytes of this one before it: 40 more.
// Seeds are not stored: they follow from that of the header by its rule (SeedRule).
//
// Where the header holds out examples (field hold_out), a run that came to its end, or diverged,
// ends the file with a record of the same size: step is 0xFFFFFFFF, the STEP register's field holds
// the number of steps after which the weights are the result, coefficients are 0, the loss sum is
// that of the held-out examples there, the scale's field that at the start (both sums, units of
// LOSS_LO), a digest of weights 0. Its CRC-32 and SHA-256 go on like any record's; nothing follows.
//
// Version 1 ("LMJRNL1\n": float32 mean loss in nats, float32 scale) is read and replayed. It is not
// gone on with: its coefficients came from a rule in floating point.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sw/trainer/run_config.hpp"

namespace lastmile {

struct JournalRecord {
  std::uint32_t step = 0;           // consecutive from 0
  std::uint32_t step_register = 0;  // value of register STEP
  std::vector<std::int8_t> coefficients;
  // Sum of the losses of the step's 2 * pairs passes, units of register LOSS_LO; not needed for
  // replay, kept for the curve.
  std::int64_t loss_sum = 0;
  // What the scaled estimator divides by (0: sign); a continuation goes on with it.
  std::uint64_t scale = 0;
  // Digest of the weights before the step, where an audit wants one.
  std::uint64_t weights = 0;
  bool operator==(const JournalRecord&) const = default;
};

// What a run that held out examples ended with.
struct JournalEnd {
  std::uint32_t best_step = 0;
  std::int64_t best_loss = 0, start_loss = 0;  // sums of the held-out examples, units of LOSS_LO
  bool operator==(const JournalEnd&) const = default;
};
inline constexpr std::uint32_t kEndStep = 0xffffffff;  // `step` of such a record

// Mean loss of the passes of a record, nats, if all examples of the batch have a label.
[[nodiscard]] double mean_loss(const JournalRecord& record, const ForwardGradientOptions& options);

struct Journal {
  int version = 2;  // of the file
  RunConfig config;
  std::vector<JournalRecord> records;
  std::optional<JournalEnd> end;
  // Steps after which the weights are the result: those of the best point, or all.
  [[nodiscard]] std::uint32_t result_step() const {
    return end ? end->best_step : static_cast<std::uint32_t>(records.size());
  }
  std::string digest;             // with an audit: SHA-256 of the last record, hexadecimal
  std::uint64_t valid_bytes = 0;  // length of the prefix that is whole
  std::uint64_t file_bytes = 0;   // of the file as it was read
  bool torn = false;   // an incomplete last record followed (a run was killed while appending)
  std::string damage;  // what follows instead of whole records and was left out; empty: nothing
};

// A power cut can take what was appended but not yet synced: up to so many records at the end.
inline constexpr std::uint32_t kJournalSyncEvery = 256;
// The least a storage device writes or loses at a time.
inline constexpr std::size_t kLostBlock = 512;

struct JournalReading {
  // So many steps are enough: what follows is not looked at, an end neither.
  std::uint32_t records = UINT32_MAX;
  bool salvage = false;  // all before the first damaged one, whatever follows
};

// Error(journal) if steps of this journal can be replayed only: version 1.
void require_current_rule(const Journal& journal, const std::string& name);

// Reads a journal. An incomplete record at the very end is dropped (`torn`). So is a tail that a
// power cut can have left (`damage`): it is at most kJournalSyncEvery records long, and no whole
// record follows what does not check out, or only behind a lost block. Anything else that does not
// check out is Error(journal) naming the file, the record and the field.
// Whether a file begins as a journal of this or the earlier version does.
[[nodiscard]] bool is_journal(const std::filesystem::path& path);
[[nodiscard]] Journal read_journal(const std::filesystem::path& path,
                                   const JournalReading& how = {});
// The same on bytes; `name` is what errors call them.
[[nodiscard]] Journal parse_journal(std::span<const std::uint8_t> bytes, const std::string& name,
                                    const JournalReading& how = {});

// Says on stderr what was left out, if anything was.
void warn_of_damage(const std::string& name, const std::string& damage, std::uint64_t file_bytes,
                    std::uint64_t valid_bytes);

// Appends records; every record has left the process when append returns (the kernel has it:
// SIGKILL cannot take it back), and is on stable storage at the latest `sync_every` records later.
class JournalWriter {
 public:
  // Starts a new file (written whole, then renamed into place; an existing one is replaced, unless
  // another process writes to it: Error(journal)).
  static JournalWriter create(const std::filesystem::path& path, const RunConfig& config);
  // Continues `journal`, which was read from `path`; a torn or damaged tail is cut off first.
  // Error(journal) if another process writes to it, or did since it was read.
  static JournalWriter resume(const std::filesystem::path& path, const Journal& journal);

  JournalWriter(JournalWriter&&) noexcept;
  JournalWriter& operator=(JournalWriter&&) noexcept;
  ~JournalWriter();

  void append(const JournalRecord& record);
  // The last one; only where the configuration holds out examples.
  void append_end(const JournalEnd& end);
  void sync();

 private:
  struct State;
  explicit JournalWriter(std::unique_ptr<State> state);
  void put(const JournalRecord& record, const std::string& what);
  std::unique_ptr<State> state_;
};

}  // namespace lastmile
