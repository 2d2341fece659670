// SPDX-License-Identifier: Apache-2.0
// A training run of a quantized network on a device: target, method and run put together as its
// configuration says.
#pragma once

#include <cstdint>
#include <optional>
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
  // `data`: all examples; those that the configuration holds out do not train.
  FixedTraining(const QuantizedNetwork& start, const RunConfig& config, const Dataset& data,
                const DeviceOpener& open, const FixedOptions& how)
      : data_(data, config.hold_out, config.forward.seed),
        target_(start, config.tensors, data_.data(), open, options_of(config, how)),
        method_(target_, data_.train(), config.forward),
        run_(method_, config),
        classes_(data.classes),
        elements_(start.network.reconstructs() ? start.network.input.elements() : 0) {
    data_.drop_data();
    if (config.audit.every != 0)
      run_.digest_weights([this] { return network_digest(target_.network()); });
  }
  FixedTraining(const FixedTraining&) = delete;
  FixedTraining& operator=(const FixedTraining&) = delete;

  [[nodiscard]] FixedTarget& target() { return target_; }
  [[nodiscard]] TrainingRun& run() { return run_; }
  [[nodiscard]] std::size_t train_examples() const { return data_.train(); }
  [[nodiscard]] std::size_t held_examples() const { return data_.held(); }

  // Where the configuration holds out examples: from here on (the start) the run measures them and
  // result() is its best point. Else, and without this call, result() has the weights as they are.
  void choose_best();
  [[nodiscard]] QuantizedNetwork result() const;
  [[nodiscard]] std::uint64_t held_passes() const;                    // of a batch, so far
  [[nodiscard]] const HostTraffic& held_traffic(Traffic kind) const;  // of those: step or batch

 private:
  HeldOutData data_;
  FixedTarget target_;
  ForwardGradient method_;
  TrainingRun run_;
  int classes_;
  std::int64_t elements_;  // as HeldOut has them
  std::optional<QuantizedNetwork> best_;
  HostTraffic held_step_, held_batch_;
};

// The network after the first `steps` records: base network plus journal, without data and without
// a pass. Error(journal) if the journal, called `name`, does not start from `base`; Error(usage) if
// it has fewer records. `replayed` is called after each.
[[nodiscard]] QuantizedNetwork replay_network(const QuantizedNetwork& base, const Journal& journal,
                                              const std::string& name, std::uint32_t steps,
                                              const DeviceOpener& open, FixedOptions how,
                                              const StepCallback& replayed = {});

}  // namespace lastmile
