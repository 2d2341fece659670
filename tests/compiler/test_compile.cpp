// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <map>

#include "tests/compiler/run.hpp"

using namespace lastmile;

namespace {

std::vector<Network> networks() {
  std::vector<Network> all = operator_cases();
  for (const std::string& name : shipped_names()) all.push_back(shipped_network(name));
  return all;
}

spec::HardwareParams small_hardware() {
  spec::HardwareParams hw;
  hw.rows = 8;
  hw.cols = 4;
  hw.bus_bytes = 8;
  hw.act_bytes = 8192;
  hw.acc_depth = 64;
  hw.rq_lanes = 2;
  return hw;
}

CompileOptions batch_of(int n) {
  CompileOptions o;
  o.batch = n;
  return o;
}

void check_losses(const ForwardResult& got, const reference::Losses& expected) {
  CHECK(got.loss_sum == expected.sum);
  CHECK(got.correct == expected.correct);
  CHECK(got.examples == expected.examples);
}

}  // namespace

TEST_CASE("compiler: programs compute what the reference computes, layer by layer") {
  const std::uint64_t seed = test_seed();
  for (const WeightType type : {WeightType::w8, WeightType::w16}) {
    for (const Network& net : networks()) {
      CAPTURE(net.name);
      QuantizeOptions quantize_options;
      quantize_options.weight_type = type;
      const QuantizedNetwork q = quantize_random(net, seed, quantize_options);
      const auto x = quantized_input(q, 3, seed + 5);
      const auto labels = random_labels(q, 3, seed);
      const reference::Result expected = reference::run(q, x);
      for (const bool plain : {false, true}) {
        CompileOptions o = batch_of(3);
        o.fuse_adds = o.reuse_memory = !plain;
        o.example_losses = plain;
        const Session s = open(compile(q, {}, o));
        s->load_batch(x, labels);
        check_losses(s->forward(), reference::losses(q, expected, labels));
        CHECK(s->logits() == expected.logits);
        if (!plain) continue;
        CHECK(s->example_losses() == reference::losses(q, expected, labels).each);
        for (int i = 0; i < net.logits_layer(); ++i) {
          CAPTURE(net.layers[static_cast<std::size_t>(i)].name);
          CHECK(s->activation(i) == expected.layers[static_cast<std::size_t>(i)]);
        }
      }
    }
  }
}

TEST_CASE("compiler: perturbed passes and updates are the reference's, element by element") {
  const std::uint64_t seed = test_seed();
  for (const auto distribution : {spec::Distribution::sign_, spec::Distribution::gaussian_}) {
    for (const WeightType type : {WeightType::w8, WeightType::w16}) {
      for (const Network& net : networks()) {
        CAPTURE(net.name);
        QuantizeOptions quantize_options;
        quantize_options.weight_type = type;
        QuantizedNetwork q = quantize_random(net, seed, quantize_options);
        CompileOptions o = batch_of(2);
        o.distribution = distribution;
        o.training = train_all(q, 200);
        const Session s = open(compile(q, {}, o));
        const auto x = quantized_input(q, 2, seed + 6);
        const auto labels = random_labels(q, 2, seed);
        s->load_batch(x, labels);
        s->set_mask_seed(99);
        const std::uint64_t seeds[] = {seed, seed + 1};
        for (const auto polarity : {spec::Polarity::plus_, spec::Polarity::minus_}) {
          reference::Perturbation p{polarity, seeds[0], 99, distribution, s->program().tensors};
          check_losses(s->forward(polarity, seeds[0]),
                       reference::losses(q, reference::run(q, x, p), labels));
        }
        const std::int8_t coefficients[] = {1, -2};
        const std::uint32_t step = 0xc000 | 1U << 16;
        std::map<std::uint32_t, std::vector<std::int32_t>> expected;
        bool moved = false;
        for (const TensorPlace& t : s->program().tensors) {
          const auto before = s->read_tensor(t.tensor);
          expected[t.tensor] =
              reference::updated(before, t, distribution, seeds, coefficients, step, 99);
          moved = moved || expected[t.tensor] != before;
        }
        CHECK(moved);
        s->update(seeds, coefficients, step);
        for (const auto& tensor : expected) {
          CAPTURE(tensor_name(q.network, tensor.first));
          CHECK(s->read_tensor(tensor.first) == tensor.second);
        }
        // And the next pass runs on the moved weights.
        s->read_weights(q);
        check_losses(s->forward(), reference::losses(q, reference::run(q, x), labels));
      }
    }
  }
}

TEST_CASE("compiler: tiles and threads do not change a bit") {
  const std::uint64_t seed = test_seed();
  spec::HardwareParams large;
  large.rows = large.cols = large.rq_lanes = 32;
  large.bus_bytes = 64;
  large.act_bytes = 262144;
  large.acc_depth = 2048;
  for (const std::string& name : shipped_names()) {
    CAPTURE(name);
    const QuantizedNetwork q = quantize_random(shipped_network(name), seed);
    const auto x = quantized_input(q, 5, seed + 7);
    const auto labels = random_labels(q, 5, seed);
    CompileOptions o = batch_of(5);
    o.training = train_all(q);
    std::vector<std::vector<std::int16_t>> logits;
    std::vector<std::vector<std::int32_t>> weights;
    for (const auto& [hw, threads] : {std::pair{spec::HardwareParams{}, 1},
                                      {spec::HardwareParams{}, 2},
                                      {small_hardware(), 1},
                                      {large, 2}}) {
      const Session s = open(compile(q, hw, o), threads);
      s->load_batch(x, labels);
      (void)s->forward(spec::Polarity::plus_, seed);
      logits.push_back(s->logits());
      const std::uint64_t seeds[] = {seed};
      const std::int8_t coefficients[] = {1};
      s->update(seeds, coefficients, 0x8000);
      weights.push_back(s->read_tensor(0));
      CHECK(logits.back() == logits.front());
      CHECK(weights.back() == weights.front());
    }
  }
}

TEST_CASE("compiler: any split of a batch gives the same logits and the same sum of losses") {
  const std::uint64_t seed = test_seed();
  for (const std::string& name : shipped_names()) {
    CAPTURE(name);
    const QuantizedNetwork q = quantize_random(shipped_network(name), seed);
    const auto x = quantized_input(q, 12, seed + 8);
    const auto labels = random_labels(q, 12, seed);
    const auto each = x.size() / 12;
    std::vector<std::int16_t> whole;
    std::int64_t sum = 0;
    for (const int batch : {12, 5, 1}) {
      const Session s = open(compile(q, {}, batch_of(batch)));
      std::vector<std::int16_t> parts;
      ForwardResult total;
      for (int at = 0; at < 12; at += batch) {
        const auto n = static_cast<std::size_t>(std::min(batch, 12 - at));
        const auto from = static_cast<std::size_t>(at);
        s->load_batch(std::span(x).subspan(from * each, n * each),
                      std::span(labels).subspan(from, n));
        const ForwardResult r = s->forward();
        CHECK(r.examples == n);
        total.loss_sum += r.loss_sum;
        const auto logits = s->logits();
        parts.insert(parts.end(), logits.begin(),
                     logits.begin() + static_cast<std::ptrdiff_t>(n * 10));
      }
      if (batch == 12) whole = parts, sum = total.loss_sum;
      CHECK(parts == whole);
      CHECK(total.loss_sum == sum);
    }
  }
}

TEST_CASE("compiler: a prefix and the suffix after it are the whole, cut anywhere") {
  const std::uint64_t seed = test_seed();
  for (const std::string& name : shipped_names()) {
    const QuantizedNetwork q = quantize_random(shipped_network(name), seed);
    const auto x = quantized_input(q, 2, seed + 9);
    const auto labels = random_labels(q, 2, seed);
    CompileOptions whole = batch_of(2);
    whole.training = train_all(q);
    int cuts = 0;
    for (int cut = 0; cut < q.network.logits_layer(); ++cut) {
      CompileOptions head = batch_of(2);
      head.output_layer = cut;
      head.slots = 2;
      CompileOptions tail = batch_of(2);
      tail.input_layer = cut;
      // Perturb the tail only: the prefix is the frozen part.
      for (const TensorTraining& t : whole.training)
        if (static_cast<int>(t.tensor / 2) > cut) tail.training.push_back(t);
      Program tail_program;
      try {
        tail_program = compile(q, {}, tail);
      } catch (const Error& e) {
        CHECK(mentions(e.what(), {"expected a layer that every path passes"}));
        continue;
      }
      ++cuts;
      CAPTURE(name);
      CAPTURE(cut);
      const Session features = open(compile(q, {}, head));
      features->load_batch(x, {}, 1);
      features->select_batch(1);
      (void)features->forward();
      const Session s = open(std::move(tail_program));
      s->load_batch(features->output(1), labels);
      CompileOptions same = batch_of(2);
      same.training = tail.training;
      const Session reference = open(compile(q, {}, same));
      reference->load_batch(x, labels);
      for (const auto polarity :
           {spec::Polarity::none_, spec::Polarity::plus_, spec::Polarity::minus_}) {
        CHECK(s->forward(polarity, seed).loss_sum == reference->forward(polarity, seed).loss_sum);
        CHECK(s->logits() == reference->logits());
      }
    }
    CHECK(cuts >= 4);
  }
}

TEST_CASE("compiler: an add is fused where it can be, with one command less") {
  const QuantizedNetwork q = quantize_random(shipped_network("resnet8"), 5);
  const auto adds = [](const Program& p, bool fused) {
    return std::count_if(p.forward.begin(), p.forward.end(), [&](const Command& c) {
      return fused ? c.descriptor.has(spec::kFlagResAdd)
                   : c.descriptor.opcode == static_cast<std::uint32_t>(spec::Opcode::add_);
    });
  };
  CompileOptions o = batch_of(2);
  const Program fused = compile(q, {}, o);
  o.fuse_adds = false;
  const Program plain = compile(q, {}, o);
  CHECK(adds(fused, true) == 3);
  CHECK(adds(fused, false) == 0);
  CHECK(adds(plain, true) == 0);
  CHECK(adds(plain, false) == 3);
  CHECK(fused.forward.size() + 3 == plain.forward.size());
  CHECK(fused.memory.activation_bytes <= plain.memory.activation_bytes);
}

TEST_CASE(
    "compiler: a convolution fused with its own input does not overwrite what it still reads") {
  const Network net =
      make_network("self", "[14, 14, 4]",
                   layer_text("a", "conv2d", "filters = 4\nkernel = 3\npadding = \"same\"") +
                       layer_text("b", "conv2d", "filters = 4\nkernel = 3\npadding = \"same\"") +
                       layer_text("s", "add", "inputs = [\"a\", \"b\"]") +
                       layer_text("g", "global_average_pool", ""));
  const QuantizedNetwork q = quantize_random(net, 18);
  const Program p = compile(q, small_hardware(), batch_of(2));
  REQUIRE(p.forward[1].descriptor.has(spec::kFlagResAdd));
  CHECK(p.forward[1].descriptor.in_addr == p.forward[1].descriptor.in2_addr);
  CHECK(p.forward[1].descriptor.in_addr != p.forward[1].descriptor.out_addr);
  CHECK(p.forward[1].descriptor.tile_h * p.forward[1].descriptor.tile_w <
        14 * 14);  // more than one tile
  const Session s = open(p);
  const auto x = quantized_input(q, 2, 19);
  s->load_batch(x, random_labels(q, 2, 19));
  (void)s->forward();
  CHECK(s->logits() == reference::run(q, x).logits);
}

TEST_CASE("compiler: a depthwise tile lasts until the next weights are spread over the columns") {
  const Network net =
      make_network("small", "[25, 5, 64]",
                   layer_text("d", "depthwise_conv2d", "kernel = 3\npadding = \"same\"") +
                       layer_text("g", "global_average_pool", ""));
  const spec::HardwareParams hw;
  QuantizeOptions o;
  o.weight_type = WeightType::w8;
  const Program p = compile(quantize_random(net, 23, o), hw, batch_of(1));
  const spec::Descriptor& d = p.forward[0].descriptor;
  REQUIRE(d.op() == spec::Opcode::depthwise_);
  CHECK(d.tile_h * d.tile_w >= static_cast<std::uint32_t>(hw.cols));
}

TEST_CASE("compiler: the batch is a second addend only by way of a copy, and only if it must be") {
  const auto copies = [](const std::string& inputs) {
    const Network net = make_network("twice", "[4, 4, 2]",
                                     layer_text("c", "conv2d", "filters = 2\nkernel = 1") +
                                         layer_text("s", "add", "inputs = " + inputs) +
                                         layer_text("t", "add", "inputs = [\"s\", \"c\"]"));
    const QuantizedNetwork q = quantize_random(net, 20);
    const Program p = compile(q, {}, batch_of(2));
    const Session s = open(p);
    const auto x = quantized_input(q, 2, 21);
    s->load_batch(x, random_labels(q, 2, 21));
    (void)s->forward();
    CHECK(s->logits() == reference::run(q, x).logits);
    return std::count_if(p.forward.begin(), p.forward.end(), [](const Command& c) {
      return c.layer == kNetworkInput && c.name != "loss";
    });
  };
  CHECK(copies("[\"input\", \"c\"]") == 0);
  CHECK(copies("[\"c\", \"input\"]") == 0);
  CHECK(copies("[\"input\", \"input\"]") == 1);
}

TEST_CASE("compiler: a program that ends in a softmax gives the probabilities") {
  const std::vector<Network> cases = operator_cases();
  const auto at = std::find_if(cases.begin(), cases.end(),
                               [](const Network& n) { return n.layers.back().op == Op::softmax; });
  REQUIRE(at != cases.end());
  const QuantizedNetwork q = quantize_random(*at, 11);
  CompileOptions o = batch_of(4);
  o.output_layer = static_cast<int>(q.layers.size()) - 1;
  const Session s = open(compile(q, {}, o));
  const auto x = quantized_input(q, 4, 12);
  s->load_batch(x, {});
  CHECK(s->forward().examples == 0);
  CHECK(s->output() == reference::run(q, x).layers.back());
}

TEST_CASE("compiler: equal arguments give equal programs") {
  const QuantizedNetwork q = quantize_random(shipped_network("resnet8"), 13);
  CompileOptions o = batch_of(4);
  o.training = train_all(q);
  const Program a = compile(q, {}, o), b = compile(q, {}, o);
  CHECK(a.image == b.image);
  CHECK(to_text(a, q.network) == to_text(b, q.network));
}

TEST_CASE("compiler: the reported memory is enough, and one byte less is not") {
  for (const std::string& name : shipped_names()) {
    const QuantizedNetwork q = quantize_random(shipped_network(name), 14);
    CompileOptions o = batch_of(3);
    o.slots = 2;
    const Program p = compile(q, {}, o);
    const auto x = quantized_input(q, 3, 15);
    const auto labels = random_labels(q, 3, 15);
    const Session s = open(p);  // exactly total_bytes
    s->load_batch(x, labels, 1);
    s->select_batch(1);
    CHECK(s->forward().examples == 3);
    s.device->write_register(spec::reg::kMemLimit,
                             static_cast<std::uint32_t>(p.memory.total_bytes - 1));
    CHECK(mentions(error_of([&] { (void)s->forward(); }), {"ADDRESS", "loss", "in2_addr"}));

    DeviceOptions small;
    small.memory_bytes = p.memory.total_bytes - 1;
    const auto device = open_model(small);
    CHECK(mentions(error_of([&] { Driver(*device, p); }),
                   {"memory", std::to_string(p.memory.total_bytes)}));
    o.memory_bytes = p.memory.total_bytes - 1;
    CHECK(mentions(error_of([&] { (void)compile(q, {}, o); }),
                   {"memory", std::to_string(p.memory.total_bytes), "weights", "activations"}));
    o.memory_bytes = p.memory.total_bytes;
    CHECK(compile(q, {}, o).memory.total_bytes == p.memory.total_bytes);
  }
}

TEST_CASE("compiler: labels take two bytes above 255 classes") {
  const Network net = parse_network("name = \"wide\"\ninput = [1, 1, 4]\nclasses = 300\n" +
                                        layer_text("fc", "fully_connected", "units = 300"),
                                    "wide");
  const QuantizedNetwork q = quantize_random(net, 16);
  const Session s = open(compile(q, {}, batch_of(3)));
  CHECK(s->program().label_bytes == 2);
  const auto x = quantized_input(q, 3, 17);
  const std::vector<int> labels = {299, -1, 256};
  s->load_batch(x, labels);
  check_losses(s->forward(), reference::losses(q, reference::run(q, x), labels));
}
