// SPDX-License-Identifier: Apache-2.0
#include "sw/cli/accuracy_text.hpp"

#include <fmt/format.h>

#include <cmath>

#include "sw/app/run.hpp"
#include "sw/base/text.hpp"

namespace lastmile {

using nlohmann::json;

json accuracy_json(const Accuracy& a) {
  if (a.reconstruction) {
    json j = {{"squared_error", a.loss}, {"examples", a.examples}};
    if (a.area) j.update({{"squared_error_normal", *a.normal_loss}, {"auc", *a.area}});
    return j;
  }
  json j = {{"accuracy", a.percent()},
            {"correct", a.correct},
            {"examples", a.examples},
            {"loss", a.loss}};
  if (!a.confusion.empty()) j.update(confusion_json(a));
  return j;
}

std::string accuracy_text(const Accuracy& a) {
  if (a.reconstruction && !a.area) return fmt::format("squared error per element {:.5g}", a.loss);
  if (a.reconstruction)
    return fmt::format("squared error per element {:.5g} (normal {:.5g}), AUC {:.4f}", a.loss,
                       *a.normal_loss, *a.area);
  if (std::abs(a.balanced() - a.percent()) <= kBalancedApart)
    return fmt::format("{:.2f} %", a.percent());
  return fmt::format("{:.2f} % (balanced {:.2f} %)", a.percent(), a.balanced());
}

std::string classes_text(const Task& task,
                         const std::vector<std::pair<const char*, const Accuracy*>>& all) {
  constexpr std::size_t kMostClasses = 32;
  const std::size_t classes = task.class_names.size();
  if (task.kind == TaskKind::glyphs || classes > kMostClasses || all.empty()) return {};
  std::vector<std::vector<double>> recall;
  for (const auto& [name, a] : all) {
    recall.push_back(a->per_class());
    if (recall.back().size() != classes) return {};
  }
  const std::vector<std::int64_t>& confusion = all.back().second->confusion;
  std::string out;
  for (std::size_t k = 0; k < classes; ++k) {
    out += fmt::format("  {:<20}", printable(task.class_names[k], 80));
    for (std::size_t i = 0; i < all.size(); ++i)
      out += std::isnan(recall[i][k]) ? fmt::format("  {} -", all[i].first)
                                      : fmt::format("  {} {:6.2f} %", all[i].first, recall[i][k]);
    std::string taken;
    for (std::size_t p = 0; p < classes; ++p)
      if (const std::int64_t n = confusion[k * classes + p]; p != k && n != 0)
        taken += fmt::format("{}{} {}", taken.empty() ? "  taken for: " : ", ",
                             printable(task.class_names[p], 80), n);
    out += taken + "\n";
  }
  return out;
}

}  // namespace lastmile
