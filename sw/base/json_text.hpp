// SPDX-License-Identifier: Apache-2.0
// JSON as text, whatever its strings hold: names of files, folders and speakers need not be UTF-8,
// and a report must not be lost over them.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

namespace lastmile {

// What is not UTF-8 becomes U+FFFD.
[[nodiscard]] inline std::string json_text(const nlohmann::json& j, int indent = -1) {
  return j.dump(indent, ' ', false, nlohmann::json::error_handler_t::replace);
}
// The same for a terminal: everything but printable ASCII as \uXXXX.
[[nodiscard]] inline std::string ascii_json_text(const nlohmann::json& j, int indent = -1) {
  return j.dump(indent, ' ', true, nlohmann::json::error_handler_t::replace);
}

}  // namespace lastmile
