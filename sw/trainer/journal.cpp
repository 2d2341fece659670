// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/journal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <optional>
#include <span>
#include <string_view>
#include <utility>

#include "cmodel/numeric/loss_units.hpp"
#include "cmodel/spec/npu_spec.hpp"
#include "sw/base/append_file.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/sha256.hpp"
#include "sw/base/streams.hpp"
#include "sw/trainer/header_fields.hpp"

namespace lastmile {
namespace {

constexpr std::string_view kMagic = "LMJRNL2\n";
constexpr std::string_view kMagic1 = "LMJRNL1\n";
constexpr std::size_t kHeaderLimit = std::size_t{1} << 20;

void put32(std::vector<std::uint8_t>& to, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) to.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
}

std::uint32_t get32(std::span<const std::uint8_t> from, std::size_t at) {
  std::uint32_t v = 0;
  for (std::size_t i = 0; i < 4; ++i) v |= static_cast<std::uint32_t>(from[at + i]) << (8 * i);
  return v;
}

void put64(std::vector<std::uint8_t>& to, std::uint64_t v) {
  put32(to, static_cast<std::uint32_t>(v));
  put32(to, static_cast<std::uint32_t>(v >> 32));
}

std::uint64_t get64(std::span<const std::uint8_t> from, std::size_t at) {
  return get32(from, at) | static_cast<std::uint64_t>(get32(from, at + 4)) << 32;
}

constexpr std::size_t kDigestBytes = sizeof(Sha256Digest);
constexpr std::size_t kCrcBytes = 4;

std::size_t record_bytes(int version, const RunConfig& config) {
  return (version == 1 ? 20U : 28U) + static_cast<std::size_t>(config.forward.pairs) +
         (config.audit.every != 0 ? sizeof(std::uint64_t) + kDigestBytes : 0U);
}

// Version 1 held mean loss and scale as float32 in nats: here in the units of version 2, for the
// curve.
std::int64_t sum_of_nats(float mean, double examples) {
  const double sum = numeric::loss_sum(static_cast<double>(mean), examples);
  return std::abs(sum) < 0x1p62 ? std::llround(sum) : 0;
}

std::vector<std::uint8_t> header_bytes(const RunConfig& config) {
  const std::string text = to_text(config);
  std::vector<std::uint8_t> out(kMagic.begin(), kMagic.end());
  put32(out, static_cast<std::uint32_t>(text.size()));
  out.insert(out.end(), text.begin(), text.end());
  put32(out, crc32(out));
  return out;
}

// The chain value that the next record continues: the CRC stored in the four bytes before `end`.
std::uint32_t chain_at(std::span<const std::uint8_t> bytes, std::size_t end) {
  return get32(bytes, end - 4);
}

// What the first record continues in an audit.
Sha256Digest header_digest(std::span<const std::uint8_t> header) {
  return Sha256().update(header.first(header.size() - kCrcBytes)).digest();
}

// The SHA-256 that a record continues, or ends in: in front of its CRC.
Sha256Digest digest_at(std::span<const std::uint8_t> bytes, std::size_t end) {
  Sha256Digest out{};
  const auto from = bytes.subspan(end - kCrcBytes - kDigestBytes, kDigestBytes);
  std::copy(from.begin(), from.end(), out.begin());
  return out;
}

// `digest`: with an audit, that of the record before.
std::vector<std::uint8_t> record_image(const JournalRecord& r, std::uint32_t chain,
                                       const Sha256Digest* digest) {
  std::vector<std::uint8_t> out;
  put32(out, r.step);
  put32(out, r.step_register);
  for (const std::int8_t c : r.coefficients) out.push_back(static_cast<std::uint8_t>(c));
  put64(out, static_cast<std::uint64_t>(r.loss_sum));
  put64(out, r.scale);
  if (digest != nullptr) {
    put64(out, r.weights);
    const Sha256Digest own = Sha256().update(*digest).update(out).digest();
    out.insert(out.end(), own.begin(), own.end());
  }
  put32(out, crc32(out, chain));
  return out;
}

// Whether the record at `at` continues the checksum before it.
bool is_whole(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t size) {
  return crc32(bytes.subspan(at, size - 4), chain_at(bytes, at)) == get32(bytes, at + size - 4);
}

// Whether what begins at `at`, where a record does not check out, can be what a power cut left of
// records that were not synced yet. A damaged place that is shorter than a block, with whole
// records behind it, is none: the storage itself must have changed it.
bool may_be_lost(std::span<const std::uint8_t> bytes, std::size_t at, std::size_t size) {
  if (bytes.size() - at > kJournalSyncEvery * size) return false;
  for (std::size_t next = at + size; next + size <= bytes.size(); next += size)
    if (is_whole(bytes, next, size)) return next - at >= kLostBlock;
  return true;
}

// A record may check out and still hold what no host wrote: the NPU would refuse it, or worse.
void check_registers(const JournalRecord& r, const std::string& where) {
  constexpr std::uint32_t kBits = spec::reg::kStepShift.lsb + spec::reg::kStepShift.width;
  const std::uint32_t shift = spec::reg::kStepShift.get(r.step_register);
  if (r.step_register >> kBits != 0 || shift > spec::kStepShiftMax)
    fail_journal(where, fmt::format("STEP is {:#x}, expected a shift of at most {}",
                                    r.step_register, spec::kStepShiftMax));
  for (const std::int8_t c : r.coefficients)
    if (c < -spec::kCoefMax)
      fail_journal(where,
                   fmt::format("a coefficient is {}, expected at least {}", c, -spec::kCoefMax));
}

JournalRecord record_of(const JournalEnd& end, int pairs) {
  return {kEndStep, end.best_step, std::vector<std::int8_t>(static_cast<std::size_t>(pairs)),
          end.best_loss, static_cast<std::uint64_t>(end.start_loss)};
}

// The end that a record is, after `steps` steps.
JournalEnd end_of(const JournalRecord& r, std::size_t steps, const std::string& where) {
  const JournalEnd end{r.step_register, r.loss_sum, static_cast<std::int64_t>(r.scale)};
  if (end.best_step > steps)
    fail_journal(where,
                 fmt::format("the best step is {}, expected at most {}", end.best_step, steps));
  if (r != record_of(end, static_cast<int>(r.coefficients.size())))
    fail_journal(where, "an end with coefficients or a digest of weights, expected zeros");
  return end;
}

}  // namespace

Journal parse_journal(std::span<const std::uint8_t> bytes, const std::string& name,
                      const JournalReading& how) {
  const auto begins_with = [&](std::string_view magic) {
    return bytes.size() >= magic.size() + 4 &&
           std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  };
  if (!begins_with(kMagic) && !begins_with(kMagic1))
    fail_journal(name,
                 "not a journal: the first bytes are not \"LMJRNL2\\n\" (or those of version 1, "
                 "\"LMJRNL1\\n\")");
  const std::size_t text_bytes = get32(bytes, kMagic.size());
  const std::size_t text_at = kMagic.size() + 4;
  if (text_bytes > kHeaderLimit || text_at + text_bytes + 4 > bytes.size())
    fail_journal(name, fmt::format("header says {} bytes, the file has {}: truncated header",
                                   text_bytes, bytes.size()));
  const std::size_t header_end = text_at + text_bytes + 4;
  const std::uint32_t want = crc32(bytes.first(header_end - 4));
  if (want != get32(bytes, header_end - 4))
    fail_journal(name, fmt::format("header checksum is {:#010x}, expected {:#010x}",
                                   get32(bytes, header_end - 4), want));

  Journal journal;
  journal.version = begins_with(kMagic1) ? 1 : 2;
  const auto text = bytes.subspan(text_at, text_bytes);
  journal.config = parse_run_config(std::string(text.begin(), text.end()), name);
  const int pairs = journal.config.forward.pairs;

  const bool audited = journal.config.audit.every != 0;
  if (journal.config.hold_out != 0 && journal.version == 1)
    fail_journal(name,
                 "header: hold_out is a field of version 2, expected none in one of version 1");
  if (audited && journal.version == 1)
    fail_journal(name, "header: audit is a field of version 2, expected none in one of version 1");
  Sha256Digest digest = header_digest(bytes.first(header_end));
  const std::size_t size = record_bytes(journal.version, journal.config);
  std::size_t at = header_end;
  while (!journal.end && at + size <= bytes.size() && journal.records.size() < how.records) {
    const auto body = bytes.subspan(at, size - 4);
    const auto index = static_cast<std::uint32_t>(journal.records.size());
    JournalRecord r;
    r.step = get32(body, 0);
    const bool whole = is_whole(bytes, at, size);
    const bool ends = journal.config.hold_out != 0 && r.step == kEndStep;
    Sha256Digest own{};
    if (audited)
      own = Sha256().update(digest).update(body.first(body.size() - kDigestBytes)).digest();
    if (!whole) {
      journal.damage =
          fmt::format("record {} (byte {}): checksum is {:#010x}, expected {:#010x}", index, at,
                      get32(bytes, at + size - 4), crc32(body, chain_at(bytes, at)));
    } else if (r.step != index && !ends) {
      journal.damage =
          fmt::format("record {} (byte {}): step is {}, expected {}", index, at, r.step, index);
    } else if (audited && own != digest_at(bytes, at + size)) {
      journal.damage = fmt::format("record {} (byte {}): SHA-256 is {}, expected {}", index, at,
                                   hex(digest_at(bytes, at + size)), hex(own));
    }
    if (!journal.damage.empty()) {
      if (!how.salvage && (whole || !may_be_lost(bytes, at, size)))
        fail_journal(
            name, fmt::format("{}; --salvage keeps the {} steps before it", journal.damage, index));
      break;
    }
    r.step_register = get32(body, 4);
    for (int p = 0; p < pairs; ++p)
      r.coefficients.push_back(static_cast<std::int8_t>(body[8 + static_cast<std::size_t>(p)]));
    const std::string where = fmt::format("{}: record {} (byte {})", name, index, at);
    if (!ends) check_registers(r, where);
    const std::size_t rest = 8 + static_cast<std::size_t>(pairs);
    if (journal.version == 1) {
      const double batch = journal.config.forward.batch;
      r.loss_sum = sum_of_nats(std::bit_cast<float>(get32(body, rest)), 2 * pairs * batch);
      r.scale = static_cast<std::uint64_t>(std::max<std::int64_t>(
          0, sum_of_nats(std::bit_cast<float>(get32(body, rest + 4)), batch)));
    } else {
      r.loss_sum = static_cast<std::int64_t>(get64(body, rest));
      r.scale = get64(body, rest + 8);
      if (audited) r.weights = get64(body, rest + 16);
    }
    digest = own;
    if (ends)
      journal.end = end_of(r, journal.records.size(), where);
    else
      journal.records.push_back(std::move(r));
    at += size;
  }
  if (audited) journal.digest = hex(digest);
  journal.valid_bytes = at;
  journal.file_bytes = bytes.size();
  if (journal.end && at != bytes.size()) {
    journal.damage = fmt::format("{} bytes after the end (byte {})", bytes.size() - at, at);
    if (!how.salvage) fail_journal(name, journal.damage + "; --salvage leaves them out");
  }
  // Where no more records were wanted, what follows was not looked at.
  journal.torn =
      journal.damage.empty() && journal.records.size() < how.records && at != bytes.size();
  return journal;
}

double mean_loss(const JournalRecord& record, const ForwardGradientOptions& options) {
  return numeric::mean_nats(record.loss_sum, 2.0 * options.pairs * options.batch);
}

void require_current_rule(const Journal& journal, const std::string& name) {
  if (journal.version == 2) return;
  fail_journal(
      name,
      "a journal of version 1: it can be replayed, but neither continued nor checked, because its "
      "coefficients came from a rule in floating point (found LMJRNL1, expected LMJRNL2)");
}

bool is_journal(const std::filesystem::path& path) {
  const std::vector<std::uint8_t> first = read_beginning(path, kMagic.size());
  const std::string_view text(reinterpret_cast<const char*>(first.data()), first.size());
  return text == kMagic || text == kMagic1;
}

Journal read_journal(const std::filesystem::path& path, const JournalReading& how) {
  return parse_journal(read_file(path), path.string(), how);
}

void warn_of_damage(const std::string& name, const std::string& damage, std::uint64_t file_bytes,
                    std::uint64_t valid_bytes) {
  if (damage.empty()) return;
  warn(fmt::format("{}: {}: the last {} of {} bytes are left out", name, damage,
                   file_bytes - valid_bytes, file_bytes));
}

struct JournalWriter::State {
  AppendFile file;
  int pairs = 0;
  bool holds_out = false;
  std::uint32_t chain = 0;
  std::uint32_t next_step = 0;
  bool ended = false;
  std::uint32_t unsynced = 0;
  std::optional<Sha256Digest> digest = {};  // of the record before; with an audit
};

JournalWriter::JournalWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
JournalWriter::JournalWriter(JournalWriter&&) noexcept = default;
JournalWriter& JournalWriter::operator=(JournalWriter&&) noexcept = default;
JournalWriter::~JournalWriter() = default;

JournalWriter JournalWriter::create(const std::filesystem::path& path, const RunConfig& config) {
  const int pairs = config.forward.pairs;
  if (pairs < 1 || pairs > spec::kMaxPairs)
    fail_journal(path.string(), fmt::format("pairs is {}, expected 1..{}", pairs, spec::kMaxPairs));
  const std::vector<std::uint8_t> bytes = header_bytes(config);
  auto state = std::make_unique<State>(State{AppendFile::create(path, bytes), pairs,
                                             config.hold_out != 0, chain_at(bytes, bytes.size())});
  if (config.audit.every != 0) state->digest = header_digest(bytes);
  return JournalWriter(std::move(state));
}

JournalWriter JournalWriter::resume(const std::filesystem::path& path, const Journal& journal) {
  require_current_rule(journal, path.string());
  auto state =
      std::make_unique<State>(State{AppendFile::open(path, journal.file_bytes, journal.valid_bytes),
                                    journal.config.forward.pairs, journal.config.hold_out != 0});
  state->next_step = static_cast<std::uint32_t>(journal.records.size());
  state->ended = journal.end.has_value();
  const std::vector<std::uint8_t> bytes = read_file(path);
  if (bytes.size() != journal.valid_bytes)
    fail_journal(state->file.name(), "it changed while being opened");
  state->chain = chain_at(bytes, bytes.size());
  if (journal.config.audit.every != 0)
    state->digest = journal.records.empty() && !journal.end ? header_digest(bytes)
                                                            : digest_at(bytes, bytes.size());
  return JournalWriter(std::move(state));
}

void JournalWriter::append(const JournalRecord& record) {
  const State& s = *state_;
  if (record.step != s.next_step)
    fail_journal(s.file.name(),
                 fmt::format("append: step is {}, expected {}", record.step, s.next_step));
  if (record.coefficients.size() != static_cast<std::size_t>(s.pairs))
    fail_journal(s.file.name(), fmt::format("append: {} coefficients, expected {}",
                                            record.coefficients.size(), s.pairs));
  put(record, fmt::format("record {}", record.step));
  ++state_->next_step;
}

void JournalWriter::append_end(const JournalEnd& end) {
  const State& s = *state_;
  if (!s.holds_out || end.best_step > s.next_step)
    fail_journal(
        s.file.name(),
        fmt::format("append: an end with best step {} after {} steps, expected {}", end.best_step,
                    s.next_step, s.holds_out ? "no later one" : "none without hold_out"));
  put(record_of(end, s.pairs), "the end");
  state_->ended = true;
  sync();
}

void JournalWriter::put(const JournalRecord& record, const std::string& what) {
  State& s = *state_;
  if (s.ended) fail_journal(s.file.name(), fmt::format("append: {} after the end", what));
  const std::vector<std::uint8_t> image =
      record_image(record, s.chain, s.digest ? &*s.digest : nullptr);
  s.file.append(image, what);
  s.chain = chain_at(image, image.size());
  if (s.digest) s.digest = digest_at(image, image.size());
  if (++s.unsynced >= kJournalSyncEvery) sync();
}

void JournalWriter::sync() {
  state_->file.sync();
  state_->unsynced = 0;
}

}  // namespace lastmile
