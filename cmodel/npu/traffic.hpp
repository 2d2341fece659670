// Event counters of a command: the contract's section "Tiles, scratchpad, traffic" in code. What
// only data decide (saturations, clipped and masked elements, updates) is counted by the engines.
#pragma once

#include <cstdint>
#include <vector>

#include "cmodel/npu/counters.hpp"
#include "cmodel/numeric/random.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// What decides a command's events besides its descriptor.
struct TrafficMode {
  bool weights_perturbed = false;
  bool bias_perturbed = false;
  numeric::Distribution distribution = numeric::Distribution::sign_;
  std::uint32_t pairs = 1;
  bool operator==(const TrafficMode&) const = default;
};

// d: valid, addresses resolved. Without COMMANDS and CMD_BYTES, and without the beats of the fetch.
[[nodiscard]] Counters command_traffic(const spec::Descriptor& d, const TrafficMode& mode,
                                       const spec::HardwareParams& hw);

// Remembers results: a training run executes the same few commands thousands of times.
class TrafficCache {
 public:
  explicit TrafficCache(const spec::HardwareParams& hw) : hw_(hw) {}
  [[nodiscard]] const Counters& of(const spec::Descriptor& d, const TrafficMode& mode);

 private:
  struct Entry {
    spec::Descriptor descriptor;
    TrafficMode mode;
    Counters counters;
  };
  spec::HardwareParams hw_;
  std::vector<Entry> entries_;
  std::size_t next_ = 0;  // where the next hit is expected: queues repeat in order
};

}  // namespace lastmile::npu
