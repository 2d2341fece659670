// SPDX-License-Identifier: Apache-2.0
// Networks for other tools: what is written is read again as the same network.
#include <doctest/doctest.h>

#include "sw/export/export.hpp"

#if __has_include(<onnx/onnx_pb.h>) && __has_include(<google/protobuf/message.h>)

#include <cmath>

#include "sw/base/rng.hpp"
#include "sw/golden/golden.hpp"
#include "sw/import/model.hpp"
#include "sw/quantizer/readout.hpp"
#include "tests/import/onnx_builder.hpp"
#include "tests/import/run.hpp"
#include "tests/quantizer/cases.hpp"

namespace lastmile {
namespace {

using testing::run_on_model;

bool has_concat(const Network& n) {
  return std::any_of(n.layers.begin(), n.layers.end(),
                     [](const Layer& l) { return l.op == Op::concat; });
}

// Whether ONNX has a node for each layer: it has none for a gain, and does not tell a depthwise
// convolution from one with as many groups.
bool comes_back(const Network& n) {
  return std::none_of(n.layers.begin(), n.layers.end(), [](const Layer& l) {
    return l.op == Op::concat || (l.op == Op::conv2d && l.groups > 1 && l.groups == l.in.c) ||
           (l.op == Op::depthwise_conv2d && l.in.c == 1);
  });
}

// What a file does not hold.
QuantizedNetwork bare(QuantizedNetwork q) {
  q.network.name.clear();
  for (QuantizedLayer& l : q.layers) l.mean.clear(), l.deviation.clear();
  return q;
}

TEST_CASE("import: an exported float network is read again as the same") {
  const std::uint64_t seed = test_seed();
  for (const Network& n : operator_cases()) {
    CAPTURE(n.name);
    const auto params = random_params<float>(n, seed);
    const ImportedModel m = parse_onnx(encode_onnx(n, params), n.name + ".onnx");
    const Network folded = fold_network(n);
    CHECK_FALSE(m.quantized.has_value());
    if (comes_back(n)) {
      CHECK(m.network == folded);
      CHECK(m.params == fold_params(n, params));
    }
    const auto x = random_values<float>(n, 3, seed);
    const auto expected = Golden<float>(folded).trace(fold_params(n, params), x);
    const auto found = Golden<float>(m.network).trace(m.params, x);
    REQUIRE(found.back().post.size() == expected.back().post.size());
    float size = 1e-3F, worst = 0;
    for (std::size_t i = 0; i < found.back().post.size(); ++i) {
      size = std::max(size, std::abs(expected.back().post[i]));
      worst = std::max(worst, std::abs(found.back().post[i] - expected.back().post[i]));
    }
    CHECK(worst <= 1e-5F * size);
  }
}

TEST_CASE("import: exported integers are read again as the same") {
  const std::uint64_t seed = test_seed();
  for (const Network& n : operator_cases()) {
    for (const WeightType type : {WeightType::w8, WeightType::w16}) {
      for (const bool mixed : {false, true}) {
        for (const bool int8_result : {false, true}) {
          CAPTURE(n.name);
          CAPTURE(bits_of(type));
          CAPTURE(mixed);
          CAPTURE(int8_result);
          QuantizeOptions o;
          o.weight_type = type;
          if (mixed)
            o.layer_weights["head"] = type == WeightType::w8 ? WeightType::w16 : WeightType::w8;
          const QuantizedNetwork q = quantize_random(n, seed, o);
          OnnxOptions how;
          how.int8_result = int8_result;
          const auto again = parse_onnx(encode_onnx_qdq(q, how), "m.onnx").quantized;
          REQUIRE(again.has_value());
          for (std::size_t i = 0; i < q.layers.size() && comes_back(n); ++i)
            if (has_weights(q.network.layers[i]))
              CHECK(again->weight_type_of(i) == q.weight_type_of(i));
          if (comes_back(n) && !mixed) CHECK(bare(*again) == bare(q));
          const auto x = quantized_input(q, 5, seed);
          CHECK(run_on_model(*again, x) == run_on_model(q, x));
        }
      }
    }
  }
}

TEST_CASE("import: readouts are exported with their constant in the bias") {
  const std::uint64_t seed = test_seed();
  const Network n = parse_network(
      "name = \"r\"\ninput = [8, 8, 3]\nclasses = 5\n" +
          layer_text("a", "conv2d", "filters = 6\nkernel = 3\nactivation = \"relu\"") +
          layer_text("b", "conv2d", "filters = 8\nkernel = 3\nstride = 2\nactivation = \"relu\"") +
          layer_text("g", "global_average_pool", "") +
          layer_text("fc", "fully_connected", "units = 5"),
      "r");
  QuantizedNetwork q = make_readout_network(quantize_random(n, seed), {}).network;
  REQUIRE(has_concat(q.network));
  // As after training: every column of the readout has weights.
  Rng rng(seed, 12);
  for (std::int16_t& w : q.layers.back().weights)
    w = static_cast<std::int16_t>(static_cast<int>(rng.below(2001)) - 1000);
  const auto again = parse_onnx(encode_onnx_qdq(q), "m.onnx").quantized;
  REQUIRE(again.has_value());
  CHECK(again->logits.scale == q.logits.scale);
  const auto x = quantized_input(q, 20, seed);
  CHECK(run_on_model(*again, x) == run_on_model(q, x));
  const auto params = dequantize(q);
  const ImportedModel real = parse_onnx(encode_onnx(q.network, params), "m.onnx");
  const auto in = random_values<float>(n, 4, seed);
  const auto y = Golden<float>(q.network).trace(params, in).back().post;
  const auto z = Golden<float>(real.network).trace(real.params, in).back().post;
  REQUIRE(y.size() == z.size());
  for (std::size_t i = 0; i < y.size(); ++i)
    CHECK(std::abs(y[i] - z[i]) <= 1e-4F * std::max(1.0F, std::abs(y[i])));
}

TEST_CASE(
    "import: an export lists every layer that it cannot express, before anything is written") {
  const Network n =
      make_network("odd", "[5, 5, 2]",
                   layer_text("a", "conv2d", "filters = 3\nkernel = 3\nactivation = \"relu\"") +
                       layer_text("b", "conv2d", "filters = 3\nkernel = 2") +
                       layer_text("e", "concat", "inputs = [\"b\"]\nconstants = [0.5]") +
                       layer_text("f", "conv2d", "input = \"e\"\nfilters = 3\nkernel = 1"));
  CHECK(mentions(error_of([&] { static_cast<void>(encode_onnx(n, random_params<float>(n, 1))); }),
                 {"odd: layer 'e' (concat): it has gains or constants and is not read by"}));
  QuantizedNetwork q = quantize_random(n, 1);
  q.layers[0].act_min -= 20;
  q.layers[1].requant[1].multiplier /= 2;
  CHECK(mentions(
      error_of([&] { static_cast<void>(encode_onnx_qdq(q)); }),
      {"odd: 3 things", "layer 'a' (conv2d): it is clamped to", "layer 'b' (conv2d): factor 1 is",
       "which its scales give", "layer 'e' (concat): it has gains or constants"}));
}

TEST_CASE("import: an exported model says what it is") {
  QuantizedNetwork q = quantize_random(norm_case(), 1);
  q.preprocessing = "kept as it is";
  OnnxOptions o;
  o.metadata = {{"class_names", "[\"a\"]"}};
  const auto bytes = encode_onnx_qdq(q, o);
  onnx::ModelProto m;
  REQUIRE(m.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())));
  CHECK(m.metadata_props(0).key() == "class_names");
  CHECK(m.graph().input(0).type().tensor_type().shape().dim(1).dim_value() == q.network.input.c);
  CHECK(parse_onnx(bytes, "m.onnx").quantized.value().preprocessing == q.preprocessing);
}

}  // namespace
}  // namespace lastmile

#endif
