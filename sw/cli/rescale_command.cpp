// SPDX-License-Identifier: Apache-2.0
// `lastmile rescale`: ranges that fit what a device meets.
#include <fmt/format.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "sw/app/rescale.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/files.hpp"
#include "sw/cli/print.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/trainer/reconstruction.hpp"

namespace lastmile {

Subcommand rescale_command(CLI::App& app, const Backends& backends) {
  struct State {
    CommonOptions common;
    RunOptions run;
    std::filesystem::path input, output;
    std::size_t examples = 256;
    double share = 0.001;
  };
  auto* sub = app.add_subcommand(
      "rescale",
      "fit the ranges of a quantized network to the data that it meets, measured on the device "
      "without labels; weights stay, requantization tables and zero points change");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  add_task(*sub, s->run);
  sub->add_option("--input", s->input, "quantized network")->required();
  sub->add_option("--output", s->output, "network to write")->required();
  sub->add_option("--speaker", s->run.speaker, "audio: measure on this held-out speaker's clips");
  sub->add_option("--examples", s->examples, "of those to adapt on, at most")
      ->check(CLI::Range(1, 1 << 20))
      ->capture_default_str();
  sub->add_option("--share", s->share, "of a tensor's outputs that may reach the end of its range")
      ->check(CLI::Range(0.0, 1.0))
      ->capture_default_str();
  return {sub, [s, backends] {
            settle(s->run, s->common);
            Files files;
            reads_task(files, s->run);
            files.reads("--input", s->input);
            files.writes("--output", s->output);
            files.writes(kWaveformOption, waveform_of(s->common));
            files.claim();
            use_network(s->run.task, "", s->input, s->common.say());
            const QuantizedNetwork q = load_integers(s->input);
            require_labels(q.network, "rescale");
            const Task task = load_task(s->run.task);
            const Dataset data =
                s->run.speaker ? speaker_data(task, *s->run.speaker).adapt : task.adapt;
            const RescaleResult r =
                rescale_on_device(q, slice(data, 0, std::min(data.size(), s->examples)),
                                  find_backend(s->common, backends), s->run.adapt.fixed, s->share);
            save_quantized(s->output, r.network);
            if (s->common.json) {
              print_json({{"widened", r.widened}});
              return 0;
            }
            std::string list;
            for (const std::string& name : r.widened) list += (list.empty() ? "" : ", ") + name;
            print_out("{}: {}\n", s->output.string(),
                      list.empty() ? "every stored range fits" : "ranges widened of " + list);
            return 0;
          }};
}

}  // namespace lastmile
