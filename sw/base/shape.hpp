// SPDX-License-Identifier: Apache-2.0
// Shape of one example or activation: rows, columns, channels (NHWC without N, last index fastest).
#pragma once

#include <cstdint>

namespace lastmile {

struct Shape {
  int h = 0, w = 0, c = 0;
  [[nodiscard]] std::int64_t elements() const { return std::int64_t{h} * w * c; }
  friend bool operator==(const Shape&, const Shape&) = default;
};

}  // namespace lastmile
