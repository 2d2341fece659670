// SPDX-License-Identifier: Apache-2.0
// One case through the product and through the simulation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "tests/networks/case.hpp"

namespace lastmile::networks {

struct Outcome {
  bool failed = false;
  bool refused = false;  // the network, or the whole of it on this hardware
  std::string text;      // what failed
  std::vector<std::string>
      refusals;  // why, numbers and names left out; of parts of the network too
  std::uint64_t programs = 0, values = 0;  // compared
};

// Never throws.
[[nodiscard]] Outcome check_case(const Case& c);

}  // namespace lastmile::networks
