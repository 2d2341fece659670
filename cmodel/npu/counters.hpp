// The counters of npu.toml as the model keeps them.
#pragma once

#include <array>
#include <cstdint>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::npu {

// Outputs outside their type before the clamp.
struct Saturations {
  std::uint64_t low = 0;
  std::uint64_t high = 0;
  Saturations& operator+=(const Saturations& other) {
    low += other.low;
    high += other.high;
    return *this;
  }
};

struct Counters {
  std::array<std::uint64_t, spec::kCounters> value{};

  [[nodiscard]] std::uint64_t& operator[](spec::Counter c) {
    return value[static_cast<std::size_t>(c)];
  }
  [[nodiscard]] std::uint64_t operator[](spec::Counter c) const {
    return value[static_cast<std::size_t>(c)];
  }
  Counters& operator+=(const Counters& other) {
    for (std::size_t i = 0; i < value.size(); ++i) value[i] += other.value[i];
    return *this;
  }
  bool operator==(const Counters&) const = default;
};

}  // namespace lastmile::npu
