// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/findings.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "sw/quantizer/quantize.hpp"
#include "sw/validate/contract.hpp"

namespace lastmile {
namespace {

std::size_t at(std::int64_t i) { return static_cast<std::size_t>(i); }

// A ratio counts as wrong when it is this far from 1 (weights, tables) ...
constexpr double kRatioTolerance = 0.03;
// ... or this far, where ranges are estimated from examples.
constexpr double kRangeTolerance = 0.5;

bool near(double a, double b, double tolerance) {
  return a > 0 && b > 0 && std::abs(std::log(a / b)) < std::log1p(tolerance);
}

// Float value over fixed value of the scale of one tensor; 1 is right.
struct ScaleRatio {
  std::size_t layer;
  double scale, factor;
};

class Judge {
 public:
  Judge(const Network& folded, const FloatParams<float>& params, const QuantizedNetwork& network,
        const LayerAnalysis& analysis, const Thresholds& thresholds)
      : net_(folded), params_(params), q_(network), a_(analysis), t_(thresholds) {}

  std::vector<Finding> run() {
    weights();
    outputs();
    for (const LayerReport& r : a_.layers) {
      tables(r);
      biases(r);
      if (!has_cause(r.name)) zero_points(r);
      quality(r);
    }
    whole();
    std::stable_sort(out_.begin(), out_.end(), [](const Ranked& a, const Ranked& b) {
      return a.finding.level != b.finding.level ? a.finding.level > b.finding.level
                                                : a.badness > b.badness;
    });
    std::vector<Finding> result;
    for (Ranked& r : out_) result.push_back(std::move(r.finding));
    return result;
  }

 private:
  struct Ranked {
    Finding finding;
    double badness;
  };
  // Causes rank above symptoms.
  static constexpr double kCause = 1000;

  void say(Level level, const std::string& layer, const std::string& check, std::string text,
           double badness) {
    out_.push_back({{level, layer, check, std::move(text)}, badness});
  }
  [[nodiscard]] const Layer& layer(std::size_t i) const { return net_.layers[i]; }
  [[nodiscard]] const std::string& name(std::size_t i) const { return net_.layers[i].name; }

  // Two layers whose scales explain each other's factor.
  std::vector<bool> swapped(const std::vector<ScaleRatio>& wrong, const char* what,
                            double tolerance) {
    std::vector<bool> done(wrong.size(), false);
    for (std::size_t i = 0; i < wrong.size(); ++i) {
      for (std::size_t j = i + 1; j < wrong.size() && !done[i]; ++j) {
        if (done[j]) continue;
        const ScaleRatio &a = wrong[i], &b = wrong[j];
        if (!near(a.scale / a.factor, b.scale, tolerance) ||
            !near(b.scale / b.factor, a.scale, tolerance))
          continue;
        done[i] = done[j] = true;
        say(Level::failure, name(a.layer), "scales swapped",
            fmt::format("{} scales of layers '{}' and '{}' are swapped: off by {:.3f} and {:.3f}",
                        what, name(a.layer), name(b.layer), a.factor, b.factor),
            kCause + 10);
      }
    }
    return done;
  }

  // An offset of a layer that already has a cause is that cause's.
  [[nodiscard]] bool has_cause(const std::string& name) const {
    return std::any_of(out_.begin(), out_.end(), [&](const Ranked& r) {
      return r.finding.layer == name && r.badness > kCause / 2;
    });
  }

  void weights() {
    std::vector<ScaleRatio> wrong;
    for (const LayerReport& r : a_.layers) {
      if (r.reduction == 0) continue;
      if (std::abs(std::log(std::max(r.weight_gain, 1e-9))) > kRatioTolerance) {
        double scale = 0;
        for (const float s : q_.layers[at(r.layer)].weight_scale) scale += s;
        wrong.push_back({at(r.layer),
                         scale / static_cast<double>(q_.layers[at(r.layer)].weight_scale.size()),
                         r.weight_gain});
      } else if (r.weight_clipped > 0) {
        say(Level::failure, r.name, "weights clipped",
            fmt::format("{:.2f} % of the weights are beyond the codes, which end at {:.2f} of the "
                        "largest weight",
                        100 * r.weight_clipped, 1 / r.weight_range),
            kCause + 5);
      }
    }
    const auto done = swapped(wrong, "weight", 0.25);
    for (std::size_t i = 0; i < wrong.size(); ++i) {
      if (done[i]) continue;
      say(Level::failure, name(wrong[i].layer), "weight scale",
          fmt::format(
              "weight scale is off by a factor of {:.3f}: codes times scale are {:.3f} times "
              "the float weights",
              wrong[i].factor, wrong[i].factor),
          kCause);
    }
  }

  // The range of each int8 output against the range of the float layer.
  void outputs() {
    std::vector<ScaleRatio> wrong;
    for (const LayerReport& r : a_.layers) {
      const std::size_t i = at(r.layer);
      const OpTraits op = traits(layer(i).op);
      if (r.layer == wide_layer(net_) || op.keeps_quant || op.fixes_quant) continue;
      const TensorQuant& quant = q_.layers[i].out;
      const double range = a_.golden_high[i] - a_.golden_low[i];
      const double factor = static_cast<double>(quant.scale) * 255 / range;
      if (range > 0 && std::abs(std::log(factor)) > std::log1p(kRangeTolerance))
        wrong.push_back({i, quant.scale, factor});
    }
    const auto done = swapped(wrong, "output", 0.3);
    for (std::size_t i = 0; i < wrong.size(); ++i) {
      if (done[i]) continue;
      const bool narrow = wrong[i].factor < 1;
      say(narrow ? Level::failure : Level::warning, name(wrong[i].layer), "output scale",
          fmt::format("output scale {:.6g} spans {:.2f} times the range of the float layer: {}",
                      wrong[i].scale, wrong[i].factor,
                      narrow ? "values are cut off" : "codes are left unused"),
          kCause - 10);
    }
  }

  // Requantization tables against the scales that they come from.
  void tables(const LayerReport& r) {
    const std::size_t i = at(r.layer);
    const QuantizedLayer& q = q_.layers[i];
    if (r.reduction == 0) {
      if (layer(i).op == Op::add && r.simulation_lsb > 2)
        say(Level::failure, r.name, "add parameters",
            fmt::format("the sum is up to {} LSBs from what its scales and zero points say",
                        r.simulation_lsb),
            kCause);
      return;
    }
    const double in = q_.quant_of(layer(i).inputs[0]).scale;
    const auto check = [&](const std::vector<Requant>& table, double out, const char* what) {
      std::size_t bad = 0;
      double worst = 1;
      for (std::size_t o = 0; o < table.size(); ++o) {
        const double factor = std::ldexp(table[o].multiplier, table[o].exponent - 31);
        const double ratio = factor / (in * q.weight_scale[o] / out);
        if (std::abs(std::log(std::max(ratio, 1e-30))) < 1e-4) continue;
        ++bad;
        if (std::abs(std::log(ratio)) > std::abs(std::log(worst))) worst = ratio;
      }
      if (bad != 0)
        say(Level::failure, r.name, "requantization scale",
            fmt::format("{} multipliers of {} of {} channels do not fit the scales: off by up to a "
                        "factor of {:.3f}",
                        what, bad, table.size(), worst),
            kCause);
    };
    check(q.requant, q.out.scale, "output");
    if (r.layer == wide_layer(net_)) check(q_.logits.requant, q_.logits.scale, "logit");
  }

  void biases(const LayerReport& r) {
    const std::size_t i = at(r.layer);
    const QuantizedLayer& q = q_.layers[i];
    const std::vector<float>& bias = params_.layers[i].bias;
    if (q.bias.empty() || bias.size() != q.bias.size()) return;
    const double in = q_.quant_of(layer(i).inputs[0]).scale;
    ErrorStats stats;
    double as_is = 0, error = 0, squares = 0;
    for (std::size_t o = 0; o < bias.size(); ++o) {
      const double real = q.bias[o] * in * q.weight_scale[o], lsb = in * q.weight_scale[o];
      stats.add(bias[o], real);
      as_is += std::pow(q.bias[o] - std::round(static_cast<double>(bias[o])), 2);
      error += std::pow((real - bias[o]) / lsb, 2);
      squares += std::pow(bias[o] / lsb, 2);
    }
    // Rounding makes at most half an LSB of each.
    const auto n = static_cast<double>(bias.size());
    if (error <= n || error < 1e-4 * squares) return;
    if (as_is <= 0.26 * n) {
      say(Level::failure, r.name, "bias not quantized",
          "the bias holds float values, expected LSBs of input scale times weight scale",
          kCause + 5);
    } else {
      say(Level::failure, r.name, "bias",
          fmt::format(
              "bias codes times their scale are {:.3f} times the float bias, SQNR {:.1f} dB",
              stats.gain(), stats.sqnr_db()),
          kCause - 5);
    }
  }

  void zero_points(const LayerReport& r) {
    const std::size_t i = at(r.layer);
    const QuantizedLayer& q = q_.layers[i];
    const Layer& l = layer(i);
    const bool add = l.op == Op::add;
    if (r.layer != wide_layer(net_) && !traits(l.op).closing) {
      const auto clamp = activation_clamp(l.activation, q.out);
      const std::int32_t low = add ? q.add.act_min : q.act_min;
      if (low != clamp[0])
        say(Level::failure, r.name, "clamp",
            fmt::format("the activation is clamped at code {}, expected {} for zero point {}", low,
                        clamp[0], q.out.zero_point),
            kCause);
    }
    if (add &&
        (q.add.zp1 != q_.quant_of(l.inputs[0]).zero_point ||
         q.add.zp2 != q_.quant_of(l.inputs[1]).zero_point || q.add.zp_out != q.out.zero_point))
      say(Level::failure, r.name, "zero point",
          fmt::format(
              "the addition subtracts zero points {} and {} and adds {}, expected {}, {}, {}",
              q.add.zp1, q.add.zp2, q.add.zp_out, q_.quant_of(l.inputs[0]).zero_point,
              q_.quant_of(l.inputs[1]).zero_point, q.out.zero_point),
          kCause);
    if (!near(r.alone.gain(), 1, kRatioTolerance)) return;
    // An input zero point that is off moves each channel by its sum of weights, an output zero
    // point moves all alike.
    if (r.reduction != 0) {
      const std::vector<double>&e = a_.channel_error[i], &s = a_.channel_zero_point[i];
      if (const auto k = explained(e, s)) {
        say(Level::failure, r.name, "input zero point",
            fmt::format(
                "errors follow the channels' sums of weights: the input zero point is off by "
                "{:+.0f}",
                -*k),
            kCause);
        return;
      }
      if (r.layer == wide_layer(net_)) return;
      const double k = std::round(mean_of(e));
      if (k != 0 && std::abs(mean_of(e) - k) < 0.2)
        say(Level::failure, r.name, "output zero point",
            fmt::format(
                "all outputs are off by {:+.2f} LSB: the output zero point is off by {:+.0f}",
                mean_of(e), k),
            kCause);
      return;
    }
    const double k = std::round(r.alone.mean_error() / r.alone.lsb());
    if (k != 0 && r.alone.residual_lsb() < 1)
      say(Level::failure, r.name, "output zero point",
          fmt::format("all outputs are off by {:+.2f} LSB", r.alone.mean_error() / r.alone.lsb()),
          kCause);
  }

  // k such that error = k * shift to within a tenth, k a whole number but 0.
  static std::optional<double> explained(const std::vector<double>& error,
                                         const std::vector<double>& shift) {
    double es = 0, ss = 0, ee = 0;
    for (std::size_t o = 0; o < error.size(); ++o) {
      es += error[o] * shift[o];
      ss += shift[o] * shift[o];
      ee += error[o] * error[o];
    }
    if (ss == 0 || ee / static_cast<double>(error.size()) < 0.01) return std::nullopt;
    const double k = std::round(es / ss);
    if (k == 0 || std::abs(es / ss - k) > 0.25 * std::abs(k)) return std::nullopt;
    return ee - es * es / ss < 0.1 * ee ? std::optional(k) : std::nullopt;
  }

  void quality(const LayerReport& r) {
    const double sqnr = r.total.sqnr_db();
    const std::string where = fmt::format("injected {:.1f} dB, inherited {:.1f} dB",
                                          r.injected.sqnr_db(), r.inherited.sqnr_db());
    if (sqnr < t_.sqnr_fail_db) {
      say(Level::failure, r.name, "sqnr",
          fmt::format("SQNR {:.1f} dB, expected at least {:.1f} ({})", sqnr, t_.sqnr_fail_db,
                      where),
          t_.sqnr_fail_db - sqnr);
    } else if (sqnr < t_.sqnr_warn_db) {
      say(Level::warning, r.name, "sqnr",
          fmt::format("SQNR {:.1f} dB, better {:.1f} ({})", sqnr, t_.sqnr_warn_db, where),
          t_.sqnr_warn_db - sqnr);
    }
    if (r.total.cosine() < t_.cosine_warn)
      say(Level::warning, r.name, "cosine",
          fmt::format("cosine {:.4f}, better {:.4f}", r.total.cosine(), t_.cosine_warn), 1);
    const double saturation = r.sat_low + r.sat_high;
    if (saturation > t_.saturation_warn)
      say(saturation > t_.saturation_fail ? Level::failure : Level::warning, r.name, "saturation",
          fmt::format(
              "{:.2f} % of the outputs saturate ({:.2f} % low, {:.2f} % high), expected at "
              "most {:.2f} %",
              100 * saturation, 100 * r.sat_low, 100 * r.sat_high,
              100 * (saturation > t_.saturation_fail ? t_.saturation_fail : t_.saturation_warn)),
          100 * saturation);
    const bool logits = r.layer == wide_layer(net_);
    if (!logits && r.alone.rmse_over_scale() > t_.rmse_over_scale_warn)
      say(Level::warning, r.name, "rmse over scale",
          fmt::format(
              "RMSE of the layer alone is {:.2f} LSB, better at most {:.2f} (0.29 is ideal)",
              r.alone.rmse_over_scale(), t_.rmse_over_scale_warn),
          r.alone.rmse_over_scale());
    if (r.reduction != 0 && 40 - r.accumulator_bits < t_.headroom_warn_bits)
      say(Level::warning, r.name, "headroom",
          fmt::format("the accumulator needed {} of 40 bits", r.accumulator_bits), 1);
    if (!r.stuck.empty())
      say(Level::warning, r.name, "stuck channels",
          fmt::format("{} of {} channels never change although the float layer's do (first: {})",
                      r.stuck.size(), layer(at(r.layer)).out.c, r.stuck.front()),
          static_cast<double>(r.stuck.size()));
    if (r.contract_differences != 0)
      say(Level::failure, r.name, "contract",
          fmt::format("{} outputs of the device differ from the numeric contract, expected none",
                      r.contract_differences),
          kCause + 20);
    if (r.float32_error > t_.float32_fail)
      say(Level::failure, r.name, "golden float32",
          fmt::format("float32 is {:.2g} from float64, expected at most {:.2g}", r.float32_error,
                      t_.float32_fail),
          1);
    if (logits && r.effective_bits < t_.logit_bits_fail)
      say(Level::failure, r.name, "logit width",
          fmt::format(
              "the logits have {:.1f} effective bits, expected at least {:.1f}: differences "
              "of the loss below a step of the logits are lost",
              r.effective_bits, t_.logit_bits_fail),
          kCause);
  }

  void whole() {
    if (a_.device_sat_low != a_.counted_sat_low || a_.device_sat_high != a_.counted_sat_high)
      say(Level::failure, "", "saturation counters",
          fmt::format("the device counted {} low and {} high, its accumulators give {} and {}",
                      a_.device_sat_low, a_.device_sat_high, a_.counted_sat_low,
                      a_.counted_sat_high),
          kCause);
    if (net_.reconstructs()) {
      // No more than that and what rounding to the output's step adds.
      const double step = q_.layers.back().out.scale;
      const double most = a_.float_loss * (1 + t_.squared_error_fail) + step * step / 3;
      if (a_.fixed_loss > most)
        say(Level::failure, "", "squared error",
            fmt::format("fixed point {:.4g}, float {:.4g}, expected at most {:.4g}", a_.fixed_loss,
                        a_.float_loss, most),
            1);
      return;
    }
    if (a_.float_accuracy - a_.fixed_accuracy > t_.accuracy_fail_points)
      say(Level::failure, "", "accuracy",
          fmt::format("fixed point {:.2f} %, float {:.2f} %, expected at most {:.2f} points less",
                      a_.fixed_accuracy, a_.float_accuracy, t_.accuracy_fail_points),
          a_.float_accuracy - a_.fixed_accuracy);
  }

  const Network& net_;
  const FloatParams<float>& params_;
  const QuantizedNetwork& q_;
  const LayerAnalysis& a_;
  const Thresholds& t_;
  std::vector<Ranked> out_;
};

}  // namespace

const char* name_of(Level level) { return level == Level::failure ? "FAIL" : "warn"; }

Subject subject_of(const std::string& check) {
  const auto one_of = [&](std::initializer_list<const char*> names) {
    return std::find(names.begin(), names.end(), check) != names.end();
  };
  if (one_of({"sqnr", "cosine", "accuracy", "squared error"})) return Subject::accuracy;
  if (one_of({"saturation"})) return Subject::saturation;
  if (one_of({"rmse over scale", "headroom", "stuck channels", "logit width"}))
    return Subject::range;
  if (one_of({"not judged"})) return Subject::unjudged;
  if (one_of({"contract", "golden float32", "saturation counters"})) return Subject::agreement;
  return Subject::setting;
}

int failure_status(const std::vector<Finding>& findings, bool strict) {
  int bits = 0;
  for (const Finding& f : findings)
    if (f.level == Level::failure || strict) bits |= static_cast<int>(subject_of(f.check));
  return bits == 0 ? 0 : kFailureStatus + bits;
}

std::vector<Finding> judge_input(const TensorFit& input, const Thresholds& t) {
  const double share = input.outside();
  if (share <= t.saturation_warn) return {};
  const bool fails = share > t.saturation_fail;
  return {{fails ? Level::failure : Level::warning, "input", "saturation",
           fmt::format("{:.2f} % of the values are outside of {:.4g} to {:.4g} (seen: {:.4g} to "
                       "{:.4g}), expected at most {:.2f} %",
                       100 * share, input.low, input.high, input.seen_low, input.seen_high,
                       100 * (fails ? t.saturation_fail : t.saturation_warn))}};
}

std::vector<Finding> judge(const Network& folded, const FloatParams<float>& params,
                           const QuantizedNetwork& network, const LayerAnalysis& analysis,
                           const Thresholds& thresholds) {
  return Judge(folded, params, network, analysis, thresholds).run();
}

}  // namespace lastmile
