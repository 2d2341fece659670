// SPDX-License-Identifier: Apache-2.0
// A compiled network on the model, for the tests of imported files.
#pragma once

#include <cstdint>
#include <vector>

#include "cmodel/device/model_device.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/driver/session.hpp"
#include "sw/quantizer/quantized.hpp"

namespace lastmile::testing {

// What the compiled network puts out for `x`, whole examples.
inline std::vector<std::int8_t> run_on_model(const QuantizedNetwork& q,
                                             const std::vector<std::int8_t>& x) {
  CompileOptions o;
  o.batch = static_cast<int>(x.size() / static_cast<std::size_t>(q.network.input.elements()));
  o.output_layer = static_cast<int>(q.network.layers.size()) - 1;
  Session session = open_session(compile(q, spec::HardwareParams{}, o), open_model);
  session->load_batch(x, {});
  session->forward();
  return session->output();
}

}  // namespace lastmile::testing
