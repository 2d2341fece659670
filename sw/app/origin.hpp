// SPDX-License-Identifier: Apache-2.0
// Files of before preprocessing was stored do not say what data a network is for. Two mistakes show
// themselves all the same: features normalized otherwise than in training, which the running
// statistics of batch norm contradict, and classes numbered otherwise.
#pragma once

#include <filesystem>

#include "sw/data/task.hpp"
#include "sw/golden/params.hpp"
#include "sw/graph/network.hpp"
#include "sw/trainer/targets.hpp"

namespace lastmile {

// Error(input) where either shows on a sample of the source test. Nothing is looked at if the
// task's preprocessing is what a file stored (Task::as_stored): then it was compared.
void require_origin(const Network& network, const FloatParams<float>& params, const Task& task,
                    const std::filesystem::path& file);

// The second alone. Error(input) where far fewer predictions are right than by chance, and most
// would be if each class had another number.
void require_class_order(const Accuracy& on_source, const Task& task,
                         const std::filesystem::path& file);

}  // namespace lastmile
