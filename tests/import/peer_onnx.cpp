// SPDX-License-Identifier: Apache-2.0
// What this project computes, for peer_onnx.py to compare with onnxruntime.
//
//   peer-onnx inputs FOLDER EXAMPLES            x.f32 (channels first), labels.u8: shifted digits
//   peer-onnx float FOLDER NETWORK WEIGHTS NAME NAME.f32: outputs of the float model
//   peer-onnx fixed FOLDER FILE.lmq NAME        NAME.logits.f32 and NAME.int8.f32: of the integers
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
  write_file_atomic(folder / "labels.u8", std::span<const std::uint8_t>(d.y));
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
