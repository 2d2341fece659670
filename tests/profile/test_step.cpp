// SPDX-License-Identifier: Apache-2.0
// A measured step: its counters are the network's arithmetic, and parts sum to the whole.
#include <doctest/doctest.h>

#include <algorithm>
#include <string>

#include "cmodel/device/model_device.hpp"
#include "sw/profile/measure.hpp"
#include "sw/profile/tables.hpp"

namespace {

using namespace lastmile;
using namespace lastmile::profile;
using spec::Counter;

DeviceOpener model(const std::string& extra = {}) {
  return [extra](const DeviceOptions& options) {
    DeviceOptions with = options;
    with.extra = extra;
    return open_model(with);
  };
}

Measurement step(const std::string& name, Variant variant, int batch, int pairs,
                 const std::string& extra = "execute=0") {
  const QuantizedNetwork q = make_network(find_workload(name), WeightType::w16, 1, 1);
  MeasureOptions o;
  o.pairs = pairs;
  return measure(q, step_options(q, variant, batch, spec::Distribution::sign_), name_of(variant),
                 model(extra), o);
}

TEST_CASE("profile: MACs and updates of a step equal the network's arithmetic") {
  for (const char* name : {"small-cnn", "resnet8", "ds-cnn"}) {
    CAPTURE(name);
    const QuantizedNetwork q = make_network(find_workload(name), WeightType::w16, 1, 1);
    const Measurement m = step(name, Variant::full, 3, 2);
    const CounterFile& f = m.file;
    CHECK(f.total()[Counter::macs_] == 2 * 2 * 3 * static_cast<std::uint64_t>(macs(q.network)));
    CHECK(f.total("update")[Counter::element_ops_] == f.trained_weights);
    CHECK(f.trained_bytes == f.weight_bytes);
    CHECK(f.total("forward+")[Counter::macs_] == f.total("forward-")[Counter::macs_]);
    CHECK(f.total()[Counter::commands_] == 4 * m.program.forward.size() + m.program.update.size());
    // every byte of the sum was counted by a layer
    Counters sum;
    for (const CommandCounters& c : f.commands) sum += c.counters;
    CHECK(sum == f.total());
    CHECK(sum[Counter::bus_read_beats_] * 16 == sum.read_bytes());
  }
}

TEST_CASE("profile: head-only training repeats no frozen layer, masks leave traffic as it is") {
  const Measurement full = step("resnet8", Variant::full, 4, 1);
  const Measurement head = step("resnet8", Variant::head, 4, 1);
  const Measurement sparse = step("resnet8", Variant::sparse, 4, 1);
  CHECK(head.file.total()[Counter::macs_] == 2 * 4 * 64 * 10);
  CHECK(head.file.trained_weights == 650);
  CHECK(sparse.file.total().read_bytes() == full.file.total().read_bytes());
  CHECK(sparse.file.total()[Counter::random_words_] > full.file.total()[Counter::random_words_]);
}

TEST_CASE("profile: predicting without executing counts the same events and cycles") {
  const Measurement done = step("small-cnn", Variant::full, 2, 2, "");
  const Measurement predicted = step("small-cnn", Variant::full, 2, 2, "execute=0");
  REQUIRE(done.file.commands.size() == predicted.file.commands.size());
  bool data_seen = false;
  for (std::size_t i = 0; i < done.file.commands.size(); ++i) {
    for (std::size_t k = 0; k < spec::kCounters; ++k) {
      const auto c = static_cast<Counter>(k);
      const bool data = c == Counter::perturbed_ || c == Counter::clipped_ ||
                        c == Counter::sat_low_ || c == Counter::sat_high_ ||
                        c == Counter::updated_ || c == Counter::update_zero_ ||
                        c == Counter::update_clipped_;
      const std::uint64_t real = done.file.commands[i].counters[c];
      CHECK(predicted.file.commands[i].counters[c] == (data ? 0 : real));
      data_seen = data_seen || (data && real > 0);
    }
  }
  CHECK(data_seen);
}

TEST_CASE("profile: host bytes of a step are seeds, scalars and losses, whatever the network") {
  const Measurement a = step("small-cnn", Variant::full, 2, 1);
  const Measurement b = step("resnet8", Variant::full, 5, 1);
  CHECK(a.file.host.bytes_read == 0);
  CHECK(a.file.host.bytes_written == 0);
  CHECK(a.file.host.register_writes == b.file.host.register_writes);
  CHECK(a.file.host.bytes() < 400);
  CHECK(a.file.batch_traffic.bytes_written == 2 * (28 * 28 + 1));
}

}  // namespace
