// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstring>

#include "sw/base/io.hpp"
#include "sw/quantizer/file.hpp"
#include "tests/quantizer/cases.hpp"

using namespace lastmile;

TEST_CASE("quantizer: files give back what was written, for every operator and both widths") {
  for (const WeightType type : {WeightType::w8, WeightType::w16}) {
    for (const Network& net : operator_cases()) {
      QuantizeOptions o;
      o.weight_type = type;
      const QuantizedNetwork q = quantize_random(net, 31, o);
      const auto bytes = serialize(q);
      CHECK(parse_quantized(bytes, "f") == q);
      CHECK(serialize(parse_quantized(bytes, "f")) == bytes);
    }
  }
  QuantizedNetwork without = quantize_random(norm_case(), 32);
  without.logits = {};
  CHECK(parse_quantized(serialize(without), "f") == without);
}

TEST_CASE("quantizer: every corrupted byte and every truncation is detected") {
  const auto bytes = serialize(quantize_random(operator_cases().back(), 33));
  Rng rng(test_seed());
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto bad = bytes;
    bad[i] = static_cast<std::uint8_t>(bad[i] ^ (1 + rng.below(255)));
    CAPTURE(i);
    CHECK(mentions(error_of([&] { (void)parse_quantized(bad, "bad.q"); }), {"bad.q", "expected"}));
  }
  for (std::size_t n = 0; n < bytes.size(); n += 7) {
    CHECK(mentions(error_of([&] { (void)parse_quantized(std::span(bytes).first(n), "cut.q"); }),
                   {"cut.q", "expected"}));
  }
  auto longer = bytes;
  longer.push_back(0);
  CHECK(mentions(error_of([&] { (void)parse_quantized(longer, "long.q"); }), {"long.q", "file"}));
}

TEST_CASE("quantizer: errors of a file name the field") {
  const QuantizedNetwork q = quantize_random(norm_case(), 34);
  const auto bytes = serialize(q);
  const auto with = [&](const std::string& from, const std::string& to) {
    REQUIRE(from.size() == to.size());
    auto bad = bytes;
    std::uint32_t size = 0;
    std::memcpy(&size, bad.data() + 12, 4);
    std::string header(bad.begin() + 24, bad.begin() + 24 + size);
    const auto at = header.find(from);
    REQUIRE(at != std::string::npos);
    header.replace(at, from.size(), to);
    std::copy(header.begin(), header.end(), bad.begin() + 24);
    const std::uint64_t hash = xxh64(std::span(bad).subspan(24, size));
    std::memcpy(bad.data() + 16, &hash, 8);
    return error_of([&] { (void)parse_quantized(bad, "q"); });
  };
  auto bad = bytes;
  bad[0] = 'X';
  CHECK(mentions(error_of([&] { (void)parse_quantized(bad, "q"); }), {"magic"}));
  bad = bytes;
  bad[8] = 6;
  CHECK(mentions(error_of([&] { (void)parse_quantized(bad, "q"); }),
                 {"version is 6", "expected 1 to 5"}));
  bad = bytes;
  bad.back() ^= 1;
  CHECK(
      mentions(error_of([&] { (void)parse_quantized(bad, "q"); }), {"logits.requant", "checksum"}));
  CHECK(mentions(with("\"w16\"", "\"w15\""), {"weight_type", "w15"}));
  CHECK(mentions(with("\"loss_shift\"", "\"loss_shaft\""), {"loss_shift", "missing"}));
  CHECK(mentions(with("\"zero_point\":", "\"zero_paint\":"), {"zero_point"}));
  CHECK(mentions(with("\"arrays\"", "\"errays\""), {"arrays", "missing"}));
}

TEST_CASE("quantizer: saving replaces the file as a whole, loading names it") {
  const testing::TempDir dir;
  const auto path = dir.path() / "net.q";
  const QuantizedNetwork q = quantize_random(norm_case(), 35);
  save_quantized(path, q);
  CHECK(load_quantized(path) == q);
  QuantizedNetwork broken = q;
  broken.layers[0].weights.pop_back();
  CHECK(mentions(error_of([&] { save_quantized(path, broken); }), {"weights", "conv"}));
  CHECK(load_quantized(path) == q);
  CHECK(mentions(error_of([&] { (void)load_quantized(dir.path() / "none.q"); }), {"none.q"}));
}

TEST_CASE("quantizer: a file is of the oldest version that has what it needs") {
  // As a network was before it kept statistics.
  const auto bare = [](QuantizedNetwork q) {
    for (QuantizedLayer& l : q.layers) l.mean = l.deviation = {};
    return q;
  };
  const auto version = [](const QuantizedNetwork& q) { return serialize(q)[8]; };
  QuantizeOptions o;
  o.weight_type = WeightType::w8;
  CHECK(version(bare(quantize_random(norm_case(), 36, o))) == 1);
  CHECK(version(quantize_random(norm_case(), 36, o)) == 3);
  o.layer_weights = {{"head", WeightType::w16}, {"dw", WeightType::w16}, {"conv", WeightType::w8}};
  const QuantizedNetwork q = quantize_random(norm_case(), 36, o);
  CHECK(!q.layers[0].weight_type.has_value());  // as the network's
  CHECK(q.weight_type_of(0) == WeightType::w8);
  CHECK(q.weight_type_of(1) == WeightType::w16);
  CHECK(q.weight_type_of(3) == WeightType::w16);
  const auto largest = [](const QuantizedLayer& l) {
    std::int32_t m = 0;
    for (const std::int16_t w : l.weights) m = std::max<std::int32_t>(m, std::abs(w));
    return m;
  };
  CHECK(largest(q.layers[0]) <= 127);
  CHECK(largest(q.layers[1]) > 127);
  CHECK(largest(q.layers[3]) > 127);
  CHECK(version(bare(q)) == 2);
  CHECK(version(q) == 3);
  CHECK(parse_quantized(serialize(bare(q)), "f") == bare(q));
  CHECK(parse_quantized(serialize(q), "f") == q);
  QuantizedNetwork wide = q;
  wide.layers[0].weights[0] = 128;
  CHECK(
      mentions(error_of([&] { check_quantized(wide, "w"); }), {"conv", "weight 0", "128", "127"}));
  o.layer_weights = {{"pool", WeightType::w16}};
  CHECK(mentions(error_of([&] { (void)quantize_random(norm_case(), 36, o); }), {"'pool'", "head"}));
}

TEST_CASE("quantizer: a concat of inputs whose scales do not fit is refused by name") {
  const std::string text =
      layer_text("a", "conv2d", "filters = 3\nkernel = 1\nactivation = \"relu\"") +
      layer_text("b", "conv2d", "filters = 3\nkernel = 1\nactivation = \"relu\"") +
      layer_text("c", "concat", "inputs = [\"a\", \"b\"]");
  CHECK(mentions(error_of([&] { (void)quantize_random(make_network("n", "[2, 2, 2]", text), 3); }),
                 {"layer 'c'", "gain * scale of input 1"}));
}

TEST_CASE("quantizer: a file keeps what its data have to go through, and old ones lack it") {
  QuantizedNetwork q = quantize_random(operator_cases().front(), test_seed());
  const auto old = serialize(q);
  CHECK(old[8] == 1);
  CHECK(parse_quantized(old, "t").preprocessing.empty());
  q.preprocessing = "{\"kind\":\"images\"}";
  const auto with = serialize(q);
  CHECK(with[8] == 4);
  CHECK(parse_quantized(with, "t") == q);
}
