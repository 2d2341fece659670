// SPDX-License-Identifier: Apache-2.0
#include "sw/validate/deployment.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace lastmile;

namespace {

Task even_task() {
  Task task;
  task.class_names = {"0", "1", "2", "3"};
  for (Dataset* d : {&task.pretrain, &task.source_test, &task.adapt, &task.shifted_test}) {
    d->shape = {1, 1, 1};
    d->classes = 4;
    for (int i = 0; i < 40; ++i) {
      d->x.push_back(static_cast<float>(i % 5));
      d->y.push_back(static_cast<Label>(i % 4));
    }
  }
  return task;
}

// Checks that were failed or warned of, for rows of labels.
std::string checks(const std::vector<std::int64_t>& confusion) {
  Accuracy a;
  a.confusion = confusion;
  for (std::size_t i = 0; i < confusion.size(); ++i) {
    a.examples += confusion[i];
    if (i % 5 == 0) a.correct += confusion[i];
  }
  std::string out;
  for (const Finding& f : judge_data(even_task(), a))
    out += std::string(name_of(f.level)) + " " + f.check + ";";
  return out;
}

}  // namespace

TEST_CASE("validate: classes in another order are told from classes that look like others") {
  const std::string order = std::string(name_of(Level::failure)) + " class order;";
  CHECK(checks({9, 1, 0, 0, 0, 10, 0, 0, 0, 0, 10, 0, 1, 0, 0, 9}).empty());
  CHECK(checks({1, 9, 0, 0, 9, 1, 0, 0, 0, 0, 10, 0, 0, 0, 0, 10}) == order);  // two exchanged
  CHECK(checks({0, 10, 0, 0, 0, 0, 10, 0, 0, 0, 0, 10, 10, 0, 0, 0}) == order);
  CHECK(checks({0, 10, 0, 0, 0, 2, 8, 0, 0, 0, 1, 9, 3, 3, 3, 1}) ==
        order);  // one of a ring is lost
  // Two look like two others, which keep theirs: pictures that became darker.
  CHECK(checks({2, 0, 8, 0, 0, 2, 0, 8, 0, 0, 10, 0, 0, 0, 0, 10}).empty());
}

TEST_CASE("validate: a network that knows the commonest class alone is told") {
  const std::string balance = std::string(name_of(Level::warning)) + " balance;";
  CHECK(checks({95, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 0, 0}) == balance);
  CHECK(checks({90, 5, 0, 0, 0, 2, 0, 0, 0, 0, 2, 0, 0, 0, 0, 1}).empty());
}
