// SPDX-License-Identifier: Apache-2.0
// From measurements to statements: which threshold a layer misses, and which known mistake explains
// it.
#pragma once

#include <string>
#include <vector>

#include "sw/quantizer/fit.hpp"
#include "sw/validate/layers.hpp"

namespace lastmile {

// Defaults: ONNX Runtime's, TensorFlow Lite's and AIMET's debuggers. A failure decides the exit
// status, a warning does not.
struct Thresholds {
  double sqnr_warn_db = 20, sqnr_fail_db = 10;  // whole chain
  double cosine_warn = 0.99;                    // whole chain
  double saturation_warn = 0.001, saturation_fail = 0.01;
  double rmse_over_scale_warn = 0.7;  // layer alone
  int headroom_warn_bits = 1;         // accumulator bits left
  double accuracy_fail_points = 5;    // fixed point below float
  double squared_error_fail = 0.25;   // fixed point's share above float's (Loss::reconstruction)
  double float32_fail = 1e-4;         // golden float32 against float64, relative
  double logit_bits_fail = 10;        // effective bits of the logits
};

enum class Level { warning, failure };
[[nodiscard]] const char* name_of(Level level);

struct Finding {
  Level level = Level::warning;
  std::string layer;  // empty: the network
  std::string check;  // stable name: "sqnr", "weight scale", ...
  std::string text;   // for people: what was found and what was expected
};

// What a check is about; the exit status is kFailureStatus plus the sum of those that failed.
enum class Subject {
  setting = 1,     // a known wrong setting
  accuracy = 2,    // "sqnr", "cosine", "accuracy"
  saturation = 4,  // "saturation"
  range = 8,       // "rmse over scale", "headroom", "stuck channels", "logit width"
  agreement = 16,  // "contract", "golden float32", "saturation counters": something is broken
  unjudged = 64,   // "not judged": a part gave up, and the text says why
};
inline constexpr int kFailureStatus = 32;
[[nodiscard]] Subject subject_of(const std::string& check);
// 0 if nothing failed. strict: warnings count.
[[nodiscard]] int failure_status(const std::vector<Finding>& findings, bool strict);

// The network's input, which is no layer: at most one finding.
[[nodiscard]] std::vector<Finding> judge_input(const TensorFit& input,
                                               const Thresholds& thresholds);

// Failures first, then worst first within a level.
[[nodiscard]] std::vector<Finding> judge(const Network& folded, const FloatParams<float>& params,
                                         const QuantizedNetwork& network,
                                         const LayerAnalysis& analysis,
                                         const Thresholds& thresholds);

}  // namespace lastmile
