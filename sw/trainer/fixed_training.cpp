// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/fixed_training.hpp"

#include <fmt/format.h>

#include <optional>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"

namespace lastmile {

FixedOptions options_of(const RunConfig& config, FixedOptions how) {
  how.batch = config.forward.batch;
  how.distribution = config.distribution;
  how.mask_seed = config.mask_seed;
  return how;
}

void FixedTraining::choose_best() {
  const RunConfig& config = run_.config();
  if (config.hold_out == 0) return;
  if (data_.held() == 0)
    throw Error(ErrorKind::input, fmt::format("hold_out is {}, but of {} examples none can be held "
                                              "out",
                                              config.hold_out, data_.train()));
  const auto loss = [this] {
    const HostTraffic step = target_.driver().traffic(Traffic::step),
                      batch = target_.driver().traffic(Traffic::batch);
    const std::int64_t sum =
        held_loss(target_, data_.train(), data_.held(), run_.config().forward.batch);
    held_step_ += target_.driver().traffic(Traffic::step) - step;
    held_batch_ += target_.driver().traffic(Traffic::batch) - batch;
    return sum;
  };
  run_.hold_out({.loss = loss,
                 .keep = [this] { best_ = target_.network(); },
                 .examples = data_.held(),
                 .classes = classes_,
                 .elements = elements_});
}

QuantizedNetwork FixedTraining::result() const { return best_ ? *best_ : target_.network(); }

std::uint64_t FixedTraining::held_passes() const {
  return run_.points()
             ? run_.points()->points() * passes_of(data_.held(), run_.config().forward.batch)
             : 0;
}

const HostTraffic& FixedTraining::held_traffic(Traffic kind) const {
  return kind == Traffic::step ? held_step_ : held_batch_;
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
    stop_if_asked();
    training->run().replay(journal.records[k]);
    if (replayed) replayed(journal.records[k]);
  }
  return training->target().network();
}

}  // namespace lastmile
