// SPDX-License-Identifier: Apache-2.0
// Statistical tests of a stream of 64-bit words. Each returns p-values; a perfect generator makes
// them uniform in [0, 1]. Beside the usual small ones: those of TestU01's Crush (L'Ecuyer, Simard,
// ACM TOMS 33, 2007) that dieharder lacks.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

namespace lastmile::test {

using Source = std::function<void(std::span<std::uint64_t>)>;

struct PValue {
  std::string name;
  double p = 0;
};

// Distance from a p-value to the nearer end: small is bad, be it too far from expectation or too
// close to it.
[[nodiscard]] double extremeness(double p);

// Upper tails.
[[nodiscard]] double normal_tail(double z);                      // P(Z >= z)
[[nodiscard]] double two_sided(double z);                        // P(|Z| >= |z|)
[[nodiscard]] double chi_square_tail(double x, double freedom);  // P(X >= x)
// P(X >= k), moved by half of P(X = k) so that both ends mean what they mean for a continuous
// variable.
[[nodiscard]] double poisson_tail(std::uint64_t k, double mean);

// Chi-square of counts against expectations; cells are merged until each expects at least `least`.
[[nodiscard]] double chi_square(std::span<const double> observed, std::span<const double> expected,
                                double least = 10);

// Ones among 64 * words bits: normal.
[[nodiscard]] double monobit(const Source& source, std::size_t words);
// Changes between neighbouring bits, across words: binomial, normal.
[[nodiscard]] double runs(const Source& source, std::size_t words);
// The eight bytes of a word as one sample of 256 cells.
[[nodiscard]] double bytes(const Source& source, std::size_t words);
// Agreements of the bit stream with itself shifted by 1..64 bits; the first value is the smallest p
// times 64 (Bonferroni).
[[nodiscard]] double serial_bits(const Source& source, std::size_t words);
// Agreements of two streams, bit by bit.
[[nodiscard]] double agreement(const Source& a, const Source& b, std::size_t words);

// Ranks of `count` random size x size binary matrices, rows cut from the bit stream (size: multiple
// of 64).
[[nodiscard]] double matrix_rank(const Source& source, std::size_t size, std::size_t count);
// Berlekamp-Massey on blocks of `bits` bits: complexity against its exact limit distribution, and
// the number of jumps.
[[nodiscard]] std::vector<PValue> linear_complexity(const Source& source, std::size_t bits,
                                                    std::size_t count);
// Marsaglia's birthday spacings: `points` birthdays of `bits` bits (top bits of a word), `count`
// years. The number of equal spacings is Poisson with mean points^3 / 2^(bits + 2) a year; keep
// that below 2^(bits / 3 - 4) or so.
[[nodiscard]] double birthday_spacings(const Source& source, std::size_t points, int bits,
                                       std::size_t count);
// Balls in 2^bits urns, bits / dimension top bits from each of `dimension` words: number of
// collisions, Poisson while sparse.
[[nodiscard]] double collisions(const Source& source, std::size_t balls, int bits, int dimension);
// Weights of successive blocks of `words` words: joint table of (this, next).
[[nodiscard]] double hamming_independence(const Source& source, std::size_t words,
                                          std::size_t pairs);
// Walks of `steps` steps (even): end point, maximum, time above zero, returns to
// zero, sign changes.
[[nodiscard]] std::vector<PValue> random_walk(const Source& source, std::size_t steps,
                                              std::size_t count);
// Length of gaps between words whose top `bits` bits are zero: geometric.
[[nodiscard]] double gaps(const Source& source, int bits, std::size_t count);
// Permutations of `size` (2..8) successive words.
[[nodiscard]] double permutations(const Source& source, std::size_t size, std::size_t count);

}  // namespace lastmile::test
