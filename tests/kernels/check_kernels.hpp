// SPDX-License-Identifier: Apache-2.0
// Every entry of a table of kernels against plain loops over the definitions in cmodel/numeric, on
// random shapes and extremes. Needs nothing but the standard library: it also runs on an emulated
// CPU of another architecture (tests/kernels/other_cpu.cpp).
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "cmodel/npu/kernels/kernels.hpp"
#include "cmodel/numeric/fixed.hpp"
#include "cmodel/numeric/perturb.hpp"
#include "cmodel/numeric/random.hpp"

namespace kernel_check {

using namespace lastmile;
using npu::Format;
using npu::kPanel;

class Checker {
 public:
  Checker(const npu::Kernels& kernels, std::uint64_t seed) : k_(kernels), rng_(seed) {}

  // What differs, one line each; empty if nothing does.
  std::vector<std::string> run(int rounds) {
    for (int i = 0; i < rounds; ++i) {
      round_ = i;
      products(i);
      requantization();
      additions();
      regions();
      pooling();
      randoms();
    }
    return found_;
  }

 private:
  std::int64_t in(std::int64_t low, std::int64_t high) {
    const auto range = static_cast<std::uint64_t>(high - low) + 1;
    return low + static_cast<std::int64_t>(rng_() % range);
  }
  bool coin() { return in(0, 1) == 0; }
  std::size_t size(std::int64_t low, std::int64_t high) {
    return static_cast<std::size_t>(in(low, high));
  }
  std::int8_t byte() { return static_cast<std::int8_t>(in(-128, 127)); }
  std::int32_t multiplier() {
    static constexpr std::int32_t kEdges[] = {0, 1, 1 << 30, (1 << 30) - 1, 0x7fffffff};
    return coin() ? static_cast<std::int32_t>(in(1 << 30, 0x7fffffff)) : kEdges[in(0, 4)];
  }
  void expect(bool same, const std::string& what) {
    if (!same && found_.size() < 20)
      found_.push_back(std::string(k_.name) + ", round " + std::to_string(round_) + ": " + what);
  }
  template <class T>
  void equal(const std::vector<T>& found, const std::vector<T>& expected, const std::string& what) {
    const auto at = std::mismatch(found.begin(), found.end(), expected.begin()).first;
    expect(at == found.end(), what + " differs at " + std::to_string(at - found.begin()) + " of " +
                                  std::to_string(found.size()));
  }

  // ---- products ----

  struct Case {
    npu::Product q;
    std::vector<std::int16_t> words;
    std::vector<std::uint8_t> bytes;
    std::vector<std::byte> weights;
    std::vector<std::int32_t> input, offset, weight;  // weight: channel x element of K
    std::size_t element = 0;                          // of K in an entry, per channel
    std::vector<std::int32_t> sums;                   // expected
  };

  // largest: of |x - zero point| and |w|; 0: all extremes.
  Case product(Format format, bool per_channel, std::size_t fold, std::size_t panels,
               std::size_t entries, std::size_t positions, std::int32_t largest_w) {
    Case c;
    const bool words = format == Format::words;
    c.element = (words ? 2 : 4) * fold;
    const std::size_t channels = panels * kPanel;
    const std::size_t spread = per_channel ? kPanel : 1;
    const std::size_t elements = 4096 + entries * c.element * spread;
    const bool extreme = largest_w == 0;
    for (std::size_t i = 0; i < elements + npu::kReadBehind; ++i) {
      c.words.push_back(static_cast<std::int16_t>(extreme ? (coin() ? 255 : -255) : in(-255, 255)));
      c.bytes.push_back(static_cast<std::uint8_t>(extreme && coin() ? 255 * in(0, 1) : in(0, 255)));
    }
    if (extreme && coin()) std::fill(c.words.begin(), c.words.end(), std::int16_t{-255});
    for (std::size_t p = 0; p < positions; ++p)
      c.input.push_back(
          static_cast<std::int32_t>(in(0, 2000) * static_cast<std::int64_t>(spread) % 2000));
    if (per_channel)
      for (std::int32_t& i : c.input)
        i = i / static_cast<std::int32_t>(c.element) * static_cast<std::int32_t>(c.element);
    for (std::size_t e = 0; e < entries; ++e)
      c.offset.push_back(static_cast<std::int32_t>(e * c.element * spread));
    const std::int64_t top = words ? 32767 : 127;
    for (std::size_t i = 0; i < channels * entries * c.element; ++i) {
      const std::int64_t w = extreme ? (in(0, 3) == 0 ? top : -top - 1) : in(-largest_w, largest_w);
      c.weight.push_back(static_cast<std::int32_t>(w));
    }
    if (extreme && coin())
      std::fill(c.weight.begin(), c.weight.end(), static_cast<std::int32_t>(-top - 1));
    const std::size_t own = fold * npu::kStepBytes;
    c.weights.resize(entries * channels * own + 64);
    for (std::size_t o = 0; o < channels; ++o) {
      for (std::size_t e = 0; e < entries; ++e) {
        for (std::size_t j = 0; j < c.element; ++j) {
          const std::int32_t w = c.weight[(o * entries + e) * c.element + j];
          std::byte* const to = c.weights.data() + (e * channels + o) * own;
          if (words) {
            const auto w16 = static_cast<std::int16_t>(w);
            std::memcpy(to + 2 * j, &w16, 2);
          } else {
            to[j] = static_cast<std::byte>(w);
          }
        }
      }
    }
    c.sums.resize(positions * channels);
    for (std::size_t p = 0; p < positions; ++p) {
      for (std::size_t o = 0; o < channels; ++o) {
        std::uint32_t sum = 0;  // modulo 2^32
        for (std::size_t e = 0; e < entries; ++e) {
          for (std::size_t j = 0; j < c.element; ++j) {
            std::size_t at = static_cast<std::size_t>(c.input[p] + c.offset[e]);
            at += per_channel ? o * c.element + j : j;
            const std::int32_t stored = c.bytes[at];
            // bytes are unsigned or signed as byte_zero says: x + byte_zero
            const std::int32_t b = k_.byte_zero == 0 && stored > 127 ? stored - 256 : stored;
            const std::int32_t x = words ? c.words[at] : b;
            sum += static_cast<std::uint32_t>(x * c.weight[(o * entries + e) * c.element + j]);
          }
        }
        c.sums[p * channels + o] = static_cast<std::int32_t>(sum);
      }
    }
    c.q.format = format;
    c.q.per_channel = per_channel;
    c.q.fold = fold;
    c.q.positions = positions;
    c.q.entries = entries;
    c.q.panels = panels;
    return c;
  }
  static npu::Product bound(const Case& c) {
    npu::Product q = c.q;
    q.region =
        q.format == Format::words ? static_cast<const void*>(c.words.data()) : c.bytes.data();
    q.input = c.input.data();
    q.offset = c.offset.data();
    q.weights = c.weights.data();
    return q;
  }

  void products(int round) {
    for (const Format format : {Format::words, Format::bytes}) {
      for (const bool per_channel : {false, true}) {
        const std::size_t panels = per_channel ? 1 : size(1, static_cast<std::int64_t>(k_.panels));
        const std::size_t fold = !per_channel && panels == 1 && coin() ? k_.fold : 1;
        const std::string what = std::string(format == Format::words ? "words" : "bytes") +
                                 (per_channel ? " per channel" : "") + ", panels " +
                                 std::to_string(panels) + ", fold " + std::to_string(fold);
        // K up to 65,536 now and then
        const bool longest = round % 16 == 0;
        const std::size_t step = (format == Format::words ? 2 : 4) * fold;
        const std::size_t entries = longest ? 65536 / step : size(0, 40);
        const Case c =
            product(format, per_channel, fold, panels, entries, longest ? size(1, 3) : size(1, 45),
                    longest || coin()         ? 0
                    : format == Format::words ? 3000
                                              : 127);
        std::vector<std::int32_t> sums(c.sums.size());
        k_.sums(bound(c), sums.data());
        equal(sums, c.sums, "sums of " + what);
        finished(product(format, per_channel, fold, panels, size(0, 20), size(1, 45),
                         format == Format::words ? 3000 : 127),
                 what);
      }
    }
  }

  void finished(const Case& c, const std::string& what) {
    const std::size_t channels = c.q.panels * kPanel;
    const std::size_t used = channels - size(0, kPanel - 1);
    const std::size_t pitch = used + size(0, 3);
    std::vector<std::int32_t> bias(channels), m(channels), right(channels);
    for (std::size_t o = 0; o < used; ++o) {
      bias[o] = static_cast<std::int32_t>(in(-100000, 100000));
      m[o] = multiplier();
      right[o] = static_cast<std::int32_t>(coin() ? in(12, 22) : in(0, 30));
    }
    npu::Output o;
    o.bias = bias.data(), o.multiplier = m.data(), o.right = right.data();
    o.zero_point = byte();
    o.act_min = static_cast<std::int32_t>(in(-128, 0)),
    o.act_max = static_cast<std::int32_t>(in(0, 127));
    o.channels = used;
    o.pitch = pitch;
    std::vector<std::uint64_t> position(c.q.positions);
    for (std::size_t p = 0; p < position.size(); ++p) position[p] = position.size() - 1 - p;
    o.position = position.data();
    std::vector<std::int8_t> to(pitch * position.size());
    for (std::int8_t& b : to) b = byte();
    const npu::Addition a = addition();
    std::vector<std::int8_t> expected = to;
    const bool add = coin();
    npu::Outside outside, counted;
    for (std::size_t p = 0; p < position.size(); ++p) {
      for (std::size_t i = 0; i < used; ++i) {
        const std::int64_t y =
            numeric::rescale(std::int64_t{c.sums[p * channels + i]} + bias[i], m[i], -right[i]) +
            o.zero_point;
        counted.low += y < -128 ? 1 : 0;
        counted.high += y > 127 ? 1 : 0;
        auto value = static_cast<std::int8_t>(std::clamp<std::int64_t>(y, o.act_min, o.act_max));
        std::int8_t& there = expected[position[p] * pitch + i];
        if (add) value = sum(a, value, there, counted);
        there = value;
      }
    }
    o.to = to.data();
    if (add) o.addition = &a, o.other = to.data();  // the sum replaces the second addend
    k_.product(bound(c), o, outside);
    equal(to, expected, "outputs of " + what + (add ? " with addition" : ""));
    expect(outside.low == counted.low && outside.high == counted.high, "counts of " + what);
  }

  // Products of nothing: the bias alone, at the ends of what is allowed.
  void requantization() {
    const std::size_t panels = size(1, static_cast<std::int64_t>(k_.panels));
    Case c = product(Format::words, false, 1, panels, 0, size(1, 20), 1);
    const std::size_t channels = panels * kPanel;
    std::vector<std::int32_t> bias(channels), m(channels), right(channels);
    for (std::size_t o = 0; o < channels; ++o) {
      static constexpr std::int32_t kEdges[] = {npu::kNarrowSum, -npu::kNarrowSum, 0, -1, 1};
      right[o] = static_cast<std::int32_t>(in(0, 30));
      m[o] = multiplier();
      bias[o] = coin()
                    ? kEdges[in(0, 4)]
                    : static_cast<std::int32_t>(in(-npu::kNarrowSum, npu::kNarrowSum) >> in(0, 30));
      if (coin()) {  // around ties: 2 m 2^-31 times the sum is about n + 1/2
        const std::int64_t tie = (in(-200, 200) * 2 + 1) << right[o];
        const std::int64_t sum = tie / std::max<std::int64_t>(1, m[o] >> 30) / 2 + in(-2, 2);
        if (sum <= npu::kNarrowSum && sum >= -npu::kNarrowSum)
          bias[o] = static_cast<std::int32_t>(sum);
      }
    }
    npu::Output o;
    o.bias = bias.data(), o.multiplier = m.data(), o.right = right.data();
    o.zero_point = byte();
    o.act_min = -128, o.act_max = 127;
    o.channels = o.pitch = channels;
    std::vector<std::uint64_t> position(c.q.positions);
    for (std::size_t p = 0; p < position.size(); ++p) position[p] = p;
    o.position = position.data();
    std::vector<std::int8_t> to(channels * position.size()), expected(to.size());
    npu::Outside outside, counted;
    for (std::size_t i = 0; i < expected.size(); ++i) {
      const std::size_t ch = i % channels;
      const std::int64_t y = numeric::rescale(bias[ch], m[ch], -right[ch]) + o.zero_point;
      counted.low += y < -128 ? 1 : 0;
      counted.high += y > 127 ? 1 : 0;
      expected[i] = static_cast<std::int8_t>(std::clamp<std::int64_t>(y, -128, 127));
    }
    o.to = to.data();
    k_.product(bound(c), o, outside);
    equal(to, expected, "requantization");
    expect(outside.low == counted.low && outside.high == counted.high, "counts of requantization");
  }

  // ---- additions ----

  npu::Addition addition() {
    npu::Addition a;
    a.zp1 = byte(), a.zp2 = byte(), a.zp_out = byte();
    a.m1 = multiplier(), a.m2 = multiplier(), a.mo = multiplier();
    a.right1 = static_cast<std::int32_t>(in(0, coin() ? 3 : 30));
    a.right2 = static_cast<std::int32_t>(in(0, coin() ? 3 : 30));
    a.right_out = static_cast<std::int32_t>(coin() ? in(16, 21) : in(0, 30));
    a.left = static_cast<std::int32_t>(coin() ? 20 : in(0, 20));
    a.act_min = static_cast<std::int32_t>(in(-128, 0)),
    a.act_max = static_cast<std::int32_t>(in(0, 127));
    return a;
  }
  static std::int8_t sum(const npu::Addition& a, std::int8_t x1, std::int8_t x2,
                         npu::Outside& counted) {
    const numeric::AddParams p = {.zp1 = a.zp1,
                                  .zp2 = a.zp2,
                                  .zp_out = a.zp_out,
                                  .m1 = a.m1,
                                  .m2 = a.m2,
                                  .mo = a.mo,
                                  .e1 = -a.right1,
                                  .e2 = -a.right2,
                                  .eo = -a.right_out,
                                  .left_shift = a.left,
                                  .act_min = a.act_min,
                                  .act_max = a.act_max};
    const std::int64_t y = numeric::add_unclamped(x1, x2, p);
    counted.low += y < -128 ? 1 : 0;
    counted.high += y > 127 ? 1 : 0;
    return static_cast<std::int8_t>(std::clamp<std::int64_t>(y, a.act_min, a.act_max));
  }
  void additions() {
    const npu::Addition a = addition();
    std::vector<std::int8_t> x1(size(1, 100)), x2(x1.size()), expected(x1.size());
    npu::Outside outside, counted;
    for (std::size_t i = 0; i < x1.size(); ++i) {
      x1[i] = byte(), x2[i] = byte();
      expected[i] = sum(a, x1[i], x2[i], counted);
    }
    std::vector<std::int8_t> apart(x1.size());
    k_.add(a, x1.data(), x2.data(), apart.data(), x1.size(), outside);
    equal(apart, expected, "addition");
    k_.add(a, x1.data(), x2.data(), x2.data(), x1.size(), outside);
    equal(x2, expected, "addition in place");
    expect(outside.low == 2 * counted.low && outside.high == 2 * counted.high,
           "counts of additions");
  }

  // ---- input regions ----

  void regions() {
    std::vector<std::int8_t> from(size(1, 300));
    for (std::int8_t& b : from) b = byte();
    const std::int32_t zp = byte();
    std::vector<std::int16_t> words(from.size()), wide(from.size());
    std::vector<std::uint8_t> bytes(from.size()), shifted(from.size());
    for (std::size_t i = 0; i < from.size(); ++i) {
      wide[i] = static_cast<std::int16_t>(from[i] - zp);
      shifted[i] = static_cast<std::uint8_t>(from[i] + k_.byte_zero);
    }
    k_.widen(from.data(), words.data(), from.size(), zp);
    equal(words, wide, "widened input");
    k_.shift_bytes(from.data(), bytes.data(), from.size());
    equal(bytes, shifted, "shifted input");

    for (const Format format : {Format::words, Format::bytes}) {
      const std::size_t columns = size(1, 20), distance = size(1, 3), used = size(1, kPanel);
      const std::size_t first = size(0, static_cast<std::int64_t>(columns));
      const std::size_t last =
          size(static_cast<std::int64_t>(first), static_cast<std::int64_t>(columns));
      const std::size_t pitch = used + size(0, 5);
      std::vector<std::int8_t> row(pitch * (last - first) + 1);
      for (std::int8_t& b : row) b = byte();
      row.resize(row.size() - 1);
      std::vector<std::int32_t> scratch((columns + 3 * distance) * kPanel), to(columns * kPanel);
      std::vector<std::int32_t> expected(to.size());
      const auto pixel = [&](std::size_t c, std::size_t channel) -> std::uint32_t {
        // channels that do not exist meet weights of zero: their input is not looked at
        const std::int32_t x = c >= first && c < last ? row[(c - first) * pitch + channel] : zp;
        return static_cast<std::uint32_t>(format == Format::words ? (x - zp) & 0xffff
                                                                  : (x + k_.byte_zero) & 0xff);
      };
      const std::size_t taps = format == Format::words ? 2 : 4;
      for (std::size_t i = 0; i < to.size(); ++i) {
        if (i % kPanel >= used) continue;
        std::uint32_t step = 0;
        for (std::size_t t = 0; t < taps; ++t)
          step |= pixel(i / kPanel + t * distance, i % kPanel) << (32 / taps * t);
        expected[i] = static_cast<std::int32_t>(step);
      }
      k_.spread_row(format, row.data(), pitch, used, columns, first, last, distance, zp,
                    scratch.data(), to.data());
      for (std::size_t i = 0; i < to.size(); ++i)
        if (i % kPanel >= used) to[i] = 0;
      equal(to, expected, "spread row");
    }
  }

  void pooling() {
    const std::size_t channels = size(1, 150);
    const auto kernel = in(0, 4);
    npu::PoolWindow w;
    w.rows = kernel, w.columns = kernel == 0 ? 0 : in(1, 4);
    w.column_step = static_cast<std::int64_t>(channels) * in(1, 2);
    w.row_step = w.column_step * 5;
    std::vector<std::int8_t> from(static_cast<std::size_t>(w.row_step * 5) + channels);
    for (std::int8_t& b : from) b = byte();
    w.first = from.data();
    const auto low = static_cast<std::int32_t>(in(-128, 20)),
               high = static_cast<std::int32_t>(in(20, 127));
    std::vector<std::int8_t> top(channels), mean(channels), found(channels);
    for (std::size_t c = 0; c < channels; ++c) {
      std::int32_t most = -128, total = 0;
      for (std::int64_t y = 0; y < w.rows; ++y) {
        for (std::int64_t x = 0; x < w.columns; ++x) {
          const std::int32_t v =
              from[c + static_cast<std::size_t>(y * w.row_step + x * w.column_step)];
          most = std::max(most, v);
          total += v;
        }
      }
      const auto count = static_cast<std::int32_t>(std::max<std::int64_t>(1, w.rows * w.columns));
      top[c] = static_cast<std::int8_t>(std::clamp(most, low, high));
      mean[c] =
          static_cast<std::int8_t>(std::clamp(numeric::pool_average(total, count), low, high));
    }
    k_.pool_max(w, channels, low, high, found.data());
    equal(found, top, "maximum");
    k_.pool_average(w, channels, low, high, found.data());
    equal(found, mean, "average");
  }

  // ---- random numbers, perturbation, update ----

  static std::vector<std::uint8_t> magnitudes() {
    std::vector<std::uint8_t> m(32768);
    for (std::uint32_t u = 0; u < m.size(); ++u)
      m[u] = static_cast<std::uint8_t>(numeric::gaussian_z(u));
    return m;
  }

  void randoms() {
    static const std::vector<std::uint8_t> table = magnitudes();
    const std::uint64_t key = rng_(), counter = rng_() & ~std::uint64_t{0xffff};
    std::vector<std::uint64_t> words(size(1, 40)), expected(words.size());
    for (std::size_t i = 0; i < words.size(); ++i)
      expected[i] = numeric::threefry<>(key, counter + i);
    k_.hash(key, counter, words.data(), words.size());
    equal(words, expected, "hash");

    const bool gaussian = coin(), masked = coin();
    const std::size_t count = size(1, 200);
    std::vector<std::uint64_t> random(count / 4 + 1), mask(count / 8 + 1), rounding(count / 4 + 1);
    for (auto* v : {&random, &mask, &rounding}) std::generate(v->begin(), v->end(), std::ref(rng_));
    const auto z = [&](std::size_t c) {
      const auto half = static_cast<std::uint32_t>(random[c / 4] >> (c % 4 * 16)) & 0xffff;
      const auto sign = static_cast<std::uint32_t>(random[c / 64] >> (c % 64)) & 1;
      return gaussian ? numeric::gaussian_z(half) : numeric::sign_z(sign);
    };
    const auto keep = static_cast<std::int32_t>(in(0, 256));
    const auto takes_part = [&](std::size_t c) {
      return !masked || static_cast<std::int32_t>(mask[c / 8] >> (c % 8 * 8) & 0xff) < keep;
    };

    std::vector<std::int32_t> g(count), added(count);
    const auto coefficient = static_cast<std::int32_t>(in(-127, 127));
    for (std::size_t c = 0; c < count; ++c) {
      g[c] = added[c] = static_cast<std::int32_t>(in(-1000, 1000));
      added[c] += coefficient * z(c);
    }
    k_.add_z(random.data(), gaussian, table.data(), coefficient, g.data(), count);
    equal(g, added, "sum of directions");

    const bool w8 = coin();
    npu::Move move;
    move.random = random.data();
    move.mask = masked ? mask.data() : nullptr;
    move.keep = masked ? keep : 256;
    move.gaussian = gaussian;
    move.minus = coin();
    move.eps = static_cast<std::uint32_t>(coin() ? in(0, 300) : in(0, 65535));
    move.shift = static_cast<std::uint32_t>(in(0, 12));
    move.limit = w8 ? 127 : 32767;
    std::vector<std::int16_t> w(count), moved(count);
    npu::Moved found, counted;
    for (std::size_t c = 0; c < count; ++c) {
      const std::int64_t edge = coin() ? move.limit : -move.limit - 1;
      w[c] = moved[c] = static_cast<std::int16_t>(coin() ? edge : in(-move.limit, move.limit));
      if (!takes_part(c)) continue;
      std::int64_t d = numeric::perturb_magnitude(move.eps, static_cast<int>(move.shift), z(c));
      if ((z(c) < 0) != move.minus) d = -d;
      const numeric::Perturbed p = numeric::perturb(w[c], d, move.limit);
      moved[c] = static_cast<std::int16_t>(p.value);
      ++counted.taken;
      counted.clipped += p.clipped ? 1 : 0;
    }
    k_.perturb(move, table.data(), w.data(), count, found);
    equal(w, moved, "perturbed weights");
    expect(found.taken == counted.taken && found.clipped == counted.clipped,
           "counts of a perturbation");

    npu::UpdateStep step;
    step.gradient = g.data();
    step.rounding = rounding.data();
    step.mask = move.mask;
    step.keep = move.keep;
    step.mantissa = static_cast<std::uint32_t>(in(0, 65535));
    step.shift = static_cast<int>(in(0, 39));
    updated<std::int8_t>(step, count, takes_part, 127, k_.update8);
    updated<std::int16_t>(step, count, takes_part, 32767, k_.update16);
  }

  template <class T, class TakesPart, class Update>
  void updated(npu::UpdateStep step, std::size_t count, const TakesPart& takes_part,
               std::int32_t limit, const Update& update) {
    step.limit = limit;
    std::vector<T> w(count), expected(count);
    npu::Moved found, counted;
    for (std::size_t c = 0; c < count; ++c) {
      w[c] = expected[c] = static_cast<T>(in(-limit - 1, limit));
      if (!takes_part(c)) continue;
      const auto r16 = static_cast<std::uint32_t>(step.rounding[c / 4] >> (c % 4 * 16)) & 0xffff;
      const numeric::Updated u = numeric::update(
          w[c], step.gradient[c], {.mantissa = step.mantissa, .shift = step.shift}, r16, limit);
      expected[c] = static_cast<T>(u.value);
      ++counted.taken;
      counted.zero += u.zero ? 1 : 0;
      counted.clipped += u.clipped ? 1 : 0;
    }
    update(step, w.data(), count, found);
    equal(w, expected, "updated weights");
    expect(found.taken == counted.taken && found.zero == counted.zero &&
               found.clipped == counted.clipped,
           "counts of an update");
  }

  const npu::Kernels& k_;
  std::mt19937_64 rng_;
  int round_ = 0;
  std::vector<std::string> found_;
};

}  // namespace kernel_check
