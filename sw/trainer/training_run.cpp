// SPDX-License-Identifier: Apache-2.0
#include "sw/trainer/training_run.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"

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

void TrainingRun::hold_out(HeldOut held) {
  points_.emplace(config_.steps(), held.examples, held.classes, held.elements);
  held_ = std::move(held);
  measure();
}

void TrainingRun::measure() {
  if (held_ && points_->is_point(next_) && points_->take(next_, held_->loss())) held_->keep();
}

std::string TrainingRun::end_difference(const Journal& journal) const {
  if (!points_) return {};
  if (points_->diverged() && points_->last() < next_)
    return fmt::format("it goes on after step {}, where the run had diverged", points_->last());
  if (!journal.end) return {};
  if (!points_->diverged() && next_ < config_.steps())
    return fmt::format("it ends after step {} of {}, but the run had not diverged", next_,
                       config_.steps());
  if (journal.end->best_step != points_->best_step())
    return fmt::format("its best step is {}, expected {}", journal.end->best_step,
                       points_->best_step());
  if (*journal.end != end())
    return fmt::format(
        "losses of its held-out examples are {} at the start and {} at the best "
        "step, expected {} and {}",
        journal.end->start_loss, journal.end->best_loss, points_->start_loss(),
        points_->best_loss());
  return {};
}

JournalEnd TrainingRun::end() const {
  return {points_->best_step(), points_->best_loss(), points_->start_loss()};
}

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
  if (points_)
    if (const std::string why = end_difference(journal); !why.empty())
      throw Error(ErrorKind::journal, fmt::format("{}: {}", path.string(), why));
  ended_ = journal.end.has_value();
  return next_;
}

void TrainingRun::replay(const JournalRecord& record) {
  if (record.step != next_)
    throw Error(ErrorKind::journal,
                fmt::format("record of step {}, expected {}", record.step, next_));
  method_.apply(record);
  go_on_after(record);
  measure();
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
  measure();
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
  const auto diverged = [&] { return points_ && points_->diverged(); };
  while (!ended_ && next_ < config_.steps() && !diverged()) {
    if (next_ >= limits.until) {
      end = RunEnd::limit;
      break;
    }
    if (!limits.stop) stop_if_asked();
    const JournalRecord record = step();
    if (callback) callback(record);
    if (limits.stop && limits.stop()) {
      end = RunEnd::stopped;
      break;
    }
  }
  if (end == RunEnd::finished) {
    if (diverged()) end = RunEnd::diverged;
    if (writer_ && points_ && !std::exchange(ended_, true)) writer_->append_end(this->end());
  }
  if (writer_) writer_->sync();
  return end;
}

}  // namespace lastmile
