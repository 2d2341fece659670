// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>

#include "sw/trainer/targets.hpp"
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
