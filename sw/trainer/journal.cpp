// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/journal.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <span>
#include <string_view>
#include <utility>

#include "cmodel/numeric/loss_units.hpp"
#include "cmodel/spec/npu_spec.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"

namespace lastmile {
namespace {

constexpr std::string_view kMagic = "LMJRNL2\n";
constexpr std::string_view kMagic1 = "LMJRNL1\n";
constexpr std::size_t kHeaderLimit = std::size_t{1} << 20;
constexpr int kSyncEvery = 256;

void put32(std::vector<std::uint8_t>& to, std::uint32_t v) {
  for (int i = 0; i < 4; ++i) to.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
}

std::uint32_t get32(std::span<const std::uint8_t> from, std::size_t at) {
  std::uint32_t v = 0;
  for (std::size_t i = 0; i < 4; ++i) v |= static_cast<std::uint32_t>(from[at + i]) << (8 * i);
  return v;
}

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::journal, fmt::format("{}: {}", name, what));
}

void put64(std::vector<std::uint8_t>& to, std::uint64_t v) {
  put32(to, static_cast<std::uint32_t>(v));
  put32(to, static_cast<std::uint32_t>(v >> 32));
}

std::uint64_t get64(std::span<const std::uint8_t> from, std::size_t at) {
  return get32(from, at) | static_cast<std::uint64_t>(get32(from, at + 4)) << 32;
}

std::size_t record_bytes(int version, int pairs) {
  return (version == 1 ? 20U : 28U) + static_cast<std::size_t>(pairs);
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

std::vector<std::uint8_t> record_image(const JournalRecord& r, std::uint32_t chain) {
  std::vector<std::uint8_t> out;
  put32(out, r.step);
  put32(out, r.step_register);
  for (const std::int8_t c : r.coefficients) out.push_back(static_cast<std::uint8_t>(c));
  put64(out, static_cast<std::uint64_t>(r.loss_sum));
  put64(out, r.scale);
  put32(out, crc32(out, chain));
  return out;
}

}  // namespace

Journal parse_journal(std::span<const std::uint8_t> bytes, const std::string& name) {
  const auto begins_with = [&](std::string_view magic) {
    return bytes.size() >= magic.size() + 4 &&
           std::memcmp(bytes.data(), magic.data(), magic.size()) == 0;
  };
  if (!begins_with(kMagic) && !begins_with(kMagic1))
    fail(name,
         "not a journal: the first bytes are not \"LMJRNL2\\n\" (or those of version 1, "
         "\"LMJRNL1\\n\")");
  const std::size_t text_bytes = get32(bytes, kMagic.size());
  const std::size_t text_at = kMagic.size() + 4;
  if (text_bytes > kHeaderLimit || text_at + text_bytes + 4 > bytes.size())
    fail(name, fmt::format("header says {} bytes, the file has {}: truncated header", text_bytes,
                           bytes.size()));
  const std::size_t header_end = text_at + text_bytes + 4;
  const std::uint32_t want = crc32(bytes.first(header_end - 4));
  if (want != get32(bytes, header_end - 4))
    fail(name, fmt::format("header checksum is {:#010x}, expected {:#010x}",
                           get32(bytes, header_end - 4), want));

  Journal journal;
  journal.version = begins_with(kMagic1) ? 1 : 2;
  const auto text = bytes.subspan(text_at, text_bytes);
  journal.config = parse_run_config(std::string(text.begin(), text.end()), name);
  const int pairs = journal.config.forward.pairs;

  const std::size_t size = record_bytes(journal.version, pairs);
  std::size_t at = header_end;
  while (at + size <= bytes.size()) {
    const auto body = bytes.subspan(at, size - 4);
    const auto index = static_cast<std::uint32_t>(journal.records.size());
    const std::uint32_t crc = crc32(body, chain_at(bytes, at));
    if (crc != get32(bytes, at + size - 4))
      fail(name, fmt::format("record {} (byte {}): checksum is {:#010x}, expected {:#010x}", index,
                             at, get32(bytes, at + size - 4), crc));
    JournalRecord r;
    r.step = get32(body, 0);
    if (r.step != index)
      fail(name,
           fmt::format("record {} (byte {}): step is {}, expected {}", index, at, r.step, index));
    r.step_register = get32(body, 4);
    for (int p = 0; p < pairs; ++p)
      r.coefficients.push_back(static_cast<std::int8_t>(body[8 + static_cast<std::size_t>(p)]));
    const std::size_t rest = 8 + static_cast<std::size_t>(pairs);
    if (journal.version == 1) {
      const double batch = journal.config.forward.batch;
      r.loss_sum = sum_of_nats(std::bit_cast<float>(get32(body, rest)), 2 * pairs * batch);
      r.scale = static_cast<std::uint64_t>(std::max<std::int64_t>(
          0, sum_of_nats(std::bit_cast<float>(get32(body, rest + 4)), batch)));
    } else {
      r.loss_sum = static_cast<std::int64_t>(get64(body, rest));
      r.scale = get64(body, rest + 8);
    }
    journal.records.push_back(std::move(r));
    at += size;
  }
  journal.valid_bytes = at;
  journal.torn = at != bytes.size();
  return journal;
}

double mean_loss(const JournalRecord& record, const ForwardGradientOptions& options) {
  return numeric::mean_nats(record.loss_sum, 2.0 * options.pairs * options.batch);
}

void require_current_rule(const Journal& journal, const std::string& name) {
  if (journal.version == 2) return;
  fail(name,
       "a journal of version 1: it can be replayed, but neither continued nor checked, because its "
       "coefficients came from a rule in floating point (found LMJRNL1, expected LMJRNL2)");
}

Journal read_journal(const std::filesystem::path& path) {
  return parse_journal(read_file(path), path.string());
}

struct JournalWriter::State {
  std::string name;
  int fd = -1;
  int pairs = 0;
  std::uint32_t chain = 0;
  std::uint32_t next_step = 0;
  int unsynced = 0;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (fd >= 0) ::close(fd);
  }
  void open() {
    fd = ::open(name.c_str(), O_WRONLY | O_APPEND | O_CLOEXEC);
    if (fd < 0) fail(name, fmt::format("cannot be opened for appending: {}", std::strerror(errno)));
  }
};

JournalWriter::JournalWriter(std::unique_ptr<State> state) : state_(std::move(state)) {}
JournalWriter::JournalWriter(JournalWriter&&) noexcept = default;
JournalWriter& JournalWriter::operator=(JournalWriter&&) noexcept = default;
JournalWriter::~JournalWriter() = default;

JournalWriter JournalWriter::create(const std::filesystem::path& path, const RunConfig& config) {
  const int pairs = config.forward.pairs;
  if (pairs < 1 || pairs > spec::kMaxPairs)
    fail(path.string(), fmt::format("pairs is {}, expected 1..{}", pairs, spec::kMaxPairs));
  const std::vector<std::uint8_t> bytes = header_bytes(config);
  write_file_atomic(path, bytes);
  auto state = std::make_unique<State>();
  state->name = path.string();
  state->pairs = pairs;
  state->chain = chain_at(bytes, bytes.size());
  state->open();
  return JournalWriter(std::move(state));
}

JournalWriter JournalWriter::resume(const std::filesystem::path& path, const Journal& journal) {
  require_current_rule(journal, path.string());
  auto state = std::make_unique<State>();
  state->name = path.string();
  state->pairs = journal.config.forward.pairs;
  state->next_step = static_cast<std::uint32_t>(journal.records.size());
  state->open();
  if (::ftruncate(state->fd, static_cast<off_t>(journal.valid_bytes)) != 0)
    fail(state->name, fmt::format("its torn tail cannot be cut off: {}", std::strerror(errno)));
  const std::vector<std::uint8_t> bytes = read_file(path);
  if (bytes.size() != journal.valid_bytes) fail(state->name, "it changed while being opened");
  state->chain = chain_at(bytes, bytes.size());
  return JournalWriter(std::move(state));
}

void JournalWriter::append(const JournalRecord& record) {
  State& s = *state_;
  if (record.step != s.next_step)
    fail(s.name, fmt::format("append: step is {}, expected {}", record.step, s.next_step));
  if (record.coefficients.size() != static_cast<std::size_t>(s.pairs))
    fail(s.name,
         fmt::format("append: {} coefficients, expected {}", record.coefficients.size(), s.pairs));
  const std::vector<std::uint8_t> image = record_image(record, s.chain);
  std::size_t done = 0;
  while (done < image.size()) {
    const ssize_t n = ::write(s.fd, image.data() + done, image.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail(s.name, fmt::format("record {}: {}", record.step, std::strerror(errno)));
    done += static_cast<std::size_t>(n);
  }
  s.chain = chain_at(image, image.size());
  ++s.next_step;
  if (++s.unsynced >= kSyncEvery) sync();
}

void JournalWriter::sync() {
  if (::fdatasync(state_->fd) != 0)
    fail(state_->name, fmt::format("cannot be synced: {}", std::strerror(errno)));
  state_->unsynced = 0;
}

}  // namespace lastmile
