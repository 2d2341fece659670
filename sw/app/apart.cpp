// SPDX-License-Identifier: Apache-2.0
#include "sw/app/apart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "sw/base/error.hpp"

namespace lastmile {
namespace {

constexpr std::size_t kExamples = 1000;
constexpr std::uint64_t kOrder = 0x6170617274000001U;
constexpr double kStandardErrors = 3;

Dataset sample_of(const Dataset& data) {
  std::vector<std::size_t> order = shuffled_indices(data.size(), kOrder);
  order.resize(std::min(order.size(), kExamples));
  return select(data, order);
}

}  // namespace

std::vector<FloatAgainstFixed> float_against_fixed(const Network& network,
                                                   const FloatParams<float>& given,
                                                   const QuantizedNetwork& quantized,
                                                   const Task& task, const DeviceOpener& open,
                                                   const FixedOptions& options) {
  const Golden<float> golden(network, options.threads);
  std::vector<FloatAgainstFixed> out;
  for (const auto& [domain, data] :
       {std::pair{"source", &task.source_test}, std::pair{"shifted", &task.shifted_test}}) {
    if (data->size() == 0) continue;  // a target alone
    const Dataset part = sample_of(*data);
    const Accuracy in_float = evaluate_float(golden, given, part);
    const Accuracy in_fixed = evaluate_fixed(quantized, part, open, options);
    if (network.reconstructs())
      out.push_back({domain, in_float.loss, in_fixed.loss, 0, part.size(), true});
    else
      out.push_back(
          {domain, in_float.percent(), in_fixed.percent(), in_fixed.balanced(), part.size()});
  }
  return out;
}

std::string text_of(const std::vector<FloatAgainstFixed>& all) {
  std::string out;
  for (const FloatAgainstFixed& a : all) {
    out += out.empty() ? "" : "; ";
    if (a.reconstruction) {
      out += fmt::format("{}: squared error per element: float {:.5g}, fixed point {:.5g}",
                         a.domain, a.floating, a.fixed);
      continue;
    }
    out += fmt::format("{}: float {:.2f} %, fixed point {:.2f} %", a.domain, a.floating, a.fixed);
    if (std::abs(a.fixed - a.balanced) > kBalancedApart)
      out += fmt::format(" (balanced {:.2f} %)", a.balanced);
  }
  return out;
}

void require_near(const std::vector<FloatAgainstFixed>& all, double points) {
  for (const FloatAgainstFixed& a : all) {
    if (a.reconstruction) continue;
    const double p = std::clamp((a.floating + a.fixed) / 200, 0.01, 0.99);
    const double chance =
        kStandardErrors * 100 * std::sqrt(2 * p * (1 - p) / static_cast<double>(a.examples));
    if (a.floating - a.fixed <= std::max(points, chance)) continue;
    throw Error(ErrorKind::mismatch,
                fmt::format("fixed point is {:.1f} points below float on the {} test ({}), "
                            "expected at most {:g}: `lastmile validate` names the layer; try "
                            "--equalize on, --weights w16, --calibrate-on both, --calibration "
                            "percentile, or --apart with more points to go on",
                            a.floating - a.fixed, a.domain, text_of(all), points));
  }
}

}  // namespace lastmile
