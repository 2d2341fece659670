// SPDX-License-Identifier: Apache-2.0
// `lastmile cosim`: training steps with model and RTL in lockstep.
#include "sw/app/cosim.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <memory>

#include "sw/base/error.hpp"
#include "sw/base/stop.hpp"
#include "sw/base/text.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

std::string replay_line(const CommonOptions& common, const CosimOptions& o, std::uint32_t step) {
  const TaskOptions& task = o.run.task;
  const auto option = [](const char* name, const std::string& value) {
    return fmt::format(" {} {}", name, shell_word(value));
  };
  std::string line = shell_word(std::filesystem::read_symlink("/proc/self/exe").string());
  line += " cosim" + option("--backend", o.backend) + option("--input", o.input.string()) +
          option("--journal", o.journal.string()) + option("--from", std::to_string(step)) +
          " --steps 1" + option("--shift", task.shift);
  const auto path = [&](const char* name, const std::filesystem::path& p) {
    if (!p.empty()) line += option(name, p.string());
  };
  path("--data", task.data);
  path("--source", task.source);
  path("--target", task.target);
  if (task.resize) line += option("--resize", name_of(*task.resize));
  if (task.size)
    line += fmt::format(" --size {}x{}{}", task.size->h, task.size->w,
                        task.size->c == 0 ? "" : fmt::format("x{}", task.size->c));
  if (task.layout != Layout::automatic)
    line += task.layout == Layout::nhwc ? " --layout nhwc" : " --layout nchw";
  if (!task.mean.empty()) line += fmt::format(" --mean {}", fmt::join(task.mean, ","));
  if (!task.deviation.empty()) line += fmt::format(" --std {}", fmt::join(task.deviation, ","));
  if (task.features_given || task.features.kind == FeatureKind::mfcc)
    line += task.features.kind == FeatureKind::mfcc ? " --features mfcc" : " --features logmel";
  if (task.balance) line += " --balance";
  line += fmt::format(" --seed {}", common.seed);
  if (task.adapt) line += fmt::format(" --adapt-examples {}", *task.adapt);
  if (!common.hardware.empty()) line += option("--hardware", common.hardware);
  if (o.run.speaker) line += option("--speaker", std::to_string(*o.run.speaker));
  line += option("--out", o.out.string()) + option("--report", o.report.string());
  if (o.backend == "cmodel") return line;  // has no waveform
  const std::string& extra = o.backend_options;
  return line +
         option("--backend-options", fmt::format("{}{}trace={}", extra, extra.empty() ? "" : ",",
                                                 (o.out / "cosim.fst").string()));
}

void print_summary(const json& report, const std::filesystem::path& file) {
  const std::string prediction =
      report.at("predicted_cycles").is_null()
          ? "no prediction"
          : fmt::format("predicted: {}, {:+.2f} %", report["predicted_cycles"].get<std::uint64_t>(),
                        report.value("prediction_error", 0.0));
  print_out(
      "{} steps, {} cycles ({}), {} values compared, {} differences, utilisation {:.3f}, "
      "{:.0f} cycles/s ({:.0f} per CPU second)\nreport: {}\n",
      report.at("steps").get<std::uint32_t>(), report.value("cycles", std::uint64_t{0}), prediction,
      report.value("compared", std::uint64_t{0}), report.value("differences", std::uint64_t{0}),
      report.value("utilisation", 0.0), report.value("cycles_per_second", 0.0),
      report.value("cycles_per_cpu_second", 0.0), file.string());
}

}  // namespace

Subcommand cosim_command(CLI::App& app, const Backends& backends) {
  struct State {
    CommonOptions common;
    CosimOptions o;
    bool overwrite = false;
  };
  auto* sub = app.add_subcommand("cosim",
                                 "training steps with model and RTL in lockstep, from the start or "
                                 "from any step of a journal");
  auto s = std::make_shared<State>();
  s->common.backend = "lockstep";
  s->o.run.adapt.forward.pairs = 2;
  s->o.run.adapt.forward.batch = 16;
  add_common(*sub, s->common);
  add_task(*sub, s->o.run);
  add_pretrain(*sub, s->o.run);
  add_quantize(*sub, s->o.run);
  add_adapt(*sub, s->o.run);
  sub->remove_option(sub->get_option("--steps"));
  sub->add_option("--steps", s->o.steps, "steps to run in lockstep")
      ->check(CLI::Range(1, 1000000))
      ->capture_default_str();
  sub->add_option("--from", s->o.from, "first of them; those before are replayed on the model")
      ->capture_default_str();
  sub->add_option("--input", s->o.input,
                  "quantized network to start from (default: a short pre-training)");
  sub->add_option("--journal", s->o.journal,
                  "take the run from this journal (with --input), not from a run of the model");
  sub->add_option("--out", s->o.out, "folder of network, journal and waveform")
      ->capture_default_str();
  sub->add_flag("--overwrite", s->overwrite, "replace network and journal in --out");
  sub->add_option("--report", s->o.report, "report to write")->capture_default_str();
  return {sub, [s, backends] {
            settle(s->o.run, s->common);
            Files files;
            reads_task(files, s->o.run);
            files.reads("--input", s->o.input);
            files.reads("--journal", s->o.journal);
            std::vector<std::string> state;
            if (s->o.input.empty()) state.emplace_back("base.lmq");
            if (s->o.journal.empty()) state.emplace_back("journal.lmj");
            // Not every state here is of a cosimulation: `run` keeps a journal of this name, too.
            files.keeps_state("--out", s->o.out, state, existing_of(false, s->overwrite), false);
            const std::filesystem::path reports = s->o.report.parent_path();
            files.writes_into("--report", reports.empty() ? "." : reports,
                              {s->o.report.filename().string()});
            files.writes(kWaveformOption, waveform_of(s->common));
            files.claim();
            s->o.backend = s->common.backend;
            s->o.backend_options = s->common.backend_options;
            const OpenBackend open = [&](const std::string& backend_options) {
              CommonOptions with = s->common;
              with.backend_options = backend_options;
              return find_backend(with, backends);
            };
            static_cast<void>(find_backend(s->common, backends));
            CosimOutcome outcome;
            try {
              outcome = cosimulate(
                  s->o, backends.model, open,
                  [&](const CosimOptions& o, std::uint32_t step) {
                    return replay_line(s->common, o, step);
                  },
                  s->common.say(), s->common.progress());
            } catch (const Stopped&) {
              // The same command starts again: what it made here would be in its way.
              std::error_code none;
              if (!s->overwrite)
                for (const std::string& file : state)
                  std::filesystem::remove(s->o.out / file, none);
              throw;
            }
            const bool good = outcome.failure.empty();
            if (s->common.json) {
              print_json(outcome.report);
            } else if (good) {
              print_summary(outcome.report, s->o.report);
            }
            if (good) return 0;
            print_error(fmt::format("lastmile: {}\n{}{}replay{}: {}\n", outcome.failure,
                                    outcome.waveform, outcome.waveform.empty() ? "" : "\n",
                                    s->o.backend == "cmodel" ? "" : " with a waveform",
                                    outcome.replay));
            return static_cast<int>(outcome.kind);
          }};
}

}  // namespace lastmile
