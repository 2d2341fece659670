// SPDX-License-Identifier: Apache-2.0
// `lastmile profile`: cycles, bytes, energy and memory of training steps.
#include <fmt/format.h>

#include <memory>

#include "sw/base/error.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/profile/profile.hpp"

namespace lastmile {

Subcommand profile_command(CLI::App& app, const Backends& backends) {
  struct State {
    CommonOptions common;
    profile::ProfileOptions o;
    std::vector<std::string> variants;
    std::string weights = "w16", distribution = "sign";
  };
  auto* sub = app.add_subcommand(
      "profile", "what a training step costs, where, and against inference and backpropagation");
  auto s = std::make_shared<State>();
  for (const auto v : s->o.variants) s->variants.emplace_back(name_of(v));
  add_common(*sub, s->common);
  sub->add_option("--networks", s->o.networks,
                  "small-cnn, resnet8, ds-cnn, resnet18-96, resnet18-224, mobilenet-96, "
                  "mobilenet-224, or .toml, .onnx or .tflite files")
      ->delimiter(',')
      ->capture_default_str();
  sub->add_option("--variants", s->variants, "what trains: full, head, sparse (90 % masked)")
      ->delimiter(',')
      ->capture_default_str();
  sub->add_option("--weights", s->weights, "weight width")
      ->check(CLI::IsMember({"w8", "w16"}))
      ->capture_default_str();
  sub->add_option("--distribution", s->distribution, "of the perturbation z")
      ->check(CLI::IsMember({"sign", "gaussian"}))
      ->capture_default_str();
  sub->add_option("--batch", s->o.batch, "examples per pass (0: the network's usual)")
      ->check(CLI::Range(0, 65535))
      ->capture_default_str();
  sub->add_option("--pairs", s->o.measure.pairs, "pairs of forward passes per step (m)")
      ->check(CLI::Range(1, 8))
      ->capture_default_str();
  sub->add_option("--steps", s->o.measure.steps, "steps to average over")
      ->check(CLI::Range(1, 100000))
      ->capture_default_str();
  sub->add_option("--table", s->o.table, "energy: 45nm, 22nm, 7nm or a .toml file")
      ->capture_default_str();
  sub->add_option("--dram", s->o.dram,
                  "memory off chip, its latency, bandwidth, banks and energy: flat, ddr3, lpddr4, "
                  "lpddr5, hbm2 or a .toml file (default: flat, 20 cycles, the bus's width, the "
                  "energy of the table's kind; --backend-options latency=,bandwidth= override)");
  sub->add_option("--reports", s->o.reports, "folder for the reports")->capture_default_str();
  sub->add_flag("--predict", s->o.predict,
                "count and time commands without executing them (networks too large to execute "
                "always are)");
  sub->add_flag("--execute", s->o.execute, "execute those, too (with arbitrary weights)");
  sub->add_flag("!--no-compare", s->o.compare, "skip backpropagation, floor and schedules");
  sub->add_flag("--sweep", s->o.sweep,
                "sweep array, scratchpad, bus, batch and pairs for the first network");
  sub->add_option("--trace", s->o.trace,
                  "Perfetto trace of a step of the first network to write (open in "
                  "ui.perfetto.dev)");
  sub->add_flag("--inference", s->o.inference,
                "no training steps: passes that end with the network's outputs, as infer runs them")
      ->excludes("--variants")
      ->excludes("--sweep")
      ->excludes("--trace");
  sub->add_option("--against", s->o.against, "earlier profile.json to compare with");
  return {sub, [s, backends] {
            profile::ProfileOptions& o = s->o;
            o.variants.clear();
            for (const std::string& v : s->variants)
              o.variants.push_back(profile::parse_variant(v));
            o.weight_type = s->weights == "w8" ? WeightType::w8 : WeightType::w16;
            o.distribution = s->distribution == "sign" ? spec::Distribution::sign_
                                                       : spec::Distribution::gaussian_;
            o.measure.seed = s->common.seed;
            o.measure.threads = s->common.thread_count();
            o.measure.hardware = parse_hardware(s->common.hardware);
            o.measure.backend = s->common.backend;
            o.backend_options = s->common.backend_options;
            const profile::OpenWith open = [&](const std::string& extra, bool use_model) {
              CommonOptions with = s->common;
              with.backend_options = extra;
              if (use_model) with.backend = "cmodel";
              return find_backend(with, backends);
            };
            Files files;
            for (const std::string& network : o.networks)
              if (std::filesystem::exists(network)) files.reads("--networks", network);
            if (std::filesystem::exists(o.table)) files.reads("--table", o.table);
            if (std::filesystem::exists(o.dram)) files.reads("--dram", o.dram);
            files.reads("--against", o.against);
            files.writes_into("--reports", o.reports,
                              {"profile.json", "profile-layers.csv", "profile-ops.csv",
                               "profile-memory.csv", "profile.html"});
            if (!o.trace.empty())
              files.writes_into("--trace", o.trace.has_parent_path() ? o.trace.parent_path() : ".",
                                {o.trace.filename().string()});
            files.writes(kWaveformOption, waveform_of(s->common));
            files.claim();
            const profile::ProfileOutcome outcome =
                profile::profile_networks(o, open, s->common.say(), s->common.progress());
            if (s->common.json) {
              print_json(outcome.report);
            } else {
              print_out("{}report: {}\n", outcome.summary, (o.reports / "profile.json").string());
            }
            return 0;
          }};
}

}  // namespace lastmile
