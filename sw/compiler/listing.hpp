// SPDX-License-Identifier: Apache-2.0
// to_text() of a program whose amplitudes nobody has measured yet.
#pragma once

#include <string>

#include "sw/compiler/program.hpp"

namespace lastmile {

// With `amplitudes` as to_text(); without, perturbations and steps are left open.
[[nodiscard]] std::string listing(const Program& program, const Network& network, bool amplitudes);

}  // namespace lastmile
