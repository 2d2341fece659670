// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/validate.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <optional>
#include <utility>

#include "sw/app/ranges.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/json_text.hpp"
#include "sw/golden/checkpoint.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/validate/deployment.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

json stats_json(const ErrorStats& s) {
  return {{"sqnr_db", s.sqnr_db()}, {"cosine", s.cosine()},
          {"max_abs", s.max_abs()}, {"mean_error", s.mean_error()},
          {"rmse", s.rmse()},       {"rmse_over_scale", s.rmse_over_scale()},
          {"gain", s.gain()},       {"offset_lsb", s.offset_lsb()},
          {"lsb", s.lsb()},         {"histogram", s.histogram().counts}};
}

json layer_json(const LayerReport& r) {
  return {{"layer", r.name},
          {"op", r.op},
          {"k", r.reduction},
          {"total", stats_json(r.total)},
          {"injected", stats_json(r.injected)},
          {"inherited", stats_json(r.inherited)},
          {"alone", stats_json(r.alone)},
          {"float32_error", r.float32_error},
          {"saturation_low", r.sat_low},
          {"saturation_high", r.sat_high},
          {"counter_sat_low", r.counter_sat_low},
          {"counter_sat_high", r.counter_sat_high},
          {"accumulator_bits", r.accumulator_bits},
          {"accumulator_worst_bits", r.accumulator_worst_bits},
          {"code_share", r.code_share},
          {"effective_bits", r.effective_bits},
          {"stuck_channels", r.stuck},
          {"contract_differences", r.contract_differences},
          {"simulation_lsb", r.simulation_lsb},
          {"weight_sqnr_db", r.weight_sqnr_db},
          {"weight_gain", r.weight_gain},
          {"weight_clipped", r.weight_clipped},
          {"weight_use", r.weight_use},
          {"only_this_quantized", {{"loss", r.only_loss}, {"accuracy", r.only_accuracy}}},
          {"all_but_this_quantized", {{"loss", r.without_loss}, {"accuracy", r.without_accuracy}}}};
}

json flip_json(const FlipPoint& p) {
  json j = {{"x", p.x},
            {"eps", p.eps},
            {"probes", p.probes},
            {"flips", p.flips},
            {"zeros", p.zeros},
            {"lost", p.lost.value},
            {"lost_low", p.lost.low},
            {"lost_high", p.lost.high},
            {"predicted", p.predicted},
            {"linear", p.linear},
            {"signal", p.signal},
            {"noise", p.noise},
            {"cosine", p.cosine},
            {"projection", p.projection},
            {"curvature", p.curvature}};
  if (!p.label.empty()) j["label"] = p.label;
  return j;
}
template <class T, class F>
json list_json(const std::vector<T>& all, const F& each) {
  json out = json::array();
  for (const T& t : all) out.push_back(each(t));
  return out;
}

json rounding_json(const RoundingPoint& p) {
  const auto rule = [](const RoundingPoint::Rule& r) {
    return json{{"bias", r.bias}, {"variance", r.variance}, {"retained", r.retained}};
  };
  return {{"step", p.step},
          {"stochastic", rule(p.stochastic)},
          {"nearest", rule(p.nearest)},
          {"floor", rule(p.floor)}};
}

json signal_json(const SignalReport& r) {
  return {
      {"parameters", r.parameters},
      {"unit", r.unit},
      {"batch", r.batch},
      {"eps", r.eps},
      {"participation", r.participation},
      {"by_eps", list_json(r.by_eps, flip_json)},
      {"by_batch", list_json(r.by_batch, flip_json)},
      {"by_width", list_json(r.by_width, flip_json)},
      {"by_pairs", list_json(r.by_pairs,
                             [](const DirectionPoint& p) {
                               return json{{"eps", p.eps},
                                           {"pairs", p.pairs},
                                           {"groups", p.groups},
                                           {"fixed_signed", p.fixed_signed},
                                           {"standard_error", p.standard_error},
                                           {"float_signed", p.float_signed},
                                           {"fixed_scaled", p.fixed_scaled},
                                           {"fixed_float", p.fixed_float},
                                           {"theory_signed", p.theory_signed},
                                           {"theory_scaled", p.theory_scaled},
                                           {"exact_signed", p.exact_signed},
                                           {"exact_scaled", p.exact_scaled},
                                           {"any_flip", p.any_flip},
                                           {"any_flip_expected", p.any_flip_expected}};
                             })},
      {"rounding_sign", list_json(r.rounding_sign, rounding_json)},
      {"rounding_gaussian", list_json(r.rounding_gaussian, rounding_json)},
      {"tensors", list_json(r.tensors,
                            [](const TensorSignal& t) {
                              return json{{"tensor", t.name},
                                          {"elements", t.elements},
                                          {"eps_lsb", t.eps_lsb},
                                          {"step_lsb", t.step_lsb}};
                            })},
      {"delta_histogram", r.delta_histogram},
      {"delta_zero_share", r.delta_zero_share},
      {"unchanged_share", r.unchanged_share},
      {"unchanged_late_share", r.unchanged_late_share},
      {"drift",
       {{"rms_steps", r.drift},
        {"theory_steps", r.drift_theory},
        {"bias_sigma", r.drift_bias_sigma},
        {"clipped", r.drift_clipped},
        {"accuracy_before", r.drift_accuracy_before},
        {"accuracy_after", r.drift_accuracy_after}}},
      {"by_step", list_json(r.by_step,
                            [](const StepPoint& p) {
                              return json{{"eps", p.eps},
                                          {"step", p.step},
                                          {"loss_change", p.loss_change},
                                          {"standard_error", p.standard_error},
                                          {"accuracy", p.accuracy}};
                            })},
      {"short_training",
       {{"steps", r.short_steps},
        {"loss_before", r.judged_loss},
        {"accuracy_before", r.judged_accuracy}}},
      {"recommended",
       {{"eps", r.recommended_eps}, {"pairs", r.recommended_pairs}, {"step", r.recommended_step}}},
      {"remarks", r.remarks}};
}

json sweep_json(const SweepReport& r, const SweepOptions& o) {
  return {
      {"eps", o.eps},
      {"step", o.step},
      {"steps", o.steps},
      {"seeds", o.seeds},
      {"batch", o.batch},
      {"layers", o.layers},
      {"emulated",
       "all points: quantize-dequantize arithmetic on the host; weights are 16-bit codes rounded "
       "to "
       "multiples of 2^(16 - bits), 16-bit activations a grid 256 times finer over the same range, "
       "8-bit logits multiples of 256 of the 16-bit code"},
      {"points", list_json(r.points,
                           [](const SweepPoint& p) {
                             return json{{"weights", p.widths.weights},
                                         {"activations", p.widths.activations},
                                         {"logits", p.widths.logits},
                                         {"distribution", p.gaussian ? "gaussian" : "sign"},
                                         {"eps_lsb", p.eps_lsb},
                                         {"perturbed_share", p.perturbed_share},
                                         {"lost", p.lost},
                                         {"source", p.source},
                                         {"before", p.before},
                                         {"after", p.after},
                                         {"standard_error", p.standard_error}};
                           })},
      {"turns_at", {{"sign", r.turns_at[0]}, {"gaussian", r.turns_at[1]}}},
      {"float_gain", {{"sign", r.float_gain[0]}, {"gaussian", r.float_gain[1]}}},
      {"gain_w16", {{"sign", r.wide_gain[0]}, {"gaussian", r.wide_gain[1]}}},
      {"gain_w8", {{"sign", r.narrow_gain[0]}, {"gaussian", r.narrow_gain[1]}}},
      {"float_minus_w16", {{"sign", r.gap[0]}, {"gaussian", r.gap[1]}}},
      {"float_minus_w16_error", {{"sign", r.gap_error[0]}, {"gaussian", r.gap_error[1]}}}};
}

constexpr std::uint64_t kOrder = 0x6f72646572;

// What a range must hold is what either domain shows.
void share_ranges(LayerAnalysis& a, LayerAnalysis& b) {
  for (std::size_t i = 0; i < a.golden_low.size(); ++i) {
    a.golden_low[i] = b.golden_low[i] = std::min(a.golden_low[i], b.golden_low[i]);
    a.golden_high[i] = b.golden_high[i] = std::max(a.golden_high[i], b.golden_high[i]);
  }
}

// Findings of another domain, but those that were made before. Failures stay in front.
void add_findings(std::vector<Finding>& to, const std::vector<Finding>& more,
                  const std::string& domain) {
  for (const Finding& f : more) {
    const auto same = [&](const Finding& g) {
      return g.layer == f.layer && g.check == f.check && g.level >= f.level;
    };
    if (std::any_of(to.begin(), to.end(), same)) continue;
    Finding named = f;
    if (!domain.empty()) named.text = domain + ": " + f.text;
    const auto at = f.level == Level::failure
                        ? std::find_if(to.begin(), to.end(),
                                       [](const Finding& g) { return g.level != Level::failure; })
                        : to.end();
    to.insert(at, std::move(named));
  }
}

// Large networks get fewer probes, so that time stays in bounds; the report has the numbers.
void scale_effort(ValidateOptions& o, const Network& network) {
  const double cost = static_cast<double>(macs(network)) / 1e6;
  if (cost > 1) {
    o.signal.probes = std::min(o.signal.probes, cost > 3 ? 24 : 40);
    o.signal.batches = {8, 32};
    o.signal.every_width = false;
    o.signal.short_steps = cost > 3 ? 60 : 100;
    o.signal.short_seeds = 1;
    o.signal.judged_examples = 256;
    o.sweep.examples = std::min(o.sweep.examples, 400);
    o.sweep.test_examples = std::min(o.sweep.test_examples, 400);
    o.sweep.probes = 32;
  }
  if (!o.quick) return;
  o.layers.examples = std::min(o.layers.examples, 128);
  o.signal.probes = 16;
  o.signal.eps = {0.1, 1, 10};
  o.signal.batches = {16};
  o.signal.steps = {0.1, 1};
  o.signal.every_width = false;
  o.signal.drift_steps = 20;
  o.signal.short_steps = 20;
  o.signal.short_seeds = 1;
  o.signal.judged_examples = 128;
  o.sweep.weights = {8, 12, 16};
  o.sweep.activations = {8};
  o.sweep.steps = std::min<std::uint32_t>(o.sweep.steps, 200);
  o.sweep.seeds = 1;
  o.sweep.examples = std::min(o.sweep.examples, 256);
  o.sweep.test_examples = std::min(o.sweep.test_examples, 256);
  o.sweep.probes = 16;
}

// What is validated: a network in float and in integers, and the data to do it with.
struct Candidate {
  Task task;
  Pretrained pretrained;
  QuantizedNetwork quantized;
  Network folded;
  FloatParams<float> params;  // of the folded network
};

// What would end a part of the validation after minutes of it.
void check_before(const ValidateOptions& o, const Network& network, std::size_t examples) {
  if (o.with_signal || o.with_sweep) {
    ForwardGradientOptions forward = o.run.adapt.forward;
    forward.batch = std::min(forward.batch, static_cast<int>(examples));
    check_options(forward, examples);
    check_adapt_options(network, o.run.adapt);
  }
  if (o.with_sweep) static_cast<void>(trainable_layers(network, o.sweep.layers));
}

Candidate load_candidate(const ValidateOptions& o, const Say& say,
                         const ProgressOptions& progress) {
  const RunOptions& run = o.run;
  Candidate s;
  TaskOptions given = run.task;
  use_network(given, run.network, run.checkpoint, say);
  if (!o.quantized.empty()) use_network(given, run.network, o.quantized, say);
  s.task = load_task(given);
  require_source(s.task, "validate");
  if (run.speaker) {  // the domain that will be met is that of one speaker
    if (s.task.speakers.empty())
      throw Error(ErrorKind::usage, fmt::format("speaker is {}, but task {} has no speakers",
                                                *run.speaker, s.task.name));
    SpeakerData met = speaker_data(s.task, *run.speaker);
    s.task.adapt = std::move(met.adapt);
    s.task.shifted_test = std::move(met.test);
  }
  // Recordings come sorted by word: a part of them must be a sample.
  for (Dataset* data : {&s.task.source_test, &s.task.shifted_test}) *data = shuffled(*data, kOrder);
  NetworkSource source = load_source(run.network, shape_of(s.task));
  if (source.network.reconstructs()) {  // anomalous examples are met, not learned
    keep_normal(source.network, s.task);
    for (Dataset* data : {&s.task.source_test, &s.task.shifted_test})
      keep_normal(*data, s.task.name);
  }
  check_before(o, source.network, s.task.adapt.size());
  s.pretrained = prepared(starting_point(s.task, std::move(source), run.checkpoint, run.pretrain,
                                         run.task.threads, say, progress),
                          s.task, run.quantize, run.task.threads, say);
  const Network& network = s.pretrained.network;
  s.quantized = o.quantized.empty()
                    ? integers_of(s.pretrained, s.task, run.quantize, run.task.threads)
                    : load_integers(o.quantized);
  s.folded = fold_network(network);
  if (!(s.quantized.network == s.folded))
    throw Error(ErrorKind::input,
                fmt::format("{}: it is of network '{}', expected the shapes of '{}'",
                            o.quantized.string(), s.quantized.network.name, network.name));
  s.params = fold_params(network, s.pretrained.params);
  return s;
}

json thresholds_json(const Thresholds& t) {
  return {{"sqnr_warn_db", t.sqnr_warn_db},
          {"sqnr_fail_db", t.sqnr_fail_db},
          {"cosine_warn", t.cosine_warn},
          {"saturation_warn", t.saturation_warn},
          {"saturation_fail", t.saturation_fail},
          {"rmse_over_scale_warn", t.rmse_over_scale_warn},
          {"headroom_warn_bits", t.headroom_warn_bits},
          {"accuracy_fail_points", t.accuracy_fail_points},
          {"squared_error_fail", t.squared_error_fail},
          {"float32_fail", t.float32_fail},
          {"logit_bits_fail", t.logit_bits_fail}};
}

json finding_json(const Finding& f) {
  return {{"level", f.level == Level::failure ? "fail" : "warn"},
          {"layer", f.layer},
          {"check", f.check},
          {"text", f.text}};
}

// Layers on the source and, where there is a shift, on the data that will be met; how the ranges
// fit both; what is to be said of it.
struct Comparison {
  LayerAnalysis source;
  std::optional<LayerAnalysis> met;
  std::vector<TensorFit> source_fit, shifted_fit;
  std::vector<Finding> findings;
};

Comparison compare_layers(const Candidate& s, const ValidateOptions& o, const DeviceOpener& open,
                          const Say& say) {
  const RunOptions& run = o.run;
  const auto analyse = [&](const Dataset& data, const LayerOptions& options) {
    return analyse_layers(s.folded, s.params, s.quantized, s.quantized, data, open, run.adapt.fixed,
                          options);
  };
  const auto judged = [&](const LayerAnalysis& a) {
    return judge(s.folded, s.params, s.quantized, a, o.thresholds);
  };
  Comparison c;
  if (say) say("comparing layers");
  c.source = analyse(s.task.source_test, o.layers);
  if (s.task.shift != "none") {
    if (say) say("comparing layers on the shifted domain");
    LayerOptions shifted = o.layers;
    shifted.sensitivity = false;
    c.met = analyse(s.task.shifted_test, shifted);
    share_ranges(c.source, *c.met);
  }
  c.findings = judged(c.source);
  if (c.met) add_findings(c.findings, judged(*c.met), "shifted domain");
  c.source_fit = range_fit_of(s.quantized, s.task.source_test, run.task.threads);
  c.shifted_fit = range_fit_of(s.quantized, s.task.shifted_test, run.task.threads);
  const Accuracy float_source =
      evaluate_float(Golden<float>(s.folded, run.task.threads), s.params, s.task.source_test);
  add_findings(c.findings, judge_data(s.task, float_source), "");
  add_findings(c.findings, judge_input(c.source_fit.front(), o.thresholds), "");
  add_findings(c.findings, judge_input(c.shifted_fit.front(), o.thresholds), "shifted domain");
  return c;
}

// Findings that fail the validation, by name.
json failed_json(const std::vector<Finding>& findings, bool strict) {
  json failed = json::array();
  for (const Finding& f : findings) {
    if (f.level == Level::failure || strict)
      failed.push_back(f.layer.empty() ? f.check : f.layer + ": " + f.check);
  }
  return failed;
}

// Names of the layers by SQNR.
json worst_first_json(const LayerAnalysis& analysis) {
  std::vector<const LayerReport*> worst;
  for (const LayerReport& r : analysis.layers) worst.push_back(&r);
  std::stable_sort(worst.begin(), worst.end(), [](const LayerReport* a, const LayerReport* b) {
    return a->total.sqnr_db() < b->total.sqnr_db();
  });
  return list_json(worst, [](const LayerReport* r) { return json(r->name); });
}

// The report without its parts on signal and widths, and without its verdict.
json analysis_json(const Candidate& s, const ValidateOptions& o, const Comparison& c) {
  const LayerAnalysis& layers = c.source;
  json r = {
      {"schema", 1},
      {"task", s.task.name},
      {"shift", s.task.shift},
      {"network", s.pretrained.network.name},
      {"weight_type", name_of(s.quantized.weight_type)},
      {"examples", layers.examples},
      {"seed", o.run.adapt.forward.seed},
      {"quick", o.quick},
      {"strict", o.strict},
      {"thresholds", thresholds_json(o.thresholds)},
      {"reconstruction", s.folded.reconstructs()},  // then the loss is squared error per element
      {"accuracy",
       {{"float", layers.float_accuracy},
        {"fixed", layers.fixed_accuracy},
        {"simulated", layers.simulated_accuracy}}},
      {"loss",
       {{"float", layers.float_loss},
        {"fixed", layers.fixed_loss},
        {"simulated", layers.simulated_loss}}},
      {"saturation_counters",
       {{"device", {layers.device_sat_low, layers.device_sat_high}},
        {"counted", {layers.counted_sat_low, layers.counted_sat_high}}}},
      {"range_fit", {{"source", fit_json(c.source_fit)}, {"shifted", fit_json(c.shifted_fit)}}},
      {"layers", list_json(layers.layers, layer_json)},
      {"worst_first", worst_first_json(layers)}};
  if (c.met)
    r["shifted"] = {
        {"accuracy", {{"float", c.met->float_accuracy}, {"fixed", c.met->fixed_accuracy}}},
        {"loss", {{"float", c.met->float_loss}, {"fixed", c.met->fixed_loss}}},
        {"layers", list_json(c.met->layers, layer_json)}};
  return r;
}

// The sweep starts from 16-bit weights, whatever the network has.
json swept_widths(const Candidate& s, const ValidateOptions& o, const Say& say) {
  const Dataset sample = shuffled(s.task.adapt, kOrder);
  QuantizeStageOptions wide = o.run.quantize;
  wide.quantize.weight_type = WeightType::w16;
  const QuantizedNetwork base =
      s.quantized.weight_type == WeightType::w16
          ? s.quantized
          : quantize_stage(s.pretrained, s.task, wide, o.run.task.threads);
  return sweep_json(
      sweep_widths(s.folded, s.params, base, {sample, s.task.shifted_test, s.task.source_test},
                   o.run.adapt, o.sweep, say),
      o.sweep);
}

}  // namespace

ValidateOutcome validate_network(const ValidateOptions& options, const DeviceOpener& open,
                                 const Say& say, const ProgressOptions& progress) {
  const auto begin = std::chrono::steady_clock::now();
  const Candidate s = load_candidate(options, say, progress);
  ValidateOptions o = options;
  if (s.folded.reconstructs() && (o.with_signal || o.with_sweep)) {
    o.with_signal = o.with_sweep = false;
    if (say)
      say("note: the loss of this network is reconstruction: layers are compared, the training "
          "signal and widths are not");
  }
  scale_effort(o, s.folded);
  const RunOptions& run = o.run;

  Comparison c = compare_layers(s, o, open, say);
  std::vector<Finding>& findings = c.findings;
  ValidateOutcome out;
  out.report = analysis_json(s, o, c);
  // A part that cannot be judged is a finding; what was found before it stays.
  const auto part = [&](const char* name, const auto& make) {
    try {
      out.report[name] = make();
    } catch (const Error& e) {
      findings.push_back({Level::failure, "", "not judged", fmt::format("{}: {}", name, e.what())});
    }
  };
  if (o.with_signal)
    part("signal", [&] {
      return signal_json(measure_signal(s.folded, s.params, s.quantized, s.task.adapt,
                                        s.task.shifted_test, run.adapt, o.signal, open, say));
    });
  if (o.with_sweep) part("sweep", [&] { return swept_widths(s, o, say); });
  out.report["findings"] = list_json(findings, finding_json);
  out.report["failed"] = failed_json(findings, o.strict);
  out.status = failure_status(findings, o.strict);
  out.report["exit_status"] = out.status;
  // Of this process, all threads: what a busy machine does not change.
  out.report["cpu_seconds"] = static_cast<double>(std::clock()) / CLOCKS_PER_SEC;
  out.report["seconds"] =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  out.summary = validate_summary(out.report);
  make_folder(run.reports);
  write_file_atomic(run.reports / "validate.json", json_text(out.report, 1) + "\n");
  write_file_atomic(run.reports / "validate-layers.csv", layers_csv(out.report));
  write_file_atomic(run.reports / "validate.html", validate_page(out.report));
  return out;
}

}  // namespace lastmile
