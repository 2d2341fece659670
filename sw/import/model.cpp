// SPDX-License-Identifier: Apache-2.0
#include "sw/import/model.hpp"

#include <fmt/format.h>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"

namespace lastmile {

bool is_model_file(const std::filesystem::path& path) {
  return path.extension() == ".tflite" || path.extension() == ".onnx";
}

ImportedModel load_model(const std::filesystem::path& path) {
  if (path.extension() == ".tflite") return parse_tflite(read_file(path), path.string());
  if (path.extension() == ".onnx") {
    const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
    return parse_onnx(read_file(path), path.string(), folder);
  }
  throw Error(ErrorKind::input, fmt::format("{}: expected a .tflite or .onnx file", path.string()));
}

}  // namespace lastmile
