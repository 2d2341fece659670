// SPDX-License-Identifier: Apache-2.0
// ONNX models of operators on integers (QLinearConv and its kin): the same integers as the same
// model with QuantizeLinear and DequantizeLinear, which is tested against an interpreter.
#include <doctest/doctest.h>

#include "sw/import/model.hpp"

#if __has_include(<onnx/onnx_pb.h>) && __has_include(<google/protobuf/message.h>)

#include <array>
#include <cmath>

#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "sw/export/export.hpp"
#include "tests/import/onnx_builder.hpp"
#include "tests/import/run.hpp"
#include "tests/quantizer/cases.hpp"

namespace lastmile {
namespace {

using Builder = testing::OnnxBuilder;
using Bytes = Builder::Bytes;
using Ints = Builder::Ints;
using onnx::TensorProto;

// A random network in both forms, from the same constants.
class BothForms {
 public:
  explicit BothForms(std::uint64_t seed) : rng_(seed, 3), uint8_(rng_.below(2) == 0) {}

  void build() {
    const std::int64_t c = number(1, 3), f = number(2, 4);
    q_.input({c, 6, 6});
    o_.input({c, 6, 6});
    Tensor x = quantize("x", "x", 1.0);
    if (rng_.below(3) == 0) {  // on the integers of the input
      x = max_pool(x);
      width_ = 5;
    }
    x = conv(x, c, f, 1);
    const Tensor y = conv(x, f, f, rng_.below(2) == 0 ? f : 1);
    x = add(x, y);
    x = pool(x, rng_.below(2) == 0);
    x = flatten(x);
    x = rng_.below(2) == 0 ? gemm(x, f, 4) : matmul(x, f, 4);
    if (rng_.below(2) == 0) x = softmax(x);
    qdq = q_.build(x.real);
    const std::string out = o_.node("DequantizeLinear", {x.codes, x.scale, x.zero})->output(0);
    qoperator = o_.build(out);
  }
  Bytes qdq, qoperator;

 private:
  struct Tensor {
    std::string real;                // of the QDQ form
    std::string codes, scale, zero;  // of the other
    float step = 0;
    int offset = 0;
  };
  std::int64_t number(int low, int high) {
    return low + static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  int type() const { return uint8_ ? TensorProto::UINT8 : TensorProto::INT8; }

  // What the QDQ form puts behind a real tensor; the other form's scale and zero point.
  Tensor steps(const std::string& real, float step, int offset) {
    const std::string s = q_.scalar(step), z = q_.codes({}, {offset}, type());
    const std::string q = q_.node("QuantizeLinear", {real, s, z})->output(0);
    return {q_.node("DequantizeLinear", {q, s, z})->output(0),
            "",
            o_.scalar(step),
            o_.codes({}, {offset}, type()),
            step,
            offset};
  }
  Tensor random_steps(const std::string& real, double reach) {
    const auto step = static_cast<float>(reach * rng_.uniform(0.8, 1.3) / 110);
    return steps(real, step, static_cast<int>(number(-20, 20)) + (uint8_ ? 128 : 0));
  }
  Tensor quantize(const std::string& real, const std::string& other, double reach) {
    Tensor t = random_steps(real, reach);
    t.codes = o_.node("QuantizeLinear", {other, t.scale, t.zero})->output(0);
    return t;
  }
  struct Weights {
    std::string real;
    std::string codes, scale, zero;
    std::vector<float> steps;
  };
  // uint8 weights have 128 as zero.
  Weights weights(const Ints& dims, int axis) {
    std::int64_t n = 1;
    for (const std::int64_t d : dims) n *= d;
    const bool bytes = uint8_ && rng_.below(2) == 0;
    const int kind = bytes ? TensorProto::UINT8 : TensorProto::INT8, middle = bytes ? 128 : 0;
    std::vector<int> codes;
    for (std::int64_t i = 0; i < n; ++i)
      codes.push_back(static_cast<int>(number(-127, 127)) + middle);
    Weights w;
    const auto channels = static_cast<std::size_t>(dims[static_cast<std::size_t>(axis)]);
    w.steps.resize(rng_.below(2) == 0 ? 1 : channels);
    for (float& s : w.steps) s = static_cast<float>(0.02 * rng_.uniform(0.7, 1.3));
    const Ints shape =
        w.steps.size() == 1 ? Ints{} : Ints{static_cast<std::int64_t>(w.steps.size())};
    const std::vector<int> zero(w.steps.size(), middle);
    auto* d = q_.node("DequantizeLinear", {q_.codes(dims, codes, kind), q_.floats(shape, w.steps),
                                           q_.codes(shape, zero, kind)});
    Builder::set(d, "axis", std::int64_t{axis});
    w.real = d->output(0);
    w.codes = o_.codes(dims, codes, kind);
    w.scale = o_.floats(shape, w.steps);
    w.zero = o_.codes(shape, zero, kind);
    return w;
  }
  // Large ones, too: their integers must not be found again from rounded real numbers.
  std::array<std::string, 2> bias(std::int64_t channels, const Weights& w, float from) {
    std::vector<int> codes;
    for (std::int64_t i = 0; i < channels; ++i)
      codes.push_back(static_cast<int>(number(-900, 900)) + (i == 0 ? 123'456'789 : 0));
    std::vector<float> step;
    for (const float s : w.steps) step.push_back(s * from);
    const Ints shape = step.size() == 1 ? Ints{} : Ints{static_cast<std::int64_t>(step.size())};
    auto* d = q_.node("DequantizeLinear",
                      {q_.codes({channels}, codes, TensorProto::INT32), q_.floats(shape, step)});
    Builder::set(d, "axis", std::int64_t{0});
    return {d->output(0), o_.codes({channels}, codes, TensorProto::INT32)};
  }
  onnx::NodeProto* runtime(const std::string& op, const std::vector<std::string>& inputs) {
    auto* n = o_.node(op, inputs);
    n->set_domain("com.microsoft");
    return n;
  }

  Tensor conv(const Tensor& x, std::int64_t c, std::int64_t f, std::int64_t group) {
    const Weights w = weights({f, c / group, 3, 3}, 0);
    const auto b = bias(f, w, x.step);
    const bool biased = rng_.below(3) != 0;
    auto* n =
        q_.node("Conv", biased ? std::vector{x.real, w.real, b[0]} : std::vector{x.real, w.real});
    Tensor y = random_steps(n->output(0), 3.0);
    std::vector<std::string> inputs{x.codes, x.scale, x.zero,  w.codes,
                                    w.scale, w.zero,  y.scale, y.zero};
    if (biased) inputs.push_back(b[1]);
    auto* m = o_.node("QLinearConv", inputs);
    for (auto* k : {n, m}) {
      Builder::set(k, "pads", Ints{1, 1, 1, 1});
      Builder::set(k, "group", group);
    }
    y.codes = m->output(0);
    return y;
  }
  Tensor add(const Tensor& a, const Tensor& b) {
    Tensor y = random_steps(q_.node("Add", {a.real, b.real})->output(0), 3.0);
    y.codes =
        runtime("QLinearAdd", {a.codes, a.scale, a.zero, b.codes, b.scale, b.zero, y.scale, y.zero})
            ->output(0);
    return y;
  }
  Tensor max_pool(const Tensor& x) {
    auto *n = q_.node("MaxPool", {x.real}), *m = o_.node("MaxPool", {x.codes});
    for (auto* k : {n, m}) Builder::set(k, "kernel_shape", Ints{1, 2});
    Tensor y = steps(n->output(0), x.step, x.offset);
    y.codes = m->output(0);
    return y;
  }
  Tensor pool(const Tensor& x, bool global) {
    if (global) {
      Tensor y = random_steps(q_.node("GlobalAveragePool", {x.real})->output(0), 2.0);
      y.codes = runtime("QLinearGlobalAveragePool", {x.codes, x.scale, x.zero, y.scale, y.zero})
                    ->output(0);
      return y;
    }
    auto* n = q_.node("AveragePool", {x.real});
    Tensor y = random_steps(n->output(0), 2.0);
    auto* m = runtime("QLinearAveragePool", {x.codes, x.scale, x.zero, y.scale, y.zero});
    for (auto* k : {n, m}) Builder::set(k, "kernel_shape", Ints{6, width_});
    y.codes = m->output(0);
    return y;
  }
  Tensor flatten(Tensor x) {
    x.real = q_.node("Flatten", {x.real})->output(0);
    x.codes = o_.node("Flatten", {x.codes})->output(0);
    return x;
  }
  Tensor gemm(const Tensor& x, std::int64_t k, std::int64_t units) {
    const Weights w = weights({units, k}, 0);
    const auto b = bias(units, w, x.step);
    auto* n = q_.node("Gemm", {x.real, w.real, b[0]});
    Tensor y = random_steps(n->output(0), 3.0);
    auto* m = runtime("QGemm",
                      {x.codes, x.scale, x.zero, w.codes, w.scale, w.zero, b[1], y.scale, y.zero});
    for (auto* i : {n, m}) Builder::set(i, "transB", std::int64_t{1});
    y.codes = m->output(0);
    return y;
  }
  Tensor matmul(const Tensor& x, std::int64_t k, std::int64_t units) {
    const Weights w = weights({k, units}, 1);
    Tensor y = random_steps(q_.node("MatMul", {x.real, w.real})->output(0), 3.0);
    y.codes = o_.node("QLinearMatMul",
                      {x.codes, x.scale, x.zero, w.codes, w.scale, w.zero, y.scale, y.zero})
                  ->output(0);
    return y;
  }
  Tensor softmax(const Tensor& x) {
    auto* n = q_.node("Softmax", {x.real});
    Tensor y = steps(n->output(0), 1.0F / 256, uint8_ ? 0 : -128);
    auto* m = runtime("QLinearSoftmax", {x.codes, x.scale, x.zero, y.scale, y.zero});
    for (auto* k : {n, m}) Builder::set(k, "axis", std::int64_t{1});
    y.codes = m->output(0);
    return y;
  }

  Rng rng_;
  bool uint8_;
  std::int64_t width_ = 6;
  Builder q_, o_;
};

QuantizedNetwork without_names(QuantizedNetwork q) {
  q.network.name.clear();
  for (Layer& l : q.network.layers) l.name.clear();
  return q;
}

TEST_CASE("import: operators on integers are the integers of their QDQ form") {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t i = 0; i < 100; ++i) {
    CAPTURE(i);
    BothForms file(sub_seed(seed, i));
    file.build();
    const auto qdq = parse_onnx(file.qdq, "m.onnx").quantized;
    const auto qoperator = parse_onnx(file.qoperator, "m.onnx").quantized;
    REQUIRE(qdq.has_value());
    REQUIRE(qoperator.has_value());
    CHECK(without_names(*qdq) == without_names(*qoperator));
    const std::vector<std::int32_t>* bias = nullptr;
    for (const QuantizedLayer& l : qoperator->layers)
      if (!l.bias.empty()) bias = &l.bias;
    if (bias != nullptr) CHECK(std::abs((*bias)[0] - 123'456'789) <= 900);
  }
}

TEST_CASE("import: a model that begins with integers says their scale at its first operator") {
  Builder b;
  b.input({2, 1, 1});
  b.graph().mutable_input(0)->mutable_type()->mutable_tensor_type()->set_elem_type(
      TensorProto::INT8);
  const std::string s = b.scalar(0.25F), z = b.codes({}, {3}, TensorProto::INT8);
  const std::string y =
      b.node("QLinearConv", {"x", s, z, b.codes({2, 2, 1, 1}, {1, -2, 3, 4}, TensorProto::INT8),
                             b.scalar(0.5F), b.codes({}, {0}, TensorProto::INT8), s, z})
          ->output(0);
  const auto q = parse_onnx(b.build(b.node("Flatten", {y})->output(0)), "m.onnx").quantized;
  REQUIRE(q.has_value());
  CHECK(q->input == TensorQuant{0.25F, 3});
  CHECK(q->layers[0].weights == std::vector<std::int16_t>{1, -2, 3, 4});
  CHECK(q->layers[0].weight_scale == std::vector<float>{0.5F, 0.5F});
}

TEST_CASE("import: constants beside integers, and batch norm behind integer weights") {
  Builder b;
  const std::string s = b.scalar(0.25F), z = b.codes({}, {0}, TensorProto::INT8);
  const auto qdq = [&](const std::string& x, const std::string& scale) {
    return b
        .node("DequantizeLinear", {b.node("QuantizeLinear", {x, scale, z})->output(0), scale, z})
        ->output(0);
  };
  const std::string x = qdq(b.input({2, 1, 1}), s);
  const std::string w =
      b.node("DequantizeLinear", {b.codes({2, 2, 1, 1}, {1, -2, 3, 4}, TensorProto::INT8),
                                  b.scalar(0.5F), b.codes({}, {0}, TensorProto::INT8)})
          ->output(0);
  const std::string c = b.node("Conv", {x, w})->output(0);
  auto* norm = b.node("BatchNormalization", {c, b.floats({2}, {2, -0.5F}), b.floats({2}, {1, 0}),
                                             b.floats({2}, {0, 0}), b.floats({2}, {1, 1})});
  Builder::set(norm, "epsilon", 0.0F);
  const std::string y = qdq(norm->output(0), s);
  const std::string sum = b.node("Add", {y, b.floats({2, 1, 1}, {0.75F, -1})})->output(0);
  const auto q =
      parse_onnx(b.build(b.node("Flatten", {qdq(sum, s)})->output(0)), "m.onnx").quantized;
  REQUIRE(q.has_value());
  CHECK(q->layers[0].weights == std::vector<std::int16_t>{1, -2, -3, -4});
  CHECK(q->layers[0].weight_scale == std::vector<float>{1.0F, 0.25F});
  CHECK(q->layers[0].bias == std::vector<std::int32_t>{4, 0});
  // (2, 1): (2 - 2) / 2 * 2 + 1 = 1 and -(6 + 4) / 4 = -2.5, then 1.75 and -3.5.
  CHECK(testing::run_on_model(*q, {8, 4}) == std::vector<std::int8_t>{7, -14});
}

TEST_CASE("import: what operators on integers cannot have is listed at once") {
  Builder b;
  b.input({2, 4, 4});
  const std::string s = b.scalar(0.1F), z = b.codes({}, {0}, TensorProto::INT8);
  const std::string q = b.node("QuantizeLinear", {"x", s, z})->output(0);
  const std::string w = b.codes({2, 2, 1, 1}, {1, 2, 3, 4}, TensorProto::INT8);
  const std::string other = b.scalar(0.3F), off = b.codes({}, {5}, TensorProto::INT8);
  const std::string a = b.node("QLinearConv", {q, other, off, w, s, z, s, z})->output(0);
  const std::string c = b.node("ConvInteger", {q, w})->output(0);
  const std::string d = b.node("MatMulInteger", {q, w})->output(0);
  auto* pool = b.node("QLinearAveragePool", {q, s, z, s, z});
  pool->set_domain("com.microsoft");
  Builder::set(pool, "channels_last", std::int64_t{1});
  auto* sigmoid = b.node("QLinearSigmoid", {q, s, z, s, z});
  sigmoid->set_domain("com.microsoft");
  const std::string y = b.node("Concat", {a, c, d, pool->output(0), sigmoid->output(0)})->output(0);
  CHECK(mentions(
      testing::error_of([&] { static_cast<void>(parse_onnx(b.build(y), "m.onnx")); }),
      {"m.onnx: 5 things", "QLinearConv: it reads what no QuantizeLinear of its scale",
       "ConvInteger: the model is quantized dynamically", "MatMulInteger: the model is",
       "expected scales in the file: QLinearConv, QLinearMatMul",
       "QLinearAveragePool: channels_last is 1, expected 0",
       "QLinearSigmoid: the operator is not supported", "of the domain com.microsoft QGemm"}));
}

TEST_CASE("import: no bent file of integers does harm, and what is read can be written") {
  const std::uint64_t seed = test_seed();
  BothForms file(seed);
  file.build();
  Rng rng(seed, 6);
  int accepted = 0;
  for (int i = 0; i < 3000; ++i) {
    Bytes bent = i % 2 == 0 ? file.qdq : file.qoperator;
    for (std::uint64_t k = rng.below(3) + 1; k > 0; --k)
      bent[rng.below(bent.size())] = static_cast<std::uint8_t>(rng.below(256));
    try {
      const ImportedModel m = parse_onnx(bent, "m.onnx");
      ++accepted;
      if (!m.quantized) continue;
      const QuantizedNetwork again = *parse_onnx(encode_onnx_qdq(*m.quantized), "m.onnx").quantized;
      CHECK(again.layers == m.quantized->layers);
    } catch (const Error&) {
    }
  }
  CHECK(accepted > 100);
}

}  // namespace
}  // namespace lastmile

#endif
