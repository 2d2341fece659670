// SPDX-License-Identifier: Apache-2.0
// Training of readouts: the split, the order of the batches, the journal, and the loop on the model
// and in float.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "cmodel/device/model_device.hpp"
#include "sw/base/io.hpp"
#include "sw/quantizer/readout.hpp"
#include "sw/trainer/readout.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/quantizer/cases.hpp"

using namespace lastmile;

namespace {

Network net_case() {
  return make_network(
      "net", "[8, 8, 1]",
      layer_text("a", "conv2d",
                 "filters = 6\nkernel = 3\npadding = \"same\"\nactivation = \"relu\"") +
          layer_text("b", "max_pool2d", "kernel = 2") +
          layer_text("c", "conv2d", "filters = 8\nkernel = 3\nactivation = \"relu\""));
}

// Three classes: a bright row, a bright column, or both, somewhere, in noise.
Dataset crosses(std::size_t examples, std::uint64_t seed) {
  Dataset d;
  d.shape = {8, 8, 1};
  d.classes = 3;
  Rng rng(seed, 5);
  for (std::size_t i = 0; i < examples; ++i) {
    const auto label = static_cast<std::uint8_t>(i % 3);
    const auto row = rng.below(8), column = rng.below(8);
    for (std::uint64_t y = 0; y < 8; ++y)
      for (std::uint64_t x = 0; x < 8; ++x)
        d.x.push_back(static_cast<float>(0.4 * rng.normal() + (label != 1 && y == row ? 1.5 : 0) +
                                         (label != 0 && x == column ? 1.5 : 0)));
    d.y.push_back(label);
  }
  return d;
}

ReadoutRunOptions options() {
  ReadoutRunOptions o;
  o.steps = 160;
  o.batch = 16;
  o.seed = 3;
  o.snapshots = 8;
  return o;
}

struct Setup {
  Dataset data = crosses(180, 1);
  QuantizedNetwork base = quantize_random(net_case(), 4);
  ReadoutNetwork readout = make_readout_network(base);
  ReadoutSplit split = split_records(data.y, 3);
  FixedOptions fixed;
  double rate = 0;
  Setup() {
    fixed.batch = options().batch;
    rate = options().largest_rate * readout_rate_unit(readout.network, data, open_model, fixed);
  }
  FixedReadout target(std::uint64_t memory = std::uint64_t{64} << 20) const {
    return {readout.network, data, split, rate, open_model, fixed, memory};
  }
};

}  // namespace

TEST_CASE("trainer: a tenth of every class is held out, each example has one record") {
  std::vector<Label> labels;
  for (int i = 0; i < 203; ++i) labels.push_back(static_cast<Label>(i % 7 == 0 ? 1 : 0));
  const ReadoutSplit s = split_records(labels, 9);
  CHECK(std::set<std::uint32_t>(s.order.begin(), s.order.end()).size() == 203);
  CHECK(s.held() == 20);
  const auto held_of = [&](Label label) {
    return std::count_if(s.order.begin() + static_cast<std::ptrdiff_t>(s.train), s.order.end(),
                         [&](std::uint32_t i) { return labels[i] == label; });
  };
  CHECK(held_of(1) == 3);  // of 29
  CHECK(held_of(0) == 17);
  CHECK(split_records(labels, 9).order == s.order);
  CHECK(split_records(labels, 10).order != s.order);
  CHECK(split_records(std::span(labels).first(9), 9).held() == 0);
}

TEST_CASE("trainer: an epoch takes every batch once, inside the records that train") {
  RecordSampler sampler(5, 103, 10);
  std::set<std::uint32_t> offsets;
  for (std::uint32_t epoch = 0; epoch < 20; ++epoch) {
    std::set<std::uint32_t> firsts;
    for (std::uint32_t k = 0; k < 10; ++k) firsts.insert(sampler.first(epoch * 10 + k));
    CHECK(firsts.size() == 10);
    CHECK(*firsts.rbegin() == *firsts.begin() + 90);
    CHECK(*firsts.rbegin() + 10 <= 103);
    offsets.insert(*firsts.begin());
  }
  CHECK(offsets.size() > 2);
  // A step alone says where: no state from earlier steps.
  RecordSampler again(5, 103, 10);
  CHECK(again.first(137) == sampler.first(137));
}

TEST_CASE("trainer: readouts learn what the base does not know, fixed point as well as float") {
  const Setup s;
  FixedReadout target = s.target();
  const Accuracy before = target.score(static_cast<std::uint32_t>(s.split.train),
                                       static_cast<std::uint32_t>(s.split.held()));
  const ReadoutOutcome out = train_readout(target, s.split, options(), nullptr);
  CHECK(out.choice.losses.size() == 6);
  CHECK(out.search_steps == 36);  // a quarter
  CHECK(out.choice.losses[static_cast<std::size_t>(out.choice.rate)] ==
        *std::min_element(out.choice.losses.begin(), out.choice.losses.end()));
  CHECK(out.snapshots.size() == 9);
  double best = out.snapshots[0].held_loss;
  for (const ReadoutSnapshot& n : out.snapshots) best = std::min(best, n.held_loss);
  CHECK(out.held_loss == best);
  CHECK(out.held_loss < 0.7 * before.loss);

  const Dataset test = crosses(600, 2);
  const double fixed = evaluate_fixed(target.network(), test, open_model, s.fixed).percent();
  const double untrained = evaluate_fixed(s.base, test, open_model, s.fixed).percent();
  CHECK(fixed > untrained + 20);

  const Golden<float> golden(s.readout.network.network);
  FloatParams<float> params = dequantize(s.readout.network);
  FloatReadout reference(golden, params, s.data, s.split, s.readout.record, s.rate, 16);
  ReadoutJournal choice;
  choice.choice = out.choice;
  const ReadoutOutcome exact = train_readout(reference, s.split, options(), nullptr, choice);
  CHECK(exact.search_steps == 0);
  CHECK(exact.held_loss == doctest::Approx(out.held_loss).epsilon(0.05));
  CHECK(std::abs(evaluate_float(golden, params, test).percent() - fixed) < 2.5);
}

TEST_CASE("trainer: without room for the records the bits are the same") {
  const Setup s;
  FixedReadout all = s.target();
  train_readout(all, s.split, options(), nullptr);
  const ReadoutQueues& queues = *all.driver().program().readout;
  CHECK(queues.kept >= 180);
  const std::uint64_t whole = all.driver().program().memory.total_bytes;
  for (const std::uint64_t less :
       {std::uint64_t{queues.pitch} * 100, std::uint64_t{queues.pitch} * 190}) {
    FixedReadout few = s.target(whole - less);
    CHECK(few.driver().program().readout->kept < 180);
    CHECK(few.driver().program().memory.total_bytes <= whole - less);
    train_readout(few, s.split, options(), nullptr);
    CHECK(few.weights() == all.weights());
    CHECK(few.passes() > all.passes());
  }
}

TEST_CASE("trainer: a run of readouts that is cut anywhere continues in the same bits") {
  const Setup s;
  const testing::TempDir dir;
  const auto path = dir.path() / "r.lmj";
  const nlohmann::json header = {{"version", 1}};
  FixedReadout target = s.target();
  {
    ReadoutJournalWriter w = ReadoutJournalWriter::create(path, header);
    train_readout(target, s.split, options(), &w);
  }
  const ReadoutWeights weights = target.weights();
  const std::vector<std::uint8_t> bytes = read_file(path);
  const ReadoutJournal whole = read_readout_journal(path);
  CHECK(!whole.torn);
  CHECK(whole.header == header);
  REQUIRE(whole.end.has_value());
  CHECK(whole.snapshots.size() == 9);
  for (const ReadoutSnapshot& n : whole.snapshots)
    if (n.step == *whole.end) CHECK(n.weights == weights);

  Rng rng(test_seed());
  for (int i = 0; i < 4; ++i) {
    // After the header; at 0 the choice is cut off, at the end nothing is.
    const std::size_t from = 40,
                      cut = i == 0 ? bytes.size() : from + rng.below(bytes.size() - from);
    CAPTURE(cut);
    write_file_atomic(path, std::span(bytes).first(cut));
    const ReadoutJournal part = read_readout_journal(path);
    FixedReadout again = s.target();
    {
      ReadoutJournalWriter w = ReadoutJournalWriter::resume(path, part);
      train_readout(again, s.split, options(), &w, part);
    }
    CHECK(again.weights() == weights);
    CHECK(read_file(path) == bytes);
  }
}

namespace {

// Readouts, then inner layers with them.
struct Both : Setup {
  ReadoutRunOptions run = options();
  std::vector<TensorTraining> inner;
  Both() {
    run.steps = 60;
    run.inner_steps = 90;
    run.snapshots = 3;
    run.pairs = 4;
    TrainingRule rule;
    rule.layers = trainable_layers(readout.network.network, {"a", "c"});
    rule.eps = 0.05;
    rule.step = 0.02;
    inner = training_plan(readout.network, rule);
  }
  FixedReadout target(std::uint64_t memory = std::uint64_t{64} << 20) const {
    return {readout.network, data, split, rate, open_model, fixed, memory, inner};
  }
  // Elements of the inner tensors, behind the head's in a snapshot.
  [[nodiscard]] std::vector<std::int32_t> inner_of(const ReadoutWeights& w) const {
    std::size_t n = 0;
    for (const TensorTraining& t : inner) {
      const QuantizedLayer& q = readout.network.layers[t.tensor / 2];
      n += t.tensor % 2 == 0 ? q.weights.size() : q.bias.size();
    }
    return {w.end() - static_cast<std::ptrdiff_t>(n), w.end()};
  }
};

}  // namespace

TEST_CASE("trainer: with both, readouts come first as they do alone, then inner layers move, too") {
  const Both s;
  const testing::TempDir dir;
  FixedReadout alone = static_cast<const Setup&>(s).target();
  ReadoutRunOptions short_run = s.run;
  short_run.inner_steps = 0;
  train_readout(alone, s.split, short_run, nullptr);
  FixedReadout target = s.target();
  const std::vector<std::int32_t> start = s.inner_of(target.weights());
  const auto path = dir.path() / "both.lmj";
  ReadoutOutcome out;
  {
    ReadoutJournalWriter w = ReadoutJournalWriter::create(path, {{"version", 1}});
    out = train_readout(target, s.split, s.run, &w);
  }
  const ReadoutJournal j = read_readout_journal(path);
  REQUIRE(j.snapshots.size() == 7);
  CHECK(j.snapshots.back().step == 150);
  for (const ReadoutSnapshot& n : j.snapshots)
    CHECK((s.inner_of(n.weights) == start) == (n.step <= 60));
  double best = INFINITY, before = INFINITY;
  for (const ReadoutSnapshot& n : j.snapshots) {
    best = std::min(best, n.held_loss);
    if (n.step <= 60) before = std::min(before, n.held_loss);
  }
  CHECK(out.held_loss == best);
  CHECK(best < before);  // here inner layers help
  const ReadoutWeights readouts = alone.weights();
  CHECK(std::any_of(j.snapshots.begin(), j.snapshots.end(), [&](const ReadoutSnapshot& n) {
    return n.step <= 60 && std::equal(readouts.begin(), readouts.end(), n.weights.begin());
  }));
  // What the target says of the held-out records is what a network of its weights gives them.
  CHECK(target
            .score(static_cast<std::uint32_t>(s.split.train),
                   static_cast<std::uint32_t>(s.split.held()))
            .loss == best);
}

TEST_CASE("trainer: a run of both that is cut anywhere, or has no room, ends in the same bits") {
  const Both s;
  const testing::TempDir dir;
  const auto path = dir.path() / "both.lmj";
  FixedReadout target = s.target();
  {
    ReadoutJournalWriter w = ReadoutJournalWriter::create(path, {{"version", 1}});
    train_readout(target, s.split, s.run, &w);
  }
  const std::vector<std::uint8_t> bytes = read_file(path);
  const std::uint64_t whole = target.driver().program().memory.total_bytes;
  Rng rng(test_seed());
  for (int i = 0; i < 4; ++i) {
    const std::size_t cut = 40 + rng.below(bytes.size() - 40);
    CAPTURE(cut);
    write_file_atomic(path, std::span(bytes).first(cut));
    const ReadoutJournal part = read_readout_journal(path);
    FixedReadout again = s.target(
        i % 2 == 0 ? std::uint64_t{64} << 20
                   : whole - std::uint64_t{target.driver().program().readout->pitch} * 100);
    {
      ReadoutJournalWriter w = ReadoutJournalWriter::resume(path, part);
      train_readout(again, s.split, s.run, &w, part);
    }
    CHECK(again.weights() == target.weights());
    CHECK(read_file(path) == bytes);
  }
}

TEST_CASE("trainer: a target without inner layers has none to train") {
  const Both s;
  FixedReadout target = static_cast<const Setup&>(s).target();
  CHECK(mentions(error_of([&] { train_readout(target, s.split, s.run, nullptr); }),
                 {"inner layers"}));
}

TEST_CASE("trainer: a damaged journal of readouts is refused with its place") {
  const testing::TempDir dir;
  const auto path = dir.path() / "r.lmj";
  std::size_t last = 0;  // where the last record begins
  {
    ReadoutJournalWriter w = ReadoutJournalWriter::create(path, {{"version", 1}});
    w.append(ReadoutChoice{1, {0.5, 0.25}});
    w.append(ReadoutSnapshot{0, 0, 0.5, 3, {1, -2, 3}});
    w.append(ReadoutSnapshot{7, 0.25, 0.125, 4, {4, 5, -6}});
    last = read_file(path).size();
    w.append_end(7);
  }
  CHECK(is_readout_journal(path));
  const std::vector<std::uint8_t> bytes = read_file(path);
  const ReadoutJournal j = parse_readout_journal(bytes, "j");
  CHECK(j.choice == ReadoutChoice{1, {0.5, 0.25}});
  CHECK(j.snapshots[1] == ReadoutSnapshot{7, 0.25, 0.125, 4, {4, 5, -6}});
  CHECK(j.end == 7U);
  for (std::size_t i = 0; i < bytes.size(); ++i) {
    auto bad = bytes;
    bad[i] ^= 0x10;
    // A length that grew beyond the end looks like a torn tail, and the last record may not have
    // been synced; nothing of either is believed.
    bool refused = false;
    ReadoutJournal read;
    try {
      read = parse_readout_journal(bad, "bad");
    } catch (const Error& e) {
      refused = true;
      CHECK(e.kind() == ErrorKind::journal);
      CHECK(mentions(e.what(), {"bad"}));
    }
    CAPTURE(i);
    if (!refused) CHECK((read.torn || (i >= last && !read.damage.empty())));
    if (!refused) CHECK((!read.end && read.valid_bytes <= last));
  }
  const auto refusal = [&](auto&& write) {
    ReadoutJournalWriter w = ReadoutJournalWriter::create(path, {{"version", 1}});
    write(w);
    return error_of([&] { (void)read_readout_journal(path); });
  };
  CHECK(mentions(refusal([](auto& w) {
                   w.append(ReadoutSnapshot{0, 0, 0, 0, {1}});
                 }),
                 {"record 0", "before the choice"}));
  CHECK(mentions(refusal([](auto& w) {
                   w.append(ReadoutChoice{});
                   w.append(ReadoutSnapshot{3, 0, 0, 0, {1}});
                   w.append(ReadoutSnapshot{3, 0, 0, 0, {1}});
                 }),
                 {"record 2", "step is 3, expected more than 3"}));
  CHECK(mentions(refusal([](auto& w) {
                   w.append(ReadoutChoice{});
                   w.append(ReadoutSnapshot{3, 0, 0, 0, {1}});
                   w.append_end(2);
                 }),
                 {"record 2", "step is 2"}));
}

TEST_CASE("trainer: options of a run with readouts that are out of range are refused by name") {
  const auto refused = [](auto&& change) {
    ReadoutRunOptions o;
    change(o);
    return error_of([&] { check_options(o, 100); });
  };
  CHECK(mentions(refused([](auto& o) { o.steps = 0; }), {"steps is 0"}));
  CHECK(mentions(refused([](auto& o) { o.batch = 101; }), {"batch is 101", "1..100"}));
  CHECK(mentions(refused([](auto& o) { o.rates = 7; }), {"rates is 7"}));
  CHECK(mentions(refused([](auto& o) { o.largest_rate = NAN; }), {"largest rate is nan"}));
  CHECK(mentions(refused([](auto& o) { o.final_factor = 2; }), {"final factor is 2"}));
  CHECK(mentions(refused([](auto& o) { o.pairs = 9; }), {"pairs is 9", "1..8"}));
  CHECK(mentions(refused([](auto& o) { o.steps = UINT32_MAX, o.inner_steps = 1; }),
                 {"inner steps is 1", "below 2^32"}));
  ReadoutRunOptions most;
  most.steps = UINT32_MAX - 1, most.inner_steps = 1;
  CHECK_NOTHROW(check_options(most, 100));
}
