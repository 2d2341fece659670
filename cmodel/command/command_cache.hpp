// SPDX-License-Identifier: Apache-2.0
// Remembers what was computed of a command: a training run executes the same few commands thousands
// of times. Addresses count only through their place in a bus word, because a batch's base changes
// with every step.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "cmodel/command/traffic_mode.hpp"
#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

template <class Value>
class CommandCache {
 public:
  // compute(descriptor with reduced addresses, mode) -> Value, for what is not there yet. The
  // reference holds until the next call.
  template <class Compute>
  [[nodiscard]] const Value& of(const spec::Descriptor& d, const TrafficMode& mode,
                                const Compute& compute) {
    spec::Descriptor key = d;
    for (std::uint32_t* address : {&key.in_addr, &key.in2_addr, &key.out_addr})
      *address %= spec::kAlign;
    const auto matches = [&](const Entry& e) { return e.descriptor == key && e.mode == mode; };
    if (next_ >= entries_.size() || !matches(entries_[next_])) {
      next_ = static_cast<std::size_t>(std::find_if(entries_.begin(), entries_.end(), matches) -
                                       entries_.begin());
      if (next_ == entries_.size()) {
        if (entries_.size() == kMostEntries) {
          entries_.clear();
          next_ = 0;
        }
        entries_.push_back({key, mode, compute(key, mode)});
      }
    }
    return entries_[next_++].value;
  }

 private:
  static constexpr std::size_t kMostEntries = 4096;
  struct Entry {
    spec::Descriptor descriptor;
    TrafficMode mode;
    Value value;
  };
  std::vector<Entry> entries_;
  std::size_t next_ = 0;  // where the next hit is expected: queues repeat in order
};

}  // namespace lastmile::npu
