// SPDX-License-Identifier: Apache-2.0
#include "sw/profile/toml_fields.hpp"

#include <fmt/format.h>

#include <cmath>

#include "sw/base/error.hpp"

namespace lastmile::profile {

void bad_field(const std::string& file, const toml::value& at, const std::string& text) {
  throw Error(ErrorKind::input, fmt::format("{}:{}: {}", file, at.location().line(), text));
}

const toml::value& field_of(const toml::value& table, const std::string& key,
                            const std::string& file, const std::string& where) {
  const auto& t = table.as_table();
  const auto at = t.find(key);
  if (at == t.end()) bad_field(file, table, fmt::format("{}{} is missing", where, key));
  return at->second;
}
bool has_field(const toml::value& table, const std::string& key) {
  return table.as_table().count(key) != 0;
}
double number_of(const toml::value& table, const std::string& key, const std::string& file,
                 const std::string& where) {
  const toml::value& v = field_of(table, key, file, where);
  const double d = v.is_floating()  ? v.as_floating()
                   : v.is_integer() ? static_cast<double>(v.as_integer())
                                    : std::nan("");
  if (!std::isfinite(d) || d < 0)
    bad_field(file, v, fmt::format("{}{}: expected a number of at least 0", where, key));
  return d;
}
std::string text_of(const toml::value& table, const std::string& key, const std::string& file,
                    const std::string& where) {
  const toml::value& v = field_of(table, key, file, where);
  if (!v.is_string() || v.as_string().str.empty())
    bad_field(file, v, fmt::format("{}{}: expected text", where, key));
  return v.as_string().str;
}
void only_fields(const toml::value& table, const std::set<std::string>& known,
                 const std::string& file, const std::string& where) {
  for (const auto& [key, v] : table.as_table())
    if (!known.contains(key)) bad_field(file, v, fmt::format("{}unknown key '{}'", where, key));
}

Cell parse_cell(const toml::value& v, const CellName& name, const std::string& file) {
  const std::string where = fmt::format("cell \"{}\": ", name.name);
  if (!v.is_table()) bad_field(file, v, where + "expected a table");
  only_fields(v, {"value", "low", "high", "unit", "source", "boundary", "confidence", "rule"}, file,
              where);
  Cell c;
  c.value = number_of(v, "value", file, where);
  c.low = number_of(v, "low", file, where);
  c.high = number_of(v, "high", file, where);
  if (!(c.low <= c.value && c.value <= c.high))
    bad_field(file, v,
              fmt::format("{}low {}, value {}, high {}: expected them in this order", where, c.low,
                          c.value, c.high));
  if (const std::string unit = text_of(v, "unit", file, where); unit != name.unit)
    bad_field(file, v, fmt::format("{}unit is {}, expected {}", where, unit, name.unit));
  c.source = text_of(v, "source", file, where);
  c.boundary = text_of(v, "boundary", file, where);
  c.confidence = text_of(v, "confidence", file, where);
  if (c.confidence != "low" && c.confidence != "medium" && c.confidence != "high")
    bad_field(file, v,
              fmt::format("{}confidence is {}, expected low, medium or high", where, c.confidence));
  if (has_field(v, "rule")) c.rule = text_of(v, "rule", file, where);
  return c;
}

}  // namespace lastmile::profile
