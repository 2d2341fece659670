// SPDX-License-Identifier: Apache-2.0
// `lastmile cosim`: training steps on a backend that compares itself with the model (lockstep),
// from any step of a journal. The model goes ahead: it writes the journal, or replays a given one
// up to the first step wanted; then the backend runs whole steps, and its coefficients must be the
// journal's.
#include <fmt/format.h>

#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/cli/commands.hpp"
#include "sw/quantizer/file.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

struct State {
  CommonOptions common;
  RunOptions run;
  std::filesystem::path input, journal, out = "build/cosim", report = "build/reports/cosim.json";
  std::uint32_t from = 0, steps = 20;
};

// What a journal says of its run.
struct Plan {
  ForwardGradientOptions forward;
  FixedOptions fixed;
  std::vector<TensorTraining> tensors;
};
Plan plan_of(const Journal& journal, const std::string& name, const FixedOptions& fixed) {
  Plan p;
  p.fixed = fixed;
  try {
    const json& c = journal.header.config;
    for (const json& t : c.at("tensors"))
      p.tensors.push_back({t.at("tensor").get<std::uint32_t>(), t.at("eps").get<double>(),
                           t.at("step").get<double>(), t.at("keep").get<int>()});
    p.fixed.distribution = c.at("distribution").get<std::string>() == "SIGN"
                               ? spec::Distribution::sign_
                               : spec::Distribution::gaussian_;
    p.fixed.mask_seed = c.at("mask_seed").get<std::uint64_t>();
    p.forward.batch = c.at("batch").get<int>();
    p.forward.estimator = parse_estimator(c.at("estimator").get<std::string>());
  } catch (const json::exception& e) {
    throw Error(ErrorKind::journal, fmt::format("{}: header config: {}", name, e.what()));
  }
  p.forward.seed = journal.header.seed;
  p.forward.pairs = journal.header.pairs;
  p.fixed.batch = p.forward.batch;
  p.fixed.cache_features = false;  // whole passes are what is compared
  return p;
}

QuantizedNetwork base_network(State& s, const Task& task) {
  if (!s.input.empty()) return load_quantized(s.input);
  if (!s.journal.empty())
    throw Error(ErrorKind::usage, "--journal without --input: expected the network it starts from");
  if (s.run.pretrain.epochs == 0) s.run.pretrain.epochs = 1;  // any weights serve to compare bits
  const Pretrained p = pretrain(task, load_network(s.run.network, task), s.run.pretrain,
                                s.common.thread_count(), s.common.say(), s.common.progress());
  QuantizedNetwork q = quantize_stage(p, task, s.run.quantize, s.common.thread_count());
  s.input = s.out / "base.lmq";
  save_quantized(s.input, q);
  return q;
}

// Steps 0 .. from + steps on the model, with a journal.
Journal model_journal(State& s, const QuantizedNetwork& base, const Dataset& train,
                      const DeviceOpener& model) {
  AdaptOptions o = s.run.adapt;
  o.forward.steps = s.from + s.steps;
  validate(o.forward, train.size());
  const std::vector<TensorTraining> plan = plan_training(base, o, train, model);
  s.journal = s.out / "journal.lmj";
  JournalWriter writer = JournalWriter::create(s.journal, journal_header(base, train, o, plan));
  FixedOptions fixed = o.fixed;
  fixed.batch = o.forward.batch;
  FixedTarget target(base, plan, train, model, fixed);
  train_forward_gradient(target, train.size(), o.forward, {}, &writer, {});
  return read_journal(s.journal);
}

// One step; its coefficients must be those of the record.
void lockstep_step(FixedTarget& target, const Plan& plan, const JournalRecord& record,
                   std::span<const std::uint32_t> batch) {
  target.device().annotate(fmt::format("step {}", record.step));
  target.set_batch(batch);
  std::vector<std::uint64_t> seeds;
  std::vector<double> differences;
  for (int j = 0; j < plan.forward.pairs; ++j) {
    const std::uint64_t seed = pair_seed(plan.forward.seed, plan.forward.pairs, record.step, j);
    const double plus = target.loss(spec::Polarity::plus_, seed);
    differences.push_back(plus - target.loss(spec::Polarity::minus_, seed));
    seeds.push_back(seed);
  }
  if (coefficients(plan.forward.estimator, differences, record.scale) != record.coefficients)
    throw Error(ErrorKind::mismatch,
                fmt::format("step {}: the coefficients are not those of the journal", record.step));
  target.update(seeds, record.coefficients, record.step_register);
}

std::string replay_line(const State& s, std::uint32_t step) {
  std::string line = fmt::format(
      "lastmile cosim --backend {} --input {} --journal {} --from {} --steps 1 --shift {}",
      s.common.backend, s.input.string(), s.journal.string(), step, s.run.task.shift);
  if (!s.run.task.data.empty()) line += fmt::format(" --data {}", s.run.task.data.string());
  line += fmt::format(" --seed {} --adapt-examples {}", s.common.seed, s.run.task.adapt);
  if (!s.common.hardware.empty()) line += fmt::format(" --hardware {}", s.common.hardware);
  if (s.run.speaker) line += fmt::format(" --speaker {}", *s.run.speaker);
  const std::string& extra = s.common.backend_options;
  return line + fmt::format(" --backend-options {}{}trace={}", extra, extra.empty() ? "" : ",",
                            (s.out / "cosim.fst").string());
}

// What every run of steps of this journal needs.
struct Run {
  const QuantizedNetwork& base;
  const Journal& journal;
  const Plan& plan;
  const Dataset& train;
  const DeviceOpener& model;
};

// The waveform of the cycles before a difference: the same step again, on the build that can dump.
// Returns what to tell the user.
std::string dump_waveform(const State& s, const Run& run, std::uint32_t step, std::uint64_t cycle) {
  constexpr std::uint64_t kBefore = 2000, kAfter = 100;
  const std::filesystem::path file = s.out / "difference.fst";
  const std::uint64_t first = cycle > kBefore ? cycle - kBefore : 0;
  CommonOptions common = s.common;
  common.backend_options += fmt::format("{}trace={},trace_from={},trace_cycles={}",
                                        common.backend_options.empty() ? "" : ",", file.string(),
                                        first, cycle - first + kAfter);
  try {
    const QuantizedNetwork at =
        step == 0 ? run.base
                  : replay_journal(run.base, s.journal, step, run.model, common.thread_count(), {});
    FixedTarget target(at, run.plan.tensors, run.train, find_backend(common, run.model),
                       run.plan.fixed);
    BatchSampler sampler(run.plan.forward.seed, run.train.size(), run.plan.forward.batch);
    lockstep_step(target, run.plan, run.journal.records[step], sampler.batch(step));
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

int cosim(State& s, const DeviceOpener& model) {
  std::filesystem::create_directories(s.out);
  if (s.report.has_parent_path()) std::filesystem::create_directories(s.report.parent_path());
  const Task task = load_task(s.run.task);
  Dataset train = task.adapt;

  if (task.kind == TaskKind::audio) train = speaker_data(task, s.run.speaker.value_or(0)).adapt;
  QuantizedNetwork network = base_network(s, task);
  const Journal journal =
      s.journal.empty() ? model_journal(s, network, train, model) : read_journal(s.journal);
  if (journal.header.base_digest != network_digest(network) ||
      journal.header.config.value("data_digest", std::uint64_t{0}) != data_digest(train))
    throw Error(ErrorKind::journal,
                fmt::format("{}: it is of another network or of other data", s.journal.string()));
  const auto available = static_cast<std::uint32_t>(journal.records.size());
  if (s.from >= available || s.steps > available - s.from)
    throw Error(ErrorKind::usage, fmt::format("steps {} to {}, but {} has {}", s.from,
                                              s.from + s.steps, s.journal.string(), available));
  const Plan plan = plan_of(journal, s.journal.string(), s.run.adapt.fixed);
  const QuantizedNetwork base = network;
  if (s.from != 0)
    network = replay_journal(network, s.journal, s.from, model, s.common.thread_count(),
                             s.common.progress());

  FixedTarget target(network, plan.tensors, train, find_backend(s.common, model), plan.fixed);
  BatchSampler sampler(plan.forward.seed, train.size(), plan.forward.batch);
  Progress bar("cosimulation", s.steps, s.common.progress());
  json report = {{"backend", s.common.backend},     {"task", task.name},
                 {"network", network.network.name}, {"weight_type", name_of(network.weight_type)},
                 {"batch", plan.forward.batch},     {"pairs", plan.forward.pairs},
                 {"seed", plan.forward.seed},       {"from", s.from},
                 {"predicted_cycles", nullptr}};
  const auto begin = std::chrono::steady_clock::now();
  std::uint32_t done = 0;
  std::string failure, waveform;
  try {
    for (; done < s.steps; ++done) {
      const std::uint32_t k = s.from + done;
      lockstep_step(target, plan, journal.records[k], sampler.batch(k));
      bar.add();
    }
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::mismatch && e.kind() != ErrorKind::device) throw;
    failure = e.what();
  }
  bar.finish();
  report["steps"] = done;
  report["wall_seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (const std::string measured = target.device().report(); !measured.empty())
    report.update(json::parse(measured));
  name_commands(report, target.driver().program());
  if (!failure.empty()) {
    report["failure"] = failure;
    report["replay"] = replay_line(s, s.from + done);
    if (s.common.backend == "lockstep" && report.contains("difference")) {
      waveform = dump_waveform(s, {base, journal, plan, train, model}, s.from + done,
                               report["difference"].at("cycle_in_step").get<std::uint64_t>());
      report["waveform"] = waveform;
    }
  }
  write_file_atomic(s.report, report.dump(1) + "\n");
  if (s.common.json) {
    fmt::print("{}\n", report.dump(2));
  } else if (failure.empty()) {
    const std::string prediction =
        report.at("predicted_cycles").is_null()
            ? "no prediction"
            : fmt::format("predicted: {}, {:+.2f} %",
                          report["predicted_cycles"].get<std::uint64_t>(),
                          report.value("prediction_error", 0.0));
    fmt::print(
        "{} steps, {} cycles ({}), {} values compared, {} differences, utilisation {:.3f}, "
        "{:.0f} cycles/s ({:.0f} per CPU second)\nreport: {}\n",
        done, report.value("cycles", std::uint64_t{0}), prediction,
        report.value("compared", std::uint64_t{0}), report.value("differences", std::uint64_t{0}),
        report.value("utilisation", 0.0), report.value("cycles_per_second", 0.0),
        report.value("cycles_per_cpu_second", 0.0), s.report.string());
  }
  if (failure.empty()) return 0;
  fmt::print(stderr, "lastmile: {}\n{}{}replay with a waveform: {}\n", failure, waveform,
             waveform.empty() ? "" : "\n", replay_line(s, s.from + done));
  return static_cast<int>(ErrorKind::mismatch);
}

}  // namespace

Subcommand cosim_command(CLI::App& app, const DeviceOpener& model) {
  auto* sub = app.add_subcommand("cosim",
                                 "training steps with model and RTL in lockstep, from the start or "
                                 "from any step of a journal");
  auto s = std::make_shared<State>();
  s->common.backend = "lockstep";
  s->run.adapt.forward.pairs = 2;
  s->run.adapt.forward.batch = 16;
  add_common(*sub, s->common);
  add_task(*sub, s->run);
  add_pretrain(*sub, s->run);
  add_quantize(*sub, s->run);
  add_adapt(*sub, s->run);
  sub->remove_option(sub->get_option("--steps"));
  sub->add_option("--steps", s->steps, "steps to run in lockstep")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  sub->add_option("--from", s->from, "first of them; those before are replayed on the model")
      ->capture_default_str();
  sub->add_option("--input", s->input,
                  "quantized network to start from (default: a short pre-training)");
  sub->add_option("--journal", s->journal,
                  "take the run from this journal (with --input), not from a run of the model");
  sub->add_option("--out", s->out, "folder of network, journal and waveform")
      ->capture_default_str();
  sub->add_option("--report", s->report, "report to write")->capture_default_str();
  return {sub, [s, model] {
            settle(s->run, s->common);
            return cosim(*s, model);
          }};
}

}  // namespace lastmile
