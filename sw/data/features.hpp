// SPDX-License-Identifier: Apache-2.0
// Audio front end: log-mel energies or MFCC of a clip, as a map of frames x bands x 1.
//
//   frame t   x_t[i] = sample[t hop + i] / 32768 * w[i], i < frame, w the periodic Hann window 0.5
//   - 0.5 cos(2 pi i / frame) power     P_t[k] = |FFT_N(x_t)[k]|^2, N the power of two at or above
//   frame, k = 0 .. N/2 mel       E_t[b] = sum_k P_t[k] T_b(mel(k rate / N)), mel(f) = 2595 log10(1
//   + f / 700), T_b the triangle over three
//             neighbours of bands + 2 points equally spaced in mel from low_hz to high_hz, 1 at the
//             middle one
//   log-mel   L_t[b] = ln(max(E_t[b], floor))
//   MFCC      C_t[c] = s_c sum_b L_t[b] cos(pi c (b + 1/2) / bands), s_0 = sqrt(1 / bands), else
//   sqrt(2 / bands) (DCT-II)
//
// One second at 16 kHz gives 49 x 40 (log-mel) or 49 x 10 (MFCC, as in Zhang et al., "Hello Edge",
// arXiv 1711.07128).
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "sw/base/shape.hpp"
#include "sw/data/dataset.hpp"

namespace lastmile {

enum class FeatureKind { log_mel, mfcc };

struct FeatureOptions {
  FeatureKind kind = FeatureKind::log_mel;
  int rate = 16000;       // Hz
  int frame = 640;        // samples: 40 ms
  int hop = 320;          // samples: 20 ms
  int bands = 40;         // mel bands
  int coefficients = 10;  // MFCC kept, from c = 0
  double low_hz = 20;
  double high_hz = 7600;
  double floor = 1e-4;  // of a band's energy; about that of a recording's background noise
};

class FeatureExtractor {
 public:
  // Error (usage) names the option that is out of range; also if a band is so narrow that no FFT
  // bin falls into it.
  explicit FeatureExtractor(const FeatureOptions& options = {});

  // Frames x bands (or coefficients) x 1 for a clip of so many samples. Error (input) if it is
  // shorter than one frame.
  [[nodiscard]] Shape shape(std::int64_t samples) const;
  // Writes shape(clip.size()).elements() values, frame by frame. The object is not changed: threads
  // may share it.
  void extract(std::span<const std::int16_t> clip, std::span<float> out) const;

 private:
  struct Band {
    int first = 0;  // FFT bin of weights[0]
    std::vector<float> weights;
  };
  FeatureOptions options_;
  int fft_ = 0;
  std::vector<float> window_;
  std::vector<Band> bands_;
  std::vector<float> dct_;  // coefficients x bands
};

// Mean and standard deviation of each column (band) over examples and rows: computed on the
// training split, applied to all.
struct Normalization {
  std::vector<float> mean, deviation;  // shape.w entries each; deviation at least 1e-3
};
[[nodiscard]] Normalization fit_normalization(const Dataset& data);
// x becomes (x - mean) / deviation.
void normalize(Dataset& data, const Normalization& normalization);

}  // namespace lastmile
