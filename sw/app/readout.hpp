// SPDX-License-Identifier: Apache-2.0
// Adaptation by readouts (sw/trainer/readout.hpp): fixed point on a device, and the same in float.
// And backpropagation that chooses its rate and its end by the same rule, on the same held-out
// examples: the baseline that the others are measured against.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sw/app/adapt.hpp"
#include "sw/quantizer/readout.hpp"
#include "sw/trainer/readout.hpp"

namespace lastmile {

// A step of inner layers behind trained readouts is this part of one of forward gradients alone:
// the readouts have learnt what there is to learn fast.
inline constexpr double kInnerStepPart = 10;

struct ReadoutAdaptOptions {
  ReadoutOptions readout;
  ReadoutRunOptions run;
  FixedOptions fixed;
  std::uint64_t memory_bytes = std::uint64_t{64} << 20;
  // With run.inner_steps ("both"): which layers below the head train, and how, as in AdaptOptions.
  std::vector<std::string> inner_layers = {"all"};  // "all" or names
  double eps = 3, step = 0.2 / kInnerStepPart;
  int evaluations = 5;             // points of the accuracy curve beside its two ends
  int evaluation_examples = 2000;  // test examples of the curve; before and after use all
  bool audit = false;              // the journal begins with SHA-256 of base and data
};

// What an adaptation cost, whatever its method.
struct AdaptCost {
  // NaN, and `macs` not to be looked at: a part of the run was another process's.
  double passes = 0;       // forward passes of a batch; by multiply-accumulates where a step
                           // is not a whole pass
  std::uint64_t macs = 0;  // of the whole adaptation, the choice of rates included
  std::uint64_t scratch_bytes =
      0;  // most memory beside weights: activations, and kept records apart
  std::uint64_t record_bytes = 0;
};

struct ReadoutResult : AdaptResult {
  QuantizedNetwork network;
  std::vector<ReadoutTap> taps;
  std::int64_t record = 0;                 // elements
  std::int64_t trained = 0;                // weights
  double rate = 0;                         // chosen
  std::vector<double> rates, rate_losses;  // candidates, and their losses on the held-out examples
  std::uint32_t best_step = 0;
  double held_loss = 0;
  std::size_t held = 0;  // examples
  AdaptCost cost;
  std::uint64_t peak_bytes = 0;
  double host_bytes_per_step = 0;
  std::string memory_text;
};

// journal: as in adapt_fixed.
[[nodiscard]] ReadoutResult adapt_readout(const QuantizedNetwork& base, const Dataset& train,
                                          const Dataset& test, const ReadoutAdaptOptions& options,
                                          const DeviceOpener& open, const JournalFile& journal,
                                          const ProgressOptions& progress, const Say& say);

// The same batches and the rate that the fixed-point run chose. `start`: float parameters of the
// folded network.
[[nodiscard]] AdaptResult adapt_readout_float(const QuantizedNetwork& base,
                                              const FloatParams<float>& start, const Dataset& train,
                                              const Dataset& test,
                                              const ReadoutAdaptOptions& options,
                                              const ReadoutResult& fixed,
                                              const ProgressOptions& progress);

// The base network and a journal of readouts: the network that the run ended with (or had after
// `steps`, one of its snapshots), without data.
[[nodiscard]] QuantizedNetwork replay_readout_journal(const QuantizedNetwork& base,
                                                      const std::filesystem::path& journal,
                                                      std::optional<std::uint32_t> steps,
                                                      bool salvage = false);

// Backpropagation with momentum. Rates a factor of 3 apart train for a fifth of the epochs each,
// on what is not held out; if the best is the first or the last of the grid, the grid grows by one,
// at most twice. The best trains for all epochs; of its epochs the one with the smallest loss on
// the held-out examples is the result.
struct BackpropChoice {
  std::vector<double> rates;
  std::vector<double> losses;  // held out, nats; NaN: diverged
  double rate = 0;             // 0: all diverged, and the result is the network as it was
  int epochs = 0;              // of the result
  bool diverged = false;       // the run at the chosen rate
};
struct BackpropSearchOptions {
  std::vector<double> rates = {0.1, 0.1 / 3, 0.1 / 9, 0.1 / 27};
  int epochs = 10;
};
struct BackpropResult : AdaptResult {
  BackpropChoice choice;
  AdaptCost cost;
};
[[nodiscard]] BackpropResult adapt_backprop_search(const Network& folded,
                                                   const FloatParams<float>& start,
                                                   const Dataset& train, const Dataset& test,
                                                   const std::vector<std::string>& layers,
                                                   const BackpropSearchOptions& search, int batch,
                                                   std::uint64_t seed, int threads,
                                                   const ProgressOptions& progress);

}  // namespace lastmile
