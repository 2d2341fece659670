// SPDX-License-Identifier: Apache-2.0
// The terminal summary and the difference of two reports, from profile.json alone.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "sw/profile/profile.hpp"

namespace lastmile::profile {
namespace {

using nlohmann::json;

constexpr std::size_t kLines = 40;
constexpr std::size_t kLayers = 5;

std::string bytes(double n) {
  if (n >= 1e6) return fmt::format("{:.2f} MB", n * 1e-6);
  if (n >= 1e3) return fmt::format("{:.1f} kB", n * 1e-3);
  return fmt::format("{:.0f} B", n);
}
std::string shown(const json& interval, const char* unit) {
  return fmt::format("{:.4g} {} ({:.3g} to {:.3g})", interval.at("value").get<double>(), unit,
                     interval.at("low").get<double>(), interval.at("high").get<double>());
}
double number(const json& j, const char* key) { return j.at(key).get<double>(); }
double traffic(const json& part, const char* way) {
  const json& t = part.at("traffic");
  double sum = 0;
  for (const auto& [key, value] : t.items()) {
    const bool on_chip = key.starts_with("scratchpad") || key.starts_with("accumulator");
    const bool write = key.ends_with("write_bytes");
    if (!on_chip && write == (std::string(way) == "write")) sum += value.get<double>();
  }
  return sum;
}

void one_step(std::vector<std::string>& out, const json& s) {
  const auto line = [&](const std::string& text) { out.push_back(text); };
  const double cycles = number(s, "cycles");
  const json& e = s.at("energy");
  line(fmt::format(
      "  step        {:.0f} cycles, {:.3g} ms, array {:.1f} % of peak; read {}, written "
      "{}",
      cycles, 1e3 * number(e, "seconds_per_step"), 100 * number(s, "utilisation"),
      bytes(traffic(s, "read")), bytes(traffic(s, "write"))));
  line(fmt::format("  energy      {}; {:.3g} pJ/MAC, {:.3g} nJ/sample, {:.3g} mW",
                   shown(e.at("uj_per_step"), "uJ"),
                   e.contains("pj_per_mac") ? number(e.at("pj_per_mac"), "value") : 0.0,
                   number(e.at("nj_per_sample"), "value"),
                   e.contains("average_mw") ? number(e.at("average_mw"), "value") : 0.0));
  std::string parts;
  std::vector<std::pair<double, std::string>> components;
  for (const auto& [name, value] : e.at("components_uj").items())
    components.emplace_back(number(value, "value"), name);
  std::sort(components.rbegin(), components.rend());
  const double total = number(e.at("uj_per_step"), "value");
  for (std::size_t i = 0; i < std::min<std::size_t>(6, components.size()); ++i)
    parts += fmt::format("{}{} {:.1f} %", i == 0 ? "" : ", ", components[i].second,
                         100 * components[i].first / total);
  line("              " + parts);
  for (const json& p : s.at("phases"))
    line(fmt::format("  {:<11} {:>5.1f} % of cycles, {:>5.1f} % of energy; read {}, written {}",
                     p.at("phase").get<std::string>(), 100 * number(p, "cycles") / cycles,
                     100 * number(p.at("energy_uj"), "value") / total, bytes(traffic(p, "read")),
                     bytes(traffic(p, "write"))));
  const json& t = s.at("time");
  line(
      fmt::format("  time        compute {:.1f} %, waiting for input {:.1f} %, weights {:.1f} %, "
                  "drain {:.1f} %, elements {:.1f} %, other {:.1f} %",
                  100 * number(t, "compute") / cycles, 100 * number(t, "stall_load") / cycles,
                  100 * number(t, "stall_weight") / cycles,
                  100 * (number(t, "stall_drain") + number(t, "drain")) / cycles,
                  100 * number(t, "element") / cycles, 100 * number(t, "other") / cycles));
  std::vector<const json*> layers;
  for (const json& l : s.at("layers"))
    if (l.at("phase") != "forward-") layers.push_back(&l);
  std::sort(layers.begin(), layers.end(), [](const json* a, const json* b) {
    return number(*a, "cycles") > number(*b, "cycles");
  });
  for (std::size_t i = 0; i < std::min(kLayers, layers.size()); ++i) {
    const json& l = *layers[i];
    line(fmt::format("    {:<20} {:>5.1f} % of cycles, array {:>5.1f} %, read {}",
                     l.at("phase").get<std::string>() + " " + l.value("layer", ""),
                     100 * number(l, "cycles") / cycles, 100 * number(l, "utilisation"),
                     bytes(traffic(l, "read"))));
  }
  const json& m = s.at("memory");
  std::string live;
  for (const json& tensor : m.value("live_at_peak", json::array()))
    live += (live.empty() ? "" : " + ") + tensor.at("layer").get<std::string>();
  line(fmt::format("  memory      {} live at most, in {} {} ({}); device {}, on chip {} of {}",
                   bytes(number(m, "peak_bytes")), m.at("peak_phase").get<std::string>(),
                   m.at("peak_command").get<std::string>(), live,
                   bytes(number(m, "footprint_bytes")), bytes(number(m, "on_chip_peak_bytes")),
                   bytes(number(m, "on_chip_bytes"))));
  line(fmt::format(
      "              training - inference: {:+.0f} B; host {:.0f} B and {:.0f} register "
      "accesses a step, batch {}",
      number(m, "training_minus_inference"), number(s.at("host"), "bytes"),
      number(s.at("host"), "register_reads") + number(s.at("host"), "register_writes"),
      bytes(number(s.at("host"), "batch_bytes"))));
  for (const json& a : s.value("against", json::array())) {
    if (a.at("name") == "this step") continue;
    const json& r = a.at("energy_ratio");
    line(fmt::format("  {:<44} {:>6.2f}x cycles, {:.2f}x energy ({:.2f} to {:.2f}), scratch {}",
                     a.at("name").get<std::string>(), number(a, "cycles") / cycles,
                     number(r, "value"), number(r, "low"), number(r, "high"),
                     bytes(number(a, "scratch_bytes"))));
  }
  for (const json& c : s.value("schedules", json::array()))
    line(fmt::format("  weights {:<18} {:>6.2f} x their bytes, {:.3f}x cycles, {:.3f}x energy",
                     c.at("name").get<std::string>(), number(c, "weight_movement"),
                     number(c, "cycles") / cycles, number(c.at("energy_ratio"), "value")));
}

}  // namespace

std::string profile_summary(const json& report) {
  std::vector<std::string> lines;
  const json& h = report.at("hardware");
  const auto row = [&](const json& n, const std::string& variant, const json& s) {
    if (lines.size() >= kLines - 3) return;
    lines.push_back(fmt::format("{:<14} {:<7} {:>11.0f} cycles, {}, memory {}",
                                n.at("name").get<std::string>(), variant, number(s, "cycles"),
                                shown(s.at("energy").at("uj_per_step"), "uJ"),
                                bytes(number(s.at("memory"), "footprint_bytes"))));
  };
  bool first = true;
  // One network in full, then the full steps of the others, then what else there is room for.
  for (const json& n : report.at("networks")) {
    if (!n.at("steps").contains("full")) continue;
    const json& s = n.at("steps").at("full");
    if (!std::exchange(first, false)) {
      row(n, "full", s);
      continue;
    }
    lines.push_back(fmt::format(
        "{}, full, batch {}, m = {}, {}; {} x {}, {} with {} at {:.0f} MHz, counted by {}",
        n.at("name").get<std::string>(), n.at("batch").get<int>(), n.at("pairs").get<int>(),
        n.at("weight_type").get<std::string>(), h.at("rows").get<int>(), h.at("cols").get<int>(),
        report.at("technology").get<std::string>(), report.at("dram").get<std::string>(),
        number(report, "clock_mhz"), report.at("backend").get<std::string>()));
    one_step(lines, s);
  }
  for (const json& n : report.at("networks"))
    for (const auto& [variant, s] : n.at("steps").items())
      if (variant != "full") row(n, variant, s);
  for (const json& n : report.at("networks"))
    if (n.at("steps").empty()) row(n, "inference", n.at("inference"));
  if (report.contains("differences") && !report.at("differences").empty()) {
    const json& d = report.at("differences").front();
    lines.push_back(fmt::format(
        "largest difference: {} {} {} {} {}: {:.6g} -> {:.6g} ({:+.2f} %)",
        d.at("network").get<std::string>(), d.at("variant").get<std::string>(),
        d.at("phase").get<std::string>(), d.at("layer").get<std::string>(),
        d.at("what").get<std::string>(), number(d, "old"), number(d, "new"), number(d, "percent")));
  }
  std::string out;
  for (std::size_t i = 0; i < std::min(lines.size(), kLines - 1); ++i) out += lines[i] + "\n";
  return out;
}

json profile_differences(const json& report, const json& old) {
  json out = json::array();
  const auto compare = [&](const std::string& network, const std::string& variant,
                           const std::string& phase, const std::string& layer, const json& a,
                           const json& b) {
    const std::array<std::pair<const char*, std::pair<double, double>>, 4> values = {
        {{"cycles", {number(a, "cycles"), number(b, "cycles")}},
         {"read bytes", {traffic(a, "read"), traffic(b, "read")}},
         {"written bytes", {traffic(a, "write"), traffic(b, "write")}},
         {"energy uJ", {number(a.at("energy_uj"), "value"), number(b.at("energy_uj"), "value")}}}};
    for (const auto& [what, v] : values) {
      if (v.first == v.second) continue;
      const double percent = v.second == 0 ? 100 : 100 * (v.first - v.second) / v.second;
      out.push_back({{"network", network},
                     {"variant", variant},
                     {"phase", phase},
                     {"layer", layer},
                     {"what", what},
                     {"old", v.second},
                     {"new", v.first},
                     {"percent", percent}});
    }
  };
  for (const json& n : report.at("networks")) {
    for (const json& m : old.at("networks")) {
      if (n.at("name") != m.at("name")) continue;
      const auto name = n.at("name").get<std::string>();
      for (const auto& [variant, s] : n.at("steps").items()) {
        if (!m.at("steps").contains(variant)) continue;
        const json& t = m.at("steps").at(variant);
        compare(name, variant, "", "", s, t);
        for (const json& a : s.at("layers"))
          for (const json& b : t.at("layers"))
            if (a.at("phase") == b.at("phase") && a.value("layer", "") == b.value("layer", ""))
              compare(name, variant, a.at("phase").get<std::string>(), a.value("layer", ""), a, b);
      }
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const json& a, const json& b) {
    return std::abs(number(a, "percent")) > std::abs(number(b, "percent"));
  });
  return out;
}

}  // namespace lastmile::profile
