// SPDX-License-Identifier: Apache-2.0
// `lastmile validate`: fixed point against the golden model.
#include <fmt/format.h>

#include <memory>

#include "sw/base/error.hpp"
#include "sw/cli/commands.hpp"
#include "sw/cli/print.hpp"
#include "sw/validate/peer.hpp"
#include "sw/validate/validate.hpp"

namespace lastmile {
namespace {

constexpr double kLeast = 1e-9, kAny = 1e9;  // of numbers above 0, of any

}  // namespace

Subcommand validate_command(CLI::App& app, const Backends& backends) {
  struct State {
    CommonOptions common;
    ValidateOptions o;
    std::filesystem::path peer;
  };
  auto* sub = app.add_subcommand(
      "validate",
      "compare the fixed-point network with the float one layer by layer, measure its training "
      "signal, sweep widths; the exit status says what failed: 32 + 1 wrong setting, 2 accuracy, 4 "
      "saturation, 8 range, 16 device or golden model broken, 64 a part that could not be judged");
  auto s = std::make_shared<State>();
  add_common(*sub, s->common);
  add_task(*sub, s->o.run);
  add_pretrain(*sub, s->o.run);
  add_quantize(*sub, s->o.run);
  add_adapt(*sub, s->o.run);
  sub->add_option("--checkpoint", s->o.run.checkpoint,
                  "float weights to start from instead of pre-training");
  sub->add_option(
      "--quantized", s->o.quantized,
      "quantized network (.lmq) to judge against the float weights instead of quantizing");
  sub->add_option("--reports", s->o.run.reports,
                  "folder for validate.json, validate-layers.csv and validate.html")
      ->capture_default_str();
  sub->add_flag("--strict", s->o.strict, "warnings count as failures");
  sub->add_flag("--quick", s->o.quick, "fewer probes and widths");
  sub->add_flag("!--no-signal", s->o.with_signal, "skip the training signal");
  sub->add_flag("!--no-sweep", s->o.with_sweep, "skip the width sweep");
  sub->add_flag("!--no-sensitivity", s->o.layers.sensitivity, "skip one-at-a-time quantization");
  const auto number = [&](const char* name, auto& value, const CLI::Range& range,
                          const char* help) {
    sub->add_option(name, value, help)->check(range)->capture_default_str();
  };
  constexpr int kMost = 1 << 20;
  number("--examples", s->o.layers.examples, {1, kMost}, "examples of the layer comparison");
  number("--probes", s->o.signal.probes, {8, kMost},
         "pairs per point of the training signal, in whole eights");
  number("--sweep-eps", s->o.sweep.eps, {kLeast, 1.0},
         "e of the width sweep, of the largest weight code");
  number("--sweep-steps", s->o.sweep.steps, {1, kMost}, "steps of each adaptation of the sweep");
  number("--sweep-step", s->o.sweep.step, {kLeast, 1e6}, "step size of the sweep, relative to RMS");
  number("--sweep-seeds", s->o.sweep.seeds, {1, kMost}, "adaptations of each point of the sweep");
  sub->add_option("--sweep-layers", s->o.sweep.layers, "layers that the sweep trains")
      ->delimiter(',')
      ->capture_default_str();
  Thresholds& t = s->o.thresholds;
  number("--sqnr-warn", t.sqnr_warn_db, {-kAny, kAny}, "dB");
  number("--sqnr-fail", t.sqnr_fail_db, {-kAny, kAny}, "dB");
  number("--cosine-warn", t.cosine_warn, {-1.0, 1.0},
         "cosine of a layer's output with the golden one");
  number("--saturation-warn", t.saturation_warn, {0.0, 1.0}, "share of outputs");
  number("--saturation-fail", t.saturation_fail, {0.0, 1.0}, "share of outputs");
  number("--rmse-warn", t.rmse_over_scale_warn, {0.0, kAny},
         "RMSE of a layer alone over its scale");
  number("--headroom-warn", t.headroom_warn_bits, {0, 40}, "accumulator bits left");
  number("--accuracy-fail", t.accuracy_fail_points, {-100.0, 100.0},
         "points that fixed point may lose");
  number("--squared-error-fail", t.squared_error_fail, {0.0, kAny},
         "an autoencoder's squared error: share that fixed point may add");
  number("--float32-fail", t.float32_fail, {0.0, kAny}, "golden float32 against float64, relative");
  number("--logit-bits-fail", t.logit_bits_fail, {0.0, 16.0}, "effective bits of the logits");
  sub->add_option(
      "--peer", s->peer,
      "write the float network with inputs, outputs and gradients into this folder, for "
      "tests/validate/peer_torch.py, and stop");
  return {sub, [s, sub, backends] {
            audio_defaults(*sub, s->o.run);
            settle(s->o.run, s->common);
            Files files;
            reads_task(files, s->o.run);
            files.reads("--checkpoint", s->o.run.checkpoint);
            files.reads("--quantized", s->o.quantized);
            if (s->peer.empty())
              files.writes_into("--reports", s->o.run.reports,
                                {"validate.json", "validate-layers.csv", "validate.html"});
            else
              files.writes_into("--peer", s->peer, {"peer.json", "peer.bin"});
            files.writes(kWaveformOption, waveform_of(s->common));
            files.claim();
            if (!s->peer.empty()) {
              write_peer_case(s->o.run.network, s->peer, s->common.seed, s->common.thread_count());
              const std::string written = (s->peer / "peer.json").string();
              if (s->common.json)
                print_json({{"files", {written, (s->peer / "peer.bin").string()}}});
              else
                print_out("{}\n", written);
              return 0;
            }
            const ValidateOutcome outcome = validate_network(
                s->o, find_backend(s->common, backends), s->common.say(), s->common.progress());
            if (s->common.json) {
              print_json(outcome.report);
            } else {
              print_out("{}report: {}\n", outcome.summary,
                        (s->o.run.reports / "validate.html").string());
            }
            return outcome.status;
          }};
}

}  // namespace lastmile
