// SPDX-License-Identifier: Apache-2.0
// Stands for the ONNX writer where ONNX's schema is not installed (sw/build.mk).
#include "sw/base/error.hpp"
#include "sw/export/export.hpp"

namespace lastmile {
namespace {

[[noreturn]] void missing() {
  throw Error(ErrorKind::input,
              "this program was built without ONNX. Install the packages libonnx-dev and "
              "libprotobuf-dev and build again");
}

}  // namespace

std::vector<std::uint8_t> encode_onnx(const Network&, const FloatParams<float>&,
                                      const OnnxOptions&) {
  missing();
}
std::vector<std::uint8_t> encode_onnx_qdq(const QuantizedNetwork&, const OnnxOptions&) {
  missing();
}

}  // namespace lastmile
