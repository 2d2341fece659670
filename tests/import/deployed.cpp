// SPDX-License-Identifier: Apache-2.0
// What deployed.py needs of the tests' own code.
//
//   deployed reference MODEL.tflite EXAMPLES SEED
//       the hash that `lastmile infer --random EXAMPLES --seed SEED` must print, by the interpreter
//       of the file in the reference kernels' arithmetic
//   deployed write FOLDER             networks as PyTorch exports them, with random weights
//   deployed tiny FOLDER              tiny.tflite and tiny.onnx, for a test
//   deployed quantize MODEL FILE.lmq  calibrated on noise, for models that no data set fits
#include <fmt/format.h>

#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "sw/data/dataset.hpp"
#include "sw/golden/golden.hpp"
#include "sw/import/model.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/quantizer/quantize.hpp"
#include "tests/import/tflite_builder.hpp"
#include "tests/import/tflite_reference.hpp"

#if __has_include(<onnx/onnx_pb.h>) && __has_include(<google/protobuf/message.h>)
#define LASTMILE_HAVE_ONNX 1
#include "tests/import/exported.hpp"
#endif

namespace lastmile {
namespace {

using testing::TfliteBuilder;
using Folder = std::filesystem::path;

void reference(const std::string& file, std::size_t examples, std::uint64_t seed) {
  const auto bytes = read_file(file);
  const auto* graph = flatbuffers::GetRoot<tflite::Model>(bytes.data())->graphs()->Get(0);
  const auto input = static_cast<std::uint32_t>(graph->inputs()->Get(0));
  std::size_t each = 1;
  for (const std::int32_t d : *graph->tensors()->Get(input)->shape())
    each *= static_cast<std::size_t>(d);
  Rng rng(seed);  // as `infer` draws
  testing::TfliteReference interpreter(bytes);
  std::vector<std::int8_t> x(each), all;
  for (std::size_t i = 0; i < examples; ++i) {
    for (std::int8_t& v : x) v = static_cast<std::int8_t>(rng.below(256));
    const auto y = interpreter.run(x);
    all.insert(all.end(), y.begin(), y.end());
  }
  std::cout << fmt::format("{:016x}\n", xxh64(bytes_of(std::span(all))));
}

void quantize_on_noise(const std::string& model, const std::string& file) {
  const ImportedModel m = load_model(model);
  Rng rng(1);
  std::vector<float> x(static_cast<std::size_t>(m.network.input.elements()) * 16);
  for (float& v : x) v = static_cast<float>(rng.uniform());
  const Golden<float> golden(m.network);
  QuantizeOptions o;
  o.weight_type = WeightType::w16;
  save_quantized(file, quantize(m.network, m.params, calibrate(golden, m.params, x), o));
}

void tiny_tflite(const Folder& folder) {
  using tflite::Operator;
  using tflite::Type;
  constexpr int kSide = 8, kFilters = 4, kClasses = 3;
  Rng rng(1);
  const auto weights = [&](int n) {
    std::vector<std::int8_t> w;
    for (int i = 0; i < n; ++i) w.push_back(static_cast<std::int8_t>(rng.below(255)));
    return w;
  };
  TfliteBuilder b;
  const int x = b.activation({1, kSide, kSide, 1}, 1.0F / 128, 0);
  const int w = b.constant<std::int8_t>({kFilters, 3, 3, 1}, Type::int8, weights(kFilters * 9),
                                        std::vector<float>(kFilters, 1.0F / 128));
  const int y = b.activation({1, kSide, kSide, kFilters}, 1.0F / 32, -7);
  b.op(Operator::conv_2d, {x, w, -1}, {y}, 1,
       {TfliteBuilder::byte(0, 0), TfliteBuilder::word(1, 1), TfliteBuilder::word(2, 1)});
  constexpr int kFlat = kSide * kSide * kFilters;
  const int flat = b.activation({1, kFlat}, 1.0F / 32, -7);
  b.op(Operator::reshape, {y}, {flat});
  const int v =
      b.constant<std::int8_t>({kClasses, kFlat}, Type::int8, weights(kClasses * kFlat), {0.01F});
  const int z = b.activation({1, kClasses}, 0.5F, 3);
  b.op(Operator::fully_connected, {flat, v, -1}, {z}, 8);
  const int p = b.activation({1, kClasses}, 1.0F / 256, -128);
  b.op(Operator::softmax, {z}, {p}, 9, {TfliteBuilder::real(0, 1)});
  write_file_atomic(folder / "tiny.tflite", b.build({x}, {p}));
}

#ifdef LASTMILE_HAVE_ONNX
using testing::Exported;

constexpr int kImageNet = 1000;  // classes

void tiny_onnx(const Folder& folder) {
  write_file_atomic(folder / "tiny.onnx", Exported({17, 16, 4, 8}, 1).mobilenet_v2(true));
}

void networks(const Folder& folder) {
  const auto write = [&](const char* name, const std::vector<std::uint8_t>& file) {
    write_file_atomic(folder / fmt::format("{}.onnx", name), file);
  };
  write("resnet18-96", Exported({13, 96, kImageNet, 64}, 1).resnet18(true));
  write("resnet18-224", Exported({13, 224, kImageNet, 64}, 2).resnet18(true));
  write("mobilenet_v1-0.25-96", Exported({11, 96, 2, 8}, 3).mobilenet_v1(true));
  write("mobilenet_v2-0.25-96", Exported({17, 96, 10, 8}, 4).mobilenet_v2(true));
  write("autoencoder",
        Exported({13, 640, 640, 0}, 5).autoencoder({128, 128, 128, 128, 8, 128, 128, 128, 128}));
}
#else
void tiny_onnx(const Folder&) {}
void networks(const Folder&) {
  std::cout << "SKIPPED: built without ONNX's schema (libonnx-dev, libprotobuf-dev)\n";
}
#endif

int run(const std::vector<std::string>& a) {
  if (a.size() == 4 && a[0] == "reference") {
    reference(a[1], std::stoul(a[2]), std::stoull(a[3]));
  } else if (a.size() == 2 && a[0] == "write") {
    networks(a[1]);
  } else if (a.size() == 3 && a[0] == "quantize") {
    quantize_on_noise(a[1], a[2]);
  } else if (a.size() == 2 && a[0] == "tiny") {
    tiny_tflite(a[1]);
    tiny_onnx(a[1]);
  } else {
    return 2;
  }
  return 0;
}

}  // namespace
}  // namespace lastmile

int main(int argc, char** argv) {
  try {
    return lastmile::run({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::cerr << "deployed: " << e.what() << '\n';
    return 1;
  }
}
