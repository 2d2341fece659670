// SPDX-License-Identifier: Apache-2.0
// The cases of nodes.json as models.
#pragma once

#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "tests/import/onnx_builder.hpp"

namespace lastmile::testing {

inline void set_attribute(onnx::NodeProto* n, const std::string& name,
                          const nlohmann::json& value) {
  if (value.is_array())
    OnnxBuilder::set(n, name.c_str(), value.get<OnnxBuilder::Ints>());
  else if (value.is_string())
    OnnxBuilder::set(n, name.c_str(), value.get<std::string>());
  else if (value.is_number_float())
    OnnxBuilder::set(n, name.c_str(), value.get<float>());
  else
    OnnxBuilder::set(n, name.c_str(), value.get<std::int64_t>());
}

// The model of a case.
inline OnnxBuilder::Bytes file_of(const nlohmann::json& c) {
  const int opset = c["opset"].get<int>();
  OnnxBuilder b(opset, opset > 20 ? 10 : opset > 15 ? 8 : 7);
  const OnnxBuilder::Ints dims = c["input"]["dims"].get<OnnxBuilder::Ints>();
  std::map<std::string, std::string> names{{"x", b.input({dims.begin() + 1, dims.end()})}};
  for (const nlohmann::json& k : c["constants"])
    names[k["name"].get<std::string>()] =
        k["integer"].get<bool>()
            ? b.integers(k["values"].get<OnnxBuilder::Ints>())
            : b.floats(k["dims"].get<OnnxBuilder::Ints>(), k["values"].get<std::vector<float>>());
  std::string last;
  for (const nlohmann::json& k : c["nodes"]) {
    std::vector<std::string> inputs;
    for (const nlohmann::json& i : k["inputs"]) inputs.push_back(names.at(i.get<std::string>()));
    auto* n = b.node(k["op"].get<std::string>(), inputs);
    for (const auto& [name, value] : k["attributes"].items()) set_attribute(n, name, value);
    last = names[k["output"].get<std::string>()] = n->output(0);
  }
  // A network ends in a row: what is none is flattened, and every element kept by a dense layer.
  const auto count = static_cast<std::int64_t>(c["output"]["values"].size());
  if (c["output"]["dims"].size() > 2) {
    std::vector<float> one(static_cast<std::size_t>(count * count), 0);
    for (std::int64_t i = 0; i < count; ++i) one[static_cast<std::size_t>(i * count + i)] = 1;
    last = b.node("Flatten", {last})->output(0);
    const std::vector<float> none(static_cast<std::size_t>(count), 0);
    // Gemm cannot do without its C before opset 11.
    last =
        b.node("Gemm", {last, b.floats({count, count}, one), b.floats({count}, none)})->output(0);
  }
  return b.build(last);
}

}  // namespace lastmile::testing
