// SPDX-License-Identifier: Apache-2.0
#include "sw/app/adapt.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "sw/base/stop.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/trainer/fixed_training.hpp"
#include "sw/trainer/reconstruction.hpp"

namespace lastmile {
namespace {

using Clock = std::chrono::steady_clock;
double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Collects the loss curve and asks for an accuracy at evenly spaced steps.
class CurveRecorder {
 public:
  // `network` must outlive this.
  CurveRecorder(const QuantizedNetwork& network, const AdaptOptions& o, AdaptResult& result)
      : network_(network), o_(o), result_(result) {}

  // evaluate() gives per cent and is called only at the points of the curve.
  template <class Evaluate>
  void step(const JournalRecord& r, const Evaluate& evaluate) {
    const double loss = network_.network.reconstructs()
                            ? mean_loss(network_, r.loss_sum, losses_of_a_step())
                            : mean_loss(r, o_.forward);
    mean_ = count_++ == 0 ? loss : 0.98 * mean_ + 0.02 * loss;
    const std::uint64_t done = std::uint64_t{r.step} + 1, steps = o_.forward.steps;
    const auto points = static_cast<std::uint64_t>(std::max(o_.evaluations, 0));
    const bool evaluate_now =
        points != 0 && done != steps && done * points / steps != (done - 1) * points / steps;
    const std::uint64_t curve_points = std::min<std::uint64_t>(steps, 200);
    if (evaluate_now || done == steps ||
        done * curve_points / steps != (done - 1) * curve_points / steps) {
      result_.curve.push_back(
          {static_cast<std::uint32_t>(done),
           2 * done * static_cast<std::uint64_t>(o_.forward.pairs), mean_,
           evaluate_now ? evaluate() : std::numeric_limits<double>::quiet_NaN()});
    }
  }
  // A step of an earlier run, whose weights are not at hand.
  void replayed(const JournalRecord& r) {
    step(r, [] { return std::numeric_limits<double>::quiet_NaN(); });
  }
  [[nodiscard]] double mean() const { return mean_; }

 private:
  [[nodiscard]] std::size_t losses_of_a_step() const {
    return 2 * static_cast<std::size_t>(o_.forward.pairs) *
           static_cast<std::size_t>(o_.forward.batch);
  }
  const QuantizedNetwork& network_;
  const AdaptOptions& o_;
  AdaptResult& result_;
  double mean_ = 0;
  std::uint64_t count_ = 0;
};

// The last point of the curve is the result's, unless that is of an earlier step.
void end_curve(AdaptResult& r, std::uint32_t steps) {
  if (!r.curve.empty() && (!r.held || r.held->best_step == steps))
    r.curve.back().accuracy = r.after.percent();  // 0 of a network that classifies nothing
}

// `passes`: of a batch, for all points.
std::optional<HeldResult> held_result(const QuantizedNetwork& network, const TrainingRun& run,
                                      std::size_t examples, std::uint64_t passes) {
  if (!run.points()) return {};
  const BestPoint& p = *run.points();
  const auto mean = [&](std::int64_t sum) { return mean_loss(network, sum, examples); };
  return HeldResult{examples,
                    p.best_step(),
                    mean(p.start_loss()),
                    mean(p.best_loss()),
                    passes,
                    p.diverged() ? p.last() : 0};
}

Dataset head_of(const Dataset& data, int examples) {
  return slice(data, 0, std::min(data.size(), static_cast<std::size_t>(std::max(examples, 1))));
}

}  // namespace

RunConfig run_config(const QuantizedNetwork& start, const Dataset& train, const AdaptOptions& o,
                     std::span<const TensorTraining> plan) {
  return {.base_digest = network_digest(start),
          .data_digest = data_digest(train),
          .forward = o.forward,
          .distribution = o.fixed.distribution,
          .mask_seed = o.fixed.mask_seed,
          .tensors = {plan.begin(), plan.end()}};
}

namespace {

constexpr double kProbeAmplitude = 0.05;  // of a tensor's RMS, where its curvature is measured
constexpr double kLeastAmplitude = 0.001,
                 kMostAmplitude = 0.2;  // of a tensor's RMS, whatever was measured
constexpr std::uint64_t kCurvatureStream = 0x63757276;

// Mean rise of the loss, nats, when one tensor alone is perturbed by its `eps_lsb`; of a squared
// error, which has no such unit, its share of the loss.
double loss_rise(const QuantizedNetwork& network, const TensorTraining& tensor,
                 const Dataset& train, const AdaptOptions& o, const DeviceOpener& open) {
  FixedOptions fixed = o.fixed;
  fixed.batch = static_cast<int>(std::min<std::size_t>(kCurvatureBatch, train.size()));
  FixedTarget target(network, std::span(&tensor, 1), head_of(train, fixed.batch), open, fixed);
  std::vector<std::uint32_t> batch(static_cast<std::size_t>(fixed.batch));
  std::iota(batch.begin(), batch.end(), 0U);
  target.set_batch(batch);
  const double base = target.loss(spec::Polarity::none_, 0);
  double rise = 0;
  for (std::uint64_t i = 0; i < kCurvatureProbes; ++i) {
    stop_if_asked();
    const std::uint64_t seed = sub_seed(o.forward.seed, kCurvatureStream + i);
    rise +=
        (target.loss(spec::Polarity::plus_, seed) + target.loss(spec::Polarity::minus_, seed)) / 2 -
        base;
  }
  if (network.network.reconstructs()) rise /= std::max(base, 1e-300);
  return rise / kCurvatureProbes;
}

}  // namespace

void check_adapt_options(const Network& network, const AdaptOptions& o) {
  static_cast<void>(trainable_layers(network, o.layers));
  if (!(o.keep > 0 && o.keep <= 1))
    throw Error(ErrorKind::usage,
                fmt::format("keep is {}, expected above 0 and at most 1", o.keep));
  if (std::lround(spec::kKeepAll * o.keep) < 1)
    throw Error(ErrorKind::usage,
                fmt::format("keep is {}, expected at least half of 1/{}, the mask's smallest share",
                            o.keep, spec::kKeepAll));
  for (const auto& [name, value] :
       {std::pair{"eps", o.eps}, std::pair{"step", o.step}, std::pair{"inner", o.inner}}) {
    if (!(value > 0 && std::isfinite(value)))
      throw Error(ErrorKind::usage,
                  fmt::format("{} is {}, expected a number above 0", name, value));
  }
}

std::vector<TensorTraining> plan_training(const QuantizedNetwork& network, const AdaptOptions& o,
                                          const Dataset& train, const DeviceOpener& open) {
  check_adapt_options(network.network, o);
  const double step =
      o.step / (o.forward.pairs * (o.forward.estimator == Estimator::scaled ? 127.0 : 1.0));
  const bool measured = o.unit == AmplitudeUnit::curvature;
  TrainingRule rule;
  rule.layers = trainable_layers(network.network, o.layers);
  rule.biases = o.biases;
  rule.eps = measured ? kProbeAmplitude : o.eps;
  rule.step = measured ? kProbeAmplitude : step;
  rule.keep = std::max(1, static_cast<int>(std::lround(spec::kKeepAll * o.keep)));
  rule.bias_keep = spec::kKeepAll;
  std::vector<TensorTraining> plan = training_plan(network, rule);
  const auto head = static_cast<std::uint32_t>(network.network.logits_layer());
  const auto scale_inner = [&] {
    for (TensorTraining& t : plan)
      if (t.tensor / 2 != head) t.eps_lsb *= o.inner, t.step_lsb *= o.inner;
    fit_biases(plan);
    return plan;
  };
  if (!measured) return scale_inner();
  const double share = kCurvatureBudget / static_cast<double>(plan.size());
  for (TensorTraining& t : plan) {
    const double rise = loss_rise(network, t, train, o, open);
    const double most = kMostAmplitude / kProbeAmplitude;
    double factor = rise > share / (most * most)
                        ? std::max(std::sqrt(share / rise), kLeastAmplitude / kProbeAmplitude)
                        : most;
    // A network that fits its data perfectly shows no rise: a tensor of small LSBs must not be
    // asked for more of them than the hardware has.
    if (factor > 1) factor = std::clamp(kMostEpsLsb[t.tensor % 2] / t.eps_lsb, 1.0, factor);
    t.eps_lsb *= factor * o.eps;
    t.step_lsb *= factor * step;
  }
  return scale_inner();
}

std::int64_t trained_weights(const QuantizedNetwork& network,
                             const std::vector<TensorTraining>& plan) {
  std::int64_t n = 0;
  for (const TensorTraining& t : plan) {
    const QuantizedLayer& q = network.layers[t.tensor / 2];
    n += static_cast<std::int64_t>(t.tensor % 2 != 0 ? q.bias.size() : q.weights.size());
  }
  return n;
}

bool JournalFile::goes_on() const {
  return resume && !path.empty() && kind_of(path) == FileKind::file;
}

AdaptOptions settled(AdaptOptions o, const Dataset& train, const JournalFile& journal,
                     const Say& say) {
  if (journal.goes_on()) {
    const RunConfig found = read_journal(journal.path, {.records = 0}).config;
    o.forward.seed_rule = found.forward.seed_rule;  // a journal keeps its rule
    if (!o.hold_out) o.hold_out = found.hold_out;
  }
  const int percent = o.hold_out.value_or(kHoldOut);
  const std::size_t held = held_examples(train, percent, o.forward.seed);
  if (percent != 0 && held == 0 && say)
    say(
        fmt::format("note: no example of {} is held out (below {}, or below one at {} per cent): "
                    "the result is the end of the run, better or worse",
                    train.size(), kLeastToHoldOut, percent));
  o.hold_out = held == 0 ? 0 : percent;
  const auto left = static_cast<int>(train.size() - held);
  if (o.forward.batch > left && static_cast<std::size_t>(o.forward.batch) <= train.size()) {
    if (say)
      say(fmt::format("note: {} examples are held out; the batch is {}, all that are left", held,
                      left));
    o.forward.batch = left;
  }
  return o;
}

namespace {

// Frozen layers run once per example in a program of their own before the first step; the host
// keeps what they put out. The device must have memory for both, one after the other.
void count_frozen(const FixedTarget& target, const QuantizedNetwork& start, const Dataset& train,
                  const AdaptOptions& o, FixedResult& result) {
  CompileOptions front;
  front.batch = static_cast<int>(
      std::max<std::size_t>(1, std::min(static_cast<std::size_t>(o.fixed.batch), train.size())));
  front.output_layer = target.input_layer();
  const std::uint64_t bytes = compile(start, o.fixed.hardware, front).memory.total_bytes;
  const auto kept =
      static_cast<std::uint64_t>(start.network.shape_of(target.input_layer()).elements());
  result.memory_text += fmt::format(
      "frozen layers run once per example before the first step, up to {}:\n"
      "  {:<28}{:>10}  a program of its own\n"
      "  {:<28}{:>10}  {} examples, {} bytes each, kept by the host\n",
      start.network.layers[static_cast<std::size_t>(target.input_layer())].name,
      "frozen layers, total", bytes, "kept outputs", kept * train.size(), train.size(), kept);
  result.peak_bytes = std::max(result.peak_bytes, bytes);
}

}  // namespace

FixedResult adapt_fixed(const QuantizedNetwork& start, std::span<const TensorTraining> plan,
                        const Dataset& train, const Dataset& test, const AdaptOptions& o,
                        const DeviceOpener& open, const JournalFile& journal,
                        const ProgressOptions& progress, const Say& say) {
  FixedResult result;
  result.before = evaluate_fixed(start, test, open, o.fixed);

  RunConfig config = run_config(start, train, o, plan);
  config.hold_out = o.hold_out.value_or(0);
  if (o.audit_every != 0) make_auditable(config, o.audit_every, start, train);
  FixedTraining training(start, config, train, open, o.fixed);
  FixedTarget& target = training.target();
  TrainingRun& run = training.run();
  check_options(o.forward, training.train_examples());
  training.choose_best();
  if (say)
    for (const std::string& note : target.driver().program().notes) say("note: " + note);
  CurveRecorder recorder(start, o, result);
  if (!journal.path.empty() && !journal.goes_on() && journal.begins) journal.begins();
  if (!journal.path.empty() && !journal.resume) run.start_journal(journal.path);
  if (!journal.path.empty() && journal.resume) {
    const std::uint32_t done = run.continue_journal(
        journal.path, [&](const JournalRecord& r) { recorder.replayed(r); }, journal.salvage);
    if (say && done != 0)
      say(fmt::format("{}: {} steps replayed, continuing", journal.path.string(), done));
  }

  const Dataset curve_test = head_of(test, o.evaluation_examples);
  // Of steps alone, without what is measured in between.
  const auto traffic = [&](Traffic kind) {
    return target.driver().traffic(kind) - training.held_traffic(kind);
  };
  const HostTraffic step_before = traffic(Traffic::step), batch_before = traffic(Traffic::batch);
  const std::uint32_t first = run.next_step();
  Progress bar("adapting (fixed point)", o.forward.steps - first, progress);
  const Clock::time_point begin = Clock::now();
  double evaluating = 0;
  result.end = run.run(o.limits, [&](const JournalRecord& r) {
    recorder.step(r, [&] {
      const Clock::time_point t = Clock::now();
      const Accuracy a = evaluate_fixed(target.network(), curve_test, open, o.fixed);
      evaluating += seconds_since(t);
      return a.percent();
    });
    bar.add();
    bar.note(fmt::format("loss {:.3f}", recorder.mean()));
  });
  result.seconds = seconds_since(begin) - evaluating;
  bar.finish();

  const double steps = run.next_step() == first ? std::numeric_limits<double>::quiet_NaN()
                                                : static_cast<double>(run.next_step() - first);
  result.host_bytes_per_step =
      static_cast<double>((traffic(Traffic::step) - step_before).bytes()) / steps;
  result.batch_bytes_per_step =
      static_cast<double>((traffic(Traffic::batch) - batch_before).bytes()) / steps;
  const Program& program = target.driver().program();
  result.peak_bytes = program.memory.total_bytes;
  result.peak_activation_bytes = program.memory.activation_live_peak;
  result.memory_text = memory_report(program, start.network);
  if (target.input_layer() != kNetworkInput) count_frozen(target, start, train, o, result);
  result.steps = run.next_step();
  result.forward_passes =
      2 * std::uint64_t{result.steps} * static_cast<std::uint64_t>(o.forward.pairs) +
      training.held_passes();
  result.held = held_result(start, run, training.held_examples(), training.held_passes());
  result.network = training.result();
  result.device_report = target.device().report();
  if (result.end == RunEnd::stopped) return result;
  result.after = evaluate_fixed(result.network, test, open, o.fixed);
  end_curve(result, result.steps);
  return result;
}

QuantizedNetwork replay_journal(const QuantizedNetwork& base, const std::filesystem::path& path,
                                std::optional<std::uint32_t> steps, bool salvage,
                                const DeviceOpener& open, const FixedOptions& how,
                                const ProgressOptions& progress) {
  // What lies behind the steps that are wanted may be damaged.
  const Journal journal =
      read_journal(path, {.records = steps.value_or(UINT32_MAX), .salvage = salvage});
  if (!steps || journal.records.size() < *steps)
    warn_of_damage(path.string(), journal.damage, journal.file_bytes, journal.valid_bytes);
  const std::uint32_t to = steps.value_or(journal.result_step());
  Progress bar("replaying", to, progress);
  return replay_network(base, journal, path.string(), to, open, how,
                        [&](const JournalRecord&) { bar.add(); });
}

AdaptResult adapt_float(const QuantizedNetwork& network, std::span<const TensorTraining> plan,
                        FloatParams<float> params, const Dataset& train, const Dataset& test,
                        const AdaptOptions& o, const ProgressOptions& progress) {
  const Golden<float> golden(network.network, o.fixed.threads);
  AdaptResult result;
  result.before = evaluate_float(golden, params, test);
  const HeldOutData data(train, o.hold_out.value_or(0), o.forward.seed);
  FloatTarget target(golden, params, network, plan, data.data(), o.fixed.distribution,
                     o.fixed.mask_seed);
  const Dataset curve_test = head_of(test, o.evaluation_examples);
  CurveRecorder recorder(network, o, result);
  Progress bar("adapting (float)", o.forward.steps, progress);
  const Clock::time_point begin = Clock::now();
  ForwardGradient method(target, data.train(), o.forward);
  TrainingRun run(method, {.forward = o.forward});
  FloatParams<float> best;
  if (data.held() != 0)
    run.hold_out(
        {.loss = [&] { return held_loss(target, data.train(), data.held(), o.forward.batch); },
         .keep = [&] { best = params; },
         .examples = data.held(),
         .classes = train.classes,
         .elements = network.network.reconstructs() ? network.network.input.elements() : 0});
  bool exploded = false;  // between two points
  try {
    run.run({}, [&](const JournalRecord& r) {
      stop_if_asked();
      recorder.step(r, [&] { return evaluate_float(golden, params, curve_test).percent(); });
      bar.add();
      bar.note(fmt::format("loss {:.3f}", recorder.mean()));
    });
  } catch (const Error& e) {
    if (e.kind() != ErrorKind::diverged || data.held() == 0) throw;
    exploded = true;
  }
  result.seconds = seconds_since(begin);
  bar.finish();
  const std::uint64_t held_passes =
      run.points() ? run.points()->points() * passes_of(data.held(), o.forward.batch) : 0;
  result.forward_passes =
      2 * std::uint64_t{run.next_step()} * static_cast<std::uint64_t>(o.forward.pairs) +
      held_passes;
  result.held = held_result(network, run, data.held(), held_passes);
  if (exploded) result.held->diverged_at = run.next_step();
  if (data.held() != 0) params = best;
  result.after = evaluate_float(golden, params, test);
  end_curve(result, run.next_step());
  return result;
}

}  // namespace lastmile
