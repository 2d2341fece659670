// SPDX-License-Identifier: Apache-2.0
// A program on the C++ model, and the same from the reference.
#pragma once

#include <utility>
#include <vector>

#include "cmodel/device/model_device.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/driver/session.hpp"
#include "tests/quantizer/cases.hpp"
#include "tests/quantizer/reference.hpp"

namespace lastmile {

// On a device with exactly the memory that the program asks for.
inline Session open(Program program, int threads = 1) {
  return open_session(std::move(program), open_model, threads);
}

inline std::vector<int> random_labels(const QuantizedNetwork& network, int examples,
                                      std::uint64_t seed) {
  Rng rng(seed, 2);
  std::vector<int> labels;
  for (int i = 0; i < examples; ++i)
    labels.push_back(
        static_cast<int>(rng.below(static_cast<std::uint64_t>(network.network.classes))));
  return labels;
}

// Everything trains, with perturbations that are seen.
inline std::vector<TensorTraining> train_all(const QuantizedNetwork& network, int keep = 256) {
  TrainingRule rule;
  rule.eps = 0.05;
  rule.step = 0.01;
  rule.keep = rule.bias_keep = keep;
  return training_plan(network, rule);
}

inline std::string shipped(const std::string& name) {
  return "sw/share/networks/" + name + ".toml";
}

inline Network shipped_network(const std::string& name) {
  return read_network(shipped(name), TaskShape{{20, 20, 1}, 10});
}

inline const std::vector<std::string>& shipped_names() {
  static const std::vector<std::string> names = {"small-cnn", "resnet8", "ds-cnn"};
  return names;
}

}  // namespace lastmile
