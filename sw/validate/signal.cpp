// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/signal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "cmodel/numeric/perturb.hpp"
#include "cmodel/numeric/random.hpp"
#include "sw/base/rng.hpp"
#include "sw/base/stop.hpp"
#include "sw/compiler/encoding.hpp"
#include "sw/golden/backprop.hpp"
#include "sw/trainer/training_run.hpp"
#include "sw/validate/emulation.hpp"

namespace lastmile {
namespace {

using Batches = std::vector<std::vector<std::uint32_t>>;
constexpr int kShare = 8;  // pairs per batch
constexpr std::uint64_t kSeeds =
    0x7369676e616c;  // probes draw from seeds that training does not use
constexpr Widths kFloat{0, 0, 0};

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }
int sign_of(double d) { return d > 0 ? 1 : d < 0 ? -1 : 0; }

// Whether descriptors can hold the perturbations, and the steps: bits before the point.
bool encodable(std::span<const TensorTraining> plan) {
  return std::all_of(plan.begin(), plan.end(), [](const TensorTraining& t) {
    return t.eps_lsb < (t.tensor % 2 != 0 ? 0x1p24 : 0x1p16) * 0.999;
  });
}
bool steps_encodable(std::span<const TensorTraining> plan) {
  return std::all_of(plan.begin(), plan.end(),
                     [](const TensorTraining& t) { return t.step_lsb < 0x1p24 * 0.999; });
}

// What all measurements share.
struct Bench {
  const Network& folded;
  FloatParams<double> params64;
  FloatParams<float> params32;
  const QuantizedNetwork& network;
  Dataset data;
  AdaptOptions how;
  const DeviceOpener& open;
  std::uint64_t seed;
  std::vector<TensorTraining> unit = {};  // e = 1 in the unit of `how`, its step

  [[nodiscard]] std::vector<TensorTraining> plan(double eps) const {
    std::vector<TensorTraining> p = unit;
    for (TensorTraining& t : p) t.eps_lsb *= eps;
    return p;
  }
  // Coefficient of a pair whose difference is typical.
  [[nodiscard]] int coefficient() const {
    return how.forward.estimator == Estimator::scaled ? 127 : 1;
  }
  [[nodiscard]] Batches batches(int size, int count) const {
    BatchSampler sampler(how.forward.seed, data.size(), size);
    Batches out;
    for (int b = 0; b < count; ++b) out.push_back(sampler.batch(static_cast<std::uint32_t>(b)));
    return out;
  }
  // L+ - L- of an emulated network for each e.
  template <class T>
  [[nodiscard]] std::vector<std::vector<double>> emulated(const FloatParams<T>& params,
                                                          const Widths& w,
                                                          const std::vector<double>& eps,
                                                          const Batches& b, int probes) const {
    EmulatedTarget<T> t(folded, params, network, plan(eps.front()), data, how.fixed.distribution,
                        how.fixed.mask_seed, w, how.fixed.threads);
    std::vector<std::vector<double>> out;
    for (const double e : eps) {
      t.set_eps(plan(e));
      out.push_back(loss_differences(t, b, probes, kShare, seed));
    }
    return out;
  }
  [[nodiscard]] std::vector<double> device(double eps, const Batches& b, int probes) const {
    FixedOptions f = how.fixed;
    f.batch = static_cast<int>(b.front().size());
    FixedTarget t(network, plan(eps), data, open, f);
    return loss_differences(t, b, probes, kShare, seed);
  }
};

// Gradient of one batch in coordinates of the drawn z (per unit of e: amplitude at eps = 1).
std::vector<double> scaled_gradient(const Bench& bench, const Directions& directions,
                                    std::span<const double> amplitude,
                                    const std::vector<std::uint32_t>& batch) {
  stop_if_asked();
  Backprop<double> backprop(bench.folded, bench.how.fixed.threads);
  std::vector<double> x;
  std::vector<Label> y;
  for (const std::uint32_t i : batch) {
    const auto e = bench.data.example(i);
    x.insert(x.end(), e.begin(), e.end());
    y.push_back(bench.data.y[i]);
  }
  FloatParams<double> gradients;
  std::vector<bool> trainable(bench.folded.layers.size(), false);
  for (const auto& t : directions.tensors()) trainable[t.layer] = true;
  backprop.gradients(bench.params64, x, y, trainable, gradients);
  std::vector<double> g;
  g.reserve(amplitude.size());
  for (const auto& t : directions.tensors()) {
    const auto& from = t.bias ? gradients.layers[t.layer].bias : gradients.layers[t.layer].weights;
    for (std::size_t i = 0; i < t.count; ++i) g.push_back(from[i] * amplitude[t.first + i]);
  }
  return g;
}

void directions_by_pairs(const Bench& bench, const Directions& directions,
                         const std::vector<std::vector<double>>& gradients, double eps,
                         std::span<const double> fixed, std::span<const double> reference,
                         SignalReport& out) {
  const std::size_t begin = out.by_pairs.size();
  const auto d = static_cast<double>(directions.active());
  const int probes = static_cast<int>(fixed.size());
  std::vector<std::int8_t> z(directions.elements());
  for (const int m : {1, 2, 4, 8}) {
    DirectionPoint p;
    p.eps = eps;
    p.pairs = m;
    std::vector<double> cosines;
    for (int first = 0; first + m <= probes; first += m) {
      stop_if_asked();
      std::vector<double> a(z.size(), 0), b(z.size(), 0), c(z.size(), 0);
      bool flip = false;
      for (int j = first; j < first + m; ++j) {
        directions.draw(bench.seed + static_cast<std::uint64_t>(j), z);
        const int sf = sign_of(fixed[at(j)]), sr = sign_of(reference[at(j)]);
        flip = flip || sf != sr;
        for (std::size_t i = 0; i < z.size(); ++i) {
          a[i] += sf * z[i];
          b[i] += sr * z[i];
          c[i] += fixed[at(j)] * z[i];
        }
      }
      const std::vector<double>& g = gradients[at(first / kShare)];
      cosines.push_back(cosine_of(a, g));
      p.float_signed += cosine_of(b, g);
      p.fixed_scaled += cosine_of(c, g);
      p.fixed_float += cosine_of(a, b);
      p.any_flip += flip ? 1 : 0;
      ++p.groups;
    }
    const auto n = static_cast<double>(p.groups);
    p.fixed_signed = mean_of(cosines);
    for (double& v : cosines) v -= p.fixed_signed;
    p.standard_error = deviation_of(cosines) / std::sqrt(n);
    p.float_signed /= n, p.fixed_scaled /= n, p.fixed_float /= n, p.any_flip /= n;
    p.theory_signed = theory::cosine_signed(m, d);
    p.theory_scaled = theory::cosine_scaled(m, d);
    p.exact_signed = theory::cosine_signed_exact(m, d);
    p.exact_scaled = theory::cosine_scaled_exact(m, d);
    out.by_pairs.push_back(p);
    out.by_pairs.back().any_flip_expected = 1 - std::pow(1 - out.by_pairs[begin].any_flip, m);
  }
}

void perturbation_sizes(const Directions& directions, std::uint64_t seed,
                        const QuantizedNetwork& network, int coefficient, SignalReport& out) {
  std::vector<std::int8_t> z(directions.elements());
  directions.draw(seed, z);
  out.delta_histogram.assign(17, 0);
  std::int64_t total = 0;
  const double unit = numeric::z_unit(directions.distribution());
  for (const auto& t : directions.tensors()) {
    out.tensors.push_back({tensor_name(network.network, t.id), static_cast<std::int64_t>(t.count),
                           t.eps / unit, coefficient * t.step / unit});
    const Scaled e = encode_scaled(t.eps, t.bias ? 24 : 16, "perturbation");
    for (std::size_t i = 0; i < t.count; ++i) {
      const std::int64_t magnitude =
          numeric::perturb_magnitude(e.mantissa, static_cast<int>(e.shift), z[t.first + i]);
      int bin = 0;
      while (bin < 16 && (magnitude >> bin) != 0) ++bin;
      ++out.delta_histogram[at(bin)];
      ++total;
    }
  }
  out.delta_zero_share = static_cast<double>(out.delta_histogram[0]) /
                         static_cast<double>(std::max<std::int64_t>(total, 1));
}

// Share of elements that one update leaves alone, by the device's counters.
double unchanged(FixedTarget& t, std::uint64_t seed, int coefficient, std::uint32_t step) {
  const std::vector<std::uint64_t> seeds = {seed};
  const std::vector<std::int8_t> one = {static_cast<std::int8_t>(coefficient)};
  t.update(seeds, one, step);
  const auto counters = t.driver().counters();
  const auto updated = counters[at(static_cast<std::int64_t>(spec::Counter::updated_))];
  return updated == 0 ? 0
                      : static_cast<double>(
                            counters[at(static_cast<std::int64_t>(spec::Counter::update_zero_))]) /
                            static_cast<double>(updated);
}

void drift(const Bench& bench, const Directions& directions, const Dataset& test,
           const SignalOptions& options, SignalReport& out) {
  constexpr std::uint32_t kFull = 65535;              // STEP factor 1
  constexpr std::uint32_t kTenth = 52429 | 3U << 16;  // 0.1
  {
    FixedTarget t(bench.network, bench.plan(bench.how.eps), bench.data, bench.open,
                  bench.how.fixed);
    out.unchanged_share = unchanged(t, bench.seed, bench.coefficient(), kFull);
    out.unchanged_late_share = unchanged(t, bench.seed + 1, bench.coefficient(), kTenth);
  }
  FixedTarget t(bench.network, bench.plan(bench.how.eps), bench.data, bench.open, bench.how.fixed);
  const Dataset some = slice(test, 0, std::min<std::size_t>(test.size(), 500));
  out.drift_accuracy_before =
      evaluate_fixed(bench.network, some, bench.open, bench.how.fixed).percent();
  Rng rng(bench.seed, 17);
  const int pairs = bench.how.forward.pairs, c = bench.coefficient();
  std::uint64_t clipped = 0;
  for (int s = 0; s < options.drift_steps; ++s) {
    stop_if_asked();
    std::vector<std::uint64_t> seeds;
    std::vector<std::int8_t> signs;
    for (int j = 0; j < pairs; ++j) {
      seeds.push_back(bench.seed + 1000 + static_cast<std::uint64_t>(s * pairs + j));
      signs.push_back(static_cast<std::int8_t>(rng.below(2) == 0 ? c : -c));
    }
    t.update(seeds, signs, kFull);
    clipped += t.driver().counters()[at(static_cast<std::int64_t>(spec::Counter::update_clipped_))];
  }
  out.drift_clipped = static_cast<std::int64_t>(clipped);
  const QuantizedNetwork after = t.network();
  // In units of each tensor's step, so that tensors can be summed: a step of a random walk is 1.
  std::vector<std::int8_t> z(directions.elements());
  directions.draw(bench.seed, z);
  double squares = 0, expected = 0, sum = 0;
  for (const auto& tensor : directions.tensors()) {
    const QuantizedLayer &a = bench.network.layers[tensor.layer], &b = after.layers[tensor.layer];
    const double unit = numeric::z_unit(directions.distribution());
    const double step = c * tensor.step / unit;
    for (std::size_t i = 0; i < tensor.count; ++i) {
      const double moved =
          tensor.bias ? static_cast<double>(b.bias[i]) - static_cast<double>(a.bias[i])
                      : static_cast<double>(b.weights[i]) - static_cast<double>(a.weights[i]);
      squares += moved * moved / (step * step);
      sum += moved / step;
      const double v = c * tensor.step * std::abs(static_cast<double>(z[tensor.first + i]));
      const double whole = v * std::sqrt(pairs), f = whole - std::floor(whole);
      expected += (whole * whole + f * (1 - f)) / (step * step);
    }
  }
  const double n = static_cast<double>(std::max<std::size_t>(directions.elements(), 1));
  out.drift = std::sqrt(squares / n);
  out.drift_theory = std::sqrt(expected / n * options.drift_steps);
  // Elements of a tensor share each step's sign, but their z differ: independent.
  out.drift_bias_sigma = out.drift == 0 ? 0 : sum / n / (out.drift / std::sqrt(n));
  out.drift_accuracy_after = evaluate_fixed(after, some, bench.open, bench.how.fixed).percent();
}

// Short trainings on the device from the start, over the step size.
void short_trainings(const Bench& bench, const Dataset& judged, double eps, int pairs,
                     const SignalOptions& options, SignalReport& out) {
  ForwardGradientOptions forward = bench.how.forward;
  forward.steps = options.short_steps;
  forward.pairs = pairs;
  for (const double factor : options.steps) {
    // The step of the plan is that of a pair.
    const double per_pair = factor * bench.how.forward.pairs / pairs;
    std::vector<TensorTraining> plan = bench.plan(eps);
    for (TensorTraining& t : plan) t.step_lsb *= per_pair;
    if (!steps_encodable(plan)) continue;
    StepPoint p;
    p.eps = eps;
    p.step = factor * bench.how.step;
    std::vector<double> change;
    for (int s = 0; s < options.short_seeds; ++s) {
      forward.seed = bench.how.forward.seed + static_cast<std::uint64_t>(s);
      FixedTarget t(bench.network, plan, bench.data, bench.open, bench.how.fixed);
      ForwardGradient method(t, bench.data.size(), forward);
      TrainingRun(method, {.forward = forward}).run();
      const Accuracy after = evaluate_fixed(t.network(), judged, bench.open, bench.how.fixed);
      change.push_back(after.loss - out.judged_loss);
      p.accuracy += after.percent() / options.short_seeds;
    }
    p.loss_change = mean_of(change);
    p.standard_error = standard_error(change);
    out.by_step.push_back(p);
  }
}

}  // namespace

std::vector<double> loss_differences(ForwardGradientTarget& target, const Batches& batches,
                                     int pairs, int share, std::uint64_t seed) {
  std::vector<double> out;
  for (int p = 0; p < pairs; ++p) {
    stop_if_asked();
    if (p % share == 0) target.set_batch(batches.at(at(p / share)));
    const std::uint64_t s = seed + static_cast<std::uint64_t>(p);
    const double plus = target.loss(spec::Polarity::plus_, s);
    out.push_back(plus - target.loss(spec::Polarity::minus_, s));
  }
  return out;
}

FlipPoint compare_differences(std::span<const double> reference, std::span<const double> fixed) {
  FlipPoint p;
  std::vector<double> noise;
  for (std::size_t i = 0; i < reference.size(); ++i) {
    ++p.probes;
    if (fixed[i] == 0) {
      ++p.zeros;
    } else if (sign_of(fixed[i]) != sign_of(reference[i])) {
      ++p.flips;
    }
    noise.push_back(fixed[i] - reference[i]);
  }
  p.lost = share_of(2 * p.flips + p.zeros, 2 * p.probes);
  const Share interval = share_of(p.flips + p.zeros / 2, p.probes);
  p.lost.low = interval.low, p.lost.high = interval.high;
  p.signal = deviation_of(reference);
  p.noise = deviation_of(noise);
  p.predicted = p.zeros == p.probes ? 0.5 : theory::flip_share(p.noise, p.signal);
  return p;
}

RoundingPoint measure_rounding(double step_lsb, spec::Distribution distribution, int draws,
                               std::uint64_t seed) {
  RoundingPoint out;
  out.step = step_lsb;
  const bool sign = distribution == spec::Distribution::sign_;
  const double unit = numeric::z_unit(distribution);
  const ScaledStep encoded = encode_step(step_lsb * unit, "step");
  const numeric::Step step{encoded.mantissa, static_cast<int>(encoded.shift)};
  struct Sums {
    double error = 0, squares = 0, product = 0;
    void add(double applied, double exact) {
      error += applied - exact;
      squares += (applied - exact) * (applied - exact);
      product += applied * exact;
    }
    [[nodiscard]] RoundingPoint::Rule rule(double n, double exact_squares) const {
      const double bias = error / n;
      return {bias, squares / n - bias * bias, product / exact_squares};
    }
  } stochastic, nearest, floor;
  double exact_squares = 0;
  Rng rng(seed, 5);
  for (int i = 0; i < draws; ++i) {
    const auto u = static_cast<std::uint32_t>(rng.next() >> 48);
    const std::int32_t z = sign ? numeric::sign_z(u & 1) : numeric::gaussian_z(u);
    const auto r16 = static_cast<std::uint32_t>(rng.next() >> 48);
    const double exact = -encoded.value() * z;
    exact_squares += exact * exact;
    stochastic.add(numeric::update(0, z, step, r16, numeric::kW16Max).value, exact);
    nearest.add(std::round(exact), exact);
    floor.add(-std::floor(-exact), exact);  // the seed paper's brackets: w - floor(step * g)
  }
  const double n = draws;
  out.stochastic = stochastic.rule(n, exact_squares);
  out.nearest = nearest.rule(n, exact_squares);
  out.floor = floor.rule(n, exact_squares);
  return out;
}

namespace {

// Share of the coordinates that carry the gradient: (sum g^2)^2 / sum g^4.
double participation(std::span<const double> gradient) {
  double squares = 0, fourths = 0;
  for (const double g : gradient) {
    squares += g * g;
    fourths += g * g * g * g;
  }
  return fourths == 0 ? 0 : squares * squares / fourths;
}

// z_p . g of every probe, and the cosine between the two.
struct Projections {
  std::vector<double> along, cosine;
};
Projections project(const Bench& bench, const Directions& directions, int probes,
                    const std::vector<std::vector<double>>& gradients) {
  Projections out;
  std::vector<std::int8_t> z(directions.elements());
  for (int p = 0; p < probes; ++p) {
    directions.draw(bench.seed + static_cast<std::uint64_t>(p), z);
    const auto& g = gradients[at(p / kShare)];
    double zg = 0, zz = 0, gg = 0;
    for (std::size_t i = 0; i < z.size(); ++i) {
      zg += z[i] * g[i];
      zz += static_cast<double>(z[i]) * z[i];
      gg += g[i] * g[i];
    }
    out.along.push_back(zg);
    out.cosine.push_back(zz > 0 && gg > 0 ? zg / std::sqrt(zz * gg) : 0);
  }
  return out;
}

// What the signs of `fixed` are worth against the gradient, and how far the float64 differences are
// from linear.
void judge(FlipPoint& p, const Projections& gradient, std::span<const double> fixed,
           std::span<const double> reference, double eps) {
  double kept = 0, all = 0;
  std::vector<double> off;
  for (std::size_t i = 0; i < fixed.size(); ++i) {
    kept += sign_of(fixed[i]) * gradient.along[i];
    all += std::abs(gradient.along[i]);
    p.cosine += sign_of(fixed[i]) * gradient.cosine[i] / static_cast<double>(fixed.size());
    off.push_back(reference[i] - 2 * eps * gradient.along[i]);
  }
  p.projection = all > 0 ? kept / all : 0;
  p.curvature = p.signal > 0 ? deviation_of(off) / p.signal : 0;
}

// The measurements one after the other, each into its part of the report.
class SignalStudy {
 public:
  SignalStudy(Bench& bench, const Dataset& adapt, const SignalOptions& options, const Say& say)
      : bench_(bench),
        options_(options),
        say_(say),
        probes_(std::max(kShare, options.probes / kShare * kShare)),
        base_(bench.how.eps) {
    AdaptOptions one = bench.how;
    one.eps = 1;
    // the unit that a training measures
    bench.unit = plan_training(bench.network, one, adapt, bench.open);
    const double configured = base_;
    while (!encodable(bench.plan(base_))) base_ /= 2;
    if (base_ != configured)
      report.remarks.push_back(
          fmt::format("e = {:g} as configured is beyond what descriptors hold of a perturbation "
                      "(training refuses it): measured at e = {:g}",
                      configured, base_));
    report.unit = bench.how.unit == AmplitudeUnit::rms ? "rms" : "curvature";
    report.batch = bench.how.forward.batch;
    report.eps = base_;
    batches_ = bench.batches(report.batch, probes_ / kShare);
    for (const double factor : options.eps)
      if (encodable(bench.plan(factor * base_))) eps_.push_back(factor * base_);
    if (std::find(eps_.begin(), eps_.end(), base_) == eps_.end()) eps_.push_back(base_);
    std::sort(eps_.begin(), eps_.end());
  }

  [[nodiscard]] double base() const { return base_; }

  // Gradients of every batch, and what the probes are to them. Directions at e = 1.
  void backpropagate(const Directions& directions) {
    report.parameters = static_cast<std::int64_t>(directions.active());
    const std::vector<double> amplitude = directions.amplitudes();
    for (const auto& batch : batches_)
      gradients_.push_back(scaled_gradient(bench_, directions, amplitude, batch));
    report.participation = participation(gradients_.front());
    projections_ = project(bench_, directions, probes_, gradients_);
  }

  // Lost signs over e.
  void flips_by_eps() {
    tell("training signal: float64 differences");
    references_ = bench_.emulated<double>(bench_.params64, kFloat, eps_, batches_, probes_);
    for (std::size_t k = 0; k < eps_.size(); ++k) {
      tell(fmt::format("training signal: e = {:g}", eps_[k]));
      fixed_.push_back(bench_.device(eps_[k], batches_, probes_));
      FlipPoint p = compare_differences(references_[k], fixed_[k]);
      p.x = p.eps = eps_[k];
      judge(p, projections_, fixed_[k], references_[k], p.eps);
      p.linear = theory::flip_share(k == 0 ? p.noise : report.by_eps.front().noise,
                                    2 * p.eps * deviation_of(projections_.along));
      report.by_eps.push_back(p);
    }
    choose();
  }

  // Directions over the pairs of a step.
  void pairs(const Directions& directions) {
    for (const std::size_t k : chosen_)
      directions_by_pairs(bench_, directions, gradients_, eps_[k], fixed_[k], references_[k],
                          report);
  }

  // Lost signs over the examples of a batch.
  void flips_by_batch() {
    tell("training signal: batches and widths");
    const std::vector<double> eps = eps_of(chosen_);
    for (const int batch : options_.batches) {
      if (static_cast<std::size_t>(batch) > bench_.data.size()) continue;
      const Batches b = bench_.batches(batch, probes_ / kShare);
      const auto of_batch = bench_.emulated<double>(bench_.params64, kFloat, eps, b, probes_);
      for (std::size_t k = 0; k < eps.size(); ++k) {
        FlipPoint p = compare_differences(of_batch[k], bench_.device(eps[k], b, probes_));
        p.x = batch;
        p.eps = eps[k];
        report.by_batch.push_back(p);
      }
    }
  }

  // Lost signs over the widths of weights, activations and logits.
  void flips_by_width() {
    std::vector<std::size_t> points = chosen_;
    if (options_.every_width) {
      points.resize(eps_.size());
      std::iota(points.begin(), points.end(), std::size_t{0});
    }
    const std::vector<double> eps = eps_of(points);
    for (const auto& [label, w] : widths()) {
      const auto differences = bench_.emulated<float>(bench_.params32, w, eps, batches_, probes_);
      for (std::size_t k = 0; k < points.size(); ++k) {
        const std::vector<double>& reference = references_[points[k]];
        FlipPoint p = compare_differences(reference, differences[k]);
        p.label = label;
        p.x = w.weights;
        p.eps = eps[k];
        judge(p, projections_, differences[k], reference, p.eps);
        report.by_width.push_back(p);
      }
    }
  }

  void rounding() {
    const auto measured = [&](double step, spec::Distribution d) {
      return measure_rounding(step, d, 20000, bench_.seed);
    };
    for (const double step : {0.03, 0.1, 0.2, 0.33, 0.5, 1.0, 3.28}) {
      report.rounding_sign.push_back(measured(step, spec::Distribution::sign_));
      report.rounding_gaussian.push_back(measured(step, spec::Distribution::gaussian_));
    }
  }

  // Short trainings, judged on examples beyond those measured on if there are as many; then the
  // recommendations, which follow from everything before.
  void recommend(const Dataset& mixed) {
    const std::size_t examples = bench_.data.size();
    const auto count = std::min(mixed.size(), at(std::max(options_.judged_examples, 1)));
    const Dataset judged =
        slice(mixed, mixed.size() >= examples + count ? examples : mixed.size() - count, count);
    const Accuracy start = evaluate_fixed(bench_.network, judged, bench_.open, bench_.how.fixed);
    report.judged_loss = start.loss, report.judged_accuracy = start.percent();
    report.short_steps = options_.short_steps;
    recommend_pairs(report);
    const double by_signs = best_signs(report.by_eps).x;
    const int m = report.recommended_pairs;
    short_trainings(bench_, judged, by_signs, m, options_, report);
    if (by_signs != base_) short_trainings(bench_, judged, base_, m, options_, report);
    recommend_signal(bench_.how, report);
  }

  void tell(const std::string& text) const {
    if (say_) say_(text);
  }

  SignalReport report;

 private:
  // Where the curves over pairs, batches and widths are taken: as configured, as the signs
  // recommend, and where noise takes about a seventh of the signs.
  void choose() {
    const std::vector<FlipPoint>& by_eps = report.by_eps;
    const auto off = [&](std::size_t k) { return std::abs(by_eps[k].lost.value - 0.15); };
    std::size_t sensitive = 0;
    for (std::size_t k = 0; k < eps_.size(); ++k) {
      if (off(k) < off(sensitive)) sensitive = k;
      if (eps_[k] == base_ || eps_[k] == best_signs(by_eps).x) chosen_.push_back(k);
    }
    if (std::find(chosen_.begin(), chosen_.end(), sensitive) == chosen_.end())
      chosen_.push_back(sensitive);
    std::sort(chosen_.begin(), chosen_.end());
  }

  [[nodiscard]] std::vector<double> eps_of(const std::vector<std::size_t>& points) const {
    std::vector<double> out;
    for (const std::size_t k : points) out.push_back(eps_[k]);
    return out;
  }

  [[nodiscard]] std::vector<std::pair<std::string, Widths>> widths() const {
    const int own = bits_of(bench_.network.widest_weights());
    std::vector<std::pair<std::string, Widths>> out;
    for (const int bits : {8, 10, 12, 14, 16})
      if (bits <= own) out.push_back({fmt::format("w{} a8 l16", bits), {bits, 8, 16}});
    out.push_back({fmt::format("w{} a16 l16", own), {own, 16, 16}});
    out.push_back({fmt::format("w{} a8 l8", own), {own, 8, 8}});
    out.push_back({"float32", kFloat});
    return out;
  }

  const Bench& bench_;
  const SignalOptions& options_;
  const Say& say_;
  int probes_;
  double& base_;  // e as configured, or the largest below it that descriptors hold
  Batches batches_;
  std::vector<double> eps_;
  std::vector<std::vector<double>> gradients_, references_, fixed_;  // by batch, by e, by e
  Projections projections_;
  std::vector<std::size_t> chosen_;  // of eps_
};

}  // namespace

SignalReport measure_signal(const Network& folded, const FloatParams<float>& params,
                            const QuantizedNetwork& network, const Dataset& adapt,
                            const Dataset& test, const AdaptOptions& how,
                            const SignalOptions& options, const DeviceOpener& open,
                            const Say& say) {
  const std::size_t examples = std::min(adapt.size(), at(std::max(options.examples, 1)));
  // A sample: recordings come sorted by word.
  const Dataset mixed = shuffled(adapt, sub_seed(kSeeds, 1));
  Bench bench{folded,  convert_params<double>(params),    params,
              network, slice(mixed, 0, examples),         how,
              open,    sub_seed(how.forward.seed, kSeeds)};
  bench.how.forward.batch = std::min(how.forward.batch, static_cast<int>(examples));
  bench.how.fixed.batch = bench.how.forward.batch;
  SignalStudy study(bench, adapt, options, say);

  const Directions directions(network, bench.plan(1.0), how.fixed.distribution,
                              how.fixed.mask_seed);
  study.backpropagate(directions);
  study.flips_by_eps();
  study.pairs(directions);
  study.flips_by_batch();
  study.flips_by_width();
  study.rounding();
  const Directions used(network, bench.plan(study.base()), how.fixed.distribution,
                        how.fixed.mask_seed);
  perturbation_sizes(used, bench.seed, network, bench.coefficient(), study.report);
  study.tell("training signal: drift, short trainings");
  drift(bench, used, test, options, study.report);
  study.recommend(mixed);
  return std::move(study.report);
}

}  // namespace lastmile
