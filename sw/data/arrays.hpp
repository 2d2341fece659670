// SPDX-License-Identifier: Apache-2.0
// Data sets as arrays of numpy (sw/base/npy.hpp): an .npz archive, an .npy file with its labels
// beside it (NAME_labels.npy or y.npy), or a folder of .npy files. Names of the arrays:
//   undivided    x or images, y or labels
//   parts        x_train, y_train, x_test, y_test, x_val, y_val, or train_images, train_labels, ...
// An array without labels is a set of examples without them.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sw/data/dataset.hpp"

namespace lastmile {

// Values of all examples of a set, at most: 2 GiB as they are kept.
inline constexpr std::int64_t kMostSetValues = std::int64_t{1} << 29;

enum class Layout { automatic, nhwc, nchw };

struct ArrayPart {
  std::string name;   // "train", "test", "val", or empty
  std::string where;  // what errors call the examples
  Dataset data;       // NHWC; no classes yet, labels 0 where there are none
  bool labelled = true;
};
struct ArraySet {
  bool bytes = true;  // uint8, which became 0 to 1; else numbers as they are
  std::vector<ArrayPart> parts;
};

// Rank 4 is NHWC or NCHW, rank 3 has no channels, rank 2 no rows and columns. `layout` automatic:
// that which fits `input`, else the one whose channels are at most 4. Values: uint8 (b / 255) or
// float16, float32, float64 (as they are); labels: whole numbers below kMaxClasses, as many as
// examples. Nothing for a folder without such arrays; Error (input) for anything else.
[[nodiscard]] std::optional<ArraySet> read_arrays(const std::filesystem::path& path, Layout layout,
                                                  const std::optional<Shape>& input);

}  // namespace lastmile
