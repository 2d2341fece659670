// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/training_run.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "sw/base/error.hpp"

namespace lastmile {
std::string difference(const JournalRecord& found, const JournalRecord& expected) {
  if (found == expected) return {};
  if (found.step != expected.step)
    return fmt::format("the record is of step {}, expected {}", found.step, expected.step);
  if (found.weights != expected.weights)
    return fmt::format("weights before it have digest {:016x}, expected {:016x}", found.weights,
                       expected.weights);
  if (found.coefficients != expected.coefficients)
    return fmt::format("coefficients are {}, expected {}", found.coefficients,
                       expected.coefficients);
  if (found.step_register != expected.step_register)
    return fmt::format("STEP is {:#x}, expected {:#x}", found.step_register,
                       expected.step_register);
  if (found.scale != expected.scale)
    return fmt::format("scale is {}, expected {}", found.scale, expected.scale);
  return fmt::format("loss sum is {}, expected {}", found.loss_sum, expected.loss_sum);
}

TrainingRun::TrainingRun(TrainingMethod& method, RunConfig config)
    : method_(method), config_(std::move(config)) {}

void TrainingRun::start_journal(const std::filesystem::path& path) {
  writer_ = JournalWriter::create(path, config_);
}

std::uint32_t TrainingRun::continue_journal(const std::filesystem::path& path,
                                            const StepCallback& replayed, bool salvage) {
  if (!std::filesystem::exists(path)) {
    start_journal(path);
    return next_;
  }
  const Journal journal = read_journal(path, {.salvage = salvage});
  require_same_run(path.string(), journal.config, config_);
  warn_of_damage(path.string(), journal.damage, journal.file_bytes, journal.valid_bytes);
  writer_ = JournalWriter::resume(path, journal);
  for (const JournalRecord& r : journal.records) {
    replay(r);
    if (replayed) replayed(r);
  }
  return next_;
}

void TrainingRun::replay(const JournalRecord& record) {
  if (record.step != next_)
    throw Error(ErrorKind::journal,
                fmt::format("record of step {}, expected {}", record.step, next_));
  method_.apply(record);
  go_on_after(record);
}

void TrainingRun::go_on_after(const JournalRecord& last) {
  method_.restore(last);
  begun_ = true;
  next_ = last.step + 1;
}

JournalRecord TrainingRun::make() {
  JournalRecord record = method_.step(next_);
  if (digest_ && config_.audit.every != 0 && next_ % config_.audit.every == 0)
    record.weights = digest_();
  return record;
}

void TrainingRun::finish(const JournalRecord& record) {
  if (writer_) writer_->append(record);
  method_.apply(record);
  ++next_;
}

JournalRecord TrainingRun::step() {
  if (!std::exchange(begun_, true)) method_.begin();
  JournalRecord record = make();
  finish(record);
  return record;
}

void TrainingRun::verify(const JournalRecord& record) {
  if (!std::exchange(begun_, true)) method_.restore(record);
  const JournalRecord mine = make();
  if (mine != record)
    throw Error(
        ErrorKind::mismatch,
        fmt::format("step {}: not what the journal has: {}", next_,
                    mine.step != record.step ? fmt::format("its record is of step {}", record.step)
                                             : difference(mine, record)));
  finish(record);
}

RunEnd TrainingRun::run(const RunLimits& limits, const StepCallback& callback) {
  RunEnd end = RunEnd::finished;
  while (next_ < config_.steps()) {
    if (next_ >= limits.until) {
      end = RunEnd::limit;
      break;
    }
    const JournalRecord record = step();
    if (callback) callback(record);
    if (limits.stop && limits.stop()) {
      end = RunEnd::stopped;
      break;
    }
  }
  if (writer_) writer_->sync();
  return end;
}

}  // namespace lastmile
