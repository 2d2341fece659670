// SPDX-License-Identifier: Apache-2.0
// Where a run's network comes from: a description to train, a trained model of another tool, float
// weights beside either, or a network that was quantized before.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "sw/golden/params.hpp"
#include "sw/graph/network.hpp"
#include "sw/graph/reader.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile {

struct NetworkSource {
  std::string name;  // as it was given
  Network network;
  std::optional<FloatParams<float>> params;  // a model's own; a description has none
  std::optional<QuantizedNetwork> integers;  // of an int8 model
  std::vector<std::string> notes;            // of the import
};

// What --network takes: a .onnx or .tflite model, a .toml file, or the name of one in
// sw/share/networks. Error(input) for what cannot be read, and where input or classes differ from
// those of a binding `shape`.
[[nodiscard]] NetworkSource load_source(const std::string& name, const TaskShape& shape);

// A quantized network: a .lmq file, or an int8 model. Error(input) says so of a float one.
[[nodiscard]] QuantizedNetwork load_integers(const std::filesystem::path& path);

// Whether the file's name says that it holds float weights: .lmc or .npz.
[[nodiscard]] bool is_weights_file(const std::filesystem::path& path);

}  // namespace lastmile
