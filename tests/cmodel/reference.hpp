// SPDX-License-Identifier: Apache-2.0
// The contract as plain loops, for comparison with the model: one element at a time, straight from
// CONTRACT.md, 128-bit intermediates, no tiles, no threads, no tables. Requantization is the
// formula of the golden vectors' README, word by word.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <vector>

#include "cmodel/numeric/loss.hpp"
#include "cmodel/numeric/perturb.hpp"
#include "cmodel/numeric/softmax.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace reference {

using lastmile::spec::Descriptor;
using lastmile::spec::Opcode;
namespace spec = lastmile::spec;
namespace numeric = lastmile::numeric;
using Int128 = __int128;

struct Registers {
  std::uint32_t polarity = 0, distribution = 0;
  std::uint64_t seed = 0, mask_seed = 0;
  std::uint32_t pairs = 1;
  std::uint64_t pair_seed[8] = {};
  std::int32_t pair_coef[8] = {};
  std::uint32_t step_mantissa = 0, step_shift = 0;
};

struct Counts {
  std::uint64_t perturbed = 0, clipped = 0, sat_low = 0, sat_high = 0, updated = 0, zero = 0,
                update_clipped = 0;
  std::uint64_t loss = 0, correct = 0, examples = 0;
};

inline Int128 floor_div_pow2(Int128 v, int bits) { return v >> bits; }

// L = max(e, 0), R = max(-e, 0); h = floor((acc * 2^L * M + 2^30) / 2^31); y = floor(h / 2^R) + [h
// mod 2^R > T].
inline std::int64_t requantize(std::int64_t acc, std::int64_t m, int e) {
  const int left = std::max(e, 0), right = std::max(-e, 0);
  const Int128 a = std::clamp(static_cast<Int128>(acc) * (Int128{1} << left), -(Int128{1} << 39),
                              (Int128{1} << 39) - 1);
  const Int128 h = floor_div_pow2(a * m + (Int128{1} << 30), 31);
  const Int128 two = Int128{1} << right;
  const Int128 floor = floor_div_pow2(h, right);
  const Int128 rest = h - floor * two;
  const Int128 t = floor_div_pow2(two - 1, 1) + (h < 0 ? 1 : 0);
  return static_cast<std::int64_t>(floor + (rest > t ? 1 : 0));
}

class Model {
 public:
  Model(std::vector<std::byte>& memory, const Registers& regs) : m_(memory), r_(regs) {}

  Counts run(const Descriptor& d) {
    c_ = {};
    switch (static_cast<Opcode>(d.opcode)) {
      case Opcode::conv2d_:
      case Opcode::depthwise_:
        matrix(d);
        break;
      case Opcode::pool_:
        pool(d);
        break;
      case Opcode::add_:
        add(d);
        break;
      case Opcode::softmax_:
        softmax(d);
        break;
      case Opcode::loss_:
        loss(d);
        break;
      case Opcode::update_:
        update(d);
        break;
      case Opcode::end_:
        break;
    }
    return c_;
  }

 private:
  template <class T>
  T get(std::uint64_t address) const {
    T v;
    std::memcpy(&v, m_.data() + address, sizeof v);
    return v;
  }
  template <class T>
  void put(std::uint64_t address, T v) {
    std::memcpy(m_.data() + address, &v, sizeof v);
  }

  std::int32_t perturbed(std::int32_t w, std::uint32_t tensor, std::uint32_t row, std::uint32_t col,
                         std::uint32_t eps, std::uint32_t shift, std::uint32_t keep,
                         std::int32_t limit) {
    if (!numeric::kept(r_.mask_seed, tensor, row, col, keep)) return w;
    const std::int32_t z = numeric::draw_z(
        r_.seed, static_cast<numeric::Distribution>(r_.distribution), tensor, row, col);
    std::int64_t delta = numeric::perturb_magnitude(eps, static_cast<int>(shift), z);
    if ((z < 0) != (r_.polarity == 2)) delta = -delta;
    const numeric::Perturbed p = numeric::perturb(w, delta, limit);
    ++c_.perturbed;
    c_.clipped += p.clipped ? 1 : 0;
    return p.value;
  }
  // Weight of output channel o and element k of K.
  std::int32_t conv_weight(const Descriptor& d, std::uint32_t o, std::uint32_t k) {
    if (!d.has(spec::kFlagWTransposed)) return weight(d, o, k);
    return weight(d, k, o) - (d.has(spec::kFlagW8) ? d.w_zp : 0);
  }
  std::int32_t weight(const Descriptor& d, std::uint32_t row, std::uint32_t col) {
    const std::uint64_t at = d.w_addr + std::uint64_t{row} * d.w_pitch;
    const bool w8 = d.has(spec::kFlagW8);
    const std::int32_t w =
        w8 ? get<std::int8_t>(at + col) : get<std::int16_t>(at + 2 * std::uint64_t{col});
    if (r_.polarity == 0 || !d.has(spec::kFlagWTrain)) return w;
    return perturbed(w, d.w_tensor, row, col, d.w_eps, d.w_eps_shift, d.w_keep, w8 ? 127 : 32767);
  }
  std::int64_t bias(const Descriptor& d, std::uint32_t o) {
    if (!d.has(spec::kFlagHasBias)) return 0;
    const std::int32_t b = get<std::int32_t>(d.bias_addr + 4 * std::uint64_t{o});
    if (r_.polarity == 0 || !d.has(spec::kFlagBTrain)) return b;
    return perturbed(b, d.b_tensor, 0, o, d.b_eps, d.b_eps_shift, d.b_keep, 0x7fffffff);
  }
  std::int32_t saturate(std::int64_t y, std::int64_t type_low, std::int64_t type_high,
                        std::int64_t low, std::int64_t high) {
    c_.sat_low += y < type_low ? 1 : 0;
    c_.sat_high += y > type_high ? 1 : 0;
    return static_cast<std::int32_t>(std::clamp(y, low, high));
  }
  std::int32_t sum(const Descriptor& d, std::int32_t x1, std::int32_t zp1, std::int32_t x2) {
    const std::int64_t a1 = requantize(std::int64_t{x1 - zp1} * (1 << d.add_shift), d.m1, d.e1);
    const std::int64_t a2 =
        requantize(std::int64_t{x2 - d.in2_zp} * (1 << d.add_shift), d.m2, d.e2);
    const std::int64_t both =
        std::clamp(a1 + a2, -(std::int64_t{1} << 39), (std::int64_t{1} << 39) - 1);
    return saturate(requantize(both, d.mo, d.eo) + d.add_zp, -128, 127, d.add_act_min,
                    d.add_act_max);
  }

  // Byte of an output element of CONV2D, DEPTHWISE or POOL behind out_addr.
  static std::uint64_t output_at(const Descriptor& d, std::uint64_t n, std::uint64_t y,
                                 std::uint64_t x, std::uint64_t channel) {
    const bool pool = d.opcode == static_cast<std::uint32_t>(Opcode::pool_);
    const std::uint64_t channels = pool ? d.in_c : d.out_c;
    const std::uint64_t bytes = d.has(spec::kFlagOut32) ? 4 : d.has(spec::kFlagOut16) ? 2 : 1;
    const std::uint64_t image =
        d.out_pitch != 0 ? d.out_pitch : d.out_h * d.out_w * channels * bytes;
    return n * image + ((y * d.out_w + x) * channels + channel) * bytes;
  }

  void matrix(const Descriptor& d) {
    const bool depthwise = d.opcode == static_cast<std::uint32_t>(Opcode::depthwise_);
    const std::uint32_t per_group = depthwise ? 1 : d.cin_group;
    const std::uint32_t taps = d.kernel_h * d.kernel_w;
    // every weight once, so that the counters see each once
    std::vector<std::int32_t> w(std::size_t{d.out_c} * taps * per_group);
    for (std::uint32_t o = 0; o < d.out_c; ++o) {
      for (std::uint32_t t = 0; t < taps; ++t) {
        for (std::uint32_t c = 0; c < per_group; ++c) {
          w[(std::size_t{o} * taps + t) * per_group + c] =
              depthwise ? weight(d, t, o) : conv_weight(d, o, t * per_group + c);
        }
      }
    }
    std::vector<std::int64_t> b(d.out_c);
    for (std::uint32_t o = 0; o < d.out_c; ++o) b[o] = bias(d, o);
    for (std::uint32_t n = 0; n < d.n; ++n) {
      for (std::uint32_t y = 0; y < d.out_h; ++y) {
        for (std::uint32_t x = 0; x < d.out_w; ++x) {
          for (std::uint32_t o = 0; o < d.out_c; ++o) {
            std::int64_t acc = b[o];
            for (std::uint32_t ky = 0; ky < d.kernel_h; ++ky) {
              for (std::uint32_t kx = 0; kx < d.kernel_w; ++kx) {
                const std::int64_t iy =
                    std::int64_t{y} * d.stride_h - d.pad_top + std::int64_t{ky} * d.dilation_h;
                const std::int64_t ix =
                    std::int64_t{x} * d.stride_w - d.pad_left + std::int64_t{kx} * d.dilation_w;
                if (iy < 0 || ix < 0 || iy >= d.in_h || ix >= d.in_w) continue;
                const std::uint64_t pixel =
                    (std::uint64_t{n} * d.in_h + static_cast<std::uint64_t>(iy)) * d.in_w +
                    static_cast<std::uint64_t>(ix);
                for (std::uint32_t c = 0; c < per_group; ++c) {
                  const std::uint32_t channel =
                      depthwise ? o / d.cout_group : o / d.cout_group * d.cin_group + c;
                  const std::int32_t v =
                      get<std::int8_t>(d.in_addr + pixel * d.in_c + channel) - d.in_zp;
                  acc += std::int64_t{v} *
                         w[(std::size_t{o} * taps + ky * d.kernel_w + kx) * per_group + c];
                }
              }
            }
            const std::uint64_t at = output_at(d, n, y, x, o);
            if (d.has(spec::kFlagOut32)) {
              put(d.out_addr + at, saturate(acc, INT32_MIN, INT32_MAX, INT32_MIN, INT32_MAX));
              continue;
            }
            const std::uint64_t rq = d.rq_addr + 8 * std::uint64_t{o};
            const std::int64_t multiplier = get<std::uint32_t>(rq) & 0x7fffffff;
            const int exponent = std::clamp<int>(get<std::int8_t>(rq + 4), -40, 30);
            const std::int64_t value = requantize(acc, multiplier, exponent) + d.out_zp;
            if (d.has(spec::kFlagOut16)) {
              put(d.out_addr + at,
                  static_cast<std::int16_t>(saturate(value, -32768, 32767, d.act_min, d.act_max)));
              continue;
            }
            std::int32_t out = saturate(value, -128, 127, d.act_min, d.act_max);
            if (d.has(spec::kFlagResAdd))
              out = sum(d, out, d.out_zp, get<std::int8_t>(d.in2_addr + at));
            put(d.out_addr + at, static_cast<std::int8_t>(out));
          }
        }
      }
    }
  }

  void pool(const Descriptor& d) {
    for (std::uint32_t n = 0; n < d.n; ++n) {
      for (std::uint32_t y = 0; y < d.out_h; ++y) {
        for (std::uint32_t x = 0; x < d.out_w; ++x) {
          for (std::uint32_t c = 0; c < d.in_c; ++c) {
            std::int32_t total = 0, count = 0, top = -128;
            for (std::uint32_t ky = 0; ky < d.kernel_h; ++ky) {
              for (std::uint32_t kx = 0; kx < d.kernel_w; ++kx) {
                const std::int64_t iy =
                    std::int64_t{y} * d.stride_h - d.pad_top + std::int64_t{ky} * d.dilation_h;
                const std::int64_t ix =
                    std::int64_t{x} * d.stride_w - d.pad_left + std::int64_t{kx} * d.dilation_w;
                if (iy < 0 || ix < 0 || iy >= d.in_h || ix >= d.in_w) continue;
                const std::uint64_t pixel =
                    (std::uint64_t{n} * d.in_h + static_cast<std::uint64_t>(iy)) * d.in_w +
                    static_cast<std::uint64_t>(ix);
                const std::int32_t v{get<std::int8_t>(d.in_addr + pixel * d.in_c + c)};
                total += v;
                top = std::max(top, v);
                ++count;
              }
            }
            std::int32_t v = 0;
            if (d.has(spec::kFlagMax)) {
              v = top;
            } else if (count != 0) {
              v = total > 0 ? (total + count / 2) / count : (total - count / 2) / count;
            }
            put(d.out_addr + output_at(d, n, y, x, c),
                static_cast<std::int8_t>(std::clamp(v, d.act_min, d.act_max)));
          }
        }
      }
    }
  }

  void add(const Descriptor& d) {
    for (std::uint64_t i = 0; i < std::uint64_t{d.n} * d.in_c; ++i) {
      put(d.out_addr + i, static_cast<std::int8_t>(sum(d, get<std::int8_t>(d.in_addr + i), d.in_zp,
                                                       get<std::int8_t>(d.in2_addr + i))));
    }
  }

  void softmax(const Descriptor& d) {
    std::vector<std::int8_t> in(d.in_c), out(d.in_c);
    for (std::uint32_t n = 0; n < d.n; ++n) {
      std::memcpy(in.data(), m_.data() + d.in_addr + std::uint64_t{n} * d.in_c, d.in_c);
      numeric::softmax::row(in, out, static_cast<std::int32_t>(d.m1), d.e1, d.diff_min);
      std::memcpy(m_.data() + d.out_addr + std::uint64_t{n} * d.in_c, out.data(), d.in_c);
    }
  }

  void loss(const Descriptor& d) {
    for (std::uint32_t n = 0; n < d.n; ++n) {
      const std::uint32_t label = d.in_c > 255
                                      ? get<std::uint16_t>(d.in2_addr + 2 * std::uint64_t{n})
                                      : get<std::uint8_t>(d.in2_addr + std::uint64_t{n});
      std::uint32_t value = 0;
      if (label < d.in_c && label != (d.in_c > 255 ? 65535u : 255u)) {
        std::vector<std::int16_t> logits(d.in_c);
        for (std::uint32_t c = 0; c < d.in_c; ++c)
          logits[c] = get<std::int16_t>(d.in_addr + 2 * (std::uint64_t{n} * d.in_c + c));
        const numeric::ExampleLoss e = numeric::cross_entropy(logits, label, d.m1, -d.e1);
        value = e.loss;
        c_.loss += value;
        c_.correct += e.correct ? 1 : 0;
        ++c_.examples;
      }
      if (d.has(spec::kFlagLosses)) put(d.out_addr + 4 * std::uint64_t{n}, value);
      if (d.has(spec::kFlagErrors)) errors(d, n, label);
    }
  }

  // Output errors of one example, from the definition: the sum and its logarithm once more.
  void errors(const Descriptor& d, std::uint32_t n, std::uint32_t label) {
    const bool ignored = label >= d.in_c || label == (d.in_c > 255 ? 65535u : 255u);
    std::vector<std::int32_t> logits(d.in_c);
    for (std::uint32_t c = 0; c < d.in_c; ++c)
      logits[c] = get<std::int16_t>(d.in_addr + 2 * (std::uint64_t{n} * d.in_c + c));
    const std::int32_t top = *std::max_element(logits.begin(), logits.end());
    const auto distance = [&](std::uint32_t c) {
      return numeric::logit_distance(static_cast<std::uint32_t>(top - logits[c]), d.m1, -d.e1);
    };
    std::uint64_t total = 0;
    for (std::uint32_t c = 0; c < d.in_c; ++c) total += numeric::exp2_neg(distance(c));
    const std::uint64_t log_total = numeric::log2_sum(total);
    for (std::uint32_t c = 0; c < d.in_c; ++c) {
      std::int64_t e = 0;
      if (!ignored) {
        const std::uint64_t u = std::min<std::uint64_t>(distance(c) + log_total, 0x7fffffff);
        const std::int64_t exact = std::int64_t{numeric::exp2_neg(static_cast<std::uint32_t>(u))} -
                                   (c == label ? 16777216 : 0);
        const std::int64_t r =
            numeric::hash_element(r_.seed, numeric::Domain::round_, d.w_tensor, n, c);
        e = std::min<std::int64_t>(127, ((exact < 0 ? -exact : exact) + 2 * r + 1) / 131072);
        if (exact < 0) e = -e;
      }
      put(d.out_addr + std::uint64_t{n} * d.in_c + c, static_cast<std::int8_t>(e));
    }
  }

  void update(const Descriptor& d) {
    const numeric::Step step = numeric::combine_step(
        d.step, static_cast<int>(d.step_shift), r_.step_mantissa, static_cast<int>(r_.step_shift));
    const std::uint32_t bytes = d.has(spec::kFlagW8) ? 1 : d.has(spec::kFlagW32) ? 4 : 2;
    for (std::uint32_t row = 0; row < d.out_c; ++row) {
      for (std::uint32_t col = 0; col < d.in_c; ++col) {
        if (!numeric::kept(r_.mask_seed, d.w_tensor, row, col, d.w_keep)) continue;
        std::int32_t g = 0;
        const bool given = d.has(spec::kFlagGradient);
        if (given) {
          const std::uint64_t pitch = (std::uint64_t{d.in_c} * 4 + 63) / 64 * 64;
          g = get<std::int32_t>(d.in_addr + row * pitch + 4 * std::uint64_t{col});
        }
        for (std::uint32_t j = 0; j < (given ? 0 : r_.pairs); ++j) {
          g += r_.pair_coef[j] *
               numeric::draw_z(r_.pair_seed[j], static_cast<numeric::Distribution>(r_.distribution),
                               d.w_tensor, row, col);
        }
        const std::uint32_t r16 =
            numeric::hash_element(r_.pair_seed[0], numeric::Domain::round_, d.w_tensor, row, col);
        const std::uint64_t at =
            d.w_addr + std::uint64_t{row} * d.w_pitch + std::uint64_t{col} * bytes;
        const std::int32_t w = bytes == 1   ? get<std::int8_t>(at)
                               : bytes == 2 ? get<std::int16_t>(at)
                                            : get<std::int32_t>(at);
        const numeric::Updated u = numeric::update(w, g, step, r16,
                                                   bytes == 1   ? 127
                                                   : bytes == 2 ? 32767
                                                                : 0x7fffffff);
        if (bytes == 1) put(at, static_cast<std::int8_t>(u.value));
        if (bytes == 2) put(at, static_cast<std::int16_t>(u.value));
        if (bytes == 4) put(at, u.value);
        ++c_.updated;
        c_.zero += u.zero ? 1 : 0;
        c_.update_clipped += u.clipped ? 1 : 0;
      }
    }
  }

  std::vector<std::byte>& m_;
  const Registers& r_;
  Counts c_;
};

}  // namespace reference
