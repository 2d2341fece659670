// SPDX-License-Identifier: Apache-2.0
// One training run, whatever its method and its backend: it starts or continues a journal, replays,
// steps, verifies and stops. The program, cosimulation, the SystemC platform and the tests all
// train through this.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>

#include "sw/trainer/held_out.hpp"
#include "sw/trainer/method.hpp"

namespace lastmile {

// Called after a step: its record is in the journal and its update is done.
using StepCallback = std::function<void(const JournalRecord&)>;

// When to stop before the last step of the configuration.
struct RunLimits {
  std::uint32_t until = UINT32_MAX;  // steps since the start of the run
  // Asked after every step (a signal, a deadline); without it a signal ends the run as Stopped.
  std::function<bool()> stop = {};
};
enum class RunEnd {
  finished,  // all steps of the configuration are done
  diverged,  // BestPoint::diverged(), after fewer steps or all
  limit,     // RunLimits::until
  stopped,   // RunLimits::stop
};

// The first field in which two records of a step differ, for people; empty if none does.
[[nodiscard]] std::string difference(const JournalRecord& found, const JournalRecord& expected);

class TrainingRun {
 public:
  // `method` must outlive this, and its weights are those of the configuration's start. Without a
  // journal nothing is kept.
  TrainingRun(TrainingMethod& method, RunConfig config);

  // Called before steps whose record is to hold a digest of the weights (AuditConfig).
  void digest_weights(std::function<std::uint64_t()> digest) { digest_ = std::move(digest); }

  // Measures the held-out examples here, at the start, and at every point of the run, replayed ones
  // included. Called before anything else.
  void hold_out(HeldOut held);
  // The points so far; none unless examples are held out.
  [[nodiscard]] const std::optional<BestPoint>& points() const { return points_; }
  // All records of `journal` are done: how its end differs from what this run would end with; empty
  // where it does not, or examples are not held out.
  [[nodiscard]] std::string end_difference(const Journal& journal) const;

  // From here on every record is in this new file before its update starts. An existing one is
  // replaced.
  void start_journal(const std::filesystem::path& path);
  // The same with the journal at `path`, if there is one: Error(journal) unless it is of this run;
  // its steps are replayed, its torn or lost tail is cut off (with `salvage` all after the first
  // damaged record). Else a new one is started. Returns the number of steps that are done;
  // `replayed` is called for each of them. Error(journal), too, if it ends as this run would not.
  std::uint32_t continue_journal(const std::filesystem::path& path,
                                 const StepCallback& replayed = {}, bool salvage = false);
  // The file is everybody's again.
  void close_journal() { writer_.reset(); }
  // The next step from a record, without a pass. Error(journal) if it is not the next one.
  void replay(const JournalRecord& record);
  // The steps up to that of `last` are done: the method's weights are those after it.
  void go_on_after(const JournalRecord& last);

  // The next step: passes, record, journal, update.
  JournalRecord step();
  // The next step, which must make this very record: Error(mismatch) names the field that differs.
  // What a run measures before its first step is taken from the record.
  void verify(const JournalRecord& record);
  // Steps until the configuration's end, a limit, or until it diverged; then the journal is on
  // stable storage, with its end if the run came to it.
  RunEnd run(const RunLimits& limits = {}, const StepCallback& callback = {});

  [[nodiscard]] std::uint32_t next_step() const { return next_; }
  [[nodiscard]] const RunConfig& config() const { return config_; }

 private:
  [[nodiscard]] JournalRecord make();
  void finish(const JournalRecord& record);
  void measure();
  [[nodiscard]] JournalEnd end() const;

  TrainingMethod& method_;
  RunConfig config_;
  std::optional<JournalWriter> writer_;
  std::function<std::uint64_t()> digest_;
  std::optional<HeldOut> held_;
  std::optional<BestPoint> points_;
  std::uint32_t next_ = 0;
  bool ended_ = false;  // the journal has its end
  bool begun_ = false;  // the method has what it carries from step to step
};

}  // namespace lastmile
