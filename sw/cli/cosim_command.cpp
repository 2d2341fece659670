// SPDX-License-Identifier: Apache-2.0
// `lastmile cosim`: training steps with model and RTL in lockstep.
#include "sw/app/cosim.hpp"

#include <fmt/format.h>

#include <memory>

#include "sw/base/error.hpp"
#include "sw/cli/commands.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

std::string replay_line(const CommonOptions& common, const CosimOptions& o, std::uint32_t step) {
  const TaskOptions& task = o.run.task;
  std::string line = fmt::format(
      "lastmile cosim --backend {} --input {} --journal {} --from {} --steps 1 --shift {}",
      o.backend, o.input.string(), o.journal.string(), step, task.shift);
  if (!task.data.empty()) line += fmt::format(" --data {}", task.data.string());
  line += fmt::format(" --seed {} --adapt-examples {}", common.seed, task.adapt);
  if (!common.hardware.empty()) line += fmt::format(" --hardware {}", common.hardware);
  if (o.run.speaker) line += fmt::format(" --speaker {}", *o.run.speaker);
  const std::string& extra = o.backend_options;
  return line + fmt::format(" --backend-options {}{}trace={}", extra, extra.empty() ? "" : ",",
                            (o.out / "cosim.fst").string());
}

void print_summary(const json& report, const std::filesystem::path& file) {
  const std::string prediction =
      report.at("predicted_cycles").is_null()
          ? "no prediction"
          : fmt::format("predicted: {}, {:+.2f} %", report["predicted_cycles"].get<std::uint64_t>(),
                        report.value("prediction_error", 0.0));
  fmt::print(
      "{} steps, {} cycles ({}), {} values compared, {} differences, utilisation {:.3f}, "
      "{:.0f} cycles/s ({:.0f} per CPU second)\nreport: {}\n",
      report.at("steps").get<std::uint32_t>(), report.value("cycles", std::uint64_t{0}), prediction,
      report.value("compared", std::uint64_t{0}), report.value("differences", std::uint64_t{0}),
      report.value("utilisation", 0.0), report.value("cycles_per_second", 0.0),
      report.value("cycles_per_cpu_second", 0.0), file.string());
}

}  // namespace

Subcommand cosim_command(CLI::App& app, const DeviceOpener& model) {
  struct State {
    CommonOptions common;
    CosimOptions o;
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
  sub->add_option("--report", s->o.report, "report to write")->capture_default_str();
  return {sub, [s, model] {
            settle(s->o.run, s->common);
            s->o.backend = s->common.backend;
            s->o.backend_options = s->common.backend_options;
            const OpenBackend open = [&](const std::string& backend_options) {
              CommonOptions with = s->common;
              with.backend_options = backend_options;
              return find_backend(with, model);
            };
            const CosimOutcome outcome = cosimulate(
                s->o, model, open,
                [&](const CosimOptions& o, std::uint32_t step) {
                  return replay_line(s->common, o, step);
                },
                s->common.say(), s->common.progress());
            const bool good = outcome.failure.empty();
            if (s->common.json) {
              fmt::print("{}\n", outcome.report.dump(2));
            } else if (good) {
              print_summary(outcome.report, s->o.report);
            }
            if (good) return 0;
            fmt::print(stderr, "lastmile: {}\n{}{}replay with a waveform: {}\n", outcome.failure,
                       outcome.waveform, outcome.waveform.empty() ? "" : "\n", outcome.replay);
            return static_cast<int>(ErrorKind::mismatch);
          }};
}

}  // namespace lastmile
