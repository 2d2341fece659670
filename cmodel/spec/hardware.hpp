// SPDX-License-Identifier: Apache-2.0
// The hardware parameters by their names: for options, files and reports.
#pragma once

#include <string>
#include <string_view>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::spec {

// nlohmann-json finds this: the parameters as an object.
template <class Json>
void to_json(Json& j, const HardwareParams& p) {
  j = Json::object();
  each_parameter(p, [&j](std::string_view name, int value) { j[std::string(name)] = value; });
}

}  // namespace lastmile::spec
