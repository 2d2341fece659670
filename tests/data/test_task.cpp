// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <set>
#include <string>

#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "sw/data/audio.hpp"
#include "sw/data/idx.hpp"
#include "sw/data/shift.hpp"
#include "sw/data/task.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/data/shared.hpp"

using lastmile::Label;
using lastmile::load_task;
using lastmile::Task;
using lastmile::TaskOptions;
using lastmile::testing::error_of;
using lastmile::testing::TempDir;

namespace {

void check_all(const Task& task) {
  for (const auto* d : {&task.pretrain, &task.source_test, &task.adapt, &task.shifted_test}) {
    lastmile::check(*d, task.name);
    CHECK(d->shape == task.pretrain.shape);
    CHECK(d->classes == static_cast<int>(task.class_names.size()));
    CHECK(d->size() > 0);
  }
}

std::string task_error(const TaskOptions& options) {
  return error_of([&] { (void)load_task(options); });
}

// Two classes told apart by pitch, three training speakers and two held-out ones with four clips of
// each class.
void write_audio_set(const TempDir& dir) {
  std::string index = "file,start,length,class,class_name,speaker,split\n";
  std::vector<std::int16_t> all;
  lastmile::Rng rng(1);
  const auto add = [&](const char* speaker, const char* split, double loudness = 1) {
    for (int i = 0; i < 8; ++i) {
      const int label = i % 2;
      index += "a.flac," + std::to_string(all.size()) + ",1600," + std::to_string(label) +
               (label == 0 ? ",low," : ",high,") + speaker + "," + split + "\n";
      for (int t = 0; t < 1600; ++t)
        all.push_back(
            static_cast<std::int16_t>(loudness * 5000 * std::sin(t * (label == 0 ? 0.1 : 0.9)) +
                                      loudness * 300 * rng.normal()));
    }
  };
  add("ann", "train");
  add("bob", "train");
  add("cyd", "test", 0.1);
  add("eve", "adapt");
  add("dan", "adapt");
  lastmile::write_audio(dir / "a.flac", all);
  lastmile::write_file_atomic(dir / "index.csv", std::string_view(index));
}

// 60 images, no two alike, of two classes that alternate or come one after the other.
void write_image_set(const TempDir& dir, bool sorted = false) {
  lastmile::ImageSet set{60, 4, 4, 1, {}, {}, 2};
  for (int i = 0; i < 60 * 16; ++i)
    set.pixels.push_back(static_cast<std::uint8_t>(i % 16 == 0 ? i / 16 : i));
  for (int i = 0; i < 60; ++i) set.labels.push_back(static_cast<Label>(sorted ? i / 30 : i % 2));
  lastmile::write_idx_images(dir / "train-images-idx3-ubyte.gz", set);
  lastmile::write_idx_labels(dir / "train-labels-idx1-ubyte.gz", set.labels);
  lastmile::write_idx_images(dir / "t10k-images-idx3-ubyte", set);
  lastmile::write_idx_labels(dir / "t10k-labels-idx1-ubyte", set.labels);
}

}  // namespace

TEST_CASE("data: the built-in task is complete and the same for any number of threads") {
  TaskOptions o;
  o.adapt = 300;
  const Task a = load_task(o);
  check_all(a);
  CHECK(a.kind == lastmile::TaskKind::glyphs);
  CHECK(a.name == "glyphs");
  CHECK(a.shift == "rotate=35,contrast=0.6,noise=0.1");
  CHECK(a.pretrain.size() == 10000);
  CHECK(a.source_test.size() == 4000);
  CHECK(a.adapt.size() == 300);
  CHECK(a.shifted_test.y == a.source_test.y);
  CHECK(a.shifted_test.x != a.source_test.x);
  CHECK(a.speakers.empty());
  o.threads = 2;
  const Task b = load_task(o);
  CHECK(a.pretrain.x == b.pretrain.x);
  CHECK(a.shifted_test.x == b.shifted_test.x);
  CHECK(a.adapt.x == b.adapt.x);
  // Another seed: other adaptation data, the same network to start from and the same tests.
  o.seed = 2;
  const Task c = load_task(o);
  CHECK(a.pretrain.x == c.pretrain.x);
  CHECK(a.shifted_test.x == c.shifted_test.x);
  CHECK(a.adapt.x != c.adapt.x);
  o.shift = "none";
  const Task d = load_task(o);
  CHECK(d.shift == "none");
  CHECK(d.shifted_test.x == d.source_test.x);
}

TEST_CASE("data: an image folder is split into pre-training, adaptation and test") {
  const TempDir dir;
  write_image_set(dir);
  TaskOptions o;
  o.data = dir.path() / "";
  o.adapt = 6;
  o.shift = "none";
  const Task t = load_task(o);
  check_all(t);
  CHECK(t.kind == lastmile::TaskKind::images);
  CHECK(t.name == dir.path().filename().string());
  CHECK(t.pretrain.size() == 50);
  CHECK(t.source_test.size() == 60);
  CHECK(t.adapt.size() == 6);
  CHECK(t.class_names == std::vector<std::string>{"0", "1"});
  // The same share of both classes everywhere, and no image on both sides.
  CHECK(lastmile::class_counts(t.pretrain) == std::vector<std::size_t>{25, 25});
  CHECK(lastmile::class_counts(t.adapt) == std::vector<std::size_t>{3, 3});
  for (std::size_t i = 0; i < t.adapt.size(); ++i)
    for (std::size_t k = 0; k < t.pretrain.size(); ++k)
      CHECK_FALSE(std::ranges::equal(t.adapt.example(i), t.pretrain.example(k)));
  // Another seed: other images to adapt on, the same ones to pre-train on.
  o.seed = 2;
  CHECK(load_task(o).adapt.x != t.adapt.x);
  CHECK(load_task(o).pretrain.x == t.pretrain.x);
  o.seed = 1;
  o.shift = "default";
  CHECK(load_task(o).shift == "rotate=25");
  o.adapt = 11;
  CHECK(task_error(o).find("--adapt-examples: 11, expected 1 to 10 (") == 0);
  o.adapt.reset();
  CHECK(load_task(o).adapt.size() == 10);
}

TEST_CASE("data: a file sorted by class is split into samples of every class") {
  const TempDir dir;
  write_image_set(dir, true);
  TaskOptions o;
  o.data = dir.path();
  o.adapt = 4;
  o.shift = "none";
  const Task t = load_task(o);
  CHECK(lastmile::class_counts(t.pretrain) == std::vector<std::size_t>{25, 25});
  CHECK(lastmile::class_counts(t.adapt) == std::vector<std::size_t>{2, 2});
  // A part of the test is a sample too: curves look at its first examples only.
  const auto head = lastmile::class_counts(lastmile::slice(t.source_test, 0, 20));
  CHECK(head[0] > 3);
  CHECK(head[1] > 3);
}

TEST_CASE("data: a stratified choice has every class in its share, to one example") {
  const char* text = std::getenv("LASTMILE_SEED");
  const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : 20260418;
  MESSAGE("LASTMILE_SEED=" << seed);
  lastmile::Rng rng(seed);
  for (int round = 0; round < 200; ++round) {
    CAPTURE(round);
    std::vector<Label> labels(1 + rng.below(300));
    const std::uint64_t classes = 1 + rng.below(round % 10 == 0 ? 600 : 9);
    for (auto& y : labels) y = static_cast<Label>(rng.below(classes) * rng.below(2));
    const std::size_t count = rng.below(labels.size() + 1);
    const auto chosen = lastmile::stratified_indices(labels, count, rng.next());
    CHECK(chosen.size() == count);
    CHECK(std::set(chosen.begin(), chosen.end()).size() == count);
    for (std::size_t k = 0; k < classes; ++k) {
      const auto is = [&](std::size_t i) { return labels[i] == k; };
      const auto all = std::count(labels.begin(), labels.end(), k);
      const double share = static_cast<double>(all) * static_cast<double>(count) /
                           static_cast<double>(labels.size());
      CHECK(std::abs(static_cast<double>(std::ranges::count_if(chosen, is)) - share) < 1);
    }
    const auto rest = lastmile::remaining_indices(labels.size(), chosen);
    CHECK(rest.size() + count == labels.size());
  }
}

TEST_CASE("data: an audio folder gives features and held-out speakers") {
  const TempDir dir;
  write_audio_set(dir);
  TaskOptions o;
  o.data = dir.path();
  const Task t = load_task(o);
  check_all(t);
  CHECK(t.kind == lastmile::TaskKind::audio);
  CHECK(t.shift == "speakers");
  CHECK(t.pretrain.shape == lastmile::Shape{4, 40, 1});
  CHECK(t.pretrain.size() == 16);
  CHECK(t.source_test.size() == 8);
  CHECK(t.speakers == std::vector<std::string>{"dan", "eve"});
  CHECK(t.class_names == std::vector<std::string>{"low", "high"});
  for (int s = 0; s < 2; ++s) {
    const auto part = lastmile::speaker_data(t, s);
    CHECK(lastmile::class_counts(part.adapt) == std::vector<std::size_t>{2, 2});
    CHECK(lastmile::class_counts(part.test) == std::vector<std::size_t>{2, 2});
    for (std::size_t i = 0; i < part.adapt.size(); ++i)  // no clip is on both sides
      for (std::size_t k = 0; k < part.test.size(); ++k)
        CHECK(!std::equal(part.adapt.example(i).begin(), part.adapt.example(i).end(),
                          part.test.example(k).begin()));
  }
  CHECK(error_of([&] {
          (void)lastmile::speaker_data(t, 2);
        }).find("speaker: 2, expected below 2") == 0);
  // Normalized on the training split alone.
  double sum = 0;
  for (std::size_t i = 0; i < t.pretrain.x.size(); i += 40)
    sum += static_cast<double>(t.pretrain.x[i]);
  CHECK(sum / 64 == doctest::Approx(0).scale(1).epsilon(1e-5));
  // The test speaker is quieter, and stays so.
  double quiet = 0;
  for (std::size_t i = 0; i < t.source_test.x.size(); i += 40)
    quiet += static_cast<double>(t.source_test.x[i]);
  CHECK(quiet / 32 < -0.5);
  o.threads = 2;
  CHECK(load_task(o).pretrain.x == t.pretrain.x);
  o.seed = 5;
  const Task other = load_task(o);
  CHECK(other.pretrain.x == t.pretrain.x);
  CHECK(other.adapt.x != t.adapt.x);

  o.speaker_adapt = 0.75;
  CHECK(lastmile::speaker_data(load_task(o), 0).adapt.size() == 6);
  o.speaker_adapt = 1;
  CHECK(task_error(o).find("speaker part for adaptation: 1") == 0);
  o.speaker_adapt = 0.5;
  o.shift = "rotate=5";
  CHECK(task_error(o).find("shift: 'rotate=5' for the audio data") == 0);
  o.shift = "none";
  // Another rate: the clips are resampled, and last as long.
  o.features.rate = 8000;
  o.features.high_hz = 3900;
  o.features.frame = 320;
  o.features.hop = 160;
  o.features.bands = 20;
  CHECK(load_task(o).pretrain.shape == lastmile::Shape{4, 20, 1});
}

TEST_CASE("data: a network's normalization is used, whatever clips the folder has to train on") {
  const TempDir dir;
  write_audio_set(dir);
  TaskOptions o;
  o.data = dir.path();
  const Task first = load_task(o);
  // Without ann's clips the folder would be normalized otherwise.
  auto text = lastmile::read_text_file(dir / "index.csv");
  for (auto at = text.find("ann,train"); at != std::string::npos; at = text.find("ann,train", at)) {
    const auto begin = text.rfind('\n', at) + 1;
    text.erase(begin, text.find('\n', at) + 1 - begin);
    at = begin;
  }
  lastmile::write_file_atomic(dir / "index.csv", std::string_view(text));
  CHECK(load_task(o).source_test.x != first.source_test.x);
  o.stored = first.preprocessing;
  o.origin = "q.lmq";
  CHECK(load_task(o).source_test.x == first.source_test.x);
  // The stored features are taken, unless others are asked for.
  o.features.hop = 100;
  CHECK(load_task(o).source_test.x == first.source_test.x);
  o.features_given = true;
  CHECK(task_error(o).find("q.lmq: it was made for feature setting hop 320") == 0);
  o.features_given = false;
  // Renumbered classes.
  for (std::size_t at = 0; (at = text.find(",1600,", at)) != std::string::npos; at += 6)
    text[at + 6] = text[at + 6] == '0' ? '1' : '0';
  lastmile::write_file_atomic(dir / "index.csv", std::string_view(text));
  CHECK(task_error(o).find("q.lmq: it was made for class 0 'low', but the data have 'high'") == 0);
}

TEST_CASE("data: a speaker who is held out may not be trained on") {
  const TempDir dir;
  write_audio_set(dir);
  auto text = lastmile::read_text_file(dir / "index.csv");
  text.replace(text.find("ann,train"), 3, "eve");
  lastmile::write_file_atomic(dir / "index.csv", std::string_view(text));
  TaskOptions o;
  o.data = dir.path();
  CHECK(task_error(o).find("index.csv: line 2: speaker 'eve' is in the adapt split too") !=
        std::string::npos);
  for (const char* split : {"test", "adapt"}) {
    write_audio_set(dir);
    text = lastmile::read_text_file(dir / "index.csv");
    const std::string field = std::string(",") + split + "\n";
    for (auto at = text.find(field); at != std::string::npos; at = text.find(field))
      text.replace(at, field.size(), ",train\n");
    lastmile::write_file_atomic(dir / "index.csv", std::string_view(text));
    CHECK(task_error(o).find(std::string("index.csv: split ") + split) != std::string::npos);
  }
}

TEST_CASE("data: folders that hold no known data are refused") {
  const TempDir dir;
  TaskOptions o;
  o.data = dir / "missing";
  CHECK(task_error(o).find("missing: no such folder or file") != std::string::npos);
  o.data = dir.path();
  CHECK(task_error(o).find("nothing in it is known") != std::string::npos);
  lastmile::write_file_atomic(dir / "x", std::string_view("x"));
  o.data = dir / "x";
  CHECK(task_error(o).find("x: a file that is neither") != std::string::npos);
  write_image_set(dir);
  write_audio_set(dir);
  o.data = dir.path();
  CHECK(task_error(o).find("has IDX files and an index.csv") != std::string::npos);
  o.data.clear();
  o.adapt = 0;
  CHECK(task_error(o) == "adapt: 0 examples, expected 1 to 10000000");
  o.adapt = 10;
  o.shift = "tilt=3";
  CHECK(task_error(o).find("shift: 'tilt'") == 0);
}

TEST_CASE("data: Speech Commands has the counts of its README") {
  const auto folder = lastmile::testing::shared_data("speech-commands-12");
  if (folder.empty()) return;
  TaskOptions o;
  o.data = folder;
  o.features.kind = lastmile::FeatureKind::mfcc;
  o.threads = 2;
  const Task t = load_task(o);
  check_all(t);
  CHECK(t.name == "speech-commands-12");
  CHECK(t.pretrain.shape == lastmile::Shape{49, 10, 1});
  CHECK(lastmile::class_counts(t.pretrain) ==
        std::vector<std::size_t>{101, 100, 90, 101, 100, 106, 94, 106, 92, 100, 101, 134});
  CHECK(lastmile::class_counts(t.source_test) ==
        std::vector<std::size_t>{33, 30, 36, 35, 33, 31, 34, 32, 29, 33, 38, 46});
  CHECK(t.speakers.size() == 8);
  CHECK(t.adapt.size() + t.shifted_test.size() == 525);
  CHECK(lastmile::class_counts(t.adapt)[11] == 0);  // no silence
  for (int s = 0; s < 8; ++s) {
    const auto part = lastmile::speaker_data(t, s);
    CHECK(part.adapt.size() >= part.test.size());
    CHECK(part.test.size() >= 20);
  }
}
