// SPDX-License-Identifier: Apache-2.0
#include "sw/import/model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstddef>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"

namespace lastmile {

bool is_model_file(const std::filesystem::path& path) {
  return path.extension() == ".tflite" || path.extension() == ".onnx";
}

namespace {

// A dense layer counts its outputs as the input does: channels first where the file does, last
// here.
void order_outputs(ImportedModel& m) {
  const Network& n = m.network;
  const std::size_t i = n.layers.size() - 1;
  const Layer& last = n.layers[i];
  const auto channels = static_cast<std::size_t>(n.input.c),
             pixels = static_cast<std::size_t>(n.input.h) * static_cast<std::size_t>(n.input.w);
  if (last.op == Op::depthwise_conv2d || last.out.h * last.out.w != 1) return;
  const auto ordered = [&](auto& values) {
    const std::size_t each = values.size() / (channels * pixels);
    const auto old = values;
    for (std::size_t c = 0; c < channels; ++c)
      for (std::size_t k = 0; k < pixels; ++k)
        std::copy_n(old.begin() + static_cast<std::ptrdiff_t>((c * pixels + k) * each), each,
                    values.begin() + static_cast<std::ptrdiff_t>((k * channels + c) * each));
  };
  ordered(m.params.layers[i].weights);
  ordered(m.params.layers[i].bias);
  if (!m.quantized) return;
  QuantizedLayer& q = m.quantized->layers[i];
  ordered(q.weights);
  ordered(q.weight_scale);
  ordered(q.bias);
  ordered(q.requant);
}

ImportedModel with_loss(ImportedModel m) {
  if (!m.network.reconstructs()) return m;
  if (m.channels_first) order_outputs(m);
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
