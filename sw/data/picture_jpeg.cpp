// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

// jpeglib.h wants FILE and size_t to be there.
#include <cstddef>
#include <cstdio>

#include <jerror.h>
#include <jpeglib.h>

#include <csetjmp>
#include <cstring>

#include "sw/base/error.hpp"
#include "sw/data/picture.hpp"

namespace lastmile {
namespace {

// A progressive picture is decoded once per scan: a small file with very many costs hours.
constexpr int kMostScans = 200;
// Of libjpeg's own memory, which a progressive picture needs all at once.
constexpr long kMostMemory = 400L << 20;

// As in picture_png.cpp: libjpeg leaves by longjmp, past no object that has a destructor.
struct Reader {
  jpeg_decompress_struct jpeg{};
  jpeg_error_mgr errors{};
  jpeg_progress_mgr progress{};
  jmp_buf leave{};
  char message[JMSG_LENGTH_MAX] = {};
  bool made = false;
  std::vector<JSAMPLE> row;
  Picture picture;

  Reader() = default;
  Reader(const Reader&) = delete;
  Reader& operator=(const Reader&) = delete;
  ~Reader() {
    if (made) jpeg_destroy_decompress(&jpeg);
  }
};

Reader& reader_of(j_common_ptr jpeg) { return *static_cast<Reader*>(jpeg->client_data); }

void on_error(j_common_ptr jpeg) {
  Reader& r = reader_of(jpeg);
  (*jpeg->err->format_message)(jpeg, r.message);
  std::longjmp(r.leave, 1);
}
// Level -1: damaged data, which libjpeg would make a picture of all the same.
void on_message(j_common_ptr jpeg, int level) {
  if (level < 0 && jpeg->err->msg_code != JWRN_EXTRANEOUS_DATA) on_error(jpeg);
}
void on_progress(j_common_ptr jpeg) {
  if (reinterpret_cast<j_decompress_ptr>(jpeg)->input_scan_number <= kMostScans) return;
  Reader& r = reader_of(jpeg);
  std::snprintf(r.message, sizeof r.message, "more than %d scans", kMostScans);
  std::longjmp(r.leave, 1);
}

// False: r.message says why. No object with a destructor lives in these frames.
bool read_header(Reader& r, const std::uint8_t* bytes, std::size_t count) {
  r.jpeg.err = jpeg_std_error(&r.errors);
  r.errors.error_exit = on_error;
  r.errors.emit_message = on_message;
  r.jpeg.client_data = &r;
  if (setjmp(r.leave) != 0) return false;
  jpeg_create_decompress(&r.jpeg);
  r.made = true;
  r.jpeg.client_data = &r;
  r.progress.progress_monitor = on_progress;
  r.jpeg.progress = &r.progress;
  r.jpeg.mem->max_memory_to_use = kMostMemory;
  jpeg_mem_src(&r.jpeg, bytes, static_cast<unsigned long>(count));
  jpeg_read_header(&r.jpeg, TRUE);
  return true;
}
bool begin(Reader& r) {
  if (setjmp(r.leave) != 0) return false;
  r.jpeg.out_color_space = r.jpeg.num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
  r.jpeg.dct_method = JDCT_ISLOW;  // the same bits on every machine
  jpeg_start_decompress(&r.jpeg);
  return true;
}
bool read_row(Reader& r) {
  if (setjmp(r.leave) != 0) return false;
  JSAMPROW row = r.row.data();
  jpeg_read_scanlines(&r.jpeg, &row, 1);
  return true;
}
bool finish(Reader& r) {
  if (setjmp(r.leave) != 0) return false;
  jpeg_finish_decompress(&r.jpeg);
  return true;
}

[[noreturn]] void fail(const std::string& name, const std::string& what) {
  throw Error(ErrorKind::input, fmt::format("{}: JPEG: {}", name, what));
}

// The header's claims, which are within the limits.
Shape open(Reader& r, std::span<const std::uint8_t> bytes, const std::string& name) {
  if (!read_header(r, bytes.data(), bytes.size())) fail(name, r.message);
  const int components = r.jpeg.num_components;
  if (components != 1 && components != 3)
    fail(name, fmt::format("{} components (CMYK?), expected 1 (grey) or 3 (colour)", components));
  const auto pixels = static_cast<std::int64_t>(r.jpeg.image_width) * r.jpeg.image_height;
  if (pixels > kMaxPicturePixels)
    fail(name, fmt::format("{} x {} pixels, expected at most {} in all", r.jpeg.image_width,
                           r.jpeg.image_height, kMaxPicturePixels));
  return {static_cast<int>(r.jpeg.image_height), static_cast<int>(r.jpeg.image_width), components};
}

}  // namespace

Shape jpeg_shape(std::span<const std::uint8_t> bytes, const std::string& name) {
  Reader r;
  return open(r, bytes, name);
}

Picture decode_jpeg(std::span<const std::uint8_t> bytes, const std::string& name) {
  Reader r;
  Picture& p = r.picture;
  p.shape = open(r, bytes, name);
  if (!begin(r)) fail(name, r.message);
  r.row.resize(static_cast<std::size_t>(p.shape.w) * static_cast<std::size_t>(p.shape.c));
  // Row by row, so that a file of a few bytes fails before its size costs memory.
  for (int i = 0; i < p.shape.h; ++i) {
    if (!read_row(r)) fail(name, r.message);
    p.bytes.insert(p.bytes.end(), r.row.begin(), r.row.end());
  }
  if (!finish(r)) fail(name, r.message);
  return std::move(r.picture);
}

}  // namespace lastmile
