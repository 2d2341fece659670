// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cmath>
#include <numeric>
#include <vector>

#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"

TEST_CASE("base: the generator's bits are fixed") {
  // Computed once; a change here changes every generated data set.
  lastmile::Rng rng(1);
  std::vector<double> normals(1000);
  for (auto& v : normals) v = rng.normal();
  CHECK(lastmile::xxh64(lastmile::bytes_of(std::span<const double>(normals))) ==
        16899962719982997951U);
  lastmile::Rng other(1, 2);
  std::vector<std::uint64_t> words(1000);
  for (auto& v : words) v = other.below(1000003);
  CHECK(lastmile::xxh64(lastmile::bytes_of(std::span<const std::uint64_t>(words))) ==
        8572394840420105381U);
  // Vigna's reference: splitmix64 from state 1234567.
  CHECK(lastmile::splitmix64(1234567) == 6457827717110365317U);
}

TEST_CASE("base: uniform, normal and below have the right moments") {
  lastmile::Rng rng(42);
  constexpr int kN = 200000;
  double u1 = 0, u2 = 0, n1 = 0, n2 = 0, n4 = 0, lag = 0, last = 0;
  int tail = 0;
  for (int i = 0; i < kN; ++i) {
    const double u = rng.uniform();
    CHECK_UNARY(u >= 0 && u < 1);
    u1 += u;
    u2 += u * u;
    const double x = rng.normal();
    n1 += x;
    n2 += x * x;
    n4 += x * x * x * x;
    lag += x * last;
    last = x;
    tail += std::abs(x) > 3;
  }
  // Five standard errors each.
  CHECK(std::abs(u1 / kN - 0.5) < 5 * 0.2887 / std::sqrt(kN));
  CHECK(std::abs(u2 / kN - 1.0 / 3) < 5 * 0.2981 / std::sqrt(kN));
  CHECK(std::abs(n1 / kN) < 5 / std::sqrt(kN));
  CHECK(std::abs(n2 / kN - 1) < 5 * std::sqrt(2.0 / kN));
  CHECK(std::abs(n4 / kN - 3) < 5 * std::sqrt(96.0 / kN));
  CHECK(std::abs(lag / kN) < 5 / std::sqrt(kN));
  CHECK(std::abs(tail - 0.0026998 * kN) < 5 * std::sqrt(0.0026998 * kN));
  // Taking the remainder alone would give the lower third of this range half of the numbers.
  int low = 0;
  for (int i = 0; i < 3000; ++i) low += rng.below(std::uint64_t{3} << 62) < std::uint64_t{1} << 62;
  CHECK(std::abs(low - 1000) < 150);
  std::vector<int> counts(6);
  for (int i = 0; i < 60000; ++i) ++counts[rng.below(6)];
  for (const int c : counts) CHECK(std::abs(c - 10000) < 5 * std::sqrt(60000 * 5.0 / 36));
}

TEST_CASE("base: a shuffle is a permutation, and all orders of three are equally likely") {
  lastmile::Rng rng(7);
  std::vector<int> counts(27);
  for (int i = 0; i < 6000; ++i) {
    std::vector<int> v{0, 1, 2};
    rng.shuffle(std::span(v));
    ++counts[static_cast<std::size_t>(v[0] * 9 + v[1] * 3 + v[2])];
  }
  for (const std::size_t k : {5U, 7U, 11U, 15U, 19U, 21U}) CHECK(std::abs(counts[k] - 1000) < 150);
  CHECK(std::accumulate(counts.begin(), counts.end(), 0) == 6000);
}

TEST_CASE("base: own log, exp, sin and cos agree with the C library") {
  lastmile::Rng rng(3);
  for (int i = 0; i < 100000; ++i) {
    const double x = std::exp(rng.uniform(-300, 300));
    CHECK(std::abs(lastmile::det_log(x) - std::log(x)) <= 4e-16 * std::abs(std::log(x)) + 1e-18);
    const double a = rng.uniform(-1000, 1000);
    const auto sc = lastmile::det_sincos(a);
    CHECK(std::abs(sc.sin - std::sin(a)) <= 4e-16);
    CHECK(std::abs(sc.cos - std::cos(a)) <= 4e-16);
    const double e = rng.uniform(-700, 700);
    CHECK(std::abs(lastmile::det_exp(e) / std::exp(e) - 1) <= 1e-15);
    const double near = 1 + rng.uniform(-1e-3, 1e-3);
    CHECK(std::abs(lastmile::det_log(near) - std::log(near)) <= 5e-16 * std::abs(std::log(near)));
  }
  CHECK(lastmile::det_exp(-1e300) == 0);
  CHECK(lastmile::det_log(1) == 0);
  CHECK(lastmile::det_sincos(0).cos == 1);
}
