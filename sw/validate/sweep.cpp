// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/sweep.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "sw/base/rng.hpp"
#include "sw/trainer/training_run.hpp"
#include "sw/validate/emulation.hpp"
#include "sw/validate/signal.hpp"

namespace lastmile {

SweepReport sweep_widths(const Network& folded, const FloatParams<float>& params,
                         const QuantizedNetwork& network, const SweepData& data,
                         const AdaptOptions& how, const SweepOptions& o, const Say& say) {
  constexpr int kShare = 4;
  constexpr Widths kFloat{0, 0, 0};
  const auto first = [](const Dataset& d, int n) {
    return slice(d, 0, std::min(d.size(), static_cast<std::size_t>(std::max(n, 1))));
  };
  const Dataset adapt = first(data.adapt, o.examples),
                test = first(data.shifted_test, o.test_examples),
                source = first(data.source_test, o.test_examples);
  ForwardGradientOptions forward = how.forward;
  forward.steps = o.steps;
  forward.pairs = 1;
  forward.batch = std::min(o.batch, static_cast<int>(adapt.size()));
  forward.estimator = Estimator::sign;
  TrainingRule rule;
  rule.layers = trainable_layers(folded, o.layers);
  rule.biases = false;  // they have 32 bits at every width and would hide what weights cannot do
  rule.eps_mode = Amplitude::lsb;
  rule.eps = o.eps * numeric::kW16Max;
  rule.step = o.step;
  const std::vector<TensorTraining> plan = training_plan(network, rule);
  std::vector<std::vector<std::uint32_t>> batches;
  BatchSampler sampler(forward.seed, adapt.size(), forward.batch);
  for (int b = 0; b * kShare < o.probes; ++b)
    batches.push_back(sampler.batch(static_cast<std::uint32_t>(b)));
  const std::uint64_t seed = sub_seed(forward.seed, 0x7377656570);

  SweepReport report;
  for (const bool gaussian : {false, true}) {
    if (say) say(fmt::format("width sweep: {} perturbations", gaussian ? "Gaussian" : "sign"));
    const auto distribution = gaussian ? spec::Distribution::gaussian_ : spec::Distribution::sign_;
    std::vector<double> reference;
    {
      EmulatedTarget<double> t(folded, convert_params<double>(params), network, plan, adapt,
                               distribution, how.fixed.mask_seed, kFloat, how.fixed.threads);
      reference = loss_differences(t, batches, o.probes, kShare, seed);
    }
    std::vector<double> in_float;
    std::vector<Widths> all = {kFloat};
    for (const int w : o.weights)
      for (const int a : o.activations)
        for (const int l : o.logits) all.push_back({w, a, l});
    const std::size_t g = gaussian ? 1 : 0;
    for (const Widths& w : all) {
      EmulatedTarget<float> t(folded, params, network, plan, adapt, distribution,
                              how.fixed.mask_seed, w, how.fixed.threads);
      SweepPoint p;
      p.widths = w;
      p.gaussian = gaussian;
      p.eps_lsb = rule.eps / (w.weights == 0 ? 1 : 1 << (16 - w.weights));
      p.lost = compare_differences(reference, loss_differences(t, batches, o.probes, kShare, seed))
                   .lost.value;
      p.perturbed_share = t.perturbed_share();
      p.source = t.evaluate(source).percent();
      p.before = t.evaluate(test).percent();
      for (int s = 0; s < o.seeds; ++s) {
        t.restart();
        forward.seed = how.forward.seed + static_cast<std::uint64_t>(s);
        ForwardGradient method(t, adapt.size(), forward);
        TrainingRun(method, {.forward = forward}).run();
        p.each.push_back(t.evaluate(test).percent());
      }
      p.after = mean_of(p.each);
      p.standard_error = standard_error(p.each);
      report.points.push_back(p);
      const double gain = p.after - p.before;
      if (w == kFloat) report.float_gain[g] = gain, in_float = p.each;
      if (w.activations != 8 || w.logits != 16) continue;
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
  }
  return report;
}

}  // namespace lastmile
