// SPDX-License-Identifier: Apache-2.0
// ONNX in: the imported network computes what the nodes say, by a plain interpreter that keeps
// ONNX's own layout (channels first); what is wrong with a file is said at once.
#include <doctest/doctest.h>

#include <iostream>

#include "sw/import/model.hpp"

#if !__has_include(<onnx/onnx_pb.h>) || !__has_include(<google/protobuf/message.h>)

TEST_CASE("import: ONNX models") {
  std::cout << "SKIPPED: built without ONNX (libonnx-dev, libprotobuf-dev)\n";
}

#else

#include <array>
#include <cmath>
#include <fstream>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "sw/golden/golden.hpp"
#include "sw/import/onnx_file.hpp"
#include "tests/golden/cases.hpp"
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
using Bytes = testing::OnnxBuilder::Bytes;
using Ints = testing::OnnxBuilder::Ints;

struct TempFile {
  explicit TempFile(const Bytes& bytes) : path(dir / "m.onnx") { write_file_atomic(path, bytes); }
  testing::TempDir dir;
  std::filesystem::path path;
};

// A random network of what the importer supports; see `dims` for the shape that it has reached.
class RandomFile {
 public:
  explicit RandomFile(std::uint64_t seed)
      : rng_(seed, 4), b_(std::array{11, 13, 17}[rng_.below(3)]) {}

  Bytes build() {
    line_ = rng_.below(5) == 0;
    dims = {1, number(1, 4), number(5, 9)};
    if (!line_) dims.push_back(number(5, 9));
    last_ = !line_ && rng_.below(4) == 0;  // the input's channels last, as TensorFlow exports it
    input = {dims.begin() + 1, dims.end()};
    if (last_) std::rotate(input.begin(), input.begin() + 1, input.end());
    std::string x = b_.input(input);
    if (last_) {
      auto* n = b_.node("Transpose", {x});
      Builder::set(n, "perm", Ints{0, 3, 1, 2});
      x = n->output(0);
    }
    const std::int64_t layers = number(1, 6);
    for (std::int64_t i = 0; i < layers; ++i) x = layer(x);
    x = head(x);
    return b_.build(x);
  }
  Ints input;  // without the batch, as the file has it
  [[nodiscard]] bool channels_last() const { return last_; }

 private:
  std::int64_t number(std::int64_t low, std::int64_t high) {
    return low + static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  std::vector<float> randoms(std::int64_t n, double low = -1, double high = 1) {
    std::vector<float> v;
    for (std::int64_t i = 0; i < n; ++i) v.push_back(static_cast<float>(rng_.uniform(low, high)));
    return v;
  }
  std::string floats(const Ints& shape, double low = -1, double high = 1) {
    std::int64_t n = 1;
    for (const std::int64_t d : shape) n *= d;
    return b_.floats(shape, randoms(n, low, high), rng_.below(2) == 0);
  }

  // Window attributes of a node; dims become those of its output.
  void window(onnx::NodeProto* n, const Ints& kernel, bool conv, bool average) {
    Ints stride, pads, after, dilation;
    const bool automatic = rng_.below(4) == 0;
    const bool lower = rng_.below(2) == 0;
    const bool ceil = !conv && !automatic && rng_.below(2) == 0;
    for (std::size_t d = 0; d < kernel.size(); ++d) {
      stride.push_back(number(1, 2));
      dilation.push_back(conv && number(0, 3) == 0 && (kernel[d] - 1) * 2 < dims[d + 2] ? 2 : 1);
      const std::int64_t reach = (kernel[d] - 1) * dilation[d] + 1;
      pads.push_back(number(0, std::min<std::int64_t>(1, kernel[d] - 1)));
      after.push_back(number(0, std::min<std::int64_t>(1, kernel[d] - 1)));
      std::int64_t& size = dims[d + 2];
      if (automatic) {
        size = (size + stride[d] - 1) / stride[d];
      } else {
        const std::int64_t room = size + pads[d] + after[d] - reach;
        std::int64_t out = room / stride[d] + 1;
        if (ceil && room % stride[d] != 0 && out * stride[d] < size + pads[d]) ++out;
        size = out;
      }
    }
    Builder::set(n, "strides", stride);
    if (conv) Builder::set(n, "dilations", dilation);
    if (automatic) {
      Builder::set(n, "auto_pad", std::string(lower ? "SAME_LOWER" : "SAME_UPPER"));
    } else {
      pads.insert(pads.end(), after.begin(), after.end());
      Builder::set(n, "pads", pads);
    }
    if (ceil) Builder::set(n, "ceil_mode", std::int64_t{1});
    if (average && !ceil && !automatic && rng_.below(2) == 0)
      Builder::set(n, "count_include_pad", std::int64_t{1});
  }

  std::string conv(const std::string& from, bool keep) {
    std::string x = from;
    const std::int64_t c = dims[1];
    const bool depthwise = rng_.below(3) == 0;
    std::int64_t group = depthwise ? c : c % 2 == 0 && rng_.below(3) == 0 ? 2 : 1;
    const std::int64_t filters = keep ? c : group * number(1, 3);
    Ints kernel;
    for (std::size_t d = 2; d < dims.size(); ++d)
      kernel.push_back(keep ? 3 : number(1, std::min<std::int64_t>(3, dims[d])));
    if (!keep && !line_ && rng_.below(4) == 0 && kernel == Ints{3, 3} &&
        b_.model().opset_import(0).version() >= 11) {
      const Ints p{0, 0, number(0, 1), number(0, 1), 0, 0, number(0, 1), number(0, 1)};
      auto* n = b_.node("Pad", {x, b_.integers(p)});
      dims[2] += p[2] + p[6], dims[3] += p[3] + p[7];
      x = n->output(0);
    }
    Ints shape{filters, c / group};
    shape.insert(shape.end(), kernel.begin(), kernel.end());
    std::vector<std::string> inputs{x, floats(shape)};
    if (rng_.below(2) == 0) inputs.push_back(floats({filters}));
    auto* n = b_.node("Conv", inputs);
    Builder::set(n, "group", group);
    if (keep)
      Builder::set(n, "pads", Ints(2 * kernel.size(), 1));
    else
      window(n, kernel, true, false);
    dims[1] = filters;
    return n->output(0);
  }

  std::string layer(const std::string& x) {
    switch (rng_.below(8)) {
      case 0:
      case 1: {
        const std::string y = conv(x, false);
        return rng_.below(2) == 0 ? y : b_.node("Relu", {y})->output(0);
      }
      case 2: {
        auto* n = b_.node("BatchNormalization",
                          {rng_.below(2) == 0 ? x : conv(x, false), "", "", "", ""});
        for (int i = 1; i < 5; ++i) n->set_input(i, floats({dims[1]}, i == 4 ? 0.1 : -1, 1));
        Builder::set(n, "epsilon", 1e-3F);
        return n->output(0);
      }
      case 3: {
        const bool average = rng_.below(2) == 0;
        Ints kernel;
        for (std::size_t d = 2; d < dims.size(); ++d)
          kernel.push_back(number(1, std::min<std::int64_t>(3, dims[d])));
        auto* n = b_.node(average ? "AveragePool" : "MaxPool", {x});
        Builder::set(n, "kernel_shape", kernel);
        window(n, kernel, false, average);
        return n->output(0);
      }
      case 4: {
        const std::string y = conv(x, true);
        return b_.node("Add", rng_.below(2) == 0 ? std::vector{x, y} : std::vector{y, x})
            ->output(0);
      }
      case 5:
        return b_.node("Relu", {x})->output(0);
      case 6: {
        Ints shape(dims.size() - 1, 1);
        shape[0] = dims[1];
        const std::string op = std::array{"Mul", "Add", "Sub", "Div"}[rng_.below(4)];
        return b_.node(op, {x, rng_.below(3) == 0 ? b_.scalar(0.7F) : floats(shape, 0.5, 2)})
            ->output(0);
      }
      default: {
        const std::string y = b_.node("Clip", {x, b_.scalar(0), b_.scalar(6)})->output(0);
        return b_.node("Identity", {y})->output(0);
      }
    }
  }

  std::string head(std::string x) {
    if (!line_ && rng_.below(3) == 0) {
      x = b_.node("GlobalAveragePool", {x})->output(0);
      dims = {1, dims[1], 1, 1};
    }
    if (rng_.below(3) == 0) {  // a dense layer at every position, channels last
      Ints perm{0};
      for (std::size_t d = 2; d < dims.size(); ++d) perm.push_back(static_cast<std::int64_t>(d));
      perm.push_back(1);
      auto* n = b_.node("Transpose", {x});
      Builder::set(n, "perm", perm);
      std::rotate(dims.begin() + 1, dims.begin() + 2, dims.end());
      const std::int64_t units = number(1, 4);
      x = b_.node("MatMul", {n->output(0), floats({dims.back(), units})})->output(0);
      x = b_.node("Add", {x, floats({units})})->output(0);
      dims.back() = units;
    }
    std::int64_t depth = 1;
    for (const std::int64_t d : dims) depth *= d;
    x = rng_.below(2) == 0
            ? b_.node("Flatten", {x})->output(0)
            : b_.node("Reshape",
                      {x, b_.integers(rng_.below(2) == 0 ? Ints{-1, depth} : Ints{1, -1})})
                  ->output(0);
    const std::int64_t units = number(2, 6);
    if (rng_.below(2) == 0) {
      auto* n = b_.node("Gemm", {x, floats({units, depth}), floats({units})});
      Builder::set(n, "transB", std::int64_t{1});
      x = n->output(0);
    } else {
      x = b_.node("MatMul", {x, floats({depth, units})})->output(0);
      x = b_.node("Add", {x, floats({units})})->output(0);
    }
    return rng_.below(3) == 0 ? b_.node("Softmax", {x})->output(0) : x;
  }

  Rng rng_;
  Builder b_;
  Ints dims;
  bool line_ = false, last_ = false;
};

std::string refusal(const Bytes& file) {
  return error_of([&] { static_cast<void>(parse_onnx(file, "m.onnx")); });
}

// The largest difference of the imported network's outputs and the interpreter's, over the outputs'
// size. Softmax is compared as probabilities.
double difference(const Bytes& file, const Ints& input, bool channels_last, std::uint64_t seed) {
  const ImportedModel m = parse_onnx(file, "random.onnx");
  Rng rng(seed, 5);
  Array x;
  x.dims = input;
  x.dims.insert(x.dims.begin(), 1);
  for (std::int64_t i = 0; i < x.elements(); ++i)
    x.values.push_back(static_cast<double>(static_cast<float>(rng.uniform(-1, 1))));
  const Array expected = Interpreter(file).run(x);
  // The network's input is rows, columns, channels.
  std::vector<float> hwc(x.values.size());
  const Shape s = m.network.input;
  for (int h = 0; h < s.h; ++h)
    for (int w = 0; w < s.w; ++w)
      for (int c = 0; c < s.c; ++c) {
        const auto to = static_cast<std::size_t>((h * s.w + w) * s.c + c);
        const auto from = channels_last ? to : static_cast<std::size_t>((c * s.h + h) * s.w + w);
        hwc[to] = static_cast<float>(x.values[from]);
      }
  const Golden<float> golden(m.network);
  const auto trace = golden.trace(m.params, hwc);
  const std::vector<float>& y = trace.back().post;
  REQUIRE(y.size() == expected.values.size());
  double worst = 0, size = 1e-3;
  for (std::size_t i = 0; i < y.size(); ++i) {
    worst = std::max(worst, std::abs(static_cast<double>(y[i]) - expected.values[i]));
    size = std::max(size, std::abs(expected.values[i]));
  }
  return worst / size;
}

TEST_CASE("import: random ONNX files compute what their nodes say") {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t i = 0; i < 300; ++i) {
    CAPTURE(i);
    RandomFile file(sub_seed(seed, i));
    const Bytes bytes = file.build();
    CHECK(difference(bytes, file.input, file.channels_last(), i) < 1e-4);
  }
}

// A network as quantizers write it: QuantizeLinear and DequantizeLinear around every operator.
class QdqFile {
 public:
  explicit QdqFile(std::uint64_t seed) : rng_(seed, 9) {}
  Bytes build() {
    uint8_ = rng_.below(2) == 0;
    const std::int64_t c = number(1, 3);
    input = {c, 6, 6};
    std::string x = quantized(b_.input(input), 1.0);
    const std::int64_t f = number(2, 5);
    x = quantized(b_.node("Relu", {conv(x, c, f, 2.0)})->output(0), 2.0);
    const std::string y = quantized(conv(x, f, f, 2.0), 2.0);
    x = quantized(b_.node("Add", {x, y})->output(0), 3.0);
    if (rng_.below(2) == 0) {  // a rectifier that is not part of the layer before it
      x = quantized(b_.node("Relu", {x})->output(0), 2.5);
    }
    auto* p = b_.node("MaxPool", {x});
    Builder::set(p, "kernel_shape", Ints{2, 2});
    Builder::set(p, "strides", Ints{2, 2});
    x = same(p->output(0));
    x = quantized(b_.node("GlobalAveragePool", {x})->output(0), 1.5);
    x = b_.node("Flatten", {x})->output(0);
    const std::string w = weights({4, f}, 0, f, 2.0);
    auto* gemm = b_.node("Gemm", {x, w, bias(4, w)});
    Builder::set(gemm, "transB", std::int64_t{1});
    return b_.build(quantized(gemm->output(0), 2.0));
  }
  Ints input;
  float out_scale = 0;

 private:
  std::int64_t number(int low, int high) {
    return low + static_cast<std::int64_t>(rng_.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  int type() const { return uint8_ ? onnx::TensorProto::UINT8 : onnx::TensorProto::INT8; }
  // QuantizeLinear and DequantizeLinear of values up to `reach`.
  std::string quantized(const std::string& x, double reach) {
    out_scale = in_scale_ = static_cast<float>(reach * rng_.uniform(0.8, 1.3) / 110);
    zero_ = static_cast<int>(number(-20, 20)) + (uint8_ ? 128 : 0);
    return same(x);
  }
  std::string same(const std::string& x) {
    const std::string s = b_.scalar(in_scale_), z = b_.codes({}, {zero_}, type());
    const std::string q = b_.node("QuantizeLinear", {x, s, z})->output(0);
    return b_.node("DequantizeLinear", {q, s, z})->output(0);
  }
  std::string weights(const Ints& dims, int axis, std::int64_t k, double reach) {
    std::vector<int> codes;
    std::int64_t n = 1;
    for (const std::int64_t d : dims) n *= d;
    for (std::int64_t i = 0; i < n; ++i) codes.push_back(static_cast<int>(number(-127, 127)));
    const auto channels = dims[static_cast<std::size_t>(axis)];
    std::vector<float> scale(rng_.below(2) == 0 ? 1 : static_cast<std::size_t>(channels));
    for (float& s : scale)
      s = static_cast<float>(reach / (60 * std::sqrt(static_cast<double>(k))) *
                             rng_.uniform(0.7, 1.3));
    const Ints shape = scale.size() == 1 ? Ints{} : Ints{channels};
    weight_scale_ = scale;
    auto* d =
        b_.node("DequantizeLinear",
                {b_.codes(dims, codes, onnx::TensorProto::INT8), b_.floats(shape, scale),
                 b_.codes(shape, std::vector<int>(scale.size(), 0), onnx::TensorProto::INT8)});
    Builder::set(d, "axis", std::int64_t{axis});
    return d->output(0);
  }
  std::string bias(std::int64_t channels, const std::string&) {
    std::vector<int> codes;
    std::vector<float> scale;
    for (const float s : weight_scale_) scale.push_back(s * in_scale_);
    for (std::int64_t i = 0; i < channels; ++i)
      codes.push_back(static_cast<int>(number(-900, 900)));
    const Ints shape = scale.size() == 1 ? Ints{} : Ints{channels};
    auto* d =
        b_.node("DequantizeLinear",
                {b_.codes({channels}, codes, onnx::TensorProto::INT32), b_.floats(shape, scale),
                 b_.codes(shape, std::vector<int>(scale.size(), 0), onnx::TensorProto::INT32)});
    Builder::set(d, "axis", std::int64_t{0});
    return d->output(0);
  }
  std::string conv(const std::string& x, std::int64_t c, std::int64_t f, double reach) {
    const std::string w = weights({f, c, 3, 3}, 0, 9 * c, reach);
    auto* n = b_.node("Conv", {x, w, bias(f, w)});
    Builder::set(n, "pads", Ints{1, 1, 1, 1});
    return n->output(0);
  }

  Rng rng_;
  Builder b_;
  bool uint8_ = false;
  float in_scale_ = 0;
  int zero_ = 0;
  std::vector<float> weight_scale_;
};

TEST_CASE("import: QDQ files keep their scales and give the interpreter's steps") {
  const std::uint64_t seed = test_seed();
  // A step of an inner tensor, where two roundings differ, can be a few of the output.
  int outputs = 0, equal = 0, near = 0;
  for (std::uint64_t i = 0; i < 60; ++i) {
    CAPTURE(i);
    QdqFile file(sub_seed(seed, i));
    const Bytes bytes = file.build();
    const ImportedModel m = parse_onnx(bytes, "qdq.onnx");
    REQUIRE(m.quantized.has_value());
    const QuantizedNetwork& q = *m.quantized;
    CHECK(q.layers.back().out.scale == file.out_scale);
    CHECK_FALSE(q.logits.requant.empty());
    Interpreter interpreter(bytes);
    Rng rng(seed, i);
    for (int e = 0; e < 8; ++e) {
      Array x{file.input, {}};
      x.dims.insert(x.dims.begin(), 1);
      for (std::int64_t k = 0; k < x.elements(); ++k)
        x.values.push_back(static_cast<double>(static_cast<float>(rng.uniform(-1, 1))));
      const Shape s = m.network.input;
      std::vector<float> hwc;
      for (int h = 0; h < s.h; ++h)
        for (int w = 0; w < s.w; ++w)
          for (int c = 0; c < s.c; ++c)
            hwc.push_back(
                static_cast<float>(x.values[static_cast<std::size_t>((c * s.h + h) * s.w + w)]));
      std::vector<std::int8_t> codes(hwc.size());
      quantize_activations(hwc, q.input, codes);
      const std::vector<std::int8_t> y = run_on_model(q, codes);
      const Array expected = interpreter.run(x);
      REQUIRE(y.size() == expected.values.size());
      for (std::size_t k = 0; k < y.size(); ++k) {
        const double code = expected.values[k] / static_cast<double>(q.layers.back().out.scale) +
                            q.layers.back().out.zero_point;
        ++outputs;
        equal += std::abs(code - y[k]) < 0.01;
        near += std::abs(code - y[k]) < 3.01;
      }
    }
  }
  CHECK(near >= outputs * 0.999);
  CHECK(equal >= outputs * 0.9);
}

TEST_CASE("import: what a QDQ file lacks is listed by layer") {
  Builder b;
  const std::string s = b.scalar(0.1F), z = b.codes({}, {0}, onnx::TensorProto::INT8);
  const auto qdq = [&](const std::string& x) {
    return b.node("DequantizeLinear", {b.node("QuantizeLinear", {x, s, z})->output(0), s, z})
        ->output(0);
  };
  const std::string x = qdq(b.input({2, 4, 4}));
  const std::string c = b.node("Conv", {x, b.floats({2, 2, 1, 1}, {1, 2, 3, 4})})->output(0);
  const std::string codes = b.codes({2, 2, 4, 4}, std::vector<int>(64, 3), onnx::TensorProto::INT8);
  const std::string w = b.node("DequantizeLinear", {codes, s, z})->output(0);
  const std::string d = b.node("Conv", {qdq(c), w})->output(0);
  CHECK(mentions(refusal(b.build(b.node("Flatten", {d})->output(0))),
                 {"m.onnx: 2 things", "its weights are floating point, expected a DequantizeLinear",
                  "its output is floating point, expected a QuantizeLinear"}));
}

TEST_CASE("import: the shape of a Reshape computed as old PyTorch exports do") {
  Builder b(9);
  const std::string x = b.input({2, 3, 4});
  const std::string shape = b.node("Shape", {x})->output(0);
  auto* zero = b.node("Constant", {});
  auto* value = zero->add_attribute();
  value->set_name("value");
  value->mutable_t()->set_data_type(onnx::TensorProto::INT64);
  value->mutable_t()->add_int64_data(0);
  auto* gather = b.node("Gather", {shape, zero->output(0)});
  auto* first = b.node("Unsqueeze", {gather->output(0)});
  Builder::set(first, "axes", Ints{0});
  const std::string target = b.node("Concat", {first->output(0), b.integers({-1})})->output(0);
  const std::string flat = b.node("Reshape", {x, target})->output(0);
  std::vector<float> w(2 * 24);
  for (std::size_t i = 0; i < w.size(); ++i) w[i] = static_cast<float>(i);
  auto* gemm = b.node("Gemm", {flat, b.floats({2, 24}, w)});
  Builder::set(gemm, "transB", std::int64_t{1});
  const ImportedModel m = parse_onnx(b.build(gemm->output(0)), "m.onnx");
  REQUIRE(m.network.layers.size() == 1);
  CHECK(m.network.input == Shape{3, 4, 2});
  // Weight (row 1, column 2, channel 1) of unit 1 was at channel 1, row 1, column 2.
  CHECK(m.params.layers[0].weights[24 + (1 * 4 + 2) * 2 + 1] == 24 + (1 * 3 + 1) * 4 + 2);
}

TEST_CASE("import: weights of half precision, raw and typed") {
  for (const bool raw : {false, true}) {
    for (const bool brain : {false, true}) {
      Builder b;
      const std::string x = b.input({3});
      const std::string y = b.node("MatMul", {x, b.floats({3, 2}, {})})->output(0);
      auto* t = b.graph().mutable_initializer(0);
      t->clear_raw_data();
      t->set_data_type(brain ? onnx::TensorProto::BFLOAT16 : onnx::TensorProto::FLOAT16);
      // 1.5, -2 and 0.25.
      const std::vector<std::uint16_t> bits =
          brain ? std::vector<std::uint16_t>{0x3fc0, 0, 0xc000, 0, 0x3e80, 0}
                : std::vector<std::uint16_t>{0x3e00, 0, 0xc000, 0, 0x3400, 0};
      if (raw)
        t->set_raw_data(bits.data(), bits.size() * 2);
      else
        for (const std::uint16_t v : bits) t->add_int32_data(v);
      CHECK(parse_onnx(b.build(y), "m.onnx").params.layers[0].weights ==
            std::vector<float>{1.5F, -2, 0.25F, 0, 0, 0});
    }
  }
}

TEST_CASE("import: a flat input that is reshaped to a plane becomes that plane") {
  Builder b;
  const std::string x = b.input({12});
  const std::string plane = b.node("Reshape", {x, b.integers({-1, 1, 3, 4})})->output(0);
  const std::string c =
      b.node("Conv", {plane, b.floats({2, 1, 3, 4}, std::vector<float>(24, 1))})->output(0);
  const ImportedModel m = parse_onnx(b.build(b.node("Flatten", {c})->output(0)), "m.onnx");
  CHECK(m.network.input == Shape{3, 4, 1});
  CHECK(m.network.classes == 2);
}

TEST_CASE("import: what is unsupported in an ONNX file is listed at once") {
  Builder b;
  const std::string x = b.input({2, 4, 4});
  const std::string a = b.node("Sigmoid", {x})->output(0);
  auto* p = b.node("MaxPool", {x});
  Builder::set(p, "kernel_shape", Ints{2, 2});
  Builder::set(p, "dilations", Ints{2, 2});
  const std::string s = b.node("Clip", {x, b.scalar(-1), b.scalar(1)})->output(0);
  const std::string y = b.node("Concat", {a, p->output(0), s})->output(0);
  CHECK(mentions(refusal(b.build(y)),
                 {"m.onnx: 3 things are not supported",
                  "node 0 \"Sigmoid0\", Sigmoid: the operator is not supported",
                  "supported are Add, AveragePool", "MaxPool: dilations has 2, expected 1",
                  "min is -1 and max 1, expected 0 and 6, or 0 and none"}));
}

TEST_CASE("import: errors of an ONNX file name what is wrong") {
  CHECK(mentions(refusal({}), {"m.onnx", "it has no graph"}));
  CHECK(mentions(refusal({1, 2, 3, 255}), {"cannot be parsed"}));
  const auto dense = [](Builder& b, const Ints& input) {
    const std::string x = b.input(input);
    return b.node("MatMul", {x, b.floats({3, 2}, std::vector<float>(6, 1))})->output(0);
  };
  {
    Builder b(22);
    CHECK(mentions(refusal(b.build(dense(b, {3}))), {"opset is 22, expected 7 to 21"}));
  }
  {
    Builder b(13, 2);
    CHECK(mentions(refusal(b.build(dense(b, {3}))), {"IR version is 2, expected 3 to 10"}));
  }
  {  // a cycle
    Builder b;
    const std::string x = b.input({3});
    b.node("Add", {x, "v1"});
    b.node("Relu", {"v0"});
    CHECK(mentions(refusal(b.build("v1")), {"computed from itself"}));
  }
  {  // a name that is given twice
    Builder b;
    const std::string y = dense(b, {3});
    b.node("Relu", {y})->set_output(0, y);
    CHECK(mentions(refusal(b.build(y)), {"two things are called \"" + y + "\""}));
  }
  {  // a name that nothing gives
    Builder b;
    b.input({3});
    CHECK(mentions(refusal(b.build(b.node("Relu", {"nowhere"})->output(0))),
                   {"it reads \"nowhere\", which nothing computes"}));
  }
  for (const std::int64_t bad : {std::int64_t{-3}, std::int64_t{1} << 40}) {
    Builder b;
    const std::string y = dense(b, {3});
    b.graph().mutable_initializer(0)->set_dims(0, bad);
    CHECK(mentions(refusal(b.build(y)), {"dimension 0 is " + std::to_string(bad)}));
  }
  {  // data that do not fill their shape
    Builder b;
    const std::string y = dense(b, {3});
    b.graph().mutable_initializer(0)->set_dims(1, 3);
    CHECK(mentions(refusal(b.build(y)), {"24 bytes, expected 36"}));
  }
  {
    Builder b;
    CHECK(mentions(refusal(b.build(dense(b, {4}))), {"read 3 and give 2, expected 4"}));
  }
}

TEST_CASE("import: external data come from the model's folder and from nowhere else") {
  testing::TempDir dir;
  std::filesystem::create_directory(dir / "model");
  const std::vector<float> w{9, 1, 2, 3, 4, 5, 6};
  write_file_atomic(dir / "model/w.bin", bytes_of(std::span(w)));
  write_file_atomic(dir / "secret.bin", bytes_of(std::span(w)));
  std::filesystem::create_symlink(dir / "secret.bin", dir / "model/link.bin");
  const auto load = [&](const std::string& location, const std::string& length = "24") {
    Builder b;
    const std::string x = b.input({3});
    const std::string y = b.node("MatMul", {x, b.floats({3, 2}, {})})->output(0);
    auto* t = b.graph().mutable_initializer(0);
    t->clear_raw_data();
    t->set_data_location(onnx::TensorProto::EXTERNAL);
    for (const auto& [key, text] :
         {std::pair{"location", location}, {"offset", "4"}, {"length", length}}) {
      auto* e = t->add_external_data();
      e->set_key(key);
      e->set_value(text);
    }
    write_file_atomic(dir / "model/m.onnx", b.build(y));
    return load_model(dir / "model/m.onnx");
  };
  CHECK(load("w.bin").params.layers[0].weights == std::vector<float>{1, 3, 5, 2, 4, 6});
  for (const char* outside : {"../secret.bin", "link.bin", "", ".", "../model/../secret.bin"})
    CHECK(mentions(error_of([&] { static_cast<void>(load(outside)); }),
                   {"expected a file in the model's folder"}));
  CHECK(mentions(error_of([&] { static_cast<void>(load((dir / "secret.bin").string())); }),
                 {"expected a file in the model's folder"}));
  CHECK(mentions(error_of([&] { static_cast<void>(load("w.bin", "28")); }),
                 {"bytes 4 to 32, but the file has 28"}));
}

TEST_CASE("import: an autoencoder's outputs are in the order of its input, channels last") {
  // The identity of 3 channels of 2 x 2, counted channels first as ONNX does.
  constexpr std::int64_t kSize = 12;
  std::vector<float> identity(kSize * kSize), bias;
  for (std::int64_t i = 0; i < kSize; ++i) {
    identity[static_cast<std::size_t>(i * kSize + i)] = 1;
    bias.push_back(static_cast<float>(i));
  }
  Builder b;
  auto* flat = b.node("Flatten", {b.input({3, 2, 2})});
  const std::string y =
      b.node("MatMul", {flat->output(0), b.floats({kSize, kSize}, identity)})->output(0);
  const TempFile file(b.build(b.node("Add", {y, b.floats({kSize}, bias)})->output(0)));
  const ImportedModel m = load_model(file.path);
  REQUIRE(m.network.reconstructs());
  REQUIRE(m.notes.size() == 1);
  CHECK(mentions(m.notes[0], {"taken for an autoencoder", "classes = 12"}));
  std::vector<float> x(kSize), out(kSize);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(100 * i);
  Golden<float>(m.network).forward(m.params, x, out);
  // Element (pixel p, channel c) of the output: itself and the bias of ONNX's element c * 4 + p.
  for (std::size_t p = 0; p < 4; ++p)
    for (std::size_t c = 0; c < 3; ++c)
      CHECK(out[p * 3 + c] == x[p * 3 + c] + static_cast<float>(c * 4 + p));
}

TEST_CASE("import: a convolution that gives back its input's shape is an autoencoder") {
  Builder b;
  auto* n = b.node("Conv", {b.input({2, 4, 4}), b.floats({2, 2, 1, 1}, {1, 0, 0, 1})});
  Builder::set(n, "kernel_shape", Ints{1, 1});
  const TempFile file(b.build(n->output(0)));
  const ImportedModel m = load_model(file.path);
  CHECK(m.network.reconstructs());
  CHECK(m.network.layers.back().out == Shape{4, 4, 2});
}

TEST_CASE("import: no bent ONNX file does harm") {
  const std::uint64_t seed = test_seed();
  const Bytes file = RandomFile(seed).build();
  Rng rng(seed, 6);
  for (int i = 0; i < 3000; ++i) {
    Bytes bent = file;
    for (std::uint64_t k = rng.below(3) + 1; k > 0; --k)
      bent[rng.below(bent.size())] = static_cast<std::uint8_t>(rng.below(256));
    if (rng.below(4) == 0) bent.resize(rng.below(bent.size()));
    try {
      static_cast<void>(parse_onnx(bent, "m.onnx"));
    } catch (const Error&) {
    }
  }
}

}  // namespace
}  // namespace lastmile

#endif
