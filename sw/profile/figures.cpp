// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/figures.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace lastmile::profile {
namespace {

std::string separated(std::string digits) {
  const std::size_t begin = digits.starts_with('-') ? 1 : 0;
  std::size_t point = std::min(digits.find('.'), digits.size());
  while (point > begin + 3) digits.insert(point -= 3, ",");
  return digits;
}

struct Unit {
  double pj;
  const char* name;
};
constexpr std::array<Unit, 5> kUnits = {
    {{1, "pJ"}, {1e3, "nJ"}, {1e6, "uJ"}, {1e9, "mJ"}, {1e12, "J"}}};

// The largest unit of which there is at least one, once `pj` is rounded.
Unit unit_for(double pj) {
  Unit unit = kUnits[0];
  for (const Unit& u : kUnits)
    if (std::abs(pj) >= 0.9995 * u.pj) unit = u;
  return unit;
}

}  // namespace

std::string plain(double value, int digits) {
  if (!std::isfinite(value)) return fmt::format("{}", value);
  if (value == 0) return "0";
  const int magnitude = static_cast<int>(std::floor(std::log10(std::abs(value)) + 1e-12));
  std::string out = fmt::format("{:.{}f}", value, std::clamp(digits - 1 - magnitude, 0, 12));
  if (out.find('.') != std::string::npos) {
    out.erase(out.find_last_not_of('0') + 1);
    if (out.ends_with('.')) out.pop_back();
  }
  return separated(out);
}

std::string counted(double value) { return separated(fmt::format("{:.0f}", value)); }

std::string change(double value) {
  const std::string n = counted(value);
  return n == "0" || n == "-0" ? "0" : (value > 0 ? "+" : "") + n;
}

std::string bytes_text(double n) {
  if (n >= 999.95e6) return fmt::format("{:.2f} GB", n * 1e-9);
  if (n >= 999.95e3) return fmt::format("{:.2f} MB", n * 1e-6);
  if (n >= 1e3) return fmt::format("{:.1f} kB", n * 1e-3);
  return fmt::format("{:.0f} B", n);
}

std::string energy_of_pj(double pj, int digits) {
  const Unit u = unit_for(pj);
  return plain(pj / u.pj, digits) + " " + u.name;
}

std::string energy_interval(const nlohmann::json& i, double pj_per_unit) {
  const auto pj = [&](const char* key) { return i.at(key).get<double>() * pj_per_unit; };
  const Unit u = unit_for(pj("value"));
  return fmt::format("{} {} ({} to {})", plain(pj("value") / u.pj, 4), u.name,
                     plain(pj("low") / u.pj), plain(pj("high") / u.pj));
}

std::string ratio_interval(const nlohmann::json& i) {
  const auto of = [&](const char* key) { return plain(i.at(key).get<double>()); };
  return fmt::format("{} ({} to {})", of("value"), of("low"), of("high"));
}

}  // namespace lastmile::profile
