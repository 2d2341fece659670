// SPDX-License-Identifier: Apache-2.0
#include "sw/app/ranges.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace lastmile {

std::vector<TensorFit> range_fit_of(const QuantizedNetwork& network, const Dataset& data,
                                    int threads) {
  constexpr std::uint64_t kOrder = 0x72616e6765666974U;
  std::vector<std::size_t> order = shuffled_indices(data.size(), kOrder);
  order.resize(std::min(order.size(), kFitExamples));
  return range_fit(network, select(data, order).x, threads);
}

nlohmann::json fit_json(const std::vector<TensorFit>& fits) {
  nlohmann::json out = nlohmann::json::array();
  for (const TensorFit& f : fits)
    out.push_back({{"tensor", f.name},
                   {"range", {f.low, f.high}},
                   {"seen", {f.seen_low, f.seen_high}},
                   {"below", f.below},
                   {"above", f.above}});
  return out;
}

std::string fit_text(const std::vector<TensorFit>& fits, const std::string& domain, double warn) {
  std::vector<const TensorFit*> worst;
  for (const TensorFit& f : fits) worst.push_back(&f);
  std::stable_sort(worst.begin(), worst.end(), [](const TensorFit* a, const TensorFit* b) {
    return a->outside() > b->outside();
  });
  if (worst.front()->outside() <= warn)
    return fmt::format("saturation on the {}: at most {:.3f} % ({})", domain,
                       100 * worst.front()->outside(), worst.front()->name);
  std::string list;
  for (const TensorFit* f : worst) {
    if (f->outside() <= warn) break;
    list += fmt::format("{}{} {:.2f} % (seen {:.3g} to {:.3g}, range {:.3g} to {:.3g})",
                        list.empty() ? "" : ", ", f->name, 100 * f->outside(), f->seen_low,
                        f->seen_high, f->low, f->high);
  }
  return fmt::format(
      "warning: saturation on the {}: {}; expected at most {:.3g} %: the stored ranges do not fit "
      "these data (quantize with --calibrate-on both)",
      domain, list, 100 * warn);
}

}  // namespace lastmile
