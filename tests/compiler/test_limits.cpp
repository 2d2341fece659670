// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "tests/compiler/run.hpp"

using namespace lastmile;

namespace {

std::string compile_error(const QuantizedNetwork& q, CompileOptions o = {},
                          const spec::HardwareParams& hw = {}) {
  o.batch = 1;
  return error_of([&] { (void)compile(q, hw, o); });
}

QuantizedNetwork one_conv(const std::string& input, const std::string& fields,
                          const std::string& op = "conv2d") {
  return quantize_random(make_network("limit", input, layer_text("c", op, fields)), 1);
}

}  // namespace

TEST_CASE("compiler: shapes that the hardware cannot do name layer, field, value and limit") {
  CHECK(
      mentions(compile_error(one_conv("[600, 1, 1]", "filters = 1\nkernel = 1\nstride = [300, 1]")),
               {"'c'", "stride height is 300", "1 to 255"}));
  CHECK(mentions(
      compile_error(one_conv("[600, 1, 1]", "filters = 1\nkernel = [2, 1]\ndilation = [300, 1]")),
      {"'c'", "dilation height is 300", "1 to 255"}));
  // Where they cannot be seen they do not matter.
  CHECK(compile_error(one_conv("[300, 1, 1]", "filters = 1\nkernel = 1\nstride = [300, 1]")) ==
        "no error");
  CHECK(compile_error(one_conv("[4, 4, 1]", "filters = 1\nkernel = 1\ndilation = [300, 300]")) ==
        "no error");
}

TEST_CASE("compiler: a window that does not fit the scratchpad names layer and bytes") {
  spec::HardwareParams hw;
  hw.act_bytes = 4096;
  CHECK(mentions(compile_error(one_conv("[9, 9, 64]", "filters = 2\nkernel = 9"), {}, hw),
                 {"'c'", "5184", "4096"}));
  CHECK(mentions(compile_error(one_conv("[70, 70, 1]", "", "global_average_pool"), {}, hw),
                 {"'c'", "4900", "4096"}));
  // A fully connected layer is cut along its input instead.
  const QuantizedNetwork wide = quantize_random(make_network("wide", "[80, 80, 1]", ""), 2);
  CompileOptions o;
  o.batch = 2;
  const Program p = compile(wide, hw, o);
  CHECK(p.forward[0].descriptor.tile_c < 6400);
  const Session s = open(p);
  const auto x = quantized_input(wide, 2, 3);
  s->load_batch(x, random_labels(wide, 2, 3));
  (void)s->forward();
  CHECK(s->logits() == reference::run(wide, x).logits);
}

TEST_CASE("compiler: pools and depthwise convolutions are cut along their channels") {
  // Name, input, layer, ACT_BYTES.
  struct Cut {
    std::string input, op, fields;
    int act_bytes;
  };
  for (const Cut& cut :
       {Cut{"[7, 7, 2048]", "global_average_pool", "", 65536},
        Cut{"[7, 7, 100]", "global_average_pool", "", 4096},
        Cut{"[6, 6, 530]", "max_pool2d", "kernel = 3\nstride = 2\npadding = \"same\"", 4096},
        Cut{"[6, 5, 999]", "average_pool2d", "kernel = [3, 2]", 4096},
        Cut{"[5, 6, 470]", "depthwise_conv2d", "kernel = 3\npadding = \"same\"", 4096},
        Cut{"[5, 5, 601]", "depthwise_conv2d", "kernel = 3\nmultiplier = 2\ndilation = 2", 4096}}) {
    CAPTURE(cut.input);
    spec::HardwareParams hw;
    hw.act_bytes = cut.act_bytes;
    const QuantizedNetwork q =
        quantize_random(make_network("cut", cut.input, layer_text("c", cut.op, cut.fields)), 1);
    CompileOptions o;
    o.batch = 2;
    const Program p = compile(q, hw, o);
    const spec::Descriptor& d = p.forward[0].descriptor;
    CHECK(d.tile_c < d.in_c);
    CHECK(d.tile_c % 16 == 0);
    const Session s = open(p);
    const auto x = quantized_input(q, 2, 3);
    s->load_batch(x, random_labels(q, 2, 3));
    (void)s->forward();
    CHECK(s->logits() == reference::run(q, x).logits);
  }
}

TEST_CASE("compiler: logits must come from a layer with weights") {
  const Network net = parse_network("name = \"gap\"\ninput = [4, 4, 2]\nclasses = 3\n" +
                                        layer_text("c", "conv2d", "filters = 3\nkernel = 1") +
                                        layer_text("g", "global_average_pool", ""),
                                    "gap");
  const QuantizedNetwork q = quantize_random(net, 4);
  CHECK(mentions(compile_error(q), {"'g'", "global_average_pool", "int16"}));
  CompileOptions o;
  o.output_layer = 1;
  CHECK(compile_error(q, o) == "no error");
}

TEST_CASE("compiler: options outside their ranges are refused by name") {
  const QuantizedNetwork q = quantize_random(norm_case(), 5);
  const auto refused = [&](auto change, const spec::HardwareParams& hw = {}) {
    CompileOptions o;
    o.batch = 1;
    change(o);
    return error_of([&] { (void)compile(q, hw, o); });
  };
  CHECK(mentions(refused([](CompileOptions& o) { o.batch = 0; }), {"batch is 0"}));
  CHECK(mentions(refused([](CompileOptions& o) { o.batch = 70000; }), {"batch is 70000"}));
  CHECK(mentions(refused([](CompileOptions& o) { o.slots = 0; }), {"slots is 0"}));
  CHECK(mentions(refused([](CompileOptions& o) { o.input_layer = 9; }), {"input layer is 9"}));
  CHECK(mentions(refused([](CompileOptions& o) { o.output_layer = -1; }), {"output layer is -1"}));
  CHECK(mentions(refused([](CompileOptions& o) { o.input_layer = 2, o.output_layer = 1; }),
                 {"not after"}));
  CHECK(mentions(refused([](CompileOptions& o) { o.output_layer = 1, o.example_losses = true; }),
                 {"per-example"}));
  spec::HardwareParams hw;
  hw.rows = 12;
  CHECK(mentions(refused([](CompileOptions&) {}, hw), {"ROWS"}));
  hw = {};
  hw.training = 0;
  CHECK(mentions(refused([](CompileOptions&) {}, hw), {"TRAINING"}));
  CHECK(refused([](CompileOptions& o) { o.output_layer = 3; }, hw) == "no error");
}

TEST_CASE("compiler: a broken quantized network does not get through") {
  QuantizedNetwork q = quantize_random(norm_case(), 6);
  q.layers[1].requant[2].exponent = 31;
  CHECK(mentions(compile_error(q), {"'dw'", "exponent 2 is 31", "-40 to 30"}));
  q = quantize_random(norm_case(), 6);
  q.layers[0].weights.pop_back();
  CHECK(mentions(compile_error(q), {"'conv'", "weights", "71 elements"}));
  q = quantize_random(norm_case(), 6);
  q.logits = {};
  CHECK(mentions(compile_error(q), {"'fc'", "int16 logits"}));
}

TEST_CASE("compiler: adds of large tensors are split into rows") {
  const Network net = make_network("large", "[80, 30, 30]",
                                   layer_text("c", "conv2d", "filters = 30\nkernel = 1") +
                                       layer_text("a", "add", "inputs = [\"input\", \"c\"]") +
                                       layer_text("g", "global_average_pool", ""));
  const QuantizedNetwork q = quantize_random(net, 7);
  CompileOptions o;
  o.batch = 2;
  o.fuse_adds = false;
  spec::HardwareParams hw;
  hw.act_bytes = 262144;
  const Program p = compile(q, hw, o);
  CHECK(p.forward[1].descriptor.in_c == 900);
  CHECK(p.forward[1].descriptor.n == 160);
  const Session s = open(p);
  const auto x = quantized_input(q, 2, 8);
  s->load_batch(x, random_labels(q, 2, 8));
  (void)s->forward();
  CHECK(s->logits() == reference::run(q, x).logits);
}
