// SPDX-License-Identifier: Apache-2.0
// An adapted network back into the TensorFlow Lite file it came from: weights, biases and scales of
// weights are written over those of the file, and nothing else changes.
#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "sw/base/error.hpp"
#include "sw/export/export.hpp"
#include "sw/import/tflite_importer.hpp"

namespace lastmile {
namespace {

using from_tflite::File;
using from_tflite::Importer;
using importing::Problems;

// A file's bytes where its fields are aligned as the format wants them.
class Aligned {
 public:
  explicit Aligned(std::span<const std::uint8_t> bytes)
      : words_((bytes.size() + 7) / 8), size_(bytes.size()) {
    if (!bytes.empty()) std::memcpy(words_.data(), bytes.data(), bytes.size());
  }
  [[nodiscard]] std::span<const std::uint8_t> bytes() const {
    return {reinterpret_cast<const std::uint8_t*>(words_.data()), size_};
  }

 private:
  std::vector<std::uint64_t> words_;
  std::size_t size_;
};

// What is written where; several tensors of a file may share their bytes.
class Patch {
 public:
  explicit Patch(std::span<const std::uint8_t> file)
      : bytes_(file.begin(), file.end()), file_(file), written_(file.size()) {}
  // False if another layer wants other bytes there.
  template <class T>
  [[nodiscard]] bool write(const void* where, std::span<const T> values) {
    const auto at =
        static_cast<std::size_t>(static_cast<const std::uint8_t*>(where) - file_.data());
    for (std::size_t i = 0; i < values.size_bytes(); ++i) {
      const std::uint8_t byte = reinterpret_cast<const std::uint8_t*>(values.data())[i];
      if (written_[at + i] && bytes_[at + i] != byte) return false;
      written_[at + i] = true;
      bytes_[at + i] = byte;
    }
    return true;
  }
  [[nodiscard]] std::vector<std::uint8_t> take() { return std::move(bytes_); }

 private:
  std::vector<std::uint8_t> bytes_;
  std::span<const std::uint8_t> file_;
  std::vector<bool> written_;
};

std::string where_of(const Layer& l) {
  return fmt::format("layer '{}' ({})", l.name, name_of(l.op));
}

// Everything of a layer that the file's weights, biases and their scales do not say.
bool same_frame(const QuantizedLayer& a, const QuantizedLayer& b) {
  return a.out == b.out && a.act_min == b.act_min && a.act_max == b.act_max && a.add == b.add &&
         a.softmax == b.softmax && a.constants == b.constants;
}

void compare_frames(const QuantizedNetwork& file, const QuantizedNetwork& network,
                    Problems& problems) {
  const auto &theirs = file.network.layers, &ours = network.network.layers;
  if (file.network.input != network.network.input || file.input != network.input)
    problems.add("the network's input is not the file's in shape, scale or zero point");
  for (const Layer& l : ours)
    if (find_layer(file.network, l.name) == -2)
      problems.add(
          fmt::format("{}: the file has no such layer (readouts add layers: export these as "
                      "ONNX)",
                      where_of(l)));
  for (std::size_t i = 0; i < theirs.size(); ++i) {
    const Layer& l = theirs[i];
    if (find_layer(network.network, l.name) != static_cast<int>(i) || ours[i] != l) {
      problems.add(fmt::format("{}: the network's differs in place, shape or kind", where_of(l)));
      continue;
    }
    if (has_weights(l) && network.weight_type_of(i) != WeightType::w8)
      problems.add(
          fmt::format("{}: its weights are int16, expected int8 (adapt with --weights w8, or "
                      "export as ONNX)",
                      where_of(l)));
    if (!same_frame(file.layers[i], network.layers[i]))
      problems.add(
          fmt::format("{}: its output differs in scale, zero point or clamp, expected the "
                      "file's",
                      where_of(l)));
  }
}

void replace_layer(const File& file, const Importer::Constants& at, const Layer& l,
                   const QuantizedLayer& q, Patch& patch, Problems& problems) {
  const std::vector<std::int8_t> weights(q.weights.begin(), q.weights.end());
  bool fine = patch.write(file.constant_bytes(at.weights).data(), std::span(weights));
  if (at.bias >= 0)
    fine = patch.write(file.constant_bytes(at.bias).data(), std::span(q.bias)) && fine;
  const auto* scales = file.tensor(at.weights)->quantization()->scale();
  std::vector<float> steps = q.weight_scale;
  const bool alike =
      std::all_of(steps.begin(), steps.end(), [&](float s) { return s == steps[0]; });
  if (scales->size() == 1 && alike) steps.resize(1);
  if (steps.size() != scales->size())
    problems.add(fmt::format("{}: its weights have {} scales, expected one as in the file",
                             where_of(l), steps.size()));
  else
    fine = patch.write(scales->data(), std::span<const float>(steps)) && fine;
  if (!fine)
    problems.add(
        fmt::format("{}: in the file it shares weights with another layer, and now they "
                    "differ",
                    where_of(l)));
}

}  // namespace

std::vector<std::uint8_t> replace_tflite_weights(std::span<const std::uint8_t> bytes,
                                                 const std::string& file,
                                                 const QuantizedNetwork& network) {
  const Aligned aligned(bytes);
  File opened(aligned.bytes(), file);
  Importer importer(opened);
  const ImportedModel original = importer.run();
  if (!original.quantized)
    throw Error(ErrorKind::input,
                fmt::format("{}: its numbers are floating point, expected an int8 model", file));
  Problems problems(file);
  compare_frames(*original.quantized, network, problems);
  problems.raise();
  Patch patch(aligned.bytes());
  for (const auto& [layer, at] : importer.constants()) {
    const auto i = static_cast<std::size_t>(layer);
    try {
      replace_layer(opened, at, network.network.layers[i], network.layers[i], patch, problems);
    } catch (const importing::Refusal& r) {
      problems.add(where_of(network.network.layers[i]) + ": " + r.text);
    }
  }
  problems.raise();
  std::vector<std::uint8_t> result = patch.take();
  // The promise, checked: what the file now says is the network.
  const QuantizedNetwork again = parse_tflite(result, file).quantized.value();
  for (std::size_t i = 0; i < again.layers.size(); ++i) {
    const QuantizedLayer &a = again.layers[i], &b = network.layers[i];
    if (a.weights != b.weights || a.bias != b.bias)
      problems.add(fmt::format("{}: its weights are not in the file, expected as they were",
                               where_of(network.network.layers[i])));
    else if (a.requant != b.requant)
      problems.add(fmt::format("{}: its factors are not what the file's scales give",
                               where_of(network.network.layers[i])));
  }
  problems.raise();
  return result;
}

}  // namespace lastmile
