// SPDX-License-Identifier: Apache-2.0
#include "sw/app/run.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <map>
#include <optional>
#include <span>
#include <utility>
#include <vector>

#include "sw/app/apart.hpp"
#include "sw/app/origin.hpp"
#include "sw/app/ranges.hpp"
#include "sw/app/run_state.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/json_text.hpp"
#include "sw/base/stop.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/golden/checkpoint.hpp"
#include "sw/golden/npz.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/report/html.hpp"
#include "sw/report/plot.hpp"
#include "sw/trainer/reconstruction.hpp"
#include "sw/trainer/statistics.hpp"

namespace lastmile {
namespace {

using nlohmann::json;

// Where an amplitude in units of curvature (AmplitudeUnit) is a mistake, whatever was measured.
constexpr double kMostCurvature = 1e6;

std::vector<Domain> domains_of(const Task& task, const std::optional<int>& speaker) {
  std::vector<Domain> out;
  if (task.speakers.empty()) {
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

// What was taken of the data.
json data_json(const Task& task) {
  json out = {{"split", task.split}};
  for (const auto& [name, data] :
       {std::pair{"pretrain", &task.pretrain}, std::pair{"source_test", &task.source_test},
        std::pair{"adapt", &task.adapt}, std::pair{"shifted_test", &task.shifted_test}})
    out[name] = {{"examples", data->size()}, {"per_class", class_counts(*data)}};
  return out;
}

std::string percent(double v) { return fmt::format("{:.2f} %", v); }

// Numbers that a run which was resumed does not know are NaN here and null in the report.
json cost_json(const AdaptCost& c, double accuracy) {
  return {{"accuracy", accuracy},
          {"passes", c.passes},
          {"mmac", std::isnan(c.passes) ? c.passes : static_cast<double>(c.macs) / 1e6},
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

// Where the methods start on a domain.
struct Start {
  QuantizedNetwork network;
  FloatParams<float> params;
  Accuracy accuracy = {};  // after channel statistics
  json statistics = {};    // what channel statistics cost
};
Start start_of(const QuantizedNetwork& network, const FloatParams<float>& params, bool statistics,
               const Domain& domain, const DeviceOpener& open, const FixedOptions& fixed) {
  if (!statistics) return {network, params};
  StatisticsResult r = adapt_statistics(network, domain.train, open, fixed);
  Start out{std::move(r.network), params};
  apply_statistics(network.network, r.layers, out.params);
  const Accuracy a = evaluate_fixed(out.network, domain.test, open, fixed);
  AdaptCost cost;
  cost.macs = r.macs;
  cost.passes = r.passes;
  cost.scratch_bytes = r.scratch_bytes;
  out.accuracy = a;
  out.statistics = cost_json(cost, a.percent());
  out.statistics.update({{"examples", r.examples}, {"host_bytes_read", r.bytes_read}});
  return out;
}

// Everything that would end the run after hours of it.
void check_before(const RunOptions& o, const Network& network, const std::vector<Domain>& domains) {
  for (const Domain& d : domains) {
    const std::size_t examples = d.train.size();
    AdaptOptions adapt = o.adapt;
    adapt.forward.batch = std::min(adapt.forward.batch, static_cast<int>(examples));
    check_adapt_options(network, adapt);
    check_options(adapt.forward, examples);
    if (!o.with_readout && !o.with_both) continue;
    ReadoutRunOptions readout = o.readout.run;
    readout.batch = std::min(readout.batch, static_cast<int>(examples));
    check_options(readout, examples);
  }
}

// The weights to start from: those that an earlier start trained, if this run goes on.
Pretrained pretrained_of(const RunOptions& o, RunState& state, const Task& task,
                         NetworkSource described, const Say& say, const ProgressOptions& progress) {
  const std::filesystem::path kept = o.out / "float.lmc";
  if (!described.params && o.checkpoint.empty() && state.has(kept))
    return starting_point(task, std::move(described), kept, o.pretrain, o.task.threads, say,
                          progress);
  Pretrained p = starting_point(task, std::move(described), o.checkpoint, o.pretrain,
                                o.task.threads, say, progress);
  if (p.trained) {
    save_checkpoint(kept, p.network, p.params, to_text(task.preprocessing));
    state.kept(kept);
  }
  return p;
}

QuantizedNetwork quantized_of(const RunOptions& o, RunState& state, const Pretrained& pretrained,
                              const Task& task) {
  const std::filesystem::path kept = o.out / "quantized.lmq";
  if (state.has(kept)) return load_quantized(kept);
  QuantizedNetwork q = integers_of(pretrained, task, o.quantize, o.task.threads);
  save_quantized(kept, q);
  state.kept(kept);
  return q;
}

json near_json(const std::vector<FloatAgainstFixed>& near) {
  json out = json::array();
  for (const FloatAgainstFixed& a : near)
    out.push_back({{"domain", a.domain},
                   {"float", a.floating},
                   {"fixed", a.fixed},
                   {"examples", a.examples}});
  return out;
}

// What the options said, as the report repeats it.
json settings_json(const AdaptOptions& o) {
  return {{"layers", o.layers},
          {"steps", o.forward.steps},
          {"pairs", o.forward.pairs},
          {"batch", o.forward.batch},
          {"unit", o.unit == AmplitudeUnit::rms ? "rms" : "curvature"},
          {"eps", o.eps},
          {"step_size", o.step},
          {"keep", static_cast<double>(std::lround(spec::kKeepAll * o.keep)) / spec::kKeepAll},
          {"estimator", name_of(o.forward.estimator)},
          {"schedule", name_of(o.forward.schedule)},
          {"distribution", spec::to_string(o.fixed.distribution)},
          {"seed", o.forward.seed}};
}

Task task_of(const RunOptions& o, const Say& say) {
  TaskOptions data = o.task;
  use_network(data, o.network, o.checkpoint, say);
  Task task = load_task(data);
  require_source(task, "run");
  if (say) say_data(task, say);
  return task;
}

// The networks and the methods of one run, domain by domain. A method leaves its accuracy under a
// key of `accuracy`, its curve, its files, and on the first domain its cost.
class Experiment {
 public:
  Experiment(const RunOptions& o, const DeviceOpener& open, const Say& say,
             const ProgressOptions& progress)
      : o_(o), open_(open), say_(say), progress_(progress), task_(task_of(o, say)) {}

  RunOutcome run() {
    const auto begin = std::chrono::steady_clock::now();
    const std::vector<Domain> domains = domains_of(task_, o_.speaker);
    NetworkSource described = begin_state(domains);
    const std::filesystem::path to = o_.reports / "run.json";
    if (const std::optional<RunOutcome> done = state_->outcome(to)) {
      tell("this run is complete: its report stays as it is");
      return *done;
    }
    prepare(std::move(described));
    for (const Domain& d : domains) adapt(d, domains.size() == 1 ? "" : "-" + file_word(d.name));
    json r = report();
    r["seconds"] = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    write_file_atomic(to, json_text(r, 2) + "\n");
    write_file_atomic(o_.reports / "run.html", run_page(r));
    state_->complete(to, diverged_);
    return {std::move(r), diverged_};
  }

 private:
  void tell(const std::string& text) const {
    if (say_) say_(text);
  }
  [[nodiscard]] bool first() const { return per_domain_.empty(); }
  [[nodiscard]] JournalFile journal(const std::string& name) const {
    return {o_.out / (name + suffix_ + ".lmj"), state_->continues(), o_.salvage};
  }

  // Whose run this is, once nothing can refuse it any more.
  NetworkSource begin_state(const std::vector<Domain>& domains) {
    NetworkSource described = load_source(o_.network, shape_of(task_));
    require_labels(described.network, "run");
    make_folder(o_.out);
    make_folder(o_.reports);
    check_before(o_, described.network, domains);
    rehearse(described, domains.at(0).train);
    if (!o_.checkpoint.empty())
      require_origin(described.network, load_weights(o_.checkpoint, described.network), task_,
                     o_.checkpoint);
    state_.emplace(o_, task_, domains);
    return described;
  }

  // The float network, its integers, and what both know of the source.
  void prepare(NetworkSource described) {
    const Pretrained given =
        pretrained_of(o_, *state_, task_, std::move(described), say_, progress_);
    const Pretrained p = prepared(given, task_, o_.quantize, o_.task.threads, say_);
    weights_ = weight_count(given.network);
    network_ = p.network;
    source_ = quantized_of(o_, *state_, p, task_);
    source_params_ = fold_params(p.network, p.params);
    compare_source(given);
  }

  // All that could refuse the run later, on weights as they are drawn and a few examples.
  void rehearse(const NetworkSource& source, const Dataset& train) const {
    const FixedOptions& fixed = o_.adapt.fixed;
    QuantizedNetwork q = source.integers ? *source.integers
                                         : require_runnable(source.network, task_, o_.quantize,
                                                            fixed.hardware, fixed.batch);
    const auto examples = std::max<std::size_t>(32, static_cast<std::size_t>(fixed.batch));
    const Dataset few = slice(train, 0, std::min(train.size(), examples));
    if (o_.statistics) q = adapt_statistics(q, few, open_, fixed).network;
    AdaptOptions adapt = o_.adapt;
    // Measured on the weights that training will give: those drawn say nothing of it.
    const bool measured = adapt.unit != AmplitudeUnit::rms;
    for (const auto& [name, value] : {std::pair{"eps", adapt.eps}, std::pair{"step", adapt.step}})
      if (measured && value > kMostCurvature)
        throw Error(ErrorKind::usage, fmt::format("{} is {:g} in units of curvature, expected at "
                                                  "most {:g}",
                                                  name, value, kMostCurvature));
    adapt.unit = AmplitudeUnit::rms;
    if (o_.with_forward) {
      CompileOptions o;
      o.batch = 1;
      o.training = plan_training(q, adapt, few, open_);
      if (measured)
        for (TensorTraining& t : o.training) t.eps_lsb = t.step_lsb = 1;
      static_cast<void>(compile(q, fixed.hardware, o));
    }
    if (o_.with_readout || o_.with_both)
      static_cast<void>(make_readout_network(q, o_.readout.readout));
  }

  // What quantization cost, before anything adapts.
  void compare_source(const Pretrained& given) {
    const Golden<float> golden(given.network, o_.task.threads);
    sums_["float_source"] = evaluate_float(golden, given.params, task_.source_test);
    sums_["source"] = evaluate_fixed(source_, task_.source_test, open_, o_.adapt.fixed);
    tell(fmt::format("source: float {}, fixed point {} ({} weights, {})",
                     percent(sums_["float_source"].percent()), percent(sums_["source"].percent()),
                     weights_, name_of(source_.weight_type)));
    const auto fit = [&](const Dataset& data, const char* name) {
      const std::vector<TensorFit> fits = range_fit_of(source_, data, o_.task.threads);
      tell(fit_text(fits, std::string(name) + " test", o_.saturation_warn));
      range_fit_[name] = fit_json(fits);
    };
    fit(task_.source_test, "source");
    fit(task_.shifted_test, "shifted");
    near_ = float_against_fixed(given.network, given.params, source_, task_, open_, o_.adapt.fixed);
    tell(text_of(near_));
    require_near(near_, o_.apart_points);
  }

  // One domain, by every method that was asked for.
  void adapt(const Domain& domain, const std::string& suffix) {
    domain_ = &domain;
    suffix_ = suffix;
    options_ = o_.adapt;
    options_.limits.stop = [] { return stop_signal() != 0; };
    options_.forward.batch =
        std::min(options_.forward.batch, static_cast<int>(domain.train.size()));
    start_ = start_of(source_, source_params_, o_.statistics, domain, open_, options_.fixed);
    plan_ = plan_training(start_.network, options_, domain.train, open_);
    if (first()) trained_ = trained_weights(start_.network, plan_);
    line_.clear();
    result_ = {{"name", domain.name},
               {"adapt_examples", domain.train.size()},
               {"test_examples", domain.test.size()},
               {"accuracy", json::object()},
               {"curves", json::object()}};
    if (o_.statistics) statistics();
    if (o_.with_forward) forward_gradient();
    if (o_.with_both) by_readouts("both", " readouts and inner layers", o_.inner_steps);
    if (o_.with_readout) readouts();
    if (o_.with_float && o_.with_forward) float_forward_gradient();
    if (o_.with_backprop) backpropagation();
    tell(line_);
    per_domain_.push_back(std::move(result_));
  }

  void before(const Accuracy& a) {
    if (!line_.empty()) return;
    sums_["shifted"].add(a);
    result_["accuracy"]["shifted"] = a.percent();
    line_ = fmt::format("{}: shifted {}, adapted:", domain_->name, percent(a.percent()));
  }
  // The accuracy `key` of a method; `text`: how the line of the domain goes on.
  void after(const std::string& key, const std::string& text, const Accuracy& a) {
    sums_[key].add(a);
    result_["accuracy"][key] = a.percent();
    line_ += text + " " + percent(a.percent());
  }
  void curve(const std::string& key, const AdaptResult& r) {
    result_["curves"][key] = curve_json(r.curve);
  }

  void statistics() {
    before(evaluate_fixed(source_, domain_->test, open_, options_.fixed));
    after("statistics", " channel statistics", start_.accuracy);
    save_quantized(o_.out / ("statistics" + suffix_ + ".lmq"), start_.network);
    if (first()) methods_["statistics"] = start_.statistics;
  }

  void forward_gradient() {
    const JournalFile file = journal("journal");
    forward_options_ = settled(options_, domain_->train, file, first() ? say_ : Say{});
    FixedResult f = adapt_fixed(start_.network, plan_, domain_->train, domain_->test,
                                forward_options_, open_, file, progress_, first() ? say_ : Say{});
    if (f.end == RunEnd::stopped)
      throw Stopped(stop_signal(), fmt::format("{} after step {} of {}", domain_->name, f.steps,
                                               options_.forward.steps));
    save_quantized(o_.out / ("adapted" + suffix_ + ".lmq"), f.network);
    fixed_seconds_ += f.seconds;
    before(f.before);
    after("fixed", " fixed point", f.after);
    curve("fixed", f);
    const json held = held_json(f.held);
    result_["held_out"]["fixed"] = held;
    if (f.end == RunEnd::diverged)
      diverged_.push_back(domain_->name + ": " + held_text(*f.held, options_.forward.steps));
    if (!first()) return;
    json& method = methods_["forward_gradient"];
    method = cost_json(forward_cost(start_.network, plan_, domain_->train.size(),
                                    forward_options_.forward.batch, f),
                       f.after.percent());
    method.update(held);
    forward_ = std::move(f);
  }

  // With or without inner layers; `name` is that of its files, figures and curve.
  ReadoutResult by_readouts(const std::string& name, const std::string& text,
                            std::uint32_t inner_steps) {
    readout_ = o_.readout;
    readout_.fixed = options_.fixed;
    readout_.run.inner_steps = inner_steps;
    ReadoutResult got = adapt_readout(start_.network, domain_->train, domain_->test, readout_,
                                      open_, journal(name), progress_, Say{});
    save_quantized(o_.out / (name + suffix_ + ".lmq"), got.network);
    before(got.before);
    after(name, text, got.after);
    curve(name, got);
    if (first()) methods_[name] = readout_json(got);
    return got;
  }

  void readouts() {
    const ReadoutResult got = by_readouts("readout", " readouts", 0);
    if (!o_.with_float) return;
    const AdaptResult exact = adapt_readout_float(start_.network, start_.params, domain_->train,
                                                  domain_->test, readout_, got, progress_);
    after("readout_float", ", float readouts", exact.after);
  }

  void float_forward_gradient() {
    const AdaptResult r = adapt_float(start_.network, plan_, start_.params, domain_->train,
                                      domain_->test, forward_options_, progress_);
    result_["held_out"]["float"] = held_json(r.held);
    after("float", ", float", r.after);
    curve("float", r);
  }

  void backpropagation() {
    const BackpropResult r =
        adapt_backprop_search(start_.network.network, start_.params, domain_->train, domain_->test,
                              options_.layers, o_.backprop, options_.forward.batch,
                              options_.forward.seed, options_.fixed.threads, progress_);
    before(r.before);
    after("backprop", ", backpropagation", r.after);
    curve("backprop", r);
    if (first()) methods_["backprop"] = backprop_json(r);
  }

  json report() {
    json accuracy = json::object(), classes = {{"names", task_.class_names}};
    for (const auto& [key, sum] : sums_) {
      accuracy[key] = sum.percent();
      if (!sum.confusion.empty()) classes[key] = confusion_json(sum);
    }
    json r = {{"schema", 1},
              {"task", task_.name},
              {"shift", task_.shift},
              {"network", network_.name},
              {"weights", weights_},
              {"weight_type", name_of(source_.weight_type)},
              {"trained_weights", trained_},
              {"accuracy", accuracy},
              {"classes", classes},
              {"data", data_json(task_)},
              {"float_against_fixed", near_json(near_)},
              {"range_fit", range_fit_},
              {"methods", methods_},
              {"forward_passes", forward_.forward_passes},
              {"peak_bytes", forward_.peak_bytes},
              {"peak_activation_bytes", forward_.peak_activation_bytes},
              {"host_bytes_per_step", forward_.host_bytes_per_step},
              {"batch_bytes_per_step", forward_.batch_bytes_per_step},
              {"adapt_seconds", fixed_seconds_},
              {"domains", per_domain_},
              {"memory", forward_.memory_text}};
    r.update(settings_json(o_.adapt));
    const char* shown = o_.with_forward ? "fixed" : o_.with_both ? "both" : "readout";
    r["loss_curve"] = per_domain_[0]["curves"][shown];
    return r;
  }

  const RunOptions& o_;
  const DeviceOpener& open_;
  const Say& say_;
  const ProgressOptions& progress_;
  Task task_;
  std::optional<RunState> state_;  // from begin_state() on
  Network network_;
  QuantizedNetwork source_;
  FloatParams<float> source_params_;  // folded
  // Of the whole run.
  std::int64_t weights_ = 0;              // of the network as it was given
  std::map<std::string, Accuracy> sums_;  // several domains weigh by their test examples
  std::vector<FloatAgainstFixed> near_;
  json range_fit_ = json::object(), methods_ = json::object(), per_domain_ = json::array();
  FixedResult forward_;  // of the first domain
  std::int64_t trained_ = 0;
  double fixed_seconds_ = 0;
  // Of the domain at hand.
  const Domain* domain_ = nullptr;
  std::string suffix_, line_;
  AdaptOptions options_, forward_options_;  // forward_options_: settled
  ReadoutAdaptOptions readout_;
  Start start_;
  std::vector<TensorTraining> plan_;
  json result_;
  std::vector<std::string> diverged_;
};

}  // namespace

nlohmann::json held_json(const std::optional<HeldResult>& h) {
  if (!h) return json::object();
  return {{"best_step", h->best_step},
          {"held", h->examples},
          {"held_loss", {{"start", h->start_loss}, {"best", h->best_loss}}},
          {"diverged_at", h->diverged_at == 0 ? json() : json(h->diverged_at)}};
}

std::string figure(const nlohmann::json& number, int digits) {
  if (!number.is_number() || std::isnan(number.get<double>())) return "-";
  return fmt::format("{:.{}f}", number.get<double>(), digits);
}

std::string held_text(const HeldResult& h, std::uint32_t of) {
  // Squared errors may be small.
  const auto loss = [](double v) {
    return v < 0.1 ? fmt::format("{:.4g}", v) : fmt::format("{:.3f}", v);
  };
  const std::string best = fmt::format(
      "best of {} held-out examples after step {} (loss {}, "
      "at the start {})",
      h.examples, h.best_step, loss(h.best_loss), loss(h.start_loss));
  return h.diverged_at == 0
             ? best
             : fmt::format("diverged by step {} of {}, back to the {}", h.diverged_at, of, best);
}

nlohmann::json confusion_json(const Accuracy& a) {
  const std::vector<double> recall = a.per_class();
  json per_class = json::array(), rows = json::array();
  for (std::size_t k = 0; k < recall.size(); ++k) {
    per_class.push_back(std::isnan(recall[k]) ? json() : json(recall[k]));
    rows.push_back(std::span(a.confusion).subspan(k * recall.size(), recall.size()));
  }
  return {{"balanced", a.balanced()}, {"per_class", per_class}, {"confusion", rows}};
}

RunOutcome run_experiment(const RunOptions& o, const DeviceOpener& open, const Say& say,
                          const ProgressOptions& progress) {
  return Experiment(o, open, say, progress).run();
}

namespace {

constexpr std::size_t kMostClassesInATable = 32;

// Per class, and which classes are taken for which.
void classes_section(html::Page& page, const json& classes) {
  const auto names = classes.at("names").get<std::vector<std::string>>();
  if (names.size() > kMostClassesInATable) return;
  std::vector<std::string> head = {"class"};
  std::vector<std::vector<std::string>> rows;
  for (const std::string& name : names) rows.push_back({name});
  for (const auto& [key, value] : classes.items()) {
    if (key == "names") continue;
    head.push_back(key);
    for (std::size_t k = 0; k < rows.size(); ++k) {
      const json& v = value.at("per_class").at(k);
      rows[k].push_back(v.is_null() ? std::string("-") : fmt::format("{:.1f}", v.get<double>()));
    }
  }
  page.heading("Per cent right of each class").table(head, rows);
  for (const auto& [key, value] : classes.items()) {
    if (key == "names" || key == "float_source" || key == "source") continue;
    head = {"label \\ predicted"};
    rows.clear();
    for (std::size_t k = 0; k < names.size(); ++k) {
      head.push_back(names[k]);
      rows.push_back({names[k]});
      for (const json& n : value.at("confusion").at(k))
        rows[k].push_back(std::to_string(n.get<std::int64_t>()));
    }
    page.heading("Confusion: " + key).table(head, rows);
  }
}

void ranges_section(html::Page& page, const json& fits) {
  std::vector<std::vector<std::string>> rows;
  for (std::size_t k = 0; k < fits.at("source").size(); ++k) {
    const json &s = fits["source"][k], &t = fits["shifted"][k];
    const auto share = [](const json& f) {
      return fmt::format("{:.3f}", 100 * (f["below"].get<double>() + f["above"].get<double>()));
    };
    const auto interval = [](const json& v) {
      return fmt::format("{:.3g} to {:.3g}", v[0].get<double>(), v[1].get<double>());
    };
    rows.push_back({s["tensor"].get<std::string>(), interval(s["range"]), interval(s["seen"]),
                    share(s), interval(t["seen"]), share(t)});
  }
  page.heading("Ranges").table(
      {"tensor", "stored range", "seen, source", "saturated %", "seen, shifted", "saturated %"},
      rows);
}

// What each method cost, on the first domain; how the rates were found.
void methods_section(html::Page& page, const json& methods) {
  std::vector<std::vector<std::string>> rows;
  const auto row = [&](const char* name, const char* key) {
    if (!methods.contains(key)) return;
    const json& m = methods.at(key);
    std::string rate = "-";
    if (m.contains("rate"))
      rate = fmt::format("{:.3g} of {} tried", m.at("rate").get<double>(), m.at("rates").size());
    if (m.contains("held_loss"))
      rate = fmt::format("the result is step {}", m.at("best_step").get<std::uint32_t>());
    if (m.contains("epochs")) rate += fmt::format(", {} epochs", m.at("epochs").get<int>());
    if (m.value("diverged", false)) rate += ", diverged";
    rows.push_back({name, fmt::format("{:.2f}", m.at("accuracy").get<double>()),
                    figure(m.at("passes"), 0), figure(m.at("mmac"), 0),
                    fmt::format("{}", m.at("scratch_bytes").get<std::uint64_t>()),
                    fmt::format("{}", m.at("record_bytes").get<std::uint64_t>()), rate});
  };
  row("channel statistics", "statistics");
  row("fixed-point forward gradient", "forward_gradient");
  row("fixed-point readouts", "readout");
  row("fixed-point readouts and inner layers", "both");
  row("float backpropagation", "backprop");
  page.heading("Methods").table({"", "per cent", "passes", "MMAC", "scratch bytes",
                                 "kept records, bytes", "found on held-out examples"},
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
    if (!a.contains(key)) return;
    const json& c = r.at("classes");
    rows.push_back({name, fmt::format("{:.2f}", a.at(key).get<double>()),
                    c.contains(key) ? fmt::format("{:.2f}", c[key]["balanced"].get<double>())
                                    : std::string("-")});
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
  page.heading("Accuracy").table({"", "per cent", "balanced"}, rows);
  classes_section(page, r.at("classes"));
  ranges_section(page, r.at("range_fit"));

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
  page.table(
      {"", "value"},
      {{"forward passes of a batch",
        fmt::format("{}", r.at("forward_passes").get<std::uint64_t>())},
       {"NPU memory, bytes", fmt::format("{}", r.at("peak_bytes").get<std::uint64_t>())},
       {"live activations at the peak, bytes",
        fmt::format("{}", r.at("peak_activation_bytes").get<std::uint64_t>())},
       {"host interface per step without the batch, bytes", figure(r.at("host_bytes_per_step"), 1)},
       {"batch per step, bytes", figure(r.at("batch_bytes_per_step"), 1)}});
  page.raw("<pre>" + html::escape(r.at("memory").get<std::string>()) + "</pre>");
  page.note(
      "A backward pass counts as two forward passes, a step of readouts by its "
      "multiply-accumulates.");
  return page.str();
}

}  // namespace lastmile
