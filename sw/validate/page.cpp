// SPDX-License-Identifier: Apache-2.0
// What people read, made from the report alone: terminal summary, CSV, HTML.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "sw/report/html.hpp"
#include "sw/report/plot.hpp"
#include "sw/validate/validate.hpp"

namespace lastmile {
namespace {
using nlohmann::json;

bool reconstructs(const json& r) { return r.at("reconstruction").get<bool>(); }
std::string loss_text(const json& r, double loss) {
  return reconstructs(r) ? fmt::format("{:.5g}", loss) : fmt::format("{:.4f}", loss);
}
// How good one side ("float", "fixed", "simulated") is in `part`, a domain of report `r`.
std::string quality(const json& r, const json& part, const char* side) {
  const std::string loss = loss_text(r, part.at("loss").at(side).get<double>());
  return reconstructs(r)
             ? "squared error per element " + loss
             : fmt::format("{:.2f} %, loss {}", part.at("accuracy").at(side).get<double>(), loss);
}

double number(const json& j, const char* key) { return j.at(key).get<double>(); }
std::string text(const json& j, const char* key) { return j.at(key).get<std::string>(); }
double percent(const json& j, const char* key) { return 100 * number(j, key); }

const json& layer_named(const json& r, const std::string& name) {
  for (const json& l : r.at("layers"))
    if (text(l, "layer") == name) return l;
  return r.at("layers").at(0);
}

// Where the sweep turns, in words.
std::string turn(const json& sweep, const char* distribution) {
  const int bits = sweep.at("turns_at").at(distribution).get<int>();
  if (bits != 0) return fmt::format("turns at {} bits", bits);
  return number(sweep.at("float_gain"), distribution) < kLeastGain
             ? "no turn: float gains too little"
             : "no width gains half of float";
}

std::string join(const json& list, const char* separator) {
  std::string out;
  for (const json& item : list) {
    if (!out.empty()) out += separator;
    out += item.get<std::string>();
  }
  return out;
}

const json* sweep_point(const json& sweep, const char* distribution, int w, int a, int l) {
  for (const json& p : sweep.at("points"))
    if (text(p, "distribution") == distribution && number(p, "weights") == w &&
        number(p, "activations") == a && number(p, "logits") == l)
      return &p;
  return nullptr;
}

// Lost signs (or another share) over x; `eps` negative: all points, else those of that e.
struct Curve {
  std::string name;
  const char* x = "x";
  const char* y = "lost";
  double eps = -1;
  std::string label = {};  // of by_width: only these points
};
Series curve(const json& list, const Curve& c) {
  Series s{.name = c.name};
  for (const json& p : list) {
    if (c.eps >= 0 && number(p, "eps") != c.eps) continue;
    if (!c.label.empty() && text(p, "label") != c.label) continue;
    s.x.push_back(number(p, c.x));
    s.y.push_back(percent(p, c.y));
    if (std::string_view(c.y) == "lost" && c.label.empty()) {
      s.low.push_back(percent(p, "lost_low"));
      s.high.push_back(percent(p, "lost_high"));
    }
  }
  return s;
}

// The values of a key, each once, in order of appearance.
template <class T>
std::vector<T> distinct(const json& list, const char* key) {
  std::vector<T> out;
  for (const json& p : list) {
    const T v = p.at(key).get<T>();
    if (std::find(out.begin(), out.end(), v) == out.end()) out.push_back(v);
  }
  return out;
}

void layer_charts(html::Page& page, const json& r) {
  Chart sqnr{.title = "SQNR by layer", .y_label = "dB", .kind = Chart::Kind::bars};
  Series total{.name = "whole chain"}, injected{.name = "injected here"},
      inherited{.name = "inherited"};
  for (const json& l : r.at("layers")) {
    sqnr.labels.push_back(text(l, "layer"));
    const auto db = [&](const char* part) {
      return std::clamp(number(l.at(part), "sqnr_db"), 0.0, 100.0);
    };
    total.y.push_back(db("total"));
    injected.y.push_back(db("injected"));
    inherited.y.push_back(db("inherited"));
  }
  sqnr.series = {total, injected, inherited};
  page.heading("SQNR by layer").raw(to_svg(sqnr));
  page.note(
      "Injected: this layer's own quantization, simulated on golden inputs. Inherited: what the "
      "errors of its inputs became. 100 dB and more stands for no error: a maximum injects "
      "nothing.");
  Chart histogram{.title = "Errors of the whole chain, the four worst layers",
                  .x_label = "error in LSBs",
                  .y_label = "share of outputs, %"};
  std::size_t shown = 0;
  for (const json& name : r.at("worst_first")) {
    if (shown++ == 4) break;
    const json& counts = layer_named(r, name.get<std::string>()).at("total").at("histogram");
    double all = 0;
    for (const json& n : counts) all += n.get<double>();
    Series s{.name = name.get<std::string>()};
    for (std::size_t b = 0; b < counts.size(); ++b) {
      s.x.push_back(ErrorHistogram::low_edge(b) + 0.125);
      s.y.push_back(100 * counts[b].get<double>() / std::max(all, 1.0));
    }
    histogram.series.push_back(std::move(s));
  }
  page.heading("Error histograms").raw(to_svg(histogram));
  page.note(
      "The ends hold everything beyond -4 and 4 LSBs. The LSB of the last layer is that of the "
      "16-bit logits.");
}

void layer_table(html::Page& page, const json& r) {
  std::vector<std::vector<std::string>> rows, sensitivity;
  for (const json& name : r.at("worst_first")) {
    const json& l = layer_named(r, name.get<std::string>());
    const json& t = l.at("total");
    rows.push_back({text(l, "layer"), text(l, "op"), fmt::format("{:.1f}", number(t, "sqnr_db")),
                    fmt::format("{:.1f}", number(l.at("injected"), "sqnr_db")),
                    fmt::format("{:.1f}", number(l.at("inherited"), "sqnr_db")),
                    fmt::format("{:.5f}", number(t, "cosine")),
                    fmt::format("{:.4g}", number(t, "max_abs")),
                    fmt::format("{:.2g}", number(t, "mean_error")),
                    fmt::format("{:.2f}", number(l.at("alone"), "rmse_over_scale")),
                    fmt::format("{:.3f}", percent(l, "saturation_low")),
                    fmt::format("{:.3f}", percent(l, "saturation_high")),
                    fmt::format("{} of 40", l.at("accumulator_bits").get<int>()),
                    fmt::format("{:.0f}", percent(l, "code_share")),
                    fmt::format("{}", l.at("stuck_channels").size())});
    std::vector<std::string> each = {text(l, "layer")};
    for (const char* which : {"only_this_quantized", "all_but_this_quantized"}) {
      each.push_back(loss_text(r, number(l.at(which), "loss")));
      if (!reconstructs(r)) each.push_back(fmt::format("{:.2f}", number(l.at(which), "accuracy")));
    }
    sensitivity.push_back(std::move(each));
  }
  page.heading("Layers, worst first")
      .table(
          {"layer", "op", "SQNR dB", "injected", "inherited", "cosine", "max abs", "mean error",
           "RMSE/scale alone", "saturated low %", "high %", "accumulator", "codes used %", "stuck"},
          rows);
  std::vector<std::string> head = {"layer", "loss, only this quantized", "accuracy %",
                                   "loss, all but this", "accuracy %"};
  if (reconstructs(r)) std::erase(head, "accuracy %");
  page.heading("One at a time").table(head, sensitivity);
  page.note(fmt::format("Simulated quantization in float32. All float: {}; all quantized: {}.",
                        quality(r, r, "float"), quality(r, r, "simulated")));
}

// One curve for each e of the list.
std::vector<Series> eps_curves(const json& list, const char* x, const char* y) {
  std::vector<Series> out;
  for (const double eps : distinct<double>(list, "eps"))
    out.push_back(curve(list, {fmt::format("e = {:g}", eps), x, y, eps}));
  return out;
}

void recommended_settings(html::Page& page, const json& s) {
  const json& best = s.at("recommended");
  page.paragraph(fmt::format(
      "Recommended: e = {:g}, m = {}, step = {:g} (unit: {}). {} "
      "trained parameters, batch {}.",
      number(best, "eps"), best.at("pairs").get<int>(), number(best, "step"), text(s, "unit"),
      s.at("parameters").get<std::int64_t>(), s.at("batch").get<int>()));
}

// How many signs of L+ - L- are lost, and what the others are worth, over e.
void signs_by_eps(html::Page& page, const json& s) {
  Chart by_eps{.title = "Lost signs of L+ - L- against float64", .x_label = "e", .y_label = "%"};
  by_eps.log_x = true;
  by_eps.series = {
      curve(s.at("by_eps"), {"fixed point"}),
      curve(s.at("by_eps"), {"Gaussian, noise measured at each e", "x", "predicted"}),
      curve(s.at("by_eps"), {"Gaussian, linear: slope, noise at the smallest e", "x", "linear"})};
  Chart value{.title = "Projection of the signs on the gradient (100 % = all right)",
              .x_label = "e",
              .y_label = "%"};
  value.log_x = true;
  value.series = {curve(s.at("by_eps"), {"signs of fixed point", "x", "projection"}),
                  curve(s.at("by_eps"), {"distance of L+ - L- from linear", "x", "curvature"})};
  page.raw(to_svg(by_eps)).raw(to_svg(value));
}

// Lost signs over what else may cost or save some: examples, widths, pairs.
void lost_signs_by_setting(html::Page& page, const json& s) {
  Chart by_batch{.title = "Lost signs by batch", .x_label = "examples", .y_label = "%"};
  by_batch.log_x = true;
  by_batch.series = eps_curves(s.at("by_batch"), "x", "lost");
  if (s.at("by_batch").size() > by_batch.series.size()) page.raw(to_svg(by_batch));
  Chart widths{.title = "Lost signs by width (emulated)", .x_label = "e", .y_label = "%"};
  widths.log_x = true;
  for (const auto& label : distinct<std::string>(s.at("by_width"), "label"))
    widths.series.push_back(curve(s.at("by_width"), {label, "eps", "lost", -1, label}));
  page.raw(to_svg(widths));
  Chart flips{.title = "Steps with a lost sign by pairs", .x_label = "pairs m", .y_label = "%"};
  flips.series = eps_curves(s.at("by_pairs"), "pairs", "any_flip");
  page.raw(to_svg(flips));
}

// The step's direction against the gradient, over pairs: a chart for each e.
void cosines_by_pairs(html::Page& page, const json& s) {
  for (const double eps : distinct<double>(s.at("by_pairs"), "eps")) {
    Chart cosine{.title = fmt::format("Cosine with the backpropagated gradient, e = {:g}", eps),
                 .x_label = "pairs m",
                 .y_label = "cosine"};
    const auto line = [&](const char* name, const char* key) {
      Series c{.name = name};
      for (const json& p : s.at("by_pairs")) {
        if (number(p, "eps") != eps) continue;
        c.x.push_back(number(p, "pairs"));
        c.y.push_back(number(p, key));
      }
      cosine.series.push_back(std::move(c));
    };
    line("fixed point, signed", "fixed_signed");
    line("float64, signed", "float_signed");
    line("fixed point, scaled", "fixed_scaled");
    line("sqrt(2m / pi d)", "theory_signed");
    line("sqrt(m / d)", "theory_scaled");
    line("scaled, exact mean", "exact_scaled");
    page.raw(to_svg(cosine));
  }
}

void short_training_by_step(html::Page& page, const json& s) {
  Chart by_step{.title = fmt::format("Loss after {} steps on the device, against before",
                                     s.at("short_training").at("steps").get<int>()),
                .x_label = fmt::format("step ({})", text(s, "unit")),
                .y_label = "nats"};
  by_step.log_x = true;
  for (const double eps : distinct<double>(s.at("by_step"), "eps")) {
    Series c{.name = fmt::format("e = {:g}", eps)};
    for (const json& p : s.at("by_step")) {
      if (number(p, "eps") != eps) continue;
      c.x.push_back(number(p, "step"));
      c.y.push_back(number(p, "loss_change"));
    }
    by_step.series.push_back(std::move(c));
  }
  page.raw(to_svg(by_step));
}

void rounding_table(html::Page& page, const json& s) {
  std::vector<std::vector<std::string>> rows;
  for (const char* kind : {"rounding_sign", "rounding_gaussian"}) {
    for (const json& p : s.at(kind)) {
      std::vector<std::string> row = {kind == std::string("rounding_sign") ? "signs" : "Gaussian",
                                      fmt::format("{:g}", number(p, "step"))};
      for (const char* rule : {"stochastic", "nearest", "floor"}) {
        row.push_back(fmt::format("{:+.4f}", number(p.at(rule), "bias")));
        row.push_back(fmt::format("{:.3f}", number(p.at(rule), "variance")));
        row.push_back(fmt::format("{:.0f}", percent(p.at(rule), "retained")));
      }
      rows.push_back(std::move(row));
    }
  }
  page.heading("Rounding of the update")
      .table({"z", "step, LSB", "stochastic: bias", "variance", "kept %", "nearest: bias",
              "variance", "kept %", "floor: bias", "variance", "kept %"},
             rows);
}

void perturbation_sizes(html::Page& page, const json& s) {
  Chart delta{.title = "Perturbation in LSBs", .y_label = "elements", .kind = Chart::Kind::bars};
  Series elements{.name = "elements"};
  const json& sizes = s.at("delta_histogram");
  for (std::size_t b = 0; b < sizes.size(); ++b) {
    delta.labels.push_back(b == 0 ? "0" : fmt::format("{}..", 1 << (b - 1)));
    elements.y.push_back(sizes[b].get<double>());
  }
  delta.series = {elements};
  page.raw(to_svg(delta));
}

// Weights that an update does not reach, and where random signs drift to.
void drift_table(html::Page& page, const json& s) {
  const json& d = s.at("drift");
  page.table(
      {"", "value"},
      {{"weights that the first update leaves unchanged, %",
        fmt::format("{:.2f}", percent(s, "unchanged_share"))},
       {"the same at a tenth of the step, %",
        fmt::format("{:.2f}", percent(s, "unchanged_late_share"))},
       {"drift without signal, steps (RMS)", fmt::format("{:.2f}", number(d, "rms_steps"))},
       {"random walk would give", fmt::format("{:.2f}", number(d, "theory_steps"))},
       {"mean drift over its standard error", fmt::format("{:+.2f}", number(d, "bias_sigma"))},
       {"accuracy before and after the drift, %",
        fmt::format("{:.2f} -> {:.2f}", number(d, "accuracy_before"),
                    number(d, "accuracy_after"))}});
}

void signal_part(html::Page& page, const json& s) {
  page.heading("Training signal");
  recommended_settings(page, s);
  signs_by_eps(page, s);
  lost_signs_by_setting(page, s);
  cosines_by_pairs(page, s);
  short_training_by_step(page, s);
  rounding_table(page, s);
  perturbation_sizes(page, s);
  drift_table(page, s);
  for (const json& remark : s.at("remarks")) page.note(remark.get<std::string>());
}

void sweep_part(html::Page& page, const json& s) {
  page.heading("Width sweep");
  page.paragraph(
      fmt::format("e = {:g} of the largest weight code, {} steps of one pair, batch {}, {} seeds, "
                  "layers: {}, weights only. Emulated: {}.",
                  number(s, "eps"), s.at("steps").get<int>(), s.at("batch").get<int>(),
                  s.at("seeds").get<int>(), join(s.at("layers"), ", "), text(s, "emulated")));
  for (const char* distribution : {"sign", "gaussian"}) {
    for (const std::string_view key : {"before", "lost", "after"}) {
      HeatMap map{.title = std::string(key == "after"    ? "Accuracy after adaptation, %, z: "
                                       : key == "before" ? "Accuracy after quantization, %, z: "
                                                         : "Lost signs, %, z: ") +
                           distribution,
                  .x_label = "weight bits"};
      std::vector<int> weights;
      std::vector<std::pair<int, int>> rest;
      for (const json& p : s.at("points")) {
        const int w = p.at("weights").get<int>();
        const std::pair<int, int> al = {p.at("activations").get<int>(), p.at("logits").get<int>()};
        if (w == 0) continue;
        if (std::find(weights.begin(), weights.end(), w) == weights.end()) weights.push_back(w);
        if (std::find(rest.begin(), rest.end(), al) == rest.end()) rest.push_back(al);
      }
      for (const int w : weights) map.columns.push_back(std::to_string(w));
      for (const auto& [a, l] : rest) {
        map.rows.push_back(fmt::format("a{} l{}", a, l));
        for (const int w : weights) {
          const json* p = sweep_point(s, distribution, w, a, l);
          map.values.push_back(p == nullptr ? std::numeric_limits<double>::quiet_NaN()
                                            : number(*p, key.data()) * (key == "lost" ? 100 : 1));
        }
      }
      page.raw(to_svg(map));
    }
    page.paragraph(
        fmt::format("z {}: float gains {:.2f} points, 16-bit weights {:.2f}, 8-bit {:.2f}; {}; "
                    "float minus 16 bit {:+.2f} +- {:.2f} points.",
                    distribution, number(s.at("float_gain"), distribution),
                    number(s.at("gain_w16"), distribution), number(s.at("gain_w8"), distribution),
                    turn(s, distribution), number(s.at("float_minus_w16"), distribution),
                    number(s.at("float_minus_w16_error"), distribution)));
  }
}

// Parts of the terminal summary.
std::string finding_lines(const json& r) {
  std::string out;
  int shown = 0;
  for (const json& f : r.at("findings")) {
    if (shown++ == 10) {
      out += fmt::format("  ... {} more findings in the report\n", r.at("findings").size() - 10);
      break;
    }
    out += fmt::format("{} {}: {}: {}\n", text(f, "level") == "fail" ? "FAIL" : "warn",
                       text(f, "layer").empty() ? "network" : text(f, "layer"), text(f, "check"),
                       text(f, "text"));
  }
  return out;
}

std::string layer_lines(const json& r) {
  std::string out =
      fmt::format("{:<10} {:>8} {:>8} {:>9} {:>8} {:>9} {:>8} {:>5} {:>6}\n", "layer", "SQNR dB",
                  "injected", "inherited", "cosine", "RMSE/scl", "sat %", "acc", "codes");
  int shown = 0;
  for (const json& name : r.at("worst_first")) {
    if (shown++ == 8) break;
    const json& l = layer_named(r, name.get<std::string>());
    out += fmt::format(
        "{:<10} {:>8.1f} {:>8.1f} {:>9.1f} {:>8.5f} {:>9.2f} {:>8.3f} {:>5} {:>5.0f}%\n",
        text(l, "layer"), number(l.at("total"), "sqnr_db"), number(l.at("injected"), "sqnr_db"),
        number(l.at("inherited"), "sqnr_db"), number(l.at("total"), "cosine"),
        number(l.at("alone"), "rmse_over_scale"),
        percent(l, "saturation_low") + percent(l, "saturation_high"),
        l.at("accumulator_bits").get<int>(), percent(l, "code_share"));
  }
  return out;
}

std::string signal_lines(const json& s) {
  std::string line;
  for (const json& p : s.at("by_eps"))
    line += fmt::format(" {:g}: {:.0f}%", number(p, "x"), percent(p, "lost"));
  std::string out = fmt::format("lost signs of L+ - L- by e:{}\n", line);
  // Where the curves are taken, noisiest first.
  for (const double eps : distinct<double>(s.at("by_pairs"), "eps")) {
    line.clear();
    for (const json& p : s.at("by_width"))
      if (number(p, "eps") == eps)
        line += fmt::format(" {}: {:.0f}%", text(p, "label"), percent(p, "lost"));
    out += fmt::format("  e = {:g}:{}\n", eps, line);
    line.clear();
    for (const json& p : s.at("by_pairs"))
      if (number(p, "eps") == eps)
        line += fmt::format(" m = {}: {:.4f} ({:.4f})", p.at("pairs").get<int>(),
                            number(p, "fixed_signed"), number(p, "theory_signed"));
    out += fmt::format("    cosine with backpropagation (theory):{}\n", line);
  }
  const json& best = s.at("recommended");
  const json& d = s.at("drift");
  out += fmt::format(
      "recommended: e = {:g}, m = {}, step = {:g} (unit {}); an update leaves {:.1f} % of {} "
      "parameters unchanged; drift {:.1f} steps (random walk {:.1f})\n",
      number(best, "eps"), best.at("pairs").get<int>(), number(best, "step"), text(s, "unit"),
      percent(s, "unchanged_share"), s.at("parameters").get<std::int64_t>(), number(d, "rms_steps"),
      number(d, "theory_steps"));
  return out;
}

std::string sweep_lines(const json& s) {
  std::string out;
  for (const char* distribution : {"sign", "gaussian"}) {
    std::string line;
    for (const json& p : s.at("points")) {
      const int w = p.at("weights").get<int>();
      if (text(p, "distribution") != distribution ||
          (w != 0 && (number(p, "activations") != 8 || number(p, "logits") != 16)))
        continue;
      line +=
          fmt::format(" {}: {:.1f};", w == 0 ? "float" : fmt::format("w{}", w), number(p, "after"));
    }
    const json* before = sweep_point(s, distribution, 16, 8, 16);
    out += fmt::format("sweep, z {}, from {:.1f} %:{} {}; float - w16 {:+.2f} +- {:.2f}\n",
                       distribution, before == nullptr ? 0 : number(*before, "before"), line,
                       turn(s, distribution), number(s.at("float_minus_w16"), distribution),
                       number(s.at("float_minus_w16_error"), distribution));
  }
  return out;
}

}  // namespace

std::string layers_csv(const json& r) {
  std::string out =
      "layer,op,k,sqnr_db,injected_sqnr_db,inherited_sqnr_db,cosine,max_abs,mean_error,rmse,"
      "rmse_over_scale,injected_rmse_over_scale,alone_rmse_over_scale,float32_error,saturation_low,"
      "saturation_high,"
      "accumulator_bits,accumulator_worst_bits,code_share,effective_bits,stuck_channels,"
      "contract_differences,weight_sqnr_db,weight_use,only_loss,only_accuracy,without_loss,"
      "without_accuracy\n";
  for (const json& l : r.at("layers")) {
    const json& t = l.at("total");
    out += fmt::format(
        "{},{},{},{:.6g},{:.6g},{:.6g},{:.9g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},"
        "{:.6g},{:.6g},"
        "{},{},{:.6g},{:.6g},{},{},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g},{:.6g}\n",
        text(l, "layer"), text(l, "op"), l.at("k").get<std::int64_t>(), number(t, "sqnr_db"),
        number(l.at("injected"), "sqnr_db"), number(l.at("inherited"), "sqnr_db"),
        number(t, "cosine"), number(t, "max_abs"), number(t, "mean_error"), number(t, "rmse"),
        number(t, "rmse_over_scale"), number(l.at("injected"), "rmse_over_scale"),
        number(l.at("alone"), "rmse_over_scale"), number(l, "float32_error"),
        number(l, "saturation_low"), number(l, "saturation_high"),
        l.at("accumulator_bits").get<int>(), l.at("accumulator_worst_bits").get<int>(),
        number(l, "code_share"), number(l, "effective_bits"), l.at("stuck_channels").size(),
        l.at("contract_differences").get<std::int64_t>(), number(l, "weight_sqnr_db"),
        number(l, "weight_use"), number(l.at("only_this_quantized"), "loss"),
        number(l.at("only_this_quantized"), "accuracy"),
        number(l.at("all_but_this_quantized"), "loss"),
        number(l.at("all_but_this_quantized"), "accuracy"));
  }
  return out;
}

std::string validate_summary(const json& r) {
  std::string out =
      fmt::format("{} on {} ({}), {}, {} examples: float {}, fixed point {}\n", text(r, "network"),
                  text(r, "task"), text(r, "shift"), text(r, "weight_type"),
                  r.at("examples").get<int>(), quality(r, r, "float"), quality(r, r, "fixed"));
  if (r.contains("shifted"))
    out += fmt::format("shifted domain: float {}, fixed point {}\n",
                       quality(r, r.at("shifted"), "float"), quality(r, r.at("shifted"), "fixed"));
  out += finding_lines(r) + layer_lines(r);
  if (r.contains("signal")) out += signal_lines(r.at("signal"));
  if (r.contains("sweep")) out += sweep_lines(r.at("sweep"));
  out += r.at("failed").empty()
             ? fmt::format("passed, {:.0f} s ({:.0f} s of CPU)\n", number(r, "seconds"),
                           number(r, "cpu_seconds"))
             : fmt::format("FAILED (exit status {}): {}\n", r.at("exit_status").get<int>(),
                           join(r.at("failed"), "; "));
  return out;
}

std::string validate_page(const json& r) {
  html::Page page(fmt::format("Validation: {} on {}", text(r, "network"), text(r, "task")));
  page.paragraph(
      fmt::format("{} weights, {} examples of the source test. Float64 golden model: {}. Fixed "
                  "point on the device: {}.",
                  text(r, "weight_type"), r.at("examples").get<int>(), quality(r, r, "float"),
                  quality(r, r, "fixed")));
  if (r.contains("shifted"))
    page.paragraph(fmt::format("On the shifted test: float64 {}, fixed point {}.",
                               quality(r, r.at("shifted"), "float"),
                               quality(r, r.at("shifted"), "fixed")));
  std::vector<std::vector<std::string>> rows;
  for (const json& f : r.at("findings"))
    rows.push_back({text(f, "level"), text(f, "layer"), text(f, "check"), text(f, "text")});
  if (rows.empty()) {
    page.paragraph("No finding: every layer is within its thresholds.");
  } else {
    page.heading("Findings").table({"level", "layer", "check", "what"}, rows);
  }
  layer_charts(page, r);
  layer_table(page, r);
  if (r.contains("signal")) signal_part(page, r.at("signal"));
  if (r.contains("sweep")) sweep_part(page, r.at("sweep"));
  return page.str();
}

}  // namespace lastmile
