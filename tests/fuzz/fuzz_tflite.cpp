// SPDX-License-Identifier: Apache-2.0
// Any bytes either are a model, which then is a valid network with its weights, or are refused.
#include "sw/import/model.hpp"
#include "sw/quantizer/quantized.hpp"
#include "tests/fuzz/fuzz.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace lastmile;
  fuzz::accepts([&] {
    const ImportedModel m = parse_tflite({data, size}, "fuzz.tflite");
    check_network(m.network, "accepted");
    check_params(m.network, m.params, "accepted");
    if (m.quantized) check_quantized(*m.quantized, "accepted");
  });
  return 0;
}
