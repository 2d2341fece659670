// SPDX-License-Identifier: Apache-2.0
// Stands for the ONNX reader where ONNX's schema is not installed (sw/build.mk).
#include <fmt/format.h>

#include "sw/base/error.hpp"
#include "sw/import/model.hpp"

namespace lastmile {

ImportedModel parse_onnx(std::span<const std::uint8_t>, const std::string& file,
                         const std::filesystem::path&) {
  throw Error(ErrorKind::input,
              fmt::format("{}: this program was built without ONNX. Install the packages "
                          "libonnx-dev and libprotobuf-dev and build again",
                          file));
}

}  // namespace lastmile
