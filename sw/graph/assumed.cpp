// SPDX-License-Identifier: Apache-2.0
#include "sw/graph/assumed.hpp"

#include <fmt/format.h>

namespace lastmile {

AssumedTask assumed_task(const std::string& path) {
  AssumedTask task;
  const FixedShape fixed = read_fixed_shape(path);
  const Shape& in = task.shape.input;
  std::string open, taken;
  if (!fixed.input) {
    open = "input";
    taken = fmt::format("{} x {} x {}", in.h, in.w, in.c);
  }
  if (!fixed.classes) {
    open += open.empty() ? "classes" : " and classes";
    taken += fmt::format("{}{} classes", taken.empty() ? "" : " and ", task.shape.classes);
  }
  if (!open.empty())
    task.said = fmt::format("{} leaves {} to the task: taken as {}, as of the drawn digits", path,
                            open, taken);
  return task;
}

}  // namespace lastmile
