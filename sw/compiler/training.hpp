// SPDX-License-Identifier: Apache-2.0
// Which tensors train, how far each is perturbed and how far a step moves it. Real amplitudes
// become LSBs of the stored integers here; what the descriptors hold of them is in
// sw/compiler/compile.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile {

// One trainable tensor.
struct TensorTraining {
  std::uint32_t tensor = 0;  // weight_tensor(layer) or bias_tensor(layer)
  double eps_lsb = 0;        // e in LSBs: the perturbation is e * z, z of variance 1 (signs: +-1)
  double step_lsb =
      0;  // LSBs that a coefficient of 1 moves an element of |z| = 1, at STEP factor 1
  int keep = spec::kKeepAll;  // of 256 elements this many take part; 256 = all
};

// What a real amplitude is relative to.
enum class Amplitude {
  rms,   // the tensor's own root mean square in LSBs (the paper's kernel-wise normalization: eta *
         // RMS(w))
  real,  // real units of the weight: amplitude / scale, the root mean square of the channels'
         // scales
  lsb,   // LSBs
};
[[nodiscard]] const char* name_of(Amplitude amplitude);

struct TrainingRule {
  std::vector<bool> layers;  // per layer of the network; empty: every layer with weights
  bool biases = true;
  Amplitude eps_mode = Amplitude::rms;
  double eps = 1e-3;
  Amplitude step_mode = Amplitude::rms;
  double step = 1e-3;
  int keep = spec::kKeepAll;  // of weights
  int bias_keep = spec::kKeepAll;
};

// Amplitude 1 in LSBs of the tensor. rms of a bias: at least the root mean square of its layer's
// weights in real units, so that biases near zero train too (a bias is the weight of an input of
// 1). A tensor of zeros counts as one LSB.
[[nodiscard]] double unit_lsb(const QuantizedNetwork& network, std::uint32_t tensor,
                              Amplitude mode);

// LSBs that a perturbation of weights and of biases may have, a little below the limit of their
// descriptors. The limit of steps is as large as that of biases.
inline constexpr std::array<double, 2> kMostEpsLsb{0x1p16 * 0.99, 0x1p24 * 0.99};
// Biases whose LSB is so fine that their amplitudes exceed that get the most that fits.
void fit_biases(std::span<TensorTraining> plan);

// The rule applied to every chosen layer that has weights, in order of tensor id; biases fit where
// the amplitudes are of an RMS. Error(usage) for a rule that chooses no tensor or whose numbers are
// outside their ranges (eps > 0, step > 0, keep 0..256).
[[nodiscard]] std::vector<TensorTraining> training_plan(const QuantizedNetwork& network,
                                                        const TrainingRule& rule);

}  // namespace lastmile
