// SPDX-License-Identifier: Apache-2.0
// What every fuzzer shares: malformed input may end in lastmile::Error and in nothing else.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <span>
#include <string_view>

#include "sw/base/error.hpp"

namespace lastmile::fuzz {

// Runs a parser; true if it accepted the input.
template <class Parse>
bool accepts(Parse&& parse) {
  try {
    parse();
    return true;
  } catch (const Error& e) {
    if (*e.what() == '\0') std::abort();
    return false;
  }
}

// A property that must hold of what was accepted.
inline void require(bool holds) {
  if (!holds) std::abort();
}

inline std::string_view as_text(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

}  // namespace lastmile::fuzz
