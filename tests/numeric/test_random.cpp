// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <array>
#include <cmath>
#include <map>
#include <numeric>
#include <vector>

#include "cmodel/npu/random.hpp"
#include "cmodel/numeric/perturb.hpp"
#include "cmodel/numeric/random.hpp"
#include "sw/base/rng.hpp"
#include "tests/numeric/literal.hpp"

using namespace lastmile;
using numeric::Distribution;
using numeric::Domain;

namespace {

template <int Rounds>
std::array<std::uint32_t, 2> words(std::uint32_t k0, std::uint32_t k1, std::uint32_t c0,
                                   std::uint32_t c1) {
  const std::uint64_t r =
      numeric::threefry<Rounds>(k0 | std::uint64_t{k1} << 32, c0 | std::uint64_t{c1} << 32);
  return {static_cast<std::uint32_t>(r), static_cast<std::uint32_t>(r >> 32)};
}
using Pair = std::array<std::uint32_t, 2>;

}  // namespace

TEST_CASE("numeric: Threefry-2x32 gives the published answers") {
  CHECK(words<13>(0, 0, 0, 0) == Pair{0x9d1c5ec6, 0x8bd50731});
  CHECK(words<20>(0, 0, 0, 0) == Pair{0x6b200159, 0x99ba4efe});
  CHECK(words<20>(~0U, ~0U, ~0U, ~0U) == Pair{0x1cb996fc, 0xbb002be7});
  CHECK(words<20>(0x13198a2e, 0x03707344, 0x243f6a88, 0x85a308d3) == Pair{0xc4923a9c, 0x483df7a0});
}

TEST_CASE("numeric: rows in bulk are the words of the contract") {
  Rng rng(literal::seed(11));
  for (int i = 0; i < 200; ++i) {
    const std::uint64_t seed = rng.next();
    const auto tensor = static_cast<std::uint32_t>(rng.below(65536)),
               row = static_cast<std::uint32_t>(rng.below(65536));
    const auto domain = static_cast<Domain>(rng.below(4));
    const auto first = static_cast<std::uint32_t>(rng.below(60000));
    std::vector<std::uint64_t> out(1 + rng.below(30));
    npu::hash_row(npu::chosen_kernels(), seed, domain, tensor, row, first, out);
    for (std::uint32_t b = 0; b < out.size(); ++b) {
      // counter {word 0: row << 16 | block, word 1: domain << 16 | tensor}
      const std::uint64_t counter = (row << 16 | (first + b)) |
                                    std::uint64_t{static_cast<std::uint32_t>(domain) << 16 | tensor}
                                        << 32;
      CHECK(out[b] == numeric::threefry<16>(seed, counter));
    }
  }
}

TEST_CASE("numeric: elements are cut from their words as the table says") {
  const std::uint64_t seed = 0x0123456789abcdef;
  const std::uint64_t sign = numeric::hash_word(seed, Domain::sign_, 5, 7, 2);
  const std::uint64_t mask = numeric::hash_word(seed, Domain::mask_, 5, 7, 2);
  const std::uint64_t half = numeric::hash_word(seed, Domain::gaussian_, 5, 7, 2);
  npu::RowDraw signs, masks, halves;
  signs.draw(npu::chosen_kernels(), seed, Domain::sign_, 5, 7, 192);
  masks.draw(npu::chosen_kernels(), seed, Domain::mask_, 5, 7, 24);
  halves.draw(npu::chosen_kernels(), seed, Domain::gaussian_, 5, 7, 12);
  for (std::uint32_t i = 0; i < 64; ++i) {
    CHECK(numeric::hash_element(seed, Domain::sign_, 5, 7, 128 + i) == (sign >> i & 1));
    CHECK(signs.sign_bit(128 + i) == (sign >> i & 1));
    CHECK(numeric::draw_z(seed, Distribution::sign_, 5, 7, 128 + i) ==
          ((sign >> i & 1) != 0 ? -1 : 1));
  }
  for (std::uint32_t i = 0; i < 8; ++i) {
    CHECK(numeric::hash_element(seed, Domain::mask_, 5, 7, 16 + i) == (mask >> (8 * i) & 0xff));
    CHECK(masks.byte(16 + i) == (mask >> (8 * i) & 0xff));
  }
  for (std::uint32_t i = 0; i < 4; ++i) {
    CHECK(numeric::hash_element(seed, Domain::gaussian_, 5, 7, 8 + i) ==
          (half >> (16 * i) & 0xffff));
    CHECK(halves.half(8 + i) == (half >> (16 * i) & 0xffff));
  }
  CHECK(numeric::kept(seed, 5, 7, 16, 256));
  CHECK_FALSE(numeric::kept(seed, 5, 7, 16, 0));
  const auto byte = static_cast<std::uint32_t>(mask & 0xff);
  CHECK_FALSE(numeric::kept(seed, 5, 7, 16, byte));
  CHECK(numeric::kept(seed, 5, 7, 16, byte + 1));
}

TEST_CASE("numeric: the Gaussian over all 65536 inputs is the ideal quantized one") {
  std::array<int, 255> count{};
  std::int64_t total = 0;
  double square = 0, fourth = 0;
  for (std::uint32_t u = 0; u < 65536; ++u) {
    const std::int32_t z = numeric::gaussian_z(u);
    REQUIRE(std::abs(z) <= 127);
    ++count[static_cast<std::size_t>(z + 127)];
    const double x = z * 3.5 / 127;
    total += z, square += x * x, fourth += x * x * x * x;
  }
  CHECK(total == 0);
  const double step = 3.5 / 127;
  const auto below = [&](double k) {
    return k >= 127 ? 1.0 : std::erf(k * step / std::sqrt(2.0));
  };  // P(|x| < k steps)
  double chi = 0, ideal_square = 0, ideal_fourth = 0, worst = 0;
  for (int k = 0; k <= 127; ++k) {
    const double p = below(k + 0.5) - (k == 0 ? 0 : below(k - 0.5));
    const int n = k == 0 ? count[127]
                         : count[static_cast<std::size_t>(127 + k)] +
                               count[static_cast<std::size_t>(127 - k)];
    if (k > 0)
      CHECK(count[static_cast<std::size_t>(127 + k)] == count[static_cast<std::size_t>(127 - k)]);
    worst = std::max(worst, std::abs(n - 65536 * p));
    chi += (n - 65536 * p) * (n - 65536 * p) / (65536 * p);
    ideal_square += p * std::pow(k * step, 2);
    ideal_fourth += p * std::pow(k * step, 4);
  }
  CHECK(worst <= 2.0);  // each threshold is within half a step of 2^-15, both signs: 2 of 65536
  CHECK(chi < 4.0);     // 127 degrees of freedom; a table with 16-bit rounding has no noise
  CHECK(std::abs(square / 65536 - ideal_square) < 3e-5);
  CHECK(std::abs(fourth / 65536 - ideal_fourth) < 6e-4);
  CHECK(std::abs(ideal_square - 0.9995) <
        1e-3);  // clipping at 3.5 and the step take next to nothing
  // row draws use a table of the same function
  npu::RowDraw draw;
  draw.draw(npu::chosen_kernels(), 99, Domain::gaussian_, 1, 2, 1000);
  std::vector<std::int32_t> z(1000, 0);
  draw.add_z(npu::chosen_kernels(), Distribution::gaussian_, 3, z);
  for (std::uint32_t c = 0; c < 1000; ++c)
    CHECK(z[c] == 3 * numeric::draw_z(99, Distribution::gaussian_, 1, 2, c));
}

TEST_CASE("numeric: perturbations are nearest, antisymmetric, and clip to the symmetric range") {
  Rng rng(literal::seed(12));
  for (int i = 0; i < 200000; ++i) {
    const bool bias = rng.below(4) == 0;
    const std::int32_t limit = bias ? 0x7fffffff : rng.below(2) == 0 ? 32767 : 127;
    const auto eps = static_cast<std::uint32_t>(rng.below(bias ? 1U << 24 : 1U << 16));
    const int shift = static_cast<int>(rng.below(32));
    const std::int32_t z = static_cast<std::int32_t>(rng.below(255)) - 127;
    const std::int64_t d = numeric::perturb_magnitude(eps, shift, z);
    REQUIRE(d == numeric::perturb_magnitude(eps, shift, -z));
    // nearest: |d * 2^shift - eps |z|| <= half, ties up
    const std::int64_t exact = static_cast<std::int64_t>(eps) * std::abs(z), scaled = d << shift,
                       half = (std::int64_t{1} << shift) / 2;
    REQUIRE(scaled - exact <= half);
    REQUIRE(exact - scaled < std::max<std::int64_t>(half, 1));
    const auto w = static_cast<std::int32_t>(
        static_cast<std::int64_t>(rng.next() % (2 * static_cast<std::uint64_t>(limit) + 2)) -
        limit - 1);
    const numeric::Perturbed plus = numeric::perturb(w, d, limit),
                             minus = numeric::perturb(w, -d, limit);
    REQUIRE((std::abs(static_cast<std::int64_t>(plus.value)) <= limit || d == 0));
    REQUIRE(plus.clipped == (d != 0 && std::abs(w + d) > limit));
    REQUIRE(minus.clipped == (d != 0 && std::abs(w - d) > limit));
    if (!plus.clipped && !minus.clipped)
      REQUIRE(static_cast<std::int64_t>(plus.value) - w ==
              static_cast<std::int64_t>(w) - minus.value);
    if (d == 0) REQUIRE((plus.value == w && minus.value == w));
  }
  CHECK(numeric::perturb(-32768, 0, 32767).value == -32768);
  CHECK(numeric::perturb(-32768, 1, 32767).value == -32767);
  CHECK(numeric::perturb(-32768, -1, 32767).value == -32767);
}

TEST_CASE("numeric: whole rows perturb like single elements") {
  Rng rng(literal::seed(13));
  for (int i = 0; i < 300; ++i) {
    npu::Perturbation p;
    p.on = true;
    p.distribution = static_cast<Distribution>(rng.below(2));
    p.seed = rng.next(), p.mask_seed = rng.next();
    p.tensor = static_cast<std::uint32_t>(rng.below(65536));
    p.eps = static_cast<std::uint32_t>(rng.below(3) == 0 ? rng.below(65536) : rng.below(1000));
    p.shift = static_cast<int>(rng.below(10));
    p.keep = rng.below(2) == 0 ? 256 : static_cast<std::uint32_t>(rng.below(257));
    p.minus = rng.below(2) == 0;
    const bool w8 = rng.below(2) == 0;
    p.limit = w8 ? 127 : 32767;
    std::vector<std::int16_t> row(1 + rng.below(200));
    for (auto& w : row)
      w = w8 ? static_cast<std::int8_t>(rng.next()) : static_cast<std::int16_t>(rng.next());
    const auto before = row;
    npu::Perturber perturber(npu::chosen_kernels(), p);
    perturber.row(9, row);
    std::uint64_t perturbed = 0, clipped = 0;
    for (std::uint32_t c = 0; c < row.size(); ++c) {
      numeric::Perturbed expected{before[c], false};
      if (numeric::kept(p.mask_seed, p.tensor, 9, c, p.keep)) {
        const std::int32_t z = numeric::draw_z(p.seed, p.distribution, p.tensor, 9, c);
        const std::int64_t d = numeric::perturb_magnitude(p.eps, p.shift, z);
        expected = numeric::perturb(before[c], (z < 0) != p.minus ? -d : d, p.limit);
        ++perturbed;
      }
      clipped += expected.clipped ? 1 : 0;
      REQUIRE(row[c] == expected.value);
    }
    CHECK(perturber.count().perturbed == perturbed);
    CHECK(perturber.count().clipped == clipped);
  }
}

TEST_CASE("numeric: updates are symmetric, and unbiased to 2^-17 LSB over all rounding words") {
  Rng rng(literal::seed(14));
  for (int i = 0; i < 60; ++i) {
    const numeric::Step step{static_cast<std::uint32_t>(rng.below(65536)),
                             static_cast<int>(rng.below(40)) + 8};
    const auto g = static_cast<std::int32_t>(rng.below(2) == 0 ? rng.below(4) : rng.below(129033));
    const double exact =
        std::ldexp(static_cast<double>(g) * step.mantissa, spec::kStepPreshift - step.shift);
    if (exact > 1e9) continue;
    double sum = 0;
    for (std::uint32_t r = 0; r < 65536; ++r) {
      const auto down = numeric::update(0, g, step, r, 0x7fffffff),
                 up = numeric::update(0, -g, step, r, 0x7fffffff);
      REQUIRE(down.value == -up.value);
      REQUIRE(std::abs(-down.value - exact) <= 1.0);
      REQUIRE(down.zero == (down.value == 0));
      sum -= down.value;
    }
    INFO("g " << g << " mantissa " << step.mantissa << " shift " << step.shift);
    CHECK(std::abs(sum / 65536 - exact) <= std::ldexp(1.0, -17));
  }
  CHECK(numeric::update(5, 0, {65535, 0}, 65535, 127).zero);
}

TEST_CASE("numeric: updates at the extremes of every field fit 64 bits") {
  const std::int32_t most = 8 * 127 * 127;
  for (const std::int32_t g : {most, -most, 1, -1, 8 * 128 * 127}) {
    for (const std::uint32_t mantissa : {1U, 32768U, 65535U}) {
      for (int shift = 0; shift <= 55; ++shift) {
        for (const std::uint32_t r : {0U, 1U, 32768U, 65535U}) {
          for (const std::int32_t w : {-32768, -32767, 0, 32767}) {
            const literal::Int odd = 2 * literal::Int{r} + 1;
            const literal::Int dither =
                shift >= 17 ? odd * (literal::Int{1} << (shift - 17))
                            : literal::floor_div(odd, literal::Int{1} << (17 - shift));
            const literal::Int q = literal::floor_div(
                literal::Int{std::abs(g)} * mantissa * 256 + dither, literal::Int{1} << shift);
            const literal::Int moved = g < 0 ? w + q : w - q;
            const literal::Int expected =
                q == 0 ? literal::Int{w} : std::clamp<literal::Int>(moved, -32767, 32767);
            const numeric::Updated u = numeric::update(w, g, {mantissa, shift}, r, 32767);
            REQUIRE(u.value == expected);
            REQUIRE(u.zero == (q == 0));
            REQUIRE(u.clipped == (q != 0 && moved != expected));
          }
        }
      }
    }
  }
  CHECK(numeric::combine_step(65535, 39, 65535, 16).mantissa == 65534);
  CHECK(numeric::combine_step(65535, 39, 65535, 16).shift == 55);
  CHECK(numeric::combine_step(1, 0, 32768, 0).mantissa == 1);
  CHECK(numeric::combine_step(1, 0, 32767, 0).mantissa == 0);
}
