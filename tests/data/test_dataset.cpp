// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "sw/base/io.hpp"
#include "sw/data/dataset.hpp"
#include "sw/data/glyphs.hpp"
#include "tests/base/temp_dir.hpp"

using lastmile::Dataset;
using lastmile::Label;
using lastmile::testing::error_of;

namespace {

Dataset numbered(int n) {
  Dataset d;
  d.shape = {1, 2, 1};
  d.classes = 3;
  for (int i = 0; i < n; ++i) {
    d.x.push_back(static_cast<float>(i));
    d.x.push_back(static_cast<float>(-i));
    d.y.push_back(static_cast<Label>(i % 3));
    d.group.push_back(i / 4);
  }
  return d;
}

}  // namespace

TEST_CASE("data: pixels become values from 0 to 1") {
  const lastmile::ImageSet set{2, 1, 2, 1, {0, 255, 51, 128}, {0, 1}, 2};
  const auto d = lastmile::to_dataset(set, 2);
  CHECK(d.shape == lastmile::Shape{1, 2, 1});
  CHECK(d.classes == 2);
  CHECK(d.x == std::vector<float>{0.0F, 1.0F, 0.2F, 128.0F / 255.0F});
  CHECK(d.y == set.labels);
  CHECK(d.group.empty());
}

TEST_CASE("data: slices, selections, groups and shuffles keep examples whole") {
  const auto d = numbered(12);
  const auto s = lastmile::slice(d, 4, 3);
  CHECK(s.x == std::vector<float>{4, -4, 5, -5, 6, -6});
  CHECK(s.y == std::vector<Label>{1, 2, 0});
  CHECK(s.group == std::vector<int>{1, 1, 1});
  CHECK(lastmile::slice(d, 12, 0).size() == 0);
  CHECK(error_of([&] { (void)lastmile::slice(d, 10, 3); }) ==
        "data set: examples 10 to 13 wanted, it has 12");
  CHECK(error_of([&] { (void)lastmile::slice(d, 13, std::numeric_limits<std::size_t>::max()); }) !=
        "no error");
  CHECK(lastmile::of_group(d, 2).x[0] == 8);
  CHECK(lastmile::of_group(d, 2).size() == 4);
  CHECK(lastmile::of_group(d, 9).size() == 0);
  CHECK(lastmile::class_counts(d) == std::vector<std::size_t>{4, 4, 4});

  const auto a = lastmile::shuffled(d, 1);
  CHECK(a.x == lastmile::shuffled(d, 1).x);
  CHECK(a.x != lastmile::shuffled(d, 2).x);
  std::vector<float> firsts;
  for (std::size_t i = 0; i < a.size(); ++i) {
    const auto v = static_cast<int>(a.example(i)[0]);
    firsts.push_back(a.example(i)[0]);
    CHECK(a.example(i)[1] == static_cast<float>(-v));
    CHECK(a.y[i] == v % 3);
    CHECK(a.group[i] == v / 4);
  }
  std::sort(firsts.begin(), firsts.end());
  for (std::size_t i = 0; i < firsts.size(); ++i) CHECK(firsts[i] == static_cast<float>(i));

  const lastmile::ImageSet set{3, 1, 2, 1, {1, 2, 3, 4, 5, 6}, {0, 1, 0}, 2};
  const auto part = lastmile::slice(set, 1, 2);
  CHECK(part.n == 2);
  CHECK(part.pixels == std::vector<std::uint8_t>{3, 4, 5, 6});
  CHECK(part.labels == std::vector<Label>{1, 0});
}

TEST_CASE("data: balancing repeats rare classes, group by group, and loses no example") {
  Dataset d;
  d.shape = {1, 1, 1};
  d.classes = 3;
  // Group 0: five of class 0, one of class 1; group 1: two of class 2.
  for (const auto& [y, group] :
       {std::pair{0, 0}, {0, 0}, {1, 0}, {0, 0}, {0, 0}, {0, 0}, {2, 1}, {2, 1}}) {
    d.x.push_back(static_cast<float>(d.y.size()));
    d.y.push_back(static_cast<Label>(y));
    d.group.push_back(group);
  }
  const Dataset b = lastmile::balanced(d, 1);
  CHECK(lastmile::class_counts(b) == std::vector<std::size_t>{5, 5, 2});
  CHECK(lastmile::class_counts(lastmile::of_group(b, 1)) == std::vector<std::size_t>{0, 0, 2});
  for (const float v : d.x) CHECK(std::count(b.x.begin(), b.x.end(), v) > 0);
  lastmile::check(b, "balanced");
}

TEST_CASE("data: a data set that contradicts itself is named") {
  const auto broken = [](auto change) {
    auto d = numbered(6);
    change(d);
    return error_of([&] { lastmile::check(d, "set"); });
  };
  CHECK(broken([](Dataset&) {}) == "no error");
  CHECK(broken([](Dataset& d) { d.y[2] = 3; }) == "set: label 3 of example 2, expected below 3");
  CHECK(broken([](Dataset& d) { d.x.pop_back(); }) == "set: 11 values for 6 examples, expected 12");
  CHECK(broken([](Dataset& d) { d.x[5] = std::nanf(""); }).find("at element 1 of example 2") !=
        std::string::npos);
  CHECK(broken([](Dataset& d) { d.group.pop_back(); }) == "set: 5 groups, expected 6");
  CHECK(broken([](Dataset& d) { d.classes = 1; }).find("1 classes") != std::string::npos);
  CHECK(broken([](Dataset& d) { d.shape.h = 0; }).find("shape 0x2x1") != std::string::npos);
}

TEST_CASE("data: glyphs have fixed bytes, for any number of threads") {
  const auto a = lastmile::make_glyphs(500, 7, 1);
  CHECK(a.n == 500);
  CHECK(a.classes == 10);
  CHECK(a.pixels.size() == 500 * 16 * 16);
  const auto b = lastmile::make_glyphs(500, 7, 3);
  CHECK(a.pixels == b.pixels);
  CHECK(a.labels == b.labels);
  // Computed once; a change here changes the built-in task.
  CHECK(lastmile::xxh64(a.pixels) == 3354906475796540045U);
  const auto longer = lastmile::make_glyphs(600, 7, 2);
  CHECK(std::equal(a.pixels.begin(), a.pixels.end(), longer.pixels.begin()));
  CHECK(lastmile::make_glyphs(500, 8, 1).pixels != a.pixels);
  CHECK(error_of([] { (void)lastmile::make_glyphs(0, 1); }).find("glyphs: 0 images") == 0);
}

TEST_CASE("data: glyph classes are balanced, distinct and inside the picture") {
  const auto set = lastmile::make_glyphs(5000, 1, 2);
  std::vector<std::vector<double>> mean(10, std::vector<double>(256));
  std::vector<double> count(10);
  double edge = 0;
  for (std::size_t i = 0; i < 5000; ++i) {
    ++count[set.labels[i]];
    for (std::size_t p = 0; p < 256; ++p) {
      mean[set.labels[i]][p] += set.pixels[i * 256 + p];
      if (p < 16 || p >= 240 || p % 16 == 0 || p % 16 == 15) edge += set.pixels[i * 256 + p];
    }
  }
  CHECK(edge / (5000 * 60) < 12);  // little more than the noise
  for (std::size_t k = 0; k < 10; ++k) {
    CHECK(std::abs(count[k] - 500) < 5 * std::sqrt(450.0));
    for (auto& v : mean[k]) v /= count[k];
  }
  // The nearest class mean already names most images: the classes differ and the labels are right.
  int right = 0;
  for (std::size_t i = 0; i < 1000; ++i) {
    std::size_t best = 0;
    double least = 1e30;
    for (std::size_t k = 0; k < 10; ++k) {
      double d = 0;
      for (std::size_t p = 0; p < 256; ++p) {
        const double e = set.pixels[i * 256 + p] - mean[k][p];
        d += e * e;
      }
      if (d < least) {
        least = d;
        best = k;
      }
    }
    right += best == set.labels[i];
  }
  CHECK(right > 750);
}
