// SPDX-License-Identifier: Apache-2.0
// A run of readouts with the C host on the plain model: the rate, the best snapshot and the weights
// of the trainer, bit for bit.
#include <doctest/doctest.h>

#include "cmodel/device/model_device.hpp"
#include "cmodel/numeric/loss_units.hpp"
#include "sw/base/rng.hpp"
#include "sw/embedded/native.hpp"
#include "sw/quantizer/readout.hpp"
#include "tests/quantizer/cases.hpp"

namespace lastmile {
namespace {

Dataset bright_quadrants(std::size_t examples, std::uint64_t seed) {
  Dataset d;
  d.shape = {8, 8, 1};
  d.classes = 3;
  Rng rng(seed, 5);
  for (std::size_t i = 0; i < examples; ++i) {
    const std::uint64_t label = rng.below(3);
    for (std::uint64_t k = 0; k < 64; ++k) {
      const bool inside = (k / 32) == label / 2 && (k % 8) / 4 == label % 2;
      d.x.push_back(static_cast<float>(rng.normal() + (inside ? 0.8 : 0)));
    }
    d.y.push_back(static_cast<Label>(label));
  }
  return d;
}

struct Case {
  Dataset data;
  ReadoutNetwork readout;
  ReadoutSplit split;
  FixedOptions fixed;
  double rate = 0;
  Device* device = nullptr;

  Case(std::size_t examples, const ReadoutRunOptions& o)
      : data(bright_quadrants(examples, o.seed)),
        readout(make_readout_network(quantize_random(
            make_network(
                "net", "[8, 8, 1]",
                layer_text("a", "conv2d",
                           "filters = 6\nkernel = 3\npadding = \"same\"\n"
                           "activation = \"relu\"") +
                    layer_text("b", "max_pool2d", "kernel = 2") +
                    layer_text("c", "conv2d", "filters = 8\nkernel = 3\nactivation = \"relu\"")),
            4))),
        split(split_records(data.y, o.seed)) {
    fixed.batch = o.batch;
    rate = o.largest_rate * readout_rate_unit(readout.network, data, open_model, fixed);
  }
  FixedReadout target(std::uint64_t memory = std::uint64_t{64} << 20) {
    const DeviceOpener open = [this](const DeviceOptions& d) {
      auto opened = open_model(d);
      device = opened.get();
      return opened;
    };
    return {readout.network, data, split, rate, open, fixed, memory};
  }
};

// Trainer and C host; both must have moved the weights.
void compare(std::size_t examples, const ReadoutRunOptions& o) {
  CAPTURE(examples);
  CAPTURE(o.seed);
  CAPTURE(o.steps);
  CAPTURE(o.batch);
  CAPTURE(o.rates);
  CAPTURE(o.snapshots);
  Case c(examples, o);
  FixedReadout reference = c.target();
  const ReadoutWeights base = reference.weights();
  const ReadoutOutcome expected = train_readout(reference, c.split, o, nullptr);
  FixedReadout target = c.target();
  const EmbeddedReadoutResult r = run_embedded_readout(*c.device, target, c.data, c.split, o);
  REQUIRE(r.status == LM_OK);
  CHECK(r.rate == expected.choice.rate);
  CHECK(r.best_step == expected.best_step);
  CHECK((target.weights() == reference.weights()));
  CHECK((expected.best_step == 0) == (reference.weights() == base));
  if (c.split.held() == 0) return;
  CHECK(numeric::mean_nats(r.held_loss, static_cast<double>(c.split.held())) == expected.held_loss);
}

}  // namespace

TEST_CASE("embedded: a run of readouts ends in the trainer's bits") {
  ReadoutRunOptions o;
  o.seed = test_seed();
  o.steps = 96;
  o.batch = 16;
  compare(180, o);  // batches that do not divide the records
  o.final_factor = 0.25;
  o.rates = 1;  // the rate is known
  o.snapshots = 7;
  compare(160, o);
  o.rates = 5;
  o.batch = 8;
  o.snapshots = 200;  // more than steps: each has one
  o.steps = 20;
  compare(97, o);
  o.batch = 4;
  o.steps = 30;
  compare(9, o);  // nothing is held out
}

TEST_CASE("embedded: the C host keeps all records in memory") {
  ReadoutRunOptions o;
  o.seed = test_seed();
  o.batch = 16;
  Case c(600, o);
  FixedReadout whole = c.target();
  const std::uint64_t all = whole.driver().program().memory.total_bytes;
  FixedReadout target = c.target(all - 16384);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(run_embedded_readout(*c.device, target, c.data, c.split, o)),
      doctest::Contains("expected 600: the C host has all of them in memory"), Error);
}

}  // namespace lastmile
