// SPDX-License-Identifier: Apache-2.0
// What a run holds out, the points it measures, its end: kept, replayed, continued, refused.
#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <set>
#include <stdexcept>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/trainer/held_out.hpp"
#include "sw/trainer/readout.hpp"
#include "sw/trainer/training_run.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/trainer/quadratic.hpp"

namespace lastmile {
namespace {

Dataset numbered(std::size_t examples, int classes) {
  Dataset d;
  d.shape = {1, 1, 1};
  d.classes = classes;
  for (std::size_t i = 0; i < examples; ++i) {
    d.x.push_back(static_cast<float>(i));
    d.y.push_back(static_cast<Label>(i * i % static_cast<std::size_t>(classes)));
  }
  return d;
}

// A run whose held-out losses are given, point by point.
struct Scripted {
  explicit Scripted(std::vector<std::int64_t> given)
      : losses(std::move(given)), method(target, 5, config.forward), run(method, config) {
    run.hold_out({.loss = [this] { return losses.at(taken++); },
                  .keep = [this] { best = target.w; },
                  .examples = 1,
                  .classes = 10});
  }
  static RunConfig config_of() {
    RunConfig c;
    c.forward.steps = 20, c.forward.pairs = 3, c.forward.batch = 2;
    c.tensors = {{0, 1.5, 0.25, 256}};
    c.hold_out = 10;
    return c;
  }
  std::vector<std::int64_t> losses;
  RunConfig config = config_of();
  Quadratic target;
  ForwardGradient method;
  TrainingRun run;
  std::size_t taken = 0;
  std::vector<double> best;
};

constexpr std::int64_t kBit = std::int64_t{1} << spec::kLossFraction;

// Eleven points: the best is the fourth, after 6 of 20 steps.
const std::vector<std::int64_t> kDipping = {9 * kBit, 8 * kBit, 7 * kBit, 5 * kBit,
                                            6 * kBit, 5 * kBit, 9 * kBit, 9 * kBit,
                                            9 * kBit, 9 * kBit, 9 * kBit};

// The file without its last `bytes`.
void cut(const std::filesystem::path& path, std::size_t bytes) {
  std::filesystem::resize_file(path, std::filesystem::file_size(path) - bytes);
}

}  // namespace

TEST_CASE("held out: the share of every class, each example once, the same for the same seed") {
  const Dataset all = numbered(400, 7);
  for (const int percent : {1, 5, 10, 33, 50}) {
    const HeldOutData d(all, percent, 3);
    CHECK(d.train() + d.held() == all.size());
    CHECK(d.held() == held_examples(all, percent, 3));
    std::set<float> seen(d.data().x.begin(), d.data().x.end());
    CHECK(seen.size() == all.size());
    std::array<double, 7> share{}, of{};
    for (std::size_t i = 0; i < all.size(); ++i) {
      const float x = d.data().x[i];
      CHECK(d.data().y[i] == all.y[static_cast<std::size_t>(x)]);
      of[d.data().y[i]] += percent / 100.0;
      if (i >= d.train()) share[d.data().y[i]] += 1;
    }
    for (std::size_t k = 0; k < 7; ++k) CHECK(std::abs(share[k] - of[k]) <= 1);
    CHECK(HeldOutData(all, percent, 3).data().x == d.data().x);
    CHECK(HeldOutData(all, percent, 4).data().x != d.data().x);
  }
  // The rule of the readouts.
  const ReadoutSplit readouts = split_records(all.y, 3);
  const HeldOutData d(all, 10, 3);
  CHECK(d.held() == readouts.held());
  CHECK(std::equal(readouts.order.begin(), readouts.order.end(), d.data().x.begin()));
}

TEST_CASE("held out: copies of an example all train or are all held out") {
  Dataset all = numbered(400, 7);
  for (std::size_t i = 0; i < all.size(); ++i) all.y[i] = i < 380 ? 0 : 1;
  all.classes = 2;
  const Dataset even = balanced(all, 5);
  CHECK(even.size() == 760);
  const HeldOutData d(even, 10, 3);
  std::set<float> train, held;
  for (std::size_t i = 0; i < even.size(); ++i)
    (i < d.train() ? train : held).insert(d.data().x[i]);
  for (const float x : held) CHECK(!train.contains(x));
  CHECK(held.size() == 40);
  CHECK(train.size() == 360);
  CHECK(d.held() == 76);  // 38 and two that are there 19 times
  // Examples of one speaker are still copies.
  CHECK(select(even, std::vector<std::size_t>{3, 1}).copy_of ==
        std::vector<std::uint32_t>{even.copy_of[3], even.copy_of[1]});
}

TEST_CASE("held out: none at 0 per cent and of few examples; then all train in their order") {
  const Dataset few = numbered(kLeastToHoldOut - 1, 3), enough = numbered(kLeastToHoldOut, 3);
  CHECK(HeldOutData(few, 10, 1).held() == 0);
  CHECK(HeldOutData(few, 10, 1).data().x == few.x);
  CHECK(HeldOutData(enough, 0, 1).data().x == enough.x);
  CHECK(HeldOutData(enough, 10, 1).held() == 2);
  CHECK(held_examples(enough, 0, 1) == 0);
}

TEST_CASE("held out: the loss is summed over whole batches and what is left") {
  Quadratic target;
  static_cast<void>(held_loss(target, 40, 7, 3));
  CHECK(target.log == std::vector<std::string>{"batch 3", "-0", "batch 3", "-0", "batch 1", "-0"});
  CHECK(passes_of(7, 3) == 3);
  CHECK(passes_of(6, 3) == 2);
}

TEST_CASE("held out: eleven points, evenly spaced, whatever the number of steps") {
  for (const std::uint32_t steps : {1U, 3U, 10U, 17U, 1000U, 4294967295U}) {
    const BestPoint p(steps, 1, 2);
    CHECK(p.is_point(0));
    CHECK(p.is_point(steps));
    if (steps > 5000) continue;
    std::uint32_t points = 0;
    for (std::uint32_t s = 1; s <= steps; ++s) points += p.is_point(s) ? 1 : 0;
    CHECK(points == std::min(steps, kHeldPoints));
  }
}

TEST_CASE("held out: a run diverged when two points in a row lose more than guessing and start") {
  const auto diverged = [](std::vector<std::int64_t> losses) {
    BestPoint p(100, 1, 10);  // guessing: 4 bits
    std::uint32_t step = 0;
    for (const std::int64_t l : losses) p.take(10 * step++, l * kBit);
    return p.diverged();
  };
  CHECK(diverged({3, 7, 7}));
  CHECK(diverged({3, 2, 7, 7, 1}));  // it stays
  CHECK_FALSE(diverged({3, 7, 5, 7}));
  CHECK_FALSE(diverged({3, 6, 6}));
  CHECK_FALSE(diverged({1, 4, 4}));
  CHECK(diverged({1, 5, 5}));
  CHECK_FALSE(diverged({30, 59, 59}));  // a bad start
  BestPoint p(100, 1, 10);
  CHECK(p.take(0, 9 * kBit));
  CHECK_FALSE(p.take(10, 9 * kBit));
  CHECK_FALSE(p.take(20, 6 * kBit + 1));  // too little to be more than chance
  CHECK(p.best_step() == 0);
  CHECK(p.take(30, 6 * kBit));
  CHECK(p.take(40, 6 * kBit - 1));
  CHECK_FALSE(p.take(50, 6 * kBit));
  CHECK(p.best_step() == 40);
}

TEST_CASE("held out: the best point is kept, ends the journal, and a replay stops there") {
  const testing::TempDir dir;
  const auto path = dir.path() / "j";
  Scripted whole(kDipping);
  whole.run.start_journal(path);
  CHECK(whole.run.run() == RunEnd::finished);
  CHECK(whole.taken == 11);
  whole.run.close_journal();
  const Journal journal = read_journal(path);
  REQUIRE(journal.end);
  CHECK(*journal.end == JournalEnd{6, 5 * kBit, 9 * kBit});
  CHECK(journal.records.size() == 20);
  CHECK(journal.result_step() == 6);
  Scripted replayed(kDipping);
  for (std::uint32_t k = 0; k < journal.result_step(); ++k) replayed.run.replay(journal.records[k]);
  CHECK(replayed.target.w == whole.best);
  CHECK(whole.target.w != whole.best);
}

TEST_CASE("held out: a run that was killed anywhere measures again and ends in the same bits") {
  const testing::TempDir dir;
  const auto path = dir.path() / "j";
  Scripted whole(kDipping);
  whole.run.start_journal(path);
  CHECK(whole.run.run() == RunEnd::finished);
  whole.run.close_journal();
  const std::vector<std::uint8_t> bytes = read_file(path);
  constexpr std::size_t kRecord = 28 + 3;
  for (const std::size_t left_out : {std::size_t{0}, std::size_t{1}, kRecord, kRecord + 1,
                                     2 * kRecord, 13 * kRecord, 16 * kRecord, 21 * kRecord}) {
    CAPTURE(left_out);
    write_file_atomic(path, bytes);
    cut(path, left_out);
    Scripted again(kDipping);
    again.run.continue_journal(path);
    CHECK(again.run.run() == RunEnd::finished);
    again.run.close_journal();
    CHECK(again.best == whole.best);
    CHECK(again.taken == 11);
    CHECK(read_file(path) == bytes);
  }
}

TEST_CASE("held out: a run that diverges ends there, its best point kept, and stays ended") {
  const testing::TempDir dir;
  const auto path = dir.path() / "j";
  const std::vector<std::int64_t> exploding = {5 * kBit, 1 * kBit, 11 * kBit, 12 * kBit};
  Scripted whole(exploding);
  whole.run.start_journal(path);
  CHECK(whole.run.run() == RunEnd::diverged);
  CHECK(whole.run.next_step() == 6);
  whole.run.close_journal();
  const std::vector<std::uint8_t> bytes = read_file(path);
  const Journal journal = read_journal(path);
  REQUIRE(journal.end);
  CHECK(journal.records.size() == 6);
  CHECK(journal.end->best_step == 2);
  for (const std::size_t left_out : {std::size_t{0}, std::size_t{31}, std::size_t{62}}) {
    write_file_atomic(path, bytes);
    cut(path, left_out);
    Scripted again(exploding);
    again.run.continue_journal(path);
    CHECK(again.run.run() == RunEnd::diverged);
    again.run.close_journal();
    CHECK(again.best == whole.best);
    CHECK(read_file(path) == bytes);
  }
}

TEST_CASE("held out: an end that the run would not have is refused with what differs") {
  const testing::TempDir dir;
  const auto path = dir.path() / "j";
  Scripted whole(kDipping);
  whole.run.start_journal(path);
  CHECK(whole.run.run() == RunEnd::finished);
  whole.run.close_journal();
  const Journal journal = read_journal(path);
  const auto refused = [&](std::size_t records, const JournalEnd& end, const char* what) {
    {
      auto w = JournalWriter::create(path, journal.config);
      for (std::size_t i = 0; i < records; ++i) w.append(journal.records[i]);
      w.append_end(end);
    }
    Scripted again(kDipping);
    CHECK_THROWS_WITH_AS(again.run.continue_journal(path), doctest::Contains(what), Error);
  };
  const JournalEnd good = *journal.end;
  refused(20, {8, good.best_loss, good.start_loss}, "its best step is 8, expected 6");
  refused(20, {6, good.best_loss - 1, good.start_loss}, "losses of its held-out examples are");
  refused(20, {6, good.best_loss, good.start_loss + 1}, "losses of its held-out examples are");
  refused(12, good, "it ends after step 12 of 20, but the run had not diverged");
  // A run that went on although it had diverged.
  auto w = JournalWriter::create(path, journal.config);
  for (const JournalRecord& r : journal.records) w.append(r);
  CHECK_THROWS_AS(w.append_end({21, 0, 0}), Error);
  w.append_end(good);
  CHECK_THROWS_WITH_AS(w.append_end(good), doctest::Contains("after the end"), Error);
  w = JournalWriter::create(dir.path() / "k", journal.config);
  Scripted diverged(
      {5 * kBit, 1 * kBit, 11 * kBit, 12 * kBit, kBit, kBit, kBit, kBit, kBit, kBit, kBit});
  for (const JournalRecord& r : journal.records) diverged.run.replay(r);
  CHECK(diverged.run.end_difference(journal) ==
        "it goes on after step 6, where the run had diverged");
}

}  // namespace lastmile
