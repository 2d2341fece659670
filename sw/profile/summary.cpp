// SPDX-License-Identifier: Apache-2.0
// The terminal summary and the difference of two reports, from profile.json alone.
#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "sw/profile/figures.hpp"
#include "sw/profile/profile.hpp"

namespace lastmile::profile {
namespace {

using nlohmann::json;

constexpr std::size_t kLines = 40;
constexpr std::size_t kLayers = 5;

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
  line(fmt::format("  step        {} cycles, {} ms, array {:.1f} % of peak; read {}, written {}",
                   counted(cycles), plain(1e3 * number(e, "seconds_per_step")),
                   100 * number(s, "utilisation"), bytes_text(traffic(s, "read")),
                   bytes_text(traffic(s, "write"))));
  line(fmt::format(
      "  energy      {}; {}/MAC, {}/sample, {} mW", energy_interval(e.at("uj_per_step"), 1e6),
      energy_of_pj(e.contains("pj_per_mac") ? number(e.at("pj_per_mac"), "value") : 0.0),
      energy_of_pj(1e3 * number(e.at("nj_per_sample"), "value")),
      plain(e.contains("average_mw") ? number(e.at("average_mw"), "value") : 0.0)));
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
                     100 * number(p.at("energy_uj"), "value") / total,
                     bytes_text(traffic(p, "read")), bytes_text(traffic(p, "write"))));
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
                     bytes_text(traffic(l, "read"))));
  }
  const json& m = s.at("memory");
  std::string live;
  for (const json& tensor : m.value("live_at_peak", json::array()))
    live += (live.empty() ? "" : " + ") + tensor.at("layer").get<std::string>();
  line(fmt::format(
      "  memory      {} live at most, in {} {} ({}); device {}, on chip {} of {}",
      bytes_text(number(m, "peak_bytes")), m.at("peak_phase").get<std::string>(),
      m.at("peak_command").get<std::string>(), live, bytes_text(number(m, "footprint_bytes")),
      bytes_text(number(m, "on_chip_peak_bytes")), bytes_text(number(m, "on_chip_bytes"))));
  line(fmt::format(
      "              training - inference: {} B; host {} B and {} register accesses a step, "
      "batch {}",
      change(number(m, "training_minus_inference")), counted(number(s.at("host"), "bytes")),
      counted(number(s.at("host"), "register_reads") + number(s.at("host"), "register_writes")),
      bytes_text(number(s.at("host"), "batch_bytes"))));
  for (const json& a : s.value("against", json::array())) {
    if (a.at("name") == "this step") continue;
    const json& r = a.at("energy_ratio");
    line(fmt::format("  {:<44} {:>6.2f}x cycles, {:.2f}x energy ({:.2f} to {:.2f}), scratch {}",
                     a.at("name").get<std::string>(), number(a, "cycles") / cycles,
                     number(r, "value"), number(r, "low"), number(r, "high"),
                     bytes_text(number(a, "scratch_bytes"))));
  }
  for (const json& c : s.value("schedules", json::array()))
    line(fmt::format("  weights {:<18} {:>6.2f} x their bytes, {:.3f}x cycles, {:.3f}x energy",
                     c.at("name").get<std::string>(), number(c, "weight_movement"),
                     number(c, "cycles") / cycles, number(c.at("energy_ratio"), "value")));
}

// What the reports were made with heads what they differ in.
void compared(std::vector<std::string>& out, const json& report) {
  constexpr std::size_t kSettings = 8;
  const json &c = report.at("comparison"), &settings = c.at("settings");
  for (std::size_t i = 0; i < std::min(kSettings, settings.size()); ++i) {
    const json& s = settings[i];
    const auto network = s.at("network").get<std::string>();
    out.push_back(fmt::format("{} {}{}: {} -> {}", i == 0 ? "settings differ:" : "                ",
                              network.empty() ? "" : network + " ", s.at("what").get<std::string>(),
                              s.at("old").get<std::string>(), s.at("new").get<std::string>()));
  }
  if (settings.size() > kSettings)
    out.push_back(fmt::format("                 and {} more", settings.size() - kSettings));
  if (const auto why = c.at("energy_not_compared").get<std::string>(); !why.empty())
    out.push_back("energies are not compared: " + why);
  for (const json& warning : c.at("warnings"))
    out.push_back("warning: " + warning.get<std::string>());
  if (report.at("differences").empty()) {
    out.emplace_back("no difference in what is compared");
    return;
  }
  const json& d = report.at("differences").front();
  const bool energy = d.at("what") == "energy uJ";
  const auto value = [&](const char* key) {
    return energy ? energy_of_pj(1e6 * number(d, key), 4) : counted(number(d, key));
  };
  out.push_back(fmt::format("largest difference: {} {} {} {} {}: {} -> {} ({:+.2f} %)",
                            d.at("network").get<std::string>(), d.at("variant").get<std::string>(),
                            d.at("phase").get<std::string>(), d.at("layer").get<std::string>(),
                            energy ? "energy" : d.at("what").get<std::string>(), value("old"),
                            value("new"), number(d, "percent")));
}

}  // namespace

std::string profile_summary(const json& report) {
  std::vector<std::string> lines;
  const json& h = report.at("hardware");
  const auto row = [&](const json& n, const std::string& variant, const json& s) {
    if (lines.size() >= kLines - 3) return;
    const json& m = s.at("memory");
    std::string memory = bytes_text(number(m, "device_bytes"));
    if (m.contains("frozen"))
      memory += fmt::format(" (step {}, frozen layers before it {}), host keeps {} an example",
                            bytes_text(number(m, "footprint_bytes")),
                            bytes_text(number(m.at("frozen"), "footprint_bytes")),
                            bytes_text(number(m.at("frozen"), "feature_bytes_per_example")));
    lines.push_back(fmt::format("{:<14} {:<7} {:>11} cycles, {}, device {}",
                                n.at("name").get<std::string>(), variant,
                                counted(number(s, "cycles")),
                                energy_interval(s.at("energy").at("uj_per_step"), 1e6), memory));
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
    const json& memory = report.at("memory");
    lines.push_back(fmt::format("  memory {}: {} cycles to the first beat, {} bytes per cycle",
                                memory.at("name").get<std::string>(),
                                counted(number(memory, "latency_cycles")),
                                counted(number(memory, "bytes_per_cycle"))));
    one_step(lines, s);
  }
  for (const json& n : report.at("networks"))
    for (const auto& [variant, s] : n.at("steps").items())
      if (variant != "full") row(n, variant, s);
  for (const json& n : report.at("networks"))
    if (n.at("steps").empty()) row(n, "inference", n.at("inference"));
  std::vector<std::string> end;
  for (const json& n : report.at("networks"))
    if (n.contains("assumed")) end.push_back("note: " + n.at("assumed").get<std::string>());
  if (report.contains("comparison")) compared(end, report);
  if (end.size() > kLines / 2) end.resize(kLines / 2);
  if (lines.size() > kLines - 1 - end.size()) lines.resize(kLines - 1 - end.size());
  lines.insert(lines.end(), end.begin(), end.end());
  std::string out;
  for (std::size_t i = 0; i < std::min(lines.size(), kLines - 1); ++i) out += lines[i] + "\n";
  return out;
}

}  // namespace lastmile::profile
