// SPDX-License-Identifier: Apache-2.0
// profile.html, from profile.json alone.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "sw/profile/figures.hpp"
#include "sw/profile/profile.hpp"
#include "sw/profile/ranks.hpp"
#include "sw/report/html.hpp"
#include "sw/report/plot.hpp"

namespace lastmile::profile {
namespace {

using nlohmann::json;

double number(const json& j, const char* key) { return j.at(key).get<double>(); }
std::string text(const json& j, const char* key) { return j.value(key, std::string()); }
std::string energy(const json& uj) { return energy_interval(uj, 1e6); }
std::string ratio(double v) { return plain(v, 4); }

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
std::string roofline(const json& step, const json& hw, const json& memory,
                     const std::string& title) {
  const double rows = number(hw, "rows"), cols = number(hw, "cols");
  const double peak = rows * cols, off_chip = 2 * number(memory, "bytes_per_cycle");
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
  roof(fmt::format("off-chip roof ({}), {:.0f} B/cycle", text(memory, "name"), off_chip), off_chip);
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
    rows.push_back({text(a, "name"), counted(number(a, "cycles")), ratio(relative),
                    counted(number(a, "macs")), bytes_text(number(a, "read_bytes")),
                    bytes_text(number(a, "written_bytes")), energy(a.at("energy_uj")),
                    ratio_interval(a.at("energy_ratio")), bytes_text(number(a, "scratch_bytes")),
                    text(a, "survives")});
    c.labels.push_back(text(a, "name"));
    c.series[0].y.push_back(relative);
    c.series[1].y.push_back(number(a.at("energy_ratio"), "value"));
    c.series[2].y.push_back(number(a, "scratch_ratio"));
  }
  page.raw(to_svg(c));
  page.table({"", "cycles", "relative", "MAC", "read", "written", "energy", "relative", "scratch",
              "over the table's intervals"},
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
    rows.push_back({text(s, "name"), text(s, "how"), ratio(number(s, "weight_movement")),
                    change(number(s, "cycles") - number(base, "cycles")),
                    change(number(s, "bytes") - number(base, "bytes")),
                    energy_of_pj(1e6 * (number(s.at("energy_uj"), "value") -
                                        number(base.at("energy_uj"), "value"))),
                    ratio_interval(s.at("energy_ratio")),
                    change(number(s, "activation_bytes") - number(base, "activation_bytes")),
                    change(number(s, "on_chip_bytes") - number(base, "on_chip_bytes"))});
  rows.push_back({"floor", "one read and one write", "2", "", "", "", "", "", ""});
  page.table({"", "how", "weight bytes moved / weight bytes", "cycles", "bytes", "energy",
              "energy, relative", "activation B", "on-chip B"},
             rows);
}

// A step that begins above frozen layers says what it leaves out.
void frozen_layers(html::Page& page, const json& memory) {
  const json& f = memory.at("frozen");
  page.paragraph(fmt::format(
      "The step begins at the kept outputs of {}: cycles, traffic and energy are those of the "
      "layers above it alone. All layers up to there run once per example before the first step, "
      "in a program of {}; the step's program takes {}, so that the device must have {}. The host "
      "keeps {} for each example.",
      text(f, "layer"), bytes_text(number(f, "footprint_bytes")),
      bytes_text(number(memory, "footprint_bytes")), bytes_text(number(memory, "device_bytes")),
      bytes_text(number(f, "feature_bytes_per_example"))));
}

void network(html::Page& page, const json& n, const json& report) {
  const json &hw = report.at("hardware"), &dram = report.at("memory");
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
      rows.push_back({text(p, "phase"), counted(number(p, "cycles")),
                      fmt::format("{:.3f}", number(p, "utilisation")), counted(number(p, "macs")),
                      bytes_text(bus_bytes(p)), energy(p.at("energy_uj"))});
    page.table({"phase", "cycles", "utilisation", "MAC", "over the bus", "energy"}, rows);
    if (s.at("memory").contains("frozen")) frozen_layers(page, s.at("memory"));
    if (variant != "full") {
      against(page, s);
      continue;
    }
    page.raw(roofline(s, hw, dram, "Roofline, one point per layer and phase"));
    page.raw(stacked(s, "Energy by layer", "uJ", components, "energy_components_uj", 1));
    page.raw(stacked(s, "Bus traffic by layer", "kB", kinds, "traffic", 1e-3));
    page.raw(
        stacked(s, "Cycles by layer: where they went", "thousand cycles", times, "time", 1e-3));
    const json& m = s.at("memory");
    page.raw(memory_chart(m));
    std::string live;
    for (const json& t : m.value("live_at_peak", json::array()))
      live += fmt::format("{}{} ({} B at 0x{:06x})", live.empty() ? "" : ", ", text(t, "layer"),
                          counted(number(t, "bytes")), t.at("address").get<std::uint64_t>());
    page.paragraph(fmt::format(
        "Live at the peak: {}. The device must have {} bytes ({} lost to fragmentation); inference "
        "of the whole network needs {} fewer. On chip {} of {} bytes are used. The host moves {} "
        "bytes a step over {} register accesses, and {} bytes of batch.",
        live, counted(number(m, "footprint_bytes")), counted(number(m, "fragmentation_bytes")),
        counted(number(m, "training_minus_inference")), counted(number(m, "on_chip_peak_bytes")),
        counted(number(m, "on_chip_bytes")), counted(number(s.at("host"), "bytes")),
        counted(number(s.at("host"), "register_reads") + number(s.at("host"), "register_writes")),
        counted(number(s.at("host"), "batch_bytes"))));
    against(page, s);
    schedules(page, s);
  }
  if (n.contains("scratch")) {
    page.heading("Scratch memory, from float backpropagation to sparse fixed point");
    std::vector<std::vector<std::string>> rows;
    for (const json& r : n.at("scratch"))
      rows.push_back({text(r, "name"), counted(number(r, "bytes")), ratio(number(r, "times_less")),
                      counted(number(r, "bytes_of_one_example")),
                      ratio(number(r, "times_less_of_one_example"))});
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
                    fmt::format("{}", p.at("pairs").get<int>()), counted(number(p, "cycles")),
                    fmt::format("{:.3f}", number(p, "utilisation")), energy(p.at("energy_uj")),
                    bytes_text(number(p, "memory_bytes"))});
  }
  page.table({"array", "scratchpad half", "bus bytes", "batch", "m", "cycles", "utilisation",
              "energy", "memory"},
             rows);
}

// Where the table's figures do not rank what they are figures of, and why.
void energy_table(html::Page& page, const json& t) {
  page.heading("What the energies do not rank");
  page.paragraph(fmt::format(
      "Table {}: figures of several sources. Within one source a larger memory costs more and a "
      "smaller node less; where figures of different sources are in the other order, energies do "
      "not rank the nodes, and --against does not compare them. Leakage grows with smaller nodes, "
      "and the memory off chip is the same chip at every node: neither is looked at.",
      text(t, "technology")));
  for (const std::string& note : rank_notes(t)) page.paragraph(note + ".");
  std::vector<std::vector<std::string>> rows;
  const auto add = [&](const json& faults) {
    for (const json& f : faults)
      rows.push_back({text(f, "cell"), text(f, "than"), plain(number(f, "value")) + " pJ",
                      plain(number(f, "expected_at_least")) + " pJ", text(f, "why")});
  };
  add(t.at("size_faults"));
  for (const auto& [other, faults] : t.at("node_faults").items()) add(faults);
  if (rows.empty()) {
    page.paragraph("Every figure is in the order of sizes and nodes.");
    return;
  }
  page.table({"figure", "against", "is", "expected at least", "sources"}, rows);
}

void comparison(html::Page& page, const json& c) {
  std::vector<std::vector<std::string>> rows;
  for (const json& s : c.at("settings"))
    rows.push_back({text(s, "what"), text(s, "network"), text(s, "old"), text(s, "new")});
  if (rows.empty()) {
    page.paragraph("Both were made with the same settings.");
  } else {
    page.paragraph("The two were made with different settings:");
    page.table({"setting", "network", "before", "now"}, rows);
  }
  if (const std::string why = text(c, "energy_not_compared"); !why.empty())
    page.paragraph("Energies are not compared: " + why + ".");
  for (const json& warning : c.at("warnings"))
    page.paragraph("Warning: " + warning.get<std::string>() + ".");
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
  const json& m = report.at("memory");
  page.paragraph(fmt::format(
      "Memory {}: {} cycles from an address to its first beat, {} bytes per cycle and direction.",
      text(m, "name"), counted(number(m, "latency_cycles")),
      counted(number(m, "bytes_per_cycle"))));
  for (const json& n : report.at("networks")) {
    if (n.contains("assumed")) page.paragraph(text(n, "assumed") + ".");
    network(page, n, report);
  }
  if (report.contains("sweep")) sweep_charts(page, report.at("sweep"));
  if (old.is_object()) {
    page.heading("Difference to the earlier run");
    comparison(page, report.at("comparison"));
    std::vector<std::vector<std::string>> rows;
    for (const json& d : report.at("differences")) {
      if (rows.size() == 100) break;
      const bool of_energy = text(d, "what") == "energy uJ";
      const auto value = [&](const char* key) {
        return of_energy ? energy_of_pj(1e6 * number(d, key), 4) : counted(number(d, key));
      };
      rows.push_back({text(d, "network"), text(d, "variant"), text(d, "phase"), text(d, "layer"),
                      of_energy ? "energy" : text(d, "what"), value("old"), value("new"),
                      fmt::format("{:+.2f} %", number(d, "percent"))});
    }
    if (rows.empty()) {
      page.paragraph("No difference in what is compared.");
    } else {
      page.table({"network", "variant", "phase", "layer", "what", "before", "now", "change"}, rows);
    }
  }
  energy_table(page, report.at("energy_table"));
  return page.str();
}

}  // namespace lastmile::profile
