// SPDX-License-Identifier: Apache-2.0
// Several errors at once, a line each.
#pragma once

#include <string>

#include "sw/base/error.hpp"

namespace lastmile {

// The message has a line per error; what others have named is printable() already, so that the line
// feeds in it are the program's own.
class ErrorList : public Error {
 public:
  using Error::Error;
};

}  // namespace lastmile
