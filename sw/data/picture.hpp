// SPDX-License-Identifier: Apache-2.0
// Pictures: PNG (libpng) and JPEG (libjpeg) as samples, and samples as a network's input. The
// decoders touch no file, and whatever the libraries find wrong is Error (input) that names the
// picture.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "sw/base/shape.hpp"

namespace lastmile {

// Limits on what a header may claim: a side, and the pixels of a picture.
inline constexpr int kMaxPictureSide = 1 << 16;
inline constexpr std::int64_t kMaxPicturePixels = std::int64_t{1} << 25;

struct Picture {
  Shape shape;        // c: 1 grey or 3 colour
  bool deep = false;  // 16 bits a sample, first byte high; else 8
  std::vector<std::uint8_t> bytes;

  [[nodiscard]] std::size_t size() const { return bytes.size() / (deep ? 2 : 1); }
  [[nodiscard]] int top() const { return deep ? 65535 : 255; }  // the sample that is white
  [[nodiscard]] int sample(std::size_t i) const {
    return deep ? bytes[2 * i] << 8 | bytes[2 * i + 1] : bytes[i];
  }
  // 0 black to 1 white.
  [[nodiscard]] float value(std::size_t i) const {
    return static_cast<float>(sample(i)) / static_cast<float>(top());
  }
};

enum class PictureFormat { none, png, jpeg };
// What the first bytes say.
[[nodiscard]] PictureFormat picture_format(std::span<const std::uint8_t> beginning) noexcept;

// Palettes become colour, 1, 2 and 4 bits the range of 8; alpha is left out, and so is what a file
// says of gamma and colour spaces, as PyTorch's and TensorFlow's readers do. JPEG: grey and colour
// (Huffman coded, 8 bits). Truncated data are an error.
[[nodiscard]] Picture decode_picture(std::span<const std::uint8_t> bytes, const std::string& name);
[[nodiscard]] Picture decode_png(std::span<const std::uint8_t> bytes, const std::string& name);
[[nodiscard]] Picture decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name);
// What the header says, nothing decoded.
[[nodiscard]] Shape picture_shape(std::span<const std::uint8_t> bytes, const std::string& name);
[[nodiscard]] Shape png_shape(std::span<const std::uint8_t> bytes, const std::string& name);
[[nodiscard]] Shape jpeg_shape(std::span<const std::uint8_t> bytes, const std::string& name);

// How a picture gets another size.
enum class Resize {
  stretch,  // rows and columns each to theirs
  fit,      // all of it, its aspect kept, black around it
  crop,     // its middle in the aspect of the result
};
[[nodiscard]] const char* name_of(Resize how);

// `from` (values of from_shape, NHWC) in the size and channels of `shape`, channels 1 or 3 where
// they change: grey is 0.299 red + 0.587 green + 0.114 blue, colour three times grey. Smaller
// pictures are means under a triangle as wide as two steps of the result, larger ones bilinear. The
// same shape is the same values; only IEEE operations, so that all machines agree.
void conform(std::span<const float> from, const Shape& from_shape, const Shape& shape, Resize how,
             std::span<float> to);
// The same of a picture, whose values are not all made at once.
void conform(const Picture& picture, const Shape& shape, Resize how, std::span<float> to);

}  // namespace lastmile
