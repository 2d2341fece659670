// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sw/validate/signal.hpp"

namespace lastmile {
namespace {

const FlipPoint* point_at(const std::vector<FlipPoint>& all, double eps) {
  for (const FlipPoint& p : all)
    if (p.x == eps) return &p;
  return nullptr;
}

void recommend_step(const AdaptOptions& how, SignalReport& r) {
  const StepPoint* best = nullptr;
  for (const StepPoint& p : r.by_step)
    if (best == nullptr || p.loss_change < best->loss_change) best = &p;
  if (best == nullptr) return;
  const FlipPoint& signs = best_signs(r.by_eps);
  r.remarks.push_back(fmt::format(
      "e by signs: {:g}, the smallest that keeps 98 % of the best projection on the gradient "
      "({:.3f}); read from signal.by_eps",
      signs.x, signs.projection));
  r.recommended_eps = best->eps;
  r.recommended_step = best->step;
  r.remarks.push_back(fmt::format(
      "e = {:g}, step = {:g}: {} steps on the device lower the loss most there ({:+.3f} +- {:.3f} "
      "nats, accuracy {:.1f} -> {:.1f} %); longer trainings bear the same step or less; read from "
      "signal.by_step",
      best->eps, best->step, r.short_steps, best->loss_change, best->standard_error,
      r.judged_accuracy, best->accuracy));
  for (const double eps : {signs.x, how.eps}) {
    if (eps == best->eps) continue;
    const StepPoint* other = nullptr;
    for (const StepPoint& p : r.by_step)
      if (p.eps == eps && (other == nullptr || p.loss_change < other->loss_change)) other = &p;
    if (other != nullptr)
      r.remarks.push_back(
          fmt::format("e = {:g} ({}) changes it by {:+.3f} +- {:.3f} nats at best, at step {:g}",
                      other->eps, eps == signs.x ? "the best signs" : "as configured",
                      other->loss_change, other->standard_error, other->step));
  }
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
    if (p.curvature > kLinear)
      r.remarks.push_back(
          fmt::format("e = {:g}: the float64 difference is {:.0f} % away from linear, the "
                      "gradient's direction is not what it measures: theory of cosines and the "
                      "linear curve of lost signs do not apply",
                      p.x, 100 * p.curvature));
  for (const FlipPoint& p : r.by_eps)
    if (p.predicted < p.lost.low || p.predicted > p.lost.high)
      r.remarks.push_back(fmt::format(
          "e = {:g}: {:.1f} % lost signs, Gaussian noise would give {:.1f} %, outside the interval "
          "{:.1f} to {:.1f} %: signal or noise is not Gaussian there",
          p.x, 100 * p.lost.value, 100 * p.predicted, 100 * p.lost.low, 100 * p.lost.high));
  for (const DirectionPoint& p : r.by_pairs) {
    const FlipPoint* at = point_at(r.by_eps, p.eps);
    if (at == nullptr || at->curvature > kLinear || p.groups < 8) continue;
    // Lost signs lower the cosine: theory is of those that are right.
    const double expected = p.exact_signed * std::max(at->projection, 0.0);
    if (std::abs(p.fixed_signed - expected) > 3 * p.standard_error + 0.05 * expected)
      r.remarks.push_back(fmt::format(
          "e = {:g}, m = {}: cosine {:.4f} +- {:.4f}, theory times the projection of the signs is "
          "{:.4f}: not explained by lost signs",
          p.eps, p.pairs, p.fixed_signed, p.standard_error, expected));
  }
}

}  // namespace

const FlipPoint& best_signs(const std::vector<FlipPoint>& by_eps) {
  double best = -1;
  for (const FlipPoint& p : by_eps) best = std::max(best, p.projection);
  for (const FlipPoint& p : by_eps)
    if (p.projection >= 0.98 * best) return p;
  return by_eps.front();
}

void recommend_pairs(SignalReport& r) {
  // Progress per forward pass goes with cos^2 / m.
  const double eps = best_signs(r.by_eps).x;
  const DirectionPoint *one = nullptr, *chosen = nullptr;
  const auto value = [](const DirectionPoint& p) {
    return p.fixed_signed <= 0 ? 0 : p.fixed_signed * p.fixed_signed / p.pairs;
  };
  for (const DirectionPoint& p : r.by_pairs) {
    if (p.eps != eps) continue;
    if (p.pairs == 1) one = chosen = &p;
    const double low = std::max(p.fixed_signed - p.standard_error, 0.0);
    if (one != nullptr && low * low / p.pairs > 1.25 * value(*chosen)) chosen = &p;
  }
  if (one == nullptr) return;
  r.recommended_pairs = chosen->pairs;
  r.remarks.push_back(fmt::format(
      "m = {}: cos^2 / m at e = {:g} is {:.3g} there and {:.3g} at m = 1 (more pairs must gain a "
      "quarter to be worth their passes); read from signal.by_pairs",
      chosen->pairs, eps, value(*chosen), value(*one)));
}

void recommend_signal(const AdaptOptions& how, SignalReport& r) {
  recommend_step(how, r);
  explain(r);
}

}  // namespace lastmile
