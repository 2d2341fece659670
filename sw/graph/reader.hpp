// SPDX-License-Identifier: Apache-2.0
// Networks as text (TOML 0.5). sw/graph/README.md is the reference of the format.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "sw/graph/network.hpp"

namespace lastmile {

// What a task fixes: a file that says `input = "task"` or `classes = "task"` takes it from here.
struct TaskShape {
  Shape input;
  int classes = 0;
  bool binding = true;  // false: a file that fixes its own input or classes need not agree
};

// Reads, infers every shape and validates. Throws Error(input): the message names file, line,
// layer, field, the value found and what was expected. Unknown keys are errors. A file that fixes
// input or classes must agree with `task` when it is given and binding.
[[nodiscard]] Network read_network(const std::string& path, std::optional<TaskShape> task = {});
// The same from text; `file` only appears in messages.
[[nodiscard]] Network parse_network(std::string_view text, const std::string& file,
                                    std::optional<TaskShape> task = {});
// What a file fixes itself, where it does not say "task".
struct FixedShape {
  std::optional<Shape> input;
  std::optional<int> classes;
  bool autoencoder = false;
};
// The file's head alone: of its layers nothing is read.
[[nodiscard]] FixedShape read_fixed_shape(const std::string& path);
// Canonical text with everything resolved: parse_network(to_toml(n)) == n, and equal networks have
// equal text.
[[nodiscard]] std::string to_toml(const Network& network);
// XXH64 of to_toml: what files that belong to one network carry.
[[nodiscard]] std::uint64_t fingerprint(const Network& network);

}  // namespace lastmile
