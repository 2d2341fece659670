// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "sw/data/preprocessing.hpp"
#include "tests/base/temp_dir.hpp"

using namespace lastmile;
using lastmile::testing::error_of;

namespace {

Preprocessing audio() {
  Preprocessing p{true, {4, 3, 1}, {"yes", "no"}, {}, {}};
  p.normalization = {{0.1F, -7.25F, 1e-3F}, {1, 0.3333333F, 12}};
  return p;
}

}  // namespace

TEST_CASE("data: preprocessing is kept as text, bit for bit") {
  const Preprocessing a = audio();
  const Preprocessing b = parse_preprocessing(to_text(a), "t");
  CHECK(to_text(b) == to_text(a));
  CHECK(b.normalization.mean == a.normalization.mean);
  CHECK(b.normalization.deviation == a.normalization.deviation);
  CHECK(b.class_names == a.class_names);
  const Preprocessing images{false, {28, 28, 1}, {"0", "1"}, {}, {}};
  CHECK(to_text(parse_preprocessing(to_text(images), "t")) == to_text(images));
  for (const std::string bad : {"", "{}", "[]", "{\"kind\":\"audio\"}"})
    CHECK(error_of([&] { (void)parse_preprocessing(bad, "f.lmc"); }).find("f.lmc: preproc") == 0);
  Preprocessing narrow = audio();
  narrow.normalization.mean.pop_back();
  CHECK(error_of([&] { (void)parse_preprocessing(to_text(narrow), "t"); }).find("t: preproc") == 0);
}

TEST_CASE("data: what differs from a network's preprocessing is named with both values") {
  const Preprocessing stored = audio();
  const auto text = [&](const Preprocessing& data) {
    return error_of([&] { require_same(stored, data, "q.lmq"); });
  };
  CHECK(text(audio()) == "no error");
  Preprocessing p = audio();
  p.normalization = {};  // of the data: not compared, the stored one is used
  CHECK(text(p) == "no error");
  p = audio();
  p.class_names = {"no", "yes"};
  CHECK(text(p).find("q.lmq: it was made for class 0 'yes', but the data have 'no'") == 0);
  p = audio();
  p.class_names.emplace_back("up");
  CHECK(text(p).find("number of classes of 2, but the data have 3") != std::string::npos);
  p = audio();
  p.features.hop = 160;
  CHECK(text(p).find("feature setting hop 320, but the data have 160") != std::string::npos);
  p = audio();
  p.features.kind = FeatureKind::mfcc;
  CHECK(text(p).find("features logmel, but the data have mfcc") != std::string::npos);
  p = audio();
  p.input.h = 5;
  CHECK(text(p).find("an input of 4 x 3 x 1, but the data have 5 x 3 x 1") != std::string::npos);
  p = audio();
  p.audio = false;
  CHECK(text(p).find("audio, but the data have images") != std::string::npos);
}

TEST_CASE("data: class names that are no UTF-8 are stored and found again") {
  Preprocessing p = audio();
  p.class_names = {"ye\xff", "no"};
  const Preprocessing stored = parse_preprocessing(to_text(p), "q.lmq");
  CHECK(error_of([&] { require_same(stored, p, "q.lmq"); }) == "no error");
}
