// SPDX-License-Identifier: Apache-2.0
#include "sw/app/origin.hpp"

#include <doctest/doctest.h>

#include <cmath>
#include <functional>
#include <string>

#include "sw/base/error.hpp"
#include "sw/base/rng.hpp"
#include "sw/golden/golden.hpp"
#include "sw/graph/reader.hpp"

using namespace lastmile;

namespace {

constexpr const char* kNetwork = R"(
name = "heard"
input = [4, 4, 1]
classes = 4
[[layer]]
name = "conv"
op = "conv2d"
filters = 6
kernel = 3
batch_norm = true
activation = "relu"
[[layer]]
name = "fc"
op = "fully_connected"
units = "classes"
)";

Task random_task(std::uint64_t seed, std::size_t examples) {
  Task task;
  task.kind = TaskKind::audio;
  task.name = "clips";
  task.class_names = {"no", "yes", "left", "right"};
  Dataset& d = task.source_test;
  d.shape = {4, 4, 1};
  d.classes = 4;
  Rng rng(seed);
  for (std::size_t i = 0; i < 16 * examples; ++i) d.x.push_back(static_cast<float>(rng.normal()));
  for (std::size_t i = 0; i < examples; ++i) d.y.push_back(static_cast<Label>(i % 4));
  return task;
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& e) {
    CHECK(e.kind() == ErrorKind::input);
    return e.what();
  }
  return "";
}

// Running statistics as training on `data` would leave them.
void train_statistics(const Network& network, FloatParams<float>& params, const Dataset& data) {
  LayerParams<float>& p = params.layers[0];
  const std::vector<float> pre = Golden<float>(network).trace(params, data.x)[0].pre;
  const std::size_t channels = p.gamma.size();
  const auto n = static_cast<double>(pre.size() / channels);
  for (std::size_t c = 0; c < channels; ++c) {
    double sum = 0, squares = 0;
    for (std::size_t k = c; k < pre.size(); k += channels)
      sum += double{pre[k]}, squares += double{pre[k]} * double{pre[k]};
    p.mean[c] = static_cast<float>(sum / n);
    p.variance[c] = static_cast<float>(squares / n - sum / n * sum / n);
  }
}

}  // namespace

TEST_CASE("app: data that were normalized otherwise than in training are refused") {
  const Network network = parse_network(kNetwork, "heard.toml");
  FloatParams<float> params = init_params<float>(network, 3);
  Task task = random_task(1, 256);
  train_statistics(network, params, task.source_test);
  const auto found = [&] {
    return error_of([&] { require_origin(network, params, task, "old.lmc"); });
  };
  CHECK(found().empty());
  const std::vector<float> x = task.source_test.x;
  // Another sample of the same data, and a little of what other speakers change.
  task.source_test.x = random_task(2, 256).source_test.x;
  CHECK(found().empty());
  for (std::size_t i = 0; i < x.size(); ++i) task.source_test.x[i] = 1.1F * x[i] + 0.03F;
  CHECK(found().empty());
  for (std::size_t i = 0; i < x.size(); ++i) task.source_test.x[i] = x[i] + 0.8F;
  CHECK(found().find("old.lmc: does not say how its data were normalized") == 0);
  CHECK(found().find("'conv'") != std::string::npos);
  for (std::size_t i = 0; i < x.size(); ++i) task.source_test.x[i] = 0.4F * x[i];
  CHECK(found().find("clips") != std::string::npos);
  // Compared before, or never normalized by the folder.
  task.as_stored = true;
  CHECK(found().empty());
  task.as_stored = false;
  task.kind = TaskKind::images;
  CHECK(found().empty());
}

TEST_CASE("app: classes in another order are told from a network that knows nothing") {
  Task task = random_task(1, 4);
  const auto found = [&](const std::vector<std::int64_t>& confusion) {
    Accuracy a;
    a.confusion = confusion;
    for (std::size_t i = 0; i < confusion.size(); ++i) {
      a.examples += confusion[i];
      if (i % 5 == 0) a.correct += confusion[i];
    }
    return error_of([&] { require_class_order(a, task, "old.lmc"); });
  };
  // Rows: labels.
  CHECK(found({45, 2, 2, 1, 2, 45, 1, 2, 1, 2, 45, 2, 2, 1, 2, 45}).empty());
  CHECK(found({0, 0, 50, 0, 0, 0, 50, 0, 0, 0, 50, 0, 0, 0, 50, 0}).empty());  // one prediction
  CHECK(found({12, 13, 12, 13, 13, 12, 12, 13, 12, 13, 12, 13, 12, 12, 13, 13}).empty());
  CHECK(found({8, 14, 14, 14, 14, 8, 14, 14, 14, 14, 8, 14, 14, 14, 14, 8}).empty());  // below, but
  const std::string text = found({1, 44, 3, 2, 2, 3, 40, 5, 3, 2, 4, 41, 46, 2, 1, 1});
  CHECK(text.find("old.lmc: its classes seem to be others") == 0);
  CHECK(text.find("4.50 % of the source test are right, 85.50 % would be") != std::string::npos);
  CHECK(text.find("class 0 were 3 ('right'), not 0 ('no')") != std::string::npos);
  CHECK(found({}).empty());
  // Names that were compared tell; numbers do not.
  const std::vector<std::int64_t> moved{1, 44, 3, 2, 2, 3, 40, 5, 3, 2, 4, 41, 46, 2, 1, 1};
  task.as_stored = true;
  CHECK(found(moved).empty());
  task.class_names = {"0", "1", "2", "3"};
  CHECK(!found(moved).empty());
}
