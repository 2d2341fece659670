// SPDX-License-Identifier: Apache-2.0
#include "sw/cli/commands.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "sw/app/apart.hpp"
#include "sw/app/origin.hpp"
#include "sw/app/ranges.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/stop.hpp"
#include "sw/base/text.hpp"
#include "sw/cli/accuracy_text.hpp"
#include "sw/cli/files.hpp"
#include "sw/cli/print.hpp"
#include "sw/golden/checkpoint.hpp"
#include "sw/golden/npz.hpp"
#include "sw/import/model.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/trainer/reconstruction.hpp"
#include "sw/trainer/statistics.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

// Options of one subcommand; shared so that the closures of CLI11 and of run() see the same object.
struct State {
  CommonOptions common;
  RunOptions run;
  std::filesystem::path input, output, journal, checkpoint;
  std::string method = "forward-gradient";
  bool resume = false, overwrite = false, salvage = false;
  std::size_t test_examples = 0;  // 0: all
  std::optional<std::uint32_t> steps;
};

void add_apart(CLI::App& app, RunOptions& o) {
  app.add_option("--apart", o.apart_points,
                 "points that fixed point may lose against float; beyond, the command stops")
      ->check(CLI::Range(0.0, 100.0))
      ->capture_default_str();
}

// The result of `adapt`, by either method.
template <class Result>
void print_adapted(const State& s, const Result& r, const Dataset& test, const Task& task) {
  if (!s.output.empty()) save_quantized(s.output, r.network);
  const std::vector<TensorFit> fit = range_fit_of(r.network, test, s.common.thread_count());
  if (s.common.json) {
    json j = {{"before", accuracy_json(r.before)},
              {"after", accuracy_json(r.after)},
              {"classes", task.class_names},
              {"data", {{"name", task.name}, {"shift", task.shift}, {"split", task.split}}},
              {"range_fit", fit_json(fit)},
              {"forward_passes", r.forward_passes},
              {"seconds", r.seconds},
              {"weights_hash", fmt::format("{:016x}", weights_hash(r.network))}};
    if constexpr (std::is_same_v<Result, FixedResult>) j.update(held_json(r.held));
    // What the model would say depends on threads and hardware parameters; a result does not.
    if (s.common.backend != "cmodel" && !r.device_report.empty())
      j["device"] = json::parse(r.device_report);
    print_json(j);
  } else {
    print_out("{}\n", fit_text(fit, "shifted test", s.run.saturation_warn));
    print_out("shifted test: {} before, {} after {} forward passes; weights {:016x}\n",
              accuracy_text(r.before), accuracy_text(r.after), r.forward_passes,
              weights_hash(r.network));
    print_out("{}", classes_text(task, {{"before", &r.before}, {"after", &r.after}}));
    if constexpr (std::is_same_v<Result, FixedResult>)
      if (r.held) print_out("{}\n", held_text(*r.held, s.run.adapt.forward.steps));
  }
}

// The exit code of a run that diverged or not; its results are written either way.
int report_divergence(const std::vector<std::string>& diverged) {
  for (const std::string& what : diverged)
    print_error(printable(fmt::format("lastmile: {}; try a smaller --step", what)) + "\n");
  return diverged.empty() ? 0 : static_cast<int>(ErrorKind::diverged);
}

// What an `adapt` starts from: --input, or the model that --network names.
struct AdaptationStart {
  QuantizedNetwork network;
  bool made = false;  // just now: of a float model, or by channel statistics

  // A replay starts from the same integers: they are kept beside the journal.
  static std::filesystem::path base(const State& s) {
    std::filesystem::path p = s.journal;
    if (p.extension() == ".lmj") return p.replace_extension(".base.lmq");
    return p += ".base.lmq";  // two journals must not share one
  }
  // Before a new journal is made, or where the one that is gone on with has lost its own.
  void keep(const State& s) const {
    if (!made) return;
    const std::filesystem::path base = AdaptationStart::base(s);
    const std::vector<std::uint8_t> wanted = serialize(network);
    if (!s.overwrite && kind_of(base) == FileKind::file && read_file(base) != wanted)
      throw Error(
          ErrorKind::journal,
          fmt::format("{}: it is there and another network, which another journal may start "
                      "from; expected --overwrite, or another name of the journal",
                      base.string()));
    write_file_atomic(base, wanted);
    if (const Say say = s.common.say())
      say(fmt::format("the start of the run is {}: what `replay --base` takes", base.string()));
  }
};
AdaptationStart adaptation_start(const State& s, Task& task) {
  if (!s.input.empty()) {
    const QuantizedNetwork given = load_integers(s.input);
    keep_normal(given.network, task);
    QuantizedNetwork start = with_difference(given, task, s.run.quantize, s.common.thread_count());
    const bool made = start != given;
    return {std::move(start), made};
  }
  NetworkSource source = load_source(s.run.network, shape_of(task));
  keep_normal(source.network, task);
  const Pretrained p =
      prepared(starting_point(task, std::move(source), {}, {}, s.common.thread_count(),
                              s.common.say(), s.common.progress()),
               task, s.run.quantize, s.common.thread_count(), s.common.say());
  QuantizedNetwork start = integers_of(p, task, s.run.quantize, s.common.thread_count());
  const bool made = !p.integers || start != *p.integers;
  return {std::move(start), made};
}

// The usual batch, where there are not that many examples.
void fit_batch(RunOptions& o, std::size_t examples, const Say& say) {
  const int batch = std::min(o.adapt.forward.batch, static_cast<int>(examples));
  if (batch == o.adapt.forward.batch) return;
  if (say) say(fmt::format("note: the batch is {}, all examples to adapt on", batch));
  o.adapt.forward.batch = o.readout.run.batch = batch;
}

}  // namespace

SpeakerData adaptation_data(const Task& task, const RunOptions& o) {
  if (task.speakers.empty()) {
    if (o.speaker)
      throw Error(ErrorKind::usage,
                  fmt::format("--speaker {}: task {} has no speakers", *o.speaker, task.name));
    return {task.adapt, task.shifted_test};
  }
  if (!o.speaker)
    throw Error(ErrorKind::usage,
                "--speaker is missing: expected the index of a held-out speaker for an audio task");
  return speaker_data(task, *o.speaker);
}

std::vector<Subcommand> all_commands(CLI::App& app, const Backends& backends) {
  std::vector<Subcommand> all = {run_command(app, backends),
                                 pretrain_command(app),
                                 quantize_command(app, backends),
                                 adapt_command(app, backends),
                                 replay_command(app, backends),
                                 eval_command(app, backends),
                                 vectors_command(app, backends),
                                 cosim_command(app, backends),
                                 validate_command(app, backends),
                                 data_command(app),
                                 info_command(app),
                                 profile_command(app, backends),
                                 energy_command(app),
                                 import_command(app),
                                 export_command(app),
                                 infer_command(app, backends),
                                 rescale_command(app, backends),
                                 audit_command(app, backends),
                                 completion_command(app),
                                 man_command(app)};
  for (const Subcommand& c : all) strict_values(*c.app);
  return all;
}

Subcommand run_command(CLI::App& app, const Backends& backends) {
  auto* sub = app.add_subcommand("run",
                                 "the main job: pre-train, quantize, meet another domain, adapt "
                                 "with forward passes, compare, report");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  add_task(*sub, s->run);
  add_saturation(*sub, s->run);
  add_pretrain(*sub, s->run);
  add_quantize(*sub, s->run);
  add_adapt(*sub, s->run);
  add_hold_out(*sub, s->run);
  sub->add_option("--checkpoint", s->run.checkpoint,
                  "float weights to start from instead of pre-training");
  add_readout(*sub, s->run);
  add_apart(*sub, s->run);
  s->method = "all";
  sub->add_option(
         "--method", s->method,
         "what adapts: forward-gradient, readout, all (one and the other), or both (readouts, "
         "then inner layers with them)")
      ->check(CLI::IsMember({"forward-gradient", "readout", "both", "all"}))
      ->capture_default_str();
  sub->add_flag("!--no-float", s->run.with_float, "skip the float references");
  sub->add_flag("!--no-backprop", s->run.with_backprop, "skip the backpropagation baseline");
  sub->add_option("--out", s->run.out, "folder for checkpoint, quantized networks and journals")
      ->capture_default_str();
  sub->add_option("--reports", s->run.reports, "folder for run.json and run.html")
      ->capture_default_str();
  add_audit(*sub, s->run);
  add_existing(*sub, s->run.resume, s->overwrite, "the run in --out");
  add_salvage(*sub, s->run.salvage);
  return {sub,
          [s, sub, backends] {
            audio_defaults(*sub, s->run);
            settle(s->run, s->common);
            s->run.settings = given_options(*sub);
            Files files;
            reads_task(files, s->run);
            files.reads("--checkpoint", s->run.checkpoint);
            std::vector<std::string> state = {kRunState,     "quantized.lmq", "journal.lmj",
                                              "adapted.lmq", "readout.lmj",   "readout.lmq",
                                              "both.lmj",    "both.lmq",      "statistics.lmq"};
            if (s->run.checkpoint.empty()) state.emplace_back("float.lmc");
            files.keeps_state("--out", s->run.out, state, existing_of(s->run.resume, s->overwrite));
            files.writes_into("--reports", s->run.reports, {"run.json", "run.html"});
            files.writes(kWaveformOption, waveform_of(s->common));
            files.claim();
            const auto wanted = [&](const char* m) { return s->method == m || s->method == "all"; };
            s->run.with_forward = wanted("forward-gradient");
            s->run.with_readout = wanted("readout");
            s->run.with_both = s->method == "both";
            const RunOutcome outcome = run_experiment(s->run, find_backend(s->common, backends),
                                                      s->common.say(), s->common.progress());
            const json& r = outcome.report;
            if (s->common.json) {
              print_json(r);
              return report_divergence(outcome.diverged);
            }
            const json& a = r.at("accuracy");
            const auto line = [&](const char* text, const char* key) {
              if (!a.contains(key)) return;
              const double all = a.at(key).get<double>();
              const json& c = r.at("classes");
              const double balanced = c.contains(key) ? c[key]["balanced"].get<double>() : all;
              print_out("{:<44} {:6.2f} %{}\n", text, all,
                        std::abs(balanced - all) > kBalancedApart
                            ? fmt::format(", balanced {:6.2f} %", balanced)
                            : "");
            };
            print_out("{} on {} ({}), {}, {} trained weights\n", r.at("network").get<std::string>(),
                      r.at("task").get<std::string>(), r.at("shift").get<std::string>(),
                      r.at("weight_type").get<std::string>(),
                      r.at("trained_weights").get<std::int64_t>());
            line("source domain, fixed point", "source");
            line("shifted domain, before", "shifted");
            line("channel statistics, no labels", "statistics");
            line("adapted: fixed-point forward gradient", "fixed");
            line("adapted: float forward gradient", "float");
            line("adapted: fixed-point readouts", "readout");
            line("adapted: float readouts", "readout_float");
            line("adapted: readouts and inner layers", "both");
            line("adapted: float backpropagation", "backprop");
            for (const auto& [name, m] : r.at("methods").items())
              print_out("{:<20} {:>9} passes, {:>11} MMAC, {:>9} scratch bytes\n", name,
                        figure(m.at("passes"), 0), figure(m.at("mmac"), 0),
                        m.at("scratch_bytes").get<std::uint64_t>());
            print_out(
                "{} forward passes, {} host bytes per step, NPU memory {} bytes, {:.1f} "
                "s\nreport: {}\n",
                r.at("forward_passes").get<std::uint64_t>(), figure(r.at("host_bytes_per_step"), 0),
                r.at("peak_bytes").get<std::uint64_t>(), r.at("seconds").get<double>(),
                (s->run.reports / "run.html").string());
            return report_divergence(outcome.diverged);
          },
          true};
}

Subcommand pretrain_command(CLI::App& app) {
  auto* sub =
      app.add_subcommand("pretrain", "train a network in floating point on the source domain");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  add_task(*sub, s->run);
  add_pretrain(*sub, s->run);
  sub->add_option("--output", s->output, "float weights to write (.lmc or .npz)")->required();
  return {sub, [s] {
            settle(s->run, s->common);
            Files files;
            reads_task(files, s->run);
            files.writes("--output", s->output);
            files.writes(kWaveformOption, waveform_of(s->common));
            files.claim();
            use_network(s->run.task, s->run.network, {}, s->common.say());
            Task task = load_task(s->run.task);
            require_source(task, "pretrain");
            say_data(task, s->common.say());
            const NetworkSource source = load_source(s->run.network, shape_of(task));
            keep_normal(source.network, task);
            if (const Say say = s->common.say(); say && source.params)
              say(fmt::format("note: {} gives its shape only: its weights are drawn anew",
                              source.name));
            require_runnable(source.network, task, s->run.quantize, s->run.adapt.fixed.hardware,
                             s->run.adapt.fixed.batch);
            const Pretrained p =
                pretrain(task, source.network, s->run.pretrain, s->common.thread_count(),
                         s->common.say(), s->common.progress());
            save_weights(s->output, p.network, p.params, to_text(task.preprocessing));
            const Golden<float> golden(p.network, s->common.thread_count());
            const Accuracy a = evaluate_float(golden, p.params, task.source_test);
            if (s->common.json) {
              print_json(accuracy_json(a));
            } else {
              print_out("{}: {} on the source test\n", s->output.string(), accuracy_text(a));
            }
            return 0;
          }};
}

Subcommand quantize_command(CLI::App& app, const Backends& backends) {
  auto* sub = app.add_subcommand("quantize", "fold batch norm, calibrate, quantize");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  add_task(*sub, s->run);
  add_quantize(*sub, s->run);
  sub->add_option("--checkpoint", s->checkpoint,
                  "float weights of a network (default: those of a model that --network names)");
  sub->add_option("--output", s->output, "quantized network to write")->required();
  add_apart(*sub, s->run);
  return {sub, [s, backends] {
            settle(s->run, s->common);
            Files files;
            reads_task(files, s->run);
            files.reads("--checkpoint", s->checkpoint);
            files.writes("--output", s->output);
            files.writes(kWaveformOption, waveform_of(s->common));
            files.claim();
            require_weights(s->checkpoint, "--checkpoint", s->run.network);
            use_network(s->run.task, s->run.network, s->checkpoint, s->common.say());
            Task task = load_task(s->run.task);
            say_data(task, s->common.say());
            NetworkSource source = load_source(s->run.network, shape_of(task));
            keep_normal(source.network, task);
            const Pretrained given =
                starting_point(task, std::move(source), s->checkpoint, s->run.pretrain,
                               s->common.thread_count(), s->common.say(), s->common.progress());
            if (!s->checkpoint.empty())
              require_origin(given.network, given.params, task, s->checkpoint);
            const Pretrained p =
                prepared(given, task, s->run.quantize, s->common.thread_count(), s->common.say());
            const QuantizedNetwork q =
                integers_of(p, task, s->run.quantize, s->common.thread_count());
            const std::vector<FloatAgainstFixed> near =
                float_against_fixed(given.network, given.params, q, task,
                                    find_backend(s->common, backends), s->run.adapt.fixed);
            require_near(near, s->run.apart_points);
            save_quantized(s->output, q);
            if (s->common.json) {
              json domains = json::object();
              for (const FloatAgainstFixed& a : near)
                domains[a.domain] = {
                    {"float", a.floating}, {"fixed", a.fixed}, {"examples", a.examples}};
              print_json({{"weights", weight_count(q.network)},
                          {"weight_type", name_of(q.weight_type)},
                          {"float_against_fixed", domains}});
            } else {
              print_out("{}\n{}: {} weights as {}\n", text_of(near), s->output.string(),
                        weight_count(q.network), name_of(q.weight_type));
            }
            return 0;
          }};
}

Subcommand adapt_command(CLI::App& app, const Backends& backends) {
  auto* sub = app.add_subcommand("adapt",
                                 "adapt a quantized network by forward gradients, readouts or "
                                 "both, with a journal that survives "
                                 "being killed");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  add_task(*sub, s->run);
  add_saturation(*sub, s->run);
  add_quantize(*sub, s->run);
  add_adapt(*sub, s->run);
  add_hold_out(*sub, s->run);
  add_readout(*sub, s->run);
  sub->add_option("--method", s->method,
                  "forward-gradient, readout, or both (readouts, then inner layers with them)")
      ->check(CLI::IsMember({"forward-gradient", "readout", "both"}))
      ->capture_default_str();
  sub->add_option(
      "--input", s->input,
      "quantized network or int8 model to start from (default: the model that --network "
      "names; a float one is quantized first)");
  sub->add_option("--test-examples", s->test_examples,
                  "measure accuracy before and after on the first so many (0: all)")
      ->capture_default_str();
  sub->add_option("--journal", s->journal, "journal to write")->required();
  sub->add_option("--output", s->output, "adapted network to write");
  add_audit(*sub, s->run);
  add_existing(*sub, s->resume, s->overwrite, "the journal");
  add_salvage(*sub, s->salvage);
  return {sub,
          [s, sub, backends] {
            audio_defaults(*sub, s->run);
            settle(s->run, s->common);
            Files files;
            reads_task(files, s->run);
            files.reads("--input", s->input);
            files.keeps_journal("--journal", s->journal, existing_of(s->resume, s->overwrite));
            if (s->input.empty() || s->run.statistics)
              files.writes("--journal", AdaptationStart::base(*s));
            files.writes("--output", s->output);
            files.writes(kWaveformOption, waveform_of(s->common));
            files.claim();
            require_weights(s->input, "--input", s->run.network);
            use_network(s->run.task, s->run.network, s->input, s->common.say());
            const DeviceOpener open = find_backend(s->common, backends);
            Task task = load_task(s->run.task);
            say_data(task, s->common.say());
            AdaptationStart from = adaptation_start(*s, task);
            if (s->method != "forward-gradient")
              require_labels(from.network.network, "--method " + s->method);
            if (s->run.statistics) require_labels(from.network.network, "--statistics on");
            SpeakerData data = adaptation_data(task, s->run);
            if (s->test_examples != 0 && s->test_examples < data.test.size())
              data.test = slice(data.test, 0, s->test_examples);
            if (sub->count("--batch") == 0) fit_batch(s->run, data.adapt.size(), s->common.say());
            AdaptOptions adapt = s->run.adapt;
            if (s->run.statistics) {
              from.network = adapt_statistics(from.network, data.adapt, open, adapt.fixed).network;
              from.made = true;
            }
            const QuantizedNetwork& start = from.network;
            const JournalFile journal{s->journal, s->resume, s->salvage, [&] { from.keep(*s); }};
            if (s->method == "both") s->run.readout.run.inner_steps = s->run.inner_steps;
            if (s->method != "forward-gradient") {
              const ReadoutResult r =
                  adapt_readout(start, data.adapt, data.test, s->run.readout, open, journal,
                                s->common.progress(), s->common.say());
              if (kind_of(AdaptationStart::base(*s)) == FileKind::none) from.keep(*s);
              print_adapted(*s, r, data.test, task);
              return 0;
            }
            adapt = settled(adapt, data.adapt, journal, s->common.say());
            adapt.limits.stop = [] { return stop_signal() != 0; };
            const auto plan = plan_training(start, adapt, data.adapt, open);
            check_options(adapt.forward, data.adapt.size());
            const FixedResult r = adapt_fixed(start, plan, data.adapt, data.test, adapt, open,
                                              journal, s->common.progress(), s->common.say());
            if (kind_of(AdaptationStart::base(*s)) == FileKind::none) from.keep(*s);
            if (r.end == RunEnd::stopped)
              throw Stopped(stop_signal(),
                            fmt::format("after step {} of {}", r.steps, adapt.forward.steps));
            print_adapted(*s, r, data.test, task);
            if (r.end != RunEnd::diverged) return 0;
            return report_divergence({held_text(*r.held, adapt.forward.steps)});
          },
          true};
}

Subcommand replay_command(CLI::App& app, const Backends& backends) {
  auto* sub = app.add_subcommand(
      "replay", "rebuild the adapted network from the base network and its journal, bit for bit");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  sub->add_option("--base", s->input, "quantized network or int8 model the journal started from")
      ->required();
  sub->add_option("--journal", s->journal, "journal")->required();
  sub->add_option("--steps", s->steps, "stop after so many steps (default: all)");
  sub->add_option("--output", s->output, "network to write");
  add_salvage(*sub, s->salvage);
  return {sub, [s, backends] {
            settle(s->run, s->common);
            Files files;
            files.reads("--base", s->input);
            files.reads("--journal", s->journal);
            files.writes("--output", s->output);
            files.writes(kWaveformOption, waveform_of(s->common));
            files.claim();
            const QuantizedNetwork base = load_integers(s->input);
            const QuantizedNetwork q =
                is_readout_journal(s->journal)
                    ? replay_readout_journal(base, s->journal, s->steps, s->salvage)
                    : replay_journal(base, s->journal, s->steps, s->salvage,
                                     find_backend(s->common, backends), s->run.adapt.fixed,
                                     s->common.progress());
            if (!s->output.empty()) save_quantized(s->output, q);
            const std::string hash = fmt::format("{:016x}", weights_hash(q));
            if (s->common.json) {
              print_json({{"weights_hash", hash}});
            } else {
              print_out("weights {}\n", hash);
            }
            return 0;
          }};
}

}  // namespace lastmile
