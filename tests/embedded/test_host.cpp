// SPDX-License-Identifier: Apache-2.0
// The C host on the plain model: the journal and the weights of the trainer, bit for bit.
#include <doctest/doctest.h>

#include "cmodel/device/model_device.hpp"
#include "sw/app/adapt.hpp"
#include "sw/base/io.hpp"
#include "sw/embedded/native.hpp"
#include "sw/trainer/fixed_training.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/validate/cases.hpp"

namespace lastmile {
namespace {

bool same(const QuantizedNetwork& a, const QuantizedNetwork& b) {
  for (std::size_t i = 0; i < a.layers.size(); ++i)
    if (a.layers[i].weights != b.layers[i].weights || a.layers[i].bias != b.layers[i].bias)
      return false;
  return true;
}

struct Case {
  ValidateCase c = validate_case(two_convolutions(), test_seed());
  AdaptOptions o;
  std::vector<TensorTraining> plan;
  Case() {
    o.unit = AmplitudeUnit::rms;
    o.eps = 0.05;
    o.step = 0.02;
    o.forward.batch = o.fixed.batch = 8;
    o.forward.steps = 12;
  }
  int hold_out = 0;
  [[nodiscard]] RunConfig config() const {
    RunConfig made = run_config(c.quantized, c.data, o, plan);
    made.hold_out = hold_out;
    return made;
  }

  QuantizedNetwork trainer(const std::filesystem::path& path) {
    FixedTraining training(c.quantized, config(), c.data, open_model, o.fixed);
    training.run().start_journal(path);
    training.run().run();
    return training.target().network();
  }
  QuantizedNetwork embedded(const std::filesystem::path& path, bool resume, std::uint32_t stop) {
    Device* device = nullptr;
    FixedTarget target(
        c.quantized, plan, c.data,
        [&](const DeviceOptions& d) {
          auto opened = open_model(d);
          device = opened.get();
          return opened;
        },
        o.fixed);
    const EmbeddedRun run{config(), c.data.size(), path, resume, stop};
    CHECK(run_embedded(*device, target, run).status == LM_OK);
    return target.network();
  }
};

}  // namespace

TEST_CASE("embedded: the C host writes the trainer's journal and weights") {
  const testing::TempDir dir;
  for (const Estimator estimator : {Estimator::sign, Estimator::scaled}) {
    for (const int pairs : {1, 3}) {
      Case c;
      c.o.forward.estimator = estimator;
      c.o.forward.pairs = pairs;
      c.o.keep = pairs == 3 ? 0.5 : 1;
      c.o.fixed.mask_seed = 0x123456789;
      c.plan = plan_training(c.c.quantized, c.o, c.c.data, open_model);
      const QuantizedNetwork expected = c.trainer(dir.path() / "trainer.lmj");
      CHECK(same(c.embedded(dir.path() / "c.lmj", false, UINT32_MAX), expected));
      CHECK(read_file(dir.path() / "c.lmj") == read_file(dir.path() / "trainer.lmj"));
      // Stopped after 5 steps, then resumed by replay.
      static_cast<void>(c.embedded(dir.path() / "r.lmj", false, 5));
      CHECK(same(c.embedded(dir.path() / "r.lmj", true, UINT32_MAX), expected));
      CHECK(read_file(dir.path() / "r.lmj") == read_file(dir.path() / "trainer.lmj"));
      // So is one that holds out examples, which this host would train on.
      c.hold_out = 10;
      CHECK_THROWS_WITH_AS(c.embedded(dir.path() / "h.lmj", false, UINT32_MAX),
                           doctest::Contains("hold_out is 10, expected none"), Error);
      c.hold_out = 0;
      CHECK_FALSE(std::filesystem::exists(dir.path() / "h.lmj"));
      // A journal of another run is refused, and is what it was.
      c.o.forward.seed += 1;
      CHECK_THROWS_WITH_AS(c.embedded(dir.path() / "r.lmj", true, UINT32_MAX),
                           doctest::Contains("it is the journal of another run: seed is"), Error);
      CHECK(read_file(dir.path() / "r.lmj") == read_file(dir.path() / "trainer.lmj"));
    }
  }
}

}  // namespace lastmile
