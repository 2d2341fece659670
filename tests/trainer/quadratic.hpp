// SPDX-License-Identifier: Apache-2.0
// A target that records what it is told, and whose minimum is known.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "cmodel/numeric/random.hpp"
#include "sw/trainer/forward_gradient.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

// L(w) = |w - 1|^2 / 2 in 32 dimensions, perturbed by signs.
class Quadratic final : public ForwardGradientTarget {
 public:
  static constexpr std::uint32_t kDimensions = 32;
  std::vector<double> w = std::vector<double>(kDimensions, 0.0);
  std::vector<std::string> log;
  double step = 0.05;
  std::function<void()> before_update;

  void set_batch(std::span<const std::uint32_t> examples) override {
    log.push_back(fmt::format("batch {}", examples.size()));
  }
  std::int64_t loss_sum(spec::Polarity polarity, std::uint64_t seed) override {
    return loss_sum_of(loss(polarity, seed), 1);
  }
  double loss(spec::Polarity polarity, std::uint64_t seed) override {
    log.push_back(fmt::format("{}{}", polarity == spec::Polarity::plus_ ? '+' : '-', seed));
    double sum = 0;
    for (std::uint32_t i = 0; i < kDimensions; ++i) {
      const double moved = w[i] + (polarity == spec::Polarity::plus_ ? 1e-3 : -1e-3) * z(seed, i);
      sum += (moved - 1) * (moved - 1) / 2;
    }
    return sum;
  }
  void update(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
              std::uint32_t step_register) override {
    if (before_update) before_update();
    log.push_back("update");
    for (std::size_t j = 0; j < seeds.size(); ++j)
      for (std::uint32_t i = 0; i < kDimensions; ++i)
        w[i] -= step * step_factor(step_register) * coefficients[j] * z(seeds[j], i);
  }

 private:
  static double z(std::uint64_t seed, std::uint32_t i) {
    return numeric::draw_z(seed, spec::Distribution::sign_, 0, 0, i);
  }
};

}  // namespace lastmile
