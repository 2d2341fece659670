// SPDX-License-Identifier: Apache-2.0
// What the forward gradient is compared with: counts of backpropagation by hand on small networks,
// schedules, memory over a step.
#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <string>

#include "cmodel/device/model_device.hpp"
#include "sw/base/io.hpp"
#include "sw/profile/compare.hpp"
#include "sw/profile/measure.hpp"
#include "sw/profile/memory.hpp"

namespace {

using namespace lastmile;
using namespace lastmile::profile;
using spec::Counter;

const DeviceOpener kCountOnly = [](const DeviceOptions& options) {
  DeviceOptions with = options;
  with.extra = "execute=0";
  return open_model(with);
};

// 4 x 4 x 2, a 3 x 3 convolution to 4 channels with relu, one of stride 2 to 8, a classifier of 3.
constexpr const char* kNet = R"(
name = "hand"
input = [4, 4, 2]
classes = 3
[[layer]]
name = "a"
op = "conv2d"
filters = 4
kernel = 3
padding = "same"
activation = "relu"
[[layer]]
name = "b"
op = "conv2d"
filters = 8
kernel = 3
stride = 2
padding = "same"
activation = "relu"
[[layer]]
name = "c"
op = "fully_connected"
units = "classes"
)";

QuantizedNetwork hand(const std::string& text = kNet) {
  const std::filesystem::path file =
      std::filesystem::temp_directory_path() / "lastmile-hand-network.toml";
  write_file_atomic(file, std::string_view(text), false);
  Workload w{"hand", file.string(), {4, 4, 2}, 3, 2, false};
  return make_network(w, WeightType::w16, 1, 1);
}

Measurement step(const QuantizedNetwork& q, Variant v, int batch, int pairs = 1) {
  MeasureOptions o;
  o.pairs = pairs;
  return measure(q, step_options(q, v, batch, spec::Distribution::sign_), name_of(v), kCountOnly,
                 o);
}

std::uint64_t macs_of(const CounterFile& f, const std::string& what) {
  std::uint64_t n = 0;
  for (const CommandCounters& c : f.commands)
    if (c.name.starts_with(what)) n += c.counters[Counter::macs_];
  return n;
}

TEST_CASE("profile: multiply-accumulates of backpropagation, by hand") {
  const QuantizedNetwork q = hand();
  const int batch = 2;
  const CounterFile f =
      backprop(q, Variant::full, step(q, Variant::full, batch).file, {}, kCountOnly).file;
  const std::uint64_t a = 2 * 16 * 4 * 9 * 2, b = 2 * 4 * 8 * 9 * 4, c = 2 * 3 * 32;
  CHECK(f.total("forward")[Counter::macs_] == a + b + c);
  CHECK(macs_of(f, "gradient of a") == a);
  CHECK(macs_of(f, "gradient of b") == b);
  CHECK(macs_of(f, "gradient of c") == c);
  CHECK(macs_of(f, "input error of a") == 0);  // nobody needs the error of the network's input
  CHECK(macs_of(f, "input error of b") == b);  // 9 taps in four residues
  CHECK(macs_of(f, "input error of c") == c);
  CHECK(f.total()[Counter::macs_] == 2 * (a + b + c) + b + c);
  // The masks of the two relus are read as their errors are stored.
  std::uint64_t masks = 0;
  for (const CommandCounters& x : f.commands)
    if (x.name.starts_with("input error")) masks += x.counters[Counter::element_ops_];
  CHECK(masks == 2 * (4 * 4 * 4 + 2 * 2 * 8));
  // The optimizer handles 2 bytes of each weight and 4 of each bias.
  CHECK(f.total("optimizer")[Counter::element_ops_] == 2 * (72 + 288 + 96) + 4 * (4 + 8 + 3));
}

TEST_CASE("profile: momentum doubles the optimizer's traffic, computing again the forward pass") {
  const QuantizedNetwork q = hand();
  const CounterFile like = step(q, Variant::full, 2).file;
  const CounterFile plain = backprop(q, Variant::full, like, {}, kCountOnly).file;
  const CounterFile momentum = backprop(q, Variant::full, like, {true, false}, kCountOnly).file;
  const CounterFile again = backprop(q, Variant::full, like, {false, true}, kCountOnly).file;
  CHECK(momentum.total("optimizer").written_bytes() ==
        2 * plain.total("optimizer").written_bytes());
  CHECK(momentum.total("backward") == plain.total("backward"));
  CHECK(again.total()[Counter::macs_] ==
        plain.total()[Counter::macs_] + plain.total("forward")[Counter::macs_]);
  const CounterFile head =
      backprop(q, Variant::head, step(q, Variant::head, 2).file, {}, kCountOnly).file;
  CHECK(head.total()[Counter::macs_] == 2 * 2 * 3 * 32);  // the classifier and its gradient
}

TEST_CASE("profile: memory of backpropagation, by hand") {
  const QuantizedNetwork q = hand();
  // While the classifier's gradient is made: outputs of a and b, logits, errors of logits and b,
  // the gradient. The rest of the time there is less.
  const std::uint64_t a = 2 * 64, b = 2 * 32, logits = 2 * 3;
  CHECK(backprop_scratch(q, Variant::full, 2, {}, {}).bytes() ==
        std::max(a + b + logits + logits + b + 2 * (96 + 3),  // classifier
                 a + b + a + 2 * (288 + 8)));                 // b: its error, a's error, gradient
  CHECK(backprop_scratch(q, Variant::full, 2, {true, false}, {}).copies ==
        2 * (72 + 288 + 96 + 15));
  const Widths wide{4, 4, 4, 4};
  CHECK(backprop_scratch(q, Variant::full, 2, {}, wide).bytes() >
        2 * backprop_scratch(q, Variant::full, 2, {}, {}).bytes());
}

TEST_CASE("profile: weight gradients that exceed a tile or K are cut, and lose nothing") {
  for (const char* name : {"small-cnn", "resnet8", "ds-cnn", "mobilenet-96"}) {
    CAPTURE(name);
    const Workload w = find_workload(name);
    const QuantizedNetwork q = make_network(w, WeightType::w16, 1, 1);
    const CounterFile f =
        backprop(q, Variant::full, step(q, Variant::full, w.batch).file, {}, kCountOnly).file;
    const auto forward =
        static_cast<std::uint64_t>(macs(q.network)) * static_cast<std::uint64_t>(w.batch);
    CHECK(macs_of(f, "gradient of") == forward);
    const auto first =
        static_cast<std::uint64_t>(macs(q.network.layers[0])) * static_cast<std::uint64_t>(w.batch);
    CHECK(macs_of(f, "input error of") <= forward - first);
    CHECK(macs_of(f, "input error of") > (forward - first) * 9 / 10);
    // a gradient is written once, whatever it was cut into
    std::uint64_t written = 0;
    for (const CommandCounters& c : f.commands)
      if (c.name.starts_with("gradient of")) written += c.counters[Counter::act_write_bytes_];
    CHECK(written >= 2 * static_cast<std::uint64_t>(weight_count(q.network)));
    CHECK(written < 3 * static_cast<std::uint64_t>(weight_count(q.network)));
  }
}

TEST_CASE("profile: the published method moves the weights in passes of its own") {
  const QuantizedNetwork q = hand();
  const Measurement m = step(q, Variant::full, 2, 2);
  const Alternative p = as_published(q, m.program, m.file, kCountOnly);
  const Counters own = m.file.total(), theirs = p.file.total();
  CHECK(theirs[Counter::update_read_bytes_] == 5 * own[Counter::update_read_bytes_]);
  CHECK(theirs[Counter::macs_] == own[Counter::macs_]);
  CHECK(p.scratch.copies == m.file.trained_bytes);
  CHECK(p.scratch.activations == m.program.memory.activation_live_peak);
}

TEST_CASE("profile: no step is below the floor, schedules only lower the weight traffic") {
  const QuantizedNetwork q = make_network(find_workload("resnet8"), WeightType::w16, 1, 1);
  const Measurement m = step(q, Variant::full, 16);
  const Counters floor = physical_floor(m.program, m.file).file.total(), own = m.file.total();
  CHECK(floor[Counter::cycles_] < own[Counter::cycles_]);
  CHECK(floor.read_bytes() < own.read_bytes());
  CHECK(floor.written_bytes() < own.written_bytes());
  CHECK(floor[Counter::macs_] == own[Counter::macs_]);
  const auto all = schedules(q, Variant::full, m.program, m.file, kCountOnly);
  REQUIRE(all.size() == 6);
  CHECK(weight_movement(all[1].file) < weight_movement(all[0].file));
  for (std::size_t i = 1; i < all.size(); ++i) {
    CAPTURE(all[i].name);
    CHECK(weight_movement(all[i].file) < weight_movement(all[0].file));
    CHECK(weight_movement(all[i].file) >= 1.99);  // biases are in the unit, not in the movement
    CHECK(all[i].file.total()[Counter::cycles_] <= own[Counter::cycles_]);
    CHECK(all[i].file.total()[Counter::macs_] == own[Counter::macs_]);
  }
  // a layer on chip, both halves, fused: one read and one write, with the padding of rows
  CHECK(weight_movement(all[3].file) < 2.1);
  CHECK(all[4].activation_bytes == 2 * all[0].activation_bytes);
}

TEST_CASE("profile: live memory is the planner's, never negative, and ends where it began") {
  for (const char* name : {"small-cnn", "resnet8", "ds-cnn", "resnet18-96"}) {
    CAPTURE(name);
    const Workload w = find_workload(name);
    const QuantizedNetwork q = make_network(w, WeightType::w16, 1, 1);
    const Program p = compile(q, {}, step_options(q, Variant::full, 4, spec::Distribution::sign_));
    const MemoryProfile m = memory_profile(p, q.network, 2);
    std::int64_t live = 0, most = 0;
    for (const std::int64_t change : m.changes) {
      live += change;
      CHECK(live >= 0);
      most = std::max(most, live);
    }
    CHECK(live == 0);
    CHECK(static_cast<std::uint64_t>(most) == p.memory.activation_live_peak);
    CHECK(m.points.size() == 4 * p.forward.size() + p.update.size() + 1);
    const std::uint64_t resident = m.points.back().total();
    CHECK(m.peak_bytes == resident + p.memory.activation_live_peak);
    CHECK(m.peak_bytes <= m.footprint_bytes + 64 * 4);
    std::uint64_t named = 0;
    for (const LiveTensor& t : m.live_at_peak) named += t.bytes;
    CHECK(named >= p.memory.activation_live_peak);
    CHECK(m.on_chip_peak <= m.on_chip_bytes);
    CHECK(m.on_chip_peak > 0);
  }
}

}  // namespace
