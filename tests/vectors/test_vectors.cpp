// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <sstream>

#include "cmodel/device/model_device.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/vectors/emit.hpp"
#include "sw/vectors/vectors.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/vectors/layer_builder.hpp"

using namespace lastmile;
using layer_builder::Builder;
using layer_builder::BuiltLayer;
using layer_builder::Tensor;
using nlohmann::json;

namespace {

spec::HardwareParams small_hardware() {
  spec::HardwareParams hw;
  hw.rows = 4;
  hw.cols = 4;
  hw.act_bytes = 4096;
  hw.acc_depth = 64;
  return hw;
}

}  // namespace

TEST_CASE("vectors: the shared cases pass on the model, whatever the hardware's size") {
  const char* root = std::getenv("SHARED");
  const auto folder =
      std::filesystem::path(root != nullptr && *root != '\0' ? root : "../shared") / "vectors";
  if (!std::filesystem::is_directory(folder)) {
    MESSAGE("SKIPPED: no vectors at " << folder.string() << " (set SHARED)");
    std::cout << "SKIPPED: no vectors at " << folder.string() << " (set SHARED)\n";
    return;
  }
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() != ".json") continue;
    ++files;
    for (const auto& hw : {spec::HardwareParams{}, small_hardware()}) {
      const auto device =
          open_model({.hardware = hw, .memory_bytes = 1 << 22, .threads = 1, .extra = {}});
      const VectorResult r = run_vector_file(*device, entry.path());
      INFO(entry.path().string() << ": " << r.difference);
      CHECK(r.passed);
      CHECK(r.compared > 0);
    }
  }
  CHECK(files >= 10);
}

namespace {

VectorResult run_text(const std::string& text, const spec::HardwareParams& hw = {}) {
  const auto device =
      open_model({.hardware = hw, .memory_bytes = 1 << 22, .threads = 1, .extra = {}});
  return run_vector_case(*device, parse_vector_case(text, "case.json"), "case.json");
}

std::string message_of(const std::string& text) {
  try {
    const VectorResult r = run_text(text);
    return r.passed ? "passed" : r.difference;
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::input);
    return e.what();
  }
}

bool mentions(const std::string& message, std::initializer_list<const char*> words) {
  INFO(message);
  bool all = true;
  for (const char* w : words) {
    INFO("looking for " << w);
    const bool found = message.find(w) != std::string::npos;
    CHECK(found);
    all = all && found;
  }
  return all;
}

// conv -> pool -> depthwise -> add (with the pool's output) -> fully connected -> softmax
json network(Builder& b, Tensor& input) {
  input = b.tensor({2, 9, 9, 3});
  const BuiltLayer conv = b.conv(input, 6, 3, 1, 1, 1);
  const BuiltLayer pool = b.pool(conv.out, true, 2, 2, 0);
  const BuiltLayer depthwise = b.depthwise(pool.out, 1, 3, 1, 1);
  const BuiltLayer add = b.add(depthwise.out, pool.out);
  const BuiltLayer full = b.fully_connected(add.out, 5, 2);
  const BuiltLayer soft = b.softmax(full.out);
  json layers = {conv.text, pool.text, depthwise.text, add.text, full.text, soft.text};
  layers[1]["name"] = "first pool";
  layers[3]["input2"] = "first pool";
  layers[2]["tensors"]["expected"] = layer_builder::to_json(depthwise.out);
  layers[5]["tensors"]["expected"] = layer_builder::to_json(soft.out);
  return {{"name", "net"}, {"op", "network"}, {"layers", layers}};
}

}  // namespace

TEST_CASE("vectors: generated cases of every operator pass on large and small hardware") {
  const char* from = std::getenv("LASTMILE_SEED");
  const std::uint64_t seed = from == nullptr ? 91 : std::strtoull(from, nullptr, 0);
  for (std::uint64_t i = 0; i < 30; ++i) {
    Builder b(seed + i);
    const Tensor x = b.tensor({b.in(1, 3), b.in(3, 9), b.in(3, 9), 2 * b.in(1, 6)});
    const Tensor y = b.tensor(x.shape);
    const std::int64_t kernel = b.in(1, 3), stride = b.in(1, 3), pad = b.in(0, 1),
                       groups = b.in(1, 2);
    const std::vector<std::string> cases = {
        layer_builder::single(b.conv(x, groups * b.in(1, 9), kernel, stride, pad, groups), x),
        layer_builder::single(b.depthwise(x, b.in(1, 3), kernel, stride, pad), x),
        layer_builder::single(b.fully_connected(x, b.in(1, 20), x.shape[0]), x),
        layer_builder::single(b.pool(x, true, kernel, stride, pad), x),
        layer_builder::single(b.pool(x, false, kernel, stride, pad), x),
        layer_builder::single(b.add(x, y), x, &y),
        layer_builder::single(b.softmax(x), x)};
    for (const std::string& text : cases) {
      for (const auto& hw : {spec::HardwareParams{}, small_hardware()}) {
        const VectorResult r = run_text(text, hw);
        INFO("seed " << seed + i << ": " << r.op << ": " << r.difference);
        CHECK(r.passed);
      }
    }
  }
}

TEST_CASE("vectors: networks chain their layers") {
  for (std::uint64_t seed = 1; seed <= 8; ++seed) {
    Builder b(seed);
    Tensor input;
    json net = network(b, input);
    json inside = net;  // the input in the first layer
    inside["layers"][0]["tensors"]["input"] = layer_builder::to_json(input);
    json outside = net;  // the input of the network, addends listed
    outside["tensors"]["input"] = layer_builder::to_json(input);
    outside["layers"][3].erase("input2");
    outside["layers"][3]["inputs"] = {2, "first pool"};
    json apart = net;  // beside its layers, with the last output
    apart["input"] = layer_builder::to_json(input);
    apart["expected"] = apart["layers"][5]["tensors"]["expected"];
    apart["layers"][5]["tensors"].erase("expected");
    for (const json& text : {inside, outside, apart}) {
      const VectorResult r =
          run_text(text.dump(), seed % 2 == 0 ? small_hardware() : spec::HardwareParams{});
      INFO(r.difference);
      CHECK(r.passed);
      CHECK(r.op == "network");
      CHECK(r.compared == 2 * 4 * 4 * 6 + 2 * 5);
    }
    // a wrong byte in a layer between is found there
    json wrong = inside;
    json& value = wrong["layers"][2]["tensors"]["expected"]["data"][100];
    value = value.get<int>() == 3 ? 4 : 3;
    const VectorResult r = run_text(wrong.dump());
    CHECK_FALSE(r.passed);
    CHECK(mentions(r.difference, {"depthwise_conv2d", "[1, 0, 0, 4]"}));
  }
}

TEST_CASE("vectors: what cannot be run is refused by file, layer and field") {
  Builder b(3);
  const Tensor x = b.tensor({1, 4, 4, 2});
  const json conv = json::parse(layer_builder::single(b.conv(x, 3, 2, 1, 0, 1), x));
  const json full = json::parse(layer_builder::single(b.fully_connected(x, 3, 1), x));
  REQUIRE(message_of(conv.dump()) == "passed");
  const auto changed = [](json text, const std::string& pointer, const json& value) {
    text[json::json_pointer(pointer)] = value;
    return message_of(text.dump());
  };
  CHECK(mentions(message_of("{\"op\": "), {"case.json", "not JSON"}));
  CHECK(mentions(message_of("{\"op\": 669E666}"), {"case.json", "number overflow"}));
  CHECK(mentions(message_of("[1]"), {"case.json", "an object"}));
  CHECK(mentions(changed(conv, "/op", "transpose_conv"),
                 {"op", "transpose_conv", "depthwise_conv2d"}));
  CHECK(mentions(changed(conv, "/kind", "s16"), {"kind", "s16", "s8"}));
  CHECK(mentions(changed(conv, "/requant", "single"), {"requant", "single", "double32"}));
  CHECK(mentions(changed(full, "/params/weight_zero_point", 3),
                 {"weight_zero_point", "3", "symmetric"}));
  CHECK(mentions(changed(full, "/params/filter_zero_point", {0, 1}), {"filter_zero_point"}));
  CHECK(mentions(changed(conv, "/weights_layout", "HWIO"), {"weights_layout", "HWIO", "OHWI"}));
  CHECK(mentions(changed(conv, "/tensors/weights/dtype", "int4"),
                 {"weights", "dtype", "int4", "int8"}));
  CHECK(
      mentions(changed(conv, "/tensors/input/data/3", 128), {"input", "data", "128", "-128..127"}));
  CHECK(mentions(changed(conv, "/tensors/input/data/3", 1.5), {"input", "data", "1.5"}));
  CHECK(mentions(changed(conv, "/tensors/input/shape", {1, 4, 4, 3}),
                 {"input", "data", "32 elements", "48"}));
  CHECK(mentions(changed(conv, "/tensors/input/shape", {1, 4, 8}),
                 {"input shape", "[1, 4, 8]", "NHWC"}));
  CHECK(mentions(changed(conv, "/tensors/input/shape", {1, 4, 4, 0}), {"shape", "0"}));
  CHECK(mentions(changed(conv, "/tensors/shift/data/0", 31), {"shift", "31", "-40..30"}));
  CHECK(mentions(changed(conv, "/params/input_zero_point", 128), {"input_zero_point", "128"}));
  CHECK(mentions(changed(conv, "/params/stride_h", 0), {"stride_h", "0", "1..255"}));
  CHECK(mentions(changed(conv, "/params/groups", 2), {"weights shape"}));
  CHECK(mentions(changed(conv, "/params/act_max", -129), {"act_max"}));
  CHECK(mentions(changed(conv, "/tensors/expected/shape", {3, 1, 3, 3}),
                 {"expected", "[3, 1, 3, 3]", "[1, 3, 3, 3]"}));
  CHECK(mentions(changed(conv, "/tensors/expected/shape", {3, 3, 3}), {"passed"}));
  CHECK(mentions(changed(conv, "/tensors/expected/shape", {9, 3}), {"expected", "[9, 3]"}));
  CHECK(mentions(changed(conv, "/params/nonsense", 3), {"nonsense", "stride_h"}));
  CHECK(mentions(changed(conv, "/params/input_offset", 128), {"input_offset", "zero_point"}));
  CHECK(mentions(changed(conv, "/tensors/filter", 128), {"filter", "weights"}));
  CHECK(mentions(changed(conv, "/paramz", 128), {"paramz"}));
  CHECK(mentions(changed(conv, "/params/out_h", 2), {"expected", "27 elements", "18"}));
  json no_output = conv;
  no_output["tensors"].erase("expected");
  CHECK(mentions(message_of(no_output.dump()), {"expected", "nothing"}));
  json two_biases = conv;
  two_biases["tensors"]["bias"] = layer_builder::to_json(std::vector<std::int32_t>{1, 2});
  CHECK(mentions(message_of(two_biases.dump()), {"layer", "bias", "2 values", "3"}));
  Tensor input;
  json net = network(b, input);
  CHECK(mentions(message_of(net.dump()), {"layers[0]", "input", "nothing"}));
  net["layers"][0]["tensors"]["input"] = layer_builder::to_json(input);
  net["layers"][3]["input2"] = "second pool";
  CHECK(mentions(message_of(net.dump()), {"layers[3]", "second pool"}));
  net["layers"][3].erase("input2");
  CHECK(mentions(message_of(net.dump()), {"layers[3]", "input2", "nothing"}));
  CHECK(mentions(message_of("{\"op\": \"network\", \"layers\": []}"), {"layers", "at least one"}));
  // memory
  const auto device = open_model({.hardware = {}, .memory_bytes = 256, .threads = 1, .extra = {}});
  try {
    static_cast<void>(
        run_vector_case(*device, parse_vector_case(conv.dump(), "case.json"), "case.json"));
    FAIL("ran in 256 bytes");
  } catch (const Error& e) {
    CHECK(mentions(e.what(), {"case.json", "memory", "256"}));
  }
}

TEST_CASE("vectors: what this hardware cannot run is not supported, rather than wrong") {
  const auto kind = [](const json& text, const spec::HardwareParams& hw) {
    const auto device =
        open_model({.hardware = hw, .memory_bytes = 1 << 24, .threads = 1, .extra = {}});
    try {
      static_cast<void>(
          run_vector_case(*device, parse_vector_case(text.dump(), "c.json"), "c.json"));
    } catch (const Error& e) {
      CHECK(mentions(e.what(), {"c.json"}));
      return e.kind();
    }
    return ErrorKind{};
  };
  const auto zeros = [](std::vector<std::int64_t> shape) {
    std::int64_t n = 1;
    for (const std::int64_t e : shape) n *= e;
    return json{{"dtype", "int8"},
                {"shape", shape},
                {"data", std::vector<int>(static_cast<std::size_t>(n))}};
  };
  json softmax = {
      {"op", "softmax"},
      {"params", {{"input_multiplier", 1 << 30}, {"input_left_shift", 20}, {"diff_min", -100}}},
      {"tensors", {{"input", zeros({1, 4096})}, {"expected", zeros({1, 4096})}}}};
  CHECK(kind(softmax, {}) == ErrorKind::unsupported);
  // A window of which not even one channel fits the scratchpad.
  spec::HardwareParams small;
  small.act_bytes = 4096;
  json pool = {{"op", "average_pool2d"},
               {"params", {{"kernel_h", 65}, {"kernel_w", 65}}},
               {"tensors", {{"input", zeros({1, 65, 65, 2})}, {"expected", zeros({1, 1, 1, 2})}}}};
  CHECK(kind(pool, small) == ErrorKind::unsupported);
  CHECK(kind(pool, {}) == ErrorKind{});
}

TEST_CASE("vectors: emitted scalar vectors follow the formulas and are the same every time") {
  const testing::TempDir folder;
  const auto names = emit_vectors(folder.path());
  CHECK(names.size() == 10);
  std::uint64_t bytes = 0;
  for (const auto& name : names) bytes += read_text_file(folder.path() / name).size();
  CHECK(bytes < 8'000'000);
  const std::string first = read_text_file(folder.path() / "requant.txt");
  static_cast<void>(emit_vectors(folder.path()));
  CHECK(read_text_file(folder.path() / "requant.txt") == first);
  std::istringstream lines(first);
  std::string line;
  int records = 0, saturated = 0;
  while (std::getline(lines, line)) {
    if (line.starts_with("//")) continue;
    std::istringstream fields(line);
    fields >> std::hex;
    std::uint64_t v[9] = {};
    for (auto& f : v) REQUIRE(static_cast<bool>(fields >> f));
    const auto low = static_cast<std::int16_t>(v[4]), high = static_cast<std::int16_t>(v[5]);
    const std::int64_t acc = static_cast<std::int64_t>(v[0] << 24) >> 24;
    const std::int64_t y = reference::requantize(acc, static_cast<std::int64_t>(v[1]),
                                                 static_cast<std::int8_t>(v[2])) +
                           static_cast<std::int16_t>(v[3]);
    REQUIRE(static_cast<std::int16_t>(v[6]) == std::clamp<std::int64_t>(y, low, high));
    const std::uint64_t below = y < (high > 127 ? -32768 : -128) ? 1 : 0;
    const std::uint64_t above = y > (high > 127 ? 32767 : 127) ? 1 : 0;
    REQUIRE(v[7] == below);
    REQUIRE(v[8] == above);
    saturated += v[7] + v[8] != 0 ? 1 : 0;
    ++records;
  }
  CHECK(records > 15000);
  CHECK(saturated > 1000);
}
