// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/ranks.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/profile/tables.hpp"

namespace lastmile::profile {
namespace {

using nlohmann::json;

constexpr std::array<const char*, 3> kShipped = {"45nm", "22nm", "7nm"};
constexpr std::array<int, 5> kMacros = {8, 32, 64, 256, 1024};  // KB

const Cell& cell_of(const EnergyTable& t, const std::string& name) {
  return t.cells[cell_index(name)];
}

std::string sources(const Cell& a, const Cell& b) {
  return a.source == b.source ? "one source: " + a.source
                              : fmt::format("{}; against {}", a.source, b.source);
}

json faults_json(const std::vector<RankFault>& faults) {
  json out = json::array();
  for (const RankFault& f : faults)
    out.push_back({{"cell", f.cell},
                   {"than", f.than},
                   {"value", f.value},
                   {"expected_at_least", f.expected_at_least},
                   {"why", f.why}});
  return out;
}

// A table again, as far as ranks need it; without cells where the report lacks one.
EnergyTable table_of(const json& j) {
  EnergyTable t;
  t.technology = j.value("technology", std::string());
  const json cells = j.value("cells", json::object());
  for (const CellName& name : cell_names())
    if (!cells.contains(name.name) || !cells[name.name].contains("value") ||
        !cells[name.name].contains("source"))
      return t;
  t.cells.resize(cell_names().size());
  for (std::size_t i = 0; i < cell_names().size(); ++i) {
    const json& c = cells.at(cell_names()[i].name);
    t.cells[i].value = c.at("value").get<double>();
    t.cells[i].source = c.at("source").get<std::string>();
  }
  return t;
}

}  // namespace

std::vector<RankFault> size_faults(const EnergyTable& t) {
  std::vector<RankFault> out;
  const auto ordered = [&](const std::string& small, const std::string& large) {
    const Cell &a = cell_of(t, small), &b = cell_of(t, large);
    if (b.value < a.value) out.push_back({large, small, b.value, a.value, sources(b, a)});
  };
  for (const char* kind : {"read64", "write64", "read256", "write256"})
    for (std::size_t i = 0; i + 1 < kMacros.size(); ++i)
      ordered(fmt::format("sram.{}_{}KB", kind, kMacros.at(i)),
              fmt::format("sram.{}_{}KB", kind, kMacros.at(i + 1)));
  for (const char* way : {"read", "write"})
    for (const int kb : kMacros)
      ordered(fmt::format("sram.{}64_{}KB", way, kb), fmt::format("sram.{}256_{}KB", way, kb));
  ordered("array.mac_w8", "array.mac_w16");
  return out;
}

std::vector<RankFault> node_faults(const EnergyTable& a, const EnergyTable& b) {
  const int x = node_of(a), y = node_of(b);
  std::vector<RankFault> out;
  if (x == 0 || y == 0 || x == y) return out;
  const EnergyTable &small = x < y ? a : b, &large = x < y ? b : a;
  for (std::size_t i = 0; i < cell_names().size(); ++i) {
    const CellName& name = cell_names()[i];
    if (name.component == Component::leakage || name.component == Component::memory) continue;
    const Cell &s = small.cells[i], &l = large.cells[i];
    if (l.value < s.value)
      out.push_back(
          {name.name, small.technology, l.value, s.value,
           fmt::format("{}: {}; {}: {}", large.technology, l.source, small.technology, s.source)});
  }
  return out;
}

json table_json(const EnergyTable& t) {
  json cells = json::object();
  for (std::size_t i = 0; i < cell_names().size(); ++i) {
    const Cell& c = t.cells[i];
    cells[cell_names()[i].name] = {
        {"value", c.value}, {"low", c.low}, {"high", c.high}, {"source", c.source}};
  }
  json nodes = json::object();
  for (const char* name : kShipped) {
    if (name == t.technology) continue;
    try {
      const auto faults = node_faults(t, read_energy_table(find_energy_table(name)));
      if (!faults.empty()) nodes[name] = faults_json(faults);
    } catch (const Error&) {  // a program without its share folder still profiles
    }
  }
  return {{"technology", t.technology},
          {"file", t.file},
          {"hash", fmt::format("{:016x}", t.hash)},
          {"clock_mhz", t.clock_mhz},
          {"voltage", t.voltage},
          {"cells", cells},
          {"size_faults", faults_json(size_faults(t))},
          {"node_faults", nodes}};
}

std::string why_not_ranked(const json& a, const json& b) {
  if (a.value("hash", "a") == b.value("hash", "b")) return {};
  const EnergyTable x = table_of(a), y = table_of(b);
  if (x.cells.empty() || y.cells.empty())
    return "one report does not say what its energy table holds";
  if (x.technology == y.technology) return {};  // figures of one node were changed: that is meant
  if (node_of(x) == 0 || node_of(y) == 0)
    return fmt::format("\"{}\" and \"{}\" have no order", x.technology, y.technology);
  const auto faults = node_faults(x, y);
  if (faults.empty()) return {};
  const RankFault& f = faults.front();
  const bool x_small = node_of(x) < node_of(y);
  return fmt::format(
      "the tables mix sources: {} {} cost more at {} than at {}, such as {}, {} against {} pJ",
      faults.size(), faults.size() == 1 ? "figure" : "figures", (x_small ? x : y).technology,
      (x_small ? y : x).technology, f.cell, f.expected_at_least, f.value);
}

std::vector<std::string> rank_notes(const json& table) {
  std::vector<std::string> out;
  for (const auto& [other, faults] : table.at("node_faults").items()) {
    constexpr std::size_t kNamed = 3;
    std::string cells;
    for (std::size_t i = 0; i < std::min(kNamed, faults.size()); ++i)
      cells += (i == 0 ? "" : ", ") + faults[i].at("cell").get<std::string>();
    out.push_back(
        fmt::format("do not rank {} against {} by these energies: {} of their figures "
                    "are in the wrong order, sources differ ({}{})",
                    table.at("technology").get<std::string>(), other, faults.size(), cells,
                    faults.size() > kNamed ? ", ..." : ""));
  }
  return out;
}

}  // namespace lastmile::profile
