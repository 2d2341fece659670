// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <cstdlib>
#include <string>
#include <string_view>

#include "sw/base/rng.hpp"
#include "sw/data/picture.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/data/png.hpp"

using namespace lastmile;
using lastmile::testing::Bytes;
using lastmile::testing::error_of;
using lastmile::testing::png;
using Samples = std::vector<int>;

namespace {

// 9 rows of 12 pixels: dark left of the middle, bright right of it. Colour: (220, 30, 60) and (220,
// 180, 60). Written by libjpeg at quality 90.
constexpr std::string_view kGrey =
    "/9j/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUV"
    "DA8XGBYUGBIUFRT/wAALCAAJAAwBAREA/8QAFQABAQAAAAAAAAAAAAAAAAAACQj/xAAaEAABBQEAAAAA"
    "AAAAAAAAAAAAAwYIOIS0/9oACAEBAAA/AJ/hlZRn7ONcUAL+GVlGfs41xQD/2Q==";
constexpr std::string_view kColour =
    "/9j/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUV"
    "DA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
    "FBQUFBQUFBQUFBQUFBQUFBQUFBT/wAARCAAJAAwDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAA"
    "CAb/xAAaEAABBQEAAAAAAAAAAAAAAAAAAwUHN4Oz/8QAFAEBAAAAAAAAAAAAAAAAAAAACP/EABwRAAEE"
    "AwEAAAAAAAAAAAAAAAIAAQZyNDWxsv/aAAwDAQACEQMRAD8AlIOtFl34KCwCfB1osu/BQWAfpVmhRukk"
    "fNdgFG9Ev//Z";
constexpr std::string_view kProgressive =
    "/9j/2wBDAAMCAgMCAgMDAwMEAwMEBQgFBQQEBQoHBwYIDAoMDAsKCwsNDhIQDQ4RDgsLEBYQERMUFRUV"
    "DA8XGBYUGBIUFRT/2wBDAQMEBAUEBQkFBQkUDQsNFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQUFBQU"
    "FBQUFBQUFBQUFBQUFBQUFBQUFBT/wgARCAAJAAwDASIAAhEBAxEB/8QAFQABAQAAAAAAAAAAAAAAAAAA"
    "BwX/xAAUAQEAAAAAAAAAAAAAAAAAAAAH/9oADAMBAAIQAxAAAAGSsE6wfI//xAAWEAADAAAAAAAAAAAA"
    "AAAAAAAABTX/2gAIAQEAAQUCR1BHUP/EABkRAAEFAAAAAAAAAAAAAAAAAAEABTRxwf/aAAgBAwEBPwF6"
    "kCtK/8QAGREAAQUAAAAAAAAAAAAAAAAAAAEFM3HR/9oACAECAQE/AXWZK0//xAAYEAACAwAAAAAAAAAA"
    "AAAAAAABAxCBsf/aAAgBAQAGPwJN4YTeGP/EABQQAQAAAAAAAAAAAAAAAAAAACD/2gAIAQEAAT8hBx3/"
    "2gAMAwEAAgADAAAAEP8A/8QAFREBAQAAAAAAAAAAAAAAAAAAAKH/2gAIAQMBAT8Qlj//xAAWEQADAAAA"
    "AAAAAAAAAAAAAAAAobH/2gAIAQIBAT8QT0f/xAAUEAEAAAAAAAAAAAAAAAAAAAAg/9oACAEBAAE/EBtt"
    "/9k=";

Bytes from_base64(std::string_view text) {
  constexpr std::string_view kDigits =
      "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  Bytes out;
  std::uint32_t bits = 0;
  int count = 0;
  for (const char c : text) {
    const auto digit = kDigits.find(c);
    if (digit == std::string_view::npos) break;
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    count += 6;
    if (count >= 8) out.push_back(static_cast<std::uint8_t>(bits >> (count -= 8)));
  }
  return out;
}

Samples decoded(const Bytes& bytes) {
  const Picture p = decode_picture(bytes, "p");
  Samples out;
  for (std::size_t i = 0; i < p.size(); ++i) out.push_back(p.sample(i));
  return out;
}
std::string wrong(const Bytes& bytes) {
  return error_of([&] { (void)decode_picture(bytes, "p"); });
}

std::vector<float> conformed(std::vector<float> from, Shape a, Shape b, Resize how) {
  std::vector<float> out(static_cast<std::size_t>(b.elements()), -1);
  conform(from, a, b, how, out);
  return out;
}

}  // namespace

TEST_CASE("data: PNG of every kind gives grey or colour samples") {
  CHECK(decoded(png(2, 2, 8, 0, {0, 128, 200, 255})) == Samples{0, 128, 200, 255});
  CHECK(decoded(png(1, 3, 8, 2, {1, 2, 3, 4, 5, 6, 7, 8, 9})) ==
        Samples{1, 2, 3, 4, 5, 6, 7, 8, 9});
  // 16 bits stay so; 1 and 4 bits become the whole range.
  const Picture deep = decode_picture(png(1, 2, 16, 0, {0x12, 0x34, 0xff, 0xff}), "p");
  CHECK(deep.sample(0) == 0x1234);
  CHECK(deep.top() == 65535);
  CHECK(deep.value(1) == 1.0F);
  // (No repeated halves: g++ 12 makes a wrong constant of those with AVX-512.)
  CHECK(decoded(png(1, 8, 1, 0, {0xb1})) == Samples{255, 0, 255, 255, 0, 0, 0, 255});
  CHECK(decoded(png(1, 2, 4, 0, {0x1f})) == Samples{17, 255});
  // A palette is colour; alpha is left out.
  CHECK(decoded(png(1, 2, 8, 3, {1, 0}, {9, 8, 7, 30, 20, 10})) == Samples{30, 20, 10, 9, 8, 7});
  CHECK(decoded(png(1, 2, 8, 4, {50, 0, 60, 255})) == Samples{50, 60});
  CHECK(decoded(png(1, 1, 8, 6, {50, 60, 70, 0})) == Samples{50, 60, 70});
  CHECK(decode_picture(png(3, 2, 8, 2, Bytes(18)), "p").shape == Shape{3, 2, 3});
  CHECK(picture_shape(png(3, 2, 8, 4, Bytes(12)), "p") == Shape{3, 2, 1});
}

TEST_CASE("data: JPEG, grey, colour and progressive") {
  for (const std::string_view text : {kGrey, kColour, kProgressive}) {
    const Picture p = decode_picture(from_base64(text), "p");
    const int c = text == kGrey ? 1 : 3;
    CHECK(p.shape == Shape{9, 12, c});
    CHECK(p.top() == 255);
    CHECK(picture_shape(from_base64(text), "p") == p.shape);
    const auto at = [&](int x, int k) {
      return static_cast<double>(p.sample(static_cast<std::size_t>((4 * 12 + x) * c + k)));
    };
    if (c == 1) {
      CHECK(at(1, 0) == doctest::Approx(40).epsilon(0.1));
      CHECK(at(10, 0) == doctest::Approx(200).epsilon(0.05));
    } else {
      CHECK(at(1, 0) == doctest::Approx(220).epsilon(0.1));
      CHECK(std::abs(at(1, 1) - 30) < 20);
      CHECK(std::abs(at(10, 1) - 180) < 20);
    }
  }
}

TEST_CASE("data: pictures cut short anywhere are refused") {
  const Bytes a = png(4, 4, 8, 2, Bytes(48, 77));
  for (std::size_t n = 0; n < a.size(); ++n) {
    CAPTURE(n);
    CHECK(wrong(Bytes(a.begin(), a.begin() + static_cast<std::ptrdiff_t>(n))) != "no error");
  }
  for (const std::string_view text : {kGrey, kColour, kProgressive}) {
    const Bytes b = from_base64(text);
    for (std::size_t n = 0; n + 2 < b.size(); ++n) {
      CAPTURE(n);
      CHECK(wrong(Bytes(b.begin(), b.begin() + static_cast<std::ptrdiff_t>(n))) != "no error");
    }
  }
  CHECK(wrong({}).find("p: neither a PNG nor a JPEG") == 0);
  Bytes flipped = a;
  flipped[a.size() - 20] ^= 1;
  CHECK(wrong(flipped).find("p: PNG: ") == 0);
}

TEST_CASE("data: pictures that claim more than they have cost nothing") {
  // Headers of 60000 x 60000, of 5000 x 5000 with a few bytes of data, of nothing.
  CHECK(wrong(png(60000, 60000, 8, 0, {})).find("60000 x 60000 pixels, expected at most") !=
        std::string::npos);
  CHECK(wrong(png(5000, 5000, 8, 2, {})).find("truncated or not true") != std::string::npos);
  CHECK(wrong(png(100000, 1, 8, 0, {})).find("p: PNG: ") == 0);
  CHECK(wrong(png(0, 4, 8, 0, {})).find("p: PNG: ") == 0);
  Bytes jpeg = from_base64(kGrey);
  for (std::size_t i = 0; i + 8 < jpeg.size(); ++i)
    if (jpeg[i] == 0xff && jpeg[i + 1] == 0xc0)
      for (const std::size_t k : {5U, 7U}) jpeg[i + k] = 0xfd;  // 64,777 rows and columns
  CHECK(wrong(jpeg).find("pixels, expected at most") != std::string::npos);
}

TEST_CASE("data: any damage of a picture is an error or a picture") {
  const char* text = std::getenv("LASTMILE_SEED");
  const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : 20261128;
  MESSAGE("LASTMILE_SEED=" << seed);
  Rng rng(seed);
  const std::vector<Bytes> good = {png(5, 7, 8, 2, Bytes(105, 90)), from_base64(kColour),
                                   from_base64(kProgressive)};
  for (int round = 0; round < 2000; ++round) {
    Bytes b = good[rng.below(good.size())];
    for (std::uint64_t k = 1 + rng.below(4); k != 0; --k)
      b[rng.below(b.size())] = static_cast<std::uint8_t>(rng.below(256));
    try {
      const Picture p = decode_picture(b, "p");
      CHECK(p.size() == static_cast<std::size_t>(p.shape.elements()));
    } catch (const Error& e) {
      CHECK(std::string(e.what()).find("p: ") == 0);
    }
  }
}

TEST_CASE("data: pictures of the right size stay as they are, grey and colour change") {
  const std::vector<float> grey = {0, 0.25F, 0.5F, 1};
  CHECK(conformed(grey, {2, 2, 1}, {2, 2, 1}, Resize::crop) == grey);
  std::vector<float> same(4);
  conform(decode_picture(png(2, 2, 8, 0, {0, 51, 102, 255}), "p"), {2, 2, 1}, Resize::fit, same);
  CHECK(same == std::vector<float>{0, 51.0F / 255, 102.0F / 255, 1});
  CHECK(conformed({0.5F}, {1, 1, 1}, {1, 1, 3}, Resize::stretch) ==
        std::vector<float>{0.5F, 0.5F, 0.5F});
  CHECK(conformed({1, 0, 0}, {1, 1, 3}, {1, 1, 1}, Resize::stretch)[0] == doctest::Approx(0.299));
  CHECK(error_of([&] {
          (void)conformed(grey, {2, 2, 1}, {2, 2, 4}, Resize::stretch);
        }).find("1 channels for an input of 4") != std::string::npos);
}

TEST_CASE("data: a smaller picture is a mean, a larger one is bilinear") {
  // Half of a checkerboard is grey everywhere: nothing is aliased.
  std::vector<float> board(64);
  for (std::size_t i = 0; i < 64; ++i) board[i] = static_cast<float>((i / 8 + i % 8) % 2);
  const auto half = conformed(board, {8, 8, 1}, {4, 4, 1}, Resize::stretch);
  for (std::size_t i = 0; i < half.size(); ++i)
    if (i / 4 % 3 != 0 && i % 4 % 3 != 0) CHECK(half[i] == doctest::Approx(0.5));
  // Every sample counts, however many there are for one of the result.
  for (std::size_t i = 0; i < 8; ++i) {
    std::vector<float> one(8);
    one[i] = 1;
    const auto two = conformed(one, {1, 8, 1}, {1, 2, 1}, Resize::stretch);
    CHECK(two[0] + two[1] > 0.1F);
  }
  const auto wide = conformed({0, 1}, {1, 2, 1}, {1, 4, 1}, Resize::stretch);
  CHECK(wide[0] == 0);
  CHECK(wide[1] == doctest::Approx(0.25));
  CHECK(wide[2] == doctest::Approx(0.75));
  CHECK(wide[3] == 1);
  // One value stays that value, whatever the sizes are.
  for (const Resize how : {Resize::stretch, Resize::crop})
    for (const auto& [h, w] : {std::pair{1, 1}, std::pair{3, 17}, std::pair{40, 2}})
      for (const float v :
           conformed(std::vector<float>(13 * 7 * 3, 0.3F), {13, 7, 3}, {h, w, 3}, how))
        CHECK(v == 0.3F);
}

TEST_CASE("data: fit keeps all with black around, crop keeps the middle") {
  // Two rows of four columns: 0.1 0.2 0.3 0.4.
  const std::vector<float> p = {0.1F, 0.2F, 0.3F, 0.4F, 0.1F, 0.2F, 0.3F, 0.4F};
  const auto fit = conformed(p, {2, 4, 1}, {4, 4, 1}, Resize::fit);
  for (std::size_t x = 0; x < 4; ++x) {
    CHECK(fit[x] == 0);
    CHECK(fit[4 + x] == doctest::Approx(p[x]));
    CHECK(fit[8 + x] == doctest::Approx(p[x]));
    CHECK(fit[12 + x] == 0);
  }
  const auto crop = conformed(p, {2, 4, 1}, {2, 2, 1}, Resize::crop);
  CHECK(crop[0] == doctest::Approx(0.2));
  CHECK(crop[1] == doctest::Approx(0.3));
  // Upright.
  const auto tall = conformed({0.1F, 0.2F, 0.3F, 0.4F}, {4, 1, 1}, {2, 1, 1}, Resize::crop);
  CHECK(tall.size() == 2);
  const auto thin = conformed({0.5F, 0.5F, 0.5F, 0.5F}, {4, 1, 1}, {4, 4, 1}, Resize::fit);
  float sum = 0;
  for (const float v : thin) sum += v;
  CHECK(sum == doctest::Approx(2));  // one column of the four
}
