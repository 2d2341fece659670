// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <functional>
#include <string>

#include "sw/base/io.hpp"
#include "sw/data/idx.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/data/shared.hpp"

using lastmile::ImageSet;
using lastmile::Label;
using lastmile::testing::error_of;
using lastmile::testing::TempDir;
using Bytes = std::vector<std::uint8_t>;

namespace {

ImageSet small_set(int n, int c = 1) {
  ImageSet s{n, 3, 2, c, {}, {}, 2};
  for (int i = 0; i < n * 6 * c; ++i) s.pixels.push_back(static_cast<std::uint8_t>(i * 37));
  for (int i = 0; i < n; ++i) s.labels.push_back(static_cast<Label>(i % 2));
  return s;
}

Bytes images_bytes() { return {0, 0, 8, 3, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0, 2, 10, 11, 12, 13}; }
Bytes labels_bytes() { return {0, 0, 8, 1, 0, 0, 0, 2, 1, 0}; }

std::string images_error(const Bytes& bytes) {
  return error_of([&] { (void)lastmile::parse_idx_images(bytes, "img"); });
}
std::string labels_error(const Bytes& bytes) {
  return error_of([&] { (void)lastmile::parse_idx_labels(bytes, "lab"); });
}
Bytes with(Bytes bytes, std::size_t at, std::uint8_t value) {
  bytes.at(at) = value;
  return bytes;
}

}  // namespace

TEST_CASE("data: IDX images and labels are read as they were written") {
  const auto images = lastmile::parse_idx_images(images_bytes(), "img");
  CHECK(images.n == 2);
  CHECK(images.h == 1);
  CHECK(images.w == 2);
  CHECK(images.c == 1);
  CHECK(images.pixels == Bytes{10, 11, 12, 13});
  CHECK(lastmile::parse_idx_labels(labels_bytes(), "lab") == std::vector<Label>{1, 0});

  const TempDir dir;
  for (const char* gz : {"", ".gz"})
    for (const int c : {1, 3}) {
      const auto set = small_set(5, c);
      const auto image_file = dir / (std::string("images") + gz);
      const auto label_file = dir / (std::string("labels") + gz);
      lastmile::write_idx_images(image_file, set);
      lastmile::write_idx_labels(label_file, set.labels);
      CHECK(lastmile::is_gzip(lastmile::read_file(image_file)) == (*gz != '\0'));
      const auto back = lastmile::read_idx(image_file, label_file);
      CHECK(back.n == 5);
      CHECK(back.h == 3);
      CHECK(back.w == 2);
      CHECK(back.c == c);
      CHECK(back.classes == 2);
      CHECK(back.pixels == set.pixels);
      CHECK(back.labels == set.labels);
    }
}

TEST_CASE("data: every IDX header field is checked and named") {
  CHECK(images_error({}) == "img: magic: 0 bytes, expected 4");
  CHECK(images_error(with(images_bytes(), 0, 1)).find("img: magic: bytes 01 00 08 03") == 0);
  CHECK(images_error(with(images_bytes(), 1, 1)).find("img: magic: bytes 00 01 08 03") == 0);
  CHECK(images_error(with(images_bytes(), 2, 0x0d)) ==
        "img: magic: element type 0d, expected 08 (unsigned bytes)");
  CHECK(images_error(labels_bytes()) == "img: magic: 1 dimensions, expected 3 or 4 (images)");
  CHECK(labels_error(images_bytes()) == "lab: magic: 3 dimensions, expected 1 (labels)");
  CHECK(images_error(with(images_bytes(), 3, 255)).find("255 dimensions") != std::string::npos);
  CHECK(images_error(with(images_bytes(), 7, 0)) == "img: images: 0, expected 1 to 10000000");
  CHECK(images_error(with(images_bytes(), 8, 0xff))
            .find("img: rows: 4278190081, expected 1 to 4096") == 0);
  CHECK(images_error(with(images_bytes(), 15, 0)) == "img: columns: 0, expected 1 to 4096");
  CHECK(images_error(with(images_bytes(), 7, 3)) ==
        "img: data: 4 bytes, expected 6 (3 images of 1x2x1): truncated");
  CHECK(labels_error(with(labels_bytes(), 7, 1)) ==
        "lab: data: 2 bytes, expected 1 (1 labels): bytes after the end");
  CHECK(labels_error(with(labels_bytes(), 4, 0xff)).find("lab: labels: 4278190082, expected") == 0);
}

TEST_CASE("data: no prefix of an IDX file is accepted, nor one more byte") {
  for (std::size_t n = 0; n < images_bytes().size(); ++n) {
    const auto bytes = images_bytes();
    CHECK(images_error(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)))
              .find("img: ") == 0);
  }
  for (std::size_t n = 0; n < labels_bytes().size(); ++n) {
    const auto bytes = labels_bytes();
    CHECK(labels_error(Bytes(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(n)))
              .find("lab: ") == 0);
  }
  auto longer = images_bytes();
  longer.push_back(0);
  CHECK(images_error(longer).find("bytes after the end") != std::string::npos);
}

TEST_CASE("data: labels that cannot belong to the images are refused") {
  const auto join = [](std::vector<Label> labels, int classes) {
    return error_of([&] {
      (void)lastmile::join_idx(lastmile::parse_idx_images(images_bytes(), "img"), "img",
                               std::move(labels), "lab", classes);
    });
  };
  CHECK(join({0, 1}, 0) == "no error");
  CHECK(join({0, 1}, 2) == "no error");
  CHECK(join({1, 0, 1}, 0) == "lab: labels: 3, expected 2 (the images of img)");
  CHECK(join({0, 7}, 5) == "lab: labels: 7 at example 1, expected below 5 (the number of classes)");
  CHECK(join({0, 2}, 0).find("lab: labels: the largest is 2 but none is 1") == 0);
  CHECK(join({0, 0}, 0).find("lab: labels: all are 0") == 0);
}

TEST_CASE("data: an IDX folder is found by the usual names, and a part of one is an error") {
  const auto set = small_set(4);
  for (const char* test_name : {"t10k", "test"})
    for (const char* sep : {"-", "."})
      for (const char* gz : {"", ".gz"}) {
        const TempDir dir;
        CHECK(!lastmile::find_idx_folder(dir.path()));
        const auto name = [&](const std::string& part, const char* type) {
          return dir / (part + sep + type + "-ubyte" + gz);
        };
        lastmile::write_idx_images(name("train-images", "idx3"), set);
        lastmile::write_idx_labels(name("train-labels", "idx1"), set.labels);
        lastmile::write_idx_images(name(std::string(test_name) + "-images", "idx3"), set);
        CHECK(error_of([&] {
                (void)lastmile::find_idx_folder(dir.path());
              }).find("no t10k-labels-idx1-ubyte or t10k-labels-idx1-ubyte.gz") !=
              std::string::npos);
        lastmile::write_idx_labels(name(std::string(test_name) + "-labels", "idx1"), set.labels);
        const auto found = lastmile::find_idx_folder(dir.path());
        REQUIRE(found);
        CHECK(lastmile::read_idx_folder(*found).test.pixels == set.pixels);
      }
}

TEST_CASE("data: the test part must fit the training part") {
  const TempDir dir;
  auto set = small_set(4);
  lastmile::write_idx_images(dir / "train-images-idx3-ubyte", set);
  lastmile::write_idx_labels(dir / "train-labels-idx1-ubyte", set.labels);
  lastmile::write_idx_labels(dir / "t10k-labels-idx1-ubyte", set.labels);
  std::swap(set.h, set.w);
  lastmile::write_idx_images(dir / "t10k-images-idx3-ubyte", set);
  const auto read = [&] {
    return error_of(
        [&] { (void)lastmile::read_idx_folder(*lastmile::find_idx_folder(dir.path())); });
  };
  CHECK(read().find("t10k-images-idx3-ubyte: images: 2x3x1, expected 3x2x1") != std::string::npos);
  std::swap(set.h, set.w);
  lastmile::write_idx_images(dir / "t10k-images-idx3-ubyte", set);
  set.labels[3] = 2;
  lastmile::write_idx_labels(dir / "t10k-labels-idx1-ubyte", set.labels);
  CHECK(read().find("t10k-labels-idx1-ubyte: labels: 2 at example 3, expected below 2") !=
        std::string::npos);
  lastmile::write_file_atomic(dir / "t10k-labels-idx1-ubyte.gz", std::string_view("\x1f\x8b"));
  std::filesystem::remove(dir / "t10k-labels-idx1-ubyte");
  CHECK(read().find("t10k-labels-idx1-ubyte.gz: gzip: truncated") != std::string::npos);
}

TEST_CASE("data: Fashion-MNIST is read as published") {
  const auto folder = lastmile::testing::shared_data("fashion-mnist");
  if (folder.empty()) return;
  const auto files = lastmile::find_idx_folder(folder);
  REQUIRE(files);
  const auto test = lastmile::read_idx(files->test_images, files->test_labels);
  CHECK(test.n == 10000);
  CHECK(test.h == 28);
  CHECK(test.w == 28);
  CHECK(test.classes == 10);
  CHECK(test.labels[0] == 9);  // an ankle boot
  std::vector<int> counts(10);
  for (const auto y : test.labels) ++counts[y];
  for (const int count : counts) CHECK(count == 1000);
}

TEST_CASE("data: a raw file and a compressed one of other content are not chosen between") {
  const TempDir dir;
  for (const char* part : {"train", "t10k"}) {
    lastmile::write_idx_images(dir / (std::string(part) + "-images-idx3-ubyte"), small_set(4));
    lastmile::write_idx_labels(dir / (std::string(part) + "-labels-idx1-ubyte"),
                               small_set(4).labels);
  }
  lastmile::write_idx_images(dir / "train-images-idx3-ubyte.gz", small_set(4));
  CHECK(lastmile::find_idx_folder(dir.path())->train_images == dir / "train-images-idx3-ubyte");
  lastmile::write_idx_images(dir / "train-images-idx3-ubyte.gz", small_set(6));
  const std::string text = error_of([&] { (void)lastmile::find_idx_folder(dir.path()); });
  CHECK(text.find("train-images-idx3-ubyte.gz: its content differs from") != std::string::npos);
}
