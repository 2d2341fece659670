// SPDX-License-Identifier: Apache-2.0
// The counters of npu.toml as numbers: what the model counts, what the RTL's registers hold, what a
// profile is made of.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::spec {

struct Counters {
  std::array<std::uint64_t, kCounters> value{};

  [[nodiscard]] std::uint64_t& operator[](Counter c) { return value[static_cast<std::size_t>(c)]; }
  [[nodiscard]] std::uint64_t operator[](Counter c) const {
    return value[static_cast<std::size_t>(c)];
  }
  Counters& operator+=(const Counters& other) {
    for (std::size_t i = 0; i < value.size(); ++i) value[i] += other.value[i];
    return *this;
  }
  // Bytes read over the bus, and bytes written.
  [[nodiscard]] std::uint64_t read_bytes() const {
    const Counters& c = *this;
    return c[Counter::cmd_bytes_] + c[Counter::act_read_bytes_] + c[Counter::weight_read_bytes_] +
           c[Counter::param_read_bytes_] + c[Counter::update_read_bytes_];
  }
  [[nodiscard]] std::uint64_t written_bytes() const {
    return (*this)[Counter::act_write_bytes_] + (*this)[Counter::update_write_bytes_];
  }
  bool operator==(const Counters&) const = default;
};

}  // namespace lastmile::spec
