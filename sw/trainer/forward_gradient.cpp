// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/forward_gradient.hpp"

#include <fmt/format.h>

#include <cmath>

#include "sw/base/error.hpp"

namespace lastmile {

ForwardGradient::ForwardGradient(ForwardGradientTarget& target, std::size_t examples,
                                 const ForwardGradientOptions& options)
    : target_(target),
      examples_(examples),
      options_(options),
      sampler_(options.seed, examples, options.batch) {}

ForwardGradient::Pair ForwardGradient::pair(std::uint64_t seed) {
  const double plus = target_.loss(spec::Polarity::plus_, seed);
  const double minus = target_.loss(spec::Polarity::minus_, seed);
  if (!std::isfinite(plus + minus))
    throw Error(ErrorKind::device, fmt::format("the loss is {}; the run diverged", plus + minus));
  return {plus, minus};
}

void ForwardGradient::begin() {
  check_options(options_, examples_);
  if (options_.estimator != Estimator::scaled) return;
  target_.set_batch(sampler_.batch(0));
  double squares = 0;
  for (int i = 0; i < kScaleProbes; ++i) {
    const Pair p = pair(probe_seed(options_.seed, i));
    squares += (p.plus - p.minus) * (p.plus - p.minus);
  }
  scale_ = static_cast<float>(kScaleOverRms * std::sqrt(squares / kScaleProbes));
}

JournalRecord ForwardGradient::step(std::uint32_t k) {
  check_options(options_, examples_);
  target_.announce(k);
  target_.set_batch(sampler_.batch(k));
  std::vector<double> differences;
  double sum = 0;
  for (const std::uint64_t seed : pair_seeds(options_, k)) {
    const Pair p = pair(seed);
    differences.push_back(p.plus - p.minus);
    sum += p.plus + p.minus;
  }
  return {k, step_register(options_, k), coefficients(options_.estimator, differences, scale_),
          static_cast<float>(sum / (2.0 * options_.pairs)), scale_};
}

void ForwardGradient::apply(const JournalRecord& record) {
  target_.update(pair_seeds(options_, record.step), record.coefficients, record.step_register);
}

}  // namespace lastmile
