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

// For commands that go on with such weights; `validate` judges them itself. Error(input) where
// either shows on a sample of the source test. What a file stored was compared before
// (Task::as_stored) and is not looked at, but for class names that are mere numbers.
void require_origin(const Network& network, const FloatParams<float>& params, const Task& task,
                    const std::filesystem::path& file);

// The second alone, if class names were not compared. Error(input) where far fewer predictions are
// right than by chance, and most would be if each class had another number.
void require_class_order(const Accuracy& on_source, const Task& task,
                         const std::filesystem::path& file);

}  // namespace lastmile
