// SPDX-License-Identifier: Apache-2.0
#include "sw/data/audio.hpp"

#include <fmt/format.h>
#include <sndfile.h>

#include <algorithm>
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

void set_little_u32(std::vector<std::uint8_t>& b, std::size_t at, std::size_t value) {
  for (std::size_t i = 0; i < 4; ++i) b[at + i] = static_cast<std::uint8_t>(value >> (8 * i));
}

bool tag(std::span<const std::uint8_t> bytes, std::size_t at, std::string_view text) {
  return bytes.size() >= at + text.size() &&
         std::memcmp(bytes.data() + at, text.data(), text.size()) == 0;
}

// libsndfile reads a WAV whose data chunk is cut short as if it were shorter: look at the chunk
// headers ourselves.
// A program that writes into a pipe cannot go back to the sizes: they are all ones, and the data
// are the rest. Then the bytes with the sizes that they have, which the decoder wants, are
// returned.
std::vector<std::uint8_t> check_wav_length(std::span<const std::uint8_t> bytes,
                                           const std::string& name) {
  for (std::size_t at = 12; at + 8 <= bytes.size();) {
    const std::size_t size = little_u32(bytes.subspan(at + 4));
    const std::size_t left = bytes.size() - at - 8;
    if (tag(bytes, at, "data")) {
      if (size == kStreamed) {
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

std::string format_name(int format) {
  SF_FORMAT_INFO info{};
  info.format = format;
  return sf_command(nullptr, SFC_GET_FORMAT_INFO, &info, sizeof info) == 0 && info.name != nullptr
             ? info.name
             : fmt::format("format {:#x}", format);
}

}  // namespace

std::vector<std::int16_t> decode_audio(std::span<const std::uint8_t> bytes, const std::string& name,
                                       int rate) {
  // Other formats of libsndfile are refused before it sees them.
  const bool wav = tag(bytes, 0, "RIFF") && tag(bytes, 8, "WAVE");
  if (!wav && !tag(bytes, 0, "fLaC"))
    fail(name, "no WAV or FLAC header, expected a 16-bit mono WAV or FLAC file");
  std::vector<std::uint8_t> sized;
  if (wav) sized = check_wav_length(bytes, name);
  if (!sized.empty()) bytes = sized;
  Memory memory;
  memory.input = bytes;
  SF_VIRTUAL_IO io = memory_io();
  SF_INFO info{};
  const File file(sf_open_virtual(&io, SFM_READ, &info, &memory));
  if (!file) fail(name, fmt::format("cannot decode: {}", sf_strerror(nullptr)));
  const int sample_format = info.format & SF_FORMAT_SUBMASK;
  if (sample_format != SF_FORMAT_PCM_16)
    fail(name, fmt::format("samples: {}, expected {}", format_name(sample_format),
                           format_name(SF_FORMAT_PCM_16)));
  if (info.channels != 1) fail(name, fmt::format("channels: {}, expected 1", info.channels));
  if (info.samplerate != rate)
    fail(name, fmt::format("sample rate: {} Hz, expected {}", info.samplerate, rate));
  if (info.frames < 1) fail(name, "no samples");
  const bool known = info.frames < SF_COUNT_MAX;  // a FLAC stream may leave its length open
  if (known && static_cast<std::size_t>(info.frames) > kMaxFileSamples)
    fail(name, fmt::format("samples: {}, expected at most {}", info.frames, kMaxFileSamples));
  std::vector<std::int16_t> samples;
  constexpr std::size_t kBlock = 1 << 16;
  std::vector<std::int16_t> block(kBlock);
  while (true) {
    const auto got = sf_read_short(file.get(), block.data(), kBlock);
    if (got <= 0) break;
    samples.insert(samples.end(), block.begin(), block.begin() + got);
    if (samples.size() > kMaxFileSamples)
      fail(name, fmt::format("samples: more than {}", kMaxFileSamples));
  }
  if (known && samples.size() != static_cast<std::size_t>(info.frames))
    fail(name, fmt::format("samples: {}, expected {}: truncated or corrupt", samples.size(),
                           info.frames));
  if (sf_error(file.get()) != SF_ERR_NO_ERROR)
    fail(name,
         fmt::format("corrupt after {} samples: {}", samples.size(), sf_strerror(file.get())));
  if (samples.empty()) fail(name, "no samples");
  return samples;
}

std::vector<std::int16_t> read_audio(const fs::path& path, int rate) {
  return decode_audio(read_file(path), path.string(), rate);
}

ClipSet read_clips(const fs::path& folder, int rate, int threads) {
  const fs::path index = folder / "index.csv";
  ClipSet set;
  set.list = parse_cut_list(read_text_file(index), index.string());
  std::map<std::string, std::vector<std::size_t>> by_file;
  for (std::size_t i = 0; i < set.list.cuts.size(); ++i) {
    by_file[set.list.cuts[i].file].push_back(i);
    set.samples = std::max(set.samples, set.list.cuts[i].length);
  }
  const auto samples = static_cast<std::size_t>(set.samples);
  if (set.list.cuts.size() > kMaxClipSetSamples / samples)
    fail(index.string(),
         fmt::format("{} clips of up to {} samples, expected at most {} samples in all",
                     set.list.cuts.size(), samples, kMaxClipSetSamples));
  set.data.resize(set.list.cuts.size() * samples);
  const std::vector<std::pair<std::string, std::vector<std::size_t>>> files(by_file.begin(),
                                                                            by_file.end());
  parallel_for(
      threads, static_cast<std::int64_t>(files.size()), [&](std::int64_t begin, std::int64_t end) {
        for (auto f = static_cast<std::size_t>(begin); f < static_cast<std::size_t>(end); ++f) {
          const auto audio = read_audio(folder / files[f].first, rate);
          const auto size = static_cast<std::int64_t>(audio.size());
          for (const std::size_t i : files[f].second) {
            const Cut& cut = set.list.cuts[i];
            if (cut.start > size || cut.length > size - cut.start)
              fail(index.string(),
                   fmt::format("line {}: samples {} to {} of {}, which has {}", cut.line, cut.start,
                               cut.start + cut.length, cut.file, size));
            const auto pad = (set.samples - cut.length) / 2;
            std::copy_n(audio.begin() + cut.start, cut.length,
                        set.data.begin() + static_cast<std::int64_t>(i * samples) + pad);
          }
        }
      });
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
