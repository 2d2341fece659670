// SPDX-License-Identifier: Apache-2.0
// The array a check's program runs on, written as in --hardware: "rows=8,cols=16,...".
#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>

#include "cmodel/spec/hardware.hpp"
#include "cmodel/spec/settings.hpp"

namespace lastmile::checks {

// What `text` does not name keeps its default. std::invalid_argument for names that do not exist.
inline spec::HardwareParams parse_array(const std::string& text) {
  spec::HardwareParams p;
  for (const spec::Setting& s : spec::split_settings(text)) {
    bool known = false;
    spec::each_parameter(p, [&](std::string_view name, int& value) {
      if (name != s.name) return;
      value = std::atoi(s.value.c_str());
      known = true;
    });
    if (!known) throw std::invalid_argument("array: '" + s.text + "' is no hardware parameter");
  }
  return p;
}

}  // namespace lastmile::checks
