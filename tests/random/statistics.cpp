// SPDX-License-Identifier: Apache-2.0
#include "tests/random/statistics.hpp"

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>

namespace lastmile::test {
namespace {

constexpr std::size_t kChunk = 4096;

// Hands a stream out in spans, without holding all of it.
template <class Use>
void in_chunks(const Source& source, std::size_t words, const Use& use) {
  std::vector<std::uint64_t> buffer(std::min(words, kChunk));
  while (words > 0) {
    const std::size_t n = std::min(words, buffer.size());
    source(std::span(buffer).first(n));
    use(std::span<const std::uint64_t>(buffer).first(n));
    words -= n;
  }
}

double count(std::uint64_t n) { return static_cast<double>(n); }

double log_choose(double n, double k) {
  return std::lgamma(n + 1) - std::lgamma(k + 1) - std::lgamma(n - k + 1);
}

// P(K = k) for n fair coins.
double fair(double n, double k) {
  return k < 0 || k > n ? 0 : std::exp(log_choose(n, k) - n * std::log(2.0));
}

// Ones among n fair bits.
double fair_p(double ones, double n) { return two_sided((ones - n / 2) / (std::sqrt(n) / 2)); }

// Upper regularized incomplete gamma function: series below a + 1, Lentz's continued fraction
// above.
double gamma_upper(double a, double x) {
  if (x <= 0) return 1;
  const double front = std::exp(a * std::log(x) - x - std::lgamma(a));
  if (x < a + 1) {
    double term = 1 / a;
    double sum = term;
    for (int n = 1; n < 100000 && term > sum * 1e-16; ++n) {
      term *= x / (a + n);
      sum += term;
    }
    return 1 - front * sum;
  }
  double b = x + 1 - a;
  double c = 1e300;
  double d = 1 / b;
  double h = d;
  for (int n = 1; n < 100000; ++n) {
    const double an = -n * (n - a);
    b += 2;
    d = an * d + b;
    d = 1 / (std::abs(d) < 1e-300 ? 1e-300 : d);
    c = b + an / c;
    c = std::abs(c) < 1e-300 ? 1e-300 : c;
    h *= d * c;
    if (std::abs(d * c - 1) < 1e-15) break;
  }
  return front * h;
}

}  // namespace

double extremeness(double p) { return std::min(p, 1 - p); }
double normal_tail(double z) { return std::erfc(z / std::sqrt(2.0)) / 2; }
double two_sided(double z) { return std::erfc(std::abs(z) / std::sqrt(2.0)); }
double chi_square_tail(double x, double freedom) { return gamma_upper(freedom / 2, x / 2); }

double poisson_tail(std::uint64_t k, double mean) {
  const double at = std::exp(-mean + count(k) * std::log(mean) - std::lgamma(count(k) + 1));
  // P(X >= k) is the lower gamma function; the upper one of k + 1 is P(X <= k).
  return 1 - gamma_upper(count(k) + 1, mean) + at / 2;
}

double chi_square(std::span<const double> observed, std::span<const double> expected,
                  double least) {
  double x = 0;
  double o = 0;
  double e = 0;
  double last_o = 0;
  double last_e = 0;
  int cells = 0;
  const auto add = [&](double so, double se, double sign) {
    if (se > 0) x += sign * (so - se) * (so - se) / se;
  };
  for (std::size_t i = 0; i < observed.size(); ++i) {
    o += observed[i];
    e += expected[i];
    if (e < least) continue;
    add(o, e, 1);
    last_o = o;
    last_e = e;
    ++cells;
    o = e = 0;
  }
  // What is left over joins the last cell.
  if (o > 0 || e > 0) {
    add(last_o, last_e, -1);
    add(last_o + o, last_e + e, 1);
  }
  return cells < 2 ? 0.5 : chi_square_tail(x, cells - 1);
}

double monobit(const Source& source, std::size_t words) {
  std::uint64_t ones = 0;
  in_chunks(source, words, [&](std::span<const std::uint64_t> w) {
    for (const std::uint64_t x : w) ones += static_cast<std::uint64_t>(std::popcount(x));
  });
  return fair_p(count(ones), 64 * count(words));
}

double runs(const Source& source, std::size_t words) {
  std::uint64_t changes = 0;
  std::uint64_t before = 0;
  bool first = true;
  in_chunks(source, words, [&](std::span<const std::uint64_t> w) {
    for (const std::uint64_t x : w) {
      // Bit k against bit k - 1; bit 0 against bit 63 of the word before, which the first word has
      // not.
      const std::uint64_t change = x ^ (x << 1 | (first ? x & 1 : before));
      changes += static_cast<std::uint64_t>(std::popcount(change));
      before = x >> 63;
      first = false;
    }
  });
  return fair_p(count(changes), 64 * count(words) - 1);
}

double bytes(const Source& source, std::size_t words) {
  std::array<std::uint64_t, 256> seen{};
  in_chunks(source, words, [&](std::span<const std::uint64_t> w) {
    for (const std::uint64_t x : w)
      for (int s = 0; s < 64; s += 8) ++seen[(x >> s) & 255];
  });
  std::array<double, 256> o{};
  std::array<double, 256> e{};
  std::ranges::transform(seen, o.begin(), count);
  e.fill(count(words) / 32);
  return chi_square(o, e);
}

double serial_bits(const Source& source, std::size_t words) {
  std::array<std::uint64_t, 65> agree{};
  std::uint64_t before = 0;
  bool first = true;
  in_chunks(source, words, [&](std::span<const std::uint64_t> w) {
    for (const std::uint64_t x : w) {
      if (!first)
        for (int lag = 1; lag <= 64; ++lag) {
          const std::uint64_t shifted = lag == 64 ? before : (x << lag) | (before >> (64 - lag));
          agree[static_cast<std::size_t>(lag)] +=
              static_cast<std::uint64_t>(std::popcount(~(x ^ shifted)));
        }
      before = x;
      first = false;
    }
  });
  double least = 1;
  for (std::size_t lag = 1; lag <= 64; ++lag)
    least = std::min(least, fair_p(count(agree[lag]), 64 * (count(words) - 1)));
  return 1 - std::pow(1 - least, 64);
}

double agreement(const Source& a, const Source& b, std::size_t words) {
  std::uint64_t agree = 0;
  std::vector<std::uint64_t> other(kChunk);
  in_chunks(a, words, [&](std::span<const std::uint64_t> w) {
    b(std::span(other).first(w.size()));
    for (std::size_t i = 0; i < w.size(); ++i)
      agree += static_cast<std::uint64_t>(std::popcount(~(w[i] ^ other[i])));
  });
  return fair_p(count(agree), 64 * count(words));
}

double matrix_rank(const Source& source, std::size_t size, std::size_t matrices) {
  const std::size_t width = size / 64;
  std::vector<std::uint64_t> m(size * width);
  std::vector<double> observed(4);  // rank size, size - 1, size - 2, fewer
  for (std::size_t k = 0; k < matrices; ++k) {
    source(m);
    std::size_t rank = 0;
    for (std::size_t column = 0; column < size && rank < size; ++column) {
      const std::size_t word = column / 64;
      const std::uint64_t bit = 1ULL << (column % 64);
      std::size_t pivot = rank;
      while (pivot < size && (m[pivot * width + word] & bit) == 0) ++pivot;
      if (pivot == size) continue;
      if (pivot != rank)
        std::swap_ranges(m.begin() + static_cast<std::ptrdiff_t>(pivot * width),
                         m.begin() + static_cast<std::ptrdiff_t>((pivot + 1) * width),
                         m.begin() + static_cast<std::ptrdiff_t>(rank * width));
      for (std::size_t row = rank + 1; row < size; ++row)
        if ((m[row * width + word] & bit) != 0)
          for (std::size_t w = word; w < width; ++w) m[row * width + w] ^= m[rank * width + w];
      ++rank;
    }
    observed[std::min<std::size_t>(3, size - rank)] += 1;
  }
  // P(rank = n - d) = 2^(-d^2) prod_{i = d+1..n} (1 - 2^-i) * prod_{i = n-d+1..n} (1 - 2^-i) /
  // prod_{i=1..d} (1 - 2^-i); exact to 2^-60 for n >= 64.
  std::vector<double> expected(4);
  double rest = 1;
  for (int d = 0; d < 3; ++d) {
    double p = std::exp2(-d * d);
    for (int i = d + 1; i <= 64; ++i) p *= 1 - std::exp2(-i);
    for (int i = 1; i <= d; ++i) p /= 1 - std::exp2(-i);
    expected[static_cast<std::size_t>(d)] = p * count(matrices);
    rest -= p;
  }
  expected[3] = rest * count(matrices);
  return chi_square(observed, expected);
}

namespace {

struct Complexity {
  std::size_t length = 0;
  std::size_t jumps = 0;
};

// Berlekamp-Massey over GF(2), 64 coefficients a word. `past` holds the sequence newest bit first,
// so that the discrepancy is the parity of one bitwise product.
Complexity berlekamp_massey(std::span<const std::uint64_t> bits, std::size_t n) {
  const std::size_t width = n / 64 + 1;
  std::vector<std::uint64_t> c(width);
  std::vector<std::uint64_t> b(width);
  std::vector<std::uint64_t> t(width);
  std::vector<std::uint64_t> past(width);
  c[0] = b[0] = 1;
  Complexity r;
  const auto shift = [](std::vector<std::uint64_t>& v, std::size_t words, std::uint64_t in) {
    for (std::size_t i = words; i-- > 1;) v[i] = (v[i] << 1) | (v[i - 1] >> 63);
    v[0] = (v[0] << 1) | in;
  };
  for (std::size_t k = 0; k < n; ++k) {
    // No coefficient and no bit older than k lies above these words.
    const std::size_t words = std::min(width, (k + 1) / 64 + 1);
    shift(past, words, (bits[k / 64] >> (k % 64)) & 1);
    shift(b, words, 0);
    std::uint64_t product = 0;
    const std::size_t used = std::min(width, r.length / 64 + 1);
    for (std::size_t i = 0; i < used; ++i) product ^= c[i] & past[i];
    if ((std::popcount(product) & 1) == 0) continue;
    if (2 * r.length <= k) {
      std::copy_n(c.begin(), words, t.begin());
      for (std::size_t i = 0; i < words; ++i) c[i] ^= b[i];
      std::swap(b, t);
      r.length = k + 1 - r.length;
      ++r.jumps;
    } else {
      for (std::size_t i = 0; i < words; ++i) c[i] ^= b[i];
    }
  }
  return r;
}

}  // namespace

std::vector<PValue> linear_complexity(const Source& source, std::size_t bits, std::size_t blocks) {
  const double n = count(bits);
  const double parity = (bits % 2 != 0) ? 1 : 0;
  // T = (-1)^n (L - mean) + 2/9, mean n/2 + (4 + parity)/18: P(T = -k) and P(T = k) halve twice a
  // step (NIST SP 800-22, 3.10).
  const std::vector<double> share = {1.0 / 96, 1.0 / 32, 1.0 / 8, 1.0 / 2,
                                     1.0 / 4,  1.0 / 16, 1.0 / 48};
  std::vector<double> observed(share.size());
  std::vector<double> expected(share);
  for (double& e : expected) e *= count(blocks);
  double jumps = 0;
  std::vector<std::uint64_t> words(bits / 64 + 1);
  for (std::size_t k = 0; k < blocks; ++k) {
    source(words);
    const Complexity c = berlekamp_massey(words, bits);
    const double t =
        (parity != 0 ? -1 : 1) * (count(c.length) - n / 2 - (4 + parity) / 18) + 2.0 / 9;
    observed[static_cast<std::size_t>(std::clamp(std::ceil(t + 2.5), 0.0, 6.0))] += 1;
    jumps += count(c.jumps);
  }
  // Mean and variance of the number of jumps for large n (Wang, "The linear complexity profile",
  // via TestU01's LinearComp).
  const double mean = n / 4 + (4 + parity) / 12;
  const double variance = n / 8 - (2 - parity) / (9 - parity);
  std::vector<PValue> r;
  if (blocks >= 1000) r.push_back({"linear complexity", chi_square(observed, expected)});
  r.push_back({"complexity jumps",
               two_sided((jumps - count(blocks) * mean) / std::sqrt(count(blocks) * variance))});
  return r;
}

double birthday_spacings(const Source& source, std::size_t points, int bits, std::size_t years) {
  std::vector<std::uint64_t> days(points);
  std::uint64_t equal = 0;
  for (std::size_t y = 0; y < years; ++y) {
    source(days);
    for (std::uint64_t& d : days) d >>= 64 - bits;
    std::ranges::sort(days);
    for (std::size_t i = points; i-- > 1;) days[i] -= days[i - 1];
    std::ranges::sort(std::span(days).subspan(1));
    for (std::size_t i = 2; i < points; ++i) equal += days[i] == days[i - 1] ? 1U : 0U;
  }
  const double n = count(points);
  return poisson_tail(equal, count(years) * n * n * n / std::exp2(bits + 2));
}

double collisions(const Source& source, std::size_t balls, int bits, int dimension) {
  std::vector<std::uint64_t> urns((1ULL << bits) / 64);
  const int each = bits / dimension;
  std::uint64_t hits = 0;
  std::uint64_t urn = 0;
  int part = 0;
  in_chunks(source, balls * static_cast<std::size_t>(dimension),
            [&](std::span<const std::uint64_t> w) {
              for (const std::uint64_t x : w) {
                urn = (urn << each) | (x >> (64 - each));
                if (++part < dimension) continue;
                const std::uint64_t mask = 1ULL << (urn & 63);
                hits += (urns[urn >> 6] & mask) != 0 ? 1U : 0U;
                urns[urn >> 6] |= mask;
                urn = 0;
                part = 0;
              }
            });
  const double k = std::exp2(each * dimension);
  const double n = count(balls);
  // Expected collisions n - k (1 - (1 - 1/k)^n), without cancellation.
  return poisson_tail(hits, n + k * std::expm1(n * std::log1p(-1 / k)));
}

double hamming_independence(const Source& source, std::size_t words, std::size_t pairs) {
  const std::size_t bits = words * 64;
  // Weights further than 6 standard deviations out share a cell.
  const auto reach = static_cast<std::size_t>(6 * std::sqrt(count(bits)) / 2);
  const std::size_t low = bits / 2 > reach ? bits / 2 - reach : 0;
  const std::size_t cells = std::min(bits, bits / 2 + reach) - low + 1;
  std::vector<double> share(cells);
  for (std::size_t i = 0; i < cells; ++i) share[i] = fair(count(bits), count(low + i));
  std::vector<double> observed(cells * cells);
  std::vector<double> expected(cells * cells);
  for (std::size_t i = 0; i < cells; ++i)
    for (std::size_t j = 0; j < cells; ++j)
      expected[i * cells + j] = share[i] * share[j] * count(pairs);
  std::vector<std::uint64_t> block(2 * words);
  const auto weight = [&](std::size_t from) {
    std::size_t w = 0;
    for (std::size_t i = 0; i < words; ++i)
      w += static_cast<std::size_t>(std::popcount(block[from + i]));
    return std::clamp(w, low, low + cells - 1) - low;
  };
  for (std::size_t k = 0; k < pairs; ++k) {
    source(block);
    const std::size_t first = weight(0);
    observed[first * cells + weight(words)] += 1;
  }
  // Likely cells by themselves, the tail together: sorted by expectation.
  std::vector<std::size_t> order(expected.size());
  std::iota(order.begin(), order.end(), 0);
  std::ranges::sort(order, [&](std::size_t a, std::size_t b) { return expected[a] > expected[b]; });
  std::vector<double> o;
  std::vector<double> e;
  for (const std::size_t i : order) {
    o.push_back(observed[i]);
    e.push_back(expected[i]);
  }
  return chi_square(o, e);
}

std::vector<PValue> random_walk(const Source& source, std::size_t steps, std::size_t walks) {
  const double length = count(steps);
  const std::size_t half = steps / 2;
  std::vector<double> end(steps + 1);     // index: up steps
  std::vector<double> top(steps + 1);     // maximum
  std::vector<double> above(half + 1);    // half of the steps whose middle lies above zero
  std::vector<double> returns(half + 1);  // visits to zero
  std::vector<double> changes(half + 1);  // sign changes
  std::vector<std::uint64_t> words((steps + 63) / 64);
  for (std::size_t k = 0; k < walks; ++k) {
    source(words);
    int at = 0;
    int most = 0;
    int side = 0;
    std::size_t positive = 0;
    std::size_t zeros = 0;
    std::size_t crossings = 0;
    for (std::size_t i = 0; i < steps; ++i) {
      const int before = at;
      at += ((words[i / 64] >> (i % 64)) & 1) != 0 ? 1 : -1;
      most = std::max(most, at);
      positive += (at > 0 || before > 0) ? 1U : 0U;
      if (at == 0) {
        ++zeros;
      } else {
        const int now = at > 0 ? 1 : -1;
        crossings += side == -now ? 1U : 0U;
        side = now;
      }
    }
    end[static_cast<std::size_t>(at + static_cast<int>(steps)) / 2] += 1;
    top[static_cast<std::size_t>(most)] += 1;
    above[positive / 2] += 1;
    returns[zeros] += 1;
    changes[crossings] += 1;
  }
  // Feller, An introduction to probability theory, chapter III, for even numbers of steps.
  std::vector<double> p_end(steps + 1);
  std::vector<double> p_top(steps + 1);
  std::vector<double> p_above(half + 1);
  std::vector<double> p_returns(half + 1);
  std::vector<double> p_changes(half + 1);
  const double n = count(walks);
  for (std::size_t i = 0; i <= steps; ++i) {
    p_end[i] = n * fair(length, count(i));
    p_top[i] = n * fair(length, count((steps + i + 1) / 2));
  }
  for (std::size_t i = 0; i <= half; ++i) {
    p_above[i] = n * fair(2 * count(i), count(i)) * fair(length - 2 * count(i), count(half - i));
    p_returns[i] = n * fair(length - count(i), count(half));
    p_changes[i] = n * 2 * fair(length - 1, count(half + i));
  }
  return {{"walk end", chi_square(end, p_end)},
          {"walk maximum", chi_square(top, p_top)},
          {"walk above zero", chi_square(above, p_above)},
          {"walk returns", chi_square(returns, p_returns)},
          {"walk sign changes", chi_square(changes, p_changes)}};
}

double gaps(const Source& source, int bits, std::size_t wanted) {
  const double p = std::exp2(-bits);
  const auto longest = static_cast<std::size_t>(20 / p);
  std::vector<double> observed(longest + 1);
  std::vector<double> expected(longest + 1);
  for (std::size_t g = 0; g < longest; ++g)
    expected[g] = count(wanted) * p * std::pow(1 - p, count(g));
  expected[longest] = count(wanted) * std::pow(1 - p, count(longest));
  std::vector<std::uint64_t> words(kChunk);
  std::size_t used = words.size();
  for (std::size_t k = 0; k < wanted; ++k) {
    std::size_t gap = 0;
    while (gap < longest) {  // a stream without any would never end
      if (used == words.size()) {
        source(words);
        used = 0;
      }
      if (words[used++] >> (64 - bits) == 0) break;
      ++gap;
    }
    observed[std::min(gap, longest)] += 1;
  }
  return chi_square(observed, expected);
}

double permutations(const Source& source, std::size_t size, std::size_t wanted) {
  std::size_t orders = 1;
  for (std::size_t i = 2; i <= size; ++i) orders *= i;
  std::vector<double> observed(orders);
  const std::vector<double> expected(orders, count(wanted) / count(orders));
  std::vector<std::uint64_t> w(size);
  for (std::size_t k = 0; k < wanted; ++k) {
    source(w);
    std::size_t code = 0;
    for (std::size_t i = 0; i < size; ++i) {
      std::size_t smaller = 0;
      for (std::size_t j = i + 1; j < size; ++j) smaller += w[j] < w[i] ? 1U : 0U;
      code = code * (size - i) + smaller;
    }
    observed[code] += 1;
  }
  return chi_square(observed, expected);
}

}  // namespace lastmile::test
