// SPDX-License-Identifier: Apache-2.0
// What is profiled: a network, a batch, what of it trains. Values come from random initial weights
// and random inputs: a step costs the same whatever they are, but for the counters that depend on
// data (saturations, clipped and zero updates).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "sw/compiler/compile.hpp"
#include "sw/data/dataset.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile::profile {

struct Workload {
  std::string name;     // "resnet8", "resnet18-224"; of a description its own, as report_name()
  std::string network;  // of sw/share/networks, or a .toml file
  Shape input;          // of the task
  int classes = 10;
  int batch = 64;
  bool shapes_only = false;  // too large to execute: predicted from shapes
  std::string assumed = {};  // what a description leaves open, and what it was taken for
};
// Networks of the tasks (drawn digits, images, speech), and larger ones.
[[nodiscard]] const std::vector<Workload>& suite();
// One of the suite, or a file; one that leaves input or classes to the task: graph/assumed.hpp.
[[nodiscard]] Workload find_workload(const std::string& name);

// Initial weights, calibrated on random inputs; or, for shapes_only, arbitrary numbers that are
// legal (nothing may be executed with them).
[[nodiscard]] QuantizedNetwork make_network(const Workload& workload, WeightType type,
                                            std::uint64_t seed, int threads);

// A name as that of a file in the reports' folder and as a cell of a CSV: of letters, digits, and
// _ - . inside it; anything else becomes _.
[[nodiscard]] std::string report_name(const std::string& name);

enum class Variant { full, head, sparse };  // sparse: 90 % of the weights masked
[[nodiscard]] const char* name_of(Variant variant);
[[nodiscard]] Variant parse_variant(const std::string& name);  // Error(usage)

// Compile options of a training step; without `training`: inference.
[[nodiscard]] CompileOptions step_options(const QuantizedNetwork& network, Variant variant,
                                          int batch, spec::Distribution distribution);
[[nodiscard]] CompileOptions inference_options(int batch);

}  // namespace lastmile::profile
