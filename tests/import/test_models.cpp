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
#include "tests/import/onnx_builder.hpp"
#include "tests/import/onnx_interpreter.hpp"
#include "tests/import/run.hpp"
#include "tests/quantizer/cases.hpp"

namespace lastmile {
namespace {

using testing::Array;
using testing::Interpreter;
using testing::run_on_model;
using Builder = testing::OnnxBuilder;
using Ints = Builder::Ints;

constexpr int kSide = 32, kClasses = 10;

class Exported {
 public:
  Exported(int opset, std::uint64_t seed)
      : rng_(seed, 8), b_(opset, opset > 15 ? 8 : 7), opset_(opset) {}

  // Batch norm beside its convolution, as of a network that was exported while it trained; or
  // folded.
  Builder::Bytes resnet18(bool norms) {
    norms_ = norms;
    channels_ = 3;
    std::string x = b_.input({3, kSide, kSide});
    x = relu(conv(x, 8, 7, 2));
    auto* pool = b_.node("MaxPool", {x});
    Builder::set(pool, "kernel_shape", Ints{3, 3});
    Builder::set(pool, "strides", Ints{2, 2});
    Builder::set(pool, "pads", Ints{1, 1, 1, 1});
    if (opset_ > 9) Builder::set(pool, "ceil_mode", std::int64_t{0});
    x = pool->output(0);
    for (const int width : {8, 16, 32, 64}) {
      for (int block = 0; block < 2; ++block) {
        const int stride = block == 0 && width > 8 ? 2 : 1, before = channels_;
        std::string y = relu(conv(x, width, 3, stride));
        y = conv(y, width, 3, 1);
        if (stride != 1 || before != width) {
          channels_ = before;
          x = conv(x, width, 1, stride);
        }
        x = relu(b_.node("Add", {y, x})->output(0));
      }
    }
    return b_.build(head(x));
  }

  Builder::Bytes mobilenet_v2(bool norms) {
    norms_ = norms;
    channels_ = 3;
    std::string x = relu6(conv(b_.input({3, kSide, kSide}), 8, 3, 2));
    struct Stage {
      int expand, width, count, stride;
    };
    for (const Stage& s : {Stage{1, 4, 1, 1},
                           {6, 6, 2, 2},
                           {6, 8, 3, 2},
                           {6, 16, 4, 2},
                           {6, 24, 3, 1},
                           {6, 40, 3, 2},
                           {6, 80, 1, 1}}) {
      for (int i = 0; i < s.count; ++i) {
        const int before = channels_, hidden = before * s.expand, stride = i == 0 ? s.stride : 1;
        std::string y = x;
        if (s.expand != 1) y = relu6(conv(y, hidden, 1, 1));
        y = relu6(conv(y, hidden, 3, stride, hidden));
        y = conv(y, s.width, 1, 1);
        x = stride == 1 && before == s.width ? b_.node("Add", {x, y})->output(0) : y;
      }
    }
    return b_.build(head(relu6(conv(x, 160, 1, 1))));
  }

 private:
  std::vector<float> randoms(std::int64_t n, double low, double high) {
    std::vector<float> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(static_cast<float>(rng_.uniform(low, high)));
    return v;
  }
  std::string conv(const std::string& x, int filters, int kernel, int stride, int group = 1) {
    const std::int64_t each = channels_ / group;
    const double reach = std::sqrt(6.0 / static_cast<double>(each * kernel * kernel));
    const Ints shape{filters, each, kernel, kernel};
    std::vector<std::string> inputs{
        x, b_.floats(shape, randoms(filters * each * kernel * kernel, -reach, reach))};
    if (!norms_) inputs.push_back(b_.floats({filters}, randoms(filters, -0.1, 0.1)));
    auto* n = b_.node("Conv", inputs);
    const std::int64_t pad = kernel / 2;
    Builder::set(n, "dilations", Ints{1, 1});
    Builder::set(n, "group", std::int64_t{group});
    Builder::set(n, "kernel_shape", Ints{kernel, kernel});
    Builder::set(n, "pads", Ints{pad, pad, pad, pad});
    Builder::set(n, "strides", Ints{stride, stride});
    channels_ = filters;
    if (!norms_) return n->output(0);
    const std::string y = n->output(0);
    const Ints per{filters};
    auto* norm = b_.node(
        "BatchNormalization",
        {y, b_.floats(per, randoms(filters, 0.7, 1.2)), b_.floats(per, randoms(filters, -0.2, 0.2)),
         b_.floats(per, randoms(filters, -0.2, 0.2)), b_.floats(per, randoms(filters, 0.7, 1.3))});
    Builder::set(norm, "epsilon", 1e-5F);
    Builder::set(norm, "momentum", 0.9F);
    if (opset_ >= 14) Builder::set(norm, "training_mode", std::int64_t{0});
    return norm->output(0);
  }
  std::string relu(const std::string& x) { return b_.node("Relu", {x})->output(0); }
  // Bounds as nodes of their own.
  std::string bound(float v) {
    auto* n = b_.node("Constant", {});
    auto* a = n->add_attribute();
    a->set_name("value");
    a->set_type(onnx::AttributeProto::TENSOR);
    a->mutable_t()->set_data_type(onnx::TensorProto::FLOAT);
    a->mutable_t()->set_raw_data(&v, sizeof v);
    return n->output(0);
  }
  std::string relu6(const std::string& x) {
    return b_.node("Clip", {x, bound(0), bound(6)})->output(0);
  }
  std::string head(std::string x) {
    x = b_.node("GlobalAveragePool", {x})->output(0);
    auto* flat = b_.node("Flatten", {x});
    Builder::set(flat, "axis", std::int64_t{1});
    x = b_.node("Identity", {flat->output(0)})->output(0);  // a Dropout that no longer drops
    const double reach = std::sqrt(6.0 / channels_);
    auto* gemm = b_.node(
        "Gemm", {x, b_.floats({kClasses, channels_}, randoms(kClasses * channels_, -reach, reach)),
                 b_.floats({kClasses}, randoms(kClasses, -0.1, 0.1))});
    Builder::set(gemm, "alpha", 1.0F);
    Builder::set(gemm, "beta", 1.0F);
    Builder::set(gemm, "transB", std::int64_t{1});
    return gemm->output(0);
  }

  Rng rng_;
  Builder b_;
  int opset_;
  int channels_ = 3;
  bool norms_ = false;
};

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
    require_usable(Exported(opset, sub_seed(seed, 1)).resnet18(opset != 13), 31, seed);
  }
}

TEST_CASE("import: MobileNetV2 of opsets 11, 13 and 17") {
  const std::uint64_t seed = test_seed();
  for (const int opset : {11, 13, 17}) {
    CAPTURE(opset);
    // 52 convolutions, 10 sums, a pool, a dense layer.
    require_usable(Exported(opset, sub_seed(seed, 2)).mobilenet_v2(opset != 13), 64, seed);
  }
}

}  // namespace
}  // namespace lastmile

#endif
