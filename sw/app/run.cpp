// SPDX-License-Identifier: Apache-2.0
#include "sw/app/run.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <utility>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/golden/checkpoint.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/report/html.hpp"
#include "sw/report/plot.hpp"
#include "sw/trainer/statistics.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

// One domain to adapt to: the whole shifted set, or one speaker.
struct Domain {
  std::string name;
  Dataset train, test;
};

std::vector<Domain> domains_of(const Task& task, const std::optional<int>& speaker) {
  std::vector<Domain> out;
  if (task.kind != TaskKind::audio) {
    if (speaker)
      throw Error(ErrorKind::usage,
                  fmt::format("speaker is {}, but task {} has no speakers", *speaker, task.name));
    out.push_back({task.shift, task.adapt, task.shifted_test});
    return out;
  }
  for (int s = 0; s < static_cast<int>(task.speakers.size()); ++s) {
    if (speaker && *speaker != s) continue;
    SpeakerData d = speaker_data(task, s);
    out.push_back(
        {task.speakers[static_cast<std::size_t>(s)], std::move(d.adapt), std::move(d.test)});
  }
  if (out.empty())
    throw Error(ErrorKind::usage, fmt::format("speaker is {}, expected 0..{}", *speaker,
                                              static_cast<int>(task.speakers.size()) - 1));
  return out;
}

json curve_json(const std::vector<CurvePoint>& curve) {
  json out = json::array();
  for (const CurvePoint& p : curve) {
    json j = {{"step", p.step}, {"forward_passes", p.forward_passes}, {"loss", p.loss}};
    if (std::isfinite(p.accuracy)) j["accuracy"] = p.accuracy;
    out.push_back(std::move(j));
  }
  return out;
}

// Accuracies of several domains weigh by their test examples.
struct Sum {
  std::int64_t correct = 0, examples = 0;
  void add(const Accuracy& a) { correct += a.correct, examples += a.examples; }
  [[nodiscard]] double percent() const { return Accuracy{correct, examples, 0}.percent(); }
};

std::string percent(double v) { return fmt::format("{:.2f} %", v); }

json cost_json(const AdaptCost& c, double accuracy) {
  return {{"accuracy", accuracy},
          {"passes", c.passes},
          {"mmac", static_cast<double>(c.macs) / 1e6},
          {"scratch_bytes", c.scratch_bytes},
          {"record_bytes", c.record_bytes}};
}

json readout_json(const ReadoutResult& r) {
  json taps = json::array();
  for (const ReadoutTap& t : r.taps) taps.push_back({{"layer", t.layer}, {"grid", t.grid}});
  json j = cost_json(r.cost, r.after.percent());
  j.update({{"taps", taps},
            {"record", r.record},
            {"trained_weights", r.trained},
            {"rate", r.rate},
            {"rates", r.rates},
            {"held_losses", r.rate_losses},
            {"held_examples", r.held},
            {"best_step", r.best_step},
            {"peak_bytes", r.peak_bytes},
            {"host_bytes_per_step", r.host_bytes_per_step},
            {"seconds", r.seconds},
            {"memory", r.memory_text}});
  return j;
}

json backprop_json(const BackpropResult& r) {
  json losses = json::array();  // null: that rate diverged
  for (const double l : r.choice.losses) losses.push_back(std::isnan(l) ? json() : json(l));
  json j = cost_json(r.cost, r.after.percent());
  j.update({{"rate", r.choice.rate},
            {"rates", r.choice.rates},
            {"held_losses", losses},
            {"epochs", r.choice.epochs},
            {"diverged", r.choice.diverged}});
  return j;
}

// Multiply-accumulates of an adaptation by forward gradients: frozen layers once per example.
AdaptCost forward_cost(const QuantizedNetwork& q, const std::vector<TensorTraining>& plan,
                       std::size_t examples, int batch, const FixedResult& r) {
  const int cut = frozen_prefix(q.network, plan);
  std::int64_t below = 0;
  for (int i = 0; i <= cut; ++i) below += macs(q.network.layers[static_cast<std::size_t>(i)]);
  AdaptCost c;
  c.passes = static_cast<double>(r.forward_passes);
  c.macs = static_cast<std::uint64_t>(below) * examples +
           r.forward_passes * static_cast<std::uint64_t>(batch) *
               static_cast<std::uint64_t>(macs(q.network) - below);
  c.scratch_bytes = r.peak_activation_bytes;
  return c;
}

}  // namespace

namespace {

// Where the methods start on a domain.
struct Start {
  QuantizedNetwork network;
  FloatParams<float> params;
  AdaptCost cost = {};  // of channel statistics
};
Start start_of(const QuantizedNetwork& network, const FloatParams<float>& params, bool statistics,
               const Domain& domain, const DeviceOpener& open, const FixedOptions& fixed) {
  if (!statistics) return {network, params};
  StatisticsResult r = adapt_statistics(network, domain.train, open, fixed);
  Start out{std::move(r.network), params};
  apply_statistics(network.network, r.layers, out.params);
  out.cost.macs = r.macs;
  out.cost.passes = r.passes;
  out.cost.scratch_bytes = r.scratch_bytes;
  return out;
}

}  // namespace

RunOutcome run_experiment(const RunOptions& o, const DeviceOpener& open, const Say& say,
                          const ProgressOptions& progress) {
  const auto begin = std::chrono::steady_clock::now();
  const auto tell = [&](const std::string& text) {
    if (say) say(text);
  };
  const Task task = load_task(o.task);
  NetworkSource described = load_source(o.network, shape_of(task));
  std::filesystem::create_directories(o.out);
  std::filesystem::create_directories(o.reports);
  const Pretrained pretrained = starting_point(task, std::move(described), o.checkpoint, o.pretrain,
                                               o.task.threads, say, progress);
  const Network& network = pretrained.network;
  if (pretrained.trained) save_checkpoint(o.out / "float.lmc", network, pretrained.params);
  const QuantizedNetwork source_network = integers_of(pretrained, task, o.quantize, o.task.threads);
  save_quantized(o.out / "quantized.lmq", source_network);

  const Golden<float> golden(network, o.task.threads);
  const Accuracy float_source = evaluate_float(golden, pretrained.params, task.source_test);
  const Accuracy source = evaluate_fixed(source_network, task.source_test, open, o.adapt.fixed);
  tell(fmt::format("source: float {}, fixed point {} ({} weights, {})",
                   percent(float_source.percent()), percent(source.percent()),
                   weight_count(network), name_of(source_network.weight_type)));

  const FloatParams<float> source_params = fold_params(network, pretrained.params);
  Sum shifted, statistics, fixed, floating, backprop, readout, readout_float, both;
  json methods = json::object();  // of the first domain
  json per_domain = json::array();
  FixedResult first;
  std::int64_t trained = 0;
  double fixed_seconds = 0;
  const std::vector<Domain> domains = domains_of(task, o.speaker);
  for (std::size_t d = 0; d < domains.size(); ++d) {
    const Domain& domain = domains[d];
    AdaptOptions adapt = o.adapt;
    adapt.forward.batch = std::min(adapt.forward.batch, static_cast<int>(domain.train.size()));
    const Start from =
        start_of(source_network, source_params, o.statistics, domain, open, adapt.fixed);
    const QuantizedNetwork& quantized = from.network;
    const FloatParams<float>& folded = from.params;
    const std::vector<TensorTraining> plan = plan_training(quantized, adapt, domain.train, open);
    if (d == 0) trained = trained_weights(quantized, plan);
    const std::string suffix = domains.size() == 1 ? "" : "-" + domain.name;
    FixedResult f;
    json j = {{"name", domain.name},
              {"adapt_examples", domain.train.size()},
              {"test_examples", domain.test.size()},
              {"accuracy", json::object()},
              {"curves", json::object()}};
    std::string line;
    const auto report_before = [&](const Accuracy& a) {
      if (!line.empty()) return;
      shifted.add(a);
      j["accuracy"]["shifted"] = a.percent();
      line = fmt::format("{}: shifted {}, adapted:", domain.name, percent(a.percent()));
    };
    if (o.statistics) {
      report_before(evaluate_fixed(source_network, domain.test, open, adapt.fixed));
      const Accuracy a = evaluate_fixed(quantized, domain.test, open, adapt.fixed);
      statistics.add(a);
      j["accuracy"]["statistics"] = a.percent();
      line += fmt::format(" channel statistics {}", percent(a.percent()));
      save_quantized(o.out / ("statistics" + suffix + ".lmq"), quantized);
      if (d == 0) methods["statistics"] = cost_json(from.cost, a.percent());
    }
    if (o.with_forward) {
      f = adapt_fixed(quantized, plan, domain.train, domain.test, adapt, open,
                      {o.out / ("journal" + suffix + ".lmj"), false}, progress,
                      d == 0 ? say : Say{});
      save_quantized(o.out / ("adapted" + suffix + ".lmq"), f.network);
      fixed_seconds += f.seconds;
      report_before(f.before);
      fixed.add(f.after);
      j["accuracy"]["fixed"] = f.after.percent();
      j["curves"]["fixed"] = curve_json(f.curve);
      line += fmt::format(" fixed point {}", percent(f.after.percent()));
      if (d == 0)
        methods["forward_gradient"] =
            cost_json(forward_cost(quantized, plan, domain.train.size(), adapt.forward.batch, f),
                      f.after.percent());
    }
    // With or without inner layers; `name` is that of its files, figures and curve.
    const auto by_readouts = [&](const std::string& name, const ReadoutAdaptOptions& r, Sum& sum) {
      ReadoutResult got = adapt_readout(quantized, domain.train, domain.test, r, open,
                                        o.out / (name + suffix + ".lmj"), false, progress, Say{});
      save_quantized(o.out / (name + suffix + ".lmq"), got.network);
      report_before(got.before);
      sum.add(got.after);
      j["accuracy"][name] = got.after.percent();
      j["curves"][name] = curve_json(got.curve);
      if (d == 0) methods[name] = readout_json(got);
      return got;
    };
    if (o.with_both) {
      ReadoutAdaptOptions r = o.readout;
      r.fixed = adapt.fixed;
      const ReadoutResult got = by_readouts("both", r, both);
      line += fmt::format(" readouts and inner layers {}", percent(got.after.percent()));
    }
    if (o.with_readout) {
      ReadoutAdaptOptions r = o.readout;
      r.fixed = adapt.fixed;
      r.run.inner_steps = 0;
      const ReadoutResult got = by_readouts("readout", r, readout);
      line += fmt::format(" readouts {}", percent(got.after.percent()));
      if (o.with_float) {
        const AdaptResult exact =
            adapt_readout_float(quantized, folded, domain.train, domain.test, r, got, progress);
        readout_float.add(exact.after);
        j["accuracy"]["readout_float"] = exact.after.percent();
        line += fmt::format(" (float {})", percent(exact.after.percent()));
      }
    }
    if (o.with_float && o.with_forward) {
      const AdaptResult r =
          adapt_float(quantized, plan, folded, domain.train, domain.test, adapt, progress);
      floating.add(r.after);
      j["accuracy"]["float"] = r.after.percent();
      j["curves"]["float"] = curve_json(r.curve);
      line += fmt::format(", float {}", percent(r.after.percent()));
    }
    if (o.with_backprop) {
      const BackpropResult r = adapt_backprop_search(
          quantized.network, folded, domain.train, domain.test, adapt.layers, o.backprop,
          adapt.forward.batch, adapt.forward.seed, adapt.fixed.threads, progress);
      backprop.add(r.after);
      report_before(r.before);
      if (d == 0) methods["backprop"] = backprop_json(r);
      j["accuracy"]["backprop"] = r.after.percent();
      j["curves"]["backprop"] = curve_json(r.curve);
      line += fmt::format(", backpropagation {}", percent(r.after.percent()));
    }
    tell(line);
    per_domain.push_back(std::move(j));
    if (d == 0) first = std::move(f);
  }

  json accuracy = {{"float_source", float_source.percent()},
                   {"source", source.percent()},
                   {"shifted", shifted.percent()}};
  if (o.statistics) accuracy["statistics"] = statistics.percent();
  if (o.with_forward) accuracy["fixed"] = fixed.percent();
  if (o.with_forward && o.with_float) accuracy["float"] = floating.percent();
  if (o.with_readout) accuracy["readout"] = readout.percent();
  if (o.with_readout && o.with_float) accuracy["readout_float"] = readout_float.percent();
  if (o.with_both) accuracy["both"] = both.percent();
  if (o.with_backprop) accuracy["backprop"] = backprop.percent();
  json report = {
      {"schema", 1},
      {"task", task.name},
      {"shift", task.shift},
      {"network", network.name},
      {"weights", weight_count(network)},
      {"weight_type", name_of(source_network.weight_type)},
      {"trained_weights", trained},
      {"layers", o.adapt.layers},
      {"steps", o.adapt.forward.steps},
      {"pairs", o.adapt.forward.pairs},
      {"batch", o.adapt.forward.batch},
      {"unit", o.adapt.unit == AmplitudeUnit::rms ? "rms" : "curvature"},
      {"eps", o.adapt.eps},
      {"step_size", o.adapt.step},
      {"keep", o.adapt.keep},
      {"estimator", name_of(o.adapt.forward.estimator)},
      {"schedule", name_of(o.adapt.forward.schedule)},
      {"distribution", spec::to_string(o.adapt.fixed.distribution)},
      {"seed", o.adapt.forward.seed},
      {"accuracy", accuracy},
      {"methods", methods},
      {"forward_passes", first.forward_passes},
      {"peak_bytes", first.peak_bytes},
      {"peak_activation_bytes", first.peak_activation_bytes},
      {"host_bytes_per_step", first.host_bytes_per_step},
      {"batch_bytes_per_step", first.batch_bytes_per_step},
      {"adapt_seconds", fixed_seconds},
      {"seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()},
      {"loss_curve", per_domain[0]["curves"][o.with_forward ? "fixed"
                                             : o.with_both  ? "both"
                                                            : "readout"]},
      {"domains", per_domain},
      {"memory", first.memory_text},
  };
  write_file_atomic(o.reports / "run.json", report.dump(2) + "\n");
  write_file_atomic(o.reports / "run.html", run_page(report));
  return {std::move(report)};
}

namespace {

// What each method cost, on the first domain; how the rates were found.
void methods_section(html::Page& page, const json& methods) {
  std::vector<std::vector<std::string>> rows;
  const auto row = [&](const char* name, const char* key) {
    if (!methods.contains(key)) return;
    const json& m = methods.at(key);
    std::string rate = "-";
    if (m.contains("rate"))
      rate = fmt::format("{:.3g} of {} tried", m.at("rate").get<double>(), m.at("rates").size());
    if (m.contains("epochs")) rate += fmt::format(", {} epochs", m.at("epochs").get<int>());
    if (m.value("diverged", false)) rate += ", diverged";
    rows.push_back({name, fmt::format("{:.2f}", m.at("accuracy").get<double>()),
                    fmt::format("{:.0f}", m.at("passes").get<double>()),
                    fmt::format("{:.0f}", m.at("mmac").get<double>()),
                    fmt::format("{}", m.at("scratch_bytes").get<std::uint64_t>()),
                    fmt::format("{}", m.at("record_bytes").get<std::uint64_t>()), rate});
  };
  row("channel statistics", "statistics");
  row("fixed-point forward gradient", "forward_gradient");
  row("fixed-point readouts", "readout");
  row("fixed-point readouts and inner layers", "both");
  row("float backpropagation", "backprop");
  page.heading("Methods").table({"", "per cent", "passes", "MMAC", "scratch bytes",
                                 "kept records, bytes", "rate found on held-out examples"},
                                rows);
}

}  // namespace

std::string run_page(const json& r) {
  html::Page page(fmt::format("Lastmile: {} on {}", r.at("network").get<std::string>(),
                              r.at("task").get<std::string>()));
  page.paragraph(
      fmt::format("A float network, quantized ({}, int8 activations), moved to another domain "
                  "({}), adapted with forward passes alone: "
                  "{} steps of {} pair(s), batch {}, {} trained weights.",
                  r.at("weight_type").get<std::string>(), r.at("shift").get<std::string>(),
                  r.at("steps").get<int>(), r.at("pairs").get<int>(), r.at("batch").get<int>(),
                  r.at("trained_weights").get<std::int64_t>()));
  const json& a = r.at("accuracy");
  std::vector<std::vector<std::string>> rows;
  const auto row = [&](const char* name, const char* key) {
    if (a.contains(key)) rows.push_back({name, fmt::format("{:.2f}", a.at(key).get<double>())});
  };
  row("source domain, float", "float_source");
  row("source domain, fixed point", "source");
  row("shifted domain, not adapted", "shifted");
  row("channel statistics, no labels", "statistics");
  row("adapted: fixed-point forward gradient", "fixed");
  row("adapted: float forward gradient, same seeds", "float");
  row("adapted: fixed-point readouts", "readout");
  row("adapted: float readouts, same batches", "readout_float");
  row("adapted: fixed-point readouts and inner layers", "both");
  row("adapted: float backpropagation", "backprop");
  page.heading("Accuracy").table({"", "per cent"}, rows);

  methods_section(page, r.at("methods"));
  for (const json& d : r.at("domains")) {
    Chart loss{.title = "Training loss: " + d.at("name").get<std::string>(),
               .x_label = "forward passes of a batch",
               .y_label = "nats"};
    Chart accuracy{.title = "Accuracy on the shifted test: " + d.at("name").get<std::string>(),
                   .x_label = "forward passes of a batch",
                   .y_label = "per cent"};
    accuracy.kind = Chart::Kind::lines;
    for (const auto& [name, curve] : d.at("curves").items()) {
      Series l{.name = name}, s{.name = name};
      for (const json& p : curve) {
        l.x.push_back(p.at("forward_passes").get<double>());
        l.y.push_back(p.at("loss").get<double>());
        if (p.contains("accuracy")) {
          s.x.push_back(p.at("forward_passes").get<double>());
          s.y.push_back(p.at("accuracy").get<double>());
        }
      }
      loss.series.push_back(std::move(l));
      if (name == "backprop" && s.x.size() == 1) {  // one point would not show: a level line
        s = {.name = "backprop (end)",
             .x = {0, static_cast<double>(r.at("forward_passes").get<std::uint64_t>())},
             .y = {s.y[0], s.y[0]}};
      }
      if (!s.x.empty()) accuracy.series.push_back(std::move(s));
    }
    page.heading(d.at("name").get<std::string>()).raw(to_svg(accuracy)).raw(to_svg(loss));
  }
  page.heading("Cost");
  page.table({"", "value"},
             {{"forward passes of a batch",
               fmt::format("{}", r.at("forward_passes").get<std::uint64_t>())},
              {"NPU memory, bytes", fmt::format("{}", r.at("peak_bytes").get<std::uint64_t>())},
              {"live activations at the peak, bytes",
               fmt::format("{}", r.at("peak_activation_bytes").get<std::uint64_t>())},
              {"host interface per step without the batch, bytes",
               fmt::format("{:.1f}", r.at("host_bytes_per_step").get<double>())},
              {"batch per step, bytes",
               fmt::format("{:.1f}", r.at("batch_bytes_per_step").get<double>())}});
  page.raw("<pre>" + html::escape(r.at("memory").get<std::string>()) + "</pre>");
  page.note(
      "A backward pass counts as two forward passes, a step of readouts by its "
      "multiply-accumulates.");
  return page.str();
}

}  // namespace lastmile
