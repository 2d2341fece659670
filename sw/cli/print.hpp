// SPDX-License-Identifier: Apache-2.0
// Results on stdout: text for people, or one JSON document.
#pragma once

#include <fmt/format.h>

#include <nlohmann/json.hpp>
#include <utility>

#include "sw/base/json_text.hpp"
#include "sw/base/streams.hpp"

namespace lastmile {

template <class... Args>
void print_out(fmt::format_string<Args...> format, Args&&... args) {
  print_result(fmt::format(format, std::forward<Args>(args)...));
}

// Names of others are escaped where a terminal would act on them.
inline void print_json(const nlohmann::json& j, int indent = 2) {
  print_result(ascii_json_text(j, indent) + "\n");
}

}  // namespace lastmile
