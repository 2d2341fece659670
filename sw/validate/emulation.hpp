// SPDX-License-Identifier: Apache-2.0
// Forward-gradient training with widths that the hardware need not have: integer weights of any
// width up to the network's, quantize-dequantize activations, and the contract's perturbation,
// update and loss. With all widths 0 it is the same training in float; in double that is the
// reference for the signs of L+ - L-.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "sw/compiler/training.hpp"
#include "sw/data/dataset.hpp"
#include "sw/golden/golden.hpp"
#include "sw/quantizer/quantized.hpp"
#include "sw/trainer/forward_gradient.hpp"
#include "sw/trainer/targets.hpp"
#include "sw/validate/contract.hpp"

namespace lastmile {

// z of all trained tensors for one seed, one after another in the order of the plan; elements that
// the mask leaves out are 0.
class Directions {
 public:
  Directions(const QuantizedNetwork& network, std::span<const TensorTraining> plan,
             spec::Distribution distribution, std::uint64_t mask_seed);
  struct Tensor {
    std::uint32_t id = 0;
    std::size_t layer = 0;
    bool bias = false;
    int rows = 0, columns = 0;
    std::size_t first = 0, count = 0;  // in the concatenation
    std::vector<double> lsb;           // real value of an LSB, per element
    double eps = 0, step = 0;          // LSBs per |z| as drawn
  };
  [[nodiscard]] const std::vector<Tensor>& tensors() const { return tensors_; }
  [[nodiscard]] std::size_t elements() const { return elements_; }
  [[nodiscard]] std::size_t active() const;  // elements that the mask keeps
  // The e of a plan of the same tensors.
  void set_eps(std::span<const TensorTraining> plan);
  void draw(std::uint64_t seed, std::span<std::int8_t> z) const;
  // Real length of a perturbation of z = 1 (per unit of drawn z), per element.
  [[nodiscard]] std::vector<double> amplitudes() const;
  [[nodiscard]] spec::Distribution distribution() const { return distribution_; }

 private:
  std::vector<Tensor> tensors_;
  std::vector<std::uint8_t> mask_;  // empty: all take part
  std::size_t elements_ = 0;
  spec::Distribution distribution_;
};

template <class T>
class EmulatedTarget final : public ForwardGradientTarget {
 public:
  // Weights of layers that do not train are as wide as the others. `folded`, `params`: the float
  // network without batch norm. Layers that come before all trained ones are computed once.
  EmulatedTarget(const Network& folded, const FloatParams<T>& params,
                 const QuantizedNetwork& network, std::span<const TensorTraining> plan,
                 const Dataset& data, spec::Distribution distribution, std::uint64_t mask_seed,
                 const Widths& widths, int threads);
  ~EmulatedTarget() override;

  // Another e: of a plan of the same tensors.
  void set_eps(std::span<const TensorTraining> plan);
  void set_batch(std::span<const std::uint32_t> examples) override;
  std::int64_t loss_sum(spec::Polarity polarity, std::uint64_t seed) override;
  double loss(spec::Polarity polarity, std::uint64_t seed) override;
  void update(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
              std::uint32_t step_register) override;

  // Back to the weights that it was made with.
  void restart();
  // With the weights as they are now.
  [[nodiscard]] Accuracy evaluate(const Dataset& data) const;
  [[nodiscard]] const FloatParams<T>& params() const;
  // Perturbations that are not 0, of all of the last seed's.
  [[nodiscard]] double perturbed_share() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

extern template class EmulatedTarget<float>;
extern template class EmulatedTarget<double>;

}  // namespace lastmile
