// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/sweep.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sw/base/rng.hpp"
#include "sw/trainer/training_run.hpp"
#include "sw/validate/emulation.hpp"
#include "sw/validate/signal.hpp"

namespace lastmile {

namespace {

constexpr int kShare = 4;  // pairs per batch
constexpr Widths kFloat{0, 0, 0};

Dataset first_of(const Dataset& d, int n) {
  return slice(d, 0, std::min(d.size(), static_cast<std::size_t>(std::max(n, 1))));
}

// What all points of a sweep share.
struct SweepBench {
  const Network& folded;
  const FloatParams<float>& params;
  const QuantizedNetwork& network;
  const AdaptOptions& how;
  const SweepOptions& o;
  Dataset adapt, test, source;
  ForwardGradientOptions forward;
  TrainingRule rule;
  std::vector<TensorTraining> plan;
  std::vector<std::vector<std::uint32_t>> batches;
  std::uint64_t seed;  // of the probes

  template <class T>
  [[nodiscard]] EmulatedTarget<T> emulated(const FloatParams<T>& p, const Widths& w,
                                           spec::Distribution distribution) const {
    return EmulatedTarget<T>(folded, p, network, plan, adapt, distribution, how.fixed.mask_seed, w,
                             how.fixed.threads);
  }
  [[nodiscard]] std::vector<double> differences(ForwardGradientTarget& t) const {
    return loss_differences(t, batches, o.probes, kShare, seed);
  }
};

SweepBench sweep_bench(const Network& folded, const FloatParams<float>& params,
                       const QuantizedNetwork& network, const SweepData& data,
                       const AdaptOptions& how, const SweepOptions& o) {
  SweepBench b{folded,
               params,
               network,
               how,
               o,
               first_of(data.adapt, o.examples),
               first_of(data.shifted_test, o.test_examples),
               first_of(data.source_test, o.test_examples),
               how.forward,
               {},
               {},
               {},
               sub_seed(how.forward.seed, 0x7377656570)};
  b.forward.steps = o.steps;
  b.forward.pairs = 1;
  b.forward.batch = std::min(o.batch, static_cast<int>(b.adapt.size()));
  b.forward.estimator = Estimator::sign;
  b.rule.layers = trainable_layers(folded, o.layers);
  b.rule.biases = false;  // they have 32 bits at every width and would hide what weights cannot do
  b.rule.eps_mode = Amplitude::lsb;
  b.rule.eps = o.eps * numeric::kW16Max;
  b.rule.step = o.step;
  b.plan = training_plan(network, b.rule);
  BatchSampler sampler(b.forward.seed, b.adapt.size(), b.forward.batch);
  for (int k = 0; k * kShare < o.probes; ++k)
    b.batches.push_back(sampler.batch(static_cast<std::uint32_t>(k)));
  return b;
}

// Lost signs, and trainings from every seed, at one set of widths.
SweepPoint measure_point(const SweepBench& b, const Widths& w, bool gaussian,
                         const std::vector<double>& reference) {
  auto t = b.emulated<float>(b.params, w,
                             gaussian ? spec::Distribution::gaussian_ : spec::Distribution::sign_);
  SweepPoint p;
  p.widths = w;
  p.gaussian = gaussian;
  p.eps_lsb = b.rule.eps / (w.weights == 0 ? 1 : 1 << (16 - w.weights));
  p.lost = compare_differences(reference, b.differences(t)).lost.value;
  p.perturbed_share = t.perturbed_share();
  p.source = t.evaluate(b.source).percent();
  p.before = t.evaluate(b.test).percent();
  ForwardGradientOptions forward = b.forward;
  for (int s = 0; s < b.o.seeds; ++s) {
    t.restart();
    forward.seed = b.how.forward.seed + static_cast<std::uint64_t>(s);
    ForwardGradient method(t, b.adapt.size(), forward);
    TrainingRun(method, {.forward = forward}).run();
    p.each.push_back(t.evaluate(b.test).percent());
  }
  p.after = mean_of(p.each);
  p.standard_error = standard_error(p.each);
  return p;
}

// What a point says beside the float one: gains at the widths with a name, and where training turns
// from useless to useful. in_float: what the float network reached, by seed.
void conclude(const SweepPoint& p, std::vector<double>& in_float, SweepReport& report) {
  const std::size_t g = p.gaussian ? 1 : 0;
  const Widths& w = p.widths;
  const double gain = p.after - p.before;
  if (w == kFloat) report.float_gain[g] = gain, in_float = p.each;
  if (w.activations != 8 || w.logits != 16) return;
  if (w.weights == 8) report.narrow_gain[g] = gain;
  if (w.weights == 16) {
    report.wide_gain[g] = gain;
    std::vector<double> gaps = in_float;
    for (std::size_t s = 0; s < gaps.size(); ++s) gaps[s] -= p.each[s];
    report.gap[g] = mean_of(gaps);
    report.gap_error[g] = standard_error(gaps);
  }
  if (report.turns_at[g] == 0 && report.float_gain[g] >= kLeastGain &&
      gain >= 0.5 * report.float_gain[g])
    report.turns_at[g] = w.weights;
}

}  // namespace

SweepReport sweep_widths(const Network& folded, const FloatParams<float>& params,
                         const QuantizedNetwork& network, const SweepData& data,
                         const AdaptOptions& how, const SweepOptions& o, const Say& say) {
  const SweepBench bench = sweep_bench(folded, params, network, data, how, o);
  std::vector<Widths> all = {kFloat};
  for (const int w : o.weights)
    for (const int a : o.activations)
      for (const int l : o.logits) all.push_back({w, a, l});
  const FloatParams<double> params64 = convert_params<double>(params);

  SweepReport report;
  for (const bool gaussian : {false, true}) {
    if (say) say(fmt::format("width sweep: {} perturbations", gaussian ? "Gaussian" : "sign"));
    auto exact = bench.emulated<double>(
        params64, kFloat, gaussian ? spec::Distribution::gaussian_ : spec::Distribution::sign_);
    const std::vector<double> reference = bench.differences(exact);
    std::vector<double> in_float;
    for (const Widths& w : all) {
      report.points.push_back(measure_point(bench, w, gaussian, reference));
      conclude(report.points.back(), in_float, report);
    }
  }
  return report;
}

}  // namespace lastmile
