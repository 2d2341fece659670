// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>

#include "cmodel/device/model_device.hpp"
#include "sw/data/idx.hpp"
#include "sw/trainer/run_config.hpp"
#include "sw/trainer/targets.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/quantizer/cases.hpp"
#include "tests/trainer/quadratic.hpp"

using namespace lastmile;

TEST_CASE("trainer: balanced accuracy is the mean over the classes that have examples") {
  // 90 of class 0, all right; 10 of class 1, two right; none of class 2.
  Accuracy a{92, 100, 1.0, {90, 0, 0, 5, 2, 3, 0, 0, 0}};
  CHECK(a.percent() == 92);
  CHECK(a.balanced() == doctest::Approx(60));
  CHECK(a.per_class()[0] == 100);
  CHECK(a.per_class()[1] == doctest::Approx(20));
  CHECK(std::isnan(a.per_class()[2]));
  a.add({0, 100, 3.0, {0, 0, 0, 0, 0, 0, 60, 40, 0}});
  CHECK(a.examples == 200);
  CHECK(a.loss == doctest::Approx(2));
  CHECK(a.balanced() == doctest::Approx(40));
  // Nobody counted: the accuracy is all there is.
  CHECK(Accuracy{1, 2, 0}.balanced() == 50);
}

TEST_CASE("trainer: labels beyond a byte reach the device, the float network and the digest") {
  constexpr int kClasses = 700;
  const Network net = parse_network("name = \"many\"\ninput = [1, 1, 12]\nclasses = 700\n" +
                                        layer_text("fc", "fully_connected", "units = 700"),
                                    "many");
  const QuantizedNetwork q = quantize_random(net, 7);
  Dataset d;
  d.shape = net.input;
  d.classes = kClasses;
  d.x = random_values<float>(net, 60, 11);
  d.y.resize(60);
  std::vector<Prediction> said;
  const Accuracy before = evaluate_fixed(q, d, open_model, {}, &said);
  // Labels are what the network says, but for every third example.
  for (std::size_t i = 0; i < d.size(); ++i)
    d.y[i] = static_cast<Label>((said[i].label + (i % 3 == 0 ? 256 : 0)) % kClasses);
  REQUIRE(std::any_of(d.y.begin(), d.y.end(), [](Label y) { return y > 255; }));
  const Accuracy after = evaluate_fixed(q, d, open_model, {});
  CHECK(after.correct == 40);
  CHECK(after.loss < before.loss);
  CHECK(after.confusion.size() == kClasses * kClasses);
  const Accuracy in_float = evaluate_float(Golden<float>(q.network), dequantize(q), d);
  CHECK(in_float.correct >= 38);
  CHECK(in_float.loss == doctest::Approx(after.loss).epsilon(0.02));

  Dataset other = d;
  other.y[3] = static_cast<Label>(other.y[3] ^ 256);  // the same low byte
  CHECK(data_digest(other) != data_digest(d));
  const testing::TempDir dir;
  CHECK(testing::error_of([&] { write_idx_labels(dir / "labels", d.y); }).find("at most 255") !=
        std::string::npos);
}

TEST_CASE("trainer: the digest of data with byte labels is that of older journals") {
  Dataset d;
  d.shape = {1, 1, 2};
  d.classes = 3;
  d.x = {0, 0.5F, 1, -1};
  d.y = {2, 1};
  CHECK(data_digest(d) == 0xef6dc0c4438606f2);
}
