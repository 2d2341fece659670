// SPDX-License-Identifier: Apache-2.0
// Whether the data are those that the network was made for: faults of a deployment that no layer
// shows.
#pragma once

#include <vector>

#include "sw/data/task.hpp"
#include "sw/trainer/targets.hpp"
#include "sw/validate/findings.hpp"

namespace lastmile {

// `source`: the float network on the source test. Checks "split" (a class without examples, or
// another mix of classes to adapt on than to meet), "normalization" (values of the source test far
// from those that the network was trained on, where its file says them), "class order" (most
// examples of several classes taken for one other each, which are taken for others themselves) and
// "balance" (rare classes missed).
[[nodiscard]] std::vector<Finding> judge_data(const Task& task, const Accuracy& source);

}  // namespace lastmile
