// SPDX-License-Identifier: Apache-2.0
// Training of readouts (sw/quantizer/readout.hpp): only the last layer trains, by the errors of its
// outputs, on records that are computed once per example. The loop is the same for the NPU and for
// its float reference. It finds its rate and its end on a tenth of the examples that it does not
// train on:
//
//   1. every candidate rate, a factor of 3 apart, trains for a 24th of the steps;
//   2. the one with the smallest loss on the tenth trains for all steps;
//   3. of that run's snapshots, the one with the smallest loss on the tenth is the result.
//
// With inner layers ("both") a second part follows 2 and starts from its best snapshot. A step of
// it perturbs the inner layers: two passes of the batch give the loss on either side; the readouts
// learn from the errors of the second of these very passes, the inner layers move by the forward
// gradient. Snapshots of both parts compete in 3.
//
// A step depends on the weights before it and on its number alone, so a run continues from any
// snapshot in the same bits.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "sw/base/label.hpp"
#include "sw/trainer/readout_journal.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

struct ReadoutRunOptions {
  std::uint32_t steps = 2000;
  int batch = 64;
  std::uint64_t seed = 1;
  int rates = 6;  // candidates, a factor kRateRatio apart; the search takes rates / 24 of the
                  // steps, so at most 6
  double largest_rate = 243;  // in units of 1 / (mean squared length of a record)
  int snapshots = 20;         // of the run, evenly spaced, the end included
  double final_factor = 0;    // of the rate at the last step: cosine schedule
  // Both: so many more steps, in which inner layers train, too; each of `pairs` pairs of passes.
  std::uint32_t inner_steps = 0;
  int pairs = 1;                          // 1..8
  SeedRule seed_rule = SeedRule::hashed;  // of those pairs
  [[nodiscard]] std::uint32_t all_steps() const { return steps + inner_steps; }
};
inline constexpr double kRateRatio = 3;
// Of candidate `index`, 0 the largest.
[[nodiscard]] double candidate_rate(double largest, int index);
inline constexpr std::uint32_t kSearchShare = 24;  // a candidate trains for 1/24 of the steps
inline constexpr int kHeldPercent = 10;            // of the examples are held out
inline constexpr std::size_t kHeldLeast = 10;      // of fewer none

// Error(usage) naming the option.
void check_options(const ReadoutRunOptions& options, std::size_t examples);

// In which order the records lie: those to train on, shuffled, then those held out, so many per
// cent (1..50) of every class; of fewer examples than `least` none. Copies of one example
// (Dataset::copy_of; empty: there are none) are on one side: what is held out is not trained on.
struct ReadoutSplit {
  std::vector<std::uint32_t> order;  // example of each record
  std::size_t train = 0;             // records that train
  [[nodiscard]] std::size_t held() const { return order.size() - train; }
};
[[nodiscard]] ReadoutSplit split_records(std::span<const Label> labels, std::uint64_t seed,
                                         int percent = kHeldPercent, std::size_t least = kHeldLeast,
                                         std::span<const std::uint32_t> copy_of = {});
[[nodiscard]] inline ReadoutSplit split_records(const Dataset& data, std::uint64_t seed,
                                                int percent = kHeldPercent,
                                                std::size_t least = kHeldLeast) {
  return split_records(data.y, seed, percent, least, data.copy_of);
}

// First record of the batch of a step: consecutive records; every epoch begins at another one and
// takes the batches in another order.
class RecordSampler {
 public:
  RecordSampler(std::uint64_t seed, std::size_t train, int batch);
  [[nodiscard]] std::uint32_t first(std::uint32_t step);

 private:
  std::uint64_t seed_;
  std::size_t train_, batch_;
  std::uint64_t epoch_ = UINT64_MAX;
  std::uint32_t offset_ = 0;
  std::vector<std::uint32_t> order_;
};

// Seed of the order of batches: that of epoch e is drawn from Rng(epoch_seed(seed), e).
[[nodiscard]] std::uint64_t epoch_seed(std::uint64_t seed);

// Steps of a candidate's search.
[[nodiscard]] std::uint32_t search_steps(const ReadoutRunOptions& options);
// Register STEP of a step out of `steps` (of a search, or of the run) of candidate `rate`.
[[nodiscard]] std::uint32_t readout_step_register(const ReadoutRunOptions& options, int rate,
                                                  std::uint32_t step, std::uint32_t steps);

// Seed of the rounding of a step.
[[nodiscard]] std::uint64_t learn_seed(std::uint64_t seed, std::uint32_t step);

// Records in the order of a ReadoutSplit, and the weights that train on them.
class ReadoutTarget {
 public:
  ReadoutTarget() = default;
  ReadoutTarget(const ReadoutTarget&) = delete;
  ReadoutTarget& operator=(const ReadoutTarget&) = delete;
  virtual ~ReadoutTarget() = default;
  // A step on `batch` records from `first` on at rate largest_rate * step_factor(register); the
  // mean loss before it, nats.
  virtual double learn(std::uint32_t first, std::uint64_t seed, std::uint32_t step_register) = 0;
  virtual Accuracy score(std::uint32_t first, std::uint32_t count) = 0;
  [[nodiscard]] virtual ReadoutWeights weights() = 0;
  virtual void set_weights(const ReadoutWeights& weights) = 0;

  // Inner layers, for targets that have them to train (others: Error(usage)).
  // Loss sums (units of log2) of the batch at the inner weights plus and minus delta(seed): two
  // passes.
  struct LossPair {
    std::int64_t plus = 0, minus = 0;
  };
  virtual LossPair pair(std::uint32_t first, std::uint64_t seed);
  // As learn(), on the records of the last pass as it was.
  virtual double learn_again(std::uint64_t seed, std::uint32_t step_register);
  // Inner weights: w -= step * sum_j coefficient_j * z(seed_j).
  virtual void move(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
                    std::uint32_t step_register);
};

struct ReadoutReport {
  std::uint32_t step = 0;  // steps done
  double loss = 0;         // of the last batch, nats
};
struct ReadoutCallbacks {
  std::function<void(const ReadoutReport&)> on_step = {};  // of search and run
  std::function<void(const ReadoutChoice&)> on_choice = {};
  // After a snapshot of the run (also one that a journal brought): the target has its weights.
  std::function<void(const ReadoutSnapshot&)> on_snapshot = {};
};

struct ReadoutOutcome {
  ReadoutChoice choice;
  std::uint32_t best_step = 0;             // the result has the weights after so many steps
  double held_loss = 0;                    // nats; of the result; NaN without held-out examples
  std::vector<ReadoutSnapshot> snapshots;  // without weights
  std::uint32_t search_steps = 0;          // of all candidates together
};

// Runs the three parts; the target ends with the result's weights. `journal` may be null. `from`:
// what a journal of the same run already has.
ReadoutOutcome train_readout(ReadoutTarget& target, const ReadoutSplit& split,
                             const ReadoutRunOptions& options, ReadoutJournalWriter* journal,
                             const ReadoutJournal& from = {},
                             const ReadoutCallbacks& callbacks = {});

// What the rate is relative to: 1 / (mean squared length of a record), measured on the first
// `batch` examples by one pass on a device. network: with readouts.
[[nodiscard]] double readout_rate_unit(const QuantizedNetwork& network, const Dataset& data,
                                       const DeviceOpener& open, const FixedOptions& options);

// On a device: records stay in its memory, as many as fit into `memory_bytes`; the others are
// computed again each time they are used, which gives the same bits. So are all of them once an
// inner layer has moved.
class FixedReadout final : public ReadoutTarget {
 public:
  // largest_rate: real, at STEP factor 1. inner: tensors below the head that move() trains;
  // weights() holds them after the head's weights, in this order.
  FixedReadout(const QuantizedNetwork& network, const Dataset& data, const ReadoutSplit& split,
               double largest_rate, const DeviceOpener& open, const FixedOptions& options,
               std::uint64_t memory_bytes = std::uint64_t{64} << 20,
               std::span<const TensorTraining> inner = {});
  ~FixedReadout() override;

  double learn(std::uint32_t first, std::uint64_t seed, std::uint32_t step_register) override;
  Accuracy score(std::uint32_t first, std::uint32_t count) override;
  [[nodiscard]] ReadoutWeights weights() override;
  void set_weights(const ReadoutWeights& weights) override;
  LossPair pair(std::uint32_t first, std::uint64_t seed) override;
  double learn_again(std::uint64_t seed, std::uint32_t step_register) override;
  void move(std::span<const std::uint64_t> seeds, std::span<const std::int8_t> coefficients,
            std::uint32_t step_register) override;

  [[nodiscard]] QuantizedNetwork network();
  [[nodiscard]] Driver& driver();
  [[nodiscard]] Device& device();              // for its report
  [[nodiscard]] std::uint64_t passes() const;  // of a batch through the network below the record

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The same batches and rates in float, with exact errors. `params` are of `network.network`.
class FloatReadout final : public ReadoutTarget {
 public:
  FloatReadout(const Golden<float>& golden, FloatParams<float>& params, const Dataset& data,
               const ReadoutSplit& split, int record, double largest_rate, int batch);
  ~FloatReadout() override;

  double learn(std::uint32_t first, std::uint64_t seed, std::uint32_t step_register) override;
  Accuracy score(std::uint32_t first, std::uint32_t count) override;
  [[nodiscard]] ReadoutWeights weights() override;
  void set_weights(const ReadoutWeights& weights) override;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// The concat that the last layer reads; -1 for a network without readouts.
[[nodiscard]] int record_layer(const Network& network);

}  // namespace lastmile
