// SPDX-License-Identifier: Apache-2.0
#include "sw/app/source.hpp"

#include <fmt/format.h>

#include <utility>

#include "sw/base/error.hpp"
#include "sw/base/shipped.hpp"
#include "sw/import/model.hpp"
#include "sw/quantizer/file.hpp"

namespace lastmile {

NetworkSource load_source(const std::string& name, const TaskShape& shape) {
  if (!is_model_file(name))
    return {name, read_network(find_shipped("networks", name).string(), shape), {}, {}, {}};
  ImportedModel m = load_model(name);
  const Shape &has = m.network.input, &wants = shape.input;
  if (shape.binding && has != wants)
    throw Error(ErrorKind::input,
                fmt::format("{}: input is {} x {} x {}, expected {} x {} x {} of the data", name,
                            has.h, has.w, has.c, wants.h, wants.w, wants.c));
  if (shape.binding && !m.network.reconstructs() && m.network.classes != shape.classes)
    throw Error(ErrorKind::input, fmt::format("{}: classes is {}, expected {} of the data", name,
                                              m.network.classes, shape.classes));
  return {name, std::move(m.network), std::move(m.params), std::move(m.quantized),
          std::move(m.notes)};
}

QuantizedNetwork load_integers(const std::filesystem::path& path) {
  if (!is_model_file(path)) return load_quantized(path);
  ImportedModel m = load_model(path);
  if (!m.quantized)
    throw Error(ErrorKind::input,
                fmt::format("{}: its numbers are floating point, expected an int8 model, or the "
                            ".lmq file that `lastmile quantize` makes of it",
                            path.string()));
  return std::move(*m.quantized);
}

bool is_weights_file(const std::filesystem::path& path) {
  return path.extension() == ".lmc" || path.extension() == ".npz";
}

}  // namespace lastmile
