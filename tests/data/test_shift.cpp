// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>

#include "sw/base/io.hpp"
#include "sw/data/glyphs.hpp"
#include "sw/data/shift.hpp"
#include "tests/base/temp_dir.hpp"

using lastmile::Dataset;
using lastmile::Shift;
using lastmile::testing::error_of;

namespace {

Dataset image(int h, int w, std::vector<float> x, int c = 1) {
  Dataset d;
  d.shape = {h, w, c};
  d.classes = 2;
  d.y.assign(x.size() / static_cast<std::size_t>(h * w * c), 0);
  d.x = std::move(x);
  return d;
}

Dataset shifted(Dataset d, const char* spec, std::uint64_t seed = 1, int threads = 1) {
  lastmile::apply_shift(d, lastmile::parse_shift(spec), seed, threads);
  return d;
}

void check_close(const std::vector<float>& found, const std::vector<float>& expected) {
  REQUIRE(found.size() == expected.size());
  for (std::size_t i = 0; i < found.size(); ++i) {
    CAPTURE(i);
    CHECK(found[i] == doctest::Approx(expected[i]).epsilon(1e-6).scale(1));
  }
}

std::string shift_error(const char* spec) {
  return error_of([&] { (void)lastmile::parse_shift(spec); });
}

}  // namespace

TEST_CASE("data: a shift is read from its text and written back") {
  const Shift s = lastmile::parse_shift(" rotate=25, contrast = 0.6 ,noise=0.1,blur=1.0");
  CHECK(s == Shift{25, 1, 0.6, 1, 0, 0.1});
  CHECK(lastmile::to_string(s) == "rotate=25,blur=1,contrast=0.6,noise=0.1");
  CHECK(lastmile::parse_shift(lastmile::to_string(s)) == s);
  CHECK(lastmile::parse_shift("").none());
  CHECK(lastmile::parse_shift("none").none());
  CHECK(lastmile::to_string(Shift{}) == "none");
  CHECK(lastmile::parse_shift("brightness=-0.25").brightness == -0.25);
}

TEST_CASE("data: a wrong shift says which item, what is wrong and what was expected") {
  CHECK(shift_error("rotat=3") ==
        "shift: 'rotat' in 'rotat=3', expected rotate, blur, contrast, gain, brightness or noise");
  CHECK(shift_error("rotate") == "shift: 'rotate' has no value, expected rotate=NUMBER");
  CHECK(shift_error("rotate=") == "shift: rotate = '', expected a number");
  CHECK(shift_error("rotate=2x") == "shift: rotate = '2x', expected a number");
  CHECK(shift_error("rotate=nan").find("shift: rotate = nan, expected -360 to 360") == 0);
  CHECK(shift_error("noise=-0.1").find("shift: noise = -0.1, expected 0 to 10") == 0);
  CHECK(shift_error("blur=1e99").find("shift: blur = 1e99, expected 0 to 10 (pixels)") == 0);
  CHECK(shift_error("noise=0.1,noise=0.2") == "shift: noise is given twice");
  CHECK(shift_error("noise=0.1,").find("shift: ''") == 0);
  CHECK(shift_error(",").find("shift: ''") == 0);
  CHECK(shift_error("rotate=1=2").find("'1=2', expected a number") != std::string::npos);
}

TEST_CASE("data: rotation turns counter-clockwise about the centre and fills with 0") {
  const std::vector<float> x{1, 2, 3,  //
                             4, 5, 6,  //
                             7, 8, 9};
  std::vector<float> scaled = x;
  for (auto& v : scaled) v /= 10;
  check_close(shifted(image(3, 3, scaled), "rotate=90").x,
              {.3F, .6F, .9F, .2F, .5F, .8F, .1F, .4F, .7F});
  check_close(shifted(image(3, 3, scaled), "rotate=-90").x,
              {.7F, .4F, .1F, .8F, .5F, .2F, .9F, .6F, .3F});
  check_close(shifted(image(3, 3, scaled), "rotate=180").x,
              {.9F, .8F, .7F, .6F, .5F, .4F, .3F, .2F, .1F});
  // At 45 degrees a corner of a white square looks up a point outside: half-way between ink and
  // nothing.
  const auto d = shifted(image(3, 3, std::vector<float>(9, 1.0F)), "rotate=45");
  CHECK(d.x[4] == doctest::Approx(1));
  CHECK(d.x[0] == doctest::Approx(2 - std::sqrt(2.0)));  // source (1, 1 - sqrt 2) of the centre
  // Channels turn together.
  const auto two = shifted(image(1, 2, {.1F, .2F, .3F, .4F}, 2), "rotate=180");
  check_close(two.x, {.3F, .4F, .1F, .2F});
}

TEST_CASE("data: contrast keeps the mean, brightness adds, both end inside 0 to 1") {
  check_close(shifted(image(1, 4, {0, 1, .5F, .5F}), "contrast=0.5").x, {.25F, .75F, .5F, .5F});
  check_close(shifted(image(1, 4, {0, 1, .5F, .5F}), "contrast=3").x, {0, 1, .5F, .5F});
  check_close(shifted(image(1, 2, {0, .2F, .4F, .6F}, 2), "contrast=0").x, {.2F, .4F, .2F, .4F});
  check_close(shifted(image(1, 3, {0, .5F, .9F}), "brightness=0.2").x, {.2F, .7F, 1});
  check_close(shifted(image(1, 3, {0, .5F, .9F}), "brightness=-0.2").x, {0, .3F, .7F});
}

TEST_CASE("data: blur is a normalized Gaussian in both directions") {
  std::vector<float> dot(21 * 21);
  dot[10 * 21 + 10] = 1;
  const auto d = shifted(image(21, 21, dot), "blur=1.5");
  double sum = 0, var_x = 0, var_y = 0;
  for (int row = 0; row < 21; ++row)
    for (int col = 0; col < 21; ++col) {
      const double v = static_cast<double>(d.x[static_cast<std::size_t>(row * 21 + col)]);
      sum += v;
      var_x += v * (col - 10) * (col - 10);
      var_y += v * (row - 10) * (row - 10);
    }
  CHECK(sum == doctest::Approx(1).epsilon(1e-5));
  CHECK(var_x == doctest::Approx(2.25).epsilon(0.06));  // cut at three standard deviations
  CHECK(var_y == doctest::Approx(var_x).epsilon(1e-5));
  // A vanishing blur changes nothing, even where its square underflows.
  for (const char* spec : {"blur=1e-3", "blur=1e-70", "blur=1e-300"})
    check_close(shifted(image(1, 3, {.1F, .9F, .4F}), spec).x, {.1F, .9F, .4F});
  // Flat stays flat up to the edge.
  check_close(shifted(image(3, 4, std::vector<float>(12, .7F)), "blur=2").x,
              std::vector<float>(12, .7F));
}

TEST_CASE("data: noise has the stated strength and differs between examples and seeds") {
  const auto flat = image(50, 50, std::vector<float>(2 * 2500, .5F));
  const auto d = shifted(flat, "noise=0.05", 3);
  double sum = 0, square = 0;
  for (const float v : d.x) {
    sum += static_cast<double>(v) - 0.5;
    square += (static_cast<double>(v) - 0.5) * (static_cast<double>(v) - 0.5);
  }
  CHECK(std::abs(sum / 5000) < 5 * 0.05 / std::sqrt(5000));
  CHECK(std::sqrt(square / 5000) == doctest::Approx(0.05).epsilon(0.05));
  CHECK(!std::equal(d.example(0).begin(), d.example(0).end(), d.example(1).begin()));
  CHECK(d.x != shifted(flat, "noise=0.05", 4).x);
}

TEST_CASE("data: a shift has fixed bits, for any number of threads") {
  const auto glyphs = lastmile::to_dataset(lastmile::make_glyphs(64, 5));
  const char* spec = "rotate=35,blur=0.7,contrast=0.6,brightness=0.05,noise=0.1";
  const auto one = shifted(glyphs, spec, 9, 1);
  CHECK(one.x == shifted(glyphs, spec, 9, 3).x);
  // Computed once; a change here changes every shifted task.
  CHECK(lastmile::xxh64(lastmile::bytes_of(std::span<const float>(one.x))) ==
        12762149163256600715U);
  CHECK(shifted(glyphs, "none").x == glyphs.x);
  // An example's shift does not depend on what follows it.
  CHECK(shifted(lastmile::slice(glyphs, 0, 8), spec, 9, 1).x == lastmile::slice(one, 0, 8).x);
}
