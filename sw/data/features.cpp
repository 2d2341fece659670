// SPDX-License-Identifier: Apache-2.0
#include "sw/data/features.hpp"

#include <fmt/format.h>
#include <kissfft/kiss_fftr.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <memory>
#include <numbers>

#include "sw/base/error.hpp"

namespace lastmile {
namespace {

void require(bool ok, const char* option, double value, const std::string& expected) {
  if (!ok)
    throw Error(ErrorKind::usage,
                fmt::format("features: {} = {}, expected {}", option, value, expected));
}

double mel(double hz) { return 2595 * std::log10(1 + hz / 700); }

struct FreeFft {
  void operator()(kiss_fftr_cfg cfg) const { kiss_fftr_free(cfg); }
};
using Fft = std::unique_ptr<kiss_fftr_state, FreeFft>;

}  // namespace

FeatureExtractor::FeatureExtractor(const FeatureOptions& options) : options_(options) {
  const auto& o = options_;
  require(o.rate >= 1000 && o.rate <= 192000, "rate", o.rate, "1000 to 192000 Hz");
  require(o.frame >= 16 && o.frame <= 16384, "frame", o.frame, "16 to 16384 samples");
  require(o.hop >= 1 && o.hop <= o.frame, "hop", o.hop, "1 to the frame's length");
  require(o.bands >= 2 && o.bands <= 256, "bands", o.bands, "2 to 256");
  require(o.coefficients >= 1 && o.coefficients <= o.bands, "coefficients", o.coefficients,
          "1 to the number of bands");
  require(o.low_hz >= 0 && o.low_hz < o.high_hz, "low_hz", o.low_hz, "0 to below high_hz");
  require(o.high_hz <= o.rate * 0.5, "high_hz", o.high_hz, "at most half the sample rate");
  require(o.floor >= 1e-30 && o.floor <= 1, "floor", o.floor, "1e-30 to 1");
  fft_ = static_cast<int>(std::bit_ceil(static_cast<unsigned>(o.frame)));
  window_.resize(static_cast<std::size_t>(o.frame));
  for (std::size_t i = 0; i < window_.size(); ++i)
    window_[i] = static_cast<float>(
        (0.5 - 0.5 * std::cos(2 * std::numbers::pi * static_cast<double>(i) / o.frame)) / 32768);
  const double low = mel(o.low_hz);
  const double step = (mel(o.high_hz) - low) / (o.bands + 1);
  for (int b = 0; b < o.bands; ++b) {
    Band band;
    for (int k = 0; k <= fft_ / 2; ++k) {
      const double position = (mel(static_cast<double>(k) * o.rate / fft_) - low) / step - b;
      const double weight = 1 - std::abs(position - 1);
      if (weight <= 0) continue;
      if (band.weights.empty()) band.first = k;
      band.weights.push_back(static_cast<float>(weight));
    }
    require(!band.weights.empty(), "bands", o.bands,
            fmt::format("fewer: band {} holds none of the {} FFT bins", b, fft_ / 2 + 1));
    bands_.push_back(std::move(band));
  }
  if (o.kind == FeatureKind::mfcc)
    for (int c = 0; c < o.coefficients; ++c)
      for (int b = 0; b < o.bands; ++b)
        dct_.push_back(static_cast<float>(std::sqrt((c == 0 ? 1.0 : 2.0) / o.bands) *
                                          std::cos(std::numbers::pi * c * (b + 0.5) / o.bands)));
}

Shape FeatureExtractor::shape(std::int64_t samples) const {
  if (samples < options_.frame || samples > (std::int64_t{1} << 30))
    throw Error(ErrorKind::input,
                fmt::format("features: clip of {} samples, expected at least one frame of {}",
                            samples, options_.frame));
  return {static_cast<int>((samples - options_.frame) / options_.hop + 1),
          options_.kind == FeatureKind::mfcc ? options_.coefficients : options_.bands, 1};
}

void FeatureExtractor::extract(std::span<const std::int16_t> clip, std::span<float> out) const {
  const Shape s = shape(static_cast<std::int64_t>(clip.size()));
  if (out.size() != static_cast<std::size_t>(s.elements()))
    throw Error(ErrorKind::input,
                fmt::format("features: room for {} values, expected {}", out.size(), s.elements()));
  const Fft fft(kiss_fftr_alloc(fft_, 0, nullptr, nullptr));
  std::vector<float> frame(static_cast<std::size_t>(fft_));
  std::vector<kiss_fft_cpx> spectrum(static_cast<std::size_t>(fft_ / 2 + 1));
  std::vector<float> power(spectrum.size());
  std::vector<float> energies(bands_.size());
  const auto columns = static_cast<std::size_t>(s.w);
  for (std::size_t t = 0; t < static_cast<std::size_t>(s.h); ++t) {
    const auto samples = clip.subspan(t * static_cast<std::size_t>(options_.hop));
    for (std::size_t i = 0; i < window_.size(); ++i)
      frame[i] = static_cast<float>(samples[i]) * window_[i];
    kiss_fftr(fft.get(), frame.data(), spectrum.data());
    for (std::size_t k = 0; k < power.size(); ++k)
      power[k] = spectrum[k].r * spectrum[k].r + spectrum[k].i * spectrum[k].i;
    for (std::size_t b = 0; b < bands_.size(); ++b) {
      double sum = 0;
      for (std::size_t k = 0; k < bands_[b].weights.size(); ++k)
        sum += static_cast<double>(bands_[b].weights[k]) *
               static_cast<double>(power[static_cast<std::size_t>(bands_[b].first) + k]);
      energies[b] = static_cast<float>(std::log(std::max(sum, options_.floor)));
    }
    const auto row = out.subspan(t * columns, columns);
    if (options_.kind == FeatureKind::log_mel) {
      std::copy(energies.begin(), energies.end(), row.begin());
      continue;
    }
    for (std::size_t c = 0; c < columns; ++c) {
      double sum = 0;
      for (std::size_t b = 0; b < energies.size(); ++b)
        sum +=
            static_cast<double>(dct_[c * energies.size() + b]) * static_cast<double>(energies[b]);
      row[c] = static_cast<float>(sum);
    }
  }
}

Normalization fit_normalization(const Dataset& data) {
  const auto columns = static_cast<std::size_t>(data.shape.w);
  std::vector<double> sum(columns), square(columns);
  // The values of a column are `columns` apart when there is one channel, as features have.
  if (data.shape.c != 1 || data.x.empty())
    throw Error(ErrorKind::input,
                fmt::format("normalization: {} values of {} channels, expected some of 1 channel",
                            data.x.size(), data.shape.c));
  const std::size_t rows = data.x.size() / columns;
  const auto count = static_cast<double>(rows);
  for (std::size_t i = 0; i < data.x.size(); ++i)
    sum[i % columns] += static_cast<double>(data.x[i]);
  for (auto& s : sum) s /= count;
  for (std::size_t i = 0; i < data.x.size(); ++i) {
    const double d = static_cast<double>(data.x[i]) - sum[i % columns];
    square[i % columns] += d * d;
  }
  Normalization n;
  for (std::size_t c = 0; c < columns; ++c) {
    n.mean.push_back(static_cast<float>(sum[c]));
    n.deviation.push_back(static_cast<float>(std::max(1e-3, std::sqrt(square[c] / count))));
  }
  return n;
}

void normalize(Dataset& data, const Normalization& normalization) {
  const auto columns = normalization.mean.size();
  if (columns != static_cast<std::size_t>(data.shape.w) || data.shape.c != 1)
    throw Error(ErrorKind::input, fmt::format("normalization: {} columns, expected {} of 1 channel",
                                              columns, data.shape.w));
  for (std::size_t i = 0; i < data.x.size(); ++i)
    data.x[i] =
        (data.x[i] - normalization.mean[i % columns]) / normalization.deviation[i % columns];
}

}  // namespace lastmile
