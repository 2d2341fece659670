#include "sw/validate/signal.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "cmodel/numeric/perturb.hpp"
#include "cmodel/numeric/random.hpp"
#include "sw/base/rng.hpp"
#include "sw/compiler/encoding.hpp"
#include "sw/golden/backprop.hpp"
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
    return how.forward.estimator == Estimator::scaled
               ? static_cast<int>(std::lround(127 / kScaleOverRms))
               : 1;
  }
  [[nodiscard]] Batches batches(int size, int count) const {
    BatchSampler sampler(how.forward.seed, data.size(), size);
    Batches out;
    for (int b = 0; b < count; ++b) out.push_back(sampler.batch(static_cast<std::uint32_t>(b)));
    return out;
  }
  [[nodiscard]] std::vector<double> reference(double eps, const Batches& b, int probes) const {
    EmulatedTarget<double> t(folded, params64, network, plan(eps), data, how.fixed.distribution,
                             how.fixed.mask_seed, kFloat, how.fixed.threads);
    return loss_differences(t, b, probes, kShare, seed);
  }
  [[nodiscard]] std::vector<double> device(double eps, const Batches& b, int probes) const {
    FixedOptions f = how.fixed;
    f.batch = static_cast<int>(b.front().size());
    FixedTarget t(network, plan(eps), data, open, f);
    return loss_differences(t, b, probes, kShare, seed);
  }
  [[nodiscard]] std::vector<double> emulated(double eps, const Widths& w, const Batches& b,
                                             int probes) const {
    EmulatedTarget<float> t(folded, params32, network, plan(eps), data, how.fixed.distribution,
                            how.fixed.mask_seed, w, how.fixed.threads);
    return loss_differences(t, b, probes, kShare, seed);
  }
};

// Gradient of one batch in coordinates of the drawn z (per unit of e: amplitude at eps = 1).
std::vector<double> scaled_gradient(const Bench& bench, const Directions& directions,
                                    std::span<const double> amplitude,
                                    const std::vector<std::uint32_t>& batch) {
  Backprop<double> backprop(bench.folded, bench.how.fixed.threads);
  std::vector<double> x;
  std::vector<std::uint8_t> y;
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
                         const std::vector<std::vector<double>>& gradients,
                         std::span<const double> fixed, std::span<const double> reference,
                         SignalReport& out) {
  const auto d = static_cast<double>(directions.active());
  const int probes = static_cast<int>(fixed.size());
  std::vector<std::int8_t> z(directions.elements());
  for (const int m : {1, 2, 4, 8}) {
    DirectionPoint p;
    p.pairs = m;
    std::vector<double> cosines;
    for (int first = 0; first + m <= probes; first += m) {
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
  }
}

void perturbation_sizes(const Directions& directions, std::uint64_t seed,
                        const QuantizedNetwork& network, int coefficient, SignalReport& out) {
  std::vector<std::int8_t> z(directions.elements());
  directions.draw(seed, z);
  out.delta_histogram.assign(17, 0);
  std::int64_t total = 0;
  const double unit = directions.distribution() == spec::Distribution::sign_ ? 1.0 : 3.5 / 127;
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
    const double unit = directions.distribution() == spec::Distribution::sign_ ? 1.0 : 3.5 / 127;
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

// One step of the fixed-point sign, judged in float64 on more examples than the batch.
void steps(const Bench& bench, std::span<const double> fixed, const SignalOptions& options,
           SignalReport& out) {
  const std::size_t n =
      std::min(bench.data.size(), at(std::max(options.step_examples, bench.how.forward.batch)));
  std::vector<std::uint32_t> judged;
  for (std::size_t i = 0; i < n; ++i)
    judged.push_back(static_cast<std::uint32_t>(bench.data.size() - 1 - i));
  const int probes = static_cast<int>(std::min<std::size_t>(fixed.size(), 24));
  for (const double factor : options.steps) {
    const double step = factor * bench.how.step;
    EmulatedTarget<double> t(bench.folded, bench.params64, bench.network, bench.plan(step),
                             bench.data, bench.how.fixed.distribution, bench.how.fixed.mask_seed,
                             kFloat, bench.how.fixed.threads);
    t.set_batch(judged);
    const double start = t.loss(spec::Polarity::none_, bench.seed);
    std::vector<double> change;
    for (int j = 0; j < probes; ++j) {
      const int s = sign_of(fixed[at(j)]);
      const auto polarity = s > 0   ? spec::Polarity::minus_
                            : s < 0 ? spec::Polarity::plus_
                                    : spec::Polarity::none_;
      change.push_back(t.loss(polarity, bench.seed + static_cast<std::uint64_t>(j)) - start);
    }
    StepPoint p{step, mean_of(change), 0};
    for (double& v : change) v -= p.loss_change;
    p.standard_error = deviation_of(change) / std::sqrt(static_cast<double>(probes));
    out.by_step.push_back(p);
  }
}

void recommend(SignalReport& r) {
  double best = -1;
  for (const FlipPoint& p : r.by_eps) best = std::max(best, p.projection);
  for (const FlipPoint& p : r.by_eps) {
    if (p.projection < 0.98 * best) continue;
    r.recommended_eps = p.x;
    r.remarks.push_back(
        fmt::format("e = {:g}: the smallest whose signs keep 98 % of the best projection on the "
                    "gradient ({:.3f}); "
                    "read from signal.by_eps",
                    p.x, p.projection));
    break;
  }
  // Progress per forward pass goes with cos^2 / m.
  const DirectionPoint* chosen = &r.by_pairs.front();
  const auto value = [](const DirectionPoint& p) {
    return p.fixed_signed <= 0 ? 0 : p.fixed_signed * p.fixed_signed / p.pairs;
  };
  for (const DirectionPoint& p : r.by_pairs)
    if (value(p) > 1.25 * value(*chosen)) chosen = &p;
  r.recommended_pairs = chosen->pairs;
  r.remarks.push_back(
      fmt::format("m = {}: cos^2 / m is {:.3g} there and {:.3g} at m = 1 (more pairs must gain a "
                  "quarter to be worth "
                  "their passes); read from signal.by_pairs",
                  chosen->pairs, value(*chosen), value(r.by_pairs.front())));
  const StepPoint* step = nullptr;
  for (const StepPoint& p : r.by_step)
    if (step == nullptr || p.loss_change < step->loss_change) step = &p;
  if (step == nullptr) return;
  r.recommended_step = step->step;
  r.remarks.push_back(
      fmt::format("step = {:g}: lowers the loss most in one step ({:.2g} +- {:.1g} nats); where "
                  "steps follow each "
                  "other, take that or a third of it and let it decay; read from signal.by_step",
                  step->step, step->loss_change, step->standard_error));
}

void explain(SignalReport& r) {
  const auto d = static_cast<double>(r.parameters);
  if (8 > 0.05 * d)
    r.remarks.push_back(fmt::format(
        "theory sqrt(2m / (pi d)) assumes m << d; d = {}: compare with the exact columns",
        r.parameters));
  if (r.participation < 30)
    r.remarks.push_back(fmt::format(
        "the gradient lives in {:.1f} coordinates: z.g is not Gaussian for signs, theory is "
        "approximate",
        r.participation));
  for (const FlipPoint& p : r.by_eps)
    if (p.curvature > 0.5)
      r.remarks.push_back(
          fmt::format("e = {:g}: the float64 difference is {:.0f} % away from linear, the "
                      "gradient's direction is "
                      "not what it measures: theory does not apply",
                      p.x, 100 * p.curvature));
  for (const FlipPoint& p : r.by_eps)
    if (p.predicted < p.lost.low || p.predicted > p.lost.high)
      r.remarks.push_back(fmt::format(
          "e = {:g}: {:.1f} % lost signs, Gaussian noise would give {:.1f} %, outside the interval "
          "{:.1f} to {:.1f} %: signal or noise is not Gaussian there",
          p.x, 100 * p.lost.value, 100 * p.predicted, 100 * p.lost.low, 100 * p.lost.high));
}

}  // namespace

std::vector<double> loss_differences(ForwardGradientTarget& target, const Batches& batches,
                                     int pairs, int share, std::uint64_t seed) {
  std::vector<double> out;
  for (int p = 0; p < pairs; ++p) {
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
  const double unit = sign ? 1.0 : 3.5 / 127;
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

SignalReport measure_signal(const Network& folded, const FloatParams<float>& params,
                            const QuantizedNetwork& network, const Dataset& adapt,
                            const Dataset& test, const AdaptOptions& how,
                            const SignalOptions& options, const DeviceOpener& open,
                            const Say& say) {
  const auto tell = [&](const std::string& text) {
    if (say) say(text);
  };
  const std::size_t examples = std::min(adapt.size(), at(std::max(options.examples, 1)));
  Bench bench{folded,  convert_params<double>(params),    params,
              network, slice(adapt, 0, examples),         how,
              open,    sub_seed(how.forward.seed, kSeeds)};
  bench.how.forward.batch = std::min(how.forward.batch, static_cast<int>(examples));
  bench.how.fixed.batch = bench.how.forward.batch;
  const int probes = std::max(kShare, options.probes / kShare * kShare);
  const int groups = probes / kShare;
  AdaptOptions one = bench.how;
  one.eps = 1;
  bench.unit = plan_training(network, one, bench.data, open);
  SignalReport r;
  r.unit = how.unit == AmplitudeUnit::rms ? "rms" : "curvature";
  r.batch = bench.how.forward.batch;
  r.eps = how.eps;
  const Batches batches = bench.batches(r.batch, groups);

  const Directions directions(network, bench.plan(1.0), how.fixed.distribution,
                              how.fixed.mask_seed);
  r.parameters = static_cast<std::int64_t>(directions.active());
  const std::vector<double> amplitude = directions.amplitudes();
  std::vector<std::vector<double>> gradients;
  for (const auto& batch : batches)
    gradients.push_back(scaled_gradient(bench, directions, amplitude, batch));
  double squares = 0, fourths = 0;
  for (const double g : gradients.front()) {
    squares += g * g;
    fourths += g * g * g * g;
  }
  r.participation = fourths == 0 ? 0 : squares * squares / fourths;

  // z_p . g of every probe, and the length of z.
  std::vector<double> along, cosine_unit;
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
    along.push_back(zg);
    cosine_unit.push_back(zz > 0 && gg > 0 ? zg / std::sqrt(zz * gg) : 0);
  }
  const auto judge = [&](FlipPoint& p, std::span<const double> fixed,
                         std::span<const double> reference, double eps) {
    double kept = 0, all = 0;
    std::vector<double> off;
    for (std::size_t i = 0; i < fixed.size(); ++i) {
      kept += sign_of(fixed[i]) * along[i];
      all += std::abs(along[i]);
      p.cosine += sign_of(fixed[i]) * cosine_unit[i] / static_cast<double>(fixed.size());
      off.push_back(reference[i] - 2 * eps * along[i]);
    }
    p.projection = all > 0 ? kept / all : 0;
    p.curvature = p.signal > 0 ? deviation_of(off) / p.signal : 0;
  };

  std::vector<double> eps_list;
  for (const double factor : options.eps) eps_list.push_back(factor * how.eps);
  if (std::find(eps_list.begin(), eps_list.end(), how.eps) == eps_list.end())
    eps_list.push_back(how.eps);
  std::sort(eps_list.begin(), eps_list.end());
  std::vector<double> base_reference, base_fixed;
  for (const double eps : eps_list) {
    tell(fmt::format("training signal: e = {:g}", eps));
    std::vector<double> reference = bench.reference(eps, batches, probes);
    std::vector<double> fixed = bench.device(eps, batches, probes);
    FlipPoint p = compare_differences(reference, fixed);
    p.x = eps;
    judge(p, fixed, reference, eps);
    r.by_eps.push_back(p);
    if (eps == how.eps) base_reference = std::move(reference), base_fixed = std::move(fixed);
  }
  directions_by_pairs(bench, directions, gradients, base_fixed, base_reference, r);

  tell("training signal: batches and widths");
  for (const int batch : options.batches) {
    if (static_cast<std::size_t>(batch) > examples) continue;
    const Batches b = bench.batches(batch, groups);
    FlipPoint p =
        compare_differences(bench.reference(how.eps, b, probes), bench.device(how.eps, b, probes));
    p.x = batch;
    r.by_batch.push_back(p);
  }
  const int own = network.weight_type == WeightType::w8 ? 8 : 16;
  std::vector<std::pair<std::string, Widths>> widths;
  for (const int bits : {8, 10, 12, 14, 16})
    if (bits <= own) widths.push_back({fmt::format("w{} a8 l16", bits), {bits, 8, 16}});
  widths.push_back({fmt::format("w{} a16 l16", own), {own, 16, 16}});
  widths.push_back({fmt::format("w{} a8 l8", own), {own, 8, 8}});
  widths.push_back({"float32", kFloat});
  for (const auto& [label, w] : widths) {
    const std::vector<double> fixed = bench.emulated(how.eps, w, batches, probes);
    FlipPoint p = compare_differences(base_reference, fixed);
    p.label = label;
    p.x = w.weights;
    judge(p, fixed, base_reference, how.eps);
    r.by_width.push_back(p);
  }

  for (const double step : {0.03, 0.1, 0.2, 0.33, 0.5, 1.0, 3.28}) {
    r.rounding_sign.push_back(measure_rounding(step, spec::Distribution::sign_, 20000, bench.seed));
    r.rounding_gaussian.push_back(
        measure_rounding(step, spec::Distribution::gaussian_, 20000, bench.seed));
  }
  const Directions used(network, bench.plan(how.eps), how.fixed.distribution, how.fixed.mask_seed);
  perturbation_sizes(used, bench.seed, network, bench.coefficient(), r);
  tell("training signal: drift and step");
  drift(bench, used, test, options, r);
  steps(bench, base_fixed, options, r);
  recommend(r);
  explain(r);
  return r;
}

}  // namespace lastmile
