// SPDX-License-Identifier: Apache-2.0
#include "sw/app/audit.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <nlohmann/json.hpp>

#include "sw/app/readout_header.hpp"
#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/trainer/fixed_training.hpp"
#include "sw/trainer/header_fields.hpp"
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
    training.emplace(base, config, train, open, how);
    check_options(config.forward, training->train_examples());
    training->choose_best();
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::input && e.kind() != ErrorKind::usage) throw;
    throw Error(ErrorKind::journal, fmt::format("{}: header: config: {}", name, e.what()));
  }
}

// What is left to say once every step is confirmed.
void judge_end(AuditOutcome& out, const AuditOptions& options, const QuantizedNetwork& network) {
  out.weights_hash = weights_hash(network);
  if (options.digest && *options.digest != out.digest) {
    out.why = fmt::format(
        "its {} steps are those of the run, but it ends in SHA-256 {}, expected "
        "{}: steps are missing or were added",
        out.steps, out.digest, *options.digest);
  } else if (options.result && network_digest(*options.result) != network_digest(network)) {
    out.why = fmt::format("the result has weights {:016x}, expected {:016x}",
                          weights_hash(*options.result), out.weights_hash);
  }
  out.confirmed = out.why.empty();
}

void require_steps(const AuditOptions& options, std::uint32_t count) {
  if (options.steps && count < *options.steps)
    throw Error(ErrorKind::usage, fmt::format("steps is {}, but {} has {}", *options.steps,
                                              options.journal.string(), count));
}

// Bit for bit: NaN is equal to itself.
bool same(double a, double b) {
  return std::bit_cast<std::uint64_t>(a) == std::bit_cast<std::uint64_t>(b);
}

std::string difference(const ReadoutSnapshot& found, const ReadoutSnapshot& expected) {
  if (found.step != expected.step)
    return fmt::format("the snapshot is of step {}, expected {}", found.step, expected.step);
  if (found.weights.size() != expected.weights.size())
    return fmt::format("{} weights, expected {}", found.weights.size(), expected.weights.size());
  for (std::size_t i = 0; i < found.weights.size(); ++i)
    if (found.weights[i] != expected.weights[i])
      return fmt::format("weight {} is {}, expected {}", i, found.weights[i], expected.weights[i]);
  if (!same(found.loss, expected.loss))
    return fmt::format("loss is {}, expected {}", found.loss, expected.loss);
  if (!same(found.held_loss, expected.held_loss))
    return fmt::format("held-out loss is {}, expected {}", found.held_loss, expected.held_loss);
  if (found.held_correct != expected.held_correct)
    return fmt::format("held-out correct answers are {}, expected {}", found.held_correct,
                       expected.held_correct);
  return {};
}

std::string difference(const ReadoutChoice& found, const ReadoutChoice& expected) {
  if (found.rate != expected.rate)
    return fmt::format("the chosen rate is number {}, expected {}", found.rate, expected.rate);
  if (!std::equal(found.losses.begin(), found.losses.end(), expected.losses.begin(),
                  expected.losses.end(), same))
    return fmt::format("losses of the rates are {}, expected {}", found.losses, expected.losses);
  return {};
}

// The run of a journal of readouts, from its search of the rate on, beside what the journal has.
class ReadoutAudit {
 public:
  ReadoutAudit(const QuantizedNetwork& base, const Dataset& train, const AuditOptions& options,
               const DeviceOpener& open, const FixedOptions& how)
      : base_(base),
        train_(train),
        options_(options),
        open_(open),
        how_(how),
        name_(options.journal.string()),
        journal_(read_readout_journal(options.journal)),
        run_(parse_readout_header(journal_.header, name_)) {}

  AuditOutcome run(const ProgressOptions& progress) {
    warn_of_damage(name_, journal_.damage, journal_.file_bytes, journal_.valid_bytes);
    if (options_.digest && options_.steps)
      throw Error(ErrorKind::usage, "a digest is given, expected all steps with it");
    require_steps(options_, journal_.snapshots.empty() ? 0 : journal_.snapshots.back().step);
    const ReadoutRunOptions& r = run_.options.run;
    out_.of = r.all_steps();
    out_.digest = journal_.digest;
    const nlohmann::json start =
        readout_header(base_, train_, run_.options, run_.largest_rate, run_.inner);
    out_.why = header_difference(journal_.header, start);
    if (!out_.why.empty()) return out_;

    const ReadoutSplit split = split_records(train_, r.seed);
    std::optional<FixedReadout> target;
    try {
      check_options(r, split.train);
      FixedOptions fixed = how_;
      fixed.batch = r.batch;
      fixed.distribution = run_.options.fixed.distribution;
      target.emplace(make_readout_network(base_, run_.options.readout).network, train_, split,
                     run_.largest_rate, open_, fixed, run_.options.memory_bytes, run_.inner);
    } catch (const Error& e) {
      if (e.kind() != ErrorKind::input && e.kind() != ErrorKind::usage) throw;
      fail_journal(name_, fmt::format("header: {}", e.what()));
    }
    follow(*target, split, progress);
    if (out_.why.empty()) judge_end(out_, options_, target->network());
    return out_;
  }

 private:
  struct Enough {};  // the rest is not in the journal, not asked for, or wrong already

  void follow(FixedReadout& target, const ReadoutSplit& split, const ProgressOptions& progress) {
    const std::uint32_t last = last_step();
    const ReadoutRunOptions& r = run_.options.run;
    Progress bar("auditing", std::int64_t{last} + std::int64_t{r.rates} * search_steps(r),
                 progress);
    ReadoutCallbacks callbacks;
    callbacks.on_step = [&](const ReadoutReport&) {
      stop_if_asked();
      bar.add();
    };
    callbacks.on_choice = [&](const ReadoutChoice& choice) {
      if (!journal_.choice) throw Enough();
      out_.why = difference(*journal_.choice, choice);
      if (!out_.why.empty() || journal_.snapshots.empty()) throw Enough();
    };
    std::size_t at = 0;
    callbacks.on_snapshot = [&](const ReadoutSnapshot& s) {
      const ReadoutSnapshot& found = journal_.snapshots[at];
      out_.why = difference(found, s);
      if (!out_.why.empty()) {
        out_.step = s.step;
        throw Enough();
      }
      out_.steps = s.step;
      ++out_.weights_checked;
      ++at;
      const bool to_the_end = journal_.end && !options_.steps;
      if (to_the_end && s.step == out_.of) return;
      if (at != journal_.snapshots.size() && journal_.snapshots[at].step <= last) return;
      if (to_the_end) out_.why = fmt::format("it has an end after step {} of {}", s.step, out_.of);
      throw Enough();
    };
    try {
      const ReadoutOutcome done =
          train_readout(target, split, run_.options.run, nullptr, {}, callbacks);
      out_.best_step = done.best_step;
      if (at != journal_.snapshots.size())
        out_.why =
            fmt::format("a snapshot of step {} follows the last step", journal_.snapshots[at].step);
      else if (*journal_.end != done.best_step)
        out_.why = fmt::format("its result is that of step {}, expected {}", *journal_.end,
                               done.best_step);
    } catch (const Enough&) {
    }
    bar.finish();
  }

  // No snapshot after this step is looked at.
  [[nodiscard]] std::uint32_t last_step() const {
    if (options_.steps) return *options_.steps;
    return journal_.snapshots.empty() ? 0 : journal_.snapshots.back().step;
  }

  const QuantizedNetwork& base_;
  const Dataset& train_;
  const AuditOptions& options_;
  const DeviceOpener& open_;
  const FixedOptions& how_;
  std::string name_;
  ReadoutJournal journal_;
  ReadoutRun run_;
  AuditOutcome out_;
};

}  // namespace

AuditOutcome audit_journal(const QuantizedNetwork& base, const Dataset& train,
                           const AuditOptions& options, const DeviceOpener& open,
                           const FixedOptions& how, const ProgressOptions& progress) {
  const std::string name = options.journal.string();
  if (is_readout_journal(options.journal))
    return ReadoutAudit(base, train, options, open, how).run(progress);
  const Journal journal =
      read_journal(options.journal, {.records = options.steps.value_or(UINT32_MAX)});
  require_current_rule(journal, name);
  warn_of_damage(name, journal.damage, journal.file_bytes, journal.valid_bytes);
  const RunConfig& config = journal.config;
  if (options.digest && (config.audit.every == 0 || options.steps))
    throw Error(ErrorKind::usage,
                fmt::format("a digest is given, expected {}",
                            options.steps ? "all steps with it"
                                          : name + " to have been written with --audit-every"));
  const auto count = static_cast<std::uint32_t>(journal.records.size());
  require_steps(options, count);

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
  // A journal without an end has no best point yet: its weights are those after all of its steps.
  const QuantizedNetwork network = journal.end ? training->result() : training->target().network();
  if (journal.end) out.best_step = journal.end->best_step;
  out.why = training->run().end_difference(journal);
  if (out.why.empty() && options.result && !options.steps && config.hold_out != 0 && !journal.end)
    out.why = fmt::format("it has no end after its {} steps, expected one where there is a result",
                          count);
  if (out.why.empty()) judge_end(out, options, network);
  return out;
}

}  // namespace lastmile
