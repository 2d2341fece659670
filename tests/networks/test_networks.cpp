// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>

#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "tests/golden/cases.hpp"
#include "tests/networks/check.hpp"

using namespace lastmile;
using namespace lastmile::networks;

TEST_CASE("networks: a case comes back from its text") {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t i = 0; i < 200; ++i) {
    const Case c = random_case(sub_seed(seed, i));
    CAPTURE(to_text(c));
    CHECK(parse_case(to_text(c)) == c);
    CHECK(random_case(sub_seed(seed, i)) == c);
  }
  for (const char* bad : {"", "input_h=3", "input_h / softmax in=0", "batch=x / softmax in=-1",
                          "/ conv3d in=-1", "/ softmax", "/ softmax in=-1 stride=2"})
    CHECK_THROWS_AS((void)parse_case(bad), Error);
}

TEST_CASE("networks: a case that fails shrinks to what makes it fail") {
  // Any wide window after an addition with more than one example.
  const auto fails = [](const Case& c) {
    bool added = false;
    for (const LayerCase& l : c.layers) {
      if (added && c.batch > 1 && l.kernel_w > 1) return true;
      added = added || l.op == Op::add;
    }
    return false;
  };
  int shrunk = 0;
  for (std::uint64_t i = 0; i < 200; ++i) {
    const Case c = random_case(sub_seed(5, i));
    if (!fails(c)) continue;
    ++shrunk;
    const Case small = shrink(c, fails, 2000);
    CAPTURE(to_text(c));
    CAPTURE(to_text(small));
    CHECK(fails(small));
    CHECK(small.layers.size() <= 3);
    CHECK(small.batch == 2);
    CHECK(small.hardware[1] == spec::HardwareParams{});
    CHECK(std::count_if(small.layers.begin(), small.layers.end(),
                        [](const LayerCase& l) { return l.kernel_w == 2; }) == 1);
  }
  CHECK(shrunk > 3);
}

// A few here, so that they also run under sanitizers; `make fuzz-networks` runs thousands.
TEST_CASE("networks: random networks equal the simulation") {
  const std::uint64_t seed = test_seed();
  std::uint64_t programs = 0;
  for (std::uint64_t i = 0; i < 60; ++i) {
    const Case c = random_case(sub_seed(seed + 1, i));
    const Outcome out = check_case(c);
    INFO("make fuzz-networks CASE='" << to_text(c) << "'");
    CHECK_MESSAGE(!out.failed, out.text);
    programs += out.programs;
  }
  CHECK(programs > 60);
}
