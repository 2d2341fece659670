// SPDX-License-Identifier: Apache-2.0
// TOML that anybody may have written: networks, tables of energy.
#pragma once

#include <string>
#include <string_view>
#include <toml.hpp>

namespace lastmile {

// Error(input) naming `file` and the line: text that is too long or nested too deeply for a parser
// that recurses, not UTF-8, or not TOML.
[[nodiscard]] toml::value parse_toml(std::string_view text, const std::string& file);

}  // namespace lastmile
