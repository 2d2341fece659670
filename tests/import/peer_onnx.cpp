// SPDX-License-Identifier: Apache-2.0
// What this project computes, for peer_onnx.py to compare with onnxruntime.
//
//   peer-onnx inputs FOLDER EXAMPLES            x.f32 (channels first), labels.u8: shifted digits
//   peer-onnx float FOLDER NETWORK WEIGHTS NAME NAME.f32: outputs of the float model
//   peer-onnx fixed FOLDER FILE.lmq NAME        NAME.logits.f32 and NAME.int8.f32: of the integers
//   peer-onnx layers FOLDER FILE.lmq            layers.json and what it names: every layer as a
//   model
//                                               of its own, with the inputs and outputs it has here
//   peer-onnx nodes FOLDER NODES.json           0.onnx, 1.onnx, ...: the cases as models
//
// Raw float32 numbers, one example behind the other.
#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "cmodel/device/model_device.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/data/task.hpp"
#include "sw/driver/session.hpp"
#include "sw/export/export.hpp"
#include "sw/golden/golden.hpp"
#include "sw/golden/npz.hpp"
#include "sw/graph/reader.hpp"
#include "sw/quantizer/file.hpp"
#include "tests/import/node_cases.hpp"

namespace lastmile {
namespace {

constexpr std::size_t kBatch = 50;

void write(const std::filesystem::path& path, const std::vector<float>& values) {
  write_file_atomic(path, bytes_of(std::span(values)));
}

Dataset examples(std::size_t count) {
  const Dataset all = load_task({}).shifted_test;
  return slice(all, 0, std::min(count, all.size()));
}

std::size_t kept_examples(const std::filesystem::path& folder) {
  return static_cast<std::size_t>(std::filesystem::file_size(folder / "labels.u8"));
}

void inputs(const std::filesystem::path& folder, std::size_t count) {
  const Dataset d = examples(count);
  std::vector<float> x;
  for (std::size_t i = 0; i < d.size(); ++i) {
    const auto e = d.example(i);
    for (int c = 0; c < d.shape.c; ++c)
      for (int p = 0; p < d.shape.h * d.shape.w; ++p)
        x.push_back(e[static_cast<std::size_t>(p * d.shape.c + c)]);
  }
  write(folder / "x.f32", x);
  const std::vector<std::uint8_t> labels(d.y.begin(), d.y.end());  // ten classes
  write_file_atomic(folder / "labels.u8", std::span<const std::uint8_t>(labels));
}

void floats(const std::filesystem::path& folder, const std::string& network,
            const std::string& weights, const std::string& name) {
  const Dataset d = examples(kept_examples(folder));
  const Network n = read_network(network, TaskShape{d.shape, d.classes, false});
  const auto params = load_weights(weights, n);
  std::vector<float> y(d.size() * static_cast<std::size_t>(n.classes));
  Golden<float>(n).forward(params, d.x, y);
  write(folder / (name + ".f32"), y);
}

void fixed(const std::filesystem::path& folder, const std::string& file, const std::string& name) {
  const Dataset d = examples(kept_examples(folder));
  const QuantizedNetwork q = load_quantized(file);
  std::vector<std::int8_t> codes(d.x.size());
  quantize_activations(d.x, q.input, codes);
  const auto each = static_cast<std::size_t>(q.network.input.elements());
  CompileOptions with_loss, without;
  with_loss.batch = without.batch = static_cast<int>(kBatch);
  without.output_layer = static_cast<int>(q.network.layers.size()) - 1;
  Session loss = open_session(compile(q, spec::HardwareParams{}, with_loss), open_model);
  Session plain = open_session(compile(q, spec::HardwareParams{}, without), open_model);
  std::vector<float> logits, outputs;
  for (std::size_t at = 0; at + kBatch <= d.size(); at += kBatch) {
    const auto x = std::span(codes).subspan(at * each, kBatch * each);
    const std::vector<int> labels(d.y.begin() + static_cast<std::ptrdiff_t>(at),
                                  d.y.begin() + static_cast<std::ptrdiff_t>(at + kBatch));
    loss->load_batch(x, labels);
    loss->forward();
    for (const std::int16_t v : loss->logits()) logits.push_back(q.logits.scale * v);
    plain->load_batch(x, {});
    plain->forward();
    const std::vector<std::int8_t> y = plain->output();
    std::vector<float> real(y.size());
    dequantize_activations(y, q.layers.back().out, real);
    outputs.insert(outputs.end(), real.begin(), real.end());
  }
  write(folder / (name + ".logits.f32"), logits);
  write(folder / (name + ".int8.f32"), outputs);
  std::cout << fmt::format("{}\n", q.layers.back().out.scale);
}

// Real numbers of a layer's output, channels first.
std::vector<float> outputs_of(const QuantizedNetwork& q, int layer,
                              const std::vector<std::int8_t>& x) {
  std::vector<std::int8_t> codes = x;
  if (layer != kNetworkInput) {
    CompileOptions o;
    o.batch = static_cast<int>(kBatch);
    o.output_layer = layer;
    Session session = open_session(compile(q, spec::HardwareParams{}, o), open_model);
    session->load_batch(x, {});
    session->forward();
    codes = session->output();
  }
  const Shape& s = q.network.shape_of(layer);
  const auto plane = static_cast<std::size_t>(s.h) * static_cast<std::size_t>(s.w);
  const auto channels = static_cast<std::size_t>(s.c);
  // A record's constants are not in the exported model.
  const bool record =
      layer != kNetworkInput && q.network.layers[static_cast<std::size_t>(layer)].op == Op::concat;
  const auto kept =
      record ? static_cast<std::size_t>(q.network.layers[static_cast<std::size_t>(layer)].in.c)
             : channels;
  std::vector<std::int8_t> first;
  for (std::size_t e = 0; e < kBatch; ++e)
    for (std::size_t c = 0; c < kept; ++c)
      for (std::size_t p = 0; p < plane; ++p)
        first.push_back(codes[(e * plane + p) * channels + c]);
  std::vector<float> real(first.size());
  dequantize_activations(first, q.quant_of(layer), real);
  return real;
}

std::string name_of_tensor(const QuantizedNetwork& q, int layer) {
  return layer == kNetworkInput ? "input" : q.network.layers[static_cast<std::size_t>(layer)].name;
}

// The nodes that belong to a layer, which read what the layers before it put out.
onnx::ModelProto only(const onnx::ModelProto& all, const QuantizedNetwork& q, const Layer& l) {
  onnx::ModelProto m = all;
  auto& graph = *m.mutable_graph();
  graph.clear_node();
  graph.clear_input();
  for (const auto& n : all.graph().node())
    if (n.name() == l.name || n.name().starts_with(l.name + "/")) *graph.add_node() = n;
  for (const int from : l.inputs) {
    auto* v = graph.add_input();
    v->set_name(name_of_tensor(q, from) + "/dequantized");
    v->mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
  }
  auto* out = graph.mutable_output(0);
  *out = onnx::ValueInfoProto();
  out->set_name(graph.node(graph.node_size() - 1).output(0));
  out->mutable_type()->mutable_tensor_type()->set_elem_type(onnx::TensorProto::FLOAT);
  return m;
}

void layers(const std::filesystem::path& folder, const std::string& file) {
  const QuantizedNetwork q = load_quantized(file);
  const Dataset d = examples(kBatch);
  std::vector<std::int8_t> x(d.x.size());
  quantize_activations(d.x, q.input, x);
  OnnxOptions how;
  how.int8_result = true;
  const auto bytes = encode_onnx_qdq(q, how);
  onnx::ModelProto all;
  if (!all.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())))
    throw Error(ErrorKind::input, "the exported model cannot be parsed");
  std::vector<std::vector<std::int64_t>> dims;  // the input's, then by layer
  nlohmann::json list = nlohmann::json::array();
  const auto tensor_file = [](int i) { return fmt::format("t{}.f32", i + 1); };
  const int count = static_cast<int>(q.network.layers.size());
  for (int i = kNetworkInput; i < count; ++i) {
    write(folder / tensor_file(i), outputs_of(q, i, x));
    const Shape& s = q.network.shape_of(i);
    dims.push_back({static_cast<std::int64_t>(kBatch), s.c, s.h, s.w});
    if (i == kNetworkInput) continue;
    const Layer& l = q.network.layers[static_cast<std::size_t>(i)];
    if (l.op == Op::fully_connected || l.op == Op::concat) dims.back().resize(2);
    if (l.op == Op::concat) {  // bytes as they are
      dims.back()[1] = l.in.c;
      continue;
    }
    nlohmann::json inputs = nlohmann::json::array();
    for (const int from : l.inputs)
      inputs.push_back({{"name", name_of_tensor(q, from) + "/dequantized"},
                        {"file", tensor_file(from)},
                        {"dims", dims[static_cast<std::size_t>(from + 1)]}});
    const std::string model = fmt::format("layer{}.onnx", i);
    write_file_atomic(folder / model, only(all, q, l).SerializeAsString());
    list.push_back({{"layer", l.name},
                    {"model", model},
                    {"inputs", inputs},
                    {"output", tensor_file(i)},
                    {"step", q.quant_of(i).scale}});
  }
  write_file_atomic(folder / "layers.json", list.dump());
}

void nodes(const std::filesystem::path& folder, const std::string& file) {
  const auto all = nlohmann::json::parse(read_text_file(file));
  int count = 0;
  for (const auto& c : all["cases"])
    write_file_atomic(folder / fmt::format("{}.onnx", count++), testing::file_of(c));
}

int run(const std::vector<std::string>& a) {
  if (a.size() == 3 && a[0] == "inputs")
    inputs(a[1], static_cast<std::size_t>(std::stoul(a[2])));
  else if (a.size() == 5 && a[0] == "float")
    floats(a[1], a[2], a[3], a[4]);
  else if (a.size() == 4 && a[0] == "fixed")
    fixed(a[1], a[2], a[3]);
  else if (a.size() == 3 && a[0] == "layers")
    layers(a[1], a[2]);
  else if (a.size() == 3 && a[0] == "nodes")
    nodes(a[1], a[2]);
  else
    return 2;
  return 0;
}

}  // namespace
}  // namespace lastmile

int main(int argc, char** argv) {
  try {
    return lastmile::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::cerr << "peer-onnx: " << e.what() << '\n';
    return 1;
  }
}
