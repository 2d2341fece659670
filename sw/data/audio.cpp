// SPDX-License-Identifier: Apache-2.0
#include "sw/data/audio.hpp"

#include <fmt/format.h>
#include <sndfile.h>
#include <soxr.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/parallel.hpp"

namespace lastmile {
namespace {

namespace fs = std::filesystem;

// Decoded audio of one file: three hours at 16 kHz.
constexpr std::size_t kMaxFileSamples = 172'800'000;

// All clips of a set: 2 GiB.
constexpr std::size_t kMaxClipSetSamples = std::size_t{1} << 30;

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::input, fmt::format("{}: {}", name, what));
}

// Bytes in memory as a file of libsndfile: read from `input`, or written to `output`.
struct Memory {
  std::span<const std::uint8_t> input;
  std::vector<std::uint8_t> output;
  sf_count_t at = 0;
  bool writing = false;

  [[nodiscard]] sf_count_t size() const {
    return static_cast<sf_count_t>(writing ? output.size() : input.size());
  }
};

SF_VIRTUAL_IO memory_io() {
  SF_VIRTUAL_IO io{};
  io.get_filelen = [](void* user) { return static_cast<Memory*>(user)->size(); };
  io.seek = [](sf_count_t offset, int whence, void* user) {
    auto& m = *static_cast<Memory*>(user);
    const sf_count_t base = whence == SEEK_SET ? 0 : whence == SEEK_CUR ? m.at : m.size();
    m.at = std::clamp<sf_count_t>(base + offset, 0, m.size());
    return m.at;
  };
  io.read = [](void* to, sf_count_t count, void* user) {
    auto& m = *static_cast<Memory*>(user);
    const sf_count_t n = std::clamp<sf_count_t>(count, 0, m.size() - m.at);
    if (n > 0) std::memcpy(to, m.input.data() + m.at, static_cast<std::size_t>(n));
    m.at += n;
    return n;
  };
  io.write = [](const void* from, sf_count_t count, void* user) {
    auto& m = *static_cast<Memory*>(user);
    const auto end = static_cast<std::size_t>(m.at + count);
    if (end > m.output.size()) m.output.resize(end);
    std::memcpy(m.output.data() + m.at, from, static_cast<std::size_t>(count));
    m.at += count;
    return count;
  };
  io.tell = [](void* user) { return static_cast<Memory*>(user)->at; };
  return io;
}

struct CloseFile {
  void operator()(SNDFILE* file) const { sf_close(file); }
};
using File = std::unique_ptr<SNDFILE, CloseFile>;

std::uint32_t little_u32(std::span<const std::uint8_t> b) {
  return b[0] | (std::uint32_t{b[1]} << 8) | (std::uint32_t{b[2]} << 16) |
         (std::uint32_t{b[3]} << 24);
}

constexpr std::size_t kStreamed = 0xffffffff;
constexpr std::size_t kStreamedLeast = 0x7fff0000;  // with fewer bytes behind it

void set_little_u32(std::vector<std::uint8_t>& b, std::size_t at, std::size_t value) {
  for (std::size_t i = 0; i < 4; ++i) b[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

bool tag(std::span<const std::uint8_t> bytes, std::size_t at, std::string_view text) {
  return bytes.size() >= at + text.size() &&
         std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

// libsndfile reads a WAV whose data chunk is cut short as if it were shorter: look at the chunk
// headers ourselves.
// A program that writes into a pipe cannot go back to the sizes: they are all ones, or nearly 2 GiB
// (SoX), and the data are the rest. Then the bytes with the sizes that they have, which the decoder
// wants, are returned.
std::vector<std::uint8_t> check_wav_length(std::span<const std::uint8_t> bytes,
                                           const std::string& name) {
  for (std::size_t at = 12; at + 8 <= bytes.size();) {
    const std::size_t size = little_u32(bytes.subspan(at + 4));
    const std::size_t left = bytes.size() - at - 8;
    if (tag(bytes, at, "data")) {
      if (size == kStreamed || (size >= kStreamedLeast && size > left)) {
        std::vector<std::uint8_t> sized(bytes.begin(), bytes.end());
        set_little_u32(sized, 4, bytes.size() - 8);
        set_little_u32(sized, at + 4, left);
        return sized;
      }
      if (size > left)
        fail(name, fmt::format("data chunk: {} bytes, expected {}: truncated", left, size));
      return {};
    }
    if (size >= left) break;
    at += 8 + size + (size & 1);
  }
  fail(name, "no data chunk: truncated or not a WAV file");
}

// Mono samples of one rate as 16-bit samples of another, a block at a time: a long recording costs
// no more memory than its result.
class Resampler {
 public:
  // Nothing is done if the rates are equal, but for rounding.
  Resampler(int from, int to, std::string name) : from_(from), to_(to), name_(std::move(name)) {
    if (from == to) return;
    const soxr_io_spec_t io = soxr_io_spec(SOXR_FLOAT64_I, SOXR_FLOAT64_I);
    const soxr_quality_spec_t quality = soxr_quality_spec(SOXR_VHQ, 0);
    const soxr_runtime_spec_t runtime = soxr_runtime_spec(1);
    soxr_error_t wrong = nullptr;
    soxr_.reset(soxr_create(from, to, 1, &wrong, &io, &quality, &runtime));
    check(wrong);
  }
  void put(std::span<const double> samples) {
    if (!soxr_) return round(samples);
    while (!samples.empty()) {
      std::size_t taken = 0, made = 0;
      check(soxr_process(soxr_.get(), samples.data(), samples.size(), &taken, block_.data(),
                         block_.size(), &made));
      round(std::span(block_).first(made));
      samples = samples.subspan(taken);
    }
  }
  std::vector<std::int16_t> finish() {
    for (std::size_t made = soxr_ ? 1 : 0; made != 0;) {
      check(soxr_process(soxr_.get(), nullptr, 0, nullptr, block_.data(), block_.size(), &made));
      round(std::span(block_).first(made));
    }
    return std::move(out_);
  }

 private:
  struct Delete {
    void operator()(soxr* s) const { soxr_delete(s); }
  };
  void check(soxr_error_t wrong) const {
    if (wrong != nullptr)
      fail(name_, fmt::format("cannot be resampled from {} to {} Hz: {}", from_, to_, wrong));
  }
  void round(std::span<const double> samples) {
    if (out_.size() + samples.size() > kMaxFileSamples)
      fail(name_, fmt::format("samples: more than {} at {} Hz", kMaxFileSamples, to_));
    for (const double v : samples)
      out_.push_back(
          static_cast<std::int16_t>(std::clamp(std::rint(v * 32768), -32768.0, 32767.0)));
  }

  int from_, to_;
  std::string name_;
  std::unique_ptr<soxr, Delete> soxr_;
  std::vector<double> block_ = std::vector<double>(1 << 14);
  std::vector<std::int16_t> out_;
};

constexpr int kLeastRate = 100, kMostRate = 768'000, kMostChannels = 16;

}  // namespace

bool is_audio(std::span<const std::uint8_t> bytes) noexcept {
  return (tag(bytes, 0, "RIFF") && tag(bytes, 8, "WAVE")) || tag(bytes, 0, "fLaC");
}

std::vector<std::int16_t> decode_audio(std::span<const std::uint8_t> bytes, const std::string& name,
                                       int rate, AudioInfo* found) {
  // Other formats of libsndfile are refused before it sees them.
  if (!is_audio(bytes)) fail(name, "no WAV or FLAC header, expected a WAV or FLAC file");
  std::vector<std::uint8_t> sized;
  if (tag(bytes, 0, "RIFF")) sized = check_wav_length(bytes, name);
  if (!sized.empty()) bytes = sized;
  Memory memory;
  memory.input = bytes;
  SF_VIRTUAL_IO io = memory_io();
  SF_INFO info{};
  const File file(sf_open_virtual(&io, SFM_READ, &info, &memory));
  if (!file) fail(name, fmt::format("cannot decode: {}", sf_strerror(nullptr)));
  if (info.channels < 1 || info.channels > kMostChannels)
    fail(name, fmt::format("channels: {}, expected 1 to {}", info.channels, kMostChannels));
  if (info.samplerate < kLeastRate || info.samplerate > kMostRate)
    fail(name, fmt::format("sample rate: {} Hz, expected {} to {}", info.samplerate, kLeastRate,
                           kMostRate));
  if (info.frames < 1) fail(name, "no samples");
  const bool known = info.frames < SF_COUNT_MAX;  // a FLAC stream may leave its length open
  const auto channels = static_cast<std::size_t>(info.channels);
  const std::size_t most = kMaxFileSamples / channels;
  if (known && static_cast<std::size_t>(info.frames) > most)
    fail(name, fmt::format("samples: {}, expected at most {}", info.frames, most));
  const auto check_read = [&](std::size_t got) {
    if (known && got != static_cast<std::size_t>(info.frames))
      fail(name, fmt::format("samples: {}, expected {}: truncated or corrupt", got, info.frames));
    if (sf_error(file.get()) != SF_ERR_NO_ERROR)
      fail(name, fmt::format("corrupt after {} samples: {}", got, sf_strerror(file.get())));
    if (got == 0) fail(name, "no samples");
  };
  if (found != nullptr) *found = {info.samplerate, info.channels, known ? info.frames : 0};
  constexpr std::size_t kBlock = 1 << 16;
  if ((info.format & SF_FORMAT_SUBMASK) == SF_FORMAT_PCM_16 && channels == 1 &&
      info.samplerate == rate) {
    std::vector<std::int16_t> samples, block(kBlock);
    while (true) {
      const auto got = sf_read_short(file.get(), block.data(), kBlock);
      if (got <= 0) break;
      samples.insert(samples.end(), block.begin(), block.begin() + got);
      if (samples.size() > most) fail(name, fmt::format("samples: more than {}", most));
    }
    check_read(samples.size());
    return samples;
  }
  Resampler out(info.samplerate, rate, name);
  std::vector<double> block(kBlock / channels * channels);
  std::size_t n = 0;
  while (true) {
    const auto got =
        sf_readf_double(file.get(), block.data(), static_cast<sf_count_t>(block.size() / channels));
    if (got <= 0) break;
    const auto count = static_cast<std::size_t>(got);
    for (std::size_t i = 0; i < count; ++i) {
      double sum = 0;
      for (std::size_t k = 0; k < channels; ++k) sum += block[i * channels + k];
      if (!std::isfinite(sum)) fail(name, fmt::format("sample {} is no finite number", n + i));
      block[i] = sum / static_cast<double>(channels);
    }
    n += count;
    if (n > most) fail(name, fmt::format("samples: more than {}", most));
    out.put(std::span(block).first(count));
  }
  check_read(n);
  std::vector<std::int16_t> samples = out.finish();
  if (samples.empty()) fail(name, "no samples");
  return samples;
}

std::vector<std::int16_t> read_audio(const fs::path& path, int rate, AudioInfo* info) {
  return decode_audio(read_file(path), path.string(), rate, info);
}

std::vector<std::int16_t> fitted_clip(std::span<const std::int16_t> clip, std::size_t samples) {
  std::vector<std::int16_t> out(samples);
  if (clip.size() <= samples)
    std::copy(clip.begin(), clip.end(),
              out.begin() + static_cast<std::ptrdiff_t>((samples - clip.size()) / 2));
  else
    std::copy_n(clip.begin() + static_cast<std::ptrdiff_t>((clip.size() - samples) / 2), samples,
                out.begin());
  return out;
}

ClipSet read_clips(const fs::path& folder, int rate, int threads) {
  const fs::path index = folder / "index.csv";
  ClipSet set;
  set.list = parse_cut_list(read_text_file(index), index.string());
  std::vector<Cut>& cuts = set.list.cuts;
  std::map<std::string, std::vector<std::size_t>> by_file;
  for (std::size_t i = 0; i < cuts.size(); ++i) by_file[cuts[i].file].push_back(i);
  const auto check_size = [&] {
    for (const Cut& cut : cuts) set.samples = std::max(set.samples, cut.length);
    if (cuts.size() > kMaxClipSetSamples / static_cast<std::size_t>(set.samples))
      fail(index.string(),
           fmt::format("{} clips of up to {} samples, expected at most {} samples in all",
                       cuts.size(), set.samples, kMaxClipSetSamples));
  };
  check_size();
  std::vector<std::vector<std::int16_t>> clips(cuts.size());
  const std::vector<std::pair<std::string, std::vector<std::size_t>>> files(by_file.begin(),
                                                                            by_file.end());
  parallel_for(
      threads, static_cast<std::int64_t>(files.size()), [&](std::int64_t begin, std::int64_t end) {
        for (auto f = static_cast<std::size_t>(begin); f < static_cast<std::size_t>(end); ++f) {
          AudioInfo info;
          const auto audio = read_audio(folder / files[f].first, rate, &info);
          const auto size = static_cast<std::int64_t>(audio.size());
          // Of the file's samples to those of `rate`.
          const auto at = [&](std::int64_t sample) -> std::int64_t {
            return info.rate == rate ? sample
                                     : std::llround(static_cast<double>(sample) * rate / info.rate);
          };
          const std::int64_t own = info.samples != 0
                                       ? info.samples
                                       : std::llround(static_cast<double>(size) * info.rate / rate);
          for (const std::size_t i : files[f].second) {
            Cut& cut = cuts[i];
            if (cut.start > own || cut.length > own - cut.start)
              fail(index.string(),
                   fmt::format("line {}: samples {} to {} of {}, which has {}", cut.line, cut.start,
                               cut.start + cut.length, cut.file, own));
            const std::int64_t first = std::min(at(cut.start), size);
            const std::int64_t last = std::min(at(cut.start + cut.length), size);
            clips[i].assign(audio.begin() + first, audio.begin() + last);
          }
        }
      });
  set.samples = 1;
  for (std::size_t i = 0; i < cuts.size(); ++i)
    cuts[i].length = static_cast<std::int64_t>(clips[i].size());
  check_size();
  const auto samples = static_cast<std::size_t>(set.samples);
  set.data.reserve(cuts.size() * samples);
  for (std::vector<std::int16_t>& clip : clips) {
    const auto fitted = fitted_clip(clip, samples);
    set.data.insert(set.data.end(), fitted.begin(), fitted.end());
    clip = {};
  }
  return set;
}

void write_audio(const fs::path& path, std::span<const std::int16_t> samples, int rate) {
  Memory memory;
  memory.writing = true;
  SF_VIRTUAL_IO io = memory_io();
  SF_INFO info{};
  info.samplerate = rate;
  info.channels = 1;
  info.format = (path.extension() == ".flac" ? SF_FORMAT_FLAC : SF_FORMAT_WAV) | SF_FORMAT_PCM_16;
  File file(sf_open_virtual(&io, SFM_WRITE, &info, &memory));
  const auto count = static_cast<sf_count_t>(samples.size());
  if (!file || sf_write_short(file.get(), samples.data(), count) != count)
    fail(path.string(), fmt::format("cannot encode: {}", sf_strerror(file.get())));
  file.reset();
  write_file_atomic(path, memory.output);
}

}  // namespace lastmile
