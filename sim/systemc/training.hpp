// SPDX-License-Identifier: Apache-2.0
// Training runs on any device, as platforms and their references do them: one journal and the
// weights at its end.
#pragma once

#include <cstdint>
#include <filesystem>

#include "sw/app/adapt.hpp"
#include "sw/trainer/fixed_training.hpp"

namespace lastmile::sim {

struct TrainingSetup {
  QuantizedNetwork base;
  Dataset data;
  RunConfig config;
  FixedOptions how;
  std::uint32_t stop_after = UINT32_MAX;  // steps, of a schedule that may be longer

  [[nodiscard]] std::uint32_t steps() const;  // that will be done
};

// The base network of a `lastmile run` (folder) with the plan that the plain model measures.
[[nodiscard]] TrainingSetup load_setup(const std::filesystem::path& folder, Dataset data,
                                       const AdaptOptions& options);

struct TrainingResult {
  QuantizedNetwork network;
  double seconds = 0, cpu_seconds = 0;  // of the steps alone
};

// Trains and writes `journal`. resume: goes on with a journal that is there, if it is of this run.
[[nodiscard]] TrainingResult train_on(const TrainingSetup& setup, const DeviceOpener& open,
                                      const std::filesystem::path& journal, bool resume = false,
                                      const StepCallback& on_step = {});

[[nodiscard]] bool same_bytes(const std::filesystem::path& a, const std::filesystem::path& b);
[[nodiscard]] bool same_weights(const QuantizedNetwork& a, const QuantizedNetwork& b);

// Wall and processor time since construction, seconds.
class Timer {
 public:
  Timer();
  [[nodiscard]] double wall() const;
  [[nodiscard]] double cpu() const;

 private:
  double wall_, cpu_;
};

}  // namespace lastmile::sim
