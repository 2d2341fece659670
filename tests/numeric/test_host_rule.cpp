// SPDX-License-Identifier: Apache-2.0
// The host's rule against its definition as a fraction, at every kind of edge.
#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <limits>
#include <set>
#include <vector>

#include "cmodel/numeric/host_rule.hpp"
#include "sw/base/rng.hpp"

namespace lastmile {

TEST_CASE("numeric: seeds of pairs are all different, in a run and between neighbouring runs") {
  std::set<std::uint64_t> seen;
  std::size_t drawn = 0;
  for (std::uint64_t run = 1; run <= 5; ++run)
    for (std::uint32_t step = 0; step < 2000; ++step)
      for (int pair = 0; pair < spec::kMaxPairs; ++pair, ++drawn)
        seen.insert(numeric::pair_seed(run, step, pair));
  CHECK(seen.size() == drawn);
  // The steps of a run follow from its seed alone, so that a step is known without those before it.
  static_assert(numeric::pair_seed(1, 3, 0) != numeric::pair_seed(1, 0, 3));
}

TEST_CASE("numeric: the host's scaled coefficient is the nearest integer to 127 d / D") {
  const char* text = std::getenv("LASTMILE_SEED");
  const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 0) : 1;
  INFO("LASTMILE_SEED=", seed);
  Rng rng(seed);
  constexpr std::int64_t kMost = std::int64_t{65535} * 0x7fffffff;
  std::size_t wrong = 0;
  const auto check = [&](std::int64_t d, std::uint64_t scale) {
    const int c = numeric::scaled_coefficient(d, scale);
    // Nearest: |127 |d| - |c| D| <= D / 2, and a half goes away from zero.
    const std::uint64_t m = numeric::magnitude(d);
    if (m >= scale) {
      wrong += c != (d < 0 ? -127 : 127) ? 1 : 0;
      return;
    }
    const auto size = static_cast<std::uint64_t>(c < 0 ? -c : c);
    const auto twice = static_cast<std::int64_t>(254 * m - 2 * size * scale);
    const auto most = static_cast<std::int64_t>(scale);
    if (twice < -most || twice >= most || (c != 0 && (c < 0) != (d < 0))) ++wrong;
  };
  for (int i = 0; i < 100000; ++i) {
    const int bits = 1 + static_cast<int>(rng.below(47));
    const std::uint64_t scale = 1 + (rng.next() >> (64 - bits));
    const auto d = static_cast<std::int64_t>(rng.next() % (scale + scale / 4 + 2));
    check(i % 2 == 0 ? d : -d, scale);
  }
  for (const std::uint64_t scale : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{127},
                                    std::uint64_t{254}, static_cast<std::uint64_t>(kMost)})
    for (const std::int64_t d : {std::int64_t{0}, std::int64_t{1}, std::int64_t{-1},
                                 static_cast<std::int64_t>(scale), kMost, -kMost})
      check(d, scale);
  CHECK(wrong == 0);
  CHECK(numeric::scaled_coefficient(1, 254) == 1);  // exactly a half: away from zero
  CHECK(numeric::scaled_coefficient(-1, 254) == -1);
  CHECK(numeric::scaled_coefficient(kMost, 0) == 0);
}

TEST_CASE("numeric: the host's scale is 5/4 of the mean magnitude and cannot overflow") {
  constexpr std::int64_t kMost = std::int64_t{65535} * 0x7fffffff;
  const std::vector<std::int64_t> most(numeric::kScaleProbes, -kMost);
  CHECK(numeric::scale_of(most) == static_cast<std::uint64_t>(kMost) * 5 / 4);
  const std::vector<std::int64_t> none(numeric::kScaleProbes, 0);
  CHECK(numeric::scale_of(none) == 0);
  CHECK(numeric::magnitude(std::numeric_limits<std::int64_t>::min()) == std::uint64_t{1} << 63);
}

}  // namespace lastmile
