// SPDX-License-Identifier: Apache-2.0
#include "sw/app/audit.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/trainer/fixed_training.hpp"
#include "sw/trainer/readout_journal.hpp"

namespace lastmile {
namespace {

// What the header says of the start against what is given; empty: the same.
std::string start_difference(const RunConfig& c, const QuantizedNetwork& base,
                             const Dataset& train) {
  const auto differ = [](const char* what, const std::string& found, const std::string& given) {
    return fmt::format("it is of a {} with digest {}, the given one has {}", what, found, given);
  };
  const auto text = [](std::uint64_t digest) { return fmt::format("{:016x}", digest); };
  if (const std::uint64_t given = network_digest(base); c.base_digest != given)
    return differ("base network", text(c.base_digest), text(given));
  if (const std::uint64_t given = data_digest(train); c.data_digest != given)
    return differ("data set", text(c.data_digest), text(given));
  if (c.audit.every == 0) return {};
  if (const std::string given = network_sha256(base); c.audit.base != given)
    return differ("base network", c.audit.base, given);
  if (const std::string given = data_sha256(train); c.audit.data != given)
    return differ("data set", c.audit.data, given);
  return {};
}

// A header may say what no run can be.
void open_training(std::optional<FixedTraining>& training, const std::string& name,
                   const RunConfig& config, const QuantizedNetwork& base, const Dataset& train,
                   const DeviceOpener& open, const FixedOptions& how) {
  try {
    check_options(config.forward, train.size());
    training.emplace(base, config, train, open, how);
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::input && e.kind() != ErrorKind::usage) throw;
    throw Error(ErrorKind::journal, fmt::format("{}: header: config: {}", name, e.what()));
  }
}

}  // namespace

AuditOutcome audit_journal(const QuantizedNetwork& base, const Dataset& train,
                           const AuditOptions& options, const DeviceOpener& open,
                           const FixedOptions& how, const ProgressOptions& progress) {
  const std::string name = options.journal.string();
  if (is_readout_journal(options.journal))
    throw Error(
        ErrorKind::usage,
        fmt::format("{}: a journal of readouts, expected one of forward gradients (readouts "
                    "are confirmed by the same command again: it writes the same bytes)",
                    name));
  const Journal journal =
      read_journal(options.journal, {.records = options.steps.value_or(UINT32_MAX)});
  require_current_rule(journal, name);
  warn_of_damage(name, journal.damage, journal.file_bytes, journal.valid_bytes);
  const RunConfig& config = journal.config;
  if (!options.digest.empty() && (config.audit.every == 0 || options.steps))
    throw Error(ErrorKind::usage,
                fmt::format("a digest is given, expected {}",
                            options.steps ? "all steps with it"
                                          : name + " to have been written with --audit-every"));
  const auto count = static_cast<std::uint32_t>(journal.records.size());
  if (options.steps && count < *options.steps)
    throw Error(ErrorKind::usage,
                fmt::format("steps is {}, but {} has {}", *options.steps, name, count));

  AuditOutcome out;
  out.of = config.steps();
  out.digest = journal.digest;
  out.why = start_difference(config, base, train);
  if (!out.why.empty()) return out;

  std::optional<FixedTraining> training;
  open_training(training, name, config, base, train, open, how);
  Progress bar("auditing", count, progress);
  for (const JournalRecord& record : journal.records) {
    stop_if_asked();
    // Done again, not taken from the record: what is measured before the first step, too.
    out.why = difference(record, training->run().step());
    if (!out.why.empty()) {
      out.step = out.steps;
      return out;
    }
    if (config.audit.every != 0 && out.steps % config.audit.every == 0) ++out.weights_checked;
    ++out.steps;
    bar.add();
  }
  bar.finish();
  const QuantizedNetwork network = training->target().network();
  out.weights_hash = weights_hash(network);
  if (!options.digest.empty() && options.digest != journal.digest) {
    out.why = fmt::format(
        "its {} steps are those of the run, but it ends in SHA-256 {}, expected "
        "{}: steps are missing or were added",
        count, journal.digest, options.digest);
  } else if (options.result && network_digest(*options.result) != network_digest(network)) {
    out.why = fmt::format("the result has weights {:016x}, expected {:016x}",
                          weights_hash(*options.result), out.weights_hash);
  }
  out.confirmed = out.why.empty();
  return out;
}

}  // namespace lastmile
