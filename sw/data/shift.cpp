// SPDX-License-Identifier: Apache-2.0
#include "sw/data/shift.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numbers>
#include <vector>

#include "sw/base/detmath.hpp"
#include "sw/base/error.hpp"
#include "sw/base/parallel.hpp"
#include "sw/base/rng.hpp"

namespace lastmile {
namespace {

struct Field {
  std::string_view name;
  double Shift::*member;
  double min, max;
  std::string_view unit;
};

constexpr std::array<Field, 6> kFields{{
    {"rotate", &Shift::rotate, -360, 360, "degrees"},
    {"blur", &Shift::blur, 0, 10, "pixels"},
    {"contrast", &Shift::contrast, 0, 10, "a factor"},
    {"gain", &Shift::gain, 0, 10, "a factor"},
    {"brightness", &Shift::brightness, -1, 1, "of the range black to white"},
    {"noise", &Shift::noise, 0, 10, "of the range black to white"},
}};

std::string_view trim(std::string_view s) {
  const auto first = s.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return s.substr(first, s.find_last_not_of(" \t") - first + 1);
}

[[noreturn]] void fail(const std::string& what) { throw Error(ErrorKind::usage, "shift: " + what); }

using Plane = std::span<float>;

// One image on its way through a shift: `x` is the image, `scratch` as large.
class Shifter {
 public:
  Shifter(const Shift& shift, Shape shape)
      : shift_(shift), shape_(shape), scratch_(static_cast<std::size_t>(shape.elements())) {
    const auto sc = det_sincos(shift.rotate * (std::numbers::pi / 180));
    sin_ = sc.sin;
    cos_ = sc.cos;
    if (shift.blur > 0) {
      const int radius = static_cast<int>(std::ceil(3 * shift.blur));
      double sum = 0;
      for (int i = -radius; i <= radius; ++i) {
        const double z = i / shift.blur;  // may be infinite; blur * blur might be 0
        kernel_.push_back(det_exp(-0.5 * z * z));
        sum += kernel_.back();
      }
      for (auto& k : kernel_) k /= sum;
    }
  }

  void apply(Plane x, std::uint64_t seed) {
    if (shift_.rotate != 0) rotate(x);
    if (shift_.blur > 0) {
      blur(x, true);
      blur(x, false);
    }
    if (shift_.contrast != 1) contrast(x);
    if (shift_.gain != 1)
      for (auto& v : x) v = static_cast<float>(static_cast<double>(v) * shift_.gain);
    if (shift_.brightness != 0)
      for (auto& v : x) v = static_cast<float>(v + shift_.brightness);
    if (shift_.noise > 0) {
      Rng rng(seed);
      for (auto& v : x) v = static_cast<float>(v + shift_.noise * rng.normal());
    }
    for (auto& v : x) v = std::clamp(v, 0.0F, 1.0F);
  }

 private:
  [[nodiscard]] std::size_t at(int row, int col, int ch) const {
    return static_cast<std::size_t>((row * shape_.w + col) * shape_.c + ch);
  }

  void rotate(Plane x) {
    std::copy(x.begin(), x.end(), scratch_.begin());
    const double cy = (shape_.h - 1) * 0.5;
    const double cx = (shape_.w - 1) * 0.5;
    const auto source = [&](int row, int col, int ch) -> double {
      if (row < 0 || row >= shape_.h || col < 0 || col >= shape_.w) return 0;
      return scratch_[at(row, col, ch)];
    };
    for (int row = 0; row < shape_.h; ++row)
      for (int col = 0; col < shape_.w; ++col) {
        const double dx = col - cx;
        const double dy = row - cy;
        // Rows point down: turning the image counter-clockwise looks up the point turned clockwise.
        const double sx = cx + cos_ * dx - sin_ * dy;
        const double sy = cy + sin_ * dx + cos_ * dy;
        const double fx = std::floor(sx);
        const double fy = std::floor(sy);
        const double ax = sx - fx;
        const double ay = sy - fy;
        const int c0 = static_cast<int>(fx);
        const int r0 = static_cast<int>(fy);
        for (int ch = 0; ch < shape_.c; ++ch) {
          const double top = source(r0, c0, ch) * (1 - ax) + source(r0, c0 + 1, ch) * ax;
          const double bottom = source(r0 + 1, c0, ch) * (1 - ax) + source(r0 + 1, c0 + 1, ch) * ax;
          x[at(row, col, ch)] = static_cast<float>(top * (1 - ay) + bottom * ay);
        }
      }
  }

  void blur(Plane x, bool along_rows) {
    std::copy(x.begin(), x.end(), scratch_.begin());
    const int radius = static_cast<int>(kernel_.size() / 2);
    for (int row = 0; row < shape_.h; ++row)
      for (int col = 0; col < shape_.w; ++col)
        for (int ch = 0; ch < shape_.c; ++ch) {
          double sum = 0;
          for (int k = -radius; k <= radius; ++k) {
            const int r = along_rows ? row : std::clamp(row + k, 0, shape_.h - 1);
            const int c = along_rows ? std::clamp(col + k, 0, shape_.w - 1) : col;
            sum += kernel_[static_cast<std::size_t>(k + radius)] *
                   static_cast<double>(scratch_[at(r, c, ch)]);
          }
          x[at(row, col, ch)] = static_cast<float>(sum);
        }
  }

  void contrast(Plane x) const {
    for (int ch = 0; ch < shape_.c; ++ch) {
      double sum = 0;
      for (std::size_t i = static_cast<std::size_t>(ch); i < x.size();
           i += static_cast<std::size_t>(shape_.c))
        sum += static_cast<double>(x[i]);
      const double mean = sum / (static_cast<double>(shape_.h) * shape_.w);
      for (std::size_t i = static_cast<std::size_t>(ch); i < x.size();
           i += static_cast<std::size_t>(shape_.c))
        x[i] = static_cast<float>(mean + (static_cast<double>(x[i]) - mean) * shift_.contrast);
    }
  }

  Shift shift_;
  Shape shape_;
  std::vector<float> scratch_;
  std::vector<double> kernel_;
  double sin_ = 0;
  double cos_ = 1;
};

}  // namespace

Shift parse_shift(std::string_view spec) {
  Shift shift;
  if (trim(spec).empty() || trim(spec) == "none") return shift;
  std::array<bool, kFields.size()> seen{};
  while (true) {
    const auto comma = spec.find(',');
    const std::string_view item = trim(spec.substr(0, comma));
    const auto equals = item.find('=');
    const std::string_view name = trim(item.substr(0, equals));
    const auto field = std::find_if(kFields.begin(), kFields.end(),
                                    [&](const Field& f) { return f.name == name; });
    if (field == kFields.end())
      fail(fmt::format("'{}' in '{}', expected rotate, blur, contrast, gain, brightness or noise",
                       name, item));
    if (equals == std::string_view::npos)
      fail(fmt::format("'{}' has no value, expected {}=NUMBER", item, name));
    if (std::exchange(seen[static_cast<std::size_t>(field - kFields.begin())], true))
      fail(fmt::format("{} is given twice", name));
    const std::string_view text = trim(item.substr(equals + 1));
    double value = 0;
    const auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (ec != std::errc() || end != text.data() + text.size() || text.empty())
      fail(fmt::format("{} = '{}', expected a number", name, text));
    if (!(value >= field->min && value <= field->max))
      fail(fmt::format("{} = {}, expected {} to {} ({})", name, text, field->min, field->max,
                       field->unit));
    shift.*field->member = value;
    if (comma == std::string_view::npos) return shift;
    spec.remove_prefix(comma + 1);
  }
}

std::string to_string(const Shift& shift) {
  std::string out;
  for (const Field& f : kFields)
    if (shift.*f.member != Shift{}.*f.member)
      out += fmt::format("{}{}={}", out.empty() ? "" : ",", f.name, shift.*f.member);
  return out.empty() ? "none" : out;
}

void apply_shift(Dataset& data, const Shift& shift, std::uint64_t seed, int threads) {
  if (shift.none()) return;
  parallel_for(
      threads, static_cast<std::int64_t>(data.size()), [&](std::int64_t begin, std::int64_t end) {
        Shifter shifter(shift, data.shape);
        for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i)
          shifter.apply(data.example(i), sub_seed(seed, i));
      });
}

}  // namespace lastmile
