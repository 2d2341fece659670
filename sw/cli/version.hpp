// SPDX-License-Identifier: Apache-2.0
// Which program this is.
#pragma once

#include <string>

namespace lastmile {

// Version, commit, contract and specification, and the backends that are there, a line each.
[[nodiscard]] std::string version_text();
// "1.2.3"
[[nodiscard]] const char* version_number();

}  // namespace lastmile
