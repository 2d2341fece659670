// SPDX-License-Identifier: Apache-2.0
// profile.html, from profile.json alone.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "sw/profile/profile.hpp"
#include "sw/report/html.hpp"
#include "sw/report/plot.hpp"

namespace lastmile::profile {
namespace {

using nlohmann::json;

double number(const json& j, const char* key) { return j.at(key).get<double>(); }
std::string text(const json& j, const char* key) { return j.value(key, std::string()); }
std::string brief(double v) { return fmt::format("{:.4g}", v); }
std::string interval(const json& i) {
  return fmt::format("{:.4g} ({:.3g} to {:.3g})", number(i, "value"), number(i, "low"),
                     number(i, "high"));
}

double bus_bytes(const json& part) {
  double sum = 0;
  for (const auto& [key, value] : part.at("traffic").items())
    if (!key.starts_with("scratchpad") && !key.starts_with("accumulator"))
      sum += value.get<double>();
  return sum;
}

Series line(const std::string& name, std::vector<double> x, std::vector<double> y) {
  Series s;
  s.name = name;
  s.x = std::move(x);
  s.y = std::move(y);
  return s;
}

// A point per layer and phase: MAC per cycle over MAC per byte of each level of memory, below that
// level's roof.
std::string roofline(const json& step, const json& hw, const std::string& title) {
  const double rows = number(hw, "rows"), cols = number(hw, "cols");
  const double peak = rows * cols, bus = 2 * number(hw, "bus_bytes");
  const double accumulator = 2 * cols * 5;  // bytes per cycle, read and written
  Chart c;
  c.title = title;
  c.x_label = "MAC per byte of that memory";
  c.y_label = "MAC per cycle";
  c.log_x = c.log_y = true;
  c.height = 460;
  const double left = 0.05, right = 10000;
  const auto roof = [&](const std::string& name, double bandwidth) {
    const double knee = peak / bandwidth;
    if (knee > left && knee < right) {
      c.series.push_back(line(name, {left, knee, right}, {left * bandwidth, peak, peak}));
    } else {
      c.series.push_back(line(name, {left, right}, {peak, peak}));
    }
  };
  roof(fmt::format("off-chip roof, {:.0f} B/cycle", bus), bus);
  roof(fmt::format("scratchpad roof, {:.0f} B/cycle", rows), rows);
  roof(fmt::format("accumulator roof, {:.0f} B/cycle", accumulator), accumulator);
  std::map<std::string, Series> points;
  for (const json& l : step.at("layers")) {
    const double macs = number(l, "macs"), cycles = number(l, "cycles");
    if (macs <= 0 || cycles <= 0) continue;
    const json& t = l.at("traffic");
    const std::array<std::pair<const char*, double>, 3> levels = {
        {{"off chip", bus_bytes(l)},
         {"scratchpad", number(t, "scratchpad_read_bytes")},
         {"accumulators",
          number(t, "accumulator_read_bytes") + number(t, "accumulator_write_bytes")}}};
    for (const auto& [level, bytes] : levels) {
      if (bytes <= 0) continue;
      Series& s = points[text(l, "phase") + ", " + level];
      s.name = text(l, "phase") + ", " + level;
      s.marks = true;
      s.x.push_back(macs / bytes);
      s.y.push_back(macs / cycles);
    }
  }
  for (auto& [name, s] : points) c.series.push_back(std::move(s));
  return to_svg(c);
}

// Layers of one phase as bars of named parts.
std::string stacked(const json& step, const std::string& title, const std::string& unit,
                    const std::vector<std::pair<std::string, std::string>>& parts,
                    const char* group, double scale) {
  Chart c;
  c.kind = Chart::Kind::stacked_bars;
  c.title = title;
  c.y_label = unit;
  c.width = 900;
  for (const auto& [key, name] : parts) {
    Series s;
    s.name = name;
    c.series.push_back(s);
  }
  for (const json& l : step.at("layers")) {
    if (text(l, "phase") == "forward-") continue;  // as forward+
    c.labels.push_back(text(l, "phase") + " " + text(l, "layer"));
    for (std::size_t i = 0; i < parts.size(); ++i)
      c.series[i].y.push_back(number(l.at(group), parts[i].first.c_str()) * scale);
  }
  return to_svg(c);
}

std::string memory_chart(const json& memory) {
  constexpr std::array<const char*, 6> kOrder = {"weights", "parameters", "commands",
                                                 "batch",   "losses",     "activations"};
  Chart c;
  c.kind = Chart::Kind::area;
  c.title = fmt::format("Live memory; peak {:.1f} kB in {} {}", number(memory, "peak_bytes") / 1e3,
                        text(memory, "peak_phase"), text(memory, "peak_command"));
  c.x_label = "command of the step";
  c.y_label = "kB";
  c.width = 900;
  // Areas are drawn from zero, the highest sum first.
  for (std::size_t top = kOrder.size(); top-- > 0;) {
    Series s;
    s.name = kOrder.at(top);
    double index = 0;
    for (const json& p : memory.at("timeline")) {
      double sum = 0;
      for (std::size_t k = 0; k <= top; ++k) sum += number(p, kOrder.at(k));
      for (const double x : {index, index + 1}) {
        s.x.push_back(x);
        s.y.push_back(sum / 1e3);
      }
      ++index;
    }
    c.series.push_back(std::move(s));
  }
  return to_svg(c);
}

void against(html::Page& page, const json& step) {
  if (!step.contains("against")) return;
  page.heading("Against what");
  std::vector<std::vector<std::string>> rows;
  Chart c;
  c.kind = Chart::Kind::bars;
  c.title = "Relative to the forward-gradient step";
  c.series = {{}, {}, {}};
  c.series[0].name = "cycles";
  c.series[1].name = "energy";
  c.series[2].name = "scratch memory";
  const double cycles = number(step, "cycles");
  for (const json& a : step.at("against")) {
    const double relative = number(a, "cycles") / cycles;
    rows.push_back({text(a, "name"), brief(number(a, "cycles")), brief(relative),
                    brief(number(a, "macs")), brief(number(a, "read_bytes")),
                    brief(number(a, "written_bytes")), interval(a.at("energy_uj")),
                    interval(a.at("energy_ratio")), brief(number(a, "scratch_bytes")),
                    text(a, "survives")});
    c.labels.push_back(text(a, "name"));
    c.series[0].y.push_back(relative);
    c.series[1].y.push_back(number(a.at("energy_ratio"), "value"));
    c.series[2].y.push_back(number(a, "scratch_ratio"));
  }
  page.raw(to_svg(c));
  page.table({"", "cycles", "relative", "MAC", "read B", "written B", "energy, uJ", "relative",
              "scratch B", "over the table's intervals"},
             rows);
  page.note(
      "Backpropagation: forward; per layer the product for the input's error and the one for the "
      "gradient, on the same array, 8-bit errors, 16-bit gradients, partial sums kept in the "
      "accumulators; the optimizer layer by layer. As published: the perturbed weights are written "
      "beside the weights before each pass. Floor: a full array, the batch and the weights once.");
}

void schedules(html::Page& page, const json& step) {
  if (!step.contains("schedules")) return;
  page.heading("Weight traffic and the schedules that would lower it");
  std::vector<std::vector<std::string>> rows;
  const json& base = step.at("schedules").front();
  for (const json& s : step.at("schedules"))
    rows.push_back(
        {text(s, "name"), text(s, "how"), brief(number(s, "weight_movement")),
         fmt::format("{:+.0f}", number(s, "cycles") - number(base, "cycles")),
         fmt::format("{:+.0f}", number(s, "bytes") - number(base, "bytes")),
         fmt::format("{:+.4g}",
                     number(s.at("energy_uj"), "value") - number(base.at("energy_uj"), "value")),
         interval(s.at("energy_ratio")),
         fmt::format("{:+.0f}", number(s, "activation_bytes") - number(base, "activation_bytes")),
         fmt::format("{:+.0f}", number(s, "on_chip_bytes") - number(base, "on_chip_bytes"))});
  rows.push_back({"floor", "one read and one write", "2", "", "", "", "", "", ""});
  page.table({"", "how", "weight bytes moved / weight bytes", "cycles", "bytes", "energy, uJ",
              "energy, relative", "activation B", "on-chip B"},
             rows);
}

void network(html::Page& page, const json& n, const json& hw) {
  const std::vector<std::pair<std::string, std::string>> components = {
      {"memory", "off-chip memory"},
      {"array", "array"},
      {"registers", "registers"},
      {"scratchpad", "scratchpad"},
      {"accumulator", "accumulators"},
      {"random", "random"},
      {"requant", "requantization"},
      {"element", "elements"},
      {"wire", "wires"},
      {"control", "control"},
      {"leakage", "leakage"}};
  const std::vector<std::pair<std::string, std::string>> kinds = {
      {"act_read_bytes", "activations read"},
      {"act_write_bytes", "activations written"},
      {"weight_read_bytes", "weights read"},
      {"param_read_bytes", "parameters read"},
      {"update_read_bytes", "update read"},
      {"update_write_bytes", "update written"},
      {"cmd_bytes", "commands"}};
  const std::vector<std::pair<std::string, std::string>> times = {
      {"compute", "compute"},
      {"stall_load", "waits for input"},
      {"stall_weight", "waits for weights"},
      {"stall_drain", "waits for drain"},
      {"drain", "drain alone"},
      {"element", "element engines"},
      {"other", "fill, fetch, memory"}};
  for (const auto& [variant, s] : n.at("steps").items()) {
    page.raw(fmt::format("<h2 id=\"{0}-{1}\">{0}, {1}: batch {2}, m = {3}</h2>",
                         html::escape(text(n, "name")), variant, n.at("batch").get<int>(),
                         n.at("pairs").get<int>()));
    std::vector<std::vector<std::string>> rows;
    for (const json& p : s.at("phases"))
      rows.push_back({text(p, "phase"), brief(number(p, "cycles")),
                      fmt::format("{:.3f}", number(p, "utilisation")), brief(number(p, "macs")),
                      brief(bus_bytes(p)), interval(p.at("energy_uj"))});
    page.table({"phase", "cycles", "utilisation", "MAC", "bus bytes", "energy, uJ"}, rows);
    if (variant != "full") {
      against(page, s);
      continue;
    }
    page.raw(roofline(s, hw, "Roofline, one point per layer and phase"));
    page.raw(stacked(s, "Energy by layer", "uJ", components, "energy_components_uj", 1));
    page.raw(stacked(s, "Bus traffic by layer", "kB", kinds, "traffic", 1e-3));
    page.raw(
        stacked(s, "Cycles by layer: where they went", "thousand cycles", times, "time", 1e-3));
    const json& m = s.at("memory");
    page.raw(memory_chart(m));
    std::string live;
    for (const json& t : m.value("live_at_peak", json::array()))
      live += fmt::format("{}{} ({} B at {})", live.empty() ? "" : ", ", text(t, "layer"),
                          t.at("bytes").get<std::uint64_t>(), t.at("address").get<std::uint64_t>());
    page.paragraph(fmt::format(
        "Live at the peak: {}. The device must have {} bytes ({} lost to fragmentation); inference "
        "needs {:+} fewer. On chip {} of {} bytes are used. The host moves {:.0f} bytes a step "
        "over "
        "{:.0f} register accesses, and {:.0f} bytes of batch.",
        live, m.at("footprint_bytes").get<std::uint64_t>(),
        m.at("fragmentation_bytes").get<std::uint64_t>(),
        m.at("training_minus_inference").get<std::int64_t>(),
        m.at("on_chip_peak_bytes").get<std::uint64_t>(), m.at("on_chip_bytes").get<std::uint64_t>(),
        number(s.at("host"), "bytes"),
        number(s.at("host"), "register_reads") + number(s.at("host"), "register_writes"),
        number(s.at("host"), "batch_bytes")));
    against(page, s);
    schedules(page, s);
  }
  if (n.contains("scratch")) {
    page.heading("Scratch memory, from float backpropagation to sparse fixed point");
    std::vector<std::vector<std::string>> rows;
    for (const json& r : n.at("scratch"))
      rows.push_back({text(r, "name"), brief(number(r, "bytes")), brief(number(r, "times_less")),
                      brief(number(r, "bytes_of_one_example")),
                      brief(number(r, "times_less_of_one_example"))});
    page.table({"", fmt::format("bytes, batch {}", n.at("batch").get<int>()), "times less",
                "bytes, batch 1", "times less"},
               rows);
  }
}

void sweep_charts(html::Page& page, const json& sweep) {
  page.heading(fmt::format("Sweep of {}: per example and pair", text(sweep, "network")));
  const auto chart = [&](const char* x, const char* x_label, double x_scale, const char* y,
                         const char* y_label, double y_scale) {
    Chart c;
    c.title = fmt::format("{} against {}", y_label, x_label);
    c.x_label = x_label;
    c.y_label = y_label;
    c.log_x = c.log_y = true;
    c.kind = Chart::Kind::points;
    Series all, best;
    all.name = "dominated";
    best.name = "nothing better in all of cycles, energy, memory";
    for (const json& p : sweep.at("points")) {
      if (p.contains("error")) continue;
      Series& s = p.at("pareto").get<bool>() ? best : all;
      const auto value = [&](const char* key) {
        return std::string(key) == "energy_uj" ? number(p.at(key), "value") : number(p, key);
      };
      s.x.push_back(value(x) * x_scale);
      s.y.push_back(value(y) * y_scale);
    }
    c.series = {all, best};
    page.raw(to_svg(c));
  };
  chart("cycles", "cycles", 1, "energy_uj", "energy, uJ", 1);
  chart("memory_bytes", "memory on and off chip, kB", 1e-3, "energy_uj", "energy, uJ", 1);
  chart("memory_bytes", "memory on and off chip, kB", 1e-3, "cycles", "cycles", 1);
  std::vector<std::vector<std::string>> rows;
  for (const json& p : sweep.at("points")) {
    if (!p.value("pareto", false)) continue;
    rows.push_back({fmt::format("{} x {}", p.at("rows").get<int>(), p.at("cols").get<int>()),
                    fmt::format("{}", p.at("act_bytes").get<int>()),
                    fmt::format("{}", p.at("bus_bytes").get<int>()),
                    fmt::format("{}", p.at("batch").get<int>()),
                    fmt::format("{}", p.at("pairs").get<int>()), brief(number(p, "cycles")),
                    fmt::format("{:.3f}", number(p, "utilisation")), interval(p.at("energy_uj")),
                    brief(number(p, "memory_bytes"))});
  }
  page.table({"array", "scratchpad half", "bus bytes", "batch", "m", "cycles", "utilisation",
              "energy, uJ", "memory, B"},
             rows);
}

}  // namespace

std::string profile_page(const json& report, const json& old) {
  html::Page page("What a training step costs");
  const json& h = report.at("hardware");
  page.paragraph(fmt::format(
      "{} x {} multipliers, bus {} bytes, scratchpad 2 x {} bytes; {} with {} at {:.0f} MHz; "
      "counted "
      "by {}. Energies are intervals over the table's low and high figures; comparisons use the "
      "same figure on both sides.",
      h.at("rows").get<int>(), h.at("cols").get<int>(), h.at("bus_bytes").get<int>(),
      h.at("act_bytes").get<int>(), text(report, "technology"), text(report, "dram"),
      number(report, "clock_mhz"), text(report, "backend")));
  for (const json& n : report.at("networks")) network(page, n, h);
  if (report.contains("sweep")) sweep_charts(page, report.at("sweep"));
  if (old.is_object()) {
    page.heading("Difference to the earlier run");
    std::vector<std::vector<std::string>> rows;
    for (const json& d : report.at("differences")) {
      if (rows.size() == 100) break;
      rows.push_back({text(d, "network"), text(d, "variant"), text(d, "phase"), text(d, "layer"),
                      text(d, "what"), brief(number(d, "old")), brief(number(d, "new")),
                      fmt::format("{:+.2f} %", number(d, "percent"))});
    }
    if (rows.empty()) {
      page.paragraph("None.");
    } else {
      page.table({"network", "variant", "phase", "layer", "what", "before", "now", "change"}, rows);
    }
  }
  return page.str();
}

}  // namespace lastmile::profile
