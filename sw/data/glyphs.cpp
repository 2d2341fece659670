// SPDX-License-Identifier: Apache-2.0
#include "sw/data/glyphs.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <numbers>
#include <span>

#include "sw/base/detmath.hpp"
#include "sw/base/error.hpp"
#include "sw/base/parallel.hpp"
#include "sw/base/rng.hpp"

namespace lastmile {
namespace {

struct Point {
  double x, y;  // right and down; a glyph fills about -0.6..0.6 by -1..1
};
using Stroke = std::vector<Point>;
using Glyph = std::vector<Stroke>;

constexpr int kArcSteps = 12;

// Appends an arc of an ellipse; angles in degrees, 0 right, 90 down.
Stroke& arc(Stroke& stroke, Point centre, Point radius, double from, double to) {
  for (int i = 0; i <= kArcSteps; ++i) {
    const auto a = det_sincos((from + (to - from) * i / kArcSteps) * (std::numbers::pi / 180));
    stroke.push_back({centre.x + radius.x * a.cos, centre.y + radius.y * a.sin});
  }
  return stroke;
}

Stroke ellipse(Point centre, Point radius) {
  Stroke s;
  arc(s, centre, radius, 0, 360);
  return s;
}

std::array<Glyph, kGlyphClasses> make_shapes() {
  Stroke two;
  arc(two, {0, -0.45}, {0.55, 0.5}, 190, 400);
  two.push_back({-0.6, 0.95});
  two.push_back({0.6, 0.95});
  Stroke three_top;
  arc(three_top, {-0.05, -0.48}, {0.5, 0.47}, 200, 450);
  Stroke three_bottom;
  arc(three_bottom, {-0.05, 0.45}, {0.58, 0.5}, 270, 520);
  Stroke five{{0.5, -0.95}, {-0.42, -0.95}, {-0.48, -0.1}};
  arc(five, {0, 0.35}, {0.55, 0.6}, 225, 510);
  Stroke six;
  arc(six, {0.45, 0.35}, {0.97, 1.3}, 270, 180);
  Stroke nine;
  arc(nine, {-0.45, -0.35}, {0.97, 1.3}, 0, 90);
  return {{
      {ellipse({0, 0}, {0.62, 0.95})},
      {{{-0.32, -0.55}, {0.05, -0.95}, {0.05, 0.95}}},
      {two},
      {three_top, three_bottom},
      {{{0.3, 0.95}, {0.3, -0.95}, {-0.62, 0.35}, {0.68, 0.35}}},
      {five},
      {six, ellipse({0.02, 0.42}, {0.52, 0.52})},
      {{{-0.6, -0.95}, {0.6, -0.95}, {-0.15, 0.95}}},
      {ellipse({0, -0.47}, {0.44, 0.46}), ellipse({0, 0.46}, {0.54, 0.5})},
      {nine, ellipse({-0.02, -0.42}, {0.52, 0.52})},
  }};
}

// Draws strokes with a round pen; coverage falls from 1 to 0 over one pixel at the edge.
class Canvas {
 public:
  void line(Point a, Point b, double half_width) {
    const double reach = half_width + 0.5;
    const int top = first(std::min(a.y, b.y) - reach);
    const int bottom = last(std::max(a.y, b.y) + reach);
    const int left = first(std::min(a.x, b.x) - reach);
    const int right = last(std::max(a.x, b.x) + reach);
    const double dx = b.x - a.x;
    const double dy = b.y - a.y;
    const double length2 = std::max(dx * dx + dy * dy, 1e-12);
    for (int row = top; row <= bottom; ++row)
      for (int col = left; col <= right; ++col) {
        const double px = col - a.x;
        const double py = row - a.y;
        const double t = std::clamp((px * dx + py * dy) / length2, 0.0, 1.0);
        const double ex = px - t * dx;
        const double ey = py - t * dy;
        const double cover = std::clamp(reach - std::sqrt(ex * ex + ey * ey), 0.0, 1.0);
        double& ink = ink_[static_cast<std::size_t>(row * kGlyphSide + col)];
        ink = std::max(ink, cover);
      }
  }
  [[nodiscard]] std::span<const double> ink() const { return ink_; }

 private:
  static int first(double v) { return static_cast<int>(std::ceil(std::max(v, 0.0))); }
  static int last(double v) {
    return static_cast<int>(std::floor(std::min(v, static_cast<double>(kGlyphSide - 1))));
  }
  std::array<double, kGlyphSide * kGlyphSide> ink_{};
};

void draw(const Glyph& glyph, Rng& rng, std::span<std::uint8_t> out) {
  const auto turn = det_sincos(rng.normal() * (10 * std::numbers::pi / 180));
  const double slant = rng.normal() * 0.12;
  const double sx = rng.uniform(0.82, 1.12) * 5.6;
  const double sy = rng.uniform(0.85, 1.1) * 5.6;
  const double cx = (kGlyphSide - 1) * 0.5 + rng.uniform(-1.2, 1.2);
  const double cy = (kGlyphSide - 1) * 0.5 + rng.uniform(-1.0, 1.0);
  std::array<double, 6> bend{};  // quadratic terms of x and y
  for (auto& b : bend) b = rng.normal() * 0.07;
  const double half_width = rng.uniform(0.45, 1.0);
  const double ink = rng.uniform(0.75, 1.0);
  const auto place = [&](Point p) -> Point {
    const double xx = p.x * p.x;
    const double xy = p.x * p.y;
    const double yy = p.y * p.y;
    const double x = (p.x + bend[0] * xx + bend[1] * xy + bend[2] * yy - slant * p.y) * sx;
    const double y = (p.y + bend[3] * xx + bend[4] * xy + bend[5] * yy) * sy;
    return {cx + turn.cos * x + turn.sin * y, cy - turn.sin * x + turn.cos * y};
  };
  Canvas canvas;
  for (const Stroke& stroke : glyph) {
    Point last = place(stroke.front());
    for (std::size_t i = 1; i < stroke.size(); ++i) {
      const Point next = place(stroke[i]);
      canvas.line(last, next, half_width);
      last = next;
    }
  }
  for (std::size_t i = 0; i < out.size(); ++i) {
    const double v = canvas.ink()[i] * ink + rng.normal() * 0.03;
    out[i] = static_cast<std::uint8_t>(std::lround(std::clamp(v, 0.0, 1.0) * 255));
  }
}

}  // namespace

ImageSet make_glyphs(int n, std::uint64_t seed, int threads) {
  if (n < 1 || n > 10'000'000)
    throw Error(ErrorKind::usage, fmt::format("glyphs: {} images, expected 1 to 10000000", n));
  const auto shapes = make_shapes();
  constexpr std::size_t kPixels = kGlyphSide * kGlyphSide;
  ImageSet out{n, kGlyphSide, kGlyphSide, 1, {}, {}, kGlyphClasses};
  out.pixels.resize(static_cast<std::size_t>(n) * kPixels);
  out.labels.resize(static_cast<std::size_t>(n));
  parallel_for(threads, n, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      Rng rng(seed, i);
      const auto label = static_cast<std::size_t>(rng.below(kGlyphClasses));
      out.labels[i] = static_cast<Label>(label);
      draw(shapes[label], rng, std::span(out.pixels).subspan(i * kPixels, kPixels));
    }
  });
  return out;
}

std::vector<std::string> glyph_class_names() {
  std::vector<std::string> names;
  for (int k = 0; k < kGlyphClasses; ++k) names.push_back(std::to_string(k));
  return names;
}

}  // namespace lastmile
