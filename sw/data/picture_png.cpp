// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>
#include <png.h>

#include <algorithm>
#include <csetjmp>
#include <cstring>

#include "sw/base/error.hpp"
#include "sw/data/picture.hpp"

namespace lastmile {
namespace {

// What the calls of libpng work on. It is made before and ends after all of them: libpng leaves by
// longjmp, which may not pass the end of any object that has a destructor.
struct Reader {
  png_structp png = nullptr;
  png_infop info = nullptr;
  std::span<const std::uint8_t> bytes;
  std::size_t at = 0;
  char message[160] = {};
  png_uint_32 width = 0, height = 0;
  int depth = 0, color = 0;
  std::size_t row_bytes = 0;
  std::vector<png_bytep> rows;

  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() { png_destroy_read_struct(&png, &info, nullptr); }
};

void on_error(png_structp png, png_const_charp text) {
  auto& r = *static_cast<Reader*>(png_get_error_ptr(png));
  std::strncpy(r.message, text, sizeof r.message - 1);
  png_longjmp(png, 1);
}
void on_warning(png_structp, png_const_charp) {}
void take(png_structp png, png_bytep to, std::size_t count) {
  auto& r = *static_cast<Reader*>(png_get_io_ptr(png));
  if (count > r.bytes.size() - r.at) png_error(png, "truncated");
  std::memcpy(to, r.bytes.data() + r.at, count);
  r.at += count;
}

// False: r.message says why. No object with a destructor lives in these two frames.
bool read_header(Reader& r) {
  if (setjmp(png_jmpbuf(r.png)) != 0) return false;
  png_set_user_limits(r.png, kMaxPictureSide, kMaxPictureSide);
  png_set_read_fn(r.png, &r, take);
  png_read_info(r.png, r.info);
  png_get_IHDR(r.png, r.info, &r.width, &r.height, &r.depth, &r.color, nullptr, nullptr, nullptr);
  return true;
}
bool prepare(Reader& r) {
  if (setjmp(png_jmpbuf(r.png)) != 0) return false;
  if (r.color == PNG_COLOR_TYPE_PALETTE) png_set_palette_to_rgb(r.png);
  if (r.color == PNG_COLOR_TYPE_GRAY && r.depth < 8) png_set_expand_gray_1_2_4_to_8(r.png);
  png_set_strip_alpha(r.png);
  png_set_interlace_handling(r.png);
  png_read_update_info(r.png, r.info);
  r.row_bytes = png_get_rowbytes(r.png, r.info);
  r.depth = png_get_bit_depth(r.png, r.info);
  return true;
}
bool read_rows(Reader& r) {
  if (setjmp(png_jmpbuf(r.png)) != 0) return false;
  png_read_image(r.png, r.rows.data());
  png_read_end(r.png, nullptr);
  return true;
}

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::input, fmt::format("{}: PNG: {}", name, what));
}

// The header's claims, which are within the limits.
Shape open(Reader& r, std::span<const std::uint8_t> bytes, const std::string& name) {
  r.bytes = bytes;
  r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
  if (r.png == nullptr) fail(name, "libpng cannot be started");
  r.info = png_create_info_struct(r.png);
  if (r.info == nullptr) fail(name, "libpng cannot be started");
  if (!read_header(r)) fail(name, r.message);
  const auto pixels = static_cast<std::int64_t>(r.width) * r.height;
  if (pixels > kMaxPicturePixels)
    fail(name, fmt::format("{} x {} pixels, expected at most {} in all", r.width, r.height,
                           kMaxPicturePixels));
  // Deflate never does better than 1032 to 1: what claims more has not that much in it.
  const auto channels = static_cast<std::int64_t>(png_get_channels(r.png, r.info));
  if (pixels * channels * r.depth / 8 / 1032 > static_cast<std::int64_t>(bytes.size()))
    fail(name, fmt::format("{} x {} pixels in {} bytes: truncated or not true", r.width, r.height,
                           bytes.size()));
  return {static_cast<int>(r.height), static_cast<int>(r.width),
          (r.color & PNG_COLOR_MASK_COLOR) != 0 ? 3 : 1};
}

}  // namespace

Shape png_shape(std::span<const std::uint8_t> bytes, const std::string& name) {
  Reader r;
  return open(r, bytes, name);
}

Picture decode_png(std::span<const std::uint8_t> bytes, const std::string& name) {
  Reader r;
  Picture p;
  p.shape = open(r, bytes, name);
  if (!prepare(r)) fail(name, r.message);
  // Rows are where the picture wants them: nothing is copied.
  p.deep = r.depth == 16;
  p.bytes.resize(r.row_bytes * r.height);
  r.rows.resize(r.height);
  for (std::size_t i = 0; i < r.rows.size(); ++i) r.rows[i] = p.bytes.data() + i * r.row_bytes;
  if (!read_rows(r)) fail(name, r.message);
  return p;
}

}  // namespace lastmile
