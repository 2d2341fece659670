// SPDX-License-Identifier: Apache-2.0
// The hardware parameters by their names: for options, files and reports.
#pragma once

#include <string>
#include <string_view>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::spec {

// use(name, value) of every parameter, in the order of npu.toml. Params: HardwareParams, or const.
template <class Params, class Use>
void each_parameter(Params& p, const Use& use) {
  auto& [rows, cols, bus_bytes, act_bytes, acc_depth, rq_lanes, training] = p;  // all of them
  use(std::string_view("rows"), rows);
  use(std::string_view("cols"), cols);
  use(std::string_view("bus_bytes"), bus_bytes);
  use(std::string_view("act_bytes"), act_bytes);
  use(std::string_view("acc_depth"), acc_depth);
  use(std::string_view("rq_lanes"), rq_lanes);
  use(std::string_view("training"), training);
}

// nlohmann-json finds this: the parameters as an object.
template <class Json>
void to_json(Json& j, const HardwareParams& p) {
  j = Json::object();
  each_parameter(p, [&j](std::string_view name, int value) { j[std::string(name)] = value; });
}

}  // namespace lastmile::spec
