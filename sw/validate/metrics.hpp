// SPDX-License-Identifier: Apache-2.0
// What two tensors differ by, and what theory says of the training signal. Pure arithmetic.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace lastmile {

// Stands for "no error at all" (and, negative, for "all error"), so that reports hold no
// infinities.
inline constexpr double kPerfectSqnr = 200;

// Errors in units of the tensor's LSB: bin 0 is below -4, the last one from 4, between them 32 bins
// of a quarter.
struct ErrorHistogram {
  static constexpr std::size_t kBins = 34;
  std::array<std::int64_t, kBins> counts{};
  void add(double error_lsb);
  // Lower edge of bin 1..33 in LSBs.
  [[nodiscard]] static double low_edge(std::size_t bin) {
    return -4.0 + 0.25 * (static_cast<double>(bin) - 1);
  }
};

// Sums over (reference, value) pairs of one tensor; everything is derived from them.
class ErrorStats {
 public:
  explicit ErrorStats(double lsb = 1) : lsb_(lsb) {}

  void add(double reference, double value);
  template <class A, class B>
  void add(std::span<const A> reference, std::span<const B> value) {
    for (std::size_t i = 0; i < reference.size(); ++i)
      add(static_cast<double>(reference[i]), static_cast<double>(value[i]));
  }

  [[nodiscard]] std::int64_t count() const { return count_; }
  // 10 log10(sum reference^2 / sum error^2), within +-kPerfectSqnr.
  [[nodiscard]] double sqnr_db() const;
  // Of the two tensors as vectors; 1 if both are zero, 0 if one is.
  [[nodiscard]] double cosine() const;
  [[nodiscard]] double max_abs() const { return max_abs_; }
  [[nodiscard]] double mean_error() const;
  [[nodiscard]] double rmse() const;
  // RMSE in LSBs; 1 / sqrt 12 = 0.289 is an ideal rounding.
  [[nodiscard]] double rmse_over_scale() const { return rmse() / lsb_; }
  // Least squares value = gain * reference + offset (offset in LSBs); gain 1 for a constant
  // reference.
  [[nodiscard]] double gain() const;
  [[nodiscard]] double offset_lsb() const;
  // Standard deviation of what that line leaves, in LSBs.
  [[nodiscard]] double residual_lsb() const;
  [[nodiscard]] const ErrorHistogram& histogram() const { return histogram_; }
  [[nodiscard]] double lsb() const { return lsb_; }

 private:
  double lsb_;
  std::int64_t count_ = 0;
  double r_ = 0, v_ = 0, rr_ = 0, vv_ = 0, rv_ = 0, e_ = 0, ee_ = 0, max_abs_ = 0;
  ErrorHistogram histogram_;
};

// Which of the codes low..high a tensor used.
class CodeUse {
 public:
  CodeUse(std::int32_t low, std::int32_t high);
  // Codes outside the range count as its ends.
  void add(std::int32_t code);
  [[nodiscard]] std::int64_t used() const;
  [[nodiscard]] double share() const;  // of the codes in the range
  [[nodiscard]] std::int64_t count(std::int32_t code) const;
  // log2 of the levels between the smallest and the largest code used, counted in the largest power
  // of two that divides every distance: what remains of the width. 0 if nothing or one code was
  // seen.
  [[nodiscard]] double effective_bits() const;

 private:
  std::int32_t low_;
  std::vector<std::int64_t> counts_;
};

// A channel is stuck when its fixed-point values never change although the reference moves by more
// than one LSB. Layout: the channel is the last index.
class ChannelRange {
 public:
  explicit ChannelRange(int channels) : channels_(static_cast<std::size_t>(channels)) {}
  void add(std::span<const double> reference, std::span<const double> value);
  [[nodiscard]] std::vector<int> stuck(double lsb) const;

 private:
  struct Range {
    double low, high, reference_low, reference_high;
  };
  std::size_t channels_;
  std::vector<Range> ranges_;
};

// Bits of a signed accumulator that held +-largest: 1 for 0.
[[nodiscard]] int accumulator_bits(std::int64_t largest);

struct Share {
  double value = 0, low = 0, high = 0;  // 95 % (Wilson)
};
[[nodiscard]] Share share_of(std::int64_t hits, std::int64_t trials);

[[nodiscard]] double cosine_of(std::span<const double> a, std::span<const double> b);
[[nodiscard]] double mean_of(std::span<const double> v);
[[nodiscard]] double deviation_of(std::span<const double> v);  // root mean square around 0
// Of the mean; 0 for fewer than two.
[[nodiscard]] double standard_error(std::span<const double> v);

namespace theory {
// Cosine of the m-pair estimate with the gradient in d coordinates, m much smaller than d
// (arXiv 2411.04036, section 3): sqrt(2 m / (pi d)) and sqrt(m / d).
[[nodiscard]] double cosine_signed(double m, double d);
[[nodiscard]] double cosine_scaled(double m, double d);
// The mean of the cosine without m << d, and for the scaled estimate without m >> 1: at m = 1 both
// estimates have the same direction up to sign.
[[nodiscard]] double cosine_signed_exact(double m, double d);
[[nodiscard]] double cosine_scaled_exact(double m, double d);
// Share of signs that noise of deviation `noise` flips, for a difference that is Gaussian with
// deviation `signal` and noise that is independent of it: atan(noise / signal) / pi.
[[nodiscard]] double flip_share(double noise, double signal);
}  // namespace theory

}  // namespace lastmile
