// SPDX-License-Identifier: Apache-2.0
// Any text either is a network, which then must survive its canonical form, or is refused with an
// Error.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string_view>

#include "sw/base/error.hpp"
#include "sw/graph/reader.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lastmile;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  for (const std::optional<TaskShape>& task :
       {std::optional<TaskShape>{}, std::optional(TaskShape{{28, 28, 1}, 10})}) {
    try {
      const Network network = parse_network(text, "fuzz", task);
      if (parse_network(to_toml(network), "canonical") != network) std::abort();
      if (weight_count(network) < 0 || macs(network) < 0) std::abort();
    } catch (const Error&) {
    }
  }
  return 0;
}
