// SPDX-License-Identifier: Apache-2.0
// When each engine worked, for traces: what a backend puts into its report as "spans".
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "cmodel/timing/timing.hpp"

namespace lastmile {

// JSON array of {"phase", "command", "engine", "tile" (where the work is of one), "start", "end",
// "busy"}: cycles since the first queue started, idle time between queues left out; end exclusive;
// busy of them moved something. Engine "COMMAND" spans a command, "QUEUE" what lies between two.
class Spans {
 public:
  void add(const std::string& phase, std::uint32_t command, std::string_view engine, int tile,
           std::uint64_t start, std::uint64_t end, std::uint64_t busy);
  // A command as the cycle model predicts it; `start`: of its engine.
  void command(const std::string& phase, std::uint32_t command, std::uint64_t start,
               const timing::CommandTiming& t);
  [[nodiscard]] const nlohmann::json& json() const { return spans_; }

 private:
  nlohmann::json spans_ = nlohmann::json::array();
};

}  // namespace lastmile
