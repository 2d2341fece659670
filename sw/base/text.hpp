// SPDX-License-Identifier: Apache-2.0
// Text that leaves the program: names of others may hold anything, a terminal and a report must
// not.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace lastmile {

inline constexpr std::size_t kMessageLimit = 2000;  // bytes

// The text with control characters and what is not UTF-8 as \xNN, so that it can neither steer a
// terminal nor break a report; beyond `limit` bytes its middle is left out. `lines`: line feeds and
// tabs stay.
[[nodiscard]] std::string printable(std::string_view text, std::size_t limit = kMessageLimit,
                                    bool lines = false);

// Bytes of the UTF-8 character (RFC 3629) that `text` begins with; 0 if it begins with none.
[[nodiscard]] std::size_t utf8_length(std::string_view text);

// One word of a shell's command line, quoted only where it has to be. What printable() would change
// is written as $'\\x1b', which bash, ksh and zsh read.
[[nodiscard]] std::string shell_word(std::string_view text);

}  // namespace lastmile
