// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/fixed_training.hpp"

#include <fmt/format.h>

#include <optional>

#include "sw/base/error.hpp"

namespace lastmile {

FixedOptions options_of(const RunConfig& config, FixedOptions how) {
  how.batch = config.forward.batch;
  how.distribution = config.distribution;
  how.mask_seed = config.mask_seed;
  return how;
}

QuantizedNetwork replay_network(const QuantizedNetwork& base, const Journal& journal,
                                const std::string& name, std::uint32_t steps,
                                const DeviceOpener& open, FixedOptions how,
                                const StepCallback& replayed) {
  require_same_base(name, journal.config, base);
  if (steps > journal.records.size())
    throw Error(ErrorKind::usage,
                fmt::format("steps is {}, but {} has {}", steps, name, journal.records.size()));
  RunConfig config = journal.config;
  config.forward.batch = 1;  // no pass, so the smallest program
  how.cache_features = false;
  Dataset nothing;
  nothing.shape = base.network.input;
  nothing.classes = base.network.classes;
  std::optional<FixedTraining> training;
  try {
    training.emplace(base, config, nothing, open, how);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::input && e.kind() != ErrorKind::usage) throw;
    throw Error(ErrorKind::journal, fmt::format("{}: header: config: {}", name, e.what()));
  }
  for (std::uint32_t k = 0; k < steps; ++k) {
    training->run().replay(journal.records[k]);
    if (replayed) replayed(journal.records[k]);
  }
  return training->target().network();
}

}  // namespace lastmile
