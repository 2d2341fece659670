// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/metrics.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <numbers>
#include <numeric>

namespace lastmile {

void ErrorHistogram::add(double error_lsb) {
  const double bin = std::floor((error_lsb + 4.0) * 4.0) + 1;
  ++counts[static_cast<std::size_t>(std::clamp(bin, 0.0, static_cast<double>(kBins - 1)))];
}

void ErrorStats::add(double reference, double value) {
  const double error = value - reference;
  ++count_;
  r_ += reference;
  v_ += value;
  rr_ += reference * reference;
  vv_ += value * value;
  rv_ += reference * value;
  e_ += error;
  ee_ += error * error;
  max_abs_ = std::max(max_abs_, std::abs(error));
  histogram_.add(error / lsb_);
}

double ErrorStats::sqnr_db() const {
  if (ee_ == 0) return kPerfectSqnr;
  if (rr_ == 0) return -kPerfectSqnr;
  return std::clamp(10 * std::log10(rr_ / ee_), -kPerfectSqnr, kPerfectSqnr);
}

double ErrorStats::cosine() const {
  if (rr_ == 0 && vv_ == 0) return 1;
  if (rr_ == 0 || vv_ == 0) return 0;
  return rv_ / std::sqrt(rr_ * vv_);
}

double ErrorStats::mean_error() const { return count_ == 0 ? 0 : e_ / static_cast<double>(count_); }
double ErrorStats::rmse() const {
  return count_ == 0 ? 0 : std::sqrt(ee_ / static_cast<double>(count_));
}

double ErrorStats::gain() const {
  const double n = static_cast<double>(std::max<std::int64_t>(count_, 1));
  const double spread = rr_ - r_ * r_ / n;
  return spread <= 1e-12 * rr_ || spread == 0 ? 1 : (rv_ - r_ * v_ / n) / spread;
}

double ErrorStats::offset_lsb() const {
  const double n = static_cast<double>(std::max<std::int64_t>(count_, 1));
  return (v_ - gain() * r_) / n / lsb_;
}

double ErrorStats::residual_lsb() const {
  if (count_ == 0) return 0;
  const double n = static_cast<double>(count_), g = gain();
  const double rest = (vv_ - v_ * v_ / n) - g * (rv_ - r_ * v_ / n);
  return std::sqrt(std::max(rest, 0.0) / n) / lsb_;
}

CodeUse::CodeUse(std::int32_t low, std::int32_t high)
    : low_(low), counts_(static_cast<std::size_t>(high - low + 1)) {}

void CodeUse::add(std::int32_t code) {
  const std::int32_t last = static_cast<std::int32_t>(counts_.size()) - 1;
  ++counts_[static_cast<std::size_t>(std::clamp(code - low_, 0, last))];
}

std::int64_t CodeUse::used() const {
  return std::count_if(counts_.begin(), counts_.end(), [](std::int64_t n) { return n != 0; });
}
double CodeUse::share() const {
  return static_cast<double>(used()) / static_cast<double>(counts_.size());
}
std::int64_t CodeUse::count(std::int32_t code) const {
  return counts_.at(static_cast<std::size_t>(code - low_));
}

double CodeUse::effective_bits() const {
  std::int64_t first = -1, last = -1;
  std::uint64_t distances = 0;
  for (std::size_t i = 0; i < counts_.size(); ++i) {
    if (counts_[i] == 0) continue;
    if (first < 0) first = static_cast<std::int64_t>(i);
    last = static_cast<std::int64_t>(i);
    distances |= static_cast<std::uint64_t>(last - first);
  }
  if (distances == 0) return 0;
  const std::int64_t unit = std::int64_t{1} << std::countr_zero(distances);
  const std::int64_t levels = (last - first) / unit + 1;
  return std::log2(static_cast<double>(levels));
}

void ChannelRange::add(std::span<const double> reference, std::span<const double> value) {
  std::size_t i = 0;
  for (; ranges_.size() < channels_ && i < value.size(); ++i)
    ranges_.push_back({value[i], value[i], reference[i], reference[i]});
  for (; i < value.size(); ++i) {
    Range& r = ranges_[i % ranges_.size()];
    r.low = std::min(r.low, value[i]);
    r.high = std::max(r.high, value[i]);
    r.reference_low = std::min(r.reference_low, reference[i]);
    r.reference_high = std::max(r.reference_high, reference[i]);
  }
}

std::vector<int> ChannelRange::stuck(double lsb) const {
  std::vector<int> out;
  for (std::size_t c = 0; c < ranges_.size(); ++c) {
    const Range& r = ranges_[c];
    if (r.low == r.high && r.reference_high - r.reference_low > lsb)
      out.push_back(static_cast<int>(c));
  }
  return out;
}

int accumulator_bits(std::int64_t largest) {
  const auto magnitude = static_cast<std::uint64_t>(largest < 0 ? -largest : largest);
  return 1 + static_cast<int>(std::bit_width(magnitude));
}

Share share_of(std::int64_t hits, std::int64_t trials) {
  if (trials == 0) return {0, 0, 1};
  constexpr double z = 1.96;
  const double n = static_cast<double>(trials), p = static_cast<double>(hits) / n;
  const double middle = (p + z * z / (2 * n)) / (1 + z * z / n);
  const double half = z / (1 + z * z / n) * std::sqrt(p * (1 - p) / n + z * z / (4 * n * n));
  return {p, std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

double cosine_of(std::span<const double> a, std::span<const double> b) {
  double ab = 0, aa = 0, bb = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    ab += a[i] * b[i];
    aa += a[i] * a[i];
    bb += b[i] * b[i];
  }
  return aa == 0 || bb == 0 ? 0 : ab / std::sqrt(aa * bb);
}

double mean_of(std::span<const double> v) {
  return v.empty() ? 0 : std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}

double standard_error(std::span<const double> v) {
  if (v.size() < 2) return 0;
  const double mean = mean_of(v);
  double squares = 0;
  for (const double x : v) squares += (x - mean) * (x - mean);
  const auto n = static_cast<double>(v.size());
  return std::sqrt(squares / (n - 1) / n);
}
double deviation_of(std::span<const double> v) {
  double sum = 0;
  for (const double x : v) sum += x * x;
  return v.empty() ? 0 : std::sqrt(sum / static_cast<double>(v.size()));
}

namespace theory {

double cosine_signed(double m, double d) { return std::sqrt(2 * m / (std::numbers::pi * d)); }
double cosine_scaled(double m, double d) { return std::sqrt(m / d); }

// Along the gradient each pair contributes E|z.g| = sqrt(2 / pi); across it, noise of variance
// (d - 1) / m; and along it the variance (1 - 2 / pi) / m of the mean of |z.g|.
double cosine_signed_exact(double m, double d) {
  const double along = 2 / std::numbers::pi;
  return std::sqrt(along / (along + (d - along) / m));
}
// With m << d the pairs are orthogonal and the cosine is the length of m standard normal numbers
// over sqrt d: sqrt 2 Gamma((m + 1) / 2) / Gamma(m / 2). The other factor is the estimate's own
// length.
double cosine_scaled_exact(double m, double d) {
  const double chi = std::numbers::sqrt2 * std::exp(std::lgamma((m + 1) / 2) - std::lgamma(m / 2));
  return chi / std::sqrt(m) * std::sqrt(1 / (1 + d / m));
}

double flip_share(double noise, double signal) {
  if (noise == 0) return 0;
  return std::atan2(noise, signal) / std::numbers::pi;
}

}  // namespace theory

}  // namespace lastmile
