// SPDX-License-Identifier: Apache-2.0
#include "sw/app/cosim.hpp"

#include <fmt/format.h>

#include <chrono>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/json_text.hpp"
#include "sw/base/stop.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/trainer/fixed_training.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

// `examples`: to adapt on.
QuantizedNetwork base_network(CosimOptions& o, const Task& task, std::size_t examples,
                              const Say& say, const ProgressOptions& progress) {
  if (!o.input.empty()) return load_integers(o.input);
  if (!o.journal.empty())
    throw Error(ErrorKind::usage, "--journal without --input: expected the network it starts from");
  if (o.run.pretrain.epochs == 0) o.run.pretrain.epochs = 1;  // any weights serve to compare bits
  NetworkSource source = load_source(o.run.network, shape_of(task));
  check_adapt_options(source.network, o.run.adapt);
  check_options(o.run.adapt.forward, examples);
  const Pretrained p = prepared(starting_point(task, std::move(source), {}, o.run.pretrain,
                                               o.run.task.threads, say, progress),
                                task, o.run.quantize, o.run.task.threads, say);
  QuantizedNetwork q = integers_of(p, task, o.run.quantize, o.run.task.threads);
  o.input = o.out / "base.lmq";
  save_quantized(o.input, q);
  return q;
}

// Steps 0 .. from + steps on the model, with a journal.
Journal model_journal(CosimOptions& o, const QuantizedNetwork& base, const Dataset& train,
                      const DeviceOpener& model) {
  AdaptOptions adapt = o.run.adapt;
  adapt.forward.steps = o.from + o.steps;
  check_options(adapt.forward, train.size());
  const std::vector<TensorTraining> plan = plan_training(base, adapt, train, model);
  o.journal = o.out / "journal.lmj";
  FixedTraining training(base, run_config(base, train, adapt, plan), train, model, adapt.fixed);
  training.run().start_journal(o.journal);
  training.run().run();
  return read_journal(o.journal);
}

// What every run of steps of this journal needs.
struct Given {
  const CosimOptions& o;
  const QuantizedNetwork& base;
  const Journal& journal;
  const Dataset& train;
  const DeviceOpener& model;

  // The network before `step`.
  [[nodiscard]] QuantizedNetwork before(std::uint32_t step, const ProgressOptions& show) const {
    if (step == 0) return base;
    Progress bar("replaying", step, show);
    return replay_network(base, journal, o.journal.string(), step, model, how(),
                          [&](const JournalRecord&) { bar.add(); });
  }
  [[nodiscard]] FixedOptions how() const {
    FixedOptions f = o.run.adapt.fixed;
    f.cache_features = false;  // whole passes are what is compared
    return f;
  }
};

// The steps before `step` are in `training`'s weights already.
void start_at(FixedTraining& training, const Journal& journal, std::uint32_t step) {
  if (step != 0) training.run().go_on_after(journal.records[step - 1]);
}

// The waveform of the cycles before a difference: the same step again, on the build that can dump.
// Returns what to tell the user.
std::string dump_waveform(const Given& given, const OpenBackend& open, std::uint32_t step,
                          std::uint64_t cycle) {
  constexpr std::uint64_t kBefore = 2000, kAfter = 100;
  const std::filesystem::path file = given.o.out / "difference.fst";
  const std::uint64_t first = cycle > kBefore ? cycle - kBefore : 0;
  const std::string& extra = given.o.backend_options;
  const std::string options =
      fmt::format("{}{}trace={},trace_from={},trace_cycles={}", extra, extra.empty() ? "" : ",",
                  file.string(), first, cycle - first + kAfter);
  try {
    FixedTraining training(given.before(step, {}), given.journal.config, given.train, open(options),
                           given.how());
    start_at(training, given.journal, step);
    training.run().verify(given.journal.records[step]);
  } catch (const Error& e) {
    if (e.kind() == ErrorKind::mismatch)
      return fmt::format("waveform of cycles {} to {} of the step: {}", first, cycle + kAfter,
                         file.string());
    return fmt::format("no waveform: {}", e.what());
  }
  return "no waveform: the step alone has no difference (a fault of one run, or state from before)";
}

// Names of the commands, which only the host knows.
void name_commands(json& report, const Program& program) {
  if (!report.contains("phases")) return;
  for (auto& [phase, commands] : report["phases"].items()) {
    const std::vector<Command>& names = phase == "update" ? program.update : program.forward;
    for (json& c : commands) {
      const auto at = c.at("command").get<std::size_t>();
      if (at < names.size()) c["name"] = names[at].name;
    }
  }
}

}  // namespace

CosimOutcome cosimulate(CosimOptions& o, const DeviceOpener& model, const OpenBackend& open,
                        const ReplayLine& replay_line, const Say& say,
                        const ProgressOptions& progress) {
  if (o.steps > UINT32_MAX - o.from)
    throw Error(ErrorKind::usage, fmt::format("from is {} and steps is {}, expected a sum below "
                                              "2^32",
                                              o.from, o.steps));
  make_folder(o.out);
  make_folder(o.report.parent_path());
  use_network(o.run.task, o.run.network, o.input, say);
  Task task = load_task(o.run.task);
  if (o.run.speaker && task.speakers.empty())
    throw Error(ErrorKind::usage, fmt::format("speaker is {}, but task {} has no speakers",
                                              *o.run.speaker, task.name));
  keep_normal(o.input.empty() ? load_source(o.run.network, shape_of(task)).network
                              : load_integers(o.input).network,
              task);
  const Dataset train =
      !task.speakers.empty() ? speaker_data(task, o.run.speaker.value_or(0)).adapt : task.adapt;
  const QuantizedNetwork base = base_network(o, task, train.size(), say, progress);
  const Journal journal = o.journal.empty()
                              ? model_journal(o, base, train, model)
                              : read_journal(o.journal, {.records = o.from + o.steps});
  const std::string name = o.journal.string();
  require_current_rule(journal, name);
  require_same_base(name, journal.config, base);
  require_same_data(name, journal.config, train);
  const auto available = static_cast<std::uint32_t>(journal.records.size());
  if (o.from >= available || o.steps > available - o.from)
    throw Error(ErrorKind::usage, fmt::format("steps {} to {}, but {} has {}", o.from,
                                              std::uint64_t{o.from} + o.steps, name, available));

  const Given given{o, base, journal, train, model};
  FixedTraining training(given.before(o.from, progress), journal.config, train,
                         open(o.backend_options), given.how());
  start_at(training, journal, o.from);
  Progress bar("cosimulation", o.steps, progress);
  const ForwardGradientOptions& forward = journal.config.forward;
  CosimOutcome outcome;
  json& report = outcome.report;
  report = {{"backend", o.backend},         {"task", task.name},
            {"network", base.network.name}, {"weight_type", name_of(base.weight_type)},
            {"batch", forward.batch},       {"pairs", forward.pairs},
            {"seed", forward.seed},         {"from", o.from},
            {"predicted_cycles", nullptr}};
  const auto begin = std::chrono::steady_clock::now();
  std::uint32_t done = 0;
  try {
    for (; done < o.steps; ++done) {
      stop_if_asked();
      training.run().verify(journal.records[o.from + done]);
      bar.add();
    }
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::mismatch && e.kind() != ErrorKind::device) throw;
    outcome.failure = e.what();
    outcome.kind = e.kind();
  }
  bar.finish();
  report["steps"] = done;
  report["wall_seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  FixedTarget& target = training.target();
  if (const std::string measured = target.device().report(); !measured.empty())
    report.update(json::parse(measured));
  name_commands(report, target.driver().program());
  if (!outcome.failure.empty()) {
    outcome.replay = replay_line(o, o.from + done);
    report["failure"] = outcome.failure;
    report["replay"] = outcome.replay;
    if (o.backend == "lockstep" && report.contains("difference")) {
      outcome.waveform =
          dump_waveform(given, open, o.from + done,
                        report["difference"].at("cycle_in_step").get<std::uint64_t>());
      report["waveform"] = outcome.waveform;
    }
  }
  write_file_atomic(o.report, json_text(report, 1) + "\n");
  return outcome;
}

}  // namespace lastmile
