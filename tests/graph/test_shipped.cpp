// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "sw/graph/reader.hpp"

using namespace lastmile;

TEST_CASE("graph: the networks that ship fit every task's shape") {
  struct Expected {
    const char* name;
    std::int64_t low, high;  // weights without biases
  };
  for (const Expected& e :
       {Expected{"small-cnn", 17'000, 23'000}, Expected{"resnet8", 75'000, 79'000},
        Expected{"ds-cnn", 20'000, 40'000}}) {
    for (const TaskShape& task :
         {TaskShape{{16, 16, 1}, 10}, TaskShape{{28, 28, 1}, 10}, TaskShape{{49, 10, 1}, 12}}) {
      const Network n = read_network(std::string("sw/share/networks/") + e.name + ".toml", task);
      CHECK(n.name == e.name);
      CHECK(weight_count(n) > e.low);
      CHECK(weight_count(n) < e.high);
      CHECK(parse_network(to_toml(n), "canonical") == n);
    }
  }
}
