// SPDX-License-Identifier: Apache-2.0
#include "sw/data/picture.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>

#include "sw/base/error.hpp"

namespace lastmile {
namespace {

// What a sample of the result is made of, along one side: weights of consecutive samples.
struct Tap {
  int first = 0;
  std::vector<double> weights;
};

// `from` samples, of which [begin, begin + length) become `to`.
std::vector<Tap> taps_of(int from, double begin, double length, int to) {
  const double step = length / to;
  const double reach = std::max(step, 1.0);  // half the width of the triangle
  std::vector<Tap> out(static_cast<std::size_t>(to));
  for (int i = 0; i < to; ++i) {
    const double centre = begin + (i + 0.5) * step;
    const int first = std::max(0, static_cast<int>(std::floor(centre - reach)));
    const int last = std::min(from - 1, static_cast<int>(std::floor(centre + reach)));
    Tap& tap = out[static_cast<std::size_t>(i)];
    tap.first = first;
    double sum = 0;
    for (int k = first; k <= last; ++k) {
      const double w = std::max(0.0, 1 - std::abs(k + 0.5 - centre) / reach);
      tap.weights.push_back(w);
      sum += w;
    }
    for (double& w : tap.weights) w /= sum;
  }
  return out;
}

// Where the picture is in the result, and which part of it that is.
struct Placement {
  int top = 0, left = 0, h = 0, w = 0;         // of the result
  double y = 0, x = 0, rows = 0, columns = 0;  // of the picture
};
Placement place(const Shape& from, const Shape& to, Resize how) {
  Placement p{0, 0, to.h, to.w, 0, 0, static_cast<double>(from.h), static_cast<double>(from.w)};
  // Exact in integers: which side has the smaller factor.
  const auto rows_limit = std::int64_t{to.h} * from.w, columns_limit = std::int64_t{to.w} * from.h;
  if (how == Resize::stretch || rows_limit == columns_limit) return p;
  if (how == Resize::fit) {
    if (rows_limit < columns_limit)  // as high as the result
      p.w = static_cast<int>(
          std::max<std::int64_t>(1, (2 * std::int64_t{from.w} * to.h + from.h) / (2 * from.h)));
    else
      p.h = static_cast<int>(
          std::max<std::int64_t>(1, (2 * std::int64_t{from.h} * to.w + from.w) / (2 * from.w)));
    p.top = (to.h - p.h) / 2;
    p.left = (to.w - p.w) / 2;
    return p;
  }
  if (rows_limit < columns_limit)  // as wide as the result: rows are left out
    p.rows = static_cast<double>(from.w) * to.h / to.w;
  else
    p.columns = static_cast<double>(from.h) * to.w / to.h;
  p.y = (from.h - p.rows) / 2;
  p.x = (from.w - p.columns) / 2;
  return p;
}

}  // namespace

PictureFormat picture_format(std::span<const std::uint8_t> b) noexcept {
  constexpr std::array<std::uint8_t, 8> kPng{0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (b.size() >= kPng.size() && std::memcmp(b.data(), kPng.data(), kPng.size()) == 0)
    return PictureFormat::png;
  if (b.size() >= 3 && b[0] == 0xff && b[1] == 0xd8 && b[2] == 0xff) return PictureFormat::jpeg;
  return PictureFormat::none;
}

namespace {

template <class Png, class Jpeg>
auto by_format(std::span<const std::uint8_t> bytes, const std::string& name, Png png, Jpeg jpeg) {
  const PictureFormat format = picture_format(bytes);
  if (format == PictureFormat::none)
    throw Error(ErrorKind::input,
                fmt::format("{}: neither a PNG nor a JPEG picture by its first bytes", name));
  return format == PictureFormat::png ? png(bytes, name) : jpeg(bytes, name);
}

}  // namespace

Picture decode_picture(std::span<const std::uint8_t> bytes, const std::string& name) {
  return by_format(bytes, name, decode_png, decode_jpeg);
}
Shape picture_shape(std::span<const std::uint8_t> bytes, const std::string& name) {
  return by_format(bytes, name, png_shape, jpeg_shape);
}

const char* name_of(Resize how) {
  switch (how) {
    case Resize::stretch:
      return "stretch";
    case Resize::fit:
      return "fit";
    case Resize::crop:
      break;
  }
  return "crop";
}

namespace {

// A row of what is conformed, in as many channels as the result has. `value(i)`: of the source.
template <class Value>
void take_row(const Value& value, const Shape& from, int row, int channels, std::span<float> out) {
  const auto columns = static_cast<std::size_t>(from.w), c = static_cast<std::size_t>(from.c);
  const std::size_t first = static_cast<std::size_t>(row) * columns * c;
  if (from.c == channels) {
    for (std::size_t i = 0; i < out.size(); ++i) out[i] = value(first + i);
    return;
  }
  for (std::size_t x = 0; x < columns; ++x) {
    if (channels == 3) {
      for (std::size_t k = 0; k < 3; ++k) out[3 * x + k] = value(first + x);
    } else {
      const auto at = [&](std::size_t k) { return static_cast<double>(value(first + 3 * x + k)); };
      out[x] = static_cast<float>(0.299 * at(0) + 0.587 * at(1) + 0.114 * at(2));
    }
  }
}

// A row as wide as the result.
void across_row(std::span<const float> row, const std::vector<Tap>& across, std::size_t c,
                std::vector<double>& out) {
  out.resize(across.size() * c);
  for (std::size_t x = 0; x < across.size(); ++x)
    for (std::size_t ch = 0; ch < c; ++ch) {
      double sum = 0;
      const Tap& tap = across[x];
      for (std::size_t j = 0; j < tap.weights.size(); ++j)
        sum += tap.weights[j] *
               static_cast<double>(row[(static_cast<std::size_t>(tap.first) + j) * c + ch]);
      out[x * c + ch] = sum;
    }
}

template <class Value>
void conform_values(const Value& value, const Shape& from, const Shape& shape, Resize how,
                    std::span<float> to) {
  if (from.c != shape.c && ((shape.c != 1 && shape.c != 3) || (from.c != 1 && from.c != 3)))
    throw Error(ErrorKind::input,
                fmt::format("a picture of {} channels for an input of {}, expected 1 (grey) or 3 "
                            "(colour)",
                            from.c, shape.c));
  const auto c = static_cast<std::size_t>(shape.c);
  const std::size_t width = static_cast<std::size_t>(shape.w) * c;
  if (from.h == shape.h && from.w == shape.w) {
    for (int i = 0; i < shape.h; ++i)
      take_row(value, from, i, shape.c, to.subspan(static_cast<std::size_t>(i) * width, width));
    return;
  }
  const Placement p = place(from, shape, how);
  const std::vector<Tap> across = taps_of(from.w, p.x, p.columns, p.w);
  const std::vector<Tap> down = taps_of(from.h, p.y, p.rows, p.h);
  std::fill(to.begin(), to.end(), 0.0F);
  // Rows as wide as the result, made once each; those that no later row of it needs are dropped.
  std::vector<std::vector<double>> rows(static_cast<std::size_t>(from.h));
  std::vector<float> row(static_cast<std::size_t>(from.w) * c);
  std::vector<double> line(static_cast<std::size_t>(p.w) * c);
  int gone = 0;
  for (int i = 0; i < p.h; ++i) {
    const Tap& d = down[static_cast<std::size_t>(i)];
    for (; gone < d.first; ++gone) rows[static_cast<std::size_t>(gone)] = {};
    std::fill(line.begin(), line.end(), 0.0);
    for (std::size_t k = 0; k < d.weights.size(); ++k) {
      const int r = d.first + static_cast<int>(k);
      std::vector<double>& wide = rows[static_cast<std::size_t>(r)];
      if (wide.empty()) {
        take_row(value, from, r, shape.c, row);
        across_row(row, across, c, wide);
      }
      for (std::size_t x = 0; x < line.size(); ++x) line[x] += d.weights[k] * wide[x];
    }
    const std::size_t at =
        static_cast<std::size_t>(p.top + i) * width + static_cast<std::size_t>(p.left) * c;
    for (std::size_t x = 0; x < line.size(); ++x) to[at + x] = static_cast<float>(line[x]);
  }
}

}  // namespace

void conform(std::span<const float> from, const Shape& from_shape, const Shape& shape, Resize how,
             std::span<float> to) {
  conform_values([&](std::size_t i) { return from[i]; }, from_shape, shape, how, to);
}

void conform(const Picture& picture, const Shape& shape, Resize how, std::span<float> to) {
  conform_values([&](std::size_t i) { return picture.value(i); }, picture.shape, shape, how, to);
}

}  // namespace lastmile
