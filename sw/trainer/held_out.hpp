// SPDX-License-Identifier: Apache-2.0
// What a run of forward gradients does not train on, and what that decides: a part of every class
// is held out; its loss, without perturbation, is measured at the start and at kHeldPoints evenly
// spaced points after it; the weights of the point with the smallest loss are the result, and a run
// whose loss explodes ends. All of it is a function of configuration, data and weights: a run that
// was killed measures again while it replays, an auditor too, and both come to the same.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "sw/data/dataset.hpp"
#include "sw/trainer/forward_gradient.hpp"

namespace lastmile {

inline constexpr int kHoldOut = 10;                 // per cent, where nobody says another share
inline constexpr int kMostHeldOut = 50;             // per cent
inline constexpr std::size_t kLeastToHoldOut = 20;  // of fewer examples none is held out
inline constexpr std::uint32_t kHeldPoints = 10;    // beside the start
inline constexpr int kDivergedPoints = 2;           // so many in a row end a run
// Of a few examples some loss falls by chance: a point is better than the start only if all their
// labels together have become 2^3 times as likely.
inline constexpr int kEvidenceBits = 3;

// Examples in the order in which a run has them: those that it trains on, then those held out.
class HeldOutData {
 public:
  // percent 0: all train, in the order given. Drawn from `seed`, the run's (split_records). `all`
  // must outlive this where nothing is held out.
  HeldOutData(const Dataset& all, int percent, std::uint64_t seed);
  HeldOutData(const HeldOutData&) = delete;
  HeldOutData& operator=(const HeldOutData&) = delete;
  [[nodiscard]] const Dataset& data() const { return held_ == 0 ? all_ : ordered_; }
  [[nodiscard]] std::size_t train() const { return train_; }
  [[nodiscard]] std::size_t held() const { return held_; }
  // The examples are not needed any more, the numbers are.
  void drop_data() { ordered_ = {}; }

 private:
  const Dataset& all_;
  Dataset ordered_;
  std::size_t train_ = 0, held_ = 0;
};
// How many of these examples are held out.
[[nodiscard]] std::size_t held_examples(const Dataset& all, int percent, std::uint64_t seed);

// Sum of the losses of `count` examples from `first` on, in passes of at most `batch`.
[[nodiscard]] std::int64_t held_loss(ForwardGradientTarget& target, std::size_t first,
                                     std::size_t count, int batch);
[[nodiscard]] inline std::uint64_t passes_of(std::size_t examples, int batch) {
  return (examples + static_cast<std::size_t>(batch) - 1) / static_cast<std::size_t>(batch);
}

// What a run that holds out examples asks for.
struct HeldOut {
  std::function<std::int64_t()> loss;  // of the weights as they are: sum, units of LOSS_LO
  std::function<void()> keep;          // they are the best so far
  std::size_t examples = 0;
  int classes = 0;
  std::int64_t elements = 0;  // Loss::reconstruction: of an example; else 0
};

// The points of a run so far.
class BestPoint {
 public:
  // examples, classes: of what is held out; elements: as in HeldOut.
  BestPoint(std::uint32_t steps, std::size_t examples, int classes, std::int64_t elements = 0);

  // Whether the loss is measured after so many steps. The start is a point.
  [[nodiscard]] bool is_point(std::uint64_t done) const;
  // Takes the loss at a point; whether it is the best so far (the first one is).
  bool take(std::uint32_t done, std::int64_t loss);

  [[nodiscard]] std::uint32_t best_step() const { return best_step_; }
  [[nodiscard]] std::int64_t start_loss() const { return start_; }
  [[nodiscard]] std::int64_t best_loss() const { return best_; }
  [[nodiscard]] std::uint32_t points() const { return points_; }  // measured
  [[nodiscard]] std::uint32_t last() const { return last_; }      // step of the last one
  // kDivergedPoints in a row lost more than guessing does and more than twice what the start lost.
  // It stays: the run ends there.
  [[nodiscard]] bool diverged() const { return high_ >= kDivergedPoints; }

 private:
  std::uint64_t steps_;
  std::int64_t values_;  // squared errors: so many in all; else 0
  std::int64_t guess_;   // sum, at least that of guessing: whole bits of each example
  std::int64_t start_ = 0, best_ = 0;
  std::uint32_t best_step_ = 0, last_ = 0, points_ = 0;
  int high_ = 0;
};

}  // namespace lastmile
