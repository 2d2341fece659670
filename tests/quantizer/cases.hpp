// SPDX-License-Identifier: Apache-2.0
// Quantized networks for tests: the golden model's cases with random weights, calibrated on random
// inputs.
#pragma once

#include <string>
#include <vector>

#include "sw/golden/golden.hpp"
#include "sw/quantizer/quantize.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/golden/cases.hpp"

namespace lastmile {

using testing::error_of;

inline QuantizedNetwork quantize_random(const Network& network, std::uint64_t seed,
                                        const QuantizeOptions& options = {}) {
  const auto params = random_params<float>(network, seed);
  const auto x = random_values<float>(network, 24, seed + 1);
  return quantize(network, params, calibrate(Golden<float>(network), params, x), options);
}

inline std::vector<std::int8_t> quantized_input(const QuantizedNetwork& network, int examples,
                                                std::uint64_t seed) {
  const auto x = random_values<float>(network.network, examples, seed);
  std::vector<std::int8_t> q(x.size());
  quantize_activations(x, network.input, q);
  return q;
}

// True if the text has all the parts; says which one it has not.
inline bool mentions(const std::string& text, std::initializer_list<std::string> parts) {
  for (const std::string& part : parts) {
    if (text.find(part) == std::string::npos) {
      MESSAGE("'" << part << "' is not in: " << text);
      return false;
    }
  }
  return true;
}

}  // namespace lastmile
