// SPDX-License-Identifier: Apache-2.0
// "name=value,...": how hardware parameters and the options of a backend are written.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace lastmile::spec {

struct Setting {
  std::string text;  // all of it, for messages
  std::string name;
  std::string value;  // empty without a "="
};

// In the order of the text; nothing for an empty one.
[[nodiscard]] inline std::vector<Setting> split_settings(std::string_view text) {
  std::vector<Setting> out;
  while (!text.empty()) {
    const auto comma = text.find(',');
    const std::string_view item = text.substr(0, comma);
    text = comma == std::string_view::npos ? std::string_view() : text.substr(comma + 1);
    const auto equals = item.find('=');
    out.push_back({std::string(item), std::string(item.substr(0, equals)),
                   equals == std::string_view::npos ? "" : std::string(item.substr(equals + 1))});
  }
  return out;
}

}  // namespace lastmile::spec
