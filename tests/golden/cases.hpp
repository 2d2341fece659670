// SPDX-License-Identifier: Apache-2.0
// Small networks that between them use every operator and every field, and random numbers for them.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include "sw/base/rng.hpp"
#include "sw/golden/params.hpp"
#include "sw/graph/reader.hpp"

namespace lastmile {

// A fixed seed, so that a failure repeats; LASTMILE_SEED gives another.
inline std::uint64_t test_seed() {
  const char* text = std::getenv("LASTMILE_SEED");
  const std::uint64_t seed = text != nullptr ? std::strtoull(text, nullptr, 10) : 20260418;
  MESSAGE("LASTMILE_SEED=" << seed);
  return seed;
}

inline Network make_network(const std::string& name, const std::string& input,
                            const std::string& layers) {
  return parse_network("name = \"" + name + "\"\ninput = " + input + "\nclasses = 3\n" + layers +
                           "[[layer]]\nname = \"fc\"\nop = \"fully_connected\"\nunits = 3\n",
                       name);
}

inline std::string layer_text(const std::string& name, const std::string& op,
                              const std::string& rest) {
  return "[[layer]]\nname = \"" + name + "\"\nop = \"" + op + "\"\n" + rest + "\n";
}

inline Network norm_case() {
  return make_network("norm", "[6, 5, 2]",
                      layer_text("conv", "conv2d",
                                 "filters = 4\nkernel = 3\npadding = \"same\"\nbatch_norm = true\n"
                                 "activation = \"relu\"") +
                          layer_text("dw", "depthwise_conv2d",
                                     "kernel = 3\nbatch_norm = true\nactivation = \"relu6\"") +
                          layer_text("pool", "global_average_pool", ""));
}

inline std::vector<Network> operator_cases() {
  std::vector<Network> cases;
  cases.push_back(make_network(
      "strides", "[9, 7, 3]",
      layer_text("a", "conv2d",
                 "filters = 5\nkernel = [3, 2]\nstride = [2, 1]\npadding = \"same\"\nactivation = "
                 "\"relu\"") +
          layer_text(
              "b", "conv2d",
              "filters = 18\nkernel = [3, 5]\npadding = [2, 1, 0, 4]\nactivation = \"relu6\"")));
  cases.push_back(make_network(
      "dilation", "[11, 9, 2]",
      layer_text("a", "conv2d", "filters = 6\nkernel = 3\ndilation = [2, 3]\npadding = \"same\"") +
          layer_text(
              "b", "depthwise_conv2d",
              "kernel = 3\ndilation = 2\nstride = 2\npadding = \"same\"\nactivation = \"relu\"")));
  cases.push_back(make_network(
      "groups", "[5, 5, 6]",
      layer_text("a", "conv2d",
                 "filters = 4\nkernel = 3\ngroups = 2\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("b", "conv2d", "filters = 8\nkernel = 1\ngroups = 4\nbias = false") +
          layer_text("c", "conv2d", "filters = 7\nkernel = 1\nactivation = \"relu\"") +
          layer_text("d", "conv2d", "filters = 7\nkernel = 1\nstride = 2")));
  cases.push_back(make_network(
      "depthwise", "[7, 6, 3]",
      layer_text("a", "depthwise_conv2d",
                 "kernel = [3, 2]\nmultiplier = 4\npadding = \"same\"\nactivation = \"relu6\"") +
          layer_text("b", "depthwise_conv2d", "kernel = 3\nstride = [1, 2]\nbias = false")));
  cases.push_back(make_network(
      "pools", "[9, 8, 3]",
      layer_text("z", "conv2d", "filters = 3\nkernel = 1") +
          layer_text(
              "a", "max_pool2d",
              "kernel = [3, 2]\nstride = [2, 1]\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("b", "average_pool2d", "kernel = 3\nstride = 2\npadding = \"same\"") +
          layer_text("c", "max_pool2d", "kernel = 2")));
  cases.push_back(make_network(
      "residual", "[4, 4, 3]",
      layer_text("a", "conv2d",
                 "filters = 3\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("s", "add", "inputs = [\"input\", \"a\"]\nactivation = \"relu\"") +
          layer_text("b", "conv2d", "filters = 3\nkernel = 1") +
          layer_text("c", "conv2d",
                     "filters = 3\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("d", "conv2d", "filters = 3\nkernel = 1") +
          layer_text("t", "add", "inputs = [\"s\", \"d\"]") +
          layer_text("u", "add", "inputs = [\"t\", \"t\"]\nactivation = \"relu6\"") +
          layer_text("g", "global_average_pool", "")));
  cases.push_back(make_network(
      "runs", "[8, 7, 1]",  // contiguous kernel rows of 3, 9, 48, 96, 5 and 4 elements
      layer_text("a", "conv2d", "filters = 3\nkernel = 3\ndilation = [2, 1]\npadding = \"same\"") +
          layer_text("b", "conv2d",
                     "filters = 16\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("c", "conv2d", "filters = 32\nkernel = 3\npadding = \"same\"") +
          layer_text("d", "conv2d", "filters = 1\nkernel = 3\npadding = \"same\"") +
          layer_text("e", "conv2d", "filters = 1\nkernel = [2, 5]\npadding = \"same\"") +
          layer_text("f", "conv2d",
                     "filters = 2\nkernel = [3, 4]\nstride = 2\npadding = \"same\"")));
  cases.push_back(parse_network(
      "name = \"softmax\"\ninput = [3, 3, 1]\nclasses = 3\n" +
          layer_text("h", "fully_connected", "units = 12\nactivation = \"relu\"") +
          layer_text("fc", "fully_connected", "units = 3") + layer_text("p", "softmax", ""),
      "softmax"));
  cases.push_back(make_network(
      "concat", "[6, 5, 2]",
      layer_text("a", "conv2d",
                 "filters = 5\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("b", "average_pool2d", "kernel = 3\npadding = [0, 0, 0, 1]") +
          layer_text("c", "max_pool2d", "input = \"a\"\nkernel = 2\nstride = 1") +
          layer_text("d", "global_average_pool", "input = \"c\"") +
          layer_text("e", "concat", "inputs = [\"d\", \"a\", \"b\"]\nconstants = [0.5, 0, 0]")));
  cases.push_back(norm_case());
  return cases;
}

template <class T>
std::vector<T> random_values(const Network& network, int examples, std::uint64_t seed) {
  Rng rng(seed, 1);
  std::vector<T> values(static_cast<std::size_t>(network.input.elements() * examples));
  for (T& v : values) v = static_cast<T>(rng.normal());
  return values;
}

// Weights as at the start of training, but with biases, shifts and statistics that are not the
// neutral ones.
template <class T>
FloatParams<T> random_params(const Network& network, std::uint64_t seed) {
  FloatParams<T> params = init_params<T>(network, seed);
  Rng rng(seed, 2);
  for (LayerParams<T>& p : params.layers) {
    for (auto* tensor : {&p.bias, &p.beta, &p.mean}) {
      for (T& v : *tensor) v = static_cast<T>(0.3 * rng.normal());
    }
    for (T& v : p.gamma) v = static_cast<T>(rng.uniform(0.5, 1.5));
    for (T& v : p.variance) v = static_cast<T>(rng.uniform(0.2, 2.0));
  }
  return params;
}

}  // namespace lastmile
