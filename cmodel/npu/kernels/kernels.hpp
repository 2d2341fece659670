// SPDX-License-Identifier: Apache-2.0
// The inner loops of the model, once per instruction set, chosen when a machine is made. All of
// them compute the same bits. What is here knows nothing of commands: plain arrays in, plain arrays
// out, so that a file compiled for a newer CPU shares no code with the rest of the program.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace lastmile::npu {

inline constexpr std::size_t kPanel = 16;       // output channels that are computed together
inline constexpr std::size_t kMostPanels = 4;   // of one product
inline constexpr std::size_t kStepBytes = 4;    // of one channel in one step of a product
inline constexpr std::size_t kReadBehind = 64;  // bytes that may be read behind a region's end

// A step of K is two neighbouring int16 elements, or four bytes.
enum class Format { words, bytes };

// Sums of products, exact modulo 2^32: every position times every channel.
struct Product {
  Format format = Format::words;
  // false: an element of the region belongs to all channels (convolution). true: 16 neighbouring
  // steps belong to the 16 channels of the one panel (depthwise).
  bool per_channel = false;
  // Steps that follow each other in the region and share one entry of `offset`: 1, or Kernels::fold
  // for a product of one panel.
  std::size_t fold = 1;
  const void* region = nullptr;
  std::size_t positions = 0;
  const std::int32_t* input = nullptr;  // of each position: its first element
  std::size_t entries = 0;
  const std::int32_t* offset = nullptr;  // of each entry: its first element behind that
  std::size_t panels = 0;
  // of each entry: of each panel: 16 channels x fold steps x (2 int16 or 4 int8)
  const void* weights = nullptr;
};

// ADD of two int8 streams whose exponents are in -30..0.
struct Addition {
  std::int32_t zp1 = 0, zp2 = 0, zp_out = 0;
  std::int32_t m1 = 0, m2 = 0, mo = 0;
  std::int32_t right1 = 0, right2 = 0, right_out = 0;
  std::int32_t left = 0;
  std::int32_t act_min = 0, act_max = 0;
};

// From sums to int8: requantization with exponents in -30..0 (the right shifts), zero point, clamp,
// and an addition where there is one. |sum + bias| <= kNarrowSum.
inline constexpr std::int32_t kNarrowSum = 0x5fffffff;
inline constexpr std::int32_t kNarrowRight = 30;
struct Output {
  const std::int32_t* bias = nullptr;  // these three: of each channel, zero behind `channels`
  const std::int32_t* multiplier = nullptr;
  const std::int32_t* right = nullptr;
  std::int32_t zero_point = 0, act_min = 0, act_max = 0;
  std::size_t channels = 0;  // of the product's panels that exist
  std::int8_t* to = nullptr;
  const std::uint64_t* position = nullptr;  // output index of each position ...
  std::size_t pitch = 0;                    // ... times this: where its channels stand
  const Addition* addition = nullptr;
  const std::int8_t* other = nullptr;  // second addend, laid out as `to`
};

// Outputs outside int8 before the clamp.
struct Outside {
  std::uint64_t low = 0, high = 0;
};

// One row of one pooling window: taps inside the image.
struct PoolWindow {
  const std::int8_t* first = nullptr;
  std::int64_t rows = 0, columns = 0;
  std::int64_t row_step = 0, column_step = 0;
};

// How one row of a tensor moves: perturbation, or the update.
struct Move {
  const std::uint64_t* random = nullptr;  // signs or Gaussians of the row
  const std::uint64_t* mask = nullptr;    // nullptr: all elements take part
  std::int32_t keep = 256;
  bool gaussian = false;
  bool minus = false;
  std::uint32_t eps = 0;    // at most 16 bits
  std::uint32_t shift = 0;  // at most 31
  std::int32_t limit = 0;
};
struct Moved {
  std::uint64_t taken = 0, clipped = 0, zero = 0;
};
struct UpdateStep {
  const std::int32_t* gradient = nullptr;
  const std::uint64_t* rounding = nullptr;
  const std::uint64_t* mask = nullptr;
  std::int32_t keep = 256;
  std::uint32_t mantissa = 0;
  int shift = 0;
  std::int32_t limit = 0;
};

struct Kernels {
  const char* name;
  std::size_t panels;      // most panels of a product
  bool bytes;              // products of Format::bytes are worth it
  std::int32_t byte_zero;  // what their region holds is x + byte_zero
  std::size_t fold;        // steps of an entry in products of one panel

  // to[i] = from[i] - zero_point, and from[i] + byte_zero
  void (*widen)(const std::int8_t* from, std::int16_t* to, std::size_t count,
                std::int32_t zero_point);
  void (*shift_bytes)(const std::int8_t* from, std::uint8_t* to, std::size_t count);
  // Steps of 16 channels along a row of `columns` pixels, for a product per channel: step c holds
  // pixels c, c + distance, ... of the row. Pixels [first, last) stand from `from` on, `pitch`
  // bytes apart, with `used` channels; the others are padding. `scratch`: (columns + 3 * distance)
  // x 16 int32.
  void (*spread_row)(Format format, const std::int8_t* from, std::size_t pitch, std::size_t used,
                     std::size_t columns, std::size_t first, std::size_t last, std::size_t distance,
                     std::int32_t zero_point, std::int32_t* scratch, std::int32_t* to);

  void (*sums)(const Product& product, std::int32_t* sums);  // positions x panels x 16
  void (*product)(const Product& product, const Output& output, Outside& outside);
  void (*add)(const Addition& addition, const std::int8_t* x1, const std::int8_t* x2,
              std::int8_t* to, std::size_t count, Outside& outside);
  void (*pool_max)(const PoolWindow& window, std::size_t channels, std::int32_t act_min,
                   std::int32_t act_max, std::int8_t* to);
  void (*pool_average)(const PoolWindow& window, std::size_t channels, std::int32_t act_min,
                       std::int32_t act_max, std::int8_t* to);

  // out[i] = threefry(key, counter + i); the counter's low word does not wrap inside
  void (*hash)(std::uint64_t key, std::uint64_t counter, std::uint64_t* out, std::size_t count);
  // magnitudes: |z| by the low 15 bits
  void (*perturb)(const Move& move, const std::uint8_t* magnitudes, std::int16_t* weights,
                  std::size_t count, Moved& moved);
  // to[i] += coefficient * z
  void (*add_z)(const std::uint64_t* random, bool gaussian, const std::uint8_t* magnitudes,
                std::int32_t coefficient, std::int32_t* to, std::size_t count);
  void (*update8)(const UpdateStep& step, std::int8_t* weights, std::size_t count, Moved& moved);
  void (*update16)(const UpdateStep& step, std::int16_t* weights, std::size_t count, Moved& moved);
};

// What this CPU can run: the portable one first, the fastest last.
std::span<const Kernels* const> all_kernels();
// By name; nullptr: there is none of that name here.
const Kernels* find_kernels(std::string_view name);
// The fastest, or the one that LASTMILE_KERNELS names: std::invalid_argument if there is none.
const Kernels& chosen_kernels();

}  // namespace lastmile::npu
