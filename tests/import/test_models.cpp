// SPDX-License-Identifier: Apache-2.0
// Whole networks as PyTorch exports them, in three opsets, with random weights: imported,
// quantized, run on the model.
#include <doctest/doctest.h>

#include "sw/import/model.hpp"

#if __has_include(<onnx/onnx_pb.h>) && __has_include(<google/protobuf/message.h>)

#include <algorithm>
#include <cmath>

#include "sw/base/rng.hpp"
#include "sw/export/export.hpp"
#include "sw/golden/golden.hpp"
#include "tests/import/exported.hpp"
#include "tests/import/onnx_interpreter.hpp"
#include "tests/import/run.hpp"
#include "tests/quantizer/cases.hpp"

namespace lastmile {
namespace {

using testing::Array;
using testing::Exported;
using testing::Interpreter;
using testing::run_on_model;
using Builder = testing::OnnxBuilder;
using Ints = Builder::Ints;

constexpr int kSide = 32, kClasses = 10;

// Largest difference by the outputs' size.
double apart(const std::vector<float>& found, const std::vector<double>& expected) {
  REQUIRE(found.size() == expected.size());
  double worst = 0, size = 1e-6;
  for (std::size_t i = 0; i < found.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(found[i]) - expected[i]));
    size = std::max(size, std::abs(expected[i]));
  }
  return worst / size;
}

void require_usable(const Builder::Bytes& file, std::size_t layers, std::uint64_t seed) {
  const ImportedModel m = parse_onnx(file, "net.onnx");
  CHECK(m.network.layers.size() == layers);
  CHECK(m.network.input == Shape{kSide, kSide, 3});
  const auto x = random_values<float>(m.network, 6, seed);
  const Golden<float> golden(m.network);
  const auto y = golden.trace(m.params, x).back().post;
  Interpreter interpreter(file);
  const std::size_t each = static_cast<std::size_t>(kSide) * kSide;
  Array one{{1, 3, kSide, kSide}, {}};
  for (std::size_t c = 0; c < 3; ++c)
    for (std::size_t p = 0; p < each; ++p) one.values.push_back(static_cast<double>(x[3 * p + c]));
  const std::vector<float> first(y.begin(), y.begin() + kClasses);
  CHECK(apart(first, interpreter.run(one).values) < 1e-4);

  QuantizeOptions o;
  o.weight_type = WeightType::w16;
  const QuantizedNetwork q = quantize(m.network, m.params, calibrate(golden, m.params, x), o);
  std::vector<std::int8_t> codes(x.size());
  quantize_activations(x, q.input, codes);
  const auto out = run_on_model(q, codes);
  std::vector<float> real(out.size());
  dequantize_activations(out, q.layers.back().out, real);
  // Activations of 8 bits through so many layers of random weights.
  CHECK(apart(real, {y.begin(), y.end()}) < 0.3);

  // And out again.
  const ImportedModel again = parse_onnx(encode_onnx(m.network, m.params), "net.onnx");
  CHECK(again.network.layers == m.network.layers);
  CHECK(again.params == m.params);
  CHECK(run_on_model(parse_onnx(encode_onnx_qdq(q), "q.onnx").quantized.value(), codes) == out);
}

TEST_CASE("import: ResNet-18 of opsets 11, 13 and 17") {
  const std::uint64_t seed = test_seed();
  for (const int opset : {11, 13, 17}) {
    CAPTURE(opset);
    // 20 convolutions, 8 sums, 2 pools, a dense layer.
    require_usable(Exported({opset, kSide, kClasses, 8}, sub_seed(seed, 1)).resnet18(opset != 13),
                   31, seed);
  }
}

TEST_CASE("import: MobileNetV2 of opsets 11, 13 and 17") {
  const std::uint64_t seed = test_seed();
  for (const int opset : {11, 13, 17}) {
    CAPTURE(opset);
    // 52 convolutions, 10 sums, a pool, a dense layer.
    require_usable(
        Exported({opset, kSide, kClasses, 8}, sub_seed(seed, 2)).mobilenet_v2(opset != 13), 64,
        seed);
  }
}

}  // namespace
}  // namespace lastmile

#endif
