// SPDX-License-Identifier: Apache-2.0
// Accuracy as results show it: JSON, a number, a line per class.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "sw/data/task.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

[[nodiscard]] nlohmann::json accuracy_json(const Accuracy& a);
// With the balanced accuracy where the mix of classes hides something: it is so many points away.
[[nodiscard]] std::string accuracy_text(const Accuracy& a);
// A line per class with its accuracy in each of `all`, then who is taken for whom by the last. For
// sets that were named, of at most 32 classes; else empty.
[[nodiscard]] std::string classes_text(
    const Task& task, const std::vector<std::pair<const char*, const Accuracy*>>& all);

}  // namespace lastmile
