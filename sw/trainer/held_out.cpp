// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/held_out.hpp"

#include <algorithm>
#include <bit>
#include <numeric>
#include <vector>

#include "cmodel/spec/npu_spec.hpp"
#include "sw/trainer/readout.hpp"

namespace lastmile {
namespace {

ReadoutSplit split_of(const Dataset& all, int percent, std::uint64_t seed) {
  return split_records(all, seed, percent, kLeastToHoldOut);
}

}  // namespace

HeldOutData::HeldOutData(const Dataset& all, int percent, std::uint64_t seed)
    : all_(all), train_(all.size()) {
  if (percent == 0) return;
  const ReadoutSplit split = split_of(all, percent, seed);
  if (split.held() == 0) return;
  train_ = split.train;
  held_ = split.held();
  ordered_ = select(all, std::vector<std::size_t>(split.order.begin(), split.order.end()));
}

std::size_t held_examples(const Dataset& all, int percent, std::uint64_t seed) {
  return percent == 0 ? 0 : split_of(all, percent, seed).held();
}

std::int64_t held_loss(ForwardGradientTarget& target, std::size_t first, std::size_t count,
                       int batch) {
  std::int64_t sum = 0;
  std::vector<std::uint32_t> examples;
  for (std::size_t done = 0; done < count; done += examples.size()) {
    examples.resize(std::min(static_cast<std::size_t>(batch), count - done));
    std::iota(examples.begin(), examples.end(), static_cast<std::uint32_t>(first + done));
    target.set_batch(examples);
    sum += target.loss_sum(spec::Polarity::none_, 0);
  }
  return sum;
}

BestPoint::BestPoint(std::uint32_t steps, std::size_t examples, int classes, std::int64_t elements)
    : steps_(steps),
      values_(static_cast<std::int64_t>(examples) * elements),
      guess_(elements != 0 ? 0
                           : static_cast<std::int64_t>(examples) *
                                     std::bit_width(static_cast<unsigned>(std::max(classes - 1, 1)))
                                 << spec::kLossFraction) {}

bool BestPoint::is_point(std::uint64_t done) const {
  return done == 0 || done == steps_ ||
         done * kHeldPoints / steps_ != (done - 1) * kHeldPoints / steps_;
}

bool BestPoint::take(std::uint32_t done, std::int64_t loss) {
  if (diverged()) return false;
  const bool first = points_++ == 0;
  if (first) start_ = loss;
  last_ = done;
  high_ = loss > std::max(2 * start_, guess_) ? high_ + 1 : 0;
  // Squared errors in bits: those of a normal distribution with the variance of the start's errors.
  // A bit is 2 ln 2 of such a variance, 61/44 to within 0.01 per cent.
  const std::int64_t evidence = values_ != 0 ? (start_ / values_ + 1) * kEvidenceBits * 61 / 44
                                             : std::int64_t{kEvidenceBits} << spec::kLossFraction;
  if (!first && (loss >= best_ || loss > start_ - evidence)) return false;
  best_ = loss;
  best_step_ = done;
  return true;
}

}  // namespace lastmile
