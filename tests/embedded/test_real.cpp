// SPDX-License-Identifier: Apache-2.0
// The C host's binary64 in integers against the machine's own.
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "sw/base/rng.hpp"
#include "sw/embedded/lm_real.h"

namespace {

lm_real bits(double v) { return std::bit_cast<std::uint64_t>(v); }

// Exponents around those of losses; every second mantissa is full of zeros or ones, so that ties
// and carries happen.
double any(lastmile::Rng& rng, int spread) {
  std::uint64_t m = rng.next() >> 12;
  const auto cut = static_cast<unsigned>(rng.below(53));
  if (rng.below(2) == 0) m = rng.below(2) == 0 ? m >> cut << cut : m | ((1ULL << cut) - 1);
  m &= (1ULL << 52) - 1;
  const std::uint64_t e = 1023 - static_cast<std::uint64_t>(spread) +
                          rng.below(2 * static_cast<std::uint64_t>(spread) + 1);
  if (rng.below(64) == 0) return 0;
  return std::bit_cast<double>(rng.below(2) << 63 | e << 52 | m);
}

std::uint64_t seed() {
  const char* given = std::getenv("LASTMILE_SEED");
  return given != nullptr ? std::stoull(given) : 1;
}

}  // namespace

TEST_CASE("embedded: binary64 in integers has the bits of the machine's") {
  MESSAGE("seed " << seed());
  lastmile::Rng rng(seed());
  int wrong = 0;
  const auto expect = [&](const char* what, lm_real got, double want, double a, double b) {
    if (got == bits(want)) return;
    if (++wrong < 10) MESSAGE(what << " of " << a << " and " << b << " is not " << want);
  };
  for (int i = 0; i < 300000; ++i) {
    const double a = any(rng, 40);
    const double b =
        a != 0 && rng.below(4) == 0 ? std::nextafter(a, 1e300) : any(rng, i % 2 == 0 ? 3 : 60);
    expect("sum", lm_real_add(bits(a), bits(b)), a + b, a, b);
    expect("difference", lm_real_sub(bits(a), bits(b)), a - b, a, b);
    expect("product", lm_real_mul(bits(a), bits(b)), a * b, a, b);
    if (b != 0) expect("quotient", lm_real_div(bits(a), bits(b)), a / b, a, b);
    expect("root", lm_real_sqrt(bits(std::abs(a))), std::sqrt(std::abs(a)), a, 0);
    const auto n = static_cast<std::int64_t>(rng.next() >> rng.below(64)) * (i % 3 - 1);
    expect("integer", lm_real_of(n), static_cast<double>(n), 0, 0);
    if (a != 0) expect("scale", lm_real_scale(bits(a), -20), a / 1048576, a, 0);
    const auto f = static_cast<float>(a);
    if (lm_real_to_float(bits(a)) != std::bit_cast<std::uint32_t>(f)) ++wrong;
    if (lm_real_from_float(std::bit_cast<std::uint32_t>(f)) != bits(static_cast<double>(f)))
      ++wrong;
    const double r =
        std::clamp(i % 2 == 0 ? any(rng, 8) : std::round(2 * any(rng, 6)) / 2, -127.0, 127.0);
    if (lm_real_round(bits(r)) != std::lround(r)) ++wrong;
  }
  CHECK(wrong == 0);
}
