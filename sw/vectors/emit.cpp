// SPDX-License-Identifier: Apache-2.0
#include "sw/vectors/emit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <iterator>
#include <system_error>

#include "cmodel/numeric/fixed.hpp"
#include "cmodel/numeric/loss.hpp"
#include "cmodel/numeric/perturb.hpp"
#include "cmodel/numeric/random.hpp"
#include "cmodel/numeric/softmax.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"

namespace lastmile {
namespace {

// One file: comments, then words of stated widths.
class Sheet {
 public:
  explicit Sheet(std::string_view header) { text_ = fmt::format("// {}\n", header); }
  Sheet& word(std::int64_t value, int bits) {
    const std::uint64_t mask = bits == 64 ? ~std::uint64_t{0} : (std::uint64_t{1} << bits) - 1;
    fmt::format_to(std::back_inserter(text_), "{}{:0{}x}", fresh_ ? "" : " ",
                   static_cast<std::uint64_t>(value) & mask, (bits + 3) / 4);
    fresh_ = false;
    return *this;
  }
  void end() {
    text_ += '\n';
    fresh_ = true;
  }
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
  bool fresh_ = true;
};

std::int64_t between(Rng& rng, std::int64_t low, std::int64_t high) {
  return low + static_cast<std::int64_t>(rng.below(static_cast<std::uint64_t>(high - low) + 1));
}
std::int32_t multiplier(Rng& rng) {
  return static_cast<std::int32_t>(between(rng, std::int64_t{1} << 30, 0x7fffffff));
}

Sheet requant() {
  Sheet s(
      "acc:40 multiplier:32 exponent:8 zero_point:16 act_min:16 act_max:16 -> output:16 low:1 "
      "high:1 (type int8 unless act_max > 127: int16)");
  const auto record = [&](std::int64_t acc, std::int32_t m, int e, std::int32_t zp,
                          std::int32_t low, std::int32_t high) {
    const std::int64_t y = numeric::rescale(acc, m, e) + zp;
    const std::int64_t least = high > 127 ? -32768 : -128, most = high > 127 ? 32767 : 127;
    s.word(acc, 40).word(m, 32).word(e, 8).word(zp, 16).word(low, 16).word(high, 16);
    s.word(std::clamp<std::int64_t>(y, low, high), 16)
        .word(y < least ? 1 : 0, 1)
        .word(y > most ? 1 : 0, 1)
        .end();
  };
  const std::array<std::int32_t, 7> ms = {0,          1,          1 << 30,   (1 << 30) + 1,
                                          1272582903, 0x7ffffffe, 0x7fffffff};
  const std::array<std::int64_t, 12> accs = {0,
                                             1,
                                             -1,
                                             2,
                                             -2,
                                             3,
                                             -3,
                                             255,
                                             numeric::kAccMax,
                                             numeric::kAccMax - 1,
                                             numeric::kAccMin,
                                             numeric::kAccMin + 1};
  for (const std::int32_t m : ms) {
    for (int e = spec::kExponentMin; e <= spec::kExponentMax; ++e) {
      for (const std::int64_t acc : accs) record(acc, m, e, 0, -32768, 32767);
    }
  }
  // ties of both stages: multiplier one half makes the first stage acc / 2, so the second sees acc
  // / 2^(r + 1)
  for (int r = 0; r <= 20; ++r) {
    const std::int64_t half = std::int64_t{1} << r;
    for (std::int64_t k = -6; k <= 6; ++k) {
      for (std::int64_t d = -2; d <= 2; ++d)
        record((2 * k + 1) * half + d, 1 << 30, -r, 0, -32768, 32767);
    }
  }
  Rng rng(101);
  for (int i = 0; i < 12000; ++i) {
    const bool wide = i % 3 == 0;
    const auto acc = static_cast<std::int64_t>(rng.next()) >> (24 + rng.below(30));
    const int e = i % 8 == 0
                      ? static_cast<int>(between(rng, spec::kExponentMin, spec::kExponentMax))
                      : static_cast<int>(between(rng, -18, 0));
    const auto zp = static_cast<std::int32_t>(wide ? 0 : between(rng, -128, 127));
    const bool clamp = i % 2 == 0;
    record(acc, multiplier(rng), e, zp,
           wide    ? -32768
           : clamp ? static_cast<std::int32_t>(between(rng, -128, 0))
                   : -128,
           wide    ? 32767
           : clamp ? static_cast<std::int32_t>(between(rng, 0, 127))
                   : 127);
  }
  return s;
}

Sheet average() {
  Sheet s("sum:16 count:8 -> average:8");
  for (std::int32_t n = 1; n <= 16; ++n) {
    for (std::int32_t sum = -128 * n; sum <= 127 * n; ++sum)
      s.word(sum, 16).word(n, 8).word(numeric::pool_average(sum, n), 8).end();
  }
  return s;
}

Sheet add() {
  Sheet s(
      "per set: zp1:8 zp2:8 zp_out:8 m1:32 m2:32 mo:32 e1:8 e2:8 eo:8 left_shift:8 act_min:8 "
      "act_max:8, then 256 x 256 outputs:8, rows x1 = "
      "-128..127, columns x2 = -128..127");
  Rng rng(102);
  for (int set = 0; set < 6; ++set) {
    numeric::AddParams p;
    p.zp1 = static_cast<std::int32_t>(between(rng, -128, 127));
    p.zp2 = static_cast<std::int32_t>(between(rng, -128, 127));
    p.zp_out = static_cast<std::int32_t>(between(rng, -128, 127));
    p.m1 = multiplier(rng), p.m2 = multiplier(rng), p.mo = multiplier(rng);
    p.left_shift = set == 5 ? 3 : 20;
    p.e1 = static_cast<int>(between(rng, -2, 0)), p.e2 = set == 4 ? 5 : 0;
    p.eo = set == 5 ? -2 : static_cast<int>(between(rng, -21, -18));
    p.act_min = set % 2 == 0 ? -128 : -100, p.act_max = set % 3 == 0 ? 127 : 90;
    s.word(p.zp1, 8).word(p.zp2, 8).word(p.zp_out, 8).word(p.m1, 32).word(p.m2, 32).word(p.mo, 32);
    s.word(p.e1, 8)
        .word(p.e2, 8)
        .word(p.eo, 8)
        .word(p.left_shift, 8)
        .word(p.act_min, 8)
        .word(p.act_max, 8)
        .end();
    for (std::int32_t x1 = -128; x1 < 128; ++x1) {
      for (std::int32_t x2 = -128; x2 < 128; ++x2)
        s.word(std::clamp<std::int64_t>(numeric::add_unclamped(x1, x2, p), p.act_min, p.act_max),
               8);
      s.end();
    }
  }
  return s;
}

Sheet hash() {
  Sheet s("seed:64 domain:2 tensor:16 row:16 block:16 -> word:64");
  Rng rng(103);
  for (int i = 0; i < 4096; ++i) {
    const std::uint64_t seed = i < 4 ? (i % 2 == 0 ? 0 : ~std::uint64_t{0}) : rng.next();
    const auto domain = static_cast<spec::Domain>(i % 4);
    const bool ends = i < 64;
    const auto index = [&](int bit) {
      return static_cast<std::uint32_t>(ends ? ((i >> bit & 1) != 0 ? 65535 : 0)
                                             : rng.below(65536));
    };
    const std::uint32_t tensor = index(2), row = index(3), block = index(4);
    s.word(static_cast<std::int64_t>(seed), 64)
        .word(i % 4, 2)
        .word(tensor, 16)
        .word(row, 16)
        .word(block, 16);
    s.word(static_cast<std::int64_t>(numeric::hash_word(seed, domain, tensor, row, block)), 64)
        .end();
  }
  return s;
}

Sheet gaussian() {
  Sheet s("z:8 of inputs 0..65535, 16 a line");
  for (std::uint32_t u = 0; u < 65536; ++u) {
    s.word(numeric::gaussian_z(u), 8);
    if (u % 16 == 15) s.end();
  }
  return s;
}

Sheet perturb8() {
  Sheet s(
      "per set: eps:16 shift:8 limit:8, then 256 lines (w = -128..127) of 255 values:8 (z = "
      "-127..127, polarity plus)");
  for (const auto& [eps, shift] : {std::pair(1, 0), std::pair(36, 5), std::pair(255, 9),
                                   std::pair(65535, 16), std::pair(3, 1), std::pair(65535, 0)}) {
    s.word(eps, 16).word(shift, 8).word(numeric::kW8Max, 8).end();
    for (std::int32_t w = -128; w < 128; ++w) {
      for (std::int32_t z = -127; z <= 127; ++z) {
        const std::int64_t d =
            numeric::perturb_magnitude(static_cast<std::uint32_t>(eps), shift, z);
        s.word(numeric::perturb(w, z < 0 ? -d : d, numeric::kW8Max).value, 8);
      }
      s.end();
    }
  }
  return s;
}

Sheet perturb16() {
  Sheet s("w:32 eps:24 shift:8 z:8 minus:1 limit:32 -> value:32 clipped:1");
  Rng rng(104);
  const std::array<std::int32_t, 9> edges = {-32768, -32767, -32766, -1, 0, 1, 32765, 32766, 32767};
  for (int i = 0; i < 12000; ++i) {
    const bool bias = i % 4 == 0;
    const std::int32_t limit = bias ? numeric::kBiasMax : numeric::kW16Max;
    std::int32_t w =
        bias ? static_cast<std::int32_t>(rng.next() >> 32) : static_cast<std::int16_t>(rng.next());
    if (i % 3 == 0) w = edges[rng.below(edges.size())];
    if (bias && i % 5 == 0) w = i % 2 == 0 ? numeric::kBiasMax : -numeric::kBiasMax - 1;
    const auto eps =
        static_cast<std::uint32_t>(rng.below(std::uint64_t{1} << (bias ? 24 : 1 + rng.below(16))));
    const int shift = static_cast<int>(rng.below(32));
    const auto z = static_cast<std::int32_t>(i % 2 == 0 ? (rng.below(2) == 0 ? 1 : -1)
                                                        : between(rng, -127, 127));
    const bool minus = rng.below(2) == 0;
    const std::int64_t d = numeric::perturb_magnitude(eps, shift, z);
    const numeric::Perturbed p = numeric::perturb(w, (z < 0) != minus ? -d : d, limit);
    s.word(w, 32).word(eps, 24).word(shift, 8).word(z, 8).word(minus ? 1 : 0, 1).word(limit, 32);
    s.word(p.value, 32).word(p.clipped ? 1 : 0, 1).end();
  }
  return s;
}

Sheet update() {
  Sheet s("w:32 g:18 mantissa:16 shift:8 random:16 limit:32 -> value:32 zero:1 clipped:1");
  const auto record = [&](std::int32_t w, std::int32_t g, std::uint32_t m, int shift,
                          std::uint32_t r, std::int32_t limit) {
    const numeric::Updated u = numeric::update(w, g, {m, shift}, r, limit);
    s.word(w, 32).word(g, 18).word(m, 16).word(shift, 8).word(r, 16).word(limit, 32);
    s.word(u.value, 32).word(u.zero ? 1 : 0, 1).word(u.clipped ? 1 : 0, 1).end();
  };
  constexpr std::int32_t most = spec::kMaxPairs * 127 * 127;
  for (const std::int32_t g : {0, 1, -1, most, -most}) {
    for (const std::uint32_t m : {0U, 1U, 32768U, 65535U}) {
      for (int shift = 0; shift <= 55; ++shift) {
        for (const std::uint32_t r : {0U, 32767U, 65535U})
          record(100, g, m, shift, r, numeric::kW16Max);
      }
    }
  }
  Rng rng(105);
  const std::array<std::int32_t, 3> limits = {numeric::kW8Max, numeric::kW16Max, numeric::kBiasMax};
  for (int i = 0; i < 12000; ++i) {
    const std::int32_t limit = limits[rng.below(3)];
    const auto w =
        static_cast<std::int32_t>(between(rng, -static_cast<std::int64_t>(limit) - 1, limit));
    const auto g =
        static_cast<std::int32_t>(i % 2 == 0 ? between(rng, -8, 8) : between(rng, -most, most));
    record(w, g, static_cast<std::uint32_t>(rng.below(65536)),
           static_cast<int>(i % 2 == 0 ? between(rng, 14, 34) : between(rng, 0, 55)),
           static_cast<std::uint32_t>(rng.below(65536)), limit);
  }
  return s;
}

Sheet loss() {
  Sheet s("classes:16 multiplier:16 shift:8 label:16 logits:16 ... -> loss:32 correct:1");
  Rng rng(106);
  for (int i = 0; i < 3000; ++i) {
    const std::size_t classes = i % 50 == 0 ? 300 : static_cast<std::size_t>(between(rng, 1, 16));
    std::vector<std::int16_t> logits(classes);
    const auto spread = rng.below(16);
    for (auto& l : logits)
      l = static_cast<std::int16_t>(static_cast<std::int16_t>(rng.next()) >> spread);
    if (i % 20 == 1) std::fill(logits.begin(), logits.end(), logits[0]);
    const auto m = static_cast<std::uint32_t>(i % 10 == 0 ? between(rng, 0, 65535)
                                                          : between(rng, 32768, 65535));
    const int shift = static_cast<int>(i % 10 == 0 ? rng.below(32) : rng.below(16));
    const auto label = static_cast<std::uint32_t>(rng.below(classes));
    const numeric::ExampleLoss e = numeric::cross_entropy(logits, label, m, shift);
    s.word(static_cast<std::int64_t>(classes), 16).word(m, 16).word(shift, 8).word(label, 16);
    for (const std::int16_t l : logits) s.word(l, 16);
    s.word(e.loss, 32).word(e.correct ? 1 : 0, 1).end();
  }
  return s;
}

Sheet softmax() {
  Sheet s("classes:16 multiplier:32 left_shift:8 diff_min:32 inputs:8 ... -> outputs:8 ...");
  Rng rng(107);
  const auto record = [&](const std::vector<std::int8_t>& in, std::int32_t m, int shift,
                          std::int32_t least) {
    std::vector<std::int8_t> out(in.size());
    numeric::softmax::row(in, out, m, shift, least);
    s.word(static_cast<std::int64_t>(in.size()), 16).word(m, 32).word(shift, 8).word(least, 32);
    for (const std::int8_t v : in) s.word(v, 8);
    for (const std::int8_t v : out) s.word(v, 8);
    s.end();
  };
  // every difference of two classes, at a few scales
  for (const int shift : {18, 20, 22, 24}) {
    const std::int32_t least = -static_cast<std::int32_t>((std::int64_t{31} << 26) >> shift);
    for (std::int32_t d = 0; d < 256; ++d)
      record({127, static_cast<std::int8_t>(127 - d)}, 1 << 30, shift, least);
  }
  for (int i = 0; i < 1000; ++i) {
    std::vector<std::int8_t> in(static_cast<std::size_t>(between(rng, 1, 24)));
    for (auto& v : in)
      v = static_cast<std::int8_t>(static_cast<std::int8_t>(rng.next()) >> (i % 5));
    const int shift = static_cast<int>(between(rng, 17, 25));
    record(in, multiplier(rng), shift,
           -static_cast<std::int32_t>((std::int64_t{31} << 26) >> shift));
  }
  return s;
}

}  // namespace

std::vector<std::string> emit_vectors(const std::filesystem::path& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error)
    throw Error(ErrorKind::input,
                fmt::format("{}: cannot be made: {}", folder.string(), error.message()));
  std::vector<std::string> names;
  const auto write = [&](const std::string& name, const Sheet& sheet) {
    write_file_atomic(folder / name, std::string_view(sheet.text()), false);
    names.push_back(name);
  };
  write("requant.txt", requant());
  write("average.txt", average());
  write("add.txt", add());
  write("hash.txt", hash());
  write("gaussian.txt", gaussian());
  write("perturb.txt", perturb8());
  write("perturb16.txt", perturb16());
  write("update.txt", update());
  write("loss.txt", loss());
  write("softmax.txt", softmax());
  return names;
}

}  // namespace lastmile
