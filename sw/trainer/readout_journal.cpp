// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/readout_journal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <string_view>
#include <utility>

#include "sw/base/append_file.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/sha256.hpp"
#include "sw/trainer/header_fields.hpp"

namespace lastmile {
namespace {

constexpr std::string_view kMagic = "LMRDOT1\n";
constexpr std::size_t kHeaderLimit = std::size_t{1} << 20;
constexpr std::size_t kRecordHeader = 12, kSnapshotHeader = 24;
enum Kind : std::uint32_t { kChoice = 1, kSnapshot = 2, kEnd = 3 };

template <class T>
void put(std::vector<std::uint8_t>& to, const T& value) {
  const auto* p = reinterpret_cast<const std::uint8_t*>(&value);
  to.insert(to.end(), p, p + sizeof value);
}

template <class T>
T get(std::span<const std::uint8_t> from, std::size_t at) {
  T value;
  std::memcpy(&value, from.data() + at, sizeof value);
  return value;
}

class Parser {
 public:
  Parser(std::span<const std::uint8_t> bytes, const std::string& name, bool salvage)
      : bytes_(bytes), name_(name), salvage_(salvage) {}

  ReadoutJournal parse() {
    header();
    try {
      while (record()) ++index_;
    } catch (const Error& e) {
      // Every record is synced before the next is begun: what a power cut takes is the last one.
      if (!salvage_ && !last_) throw;
      journal_.damage = std::string(e.what()).substr(name_.size() + 2);
    }
    journal_.valid_bytes = at_;
    journal_.digest = hex(Sha256().update(bytes_.first(at_)).digest());
    journal_.file_bytes = bytes_.size();
    journal_.torn = journal_.damage.empty() && at_ != bytes_.size();
    return std::move(journal_);
  }

 private:
  [[noreturn]] void bad(const std::string& what) const {
    fail_journal(name_, fmt::format("record {} (byte {}): {}", index_, at_, what));
  }

  void header() {
    if (bytes_.size() < kMagic.size() + 4 ||
        std::memcmp(bytes_.data(), kMagic.data(), kMagic.size()) != 0)
      fail_journal(name_, "not a journal of readouts: the first bytes are not \"LMRDOT1\\n\"");
    const std::size_t text = get<std::uint32_t>(bytes_, kMagic.size()), from = kMagic.size() + 4;
    if (text > kHeaderLimit || from + text + 4 > bytes_.size())
      fail_journal(name_, fmt::format("header says {} bytes, the file has {}: truncated header",
                                      text, bytes_.size()));
    at_ = from + text + 4;
    crc_ = crc32(bytes_.first(at_ - 4));
    if (crc_ != get<std::uint32_t>(bytes_, at_ - 4))
      fail_journal(name_, fmt::format("header checksum is {:#010x}, expected {:#010x}",
                                      get<std::uint32_t>(bytes_, at_ - 4), crc_));
    journal_.header = json_of(bytes_.subspan(from, text), "header");
  }

  [[nodiscard]] nlohmann::json json_of(std::span<const std::uint8_t> text, const char* what) const {
    auto j = nlohmann::json::parse(text.begin(), text.end(), nullptr, false);
    if (!j.is_object()) fail_journal(name_, fmt::format("{}: not a JSON object", what));
    return j;
  }

  // False at the end, or before a record that is not whole.
  bool record() {
    if (bytes_.size() - at_ < kRecordHeader) return false;
    const auto kind = get<std::uint32_t>(bytes_, at_), step = get<std::uint32_t>(bytes_, at_ + 4);
    const std::size_t size = get<std::uint32_t>(bytes_, at_ + 8);
    if (size > bytes_.size() - at_ - kRecordHeader ||
        bytes_.size() - at_ - kRecordHeader - size < 4)
      return false;
    const auto whole = bytes_.subspan(at_, kRecordHeader + size);
    const std::uint32_t crc = crc32(whole, crc_);
    const auto found = get<std::uint32_t>(bytes_, at_ + whole.size());
    if (crc != found) {
      // Zeros from here on are a block that was never written, whatever size they would mean.
      last_ = at_ + whole.size() + 4 == bytes_.size() ||
              std::all_of(bytes_.begin() + static_cast<std::ptrdiff_t>(at_), bytes_.end(),
                          [](std::uint8_t b) { return b == 0; });
      bad(fmt::format("checksum is {:#010x}, expected {:#010x}", found, crc));
    }
    take(kind, step, whole.subspan(kRecordHeader));
    crc_ = crc;
    at_ += whole.size() + 4;
    return true;
  }

  void take(std::uint32_t kind, std::uint32_t step, std::span<const std::uint8_t> payload) {
    if (journal_.end) bad("it follows the end, expected nothing");
    try {
      if (kind == kChoice) {
        const auto j = json_of(payload, "choice");
        if (journal_.choice) bad("a second choice of the rate, expected one");
        journal_.choice = {j.at("rate").get<int>(), j.at("losses").get<std::vector<double>>()};
      } else if (kind == kSnapshot) {
        snapshot(step, payload);
      } else if (kind == kEnd) {
        journal_.end = json_of(payload, "end").at("step").get<std::uint32_t>();
        bool known = false;
        for (const ReadoutSnapshot& s : journal_.snapshots)
          known = known || s.step == *journal_.end;
        if (!known) bad(fmt::format("step is {}, expected that of a snapshot", *journal_.end));
      } else {
        bad(fmt::format("kind is {}, expected 1, 2 or 3", kind));
      }
    } catch (const nlohmann::json::exception& e) {
      bad(e.what());
    }
  }

  void snapshot(std::uint32_t step, std::span<const std::uint8_t> payload) {
    if (!journal_.choice) bad("a snapshot before the choice of the rate");
    if (payload.size() < kSnapshotHeader || (payload.size() - kSnapshotHeader) % 4 != 0)
      bad(fmt::format("a snapshot of {} bytes", payload.size()));
    ReadoutSnapshot s;
    s.step = step;
    s.loss = get<double>(payload, 0);
    s.held_loss = get<double>(payload, 8);
    s.held_correct = get<std::int64_t>(payload, 16);
    s.weights.resize((payload.size() - kSnapshotHeader) / 4);
    if (!s.weights.empty())
      std::memcpy(s.weights.data(), payload.data() + kSnapshotHeader, 4 * s.weights.size());
    if (!journal_.snapshots.empty()) {
      if (step <= journal_.snapshots.back().step)
        bad(fmt::format("step is {}, expected more than {}", step, journal_.snapshots.back().step));
      if (s.weights.size() != journal_.snapshots.back().weights.size())
        bad(fmt::format("{} weights, expected {}", s.weights.size(),
                        journal_.snapshots.back().weights.size()));
    }
    journal_.snapshots.push_back(std::move(s));
  }

  std::span<const std::uint8_t> bytes_;
  const std::string& name_;
  ReadoutJournal journal_;
  std::size_t at_ = 0, index_ = 0;
  std::uint32_t crc_ = 0;
  bool salvage_ = false, last_ = false;  // last_: nothing follows the record that is damaged
};

}  // namespace

ReadoutJournal parse_readout_journal(std::span<const std::uint8_t> bytes, const std::string& name,
                                     bool salvage) {
  return Parser(bytes, name, salvage).parse();
}

ReadoutJournal read_readout_journal(const std::filesystem::path& path, bool salvage) {
  return parse_readout_journal(read_file(path), path.string(), salvage);
}

bool is_readout_journal(const std::filesystem::path& path) {
  const std::vector<std::uint8_t> first = read_beginning(path, kMagic.size());
  return std::string_view(reinterpret_cast<const char*>(first.data()), first.size()) == kMagic;
}

struct ReadoutJournalWriter::State {
  AppendFile file;
  std::uint32_t crc = 0;
};

ReadoutJournalWriter::ReadoutJournalWriter(std::unique_ptr<State> state)
    : state_(std::move(state)) {}
ReadoutJournalWriter::ReadoutJournalWriter(ReadoutJournalWriter&&) noexcept = default;
ReadoutJournalWriter& ReadoutJournalWriter::operator=(ReadoutJournalWriter&&) noexcept = default;
ReadoutJournalWriter::~ReadoutJournalWriter() = default;

ReadoutJournalWriter ReadoutJournalWriter::create(const std::filesystem::path& path,
                                                  const nlohmann::json& header) {
  const std::string text = header.dump();
  std::vector<std::uint8_t> bytes(kMagic.begin(), kMagic.end());
  put(bytes, static_cast<std::uint32_t>(text.size()));
  bytes.insert(bytes.end(), text.begin(), text.end());
  const std::uint32_t crc = crc32(bytes);
  put(bytes, crc);
  return ReadoutJournalWriter(std::make_unique<State>(State{AppendFile::create(path, bytes), crc}));
}

ReadoutJournalWriter ReadoutJournalWriter::resume(const std::filesystem::path& path,
                                                  const ReadoutJournal& journal) {
  auto state = std::make_unique<State>(
      State{AppendFile::open(path, journal.file_bytes, journal.valid_bytes)});
  const std::vector<std::uint8_t> bytes = read_file(path);
  if (bytes.size() != journal.valid_bytes)
    fail_journal(state->file.name(), "it changed while being opened");
  state->crc = get<std::uint32_t>(bytes, bytes.size() - 4);
  return ReadoutJournalWriter(std::move(state));
}

void ReadoutJournalWriter::append(std::uint32_t kind, std::uint32_t step,
                                  std::span<const std::uint8_t> payload) {
  State& s = *state_;
  std::vector<std::uint8_t> image;
  put(image, kind);
  put(image, step);
  put(image, static_cast<std::uint32_t>(payload.size()));
  image.insert(image.end(), payload.begin(), payload.end());
  s.crc = crc32(image, s.crc);
  put(image, s.crc);
  s.file.append(image, fmt::format("record of step {}", step));
  s.file.sync();
}

void ReadoutJournalWriter::append(const ReadoutChoice& choice) {
  const std::string text = nlohmann::json{{"rate", choice.rate}, {"losses", choice.losses}}.dump();
  append(kChoice, 0, bytes_of(std::span(text)));
}

void ReadoutJournalWriter::append(const ReadoutSnapshot& snapshot) {
  std::vector<std::uint8_t> payload;
  put(payload, snapshot.loss);
  put(payload, snapshot.held_loss);
  put(payload, snapshot.held_correct);
  const auto weights = bytes_of(std::span(snapshot.weights));
  payload.insert(payload.end(), weights.begin(), weights.end());
  append(kSnapshot, snapshot.step, payload);
}

void ReadoutJournalWriter::append_end(std::uint32_t step) {
  const std::string text = nlohmann::json{{"step", step}}.dump();
  append(kEnd, step, bytes_of(std::span(text)));
}

}  // namespace lastmile
