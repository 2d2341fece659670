// SPDX-License-Identifier: Apache-2.0
#include "sw/import/model.hpp"

#include <fmt/format.h>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"

namespace lastmile {

bool is_model_file(const std::filesystem::path& path) {
  return path.extension() == ".tflite" || path.extension() == ".onnx";
}

namespace {

ImportedModel with_loss(ImportedModel m) {
  if (!m.network.reconstructs()) return m;
  if (m.quantized) m.quantized->network.loss = m.network.loss;
  m.notes.push_back(fmt::format(
      "its output has the {} elements of its input and ends in no softmax: it is taken for an "
      "autoencoder, whose loss is the reconstruction of its input (of a classifier `lastmile "
      "import` it, and write \"classes = {}\" in place of the loss into the .toml)",
      m.network.classes, m.network.classes));
  return m;
}

}  // namespace

ImportedModel load_model(const std::filesystem::path& path) {
  if (path.extension() == ".tflite") return with_loss(parse_tflite(read_file(path), path.string()));
  if (path.extension() == ".onnx") {
    const std::filesystem::path folder = path.has_parent_path() ? path.parent_path() : ".";
    return with_loss(parse_onnx(read_file(path), path.string(), folder));
  }
  throw Error(ErrorKind::input, fmt::format("{}: expected a .tflite or .onnx file", path.string()));
}

}  // namespace lastmile
