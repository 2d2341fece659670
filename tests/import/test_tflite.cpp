// SPDX-License-Identifier: Apache-2.0
// TensorFlow Lite in: the imported network on the NPU's model gives what an interpreter of the file
// gives, to the last bit; what is wrong with a file is said at once.
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "sw/export/export.hpp"
#include "sw/golden/golden.hpp"
#include "sw/import/model.hpp"
#include "tests/golden/cases.hpp"
#include "tests/import/run.hpp"
#include "tests/import/tflite_builder.hpp"
#include "tests/import/tflite_reference.hpp"
#include "tests/quantizer/cases.hpp"

namespace lastmile {
namespace {

using testing::run_on_model;
using testing::TfliteBuilder;
using testing::TfliteReference;
using tflite::Operator;
using tflite::Type;
using Bytes = std::vector<std::uint8_t>;

std::vector<std::int8_t> random_bytes(std::size_t n, Rng& rng) {
  std::vector<std::int8_t> x(n);
  for (std::int8_t& v : x) v = static_cast<std::int8_t>(rng.below(256));
  return x;
}

// Imported and interpreted outputs of random inputs are the same bytes.
void require_same(const Bytes& file, const std::string& name, int examples, std::uint64_t seed) {
  const ImportedModel m = parse_tflite(file, name);
  REQUIRE(m.quantized.has_value());
  Rng rng(seed, 77);
  const auto each = static_cast<std::size_t>(m.network.input.elements());
  const auto x = random_bytes(each * static_cast<std::size_t>(examples), rng);
  const auto y = run_on_model(*m.quantized, x);
  const auto classes = static_cast<std::size_t>(m.network.classes);
  TfliteReference reference(file);
  int different = 0;
  for (int e = 0; e < examples; ++e) {
    const auto i = static_cast<std::size_t>(e);
    const auto expected = reference.run(std::span(x).subspan(i * each, each));
    REQUIRE(expected.size() == classes);
    for (std::size_t c = 0; c < classes; ++c) different += expected[c] != y[i * classes + c];
  }
  CHECK_MESSAGE(different == 0, name << ": " << different << " bytes differ");
}

// A random network of every supported operator, as a file.
class RandomFile {
 public:
  explicit RandomFile(std::uint64_t seed) : rng_(seed, 3) {}

  Bytes build() {
    const int h = number(4, 9), w = number(4, 9), c = number(1, 5);
    const bool flat = rng_.below(3) == 0;  // a flat input, reshaped to a plane
    int x = activation({1, h, w, c});
    int input = x;
    if (flat) {
      input = b_.activation({1, h * w * c}, scale_[0], zero_[0]);
      b_.op(Operator::reshape, {input}, {x});
    }
    shape_ = {1, h, w, c};
    const int layers = number(2, 6);
    for (int i = 0; i < layers; ++i) x = layer(x);
    x = head(x);
    return b_.build({input}, {x});
  }

 private:
  int number(int low, int high) {
    return low + static_cast<int>(rng_.below(static_cast<std::uint64_t>(high - low + 1)));
  }
  float scale() { return static_cast<float>(std::exp2(rng_.uniform(-6, -2))); }
  int activation(std::vector<std::int32_t> shape, float s, int z) {
    const int t = b_.activation(std::move(shape), s, z);
    scale_.resize(static_cast<std::size_t>(t) + 1);
    zero_.resize(static_cast<std::size_t>(t) + 1);
    scale_[static_cast<std::size_t>(t)] = s;
    zero_[static_cast<std::size_t>(t)] = z;
    return t;
  }
  int activation(std::vector<std::int32_t> shape) {
    return activation(std::move(shape), scale(), number(-128, 127));
  }
  int like(std::vector<std::int32_t> shape, int t) {
    return activation(std::move(shape), scale_[static_cast<std::size_t>(t)],
                      zero_[static_cast<std::size_t>(t)]);
  }
  std::vector<std::int8_t> weights(int n) {
    std::vector<std::int8_t> w;
    for (int i = 0; i < n; ++i) w.push_back(static_cast<std::int8_t>(number(-127, 127)));
    return w;
  }
  // Scales that bring the outputs into the range of int8.
  std::vector<float> weight_scales(int x, int y, int k, int channels) {
    std::vector<float> s(rng_.below(3) == 0 ? 1 : static_cast<std::size_t>(channels));
    const double typical = scale_[static_cast<std::size_t>(y)] * 60.0 /
                           (scale_[static_cast<std::size_t>(x)] * 5000.0 * std::sqrt(k));
    for (float& v : s) v = static_cast<float>(typical * rng_.uniform(0.3, 2.0));
    return s;
  }
  std::vector<std::int32_t> with_bias(int x, int w, int channels) {
    std::vector<std::int32_t> inputs{x, w};
    if (rng_.below(4) == 0) return inputs;
    std::vector<std::int32_t> bias;
    for (int i = 0; i < channels; ++i) bias.push_back(number(-3000, 3000));
    inputs.push_back(b_.constant<std::int32_t>({channels}, Type::int32, bias));
    return inputs;
  }
  static int fused(Rng& rng) { return std::array{0, 1, 3}[rng.below(3)]; }
  static int out_size(int in, int kernel, int stride, int dilation, bool same) {
    const int reach = (kernel - 1) * dilation + 1;
    return same ? (in + stride - 1) / stride : (in - reach) / stride + 1;
  }

  int layer(int x) {
    switch (rng_.below(8)) {
      case 0:
      case 1:
        return conv(x, false);
      case 2:
        return conv(x, true);
      case 3:
        return pool(x);
      case 4: {  // a residual: a convolution that keeps the shape, and the sum
        const int y = conv(x, false, true);
        const int sum = activation(shape_);
        b_.op(Operator::add, rng_.below(2) == 0 ? std::vector{x, y} : std::vector{y, x}, {sum}, 11,
              {TfliteBuilder::byte(0, fused(rng_))});
        return sum;
      }
      case 5: {
        const bool keep = rng_.below(2) == 0;
        const int y = keep ? like(shape_, x) : activation(shape_);
        b_.op(rng_.below(2) == 0 ? Operator::relu : Operator::relu6, {x}, {y});
        return y;
      }
      case 6: {
        const int y = activation(shape_);
        b_.op(Operator::quantize, {x}, {y});
        return y;
      }
      default:
        return conv(x, rng_.below(2) == 0);
    }
  }

  int conv(int x, bool depthwise, bool keep = false) {
    // A PAD before it, taken over by the convolution.
    int kh = number(1, std::min(3, shape_[1])), kw = number(1, std::min(3, shape_[2]));
    bool padded = false;  // each side must stay below the kernel, with "same" behind it too
    if (!keep && kh == 3 && kw == 3 && rng_.below(3) == 0) {
      const std::vector<std::int32_t> p{
          0, 0, number(0, 2), number(0, 2), number(0, 2), number(0, 2), 0, 0};
      shape_[1] += p[2] + p[3], shape_[2] += p[4] + p[5];
      const int y = like(shape_, x);
      b_.op(Operator::pad, {x, b_.constant<std::int32_t>({4, 2}, Type::int32, p)}, {y});
      x = y;
      padded = true;
    }
    const bool same = keep || (!padded && rng_.below(2) == 0);
    const int sh = keep ? 1 : number(1, 2), sw = keep ? 1 : number(1, 3);
    int dilation = kh > 1 && kw > 1 && number(0, 3) == 0 ? 2 : 1;
    if (!same && ((kh - 1) * 2 + 1 > shape_[1] || (kw - 1) * 2 + 1 > shape_[2])) dilation = 1;
    const int c = shape_[3];
    const int multiplier = number(1, 2);
    int groups = 1;
    if (!depthwise && c % 2 == 0 && rng_.below(3) == 0) groups = 2;
    const int filters = keep ? c : depthwise ? c * multiplier : groups * number(1, 4);
    const int each = depthwise ? 1 : c / groups;
    const std::vector<std::int32_t> ws = depthwise
                                             ? std::vector<std::int32_t>{1, kh, kw, filters}
                                             : std::vector<std::int32_t>{filters, kh, kw, each};
    shape_ = {1, out_size(shape_[1], kh, sh, dilation, same),
              out_size(shape_[2], kw, sw, dilation, same), filters};
    const int y = activation(shape_);
    const int w =
        b_.constant<std::int8_t>(ws, Type::int8, weights(filters * kh * kw * each),
                                 weight_scales(x, y, kh * kw * each, filters), depthwise ? 3 : 0);
    using B = TfliteBuilder;
    std::vector<B::Field> options{B::byte(0, same ? 0 : 1), B::word(1, sw), B::word(2, sh)};
    if (depthwise) options.push_back(B::word(3, multiplier));
    options.push_back(B::byte(depthwise ? 4 : 3, fused(rng_)));
    options.push_back(B::word(depthwise ? 5 : 4, dilation));
    options.push_back(B::word(depthwise ? 6 : 5, dilation));
    b_.op(depthwise ? Operator::depthwise_conv_2d : Operator::conv_2d, with_bias(x, w, filters),
          {y}, depthwise ? 2 : 1, options);
    return y;
  }

  int pool(int x) {
    using B = TfliteBuilder;
    const int kh = number(1, std::min(3, shape_[1])), kw = number(1, std::min(3, shape_[2]));
    const int sh = number(1, 2), sw = number(1, 2);
    const bool same = rng_.below(2) == 0;
    shape_ = {1, out_size(shape_[1], kh, sh, 1, same), out_size(shape_[2], kw, sw, 1, same),
              shape_[3]};
    const int y = like(shape_, x);
    b_.op(rng_.below(2) == 0 ? Operator::max_pool_2d : Operator::average_pool_2d, {x}, {y}, 5,
          {B::byte(0, same ? 0 : 1), B::word(1, sw), B::word(2, sh), B::word(3, kw), B::word(4, kh),
           B::byte(5, fused(rng_))});
    return y;
  }

  int head(int x) {
    using B = TfliteBuilder;
    if (rng_.below(2) == 0) {  // a mean over the plane
      const int axes = b_.constant<std::int32_t>({2}, Type::int32, {1, 2});
      const bool keep = rng_.below(2) == 0;
      shape_ = {1, 1, 1, shape_[3]};
      const int y = activation(keep ? shape_ : std::vector<std::int32_t>{1, shape_[3]});
      b_.op(Operator::mean, {x, axes}, {y}, 27, {B::byte(0, keep ? 1 : 0)});
      x = y;
    }
    const int depth = shape_[1] * shape_[2] * shape_[3];
    const int flat = like({1, depth}, x);
    b_.op(Operator::reshape, {x}, {flat});
    const int units = number(2, 12);
    int y = activation({1, units});
    const int w = b_.constant<std::int8_t>({units, depth}, Type::int8, weights(units * depth),
                                           weight_scales(flat, y, depth, units), 0);
    b_.op(Operator::fully_connected, with_bias(flat, w, units), {y}, 8, {B::byte(0, fused(rng_))});
    if (rng_.below(2) == 0) {
      const int p = activation({1, units}, 1.0F / 256, -128);
      b_.op(Operator::softmax, {y}, {p}, 9, {B::real(0, 1)});
      y = p;
    }
    return y;
  }

  TfliteBuilder b_;
  Rng rng_;
  std::vector<std::int32_t> shape_;
  std::vector<float> scale_;
  std::vector<int> zero_;
};

std::filesystem::path shared_model(const std::string& name) {
  const char* root = std::getenv("SHARED");
  const auto path = std::filesystem::path(root != nullptr && *root != '\0' ? root : "../shared") /
                    "models" / name;
  if (std::filesystem::exists(path)) return path;
  std::cout << "SKIPPED: no model " << path.string() << " (set SHARED)\n";
  return {};
}

// A dense layer on three inputs, as small as a file gets.
TfliteBuilder small_file() {
  TfliteBuilder b;
  const int x = b.activation({1, 3}, 0.5F, 0);
  const int w = b.constant<std::int8_t>({2, 3}, Type::int8, {1, 2, 3, 4, 5, 6}, {0.25F});
  const int y = b.activation({1, 2}, 1.0F, 0);
  b.op(Operator::fully_connected, {x, w, -1}, {y}, 8);
  return b;
}

std::string refusal(const Bytes& file) {
  return error_of([&] { static_cast<void>(parse_tflite(file, "m.tflite")); });
}

TEST_CASE("import: random int8 files give the interpreter's bytes") {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t i = 0; i < 150; ++i) {
    CAPTURE(i);
    RandomFile file(sub_seed(seed, i));
    require_same(file.build(), "random.tflite", 3, sub_seed(seed, i));
  }
}

TEST_CASE("import: deployed int8 models give the interpreter's bytes") {
  for (const auto& [name, layers] :
       {std::pair{"pretrainedResnet_quant.tflite", 15}, std::pair{"kws_ref_model.tflite", 12}}) {
    const auto path = shared_model(name);
    if (path.empty()) continue;
    const Bytes file = read_file(path);
    require_same(file, path.string(), 20, 5);
    const ImportedModel m = parse_tflite(file, path.string());
    CHECK(m.network.layers.size() == static_cast<std::size_t>(layers));
    CHECK_FALSE(m.quantized->logits.requant.empty());
  }
}

TEST_CASE("import: what is unsupported is listed at once") {
  TfliteBuilder b;
  const int x = b.activation({1, 4, 4, 2}, 0.5F, 0);
  const int a = b.activation({1, 4, 4, 2}, 0.5F, 0);
  b.op(Operator{14}, {x}, {a});
  const int c = b.activation({1, 4, 4, 4}, 0.5F, 0);
  b.op(Operator{2}, {a, x}, {c}, 10);
  const int p = b.activation({1, 2, 2, 2}, 0.25F, 0);
  b.op(Operator::max_pool_2d, {x}, {p}, 5,
       {TfliteBuilder::byte(0, 1), TfliteBuilder::word(1, 2), TfliteBuilder::word(2, 2),
        TfliteBuilder::word(3, 2), TfliteBuilder::word(4, 2)});
  const int y = b.activation({1, 4}, 1.0F, 0);
  const int w =
      b.constant<std::int8_t>({4, 64}, Type::int8, std::vector<std::int8_t>(256, 1), {0.25F});
  b.op(Operator::fully_connected, {c, w}, {y}, 8);
  const int z = b.activation({1, 4}, 1.0F, 0);
  b.op(Operator::add, {y, p}, {z}, 11);
  CHECK(mentions(refusal(b.build({x}, {z})),
                 {"m.tflite: 3 things are not supported", "operator 0, LOGISTIC of tensor 1 \"t1\"",
                  "operator 1, CONCATENATION", "operator 2, MAX_POOL_2D",
                  "differ in scale or zero point", "supported are ADD"}));
}

TEST_CASE("import: errors of a file name tensor, field and what was expected") {
  {
    TfliteBuilder b = small_file();
    b.version = 2;
    CHECK(mentions(refusal(b.build({0}, {2})), {"schema version is 2, expected 3"}));
  }
  CHECK(mentions(refusal(small_file().build({0}, {2, 0})), {"2 outputs, expected one"}));
  CHECK(mentions(refusal(small_file().build({}, {2})), {"0 inputs, expected one"}));
  CHECK(mentions(refusal(small_file().build({0}, {7})), {"an input or output is tensor 7"}));
  CHECK(mentions(refusal({}), {"m.tflite", "not a valid TensorFlow Lite file", "TFL3"}));
  {  // a cycle
    TfliteBuilder b;
    const int x = b.activation({1, 3}, 0.5F, 0);
    const int u = b.activation({1, 3}, 0.5F, 0), v = b.activation({1, 3}, 0.5F, 0);
    b.op(Operator::add, {x, v}, {u}, 11);
    b.op(Operator::add, {x, u}, {v}, 11);
    CHECK(mentions(refusal(b.build({x}, {v})), {"operator 0 reads tensor 2", "cycle"}));
  }
  {  // weights that do not fill their shape
    TfliteBuilder b;
    const int x = b.activation({1, 3}, 0.5F, 0);
    const int w = b.constant<std::int8_t>({2, 3}, Type::int8, {1, 2, 3}, {0.25F});
    const int y = b.activation({1, 2}, 1.0F, 0);
    b.op(Operator::fully_connected, {x, w}, {y}, 8);
    CHECK(mentions(refusal(b.build({x}, {y})), {"3 bytes of data, expected 6"}));
  }
  for (const int bad : {0, -5}) {
    TfliteBuilder b;
    const int x = b.activation({1, bad, 4, 4}, 0.5F, 0);
    const int y = b.activation({1, 4}, 0.5F, 0);
    b.op(Operator::max_pool_2d, {x}, {y}, 5);
    CHECK(mentions(refusal(b.build({x}, {y})), {"dimension 1 is " + std::to_string(bad)}));
  }
  {  // 2^31 in all
    TfliteBuilder b;
    const int x = b.activation({1, 65535, 65535, 4}, 0.5F, 0);
    const int y = b.activation({1, 4}, 0.5F, 0);
    b.op(Operator::max_pool_2d, {x}, {y}, 5);
    CHECK(mentions(refusal(b.build({x}, {y})), {"at most 2147483647 elements"}));
  }
  {  // scales that are none
    TfliteBuilder b = small_file();
    const int z = b.activation({1, 2}, 0.0F, 0);
    b.op(Operator::quantize, {2}, {z});
    CHECK(mentions(refusal(b.build({0}, {z})), {"tensor 3 \"t3\"", "scale is 0"}));
  }
}

TEST_CASE("import: no cut of a file is accepted or does harm") {
  const Bytes file = small_file().build({0}, {2});
  static_cast<void>(parse_tflite(file, "m.tflite"));
  for (std::size_t n = 0; n < file.size(); ++n) {
    const Bytes cut(file.begin(), file.begin() + static_cast<std::ptrdiff_t>(n));
    try {
      static_cast<void>(parse_tflite(cut, "m.tflite"));
    } catch (const Error&) {
    }
  }
  Rng rng(test_seed());
  for (int i = 0; i < 20000; ++i) {  // and no flipped bit
    Bytes bent = file;
    bent[rng.below(bent.size())] ^= static_cast<std::uint8_t>(1U << rng.below(8));
    try {
      static_cast<void>(parse_tflite(bent, "m.tflite"));
    } catch (const Error&) {
    }
  }
}

TEST_CASE("import: a float file and its float16 form become the same network") {
  for (const bool half : {false, true}) {
    TfliteBuilder b;
    const auto plain = [&](std::vector<std::int32_t> shape) {
      return b.tensor({std::move(shape), Type::float32, "x", {}, {}, 0, {}});
    };
    const auto weights = [&](std::vector<std::int32_t> shape, const std::vector<float>& values) {
      if (!half) return b.constant<float>(std::move(shape), Type::float32, values);
      std::vector<std::uint16_t> h;
      for (const float v : values)  // 0.5, 1, 2 and the like only
        h.push_back(
            static_cast<std::uint16_t>((v < 0 ? 0x8000 : 0) | ((std::ilogb(v) + 15) << 10)));
      const int packed = b.constant<std::uint16_t>(shape, Type::float16, h);
      const int t = b.tensor({std::move(shape), Type::float32, "w", {}, {}, 0, {}});
      b.op(Operator::dequantize, {packed}, {t});
      return t;
    };
    const int x = plain({1, 2, 2, 1});
    const int w1 = weights({2, 1, 1, 1}, {2, -0.5F}), b1 = weights({2}, {0.25F, 1});
    const int c = plain({1, 2, 2, 2});
    b.op(Operator::conv_2d, {x, w1, b1}, {c}, 1,
         {TfliteBuilder::word(1, 1), TfliteBuilder::word(2, 1), TfliteBuilder::byte(3, 1)});
    const int axes = b.constant<std::int32_t>({2}, Type::int32, {1, 2});
    const int m = plain({1, 2});
    b.op(Operator::mean, {c, axes}, {m}, 27);
    const int w2 = weights({2, 2}, {1, 2, 4, -1});
    const int y = plain({1, 2});
    b.op(Operator::fully_connected, {m, w2, -1}, {y}, 8);
    const ImportedModel model = parse_tflite(b.build({x}, {y}), "f.tflite");
    CHECK_FALSE(model.quantized.has_value());
    const std::vector<float> in{1, 2, 3, -4};
    std::vector<float> out(2);
    Golden<float>(model.network).forward(model.params, in, out);
    // relu(2 x + 0.25): 2.25, 4.25, 6.25, 0; relu(1 - x / 2): 0.5, 0, 0, 3.
    CHECK(out[0] == doctest::Approx(3.1875 + 2 * 0.875));
    CHECK(out[1] == doctest::Approx(4 * 3.1875 - 0.875));
  }
}

// Other weights and biases, as after an adaptation.
QuantizedNetwork moved(QuantizedNetwork q, std::uint64_t seed) {
  Rng rng(seed, 21);
  for (std::size_t i = 0; i < q.layers.size(); ++i) {
    QuantizedLayer& l = q.layers[i];
    // Weights of one stand for a mean or a change of scale, and are in no file.
    if (std::all_of(l.weights.begin(), l.weights.end(), [](auto w) { return w == 1; })) continue;
    for (std::int16_t& w : l.weights)
      w = static_cast<std::int16_t>(std::clamp(w + static_cast<int>(rng.below(7)) - 3, -127, 127));
    for (std::int32_t& b : l.bias) b += static_cast<std::int32_t>(rng.below(201)) - 100;
  }
  return q;
}

// The file with the moved weights is the moved network, and gives the interpreter's bytes again.
void require_replaced(const Bytes& file, const std::string& name, int examples,
                      std::uint64_t seed) {
  const QuantizedNetwork q = moved(*parse_tflite(file, name).quantized, seed);
  const Bytes adapted = replace_tflite_weights(file, name, q);
  CHECK(adapted.size() == file.size());
  const QuantizedNetwork again = *parse_tflite(adapted, name).quantized;
  CHECK(again.layers == q.layers);
  CHECK(again.network == q.network);
  require_same(adapted, name, examples, seed);
}

TEST_CASE("import: adapted weights go back into their .tflite file") {
  const std::uint64_t seed = test_seed();
  for (std::uint64_t i = 0; i < 60; ++i) {
    CAPTURE(i);
    const Bytes file = RandomFile(sub_seed(seed, i)).build();
    CHECK(replace_tflite_weights(file, "m.tflite", *parse_tflite(file, "m.tflite").quantized) ==
          file);
    require_replaced(file, "m.tflite", 2, i);
  }
  for (const char* name : {"kws_ref_model.tflite", "pretrainedResnet_quant.tflite"}) {
    const auto path = shared_model(name);
    if (!path.empty()) require_replaced(read_file(path), name, 2, seed);
  }
}

TEST_CASE("import: what a .tflite file cannot take back is listed by layer") {
  TfliteBuilder b;
  const int x = b.activation({1, 1, 1, 2}, 0.5F, 0), c = b.activation({1, 1, 1, 2}, 0.5F, 0);
  const int y = b.activation({1, 1, 1, 2}, 0.5F, 0);
  const int w = b.constant<std::int8_t>({2, 1, 1, 2}, Type::int8, {3, 1, 2, 5}, {0.5F});
  for (const auto& [from, to] : {std::pair{x, c}, {c, y}})
    b.op(Operator::conv_2d, {from, w}, {to}, 1,
         {TfliteBuilder::word(1, 1), TfliteBuilder::word(2, 1)});
  const Bytes file = b.build({x}, {y});
  const QuantizedNetwork q = *parse_tflite(file, "m.tflite").quantized;
  const auto refused = [&](const QuantizedNetwork& bad) {
    return error_of([&] { static_cast<void>(replace_tflite_weights(file, "m.tflite", bad)); });
  };
  QuantizedNetwork bad = q;
  bad.layers[0].weight_type = WeightType::w16;
  bad.layers[1].out.zero_point = 1;
  CHECK(mentions(refused(bad),
                 {"m.tflite: 2 things", "(conv2d): its weights are int16, expected int8",
                  "(conv2d): its output differs in scale"}));
  bad = q;
  bad.layers[0].weights[0] = 4;
  CHECK(mentions(refused(bad), {"it shares weights with another layer, and now they differ"}));
  bad = q;
  bad.layers[0].requant[0].multiplier -= 1;
  CHECK(mentions(refused(bad), {"its factors are not what the file's scales give"}));
  bad = q;
  for (const std::size_t i : {0, 1}) {
    for (float& scale : bad.layers[i].weight_scale) scale *= 2;  // and with it the factor
    for (Requant& r : bad.layers[i].requant) ++r.exponent;
  }
  const auto again = parse_tflite(replace_tflite_weights(file, "m.tflite", bad), "m.tflite");
  CHECK(again.quantized->layers == bad.layers);
}

TEST_CASE("import: float files of deployed models give classes") {
  for (const char* name : {"kws_ref_model_float32.tflite", "pretrainedResnet.tflite"}) {
    const auto path = shared_model(name);
    if (path.empty()) continue;
    const ImportedModel m = load_model(path);
    CHECK_FALSE(m.quantized.has_value());
    const auto x = random_values<float>(m.network, 4, 1);
    std::vector<float> y(static_cast<std::size_t>(4 * m.network.classes));
    Golden<float>(m.network).forward(m.params, x, y);
    for (const float v : y) CHECK(std::isfinite(v));
  }
}

}  // namespace
}  // namespace lastmile
