// SPDX-License-Identifier: Apache-2.0
// Audio files and data sets of clips: WAV and FLAC, cut with an index.csv (sw/data/cut_list.hpp).
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <vector>

#include "sw/data/cut_list.hpp"

namespace lastmile {

inline constexpr int kDefaultSampleRate = 16000;

// What the header of a file says.
struct AudioInfo {
  int rate = 0, channels = 0;
  std::int64_t samples = 0;  // per channel; 0: a stream that does not say
};

// The samples of a WAV or FLAC file that is held in memory, mono and of `rate` a second. `name` is
// what errors call it. Channels are averaged, another rate is resampled (libsoxr, very high
// quality); 16-bit mono of that rate is taken bit for bit. Error (input) unless it is as long as
// its header says; the message states what was found and expected. `info`: what it was before.
[[nodiscard]] std::vector<std::int16_t> decode_audio(std::span<const std::uint8_t> bytes,
                                                     const std::string& name,
                                                     int rate = kDefaultSampleRate,
                                                     AudioInfo* info = nullptr);
[[nodiscard]] std::vector<std::int16_t> read_audio(const std::filesystem::path& path,
                                                   int rate = kDefaultSampleRate,
                                                   AudioInfo* info = nullptr);
[[nodiscard]] bool is_audio(std::span<const std::uint8_t> beginning) noexcept;

// The clip in `samples`: a shorter one is centred between zeros, of a longer one its middle.
[[nodiscard]] std::vector<std::int16_t> fitted_clip(std::span<const std::int16_t> clip,
                                                    std::size_t samples);

// Clips of equal length: shorter ones are centred between zeros.
struct ClipSet {
  std::int64_t samples = 0;        // per clip: the longest clip of the list
  std::vector<std::int16_t> data;  // cuts.size() * samples, in the order of the list
  CutList list;
};

// Reads folder/index.csv and every file it names. Starts and lengths count the samples of the file,
// whatever its rate. Error (input) also when a cut reaches beyond its file.
[[nodiscard]] ClipSet read_clips(const std::filesystem::path& folder, int rate = kDefaultSampleRate,
                                 int threads = 1);

// Writes mono 16-bit audio; WAV or FLAC by the ending of the name (atomic).
void write_audio(const std::filesystem::path& path, std::span<const std::int16_t> samples,
                 int rate = kDefaultSampleRate);

}  // namespace lastmile
