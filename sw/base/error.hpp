// SPDX-License-Identifier: Apache-2.0
// Errors that a user can cause. The message names the file or option, the field, the value found
// and what was expected; the kind decides the exit code of the program (documented in `lastmile
// --help`).
#pragma once

#include <stdexcept>
#include <string>

namespace lastmile {

enum class ErrorKind : int {
  usage = 2,        // options and arguments
  input = 3,        // data sets, networks, vectors, tables: unreadable or malformed
  device = 4,       // the NPU ended in its error state, or a backend could not be opened
  journal = 5,      // journal corrupt or not of this run
  mismatch = 6,     // a comparison that had to be exact was not, or a threshold was missed
  unsupported = 7,  // right, but this hardware does not run it
  diverged = 8,     // training ended in numbers that are none, whatever step was tried
};

class Error : public std::runtime_error {
 public:
  Error(ErrorKind kind, const std::string& what) : std::runtime_error(what), kind_(kind) {}
  [[nodiscard]] ErrorKind kind() const noexcept { return kind_; }

 private:
  ErrorKind kind_;
};

}  // namespace lastmile
