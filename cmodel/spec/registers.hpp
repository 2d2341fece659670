// SPDX-License-Identifier: Apache-2.0
// What a value written to register CTRL asks for, and what one of ERROR_INFO says.
#pragma once

#include <array>
#include <cctype>
#include <cstdint>
#include <cstdio>
#include <string>
#include <string_view>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile::spec {

inline constexpr std::uint32_t kStart = reg::kCtrlStart.mask();
inline constexpr std::uint32_t kSoftReset = reg::kCtrlSoftReset.mask();

[[nodiscard]] constexpr bool resets(std::uint32_t ctrl) { return reg::kCtrlSoftReset.is_set(ctrl); }
// A soft reset wins.
[[nodiscard]] constexpr bool starts(std::uint32_t ctrl) {
  return reg::kCtrlStart.is_set(ctrl) && !resets(ctrl);
}

// Whether a queue keeps the value that the register had at its start, so that the host may write
// the next one's meanwhile (CONTRACT.md, Registers).
[[nodiscard]] constexpr bool latched(const Register& r) {
  return r.written != 0 && r.offset != reg::kIrqEnable;
}

// Register ERROR_INFO in words: "field in_c", "rule PITCH", "engine LOAD".
[[nodiscard]] inline std::string info_text(Error code, std::uint32_t info) {
  const auto named = [](const char* kind, std::string_view name) {
    return std::string(kind) + std::string(name);
  };
  switch (info_of(code)) {
    case ErrorInfo::none_:
      break;
    case ErrorInfo::field_:
      return named("field ", to_string(static_cast<Field>(info)));
    case ErrorInfo::shape_rule_:
      return named("rule ", to_string(static_cast<ShapeRule>(info)));
    case ErrorInfo::tile_rule_: {
      std::string text(to_string(static_cast<TileRule>(info)));
      for (char& c : text) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
      return text;
    }
    case ErrorInfo::register_: {
      std::array<char, 24> text{};
      std::snprintf(text.data(), text.size(), "register 0x%03x", static_cast<unsigned>(info));
      return text.data();
    }
    case ErrorInfo::engine_:
      return named("engine ", to_string(static_cast<Engine>(info)));
  }
  return std::to_string(info);
}

}  // namespace lastmile::spec
