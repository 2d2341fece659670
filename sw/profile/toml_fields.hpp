// SPDX-License-Identifier: Apache-2.0
// Fields of the TOML files that a profile is made with; every message names file, line and field.
#pragma once

#include <set>
#include <string>
#include <toml.hpp>

#include "sw/profile/energy.hpp"

namespace lastmile::profile {

[[noreturn]] void bad_field(const std::string& file, const toml::value& at,
                            const std::string& text);
[[nodiscard]] const toml::value& field_of(const toml::value& table, const std::string& key,
                                          const std::string& file, const std::string& where);
[[nodiscard]] bool has_field(const toml::value& table, const std::string& key);
// At least 0.
[[nodiscard]] double number_of(const toml::value& table, const std::string& key,
                               const std::string& file, const std::string& where);
[[nodiscard]] std::string text_of(const toml::value& table, const std::string& key,
                                  const std::string& file, const std::string& where);
void only_fields(const toml::value& table, const std::set<std::string>& known,
                 const std::string& file, const std::string& where);
// value, low, high, unit, source, boundary, confidence, and a rule where it was derived.
[[nodiscard]] Cell parse_cell(const toml::value& v, const CellName& name, const std::string& file);

}  // namespace lastmile::profile
