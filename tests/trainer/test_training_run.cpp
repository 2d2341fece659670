// SPDX-License-Identifier: Apache-2.0
// A run through its journal: killed, stopped, continued, replayed, verified; and what it refuses.
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "cmodel/device/model_device.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/quantizer/file.hpp"
#include "sw/trainer/fixed_training.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/data/shared.hpp"
#include "tests/trainer/quadratic.hpp"

namespace lastmile {
namespace {

RunConfig small_run() {
  RunConfig c;
  c.base_digest = 1;
  c.forward.steps = 20, c.forward.pairs = 3, c.forward.batch = 2;
  c.tensors = {{0, 1.5, 0.25, 256}};
  return c;
}

// One process of a run.
struct Process {
  explicit Process(const RunConfig& config)
      : method(target, 5, config.forward), run(method, config) {}
  Quadratic target;
  ForwardGradient method;
  TrainingRun run;
};

// The file at `path` with `field` of its header changed.
void change_header(const std::filesystem::path& path, const std::function<void(RunConfig&)>& how) {
  Journal journal = read_journal(path);
  how(journal.config);
  auto writer = JournalWriter::create(path, journal.config);
  for (const JournalRecord& r : journal.records) writer.append(r);
}

}  // namespace

TEST_CASE(
    "trainer: the record is in the journal before its update, and a run that was killed and "
    "continued ends where an undisturbed one does") {
  const testing::TempDir dir;
  const auto path = dir.path() / "j";
  const RunConfig config = small_run();
  Process whole(config);
  std::size_t updates = 0;
  whole.target.before_update = [&] { CHECK(read_journal(path).records.size() == ++updates); };
  whole.run.start_journal(path);
  CHECK(whole.run.run() == RunEnd::finished);
  CHECK(updates == 20);
  const std::vector<std::uint8_t> bytes = read_file(path);

  // Killed between the record of step 7 and its update.
  {
    Process killed(config);
    updates = 0;
    killed.target.before_update = [&] {
      if (++updates == 8) throw std::runtime_error("killed");
    };
    CHECK_THROWS_WITH_AS(killed.run.start_journal(path), doctest::Contains("in use by"), Error);
    whole.run.close_journal();
    killed.run.start_journal(path);
    CHECK_THROWS(killed.run.run());
    Process other(config);
    CHECK_THROWS_WITH_AS(other.run.continue_journal(path), doctest::Contains("in use by"), Error);
  }
  Process continued(config);
  std::vector<std::uint32_t> replayed;
  CHECK(continued.run.continue_journal(
            path, [&](const JournalRecord& r) { replayed.push_back(r.step); }) == 8);
  CHECK(replayed == std::vector<std::uint32_t>{0, 1, 2, 3, 4, 5, 6, 7});
  CHECK(continued.target.log.size() == 8);  // updates alone
  CHECK(continued.run.run() == RunEnd::finished);
  CHECK(continued.target.w == whole.target.w);
  CHECK(read_file(path) == bytes);
  continued.run.close_journal();

  Process again(config);
  CHECK(again.run.continue_journal(path) == 20);
  CHECK(again.run.run() == RunEnd::finished);
  CHECK(again.target.w == whole.target.w);
  CHECK(read_file(path) == bytes);

  // Where there is no journal yet, a run that would continue starts.
  Process fresh(config);
  CHECK(fresh.run.continue_journal(dir.path() / "k") == 0);
  CHECK(fresh.run.run() == RunEnd::finished);
  CHECK(read_file(dir.path() / "k") == bytes);
}

TEST_CASE(
    "trainer: a limit or a wish to stop ends a run after a whole step, and it goes on later") {
  const testing::TempDir dir;
  const RunConfig config = small_run();
  Process whole(config);
  CHECK(whole.run.run() == RunEnd::finished);
  Process first(config);
  first.run.start_journal(dir.path() / "j");
  CHECK(first.run.run({.until = 4}) == RunEnd::limit);
  CHECK(read_journal(dir.path() / "j").records.size() == 4);
  int asked = 0;
  CHECK(first.run.run({.stop = [&] { return ++asked == 3; }}) == RunEnd::stopped);
  CHECK(first.run.next_step() == 7);
  first.run.close_journal();
  Process second(config);
  CHECK(second.run.continue_journal(dir.path() / "j") == 7);
  CHECK(second.run.run() == RunEnd::finished);
  CHECK(second.target.w == whole.target.w);
}

TEST_CASE("trainer: a step is verified against its record, from any step of a journal") {
  const testing::TempDir dir;
  const RunConfig config = small_run();
  Process whole(config);
  whole.run.start_journal(dir.path() / "j");
  CHECK(whole.run.run() == RunEnd::finished);
  const Journal journal = read_journal(dir.path() / "j");
  Process checker(config);
  for (const JournalRecord& r : journal.records) checker.run.verify(r);
  CHECK(checker.target.w == whole.target.w);

  const auto refuse = [&](const std::function<void(JournalRecord&)>& change, const char* what) {
    Process p(config);
    for (std::uint32_t k = 0; k < 5; ++k) p.run.replay(journal.records[k]);
    const std::vector<double> before = p.target.w;
    JournalRecord r = journal.records[5];
    change(r);
    CHECK_THROWS_WITH_AS(p.run.verify(r), doctest::Contains(what), Error);
    CHECK(p.target.w == before);
    p.run.verify(journal.records[5]);
    CHECK(p.run.next_step() == 6);
  };
  refuse([](JournalRecord& r) { r.coefficients[1] ^= 1; },
         "step 5: not what the journal has: coef");
  refuse([](JournalRecord& r) { r.step_register ^= 1; }, "STEP is 0x");
  refuse([](JournalRecord& r) { r.loss_sum += 1; }, "loss sum is ");
  refuse([](JournalRecord& r) { r.step = 4; }, "its record is of step 4");
  Process p(config);
  CHECK_THROWS_WITH_AS(p.run.replay(journal.records[1]),
                       doctest::Contains("record of step 1, expected 0"), Error);
}

TEST_CASE("trainer: the journal of another run is refused with the field, and stays as it is") {
  const testing::TempDir dir;
  const auto path = dir.path() / "j";
  const RunConfig config = small_run();
  const auto refused = [&](const std::function<void(RunConfig&)>& change, const char* what) {
    Process p(config);
    p.run.start_journal(path);
    CHECK(p.run.run({.until = 3}) == RunEnd::limit);
    p.run.close_journal();
    change_header(path, change);
    const std::vector<std::uint8_t> bytes = read_file(path);
    Process q(config);
    CHECK_THROWS_WITH_AS(q.run.continue_journal(path), doctest::Contains(what), Error);
    CHECK(q.target.log.empty());
    CHECK(read_file(path) == bytes);
  };
  refused([](RunConfig& c) { c.forward.seed = 2; }, "another run: seed is 2, expected 1");
  refused([](RunConfig& c) { c.forward.seed_rule = SeedRule::counting; },
          "seed_rule is missing, expected \"hashed\"");
  refused([](RunConfig& c) { c.base_digest = 2; }, "base_digest is 2, expected 1");
  refused([](RunConfig& c) { c.data_digest = 9; }, "data_digest is 9, expected 0");
  refused([](RunConfig& c) { c.hold_out = 10; }, "hold_out is 10, expected missing");
  refused([](RunConfig& c) { c.forward.steps = 21; }, "steps is 21, expected 20");
  refused([](RunConfig& c) { c.forward.batch = 3; }, "batch is 3, expected 2");
  refused([](RunConfig& c) { c.forward.estimator = Estimator::sign; }, "estimator is \"sign\"");
  refused([](RunConfig& c) { c.forward.schedule = StepSchedule::constant; }, "schedule is \"con");
  refused([](RunConfig& c) { c.forward.final_factor = 0.5; }, "final_factor is 0.5, expected 0.0");
  refused([](RunConfig& c) { c.distribution = spec::Distribution::gaussian_; }, "distribution is");
  refused([](RunConfig& c) { c.mask_seed = 1; }, "mask_seed is 1, expected 0");
  refused([](RunConfig& c) { c.tensors[0].eps_lsb = 2; }, "tensors/0/eps is 2.0, expected 1.5");
}

TEST_CASE("trainer: the header's text is checked field by field, once") {
  const RunConfig config = small_run();
  const std::string text = to_text(config);
  CHECK(parse_run_config(text, "j") == config);
  const auto refused = [&](const std::string& from, const std::string& to, const char* what) {
    std::string bad = text;
    REQUIRE(bad.find(from) != std::string::npos);
    bad.replace(bad.find(from), from.size(), to);
    CHECK_THROWS_WITH_AS(static_cast<void>(parse_run_config(bad, "j")), doctest::Contains(what),
                         Error);
  };
  refused("\"hashed\"", "\"salted\"", "header: seed_rule is \"salted\", expected hashed");
  refused("\"pairs\":3", "\"pairs\":9", "j: header: pairs is 9, expected 1..8");
  refused("\"batch\":2", "\"batch\":-2", "config.batch is -2, expected 1..2147483647");
  refused("\"batch\":2", "\"batch\":\"2\"", "config.batch is \"2\", expected 1..");
  refused("\"steps\":20", "\"steps\":4294967296", "config.steps is 4294967296, expected 0..");
  refused("\"steps\":20,", "", "header: config.steps is missing");
  refused("\"scaled\"", "\"Scaled\"", "config.estimator is \"Scaled\", expected sign or scaled");
  refused("\"SIGN\"", "\"sign\"", "config.distribution is \"sign\", expected SIGN or GAUSSIAN");
  refused("\"final_factor\":0.0", "\"final_factor\":1.5", "expected 0..1");
  refused("\"keep\":256", "\"keep\":257", "config.tensors[0].keep is 257, expected 0..256");
  refused("\"eps\":1.5", "\"eps\":null", "config.tensors[0].eps is null, expected a finite number");
  refused("\"eps\":1.5", "\"eps\":-1.5", "config.tensors[0].eps is -1.5");
  refused("\"mask_seed\"", "\"masks\":1,\"mask_seed\"", "config.masks is 1, a field this program");
  refused("{\"base_digest\"", "{\"method\":\"x\",\"base_digest\"", "header: method is \"x\", a");
  refused("\"pairs\":3", "\"hold_out\":0,\"pairs\":3", "header: hold_out is 0, expected 1..50");
  refused("\"pairs\":3", "\"hold_out\":51,\"pairs\":3", "hold_out is 51, expected 1..50");
  CHECK(text.find("hold_out") == std::string::npos);
  RunConfig holds = config;
  holds.hold_out = 25;
  CHECK(parse_run_config(to_text(holds), "j").hold_out == 25);
  refused("\"tensors\":[", "\"tensors\":7,\"x\":[", "config.x is");
  CHECK_THROWS_WITH_AS(static_cast<void>(parse_run_config(
                           R"({"base_digest":1,"config":null,"pairs":1,"seed":1})", "j")),
                       doctest::Contains("header: config is null, expected an object"), Error);
  CHECK_THROWS_AS(static_cast<void>(parse_run_config("[", "j")), Error);
}

TEST_CASE(
    "trainer: journals of earlier versions have the same text and replay to the same weights") {
  const std::filesystem::path folder = testing::shared_folder("cases/reliability");
  if (folder.empty()) return;
  const QuantizedNetwork base = load_quantized(folder / "q.lmq");
  const Journal journal = read_journal(folder / "ref.lmj");
  const std::vector<std::uint8_t> bytes = read_file(folder / "ref.lmj");
  const std::string text = to_text(journal.config);
  CHECK(journal.config.forward.seed_rule == SeedRule::counting);
  CHECK(std::string(bytes.begin() + 12,
                    bytes.begin() + 12 + static_cast<std::ptrdiff_t>(text.size())) == text);
  CHECK(weights_hash(replay_network(base, journal, "ref.lmj", 3000, open_model, {})) ==
        0x94fab61cff06a855ULL);
  CHECK_THROWS_WITH_AS(
      static_cast<void>(replay_network(base, journal, "ref.lmj", 3001, open_model, {})),
      doctest::Contains("steps is 3001, but ref.lmj has 3000"), Error);
  CHECK_THROWS_WITH_AS(static_cast<void>(read_journal(folder / "config-null.lmj")),
                       doctest::Contains("header: config is null"), Error);
}

}  // namespace lastmile
