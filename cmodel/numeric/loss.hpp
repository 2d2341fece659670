// SPDX-License-Identifier: Apache-2.0
// Integer softmax cross-entropy from int16 logits. CONTRACT.md, section Loss.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <span>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::numeric {

// Distance of a logit to the largest, in units of log2 with 20 fraction bits: d * m / 2^shift,
// nearest, ties up, saturated to 31 bits. d = max - logit, 0..65535; m: 16 bits; shift 0..31.
[[nodiscard]] constexpr std::uint32_t logit_distance(std::uint32_t d, std::uint32_t m, int shift) {
  const std::uint64_t p = static_cast<std::uint64_t>(d) * m;
  const std::uint64_t t = shift == 0 ? p : (p + (std::uint64_t{1} << (shift - 1))) >> shift;
  return static_cast<std::uint32_t>(std::min<std::uint64_t>(t, 0x7fffffff));
}

// 2^-t with 24 fraction bits, t with 20: table of 256 segments, linear between, then a truncating
// shift.
[[nodiscard]] constexpr std::uint32_t exp2_neg(std::uint32_t t) {
  const std::uint32_t whole = t >> 20;
  if (whole > 24) return 0;
  const std::uint32_t k = (t >> 12) & 255;
  const std::uint32_t rest = t & 4095;
  const std::uint32_t hi = spec::kExp2Table[k];
  const std::uint32_t v = hi - (((hi - spec::kExp2Table[k + 1]) * rest + 2048) >> 12);
  return v >> whole;
}

// log2(sum / 2^24) with 20 fraction bits; sum >= 2^24 (the largest logit alone contributes 2^24),
// at most 41 bits.
[[nodiscard]] constexpr std::uint32_t log2_sum(std::uint64_t sum) {
  const int msb = 63 - std::countl_zero(sum);
  const auto mantissa = static_cast<std::uint32_t>((sum << (40 - msb)) >> 16) &
                        0xffffff;  // 24 bits below the leading one
  const std::uint32_t k = mantissa >> 16;
  const std::uint64_t rest = mantissa & 0xffff;
  const std::uint32_t lo = spec::kLog2Table[k];
  const std::uint64_t step = spec::kLog2Table[k + 1] - lo;
  const std::uint32_t l24 = lo + static_cast<std::uint32_t>((step * rest + 0x8000) >> 16);
  return (static_cast<std::uint32_t>(msb - 24) << 20) + ((l24 + 8) >> 4);
}

// Error of one output, softmax - onehot, in 2^-7, -127..127. t: the logit's distance to the
// largest, log_sum: log2 of the sum of all 2^-t, both with 20 fraction bits, so that 2^-(t +
// log_sum) is the softmax. Rounded in the magnitude with 16 random bits: unbiased to 2^-24, but for
// the limit of 127.
[[nodiscard]] constexpr std::int32_t output_error(std::uint32_t t, std::uint32_t log_sum,
                                                  bool is_label, std::uint32_t r16) {
  const std::uint64_t u = std::min<std::uint64_t>(std::uint64_t{t} + log_sum, 0x7fffffff);
  const std::int32_t e =
      static_cast<std::int32_t>(exp2_neg(static_cast<std::uint32_t>(u))) - (is_label ? 1 << 24 : 0);
  const std::int32_t magnitude = e < 0 ? -e : e;
  const std::int32_t q = std::min((magnitude + 2 * static_cast<std::int32_t>(r16) + 1) >> 17, 127);
  return e < 0 ? -q : q;
}

struct ExampleLoss {
  std::uint32_t loss = 0;     // -log2 softmax(label), 20 fraction bits, saturated to 31 bits
  bool correct = false;       // the first largest logit is the label
  std::int32_t top = 0;       // the largest logit
  std::uint32_t log_sum = 0;  // log2 of the sum of 2^-t, 20 fraction bits
};

// label < logits.size(), at most 65,536 logits.
[[nodiscard]] constexpr ExampleLoss cross_entropy(std::span<const std::int16_t> logits,
                                                  std::uint32_t label, std::uint32_t m, int shift) {
  std::int32_t top = logits[0];
  std::uint32_t first = 0;
  for (std::uint32_t c = 1; c < logits.size(); ++c) {
    if (logits[c] > top) top = logits[c], first = c;
  }
  std::uint64_t sum = 0;
  std::uint32_t target = 0;
  for (std::uint32_t c = 0; c < logits.size(); ++c) {
    const std::uint32_t t = logit_distance(static_cast<std::uint32_t>(top - logits[c]), m, shift);
    sum += exp2_neg(t);
    if (c == label) target = t;
  }
  const std::uint32_t log_sum = log2_sum(sum);
  const std::uint64_t loss = std::uint64_t{log_sum} + target;
  return {static_cast<std::uint32_t>(std::min<std::uint64_t>(loss, 0x7fffffff)), first == label,
          top, log_sum};
}

}  // namespace lastmile::numeric
