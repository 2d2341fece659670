// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/deployment.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>

namespace lastmile {
namespace {

// Share of the examples that would have to change class for the mixes to be alike.
constexpr double kMixWarn = 0.3;
// Of the training data's deviation.
constexpr double kMeanApart = 0.25;
constexpr double kDeviationApart = 1.5;  // a factor
// Share of a class's examples that one other class gets.
constexpr double kTakenFor = 0.5;

void judge_classes(const Task& task, std::vector<Finding>& out) {
  const auto name = [&](std::size_t k) {
    return k < task.class_names.size() ? task.class_names[k] : std::to_string(k);
  };
  const auto missing = [&](const Dataset& data, const char* what, Level level) {
    const std::vector<std::size_t> counts = class_counts(data);
    std::string list;
    for (std::size_t k = 0; k < counts.size(); ++k)
      if (counts[k] == 0) list += fmt::format("{}'{}'", list.empty() ? "" : ", ", name(k));
    if (list.empty() || data.size() < counts.size()) return;
    out.push_back({level, "", "split",
                   fmt::format("no example of class {} among the {} {}", list, data.size(), what)});
  };
  missing(task.pretrain, "examples to pre-train on", Level::failure);
  missing(task.adapt, "examples to adapt on", Level::failure);
  missing(task.source_test, "of the source test", Level::warning);
  missing(task.shifted_test, "of the shifted test", Level::warning);

  const std::vector<std::size_t> adapt = class_counts(task.adapt),
                                 met = class_counts(task.shifted_test);
  double apart = 0;
  for (std::size_t k = 0; k < adapt.size(); ++k)
    apart += std::abs(static_cast<double>(adapt[k]) / static_cast<double>(task.adapt.size()) -
                      static_cast<double>(met[k]) / static_cast<double>(task.shifted_test.size())) /
             2;
  // Few examples differ by chance.
  const double chance = std::sqrt(static_cast<double>(adapt.size()) /
                                  static_cast<double>(std::max<std::size_t>(task.adapt.size(), 1)));
  if (apart > std::max(kMixWarn, chance))
    out.push_back({Level::warning, "", "split",
                   fmt::format("the mix of classes to adapt on is another than that of the shifted "
                               "test: {:.0f} % of the examples would have to change class",
                               100 * apart)});
}

void judge_values(const Task& task, std::vector<Finding>& out) {
  const Preprocessing::Seen& trained = task.preprocessing.seen;
  if (trained.deviation <= 0) return;
  const Preprocessing::Seen met = seen_of(task.source_test.x);
  const double shift = (met.mean - trained.mean) / trained.deviation;
  const double factor = met.deviation / trained.deviation;
  if (std::abs(shift) <= kMeanApart && factor <= kDeviationApart && factor >= 1 / kDeviationApart)
    return;
  out.push_back({Level::failure, "", "normalization",
                 fmt::format("values of the source test have mean {:.4g} and deviation {:.4g}, the "
                             "network was trained on {:.4g} and {:.4g}",
                             met.mean, met.deviation, trained.mean, trained.deviation)});
}

void judge_order(const Task& task, const Accuracy& source, std::vector<Finding>& out) {
  const auto classes = task.class_names.size();
  if (source.confusion.size() != classes * classes) return;
  std::string list;
  std::vector<bool> taken(classes, false), gone(classes, false);
  int moved = 0;
  for (std::size_t k = 0; k < classes; ++k) {
    const auto row = std::span(source.confusion).subspan(k * classes, classes);
    std::int64_t all = 0;
    for (const std::int64_t n : row) all += n;
    const auto best =
        static_cast<std::size_t>(std::max_element(row.begin(), row.end()) - row.begin());
    if (best == k || taken[best] ||
        static_cast<double>(row[best]) < kTakenFor * static_cast<double>(all))
      continue;
    taken[best] = gone[k] = true;
    ++moved;
    list += fmt::format("{}'{}' for '{}'", list.empty() ? "" : ", ", task.class_names[k],
                        task.class_names[best]);
  }
  // Where numbers were exchanged, most that lost theirs are what others are taken for; what a class
  // is mistaken for because the pictures changed usually keeps its own.
  int both = 0;
  for (std::size_t k = 0; k < classes; ++k) both += taken[k] && gone[k] ? 1 : 0;
  if (moved < 2 || 2 * both < moved) return;
  out.push_back({Level::failure, "", "class order",
                 fmt::format("most examples of {} classes are taken for one other each ({}): the "
                             "labels are numbered otherwise than the network's",
                             moved, list)});
}

// A network that always says the commonest class looks good where that class is most of the test.
void judge_balance(const Accuracy& source, std::vector<Finding>& out) {
  constexpr double kHidden = 10;  // points
  if (source.percent() - source.balanced() < kHidden) return;
  out.push_back({Level::warning, "", "balance",
                 fmt::format("{:.2f} % of the source test are right, but {:.2f} % in the mean over "
                             "the classes: rare ones are missed (--balance repeats their examples)",
                             source.percent(), source.balanced())});
}

}  // namespace

std::vector<Finding> judge_data(const Task& task, const Accuracy& source) {
  std::vector<Finding> out;
  if (source.reconstruction) {  // labels say what is normal, nothing else
    judge_values(task, out);
    return out;
  }
  judge_classes(task, out);
  judge_values(task, out);
  judge_order(task, source, out);
  judge_balance(source, out);
  return out;
}

}  // namespace lastmile
