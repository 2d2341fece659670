// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/forward_gradient.hpp"

namespace lastmile {

ForwardGradient::ForwardGradient(ForwardGradientTarget& target, std::size_t examples,
                                 const ForwardGradientOptions& options)
    : target_(target),
      examples_(examples),
      options_(options),
      sampler_(options.seed, examples, options.batch) {}

ForwardGradient::Pair ForwardGradient::pair(std::uint64_t seed) {
  const std::int64_t plus = target_.loss_sum(spec::Polarity::plus_, seed);
  return {plus, target_.loss_sum(spec::Polarity::minus_, seed)};
}

void ForwardGradient::begin() {
  check_options(options_, examples_);
  if (options_.estimator != Estimator::scaled) return;
  target_.set_batch(sampler_.batch(0));
  std::vector<std::int64_t> differences;
  for (int i = 0; i < numeric::kScaleProbes; ++i) {
    const Pair p = pair(probe_seed(options_.seed, i));
    differences.push_back(p.plus - p.minus);
  }
  scale_ = numeric::scale_of(differences);
}

JournalRecord ForwardGradient::step(std::uint32_t k) {
  check_options(options_, examples_);
  target_.announce(k);
  target_.set_batch(sampler_.batch(k));
  std::vector<std::int64_t> differences;
  std::int64_t sum = 0;
  for (const std::uint64_t seed : pair_seeds(options_, k)) {
    const Pair p = pair(seed);
    differences.push_back(p.plus - p.minus);
    sum += p.plus + p.minus;
  }
  return {k, step_register(options_, k), coefficients(options_.estimator, differences, scale_), sum,
          scale_};
}

void ForwardGradient::apply(const JournalRecord& record) {
  target_.update(pair_seeds(options_, record.step), record.coefficients, record.step_register);
}

}  // namespace lastmile
