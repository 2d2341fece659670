// SPDX-License-Identifier: Apache-2.0
// A training run of a quantized network on a device: target, method and run put together as its
// configuration says.
#pragma once

#include <cstdint>
#include <string>

#include "sw/trainer/forward_gradient.hpp"
#include "sw/trainer/targets.hpp"
#include "sw/trainer/training_run.hpp"

namespace lastmile {

// `how` says where and how fast (hardware, threads, feature cache); what decides bits is replaced
// by the configuration's.
[[nodiscard]] FixedOptions options_of(const RunConfig& config, FixedOptions how);

class FixedTraining {
 public:
  // `start`: the configuration's base, or its weights after some steps (then run().go_on_after()).
  FixedTraining(const QuantizedNetwork& start, const RunConfig& config, const Dataset& train,
                const DeviceOpener& open, const FixedOptions& how)
      : target_(start, config.tensors, train, open, options_of(config, how)),
        method_(target_, train.size(), config.forward),
        run_(method_, config) {
    if (config.audit.every != 0)
      run_.digest_weights([this] { return network_digest(target_.network()); });
  }
  FixedTraining(const FixedTraining&) = delete;
  FixedTraining& operator=(const FixedTraining&) = delete;

  [[nodiscard]] FixedTarget& target() { return target_; }
  [[nodiscard]] TrainingRun& run() { return run_; }

 private:
  FixedTarget target_;
  ForwardGradient method_;
  TrainingRun run_;
};

// The network after the first `steps` records: base network plus journal, without data and without
// a pass. Error(journal) if the journal, called `name`, does not start from `base`; Error(usage) if
// it has fewer records. `replayed` is called after each.
[[nodiscard]] QuantizedNetwork replay_network(const QuantizedNetwork& base, const Journal& journal,
                                              const std::string& name, std::uint32_t steps,
                                              const DeviceOpener& open, FixedOptions how,
                                              const StepCallback& replayed = {});

}  // namespace lastmile
