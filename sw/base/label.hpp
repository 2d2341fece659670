// SPDX-License-Identifier: Apache-2.0
// Which class an example is of.
#pragma once

#include <cstdint>

namespace lastmile {

using Label = std::uint16_t;

// As many as the softmax and the loss on the device take (SOFTMAX_CLASSES of the specification).
inline constexpr int kMaxClasses = 4095;

}  // namespace lastmile
