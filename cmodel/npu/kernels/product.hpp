// SPDX-License-Identifier: Apache-2.0
// Sums of products, and what becomes of them: requantization, the fused addition, int8.
#pragma once

#include "cmodel/npu/kernels/lanes.hpp"

namespace lastmile::npu {
namespace {

#define LASTMILE_UNROLL _Pragma("GCC unroll 16")

template <class T>
LASTMILE_INLINE T load_as(const void* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

// dot(): one step, acc += a0 b0 + a1 b1 of int16, or of four bytes of a (unsigned on x86, signed on
// Arm) and four signed ones of b. spread(): the step that begins at `from` for all channels.
//
// AVX-512 VNNI and AVX-VNNI are inline assembly: around the intrinsic, g++ 12 copies the
// accumulator twice, because it takes operand and result for different registers; that costs a
// third of the speed.
#if defined(__AVX512BW__)
constexpr std::size_t kFold = 2;
constexpr std::size_t kPanelsTogether = 4;
constexpr int kRowsOf[kPanelsTogether + 1] = {10, 10, 10, 8, 6};  // [0]: per channel
LASTMILE_INLINE Vector spread(const char* from) {
  return Vector(_mm512_set1_epi32(load_as<std::int32_t>(from)));
}
// Two steps: channels stand in the even and in the odd lanes.
LASTMILE_INLINE Vector spread_two(const char* from) {
  return Vector(_mm512_set1_epi64(load_as<std::int64_t>(from)));
}
// Sums of even and odd lanes of both.
LASTMILE_INLINE Vector fold(Vector a, Vector b) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
  return Vector(_mm512_add_epi32(_mm512_permutex2var_epi32(__m512i(a), even, __m512i(b)),
                                 _mm512_permutex2var_epi32(__m512i(a), odd, __m512i(b))));
}
#elif defined(__AVX2__)
constexpr std::size_t kFold = 1;
constexpr std::size_t kPanelsTogether = 1;
constexpr int kRowsOf[kPanelsTogether + 1] = {6, 6};
LASTMILE_INLINE Vector spread(const char* from) {
  return Vector(_mm256_set1_epi32(load_as<std::int32_t>(from)));
}
#else
constexpr std::size_t kFold = 1;
constexpr std::size_t kPanelsTogether = 1;
constexpr int kRowsOf[kPanelsTogether + 1] = {6, 6};
LASTMILE_INLINE Vector spread(const char* from) { return Vector{} + load_as<std::int32_t>(from); }
#endif

#if defined(__AVX512VNNI__) || defined(__AVXVNNI__)
constexpr bool kBytes = true;
constexpr std::int32_t kByteZero = 128;
#if defined(__AVX512VNNI__)
#define LASTMILE_DOT(name) name " %2, %1, %0"
#else
#define LASTMILE_DOT(name) "%{vex%} " name " %2, %1, %0"
#endif
template <Format F>
LASTMILE_INLINE void dot(Vector& acc, Vector a, Vector b) {
  if constexpr (F == Format::words) {
    asm(LASTMILE_DOT("vpdpwssd") : "+v"(acc) : "v"(a), "v"(b));
  } else {
    asm(LASTMILE_DOT("vpdpbusd") : "+v"(acc) : "v"(a), "v"(b));
  }
}
#else
// Products of bytes, lane by lane: for comparison, nothing that is fast.
template <bool kSigned>
LASTMILE_INLINE void dot_bytes(Vector& acc, Vector a, Vector b) {
  for (std::size_t i = 0; i < kVectorLanes; ++i) {
    std::int32_t sum = 0;
    for (int k = 0; k < 4; ++k) {
      const std::int32_t byte = (a[i] >> (8 * k)) & 0xff;
      sum +=
          (kSigned && byte > 127 ? byte - 256 : byte) * static_cast<std::int8_t>(b[i] >> (8 * k));
    }
    acc[i] = static_cast<std::int32_t>(static_cast<std::uint32_t>(acc[i]) +
                                       static_cast<std::uint32_t>(sum));
  }
}
#if defined(__AVX512BW__)
constexpr bool kBytes = false;
constexpr std::int32_t kByteZero = 128;
template <Format F>
LASTMILE_INLINE void dot(Vector& acc, Vector a, Vector b) {
  if constexpr (F == Format::words) {
    acc = Vector(_mm512_add_epi32(__m512i(acc), _mm512_madd_epi16(__m512i(a), __m512i(b))));
  } else {
    dot_bytes<false>(acc, a, b);
  }
}
#elif defined(__AVX2__)
constexpr bool kBytes = false;
constexpr std::int32_t kByteZero = 128;
template <Format F>
LASTMILE_INLINE void dot(Vector& acc, Vector a, Vector b) {
  if constexpr (F == Format::words) {
    acc = Vector(_mm256_add_epi32(__m256i(acc), _mm256_madd_epi16(__m256i(a), __m256i(b))));
  } else {
    dot_bytes<false>(acc, a, b);
  }
}
#elif defined(__ARM_NEON)
#if defined(__ARM_FEATURE_DOTPROD)
constexpr bool kBytes = true;
#else
constexpr bool kBytes = false;
#endif
constexpr std::int32_t kByteZero = 0;
template <Format F>
LASTMILE_INLINE void dot(Vector& acc, Vector a, Vector b) {
  if constexpr (F == Format::words) {
    const int16x8_t x = int16x8_t(a), w = int16x8_t(b);
    const int32x4_t low = vmull_s16(vget_low_s16(x), vget_low_s16(w));
    acc = Vector(vaddq_s32(int32x4_t(acc), vpaddq_s32(low, vmull_high_s16(x, w))));
  } else {
#if defined(__ARM_FEATURE_DOTPROD)
    acc = Vector(vdotq_s32(int32x4_t(acc), int8x16_t(a), int8x16_t(b)));
#else
    dot_bytes<true>(acc, a, b);
#endif
  }
}
#else
constexpr bool kBytes = false;
constexpr std::int32_t kByteZero = 128;
template <Format F>
LASTMILE_INLINE void dot(Vector& acc, Vector a, Vector b) {
  if constexpr (F == Format::words) {
    using Wraps [[gnu::vector_size(kVectorBytes)]] = std::uint32_t;
    const Vector low = ((a << 16) >> 16) * ((b << 16) >> 16), high = (a >> 16) * (b >> 16);
    acc = Vector(Wraps(acc) + Wraps(low) + Wraps(high));
  } else {
    dot_bytes<false>(acc, a, b);
  }
}
#endif
#endif

// Sums of `kRows` positions times kPanels x 16 channels, from `init` (one value per channel) on.
template <Format F, bool kPerChannel, std::size_t kFolded, int kRows, int kPanels>
[[gnu::noinline]] void tile(const Product& q, const char* const* rows, const std::int32_t* init,
                            std::int32_t* sums) {
  constexpr int n = kPanels * static_cast<int>(kParts * kFolded);
  constexpr std::int64_t element = F == Format::words ? 2 : 1;
  Vector acc[kRows][n];
  const char* x[kRows];
  LASTMILE_UNROLL
  for (int r = 0; r < kRows; ++r) {
    x[r] = rows[r];
    LASTMILE_UNROLL
    for (int v = 0; v < n; ++v)
      acc[r][v] = kFolded == 1 ? load_as<Vector>(init + v * kVectorLanes) : Vector{};
  }
  const auto* w = static_cast<const char*>(q.weights);
  const std::int32_t* const end = q.offset + q.entries;
  for (const std::int32_t* offset = q.offset; offset != end; ++offset) {
    const std::int64_t at = std::int64_t{*offset} * element;
    Vector b[n];
    LASTMILE_UNROLL
    for (int v = 0; v < n; ++v, w += kVectorBytes) b[v] = load_as<Vector>(w);
    LASTMILE_UNROLL
    for (int r = 0; r < kRows; ++r) {
      Vector a{};
#if defined(__AVX512BW__)
      if constexpr (kFolded == 2) {
        a = spread_two(x[r] + at);
      } else
#endif
          if constexpr (!kPerChannel) {
        a = spread(x[r] + at);
      }
      LASTMILE_UNROLL
      for (int v = 0; v < n; ++v) {
        if constexpr (kPerChannel)
          a = load_as<Vector>(x[r] + at + static_cast<std::int64_t>(kVectorBytes) * v);
        dot<F>(acc[r][v], a, b[v]);
      }
    }
  }
  LASTMILE_UNROLL
  for (int r = 0; r < kRows; ++r) {
#if defined(__AVX512BW__)
    if constexpr (kFolded == 2) {
      const Lanes sum = {{fold(acc[r][0], acc[r][1])}};
      (sum + Lanes::load(init)).store(sums + r * 16);
      continue;
    }
#endif
    LASTMILE_UNROLL
    for (int v = 0; v < n; ++v)
      std::memcpy(sums + (r * n + v) * static_cast<int>(kVectorLanes), &acc[r][v], kVectorBytes);
  }
}

// Requantization of one panel and what follows it.
class Finish {
 public:
  Finish() = default;
  LASTMILE_INLINE Finish(const Output& o, std::size_t panel)
      : rescale_(Lanes::load(o.multiplier + panel * kPanel), Lanes::load(o.right + panel * kPanel)),
        first_(panel * kPanel),
        used_(o.channels - first_ < kPanel ? o.channels - first_ : kPanel) {
#if !defined(__AVX512BW__)
    clamp_ = Clamp(o.zero_point, o.act_min, o.act_max);
#else
    zero_point_ = _mm512_set1_epi16(static_cast<short>(o.zero_point));
    least_ = _mm512_set1_epi8(static_cast<char>(o.act_min));
    most_ = _mm512_set1_epi8(static_cast<char>(o.act_max));
#endif
  }

  // sums: of the panel's channels, `step` apart from position to position; at[r]: offset of the
  // position's first channel, of the whole product, in `to`.
  LASTMILE_INLINE void rows(const std::int32_t* sums, std::size_t step, std::size_t count,
                            std::int8_t* to, const std::size_t* at, LanesOutside& vectors,
                            Outside& outside) const {
    std::size_t r = 0;
#if defined(__AVX512BW__)
    static_cast<void>(vectors);
    for (; r + 4 <= count; r += 4, sums += 4 * step) four(sums, step, 4, to, at + r, outside);
    if (r < count) four(sums, step, count - r, to, at + r, outside);
#else
    static_cast<void>(outside);
    for (; r < count; ++r, sums += step) {
      const Lanes y = clamp_(rescale_(Lanes::load(sums)), vectors.low, vectors.high);
      y.store_bytes(to + at[r] + first_, used_);
    }
#endif
  }
  [[nodiscard]] std::size_t first() const { return first_; }
  [[nodiscard]] std::size_t used() const { return used_; }

 private:
#if defined(__AVX512BW__)
  // Four positions in one register from the clamp on.
  LASTMILE_INLINE void four(const std::int32_t* sums, std::size_t step, std::size_t count,
                            std::int8_t* to, const std::size_t* at, Outside& outside) const {
    const auto one = [&](std::size_t r) {
      return __m512i(rescale_(Lanes::load(sums + (r < count ? r : 0) * step)).part[0]);
    };
    // saturating: what does not fit int16 is still outside int8 afterwards
    const __m512i a = _mm512_adds_epi16(_mm512_packs_epi32(one(0), one(1)), zero_point_);
    const __m512i b = _mm512_adds_epi16(_mm512_packs_epi32(one(2), one(3)), zero_point_);
    const __m512i low = _mm512_set1_epi16(-128), high = _mm512_set1_epi16(127);
    // bits of a mask by position: 0 and 1 of `a`, 2 and 3 of `b`, four channels each in turn
    const std::uint64_t valid_a = count > 1 ? 0xffffffff : 0x0f0f0f0f;
    const std::uint64_t valid_b = count > 3 ? 0xffffffff : count > 2 ? 0x0f0f0f0f : 0;
    const std::uint64_t valid = valid_a | valid_b << 32;
    const auto counted = [&](std::uint64_t first, std::uint64_t second) {
      return static_cast<std::uint64_t>(__builtin_popcountll((first | second << 32) & valid));
    };
    outside.low += counted(_mm512_cmplt_epi16_mask(a, low), _mm512_cmplt_epi16_mask(b, low));
    outside.high += counted(_mm512_cmpgt_epi16_mask(a, high), _mm512_cmpgt_epi16_mask(b, high));
    __m512i y = _mm512_packs_epi16(a, b);
    y = _mm512_min_epi8(_mm512_max_epi8(y, least_), most_);
    const __m512i by_position =
        _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
    y = _mm512_permutexvar_epi32(by_position, y);
    const auto store = [&](std::size_t r, __m128i bytes) {
      std::int8_t* const there = to + at[r] + first_;
      if (used_ == kPanel) {
        _mm_storeu_si128(reinterpret_cast<__m128i*>(there), bytes);
      } else {
        _mm_mask_storeu_epi8(there, static_cast<__mmask16>((1U << used_) - 1), bytes);
      }
    };
    store(0, _mm512_castsi512_si128(y));
    if (count > 1) store(1, _mm512_extracti32x4_epi32(y, 1));
    if (count > 2) store(2, _mm512_extracti32x4_epi32(y, 2));
    if (count > 3) store(3, _mm512_extracti32x4_epi32(y, 3));
  }
  __m512i zero_point_, least_, most_;
#else
  Clamp clamp_;
#endif
  Rescale rescale_;
  std::size_t first_ = 0, used_ = 0;
};

// ADD, sixteen elements at a time.
class Adder {
 public:
  LASTMILE_INLINE explicit Adder(const Addition& a)
      : first_(Lanes::all(a.m1), Lanes::all(a.right1)),
        second_(Lanes::all(a.m2), Lanes::all(a.right2)),
        sum_(Lanes::all(a.mo), Lanes::all(a.right_out)),
        zp1_(Lanes::all(a.zp1)),
        zp2_(Lanes::all(a.zp2)),
        clamp_(a.zp_out, a.act_min, a.act_max),
        left_(a.left) {}
  // `to` may be x1 or x2.
  LASTMILE_INLINE void operator()(const std::int8_t* x1, const std::int8_t* x2, std::int8_t* to,
                                  std::size_t used, LanesOutside& outside) const {
    const Lanes d1 = Lanes::bytes(x1, used) - zp1_, d2 = Lanes::bytes(x2, used) - zp2_;
    const Lanes sum = first_(d1.shift_left(left_)) + second_(d2.shift_left(left_));
    if (used == kPanel) {
      clamp_(sum_(sum), outside.low, outside.high).store_bytes(to, used);
      return;
    }
    LanesOutside counted;  // lanes behind the end do not count
    clamp_(sum_(sum), counted.low, counted.high).store_bytes(to, used);
    std::int32_t mask[kPanel] = {};
    for (std::size_t i = 0; i < used; ++i) mask[i] = -1;
    const auto both = [](Vector x, Vector y) { return x & y; };
    outside.low = outside.low + Lanes::zip(counted.low, Lanes::load(mask), both);
    outside.high = outside.high + Lanes::zip(counted.high, Lanes::load(mask), both);
  }

 private:
  Rescale first_, second_, sum_;
  Lanes zp1_, zp2_;
  Clamp clamp_;
  std::int32_t left_ = 0;
};

// Calls sink(first position, count, sums of kRows x kPanels x 16) for all positions.
template <Format F, bool kPerChannel, std::size_t kFolded, int kRows, int kPanels, class Sink>
LASTMILE_INLINE void tiles(const Product& q, const std::int32_t* init, const Sink& sink) {
  constexpr std::size_t element = F == Format::words ? 2 : 1;
  alignas(64) std::int32_t sums[kRows * kPanels * static_cast<int>(kPanel)];
  const auto* const region = static_cast<const char*>(q.region);
  constexpr std::size_t rows = kRows;
  for (std::size_t p = 0; p < q.positions; p += rows) {
    const std::size_t count = q.positions - p < rows ? q.positions - p : rows;
    const char* x[kRows];
    for (std::size_t r = 0; r < rows; ++r)
      x[r] = region + static_cast<std::size_t>(q.input[p + (r < count ? r : count - 1)]) * element;
    tile<F, kPerChannel, kFolded, kRows, kPanels>(q, x, init, sums);
    sink(p, count, sums);
  }
}

constexpr std::int32_t kZeros[kMostPanels * kPanel] = {};

template <Format F, bool kPerChannel, std::size_t kFolded, int kPanels>
void sums_of(const Product& q, std::int32_t* to) {
  constexpr int rows = kRowsOf[kPerChannel ? 0 : kPanels];
  constexpr std::size_t width = static_cast<std::size_t>(kPanels) * kPanel;
  tiles<F, kPerChannel, kFolded, rows, kPanels>(
      q, kZeros, [&](std::size_t p, std::size_t count, const std::int32_t* sums) {
        std::memcpy(to + p * width, sums, count * width * sizeof *sums);
      });
}

template <Format F, bool kPerChannel, std::size_t kFolded, int kPanels>
void finished(const Product& q, const Output& o, Outside& outside) {
  constexpr int rows = kRowsOf[kPerChannel ? 0 : kPanels];
  constexpr std::size_t width = static_cast<std::size_t>(kPanels) * kPanel;
  Finish finish[kPanels];
  for (std::size_t i = 0; i < kPanels; ++i) finish[i] = Finish(o, i);
  const Adder adder(o.addition != nullptr ? *o.addition : Addition{});
  LanesOutside vectors;
  Outside counted;
  tiles<F, kPerChannel, kFolded, rows, kPanels>(
      q, o.bias, [&](std::size_t p, std::size_t count, const std::int32_t* sums) {
        std::size_t at[rows];
        for (std::size_t r = 0; r < count; ++r) at[r] = o.position[p + r] * o.pitch;
        if (o.addition == nullptr) {
          for (std::size_t i = 0; i < kPanels; ++i)
            finish[i].rows(sums + i * kPanel, width, count, o.to, at, vectors, counted);
          return;
        }
        std::int8_t first[rows * width];  // the second addend may stand where the sum goes
        std::size_t at_first[rows];
        for (std::size_t r = 0; r < rows; ++r) at_first[r] = r * width;
        for (std::size_t i = 0; i < kPanels; ++i) {
          const Finish& f = finish[i];
          f.rows(sums + i * kPanel, width, count, first, at_first, vectors, counted);
          for (std::size_t r = 0; r < count; ++r) {
            const std::size_t there = at[r] + f.first();
            adder(first + at_first[r] + f.first(), o.other + there, o.to + there, f.used(),
                  vectors);
          }
        }
      });
  outside.low += counted.low;
  outside.high += counted.high;
  vectors.add_to(outside);
}

// The instantiation that a product needs, given to `call`.
template <Format F, class Call>
LASTMILE_INLINE void with_shape(const Product& q, const Call& call) {
  if (q.per_channel) {
    call.template operator()<F, true, 1, 1>();
  } else if (q.panels == 1) {
#if defined(__AVX512BW__)
    if (q.fold == 2) return call.template operator()<F, false, 2, 1>();
#endif
    call.template operator()<F, false, 1, 1>();
  }
#if defined(__AVX512BW__)
  else if (q.panels == 2) {
    call.template operator()<F, false, 1, 2>();
  } else if (q.panels == 3) {
    call.template operator()<F, false, 1, 3>();
  } else {
    call.template operator()<F, false, 1, 4>();
  }
#endif
}
template <class Call>
LASTMILE_INLINE void with_format(const Product& q, const Call& call) {
  if (q.format == Format::words) {
    with_shape<Format::words>(q, call);
  } else {
    with_shape<Format::bytes>(q, call);
  }
}

void kernel_sums(const Product& q, std::int32_t* to) {
  with_format(q, [&]<Format F, bool kPerChannel, std::size_t kFolded, int kPanels>() {
    sums_of<F, kPerChannel, kFolded, kPanels>(q, to);
  });
}
void kernel_product(const Product& q, const Output& o, Outside& outside) {
  with_format(q, [&]<Format F, bool kPerChannel, std::size_t kFolded, int kPanels>() {
    finished<F, kPerChannel, kFolded, kPanels>(q, o, outside);
  });
}

void kernel_add(const Addition& a, const std::int8_t* x1, const std::int8_t* x2, std::int8_t* to,
                std::size_t count, Outside& outside) {
  const Adder adder(a);
  while (count != 0) {  // lane counters hold 2^31 at most
    const std::size_t now = count < (std::size_t{1} << 30) ? count : std::size_t{1} << 30;
    LanesOutside vectors;
    std::size_t i = 0;
    for (; i + kPanel <= now; i += kPanel) adder(x1 + i, x2 + i, to + i, kPanel, vectors);
    if (i < now) adder(x1 + i, x2 + i, to + i, now - i, vectors);
    vectors.add_to(outside);
    x1 += now, x2 += now, to += now, count -= now;
  }
}

}  // namespace
}  // namespace lastmile::npu
