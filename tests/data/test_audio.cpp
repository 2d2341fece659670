// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstring>
#include <numbers>
#include <string>

#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "sw/data/audio.hpp"
#include "tests/base/temp_dir.hpp"

using lastmile::testing::error_of;
using lastmile::testing::TempDir;
using Samples = std::vector<std::int16_t>;

namespace {

Samples tone(std::size_t n, std::uint64_t seed) {
  lastmile::Rng rng(seed);
  Samples s(n);
  for (auto& v : s) v = static_cast<std::int16_t>(rng.normal() * 3000);
  return s;
}

const std::string kHeader = "file,start,length,class,class_name,speaker,split\n";

std::string list_error(const std::string& text) {
  return error_of([&] { (void)lastmile::parse_cut_list(text, "index"); });
}
std::string row_error(const std::string& row) {
  return list_error(kHeader + "a.wav,0,10,0,no,me,train\n" + row + "\n");
}

// A mono 16-bit WAV header for `data_bytes` of samples, with any field changed afterwards by the
// caller.
std::vector<std::uint8_t> wav(int channels, int rate, int bits, const Samples& samples) {
  std::vector<std::uint8_t> b;
  const auto text = [&](const char* t) { b.insert(b.end(), t, t + 4); };
  const auto number = [&](std::size_t v, int bytes) {
    for (int i = 0; i < bytes; ++i) b.push_back(static_cast<std::uint8_t>(v >> (8 * i)));
  };
  const auto c = static_cast<std::size_t>(channels);
  const auto w = static_cast<std::size_t>(bits / 8);
  const auto r = static_cast<std::size_t>(rate);
  text("RIFF");
  number(36 + samples.size() * 2, 4);
  text("WAVE");
  text("fmt ");
  number(16, 4);
  number(1, 2);
  number(c, 2);
  number(r, 4);
  number(r * c * w, 4);
  number(c * w, 2);
  number(static_cast<std::size_t>(bits), 2);
  text("data");
  number(samples.size() * 2, 4);
  for (const auto s : samples) number(static_cast<std::uint16_t>(s), 2);
  return b;
}

std::string audio_error(const std::vector<std::uint8_t>& bytes) {
  return error_of([&] { (void)lastmile::decode_audio(bytes, "snd"); });
}

}  // namespace

TEST_CASE("data: CSV fields may be quoted") {
  const auto records = lastmile::parse_csv(
      "\xef\xbb\xbf"
      "a,b\r\n\"x, \"\"y\"\"\nz\",\n\n,last",
      "t");
  REQUIRE(records.size() == 3);
  CHECK(records[0].fields == std::vector<std::string>{"a", "b"});
  CHECK(records[1].fields == std::vector<std::string>{"x, \"y\"\nz", ""});
  CHECK(records[1].line == 2);
  CHECK(records[2].fields == std::vector<std::string>{"", "last"});
  CHECK(records[2].line == 5);
  const auto error = [](const char* text) {
    return error_of([&] { (void)lastmile::parse_csv(text, "t"); });
  };
  CHECK(error("a\nb,\"c\n\n") == "t: line 2: a quoted field does not end");
  CHECK(error("\"a\"b").find("t: line 1: text after a quoted field") == 0);
  CHECK(error("a\rb").find("t: line 1: a carriage return") == 0);
}

TEST_CASE("data: a cut list is read by its column names") {
  const auto list = lastmile::parse_cut_list(
      "split,extra,file,speaker,class_name,class,length,start\r\n"
      "train,1,a.wav,\"Ann, B.\",no,0,10,5\r\n"
      "adapt,2,sub/b.flac,Bob,yes,1,20,0\r\n",
      "index");
  REQUIRE(list.cuts.size() == 2);
  CHECK(list.class_names == std::vector<std::string>{"no", "yes"});
  CHECK(list.cuts[0].file == "a.wav");
  CHECK(list.cuts[0].start == 5);
  CHECK(list.cuts[0].length == 10);
  CHECK(list.cuts[0].speaker == "Ann, B.");
  CHECK(list.cuts[0].split == lastmile::Split::train);
  CHECK(list.cuts[1].label == 1);
  CHECK(list.cuts[1].file == "sub/b.flac");
  CHECK(list.cuts[1].split == lastmile::Split::adapt);
  CHECK(list.cuts[1].line == 3);
}

TEST_CASE("data: a wrong cut list says line, column, value and what was expected") {
  CHECK(list_error("").find("index: line 1: empty") == 0);
  // Without speakers and splits a set is undivided; one of the two is a mistake.
  CHECK_FALSE(lastmile::parse_cut_list("file,start,length,class,class_name\n"
                                       "a.wav,0,10,0,no\na.wav,10,10,1,yes\n",
                                       "t")
                  .divided);
  CHECK(list_error("file,start,length,class,class_name,speaker\n") ==
        "index: line 1: column 'split' is there 0 times, expected once; columns: file, start, "
        "length, class, class_name, speaker");
  CHECK(list_error("file," + kHeader).find("column 'file' is there 2 times") != std::string::npos);
  CHECK(row_error("a.wav,0,10,1,yes,me,train") == "no error");
  CHECK(row_error("a.wav,0,10,1,yes,me") ==
        "index: line 3: 6 fields, expected 7 as in the first line");
  CHECK(row_error("a.wav,-1,10,1,yes,me,train")
            .find("index: line 3: start: '-1', expected a whole") == 0);
  CHECK(row_error("a.wav,1e3,10,1,yes,me,train").find("start: '1e3'") != std::string::npos);
  CHECK(row_error("a.wav,9223372036854775807,10,1,yes,me,train").find("start: '92") !=
        std::string::npos);
  CHECK(row_error("a.wav,0,0,1,yes,me,train")
            .find("length: '0', expected a whole number from 1 to") != std::string::npos);
  CHECK(row_error("a.wav,0,,1,yes,me,train").find("length: ''") != std::string::npos);
  CHECK(row_error("a.wav,0,10,4095,yes,me,train")
            .find("class: '4095', expected a whole number from 0 to 4094") != std::string::npos);
  CHECK(row_error("a.wav,0,10,2,yes,me,train").find("class 1 has no clip but class 2 has") !=
        std::string::npos);
  CHECK(row_error("a.wav,0,10,0,yes,me,train").find("class_name: 'yes', expected 'no'") !=
        std::string::npos);
  CHECK(row_error("a.wav,0,10,1,yes,me,dev").find("split: 'dev', expected train, test or adapt") !=
        std::string::npos);
  for (const char* path : {"/etc/a.wav", "../a.wav", "x/../../a.wav", "x/..", ""})
    CHECK(row_error(std::string(path) + ",0,10,1,yes,me,train").find("line 3: file: ") !=
          std::string::npos);
  CHECK(list_error(kHeader + "a.wav,0,10,0,no,me,train\n").find("1 clips of 1 classes") !=
        std::string::npos);
}

TEST_CASE("data: WAV and FLAC come back sample by sample") {
  const TempDir dir;
  const auto samples = tone(5000, 1);
  for (const char* name : {"a.wav", "a.flac"}) {
    lastmile::write_audio(dir / name, samples);
    CHECK(lastmile::read_audio(dir / name) == samples);
  }
  CHECK(lastmile::decode_audio(wav(1, 16000, 16, samples), "snd") == samples);
  CHECK(lastmile::read_file(dir / "a.flac")[0] == 'f');
}

TEST_CASE("data: wrong audio is refused with what was found and expected") {
  const auto samples = tone(600, 2);
  CHECK(audio_error(wav(1, 50, 16, samples)) == "snd: sample rate: 50 Hz, expected 100 to 768000");
  CHECK(audio_error(wav(17, 16000, 16, samples)) == "snd: channels: 17, expected 1 to 16");
  CHECK(audio_error(wav(1, 16000, 16, {})) == "snd: no samples");
  CHECK(audio_error({}).find("snd: no WAV or FLAC header") == 0);
  CHECK(audio_error({'O', 'g', 'g', 'S'}).find("snd: no WAV or FLAC header") == 0);
  CHECK(error_of([&] { (void)lastmile::decode_audio(wav(1, 8000, 16, samples), "snd", 8000); }) ==
        "no error");
}

TEST_CASE("data: channels are averaged, other widths and rates become 16 bit of the rate asked") {
  const Samples left_right = {1000, 3000, -2000, -4000, 100, 101};
  CHECK(lastmile::decode_audio(wav(2, 16000, 16, left_right), "snd") ==
        Samples{2000, -3000, 100});  // 100.5 to even
  // 8 bits: a sample holds two of them.
  CHECK(lastmile::decode_audio(wav(1, 16000, 8, {static_cast<std::int16_t>(0xff80)}), "snd") ==
        Samples{0, 32512});
  // A tone of 500 Hz at 48 kHz is one at 16 kHz, in place and as loud.
  Samples fast(4800);
  const auto at = [](double i, double rate) {
    return 10000 * std::sin(2 * std::numbers::pi * 500 * i / rate);
  };
  for (std::size_t i = 0; i < fast.size(); ++i)
    fast[i] = static_cast<std::int16_t>(std::lround(at(static_cast<double>(i), 48000)));
  lastmile::AudioInfo info;
  const auto slow = lastmile::decode_audio(wav(1, 48000, 16, fast), "snd", 16000, &info);
  CHECK(info.rate == 48000);
  CHECK(info.samples == 4800);
  REQUIRE(slow.size() == 1600);
  for (std::size_t i = 200; i < 1400; ++i)
    CHECK(std::abs(slow[i] - at(static_cast<double>(i), 16000)) < 10);
  CHECK(lastmile::decode_audio(wav(1, 48000, 16, fast), "snd", 16000) == slow);
}

TEST_CASE("data: a clip is padded or cut to its window at both ends") {
  const Samples clip = {1, 2, 3, 4};
  CHECK(lastmile::fitted_clip(clip, 7) == Samples{0, 1, 2, 3, 4, 0, 0});
  CHECK(lastmile::fitted_clip(clip, 2) == Samples{2, 3});
  CHECK(lastmile::fitted_clip(clip, 4) == clip);
}

TEST_CASE("data: a FLAC stream of unknown length is read to its end, and must have one") {
  const TempDir dir;
  const auto samples = tone(3000, 6);
  lastmile::write_audio(dir / "a.flac", samples);
  auto bytes = lastmile::read_file(dir / "a.flac");
  bytes[21] &= 0xf0;  // STREAMINFO: the 36-bit number of samples becomes 0, which means unknown
  for (std::size_t i = 22; i < 26; ++i) bytes[i] = 0;
  CHECK(lastmile::decode_audio(bytes, "snd") == samples);
  bytes.resize(42);  // no frame
  CHECK(audio_error(bytes).find("snd: ") == 0);
}

TEST_CASE("data: a flipped bit in a FLAC file is found") {
  const TempDir dir;
  lastmile::write_audio(dir / "a.flac", tone(20000, 7));
  const auto bytes = lastmile::read_file(dir / "a.flac");
  for (std::size_t at = bytes.size() / 10; at < bytes.size(); at += bytes.size() / 10) {
    auto flipped = bytes;
    flipped[at] ^= 0x10;
    CAPTURE(at);
    CHECK(audio_error(flipped).find("snd: ") == 0);
  }
}

TEST_CASE("data: no truncation of a WAV or FLAC file goes unnoticed") {
  const TempDir dir;
  const auto samples = tone(3000, 3);
  for (const char* name : {"a.wav", "a.flac"}) {
    lastmile::write_audio(dir / name, samples);
    const auto bytes = lastmile::read_file(dir / name);
    for (std::size_t n = 0; n < bytes.size(); n += n < 64 ? 1 : 97) {
      CAPTURE(name);
      CAPTURE(n);
      CHECK(audio_error({bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)})
                .find("snd: ") == 0);
    }
    CHECK(audio_error({bytes.begin(), bytes.end() - 1}).find("snd: ") == 0);
  }
}

TEST_CASE("data: clips are cut out, short ones centred, and cuts beyond a file refused") {
  const TempDir dir;
  const auto a = tone(100, 4);
  const auto b = tone(50, 5);
  lastmile::write_audio(dir / "a.wav", a);
  lastmile::write_audio(dir / "b.flac", b);
  const auto list = [&](const std::string& rows) {
    lastmile::write_file_atomic(dir / "index.csv", std::string_view(kHeader + rows));
  };
  list("a.wav,90,10,0,no,x,train\nb.flac,3,6,1,yes,y,test\na.wav,0,10,1,yes,z,adapt\n");
  for (const int threads : {1, 2}) {
    const auto set = lastmile::read_clips(dir.path(), 16000, threads);
    CHECK(set.samples == 10);
    REQUIRE(set.data.size() == 30);
    CHECK(Samples(set.data.begin(), set.data.begin() + 10) == Samples(a.begin() + 90, a.end()));
    Samples padded{0, 0};
    padded.insert(padded.end(), b.begin() + 3, b.begin() + 9);
    padded.resize(10);
    CHECK(Samples(set.data.begin() + 10, set.data.begin() + 20) == padded);
    CHECK(Samples(set.data.begin() + 20, set.data.end()) == Samples(a.begin(), a.begin() + 10));
  }
  const auto read = [&] { return error_of([&] { (void)lastmile::read_clips(dir.path()); }); };
  list("a.wav,91,10,0,no,x,train\nb.flac,3,6,1,yes,y,test\n");
  CHECK(read().find("index.csv: line 2: samples 91 to 101 of a.wav, which has 100") !=
        std::string::npos);
  list("a.wav,9000000000000,10,0,no,x,train\nb.flac,3,6,1,yes,y,test\n");
  CHECK(read().find("line 2: samples 9000000000000 to") != std::string::npos);
  list("c.wav,91,10,0,no,x,train\nb.flac,3,6,1,yes,y,test\n");
  CHECK(read().find("c.wav: cannot open") != std::string::npos);
}

TEST_CASE("data: a WAV from a stream, whose sizes nobody knew, is whole") {
  const lastmile::testing::TempDir dir;
  std::vector<std::int16_t> samples;
  for (int i = 0; i < 300; ++i) samples.push_back(static_cast<std::int16_t>(97 * i));
  lastmile::write_audio(dir / "a.wav", samples);
  std::vector<std::uint8_t> bytes = lastmile::read_file(dir / "a.wav");
  std::size_t data = 12;
  while (std::memcmp(bytes.data() + data, "data", 4) != 0) ++data;
  for (std::size_t i = 0; i < 4; ++i) bytes[4 + i] = bytes[data + 4 + i] = 0xff;
  CHECK(lastmile::decode_audio(bytes, "a.wav", 16000) == samples);
}
