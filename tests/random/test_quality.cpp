// SPDX-License-Identifier: Apache-2.0
// Quality of the perturbations, in the orders in which they are used. Seeds are fixed, so a result
// never changes by chance; the bound on p-values is kLimit: with the 1,000 or so p-values here, a
// perfect generator would have had a chance of 0.2 % to fail when the seeds were chosen.
#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include "cmodel/numeric/random.hpp"
#include "tests/random/statistics.hpp"
#include "tests/random/stream.hpp"

namespace {

namespace numeric = lastmile::numeric;
using lastmile::spec::Distribution;
using lastmile::spec::Domain;
using namespace lastmile::test;

constexpr double kLimit = 1e-6;

// Under sanitizers the code is what is tested: a quarter of the orders will do.
#if defined(__SANITIZE_ADDRESS__)
constexpr int kStride = 4;
#else
constexpr int kStride = 1;
#endif

// A battery of a few tenths of a second.
std::vector<PValue> battery(const Source& s) {
  std::vector<PValue> r = {{"monobit", monobit(s, 1 << 14)},
                           {"runs", runs(s, 1 << 14)},
                           {"bytes", bytes(s, 1 << 14)},
                           {"serial bits", serial_bits(s, 1 << 13)},
                           {"rank 64", matrix_rank(s, 64, 500)},
                           {"birthday spacings", birthday_spacings(s, 1 << 12, 32, 4)},
                           {"collisions", collisions(s, 1 << 14, 22, 2)},
                           {"one-bit collisions", collisions(s, 1 << 13, 20, 20)},
                           {"hamming 1", hamming_independence(s, 1, 10000)},
                           {"hamming 4", hamming_independence(s, 4, 4000)},
                           {"gaps", gaps(s, 4, 2000)},
                           {"permutations", permutations(s, 4, 4000)}};
  for (auto&& p : {linear_complexity(s, 5000, 1), random_walk(s, 128, 4000)})
    r.insert(r.end(), p.begin(), p.end());
  return r;
}

// Names of the tests that a stream fails.
std::string failures(const std::string& order, int rounds = lastmile::spec::kHashRounds) {
  Stream stream(Order::parse(order), 1000, 0, rounds);
  std::string bad;
  for (const PValue& p : battery([&](std::span<std::uint64_t> out) { stream.fill(out); }))
    if (extremeness(p.p) < kLimit) bad += p.name + " (p = " + std::to_string(p.p) + ") ";
  return bad;
}

TEST_CASE("random: words in every order pass the battery") {
  const std::vector<std::string> orders = {
      "seeds/sign/word",        "elements/sign/word",    "network/sign/word",
      "rows/sign/word",         "tensors/sign/word",     "robin/sign/word",
      "elements/gaussian/word", "network/gaussian/word", "seeds/gaussian/word",
      "elements/mask/word",     "seeds/mask/word",       "elements/round/word",
      "seeds/round/word",       "seeds/sign/reversed",   "elements/sign/high",
      "seeds/sign/low"};
  for (std::size_t i = 0; i < orders.size(); i += kStride) {
    const std::string& order = orders[i];
    CAPTURE(order);
    CHECK(failures(order) == "");
  }
}

TEST_CASE("random: each bit of the word by itself passes") {
  for (int bit = 0; bit < 64; bit += kStride)
    for (const char* walk : {"seeds", "elements"}) {
      const std::string order = std::string(walk) + "/sign/bit-" + std::to_string(bit);
      CAPTURE(order);
      Stream stream(Order::parse(order), 1);
      const Source s = [&](std::span<std::uint64_t> out) { stream.fill(out); };
      CHECK(monobit(s, 1 << 9) > kLimit);
      CHECK(runs(s, 1 << 9) > kLimit);
      CHECK(serial_bits(s, 1 << 8) > kLimit);
    }
  for (int bit = 0; bit < 64; bit += 9 * kStride) {
    const std::string order = "seeds/sign/bit-" + std::to_string(bit);
    CAPTURE(order);
    CHECK(failures(order) == "");
  }
}

TEST_CASE("random: the battery finds a generator with too few rounds") {
  // If this fails, the tests above have lost their teeth.
  CHECK(failures("seeds/sign/word", 4) != "");
  CHECK(failures("elements/sign/word", 5) != "");
  CHECK(failures("seeds/sign/bit-0", 6) != "");
}

// Flipping one bit of seed or counter flips each bit of the word with probability 1/2. Per pair of
// bits: ones of 4,096 trials, standard deviation 32. The largest of 128 * 64 pairs stays below 6
// deviations but for a probability of 8192 * 2e-9 = 2e-5.
TEST_CASE("random: every bit of seed and counter reaches every bit of the word evenly") {
  constexpr int kTrials = 4096;
  double worst = 0;
  for (int in = 0; in < 128; ++in) {
    std::array<int, 64> flips{};
    for (int t = 0; t < kTrials; ++t) {
      // As in use: small seeds, few tensors, rows and blocks.
      const auto u = static_cast<std::uint64_t>(t);
      const std::uint64_t key = 77 + u;
      const std::uint64_t counter =
          (u & 3) << 48 | (u >> 2 & 15) << 32 | (u >> 4 & 31) << 16 | (u * 5 & 7);
      const std::uint64_t a = numeric::threefry(key, counter);
      const std::uint64_t b = in < 64 ? numeric::threefry(key ^ 1ULL << in, counter)
                                      : numeric::threefry(key, counter ^ 1ULL << (in - 64));
      const std::uint64_t d = a ^ b;
      for (std::size_t out = 0; out < 64; ++out) flips[out] += static_cast<int>((d >> out) & 1);
    }
    for (const int f : flips) worst = std::max(worst, std::abs(f - kTrials / 2) / 32.0);
  }
  CHECK(worst < 6);
  CHECK(worst > 3);  // the largest of 8,192 normals is below 3 with a probability of 2e-10: too
                     // even is wrong too
}

// Signs of two streams agree in half of the elements. 2^20 bits a pair, p-values as above.
TEST_CASE("random: signs of different seeds, tensors and rows are not correlated") {
  constexpr std::size_t kWords = 1 << 14;
  const auto elements = [](std::uint64_t seed, std::uint32_t tensor, std::uint32_t row) -> Source {
    return [=, at = 0U](std::span<std::uint64_t> out) mutable {
      for (std::uint64_t& w : out) {
        w = numeric::hash_word(seed, Domain::sign_, tensor, row + at / 1024, at % 1024);
        ++at;
      }
    };
  };
  const std::uint64_t seed = 12345;
  double least = 1;
  const auto against = [&](const Source& other) {
    least = std::min(least, agreement(elements(seed, 3, 0), other, kWords));
  };
  for (std::uint64_t step = 1; step <= 8; ++step) against(elements(seed + step, 3, 0));
  for (int bit = 0; bit < 64; ++bit) against(elements(seed ^ 1ULL << bit, 3, 0));
  for (std::uint32_t tensor : {0U, 1U, 2U, 4U, 5U, 259U, 32771U})
    against(elements(seed, tensor, 0));
  for (std::uint32_t row : {1U, 2U, 16U, 256U, 32768U}) against(elements(seed, 3, row));
  CHECK(least > kLimit);
}

// The four domains of one element, and Gaussian signs against signs: also independent.
TEST_CASE("random: domains of one element are not correlated") {
  for (Domain a : {Domain::sign_, Domain::gaussian_, Domain::mask_})
    for (Domain b : {Domain::gaussian_, Domain::mask_, Domain::round_}) {
      if (a == b) continue;
      const auto order = [](Domain d) { return Order{Walk::seeds_, d, Take::word_, 0}; };
      Stream x(order(a), 5);
      Stream y(order(b), 5);
      CHECK(agreement([&](std::span<std::uint64_t> o) { x.fill(o); },
                      [&](std::span<std::uint64_t> o) { y.fill(o); }, 1 << 14) > kLimit);
    }
}

struct Moments {
  double mean = 0;
  double variance = 0;
  double kurtosis = 0;
};

Moments exact(const std::array<double, 255>& p) {
  Moments m;
  double fourth = 0;
  for (int z = -127; z <= 127; ++z) {
    const double q = p[static_cast<std::size_t>(z + 127)];
    m.mean += q * z;
    m.variance += q * z * z;
    fourth += q * z * z * z * z;
  }
  m.kurtosis = fourth / (m.variance * m.variance);
  return m;
}

// Probability of each z over all 2^16 inputs.
std::array<double, 255> gaussian_shares() {
  std::array<double, 255> p{};
  for (std::uint32_t u = 0; u < 65536; ++u)
    p[static_cast<std::size_t>(numeric::gaussian_z(u) + 127)] += 0x1p-16;
  return p;
}

// The table against the normal distribution it stands for: z counts steps of 3.5/127, so 36.2857 is
// one standard deviation. What lies beyond 3.5 deviations (0.05 %) becomes +-127, which takes 0.3 %
// from the kurtosis; thresholds are rounded to 2^-15.
TEST_CASE("random: the Gaussian table is symmetric, normal and of unit variance") {
  const auto p = gaussian_shares();
  double worst = 0;
  for (int z = 1; z <= 127; ++z) {
    CHECK(p[static_cast<std::size_t>(127 + z)] == p[static_cast<std::size_t>(127 - z)]);
    const double low = (z - 0.5) * 3.5 / 127;
    const double share =
        z == 127 ? normal_tail(low) : normal_tail(low) - normal_tail(low + 3.5 / 127);
    worst = std::max(worst, std::abs(share - p[static_cast<std::size_t>(127 + z)]));
  }
  CHECK(
      worst <=
      0x1p-16);  // two thresholds, each rounded by at most 2^-16, and half of them for either sign
  const Moments m = exact(p);
  CHECK(m.mean == 0);
  CHECK(std::sqrt(m.variance) * 3.5 / 127 == doctest::Approx(1).epsilon(1e-3));
  CHECK(m.kurtosis == doctest::Approx(3).epsilon(0.01));
}

// Drawn z: mean, variance and every cell against the table's exact values, over elements, seeds,
// tensors and rows.
TEST_CASE("random: drawn perturbations have the moments of their distribution") {
  const auto p = gaussian_shares();
  const Moments m = exact(p);
  constexpr std::uint32_t kDraws = 1 << 18;
  const double n = kDraws;
  const auto draw = [](int along, Distribution d, std::uint32_t i) {
    switch (along) {
      case 0:
        return numeric::draw_z(7, d, 1, i >> 9, i & 511);
      case 1:
        return numeric::draw_z(7 + std::uint64_t{i}, d, 1, 3, 17);
      case 2:
        return numeric::draw_z(7 + (i >> 16), d, i & 65535, 3, 17);
      default:
        return numeric::draw_z(7 + (i >> 16), d, 1, i & 65535, 17);
    }
  };
  for (int along = 0; along < 4; ++along) {
    CAPTURE(along);
    std::array<double, 255> seen{};
    double sum = 0;
    double squares = 0;
    double signs = 0;
    double lagged = 0;
    std::int32_t before = 0;
    for (std::uint32_t i = 0; i < kDraws; ++i) {
      const std::int32_t z = draw(along, Distribution::gaussian_, i);
      seen[static_cast<std::size_t>(z + 127)] += 1;
      sum += z;
      squares += z * z;
      lagged += z * before;
      before = z;
      signs += draw(along, Distribution::sign_, i);
    }
    std::array<double, 255> expected{};
    for (std::size_t c = 0; c < p.size(); ++c) expected[c] = n * p[c];
    CHECK(extremeness(chi_square(seen, expected)) > kLimit);
    CHECK(two_sided(sum / std::sqrt(n * m.variance)) > kLimit);
    // Var(z^2) = (kurtosis - 1) variance^2
    CHECK(two_sided((squares - n * m.variance) / (m.variance * std::sqrt(n * (m.kurtosis - 1)))) >
          kLimit);
    CHECK(two_sided(lagged / (m.variance * std::sqrt(n))) > kLimit);
    CHECK(two_sided(signs / std::sqrt(n)) > kLimit);
  }
}

TEST_CASE("random: the mask keeps the share that was asked for") {
  constexpr std::uint32_t kDraws = 1 << 16;
  for (std::uint32_t keep : {0U, 1U, 26U, 128U, 255U, 256U}) {
    CAPTURE(keep);
    std::uint32_t kept = 0;
    for (std::uint32_t i = 0; i < kDraws; ++i)
      kept += numeric::kept(3, 2, i >> 8, i & 255, keep) ? 1U : 0U;
    const double q = keep / 256.0;
    if (keep == 0 || keep == 256)
      CHECK(kept == (keep == 0 ? 0 : kDraws));
    else
      CHECK(two_sided((kept - kDraws * q) / std::sqrt(kDraws * q * (1 - q))) > kLimit);
  }
}

}  // namespace
