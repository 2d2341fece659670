// SPDX-License-Identifier: Apache-2.0
// A trained model of another tool as the project's network. sw/import/README.md says what is read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "sw/golden/params.hpp"
#include "sw/graph/network.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile {

struct ImportedModel {
  Network network;            // batch norm is folded already
  FloatParams<float> params;  // of `network`; of an integer model: its integers times its scales
  // An int8 model keeps its own integers and scales: nothing is calibrated. Empty: a float model.
  std::optional<QuantizedNetwork> quantized;
  std::vector<std::string> notes;  // what a user should know: dropped operators and the like
  // Dense outputs as large as the input count its elements channels first: load_model puts those
  // of an autoencoder in this project's order.
  bool channels_first = false;
};

// By the extension: .tflite or .onnx.
[[nodiscard]] bool is_model_file(const std::filesystem::path& path);

// Error(input) names the file; what is unsupported is listed at once, each with node, operator,
// attribute and what is supported.
[[nodiscard]] ImportedModel load_model(const std::filesystem::path& path);

// The same from bytes; `file` is what messages call them, and its stem is the network's name.
[[nodiscard]] ImportedModel parse_tflite(std::span<const std::uint8_t> bytes,
                                         const std::string& file);
// `folder`: where external data may be; empty: nowhere.
[[nodiscard]] ImportedModel parse_onnx(std::span<const std::uint8_t> bytes, const std::string& file,
                                       const std::filesystem::path& folder = {});

}  // namespace lastmile
