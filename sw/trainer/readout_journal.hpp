// SPDX-License-Identifier: Apache-2.0
// The journal of a run with readouts. Their steps depend on the data, so it cannot be the seeds
// alone: it holds the rate that the search chose and the readouts' weights every so many steps. A
// run that is killed at any instant continues from the last snapshot in the same bits; a finished
// one is replayed from the base network and the snapshot that its end names, without data.
//
// File layout, little endian:
//   magic "LMRDOT1\n", uint32 header bytes, JSON header (text), uint32 CRC-32 of all before it
//   then records: uint32 kind, uint32 step, uint32 payload bytes, payload, uint32 CRC-32
//     kind 1, the choice:  JSON {"rate": index, "losses": [nats]}
//     kind 2, a snapshot:  float64 loss of the last batch, float64 loss and int64 correct answers
//     on
//                          the examples held out, then the weights: int32 (fixed point) or float32
//     kind 3, the end:     JSON {"step": of the snapshot that is the result}
// The CRC of a record continues that of the record (or header) before it, as in sw/trainer/journal.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace lastmile {

// Weights of the last layer, row by row: integers of the NPU, or the bits of float32 values.
using ReadoutWeights = std::vector<std::int32_t>;

struct ReadoutChoice {
  int rate = 0;                // index of the candidate, 0 the largest
  std::vector<double> losses;  // of each candidate on the held-out examples, nats
  friend bool operator==(const ReadoutChoice&, const ReadoutChoice&) = default;
};

struct ReadoutSnapshot {
  std::uint32_t step = 0;  // steps done
  double loss = 0;         // of the last batch
  double held_loss = 0;
  std::int64_t held_correct = 0;
  ReadoutWeights weights;
  friend bool operator==(const ReadoutSnapshot&, const ReadoutSnapshot&) = default;
};

struct ReadoutJournal {
  nlohmann::json header;  // seed, digests and options: what a continuation must agree with
  std::optional<ReadoutChoice> choice;
  std::vector<ReadoutSnapshot> snapshots;
  std::optional<std::uint32_t> end;  // step of the snapshot that is the result
  std::string digest;                // SHA-256 of all that is whole, hexadecimal
  std::uint64_t valid_bytes = 0;
  std::uint64_t file_bytes = 0;  // of the file as it was read
  bool torn = false;             // an incomplete record followed
  std::string damage;            // what follows instead and was left out; empty: nothing
};

// An incomplete record at the very end is dropped, and so is a damaged last one (`damage`): it was
// not synced yet. Anything else that does not check out is Error(journal) naming the file, the
// record and the field; with `salvage` all before it is kept.
[[nodiscard]] ReadoutJournal read_readout_journal(const std::filesystem::path& path,
                                                  bool salvage = false);
[[nodiscard]] ReadoutJournal parse_readout_journal(std::span<const std::uint8_t> bytes,
                                                   const std::string& name, bool salvage = false);
// Whether a file begins as such a journal does.
[[nodiscard]] bool is_readout_journal(const std::filesystem::path& path);

// Every record has left the process, and is on stable storage, when its call returns.
class ReadoutJournalWriter {
 public:
  static ReadoutJournalWriter create(const std::filesystem::path& path,
                                     const nlohmann::json& header);
  // Continues `journal`, which was read from `path`; a torn tail is cut off first.
  static ReadoutJournalWriter resume(const std::filesystem::path& path,
                                     const ReadoutJournal& journal);

  ReadoutJournalWriter(ReadoutJournalWriter&&) noexcept;
  ReadoutJournalWriter& operator=(ReadoutJournalWriter&&) noexcept;
  ~ReadoutJournalWriter();

  void append(const ReadoutChoice& choice);
  void append(const ReadoutSnapshot& snapshot);
  void append_end(std::uint32_t step);

 private:
  struct State;
  explicit ReadoutJournalWriter(std::unique_ptr<State> state);
  void append(std::uint32_t kind, std::uint32_t step, std::span<const std::uint8_t> payload);
  std::unique_ptr<State> state_;
};

}  // namespace lastmile
