// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <filesystem>
#include <numeric>
#include <string>

#include "sw/base/io.hpp"
#include "sw/base/npy.hpp"
#include "sw/data/audio.hpp"
#include "sw/data/collection.hpp"
#include "sw/data/describe.hpp"
#include "sw/data/idx.hpp"
#include "sw/data/task.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/data/png.hpp"

using namespace lastmile;
using lastmile::testing::Bytes;
using lastmile::testing::error_of;
using lastmile::testing::png;
using lastmile::testing::TempDir;
namespace fs = std::filesystem;

namespace {

using Names = std::vector<std::string>;

// A grey picture whose pixels are all `value`.
void write_flat(const fs::path& file, int h, int w, int value) {
  fs::create_directories(file.parent_path());
  write_file_atomic(
      file,
      png(h, w, 8, 0, Bytes(static_cast<std::size_t>(h * w), static_cast<std::uint8_t>(value))));
}

Collection read(const fs::path& path, CollectionOptions o = {}) { return read_collection(path, o); }
std::string wrong(const fs::path& path, const CollectionOptions& o = {}) {
  return error_of([&] { (void)read_collection(path, o); });
}
bool says(const std::string& text, const std::string& part) {
  return text.find(part) != std::string::npos;
}

// A set of `n` pictures per class, whose brightness tells the class and the number.
void write_pictures(const fs::path& folder, const Names& classes, int n, int side = 6) {
  for (std::size_t k = 0; k < classes.size(); ++k)
    for (int i = 0; i < n; ++i)
      write_flat(folder / classes[k] / ("p" + std::to_string(100 + i) + ".png"), side, side,
                 static_cast<int>(k) * 80 + i);
}

// uint8 as numpy writes it.
Bytes npy_u8(const std::string& shape, const Bytes& data) {
  std::string header = "{'descr': '|u1', 'fortran_order': False, 'shape': (" + shape + "), }";
  header.append(63 - (10 + header.size()) % 64, ' ');
  header += '\n';
  Bytes out{0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, static_cast<std::uint8_t>(header.size()), 0};
  out.insert(out.end(), header.begin(), header.end());
  out.insert(out.end(), data.begin(), data.end());
  return out;
}

}  // namespace

TEST_CASE("data: a folder of pictures has the classes of its subfolders") {
  const TempDir dir;
  write_pictures(dir.path(), {"dog", "cat"}, 3);
  write_file_atomic(dir / "notes.doc", std::string_view("x"));
  write_file_atomic(dir / ".hidden.png", std::string_view("x"));
  const Collection c = read(dir.path());
  CHECK(c.format == SetFormat::pictures);
  CHECK(c.class_names == Names{"cat", "dog"});
  CHECK(c.train.data.y == std::vector<Label>{0, 0, 0, 1, 1, 1});
  CHECK(c.train.data.shape == Shape{6, 6, 1});
  CHECK(c.train.data.example(0)[5] == 80.0F / 255.0F);  // cat was written second
  CHECK(c.train.files[3] == "dog/p100.png");
  CHECK(c.test.data.size() == 0);
  CHECK(c.resized.empty());
  CHECK(c.notes.size() == 1);
  // Another order by classes.txt, and a class without an example.
  write_file_atomic(dir / "classes.txt", std::string_view("dog\nemu\r\ncat\n"));
  CHECK(read(dir.path()).class_names == Names{"dog", "emu", "cat"});
  CHECK(read(dir.path()).train.data.y == std::vector<Label>{0, 0, 0, 2, 2, 2});
  write_file_atomic(dir / "classes.txt", std::string_view("dog\n"));
  CHECK(says(wrong(dir.path()), "cat: this class is not in classes.txt"));
  write_file_atomic(dir / "classes.txt", std::string_view("dog\n\ncat\n"));
  CHECK(says(wrong(dir.path()), "classes.txt: line 2"));
}

TEST_CASE("data: parts of a folder are kept, validation where it is needed") {
  const TempDir dir;
  write_pictures(dir / "train", {"a", "b"}, 4);
  write_pictures(dir / "val", {"a", "b"}, 2);
  Collection c = read(dir.path());
  CHECK(c.train.data.size() == 8);
  CHECK(c.test.data.size() == 4);
  write_pictures(dir / "test", {"a", "b"}, 1);
  c = read(dir.path());
  CHECK(c.test.data.size() == 2);
  CHECK(c.notes.size() == 1);
  CHECK(says(c.notes.at(0), "4 examples of val are left out"));
  fs::remove_all(dir / "train");
  fs::remove_all(dir / "val");
  CHECK(read(dir.path()).train.data.size() == 2);  // a test alone is an undivided set
}

TEST_CASE("data: folders that contradict themselves are refused") {
  const TempDir dir;
  write_pictures(dir.path(), {"a", "b"}, 1);
  write_flat(dir / "loose.png", 6, 6, 1);
  CHECK(says(wrong(dir.path()), "expected all or none to be labelled"));
  fs::remove(dir / "loose.png");
  fs::create_directories(dir / "c");
  CHECK(says(wrong(dir.path()), "c: no picture or sound in this folder of a class"));
  write_audio(dir / "c" / "x.wav", std::vector<std::int16_t>(4000));
  CHECK(says(wrong(dir.path()), "has pictures"));
  fs::remove_all(dir / "c");
  fs::remove_all(dir / "b");
  CHECK(says(wrong(dir.path()), "examples of 1 class ('a'), expected at least 2"));
  fs::remove_all(dir / "a");
  CHECK(says(wrong(dir.path()), "nothing in it is known"));
  fs::create_directory_symlink(dir.path(), dir / "loop");
  CHECK(says(wrong(dir.path()), "nothing in it is known"));
  CHECK(says(wrong(dir / "nowhere"), "no such folder or file"));
}

TEST_CASE("data: pictures that cannot be read are told all at once") {
  const TempDir dir;
  write_pictures(dir.path(), {"a", "b"}, 30);
  for (int i = 0; i < 24; ++i)
    write_file_atomic(dir / "a" / ("p" + std::to_string(100 + i) + ".png"), std::string_view("no"));
  CollectionOptions o;
  o.input = Shape{6, 6, 1};
  const std::string text = wrong(dir.path(), o);
  CHECK(says(text, "24 files cannot be used"));
  CHECK(says(text, "p100.png: neither a PNG nor a JPEG"));
  CHECK(says(text, "p119.png"));
  CHECK(says(text, "and 4 more"));
  fs::remove(dir / "b" / "p100.png");
  fs::create_symlink("p100.png", dir / "b" / "p100.png");  // a circle
  const SetDescription d = describe_set(dir.path(), {});
  CHECK(d.problems.size() == 25);
  CHECK(d.parts.at(0).per_class == std::vector<std::size_t>{30, 30});
}

TEST_CASE("data: pictures come to the size of the network, or must be of one") {
  const TempDir dir;
  write_pictures(dir.path(), {"a", "b"}, 2);
  write_flat(dir / "b" / "wide.png", 4, 12, 200);
  CHECK(says(wrong(dir.path()), "--size ROWSxCOLUMNS"));
  CollectionOptions o;
  o.input = Shape{3, 3, 3};
  Collection c = read(dir.path(), o);
  CHECK(c.train.data.shape == Shape{3, 3, 3});
  CHECK(c.resized == "stretch");
  CHECK(c.train.data.example(4)[0] == 200.0F / 255.0F);
  o.resize = Resize::fit;
  CHECK(read(dir.path(), o).train.data.example(4)[0] == 0);  // black above
  o = {};
  o.size = Shape{5, 5, 0};
  CHECK(read(dir.path(), o).train.data.shape == Shape{5, 5, 1});
}

TEST_CASE("data: labels follow the names that are expected") {
  const TempDir dir;
  write_pictures(dir.path(), {"dog", "cat"}, 1);
  CollectionOptions o;
  o.class_names = {"emu", "dog", "cat"};
  const Collection c = read(dir.path(), o);
  CHECK(c.train.data.y == std::vector<Label>{2, 1});
  CHECK(c.class_names == o.class_names);
  CHECK(c.train.data.classes == 3);
  o.class_names = {"emu", "dog"};
  CHECK(says(wrong(dir.path(), o), "class 'cat' is none of 'emu', 'dog'"));
  o.class_names.clear();
  o.classes = 5;
  CHECK(says(wrong(dir.path(), o), "2 classes ('cat', 'dog'), expected 5"));
}

TEST_CASE("data: arrays of numpy, with channels last or first") {
  const TempDir dir;
  const auto values = [](std::size_t n) {
    NpyArray a{{static_cast<std::int64_t>(n), 2, 3, 3}, std::vector<float>(n * 18)};
    std::iota(a.values.begin(), a.values.end(), 0.0F);
    return a;
  };
  const NpyArray x = values(4), labels{{4}, {0, 1, 2, 1}};
  const std::vector<std::pair<std::string, NpyArray>> both = {{"x", x}, {"y", labels}};
  write_file_atomic(dir / "a.npz", encode_npz(both));
  const Collection c = read(dir / "a.npz");
  CHECK(c.format == SetFormat::arrays);
  CHECK_FALSE(c.unit_range);
  CHECK(c.class_names == Names{"0", "1", "2"});
  CHECK(c.train.data.shape == Shape{2, 3, 3});
  CHECK(c.train.data.x == x.values);  // as they are
  CollectionOptions o;
  o.layout = Layout::nchw;
  const Collection first = read(dir / "a.npz", o);
  CHECK(first.train.data.shape == Shape{3, 3, 2});
  CHECK(first.train.data.x[1] == 9);
  o = {};
  o.input = Shape{3, 3, 2};
  CHECK(read(dir / "a.npz", o).train.data.shape == Shape{3, 3, 2});
  // .npy with labels beside it, or without.
  write_file_atomic(dir / "b.npy", npy_u8("2, 1, 2", {0, 51, 255, 102}));
  Collection b = read(dir / "b.npy");
  CHECK_FALSE(b.labelled);
  CHECK(b.unit_range);
  CHECK(b.train.data.x == std::vector<float>{0, 51.0F / 255, 1, 102.0F / 255});
  write_file_atomic(dir / "b_labels.npy", npy_u8("2,", {1, 0}));
  b = read(dir / "b.npy");
  CHECK(b.labelled);
  CHECK(b.train.data.y == std::vector<Label>{1, 0});
  write_file_atomic(dir / "classes.txt", std::string_view("no\nyes\n"));
  CHECK(read(dir / "b.npy").class_names == Names{"no", "yes"});
  write_file_atomic(dir / "b_labels.npy", npy_u8("3,", {1, 0, 0}));
  CHECK(says(wrong(dir / "b.npy"), "labels of shape 3, expected 2"));
  // Parts.
  const std::vector<std::pair<std::string, NpyArray>> parts = {
      {"x_train", x}, {"y_train", labels}, {"x_test", values(1)}, {"y_test", {{1}, {2}}}};
  CHECK_FALSE(says(wrong(dir / "a.npz"), "no error"));  // classes.txt names two, labels go to 2
  fs::remove(dir / "classes.txt");
  write_file_atomic(dir / "c.npz", encode_npz(parts));
  const Collection d = read(dir / "c.npz");
  CHECK(d.train.data.size() == 4);
  CHECK(d.test.data.y == std::vector<Label>{2});
}

TEST_CASE("data: arrays that are none of a data set are refused") {
  const TempDir dir;
  const auto refused = [&](std::vector<std::pair<std::string, NpyArray>> arrays) {
    write_file_atomic(dir / "a.npz", encode_npz(arrays));
    return wrong(dir / "a.npz");
  };
  const NpyArray x{{2, 2, 2}, {1, 2, 3, 4, 5, 6, 7, 8}};
  CHECK(says(refused({{"weights", x}}), "arrays \"weights\", expected x and y"));
  CHECK(says(refused({{"x", x}, {"y", {{2}, {0, 0.5F}}}}), "label 0.5 of example 1"));
  CHECK(says(refused({{"x", x}, {"y", {{2}, {0, 4095}}}}), "label 4095"));
  CHECK(says(refused({{"x", {{4}, {1, 2, 3, 4}}}}), "expected examples x rows"));
  CHECK(says(refused({{"x", {{2, 1}, {1, std::nanf("")}}}, {"y", {{2}, {0, 1}}}}),
             "in example 1, expected a finite number"));
  CHECK(says(refused({{"x", {{0, 2, 2}, {}}}}), "expected every side"));
  write_file_atomic(dir / "b.npy", Bytes{0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 255, 0});
  CHECK(says(wrong(dir / "b.npy"), "ends in its header"));
}

TEST_CASE("data: a file of IDX images, with its labels or without") {
  const TempDir dir;
  const ImageSet set{4, 2, 2, 1, Bytes(16, 51), {0, 1, 1, 0}, 2};
  write_idx_images(dir / "some-images.idx3-ubyte.gz", set);
  CHECK_FALSE(read(dir / "some-images.idx3-ubyte.gz").labelled);
  write_idx_labels(dir / "some-labels.idx1-ubyte.gz", set.labels);
  const Collection c = read(dir / "some-images.idx3-ubyte.gz");
  CHECK(c.labelled);
  CHECK(c.train.data.y == set.labels);
  CHECK(c.class_names == Names{"0", "1"});
}

TEST_CASE("data: sounds of any rate and channels become features of the network's window") {
  const TempDir dir;
  std::vector<std::int16_t> tone(8000);
  for (std::size_t i = 0; i < tone.size(); ++i)
    tone[i] = static_cast<std::int16_t>(8000 * std::sin(0.1 * static_cast<double>(i)));
  for (const char* name : {"low", "high"}) fs::create_directories(dir / name);
  write_audio(dir / "low" / "a.wav", tone, 8000);  // a second
  write_audio(dir / "high" / "b.flac", tone);      // half of one
  const Collection c = read(dir.path());
  CHECK(c.format == SetFormat::sounds);
  CHECK(c.class_names == Names{"high", "low"});
  CHECK(c.train.data.shape == Shape{49, 40, 1});
  CollectionOptions o;
  o.input = Shape{20, 40, 1};
  CHECK(read(dir.path(), o).train.data.shape == Shape{20, 40, 1});
  const SetDescription d = describe_set(dir.path(), {});
  CHECK(d.rates == std::map<int, std::size_t>{{8000, 1}, {16000, 1}});
  CHECK(d.longest == doctest::Approx(1));
  CHECK(d.shortest == doctest::Approx(0.5));
}

TEST_CASE("data: small sets are split in what there is") {
  const TempDir dir;
  write_pictures(dir / "s", {"a", "b"}, 10);
  TaskOptions o;
  o.source = dir / "s";
  Task t = load_task(o);
  CHECK(t.source_test.size() == 4);
  CHECK(t.pretrain.size() == 13);
  CHECK(t.adapt.size() == 3);
  CHECK(t.shift == "rotate=25");
  CHECK(says(t.split, "13 of 16 to pre-train on, 3 of the rest to adapt on, 4 to test"));
  CHECK(class_counts(t.source_test) == std::vector<std::size_t>{2, 2});
  CHECK(t.shifted_files.size() == 4);
  o.adapt = 4;
  CHECK(says(error_of([&] { (void)load_task(o); }), "--adapt-examples: 4, expected 1 to 3"));
  o.adapt.reset();
  // With a target: both have tests of their own, and no example is on two sides.
  write_pictures(dir / "t", {"b", "a"}, 6);
  o.target = dir / "t";
  t = load_task(o);
  CHECK(t.pretrain.size() == 16);
  CHECK(t.source_test.size() == 4);
  CHECK(t.adapt.size() == 8);
  CHECK(t.shifted_test.size() == 4);
  CHECK(t.shift == "t");
  for (std::size_t i = 0; i < t.adapt.size(); ++i)
    for (std::size_t k = 0; k < t.shifted_test.size(); ++k)
      CHECK(t.adapt.example(i)[0] != t.shifted_test.example(k)[0]);
  // The target's folders say the classes, in whatever order they were written.
  for (std::size_t i = 0; i < t.adapt.size(); ++i)
    CHECK(t.adapt.y[i] == (t.adapt.example(i)[0] * 255 >= 80 ? 0 : 1));
  o.seed = 2;
  CHECK(load_task(o).adapt.x != t.adapt.x);
  CHECK(load_task(o).shifted_test.x == t.shifted_test.x);
  // A target that lacks a class has the others' numbers.
  write_pictures(dir / "three", {"a", "b", "c"}, 3);
  write_pictures(dir / "two", {"c", "b"}, 3);
  TaskOptions lacking;
  lacking.source = dir / "three";
  lacking.target = dir / "two";
  const Task less = load_task(lacking);
  CHECK(less.class_names == Names{"a", "b", "c"});
  CHECK(class_counts(less.shifted_test) == std::vector<std::size_t>{0, 1, 1});
  o.shift = "brightness=0.5";
  CHECK(load_task(o).shift == "t, brightness=0.5");
  CHECK(load_task(o).source_test.x == t.source_test.x);
}

TEST_CASE("data: a target alone, with labels and without") {
  const TempDir dir;
  write_pictures(dir / "t", {"a", "b"}, 6);
  TaskOptions o;
  o.target = dir / "t";
  Task t = load_task(o);
  CHECK(t.pretrain.size() == 0);
  CHECK(t.pretrain.shape == Shape{6, 6, 1});
  CHECK(t.adapt.size() == 8);
  CHECK(says(error_of([&] { require_source(t, "run"); }), "expected --source"));
  for (int i = 0; i < 5; ++i) write_flat(dir / "u" / (std::to_string(i) + ".png"), 6, 6, 40 * i);
  o.target = dir / "u";
  CHECK(says(error_of([&] { (void)load_task(o); }), "its examples have no labels"));
  o.labels_optional = true;
  o.classes = 3;
  t = load_task(o);
  CHECK_FALSE(t.labelled);
  CHECK(t.shifted_test.size() == 5);
  CHECK(t.shifted_files.at(1) == "1.png");
  CHECK(t.class_names.size() == 3);
  o.source = dir / "u";
  CHECK(says(error_of([&] { (void)load_task(o); }), "its examples have no labels"));
}

TEST_CASE("data: mean and deviation are applied after shifts and kept with the network") {
  const TempDir dir;
  write_pictures(dir / "s", {"a", "b"}, 10);
  TaskOptions o;
  o.data = dir / "s";
  o.shift = "none";
  const Task plain = load_task(o);
  o.mean = {0.5F};
  o.deviation = {0.25F};
  const Task t = load_task(o);
  for (std::size_t i = 0; i < t.pretrain.x.size(); ++i)
    CHECK(t.pretrain.x[i] == (plain.pretrain.x[i] - 0.5F) / 0.25F);
  CHECK(t.input_range->low == -2);
  CHECK(t.input_range->high == 2);
  CHECK(t.preprocessing.normalization.mean == std::vector<float>{0.5F});
  // What the network's file says is taken where nothing else is asked, and kept to.
  o.mean.clear();
  o.deviation.clear();
  o.stored = t.preprocessing;
  o.origin = "q.lmq";
  CHECK(load_task(o).pretrain.x == t.pretrain.x);
  o.mean = {0.4F};
  CHECK(says(error_of([&] { (void)load_task(o); }), "q.lmq: it was made for a --mean of 0.5"));
  o.stored.reset();
  o.mean = {0.5F, 0.5F};
  CHECK(says(error_of([&] { (void)load_task(o); }), "--mean: 2 values, expected 1 or 1"));
  o.mean = {0};
  o.deviation = {0};
  CHECK(says(error_of([&] { (void)load_task(o); }), "--std: 0, expected a number above 0"));
}
