// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "cmodel/numeric/loss.hpp"
#include "cmodel/numeric/softmax.hpp"
#include "sw/base/rng.hpp"
#include "tests/numeric/literal.hpp"

using namespace lastmile;

namespace {

// Loss in bits with exactly scaled logits.
double exact_loss(const std::vector<std::int16_t>& logits, std::size_t label, std::uint32_t m,
                  int shift) {
  const double top = *std::max_element(logits.begin(), logits.end());
  const double scale = std::ldexp(static_cast<double>(m), -shift - spec::kLossFraction);
  double sum = 0;
  for (const std::int16_t l : logits) sum += std::exp2(-(top - l) * scale);
  return std::log2(sum) + (top - logits[label]) * scale;
}

}  // namespace

TEST_CASE("numeric: exponent and logarithm tables") {
  double worst = 0;
  for (std::uint32_t t = 0; t < (3U << 20); t += 7) {
    worst = std::max(worst, std::abs(std::ldexp(static_cast<double>(numeric::exp2_neg(t)), -24) -
                                     std::exp2(-std::ldexp(static_cast<double>(t), -20))));
  }
  CHECK(worst < 1.2e-6);
  CHECK(numeric::exp2_neg(0) == 1U << 24);
  CHECK(numeric::exp2_neg(24U << 20) == 1);
  CHECK(numeric::exp2_neg(25U << 20) == 0);
  CHECK(numeric::exp2_neg(0x7fffffff) == 0);
  for (std::uint32_t t = 1; t < (1U << 20); ++t) {
    if (numeric::exp2_neg(t) > numeric::exp2_neg(t - 1)) FAIL("2^-t grows at " << t);
  }
  worst = 0;
  Rng rng(literal::seed(21));
  for (int i = 0; i < 200000; ++i) {
    const std::uint64_t sum =
        (std::uint64_t{1} << 24) + rng.below((std::uint64_t{1} << (24 + rng.below(17))));
    worst = std::max(worst, std::abs(std::ldexp(static_cast<double>(numeric::log2_sum(sum)), -20) -
                                     std::log2(std::ldexp(static_cast<double>(sum), -24))));
  }
  CHECK(worst < 3.5e-6);
  CHECK(numeric::log2_sum(std::uint64_t{1} << 24) == 0);
  CHECK(numeric::log2_sum(std::uint64_t{1} << 40) == 16U << 20);
}

TEST_CASE("numeric: the loss keeps its stated error against float64") {
  Rng rng(literal::seed(22));
  double worst = 0;  // bits beyond what truncating each class's 2^-t may cost
  for (int i = 0; i < 20000; ++i) {
    const std::size_t classes = rng.below(20) == 0 ? 1000 : 2 + rng.below(34);
    std::vector<std::int16_t> logits(classes);
    const int spread = static_cast<int>(rng.below(16));
    for (auto& l : logits) {
      l = static_cast<std::int16_t>(static_cast<std::int16_t>(rng.next()) >> spread);
    }
    if (rng.below(4) == 0) logits[rng.below(classes)] = 32767;  // all others far below
    const auto m = static_cast<std::uint32_t>(32768 + rng.below(32768));
    const int shift = 4 + static_cast<int>(rng.below(16));
    const auto label = static_cast<std::uint32_t>(rng.below(classes));
    const double exact = exact_loss(logits, label, m, shift);
    if (exact > 2000) continue;  // saturates at 2048
    const numeric::ExampleLoss found = numeric::cross_entropy(logits, label, m, shift);
    const double error = std::abs(std::ldexp(static_cast<double>(found.loss), -20) - exact);
    worst = std::max(worst, error - 1.5 * std::ldexp(static_cast<double>(classes - 1), -24));
    const auto first = std::max_element(logits.begin(), logits.end()) - logits.begin();
    REQUIRE(found.correct == (first == label));
  }
  INFO("largest error: " << worst << " bits and 1.5 * 2^-24 per further class");
  CHECK(worst < 4e-6);
  // the tail of many classes is where the truncation shows
  std::vector<std::int16_t> tail(30000, 0);
  tail[0] = 32767;
  // 23.99 bits below the first: 2^-23.99 is truncated to 2^-24
  const std::uint32_t m = 49131;
  const double exact = exact_loss(tail, 0, m, 6);
  const double found =
      std::ldexp(static_cast<double>(numeric::cross_entropy(tail, 0, m, 6).loss), -20);
  CHECK(std::abs(found - exact) < 4e-6 + 1.5 * std::ldexp(29999.0, -24));
}

TEST_CASE("numeric: losses at the ends") {
  const std::vector<std::int16_t> one = {-5};
  CHECK(numeric::cross_entropy(one, 0, 65535, 0).loss == 0);
  CHECK(numeric::cross_entropy(one, 0, 65535, 0).correct);
  const std::vector<std::int16_t> equal(1024, 77);
  CHECK(numeric::cross_entropy(equal, 9, 40000, 3).loss == 10U << 20);
  CHECK_FALSE(numeric::cross_entropy(equal, 9, 40000, 3).correct);  // the first of equals counts
  CHECK(numeric::cross_entropy(equal, 0, 40000, 3).correct);
  const std::vector<std::int16_t> far = {-32768, 32767};
  CHECK(numeric::cross_entropy(far, 0, 65535, 0).loss == 0x7fffffff);  // saturates
  CHECK(numeric::cross_entropy(far, 1, 65535, 0).loss == 0);
  CHECK(numeric::logit_distance(65535, 65535, 31) == 2);
  CHECK(numeric::logit_distance(3, 1, 1) == 2);  // ties up
  const std::vector<std::int16_t> many(65536, 0);
  CHECK(numeric::cross_entropy(many, 65535, 1, 0).loss == 16U << 20);
}

namespace {

// What a TensorFlow Lite converter derives for a softmax of this input scale: multiplier, left
// shift, smallest difference.
struct SoftmaxScale {
  std::int32_t multiplier = 0, diff_min = 0;
  int left_shift = 0;
};
SoftmaxScale softmax_scale(double scale) {
  SoftmaxScale s;
  const double real = std::min(scale * (1 << 26), 2147483647.0);
  const double fraction = std::frexp(real, &s.left_shift);
  auto fixed = static_cast<std::int64_t>(std::llround(fraction * 2147483648.0));
  if (fixed == std::int64_t{1} << 31) fixed /= 2, ++s.left_shift;
  s.multiplier = static_cast<std::int32_t>(fixed);
  s.diff_min =
      -static_cast<std::int32_t>(std::floor(31.0 * (1 << 26) / std::ldexp(1.0, s.left_shift)));
  return s;
}

}  // namespace

TEST_CASE("numeric: softmax equals the correctly rounded one") {
  Rng rng(literal::seed(23));
  std::uint64_t outputs = 0, different = 0, far = 0;
  while (outputs < 150000) {
    const double scale = std::exp2(-8 + rng.uniform() * 7);
    const SoftmaxScale s = softmax_scale(scale);
    std::vector<std::int8_t> in(2 + rng.below(60)), out(in.size());
    const int spread = static_cast<int>(rng.below(6));
    for (auto& v : in) v = static_cast<std::int8_t>(static_cast<std::int8_t>(rng.next()) >> spread);
    numeric::softmax::row(in, out, s.multiplier, s.left_shift, s.diff_min);
    const int top = *std::max_element(in.begin(), in.end());
    double sum = 0;
    for (const std::int8_t v : in) sum += std::exp((v - top) * scale);
    for (std::size_t i = 0; i < in.size(); ++i) {
      const double p = 256 * std::exp((in[i] - top) * scale) / sum;
      const int expected = std::clamp(static_cast<int>(std::lround(p)) - 128, -128, 127);
      ++outputs;
      different += out[i] != expected ? 1 : 0;
      // a difference is only excusable where the exact value is a tie to the precision of the
      // fixed-point exponential
      far += out[i] != expected && std::abs(p - std::floor(p) - 0.5) > 2e-4 ? 1 : 0;
    }
  }
  INFO("softmax: " << different << " of " << outputs
                   << " outputs differ from the correctly rounded float");
  CHECK(far == 0);
  CHECK(different <= outputs / 10000);
}

TEST_CASE("numeric: softmax is defined for every field value") {
  Rng rng(literal::seed(24));
  std::vector<std::int8_t> in(40), out(40);
  for (int i = 0; i < 20000; ++i) {
    for (auto& v : in) v = static_cast<std::int8_t>(rng.next());
    const auto m = static_cast<std::int32_t>(rng.next() >> 33);
    const auto least = static_cast<std::int32_t>(
        -static_cast<std::int64_t>(rng.below(std::uint64_t{1} << (1 + rng.below(31)))));
    numeric::softmax::row(in, out, m, static_cast<int>(rng.below(31)), least);  // sanitizers watch
  }
  const std::vector<std::int8_t> same(4095, 3);
  std::vector<std::int8_t> result(4095);
  numeric::softmax::row(same, result, 1 << 30, 20, -4000);
  CHECK(std::all_of(result.begin(), result.end(), [](std::int8_t v) { return v == -128; }));
}

TEST_CASE("numeric: output errors are softmax minus label, unbiased by their rounding") {
  Rng rng(literal::seed(25));
  for (int round = 0; round < 200; ++round) {
    const std::size_t classes = 1 + rng.below(20);
    std::vector<std::int16_t> logits(classes);
    const std::uint64_t spread = std::uint64_t{1} << rng.below(16);
    for (auto& l : logits)
      l = static_cast<std::int16_t>(static_cast<std::int64_t>(rng.below(2 * spread)) -
                                    static_cast<std::int64_t>(spread));
    const auto m = static_cast<std::uint32_t>(32768 + rng.below(32768));
    const int shift = static_cast<int>(rng.below(10));
    const auto label = static_cast<std::uint32_t>(rng.below(classes));
    const auto loss = numeric::cross_entropy(logits, label, m, shift);
    const double unit = std::ldexp(static_cast<double>(m), -shift - 20);  // bits per logit
    double total = 0;
    for (const std::int16_t l : logits) total += std::exp2((l - loss.top) * unit);
    for (std::size_t c = 0; c < classes; ++c) {
      INFO("round " << round << " class " << c);
      const double exact =
          std::exp2((logits[c] - loss.top) * unit) / total - (c == label ? 1.0 : 0.0);
      const std::uint32_t t =
          numeric::logit_distance(static_cast<std::uint32_t>(loss.top - logits[c]), m, shift);
      // the mean over all random words is what rounding leaves of the error
      std::int64_t sum = 0;
      for (std::uint32_t r = 0; r < 65536; r += 16)
        sum += numeric::output_error(t, loss.log_sum, c == label, r + 8);
      const double mean = static_cast<double>(sum) / 4096 / 128;
      const double limited = std::clamp(exact, -127.0 / 128, 127.0 / 128);
      // near the limit the mean of 127 and 128 is cut
      if (std::abs(exact) < 127.0 / 128) CHECK(std::abs(mean - exact) < 3e-5);
      CHECK(std::abs(mean - limited) < 1.0 / 256);
      const std::int32_t least = numeric::output_error(t, loss.log_sum, c == label, 0);
      const std::int32_t most = numeric::output_error(t, loss.log_sum, c == label, 65535);
      CHECK(std::abs(most - least) <= 1);
      CHECK((c == label ? most <= 0 && least <= 0 : most >= 0 && least >= 0));
    }
  }
}
