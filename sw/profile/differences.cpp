// SPDX-License-Identifier: Apache-2.0
// Two reports against each other: first what they were made with, then what it cost.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string>
#include <vector>

#include "sw/profile/profile.hpp"
#include "sw/profile/ranks.hpp"

namespace lastmile::profile {
namespace {

using nlohmann::json;

double number(const json& j, const char* key) { return j.at(key).get<double>(); }
double traffic(const json& part, bool written) {
  double sum = 0;
  for (const auto& [key, value] : part.at("traffic").items()) {
    const bool on_chip = key.starts_with("scratchpad") || key.starts_with("accumulator");
    if (!on_chip && key.ends_with("write_bytes") == written) sum += value.get<double>();
  }
  return sum;
}

std::string shown(const json& v) {
  if (v.is_null()) return "not said";
  return v.is_string() ? v.get<std::string>() : v.dump();
}

// Members of both objects; what only one of them says differs, too.
void compare_members(json& out, const json& now, const json& old, const std::string& prefix,
                     const std::string& network, const std::set<std::string>& keys) {
  std::vector<std::string> ordered(keys.begin(), keys.end());  // a name says most: first
  std::stable_partition(ordered.begin(), ordered.end(),
                        [](const std::string& key) { return key == "name"; });
  for (const std::string& key : ordered) {
    const json a = now.value(key, json()), b = old.value(key, json());
    if (a != b)
      out.push_back(
          {{"what", prefix + key}, {"network", network}, {"old", shown(b)}, {"new", shown(a)}});
  }
}
std::set<std::string> keys_of(const json& a, const json& b) {
  std::set<std::string> keys;
  for (const json* j : {&a, &b})
    for (const auto& [key, value] : j->items()) keys.insert(key);
  return keys;
}
const json* network_of(const json& report, const std::string& name) {
  for (const json& n : report.at("networks"))
    if (n.at("name") == name) return &n;
  return nullptr;
}

json settings_of(const json& now, const json& old) {
  json out = json::array();
  const json empty = json::object();
  const auto part = [&](const json& report, const char* key) {
    return report.contains(key) ? report.at(key) : empty;
  };
  for (const char* object : {"memory", "hardware"}) {
    const json a = part(now, object), b = part(old, object);
    compare_members(out, a, b, std::string(object) + ".", "", keys_of(a, b));
  }
  compare_members(out, now, old, "", "",
                  {"technology", "clock_mhz", "backend", "spec", "distribution", "steps"});
  const json a = part(now, "energy_table"), b = part(old, "energy_table");
  if (a.value("hash", "") != b.value("hash", "") &&
      a.value("technology", "") == b.value("technology", ""))
    out.push_back({{"what", "energy table"},
                   {"network", ""},
                   {"old", b.value("hash", "not said")},
                   {"new", a.value("hash", "not said")}});
  for (const json& n : now.at("networks")) {
    const auto name = n.at("name").get<std::string>();
    const json* m = network_of(old, name);
    if (m == nullptr) {
      out.push_back({{"what", "network"}, {"network", name}, {"old", "absent"}, {"new", "there"}});
      continue;
    }
    compare_members(
        out, n, *m, "", name,
        {"input", "batch", "pairs", "weight_type", "weights", "macs_per_example", "fingerprint"});
  }
  for (const json& m : old.at("networks"))
    if (network_of(now, m.at("name")) == nullptr)
      out.push_back(
          {{"what", "network"}, {"network", m.at("name")}, {"old", "there"}, {"new", "absent"}});
  return out;
}

}  // namespace

json profile_comparison(const json& report, const json& old) {
  const auto table = [](const json& r) { return r.value("energy_table", json::object()); };
  // Other figures of one node are what somebody wants to compare.
  const bool one_node = report.value("technology", "a") == old.value("technology", "b");
  json out = {
      {"settings", settings_of(report, old)},
      {"energy_not_compared", one_node ? std::string() : why_not_ranked(table(report), table(old))},
      {"warnings", json::array()}};
  const auto boundary = [](const json& r) {
    return r.value("memory", json::object()).value("boundary", std::string());
  };
  if (boundary(report) != boundary(old) && !boundary(report).empty() && !boundary(old).empty())
    out["warnings"].push_back(
        fmt::format("energies of the memories do not cover the same: {} ({}) and {} ({})",
                    old.at("memory").value("energy", ""), boundary(old),
                    report.at("memory").value("energy", ""), boundary(report)));
  return out;
}

json profile_differences(const json& report, const json& old) {
  json out = json::array();
  const bool energy =
      profile_comparison(report, old).at("energy_not_compared").get<std::string>().empty();
  const auto compare = [&](const std::string& network, const std::string& variant,
                           const std::string& phase, const std::string& layer, const json& a,
                           const json& b) {
    const std::array<std::pair<const char*, std::pair<double, double>>, 4> values = {
        {{"cycles", {number(a, "cycles"), number(b, "cycles")}},
         {"read bytes", {traffic(a, false), traffic(b, false)}},
         {"written bytes", {traffic(a, true), traffic(b, true)}},
         {"energy uJ", {number(a.at("energy_uj"), "value"), number(b.at("energy_uj"), "value")}}}};
    for (const auto& [what, v] : values) {
      if (v.first == v.second || (!energy && std::string(what) == "energy uJ")) continue;
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
