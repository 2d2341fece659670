// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <string>

#include "sw/base/error.hpp"
#include "sw/graph/reader.hpp"

using namespace lastmile;

namespace {

constexpr TaskShape kImages{{28, 28, 1}, 10};

const std::string kHead = "name = \"n\"\ninput = [8, 8, 4]\nclasses = 3\n";
const std::string kTail =
    "[[layer]]\nname = \"gap\"\nop = \"global_average_pool\"\n[[layer]]\nname = \"fc\"\nop = "
    "\"fully_connected\"\nunits = \"classes\"\n";

std::string conv(const std::string& rest) {
  return kHead + "[[layer]]\nname = \"c\"\nop = \"conv2d\"\n" + rest + kTail;
}

// The message of the error that reading `text` causes; empty when it is accepted.
std::string refusal(const std::string& text) {
  try {
    (void)parse_network(text, "n.toml");
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::input);
    return e.what();
  }
  return "";
}

bool has(const std::string& text, std::initializer_list<const char*> parts) {
  for (const char* part : parts) {
    if (text.find(part) == std::string::npos) {
      MESSAGE("'" << std::string(part) << "' is not in: " << text);
      return false;
    }
  }
  return true;
}

}  // namespace

TEST_CASE("graph: shapes follow TensorFlow's same and valid padding") {
  const auto out = [](const std::string& rest) {
    return parse_network(conv("filters = 6\n" + rest), "n").layers[0];
  };
  const Layer same = out("kernel = 3\nstride = 2\npadding = \"same\"\n");
  CHECK(same.out == Shape{4, 4, 6});
  CHECK(same.pad_top == 0);  // one element of padding in all: it goes to the bottom
  CHECK(same.pad_bottom == 1);
  const Layer wide = out("kernel = [1, 5]\nstride = [1, 3]\npadding = \"same\"\n");
  CHECK(wide.out == Shape{8, 3, 6});
  CHECK(wide.pad_left == 1);
  CHECK(wide.pad_right == 2);
  CHECK(wide.pad_top == 0);
  const Layer dilated = out("kernel = 3\ndilation = [3, 1]\npadding = \"same\"\n");
  CHECK(dilated.pad_top == 3);
  CHECK(dilated.pad_bottom == 3);
  CHECK(dilated.out == Shape{8, 8, 6});
  CHECK(out("kernel = [8, 3]\n").out == Shape{1, 6, 6});
  CHECK(out("kernel = 3\ndilation = 2\nstride = 3\n").out == Shape{2, 2, 6});
  CHECK(out("kernel = 3\npadding = [2, 0, 1, 1]\n").out == Shape{8, 8, 6});
}

TEST_CASE("graph: counts of weights, products and multiply-accumulates") {
  const Network n =
      parse_network(conv("filters = 6\nkernel = 3\npadding = \"same\"\ngroups = 2\n"), "n");
  CHECK(reduction(n.layers[0]) == 18);
  CHECK(weight_count(n.layers[0]) == 6 * 18);
  CHECK(macs(n.layers[0]) == 64 * 6 * 18);
  CHECK(weight_count(n) == 6 * 18 + 6 * 3);
  CHECK(reduction(n.layers[1]) == 64);
  CHECK(macs(n.layers[1]) == 0);
  const Network d = parse_network(
      kHead + "[[layer]]\nname = \"d\"\nop = \"depthwise_conv2d\"\nkernel = 3\nmultiplier = 2\n" +
          kTail,
      "n");
  CHECK(d.layers[0].out == Shape{6, 6, 8});
  CHECK(weight_count(d.layers[0]) == 9 * 8);
  CHECK(macs(d.layers[0]) == 36 * 8 * 9);
}

TEST_CASE(
    "graph: a residual network is wired by names, and the logits are below a closing softmax") {
  const Network n = parse_network(
      conv(
          "filters = 4\nkernel = 3\npadding = \"same\"\nbatch_norm = true\nactivation = \"relu6\"\n"
          "[[layer]]\nname = \"sum\"\nop = \"add\"\ninputs = [\"c\", \"input\"]\nactivation = "
          "\"relu\"\n") +
          "[[layer]]\nname = \"p\"\nop = \"softmax\"\n",
      "n");
  CHECK(n.layers[1].inputs == std::vector<int>{0, kNetworkInput});
  CHECK(n.layers[0].bias);
  CHECK(n.layers[0].activation == Activation::relu6);
  CHECK(n.logits_layer() == 3);
  CHECK(find_layer(n, "sum") == 1);
  CHECK(find_layer(n, "nowhere") == -2);
}

TEST_CASE("graph: canonical text reads back to the same network") {
  const std::string text = conv(
      "filters = 4\nkernel = [3, 2]\nstride = [2, 1]\ndilation = [1, 2]\npadding = "
      "\"same\"\ngroups = 2\nbias = false\n");
  const Network n = parse_network(text, "n");
  const Network again = parse_network(to_toml(n), "again");
  CHECK(again == n);
  CHECK(fingerprint(again) == fingerprint(n));
  Network other = n;
  other.layers[0].activation = Activation::relu;
  CHECK(fingerprint(other) != fingerprint(n));
}

TEST_CASE("graph: a concat lays its inputs of any shapes and its constants side by side") {
  const auto concat = [](const std::string& rest) {
    return kHead +
           "[[layer]]\nname = \"p\"\nop = \"max_pool2d\"\nkernel = 2\n"
           "[[layer]]\nname = \"c\"\nop = \"concat\"\n" +
           rest + "[[layer]]\nname = \"fc\"\nop = \"fully_connected\"\nunits = 3\n";
  };
  const std::string inputs = "inputs = [\"p\", \"input\", \"p\"]\n";
  const Network n =
      parse_network(concat(inputs + "gains = [0.1, 2, 1e-3]\nconstants = [1, 0.25]\n"), "n");
  const Layer& c = n.layers[1];
  CHECK(c.in == Shape{1, 1, 64 + 256 + 64});
  CHECK(c.out == Shape{1, 1, 386});
  CHECK(c.parts == std::vector<ConcatPart>{{64, 0.1}, {256, 2}, {64, 1e-3}});
  CHECK(c.constants == std::vector<double>{1, 0.25});
  CHECK(weight_count(n.layers[2]) == 3 * 386);
  CHECK(reduction(c) == 0);
  CHECK(parse_network(to_toml(n), "again") == n);
  const Network plain = parse_network(concat(inputs), "n");
  CHECK(plain.layers[1].parts[2].gain == 1);
  CHECK(parse_network(to_toml(plain), "again") == plain);

  CHECK(has(refusal(concat(inputs + "gains = [1, 2]\n")), {"gains is [1, 2]", "3 numbers"}));
  CHECK(has(refusal(concat(inputs + "gains = [1, 2, \"x\"]\n")), {"gains", "3 numbers"}));
  CHECK(has(refusal(concat(inputs + "gains = [1, 0, 1]\n")), {"'c' (concat)", "gain is 0"}));
  CHECK(has(refusal(concat(inputs + "constants = [nan]\n")), {"constant is nan"}));
  CHECK(has(refusal(concat(inputs + "activation = \"relu\"\n")), {"unknown key 'activation'"}));
  Network bad = n;
  bad.layers[1].parts[1].elements = 255;
  CHECK_THROWS_WITH_AS(check_network(bad, "o"), doctest::Contains("input 1 has 256 elements"),
                       Error);
  bad = n;
  bad.layers[1].in.c = 383;
  CHECK_THROWS_WITH_AS(check_network(bad, "o"), doctest::Contains("expected 1x1x384"), Error);
  bad = n;
  bad.layers[0].constants = {1};
  CHECK_THROWS_WITH_AS(check_network(bad, "o"), doctest::Contains("expected none"), Error);
}

TEST_CASE("graph: errors name file, layer, field, value and what was expected") {
  const std::string k3 = "filters = 4\nkernel = 3\n";
  CHECK(refusal(conv(k3)) == "");
  CHECK(has(refusal("name = "), {"n.toml", "not valid TOML"}));
  CHECK(has(refusal("\n'\xff'\xff"), {"n.toml:2", "not UTF-8"}));
  CHECK(
      has(refusal(conv("filters = 4\nkernal = 3\n")), {"n.toml:4: layer 'c': kernel is missing"}));
  CHECK(has(refusal(conv(k3 + "kernal = 3\n")),
            {"n.toml:9: layer 'c': unknown key 'kernal'", "kernel"}));
  CHECK(has(refusal(conv("filters = -1\nkernel = 3\n")),
            {"n.toml:7", "'c'", "filters is -1", "1 to 65535"}));
  CHECK(has(refusal(conv("filters = 4.5\nkernel = 3\n")), {"filters is 4.5", "an integer"}));
  CHECK(has(refusal(conv("filters = 99999999999\nkernel = 3\n")), {"filters is 99999999999"}));
  CHECK(has(refusal(conv("filters = 4\nkernel = 9\n")),
            {"'c'", "kernel height of 9", "padded input, 8"}));
  CHECK(has(refusal(conv("filters = 4\nkernel = [3, 3, 3]\n")),
            {"kernel is [3, 3, 3]", "[height, width]"}));
  CHECK(has(refusal(conv(k3 + "groups = 3\n")),
            {"'c'", "groups is 3", "divisor of the 4 input channels"}));
  CHECK(has(refusal(conv("filters = 6\nkernel = 3\ngroups = 4\n")),
            {"filters is 6", "multiple of the 4 groups"}));
  CHECK(has(refusal(conv(k3 + "padding = \"full\"\n")), {"padding is \"full\"", "\"same\""}));
  CHECK(has(refusal(conv(k3 + "padding = [3, 0, 0, 0]\n")), {"padding top is 3, expected 0 to 2"}));
  CHECK(
      has(refusal(conv(k3 + "batch_norm = true\nbias = true\n")), {"bias is true", "batch_norm"}));
  CHECK(has(refusal(conv(k3 + "activation = \"tanh\"\n")),
            {"activation is \"tanh\"", "none, relu or relu6"}));
  CHECK(has(refusal(conv(k3 + "input = \"fc\"\n")), {"input is \"fc\"", "earlier layers"}));
  CHECK(has(refusal(conv(k3 + "[[layer]]\nname = \"c\"\nop = \"softmax\"\n")),
            {"name is \"c\"", "no earlier layer"}));
  CHECK(has(refusal(conv(k3 + "[[layer]]\nname = \"a\"\nop = \"add\"\n")),
            {"'a'", "inputs is missing", "two names"}));
  CHECK(has(
      refusal(conv(k3 + "[[layer]]\nname = \"a\"\nop = \"add\"\ninputs = [\"c\", \"input\"]\n")),
      {"'a'", "shape 8x8x4", "expected 6x6x4"}));
  CHECK(has(refusal(conv(k3 + "[[layer]]\nname = \"s\"\nop = \"softmax\"\n")),
            {"'s'", "expected the last one"}));
  CHECK(has(refusal(conv(k3 + "[[layer]]\nname = \"x\"\nop = \"lstm\"\n")),
            {"op is \"lstm\"", "conv2d"}));
  CHECK(has(
      refusal(conv(
          k3 + "[[layer]]\nname = \"x\"\nop = \"max_pool2d\"\nkernel = 2\ninput = \"input\"\n")),
      {"'c'", "no layer reads its output"}));
  CHECK(has(refusal(kHead + "[[layer]]\nname = \"c\"\nop = \"conv2d\"\nfilters = 3\nkernel = 7\n"),
            {"'c'", "2x2x3", "1x1x3"}));
  CHECK(has(refusal("name = \"n\"\ninput = \"task\"\nclasses = 3\n" + kTail),
            {"input is \"task\"", "no task"}));
  CHECK(has(refusal("name = \"n\"\ninput = [8, 8]\nclasses = 3\n" + kTail),
            {"n.toml:2: input is [8, 8]"}));
  CHECK(has(refusal("name = \"n\"\ninput = [8, 8, 1]\nclasses = 1\n" + kTail), {"classes is 1"}));
  CHECK(has(refusal("name = \"n\"\ninput = [8, 8, 1]\nclasses = 3\n"), {"layer is missing"}));
}

TEST_CASE("graph: what the accelerator cannot hold is refused by name") {
  const std::string big =
      "name = \"n\"\ninput = [257, 256, 1]\nclasses = 3\n[[layer]]\nname = \"fc\"\nop = "
      "\"fully_connected\"\nunits = 3\n";
  CHECK(has(refusal(big), {"'fc'", "K", "65792", "65536"}));
  CHECK(refusal("name = \"n\"\ninput = [256, 256, 1]\nclasses = 3\n[[layer]]\nname = \"fc\"\nop = "
                "\"fully_connected\"\nunits = 3\n") == "");
  CHECK(has(refusal("name = \"n\"\ninput = [65535, 65535, 9]\nclasses = 3\n" + kTail),
            {"'gap'", "K", "4294836225"}));
  CHECK(has(
      refusal(
          kHead +
          "[[layer]]\nname = \"d\"\nop = \"depthwise_conv2d\"\nkernel = 3\nmultiplier = 20000\n" +
          kTail),
      {"multiplier is 20000", "at most 16383"}));
}

TEST_CASE("graph: text that would exhaust the parser's stack is refused") {
  for (const char* open : {"[", "{a=", "['#',"}) {
    std::string text = "x = ";
    for (int i = 0; i < 100'000; ++i) text += open;
    CHECK(has(refusal(text), {"n.toml:1: brackets 17 deep"}));
  }
  std::string key = "# a comment with [[[[[[[[[[[[[[[[[[[[ and \"\"\" is only a comment\na";
  for (int i = 0; i < 100'000; ++i) key += ".a";
  CHECK(has(refusal(key + " = 1"), {"n.toml:2: 17 dots"}));
  CHECK(has(refusal("name = \"\"\"a\"b\"\"\""), {"n.toml:1: a multi-line string"}));
  CHECK(
      has(refusal(std::string((4 << 20) + 1, '\n')), {"4194305 bytes, expected at most 4194304"}));
}

TEST_CASE("graph: a task fixes the shape, and a file that fixes another is refused") {
  const std::string text = "name = \"n\"\ninput = \"task\"\nclasses = \"task\"\n" + kTail;
  const Network n = parse_network(text, "n", kImages);
  CHECK(n.input == Shape{28, 28, 1});
  CHECK(n.classes == 10);
  CHECK(n.layers.back().out == Shape{1, 1, 10});
  CHECK_THROWS_WITH_AS((void)parse_network(kHead + kTail, "n.toml", kImages),
                       doctest::Contains("input is [8, 8, 4], expected [28, 28, 1]"), Error);
}

TEST_CASE(
    "graph: validate refuses a hand-made network whose shapes do not follow from its fields") {
  Network n = parse_network(conv("filters = 4\nkernel = 3\n"), "n");
  n.layers[0].out.h = 7;
  CHECK_THROWS_WITH_AS(check_network(n, "made"),
                       doctest::Contains("made: layer 'c' (conv2d): output shape is 7x6x4"), Error);
  n.layers[0].out.h = 6;
  n.layers[1].inputs = {5};
  CHECK_THROWS_WITH_AS(check_network(n, "made"),
                       doctest::Contains("input 5 is not an earlier layer"), Error);
}

TEST_CASE("graph: pools have dilation and ceil_mode, and say what they do not have") {
  const auto pool = [](const std::string& op, const std::string& fields) {
    return kHead + "[[layer]]\nname = \"p\"\nop = \"" + op + "\"\n" + fields + kTail;
  };
  const auto layer = [&](const std::string& fields) {
    const Network n = parse_network(pool("max_pool2d", fields), "n");
    CHECK(parse_network(to_toml(n), "again") == n);
    return n.layers[0];
  };
  const auto refused = [&](const std::string& op, const std::string& fields) {
    try {
      static_cast<void>(parse_network(pool(op, fields), "n"));
    } catch (const Error& e) {
      return std::string(e.what());
    }
    return std::string();
  };
  // The input is 8 x 8.
  CHECK(layer("kernel = 2\nstride = 1\ndilation = 3\n").out.h == 5);
  CHECK(layer("kernel = 3\nstride = 2\n").out.h == 3);
  const Layer up = layer("kernel = 3\nstride = 2\nceil_mode = true\n");
  CHECK(up.out.h == 4);
  CHECK(up.pad_bottom == 1);
  // No window begins behind the input: 8 = 2 * 3 + 2.
  CHECK(layer("kernel = 2\nstride = 3\nceil_mode = true\n").pad_bottom == 0);
  CHECK(layer("kernel = 1\nstride = 7\nceil_mode = true\n").out.h == 2);
  CHECK(layer("kernel = 1\nstride = 9\nceil_mode = true\n").out.h == 1);
  CHECK(layer("kernel = 2\ncount_include_pad = true\n").out.h == 4);
  CHECK(refused("average_pool2d", "kernel = 3\npadding = \"same\"\ncount_include_pad = true\n")
            .find("depthwise_conv2d") != std::string::npos);
  // Taps at -7 and 8: both outside.
  CHECK(refused("max_pool2d",
                "kernel = [2, 1]\nstride = 1\ndilation = [15, 1]\npadding = [7, 8, 0, 0]\n")
            .find("no element inside the input") != std::string::npos);
  CHECK(refused("global_average_pool", "dilation = 2\n").find("dilation") != std::string::npos);
}
