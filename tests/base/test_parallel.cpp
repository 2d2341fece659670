// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/parallel.hpp"
#include "sw/base/progress.hpp"
#include "tests/base/temp_dir.hpp"

using lastmile::testing::error_of;

TEST_CASE("base: parallel_for visits every index once, in chunks that timing cannot change") {
  for (const int threads : {1, 2, 3, 7}) {
    for (const std::int64_t n : {0, 1, 2, 5, 64, 1001}) {
      CAPTURE(threads);
      CAPTURE(n);
      std::vector<int> seen(static_cast<std::size_t>(n));
      std::map<std::int64_t, std::int64_t> chunks;
      std::mutex mutex;
      lastmile::parallel_for(threads, n, [&](std::int64_t begin, std::int64_t end) {
        for (auto i = begin; i < end; ++i) ++seen[static_cast<std::size_t>(i)];
        const std::scoped_lock lock(mutex);
        chunks[begin] = end;
      });
      for (const int count : seen) CHECK(count == 1);
      const auto expected = std::min<std::int64_t>(threads, n);
      CHECK(static_cast<std::int64_t>(chunks.size()) == expected);
      for (std::int64_t k = 0; k < expected; ++k)
        CHECK(chunks.at(k * n / expected) == (k + 1) * n / expected);
    }
  }
}

TEST_CASE("base: an exception of a chunk reaches the caller") {
  const lastmile::Workers workers(2);
  CHECK_THROWS_AS(workers.parallel_for(10,
                                       [](std::int64_t begin, std::int64_t) {
                                         if (begin > 0) throw std::runtime_error("chunk");
                                       }),
                  std::runtime_error);
  CHECK(error_of([] { lastmile::Workers w(-1); }).find("threads: -1") == 0);
  CHECK(lastmile::Workers(0).threads() == lastmile::default_threads());
}

namespace {

struct FakeTerminal {
  double time = 100;
  bool terminal = true;
  std::string output;
  lastmile::ProgressOptions options() {
    lastmile::ProgressOptions o;
    o.columns = 60;
    o.now = [this] { return time; };
    o.is_terminal = [this] { return terminal; };
    o.write = [this](std::string_view text) { output += text; };
    return o;
  }
};

}  // namespace

TEST_CASE("base: progress is silent for short work") {
  FakeTerminal t;
  {
    lastmile::Progress p("short", 100, t.options());
    for (int i = 0; i < 100; ++i) {
      t.time += 0.019;
      p.add();
    }
  }
  CHECK(t.output.empty());
}

TEST_CASE("base: progress draws a bar with percent and time left on a terminal") {
  FakeTerminal t;
  {
    lastmile::Progress p("training", 10, t.options());
    t.time += 30;
    p.note("loss 0.5");
    p.add(3);
    CHECK(t.output.find("training [") != std::string::npos);
    CHECK(t.output.find(" 30 %  1 min 10 s left  loss 0.5") != std::string::npos);
    const auto once = t.output.size();
    p.add(1);  // within the redraw interval
    CHECK(t.output.size() == once);
    t.time += 70;
    p.add(6);
  }
  CHECK(t.output.find("100 %  1 min 40 s") != std::string::npos);
  CHECK(t.output.back() == '\n');
  for (std::size_t at = 0; at < t.output.size();) {  // no line is wider than the terminal
    const auto end = std::min(t.output.find('\r', at + 1), t.output.size());
    CHECK(end - at <= 60 + 5);
    at = end;
  }
}

TEST_CASE("base: progress prints a plain line about every ten seconds elsewhere") {
  FakeTerminal t;
  t.terminal = false;
  {
    lastmile::Progress p("work", 400, t.options());
    for (int i = 0; i < 400; ++i) {
      t.time += 0.1;
      p.add();
    }
  }
  CHECK(std::count(t.output.begin(), t.output.end(), '\n') == 4);  // 10, 20, 30 s and the end
  CHECK(t.output.find('\r') == std::string::npos);
  CHECK(t.output.find("work  25 %  30 s left\n") == 0);
}

TEST_CASE("base: progress counts from several threads and prints nothing when disabled") {
  FakeTerminal t;
  auto options = t.options();
  options.enabled = false;
  options.start_after = 0;
  lastmile::Progress quiet("quiet", 1000, options);
  FakeTerminal shown;
  auto loud_options = shown.options();
  loud_options.start_after = 0;
  loud_options.bar_every = 0;
  {
    lastmile::Progress loud("loud", 1000, loud_options);
    lastmile::parallel_for(4, 1000, [&](std::int64_t begin, std::int64_t end) {
      for (auto i = begin; i < end; ++i) {
        quiet.add();
        loud.add();
      }
    });
  }
  quiet.finish();
  CHECK(t.output.empty());
  CHECK(shown.output.find("100 %") != std::string::npos);
}

TEST_CASE("base: durations read as people write them") {
  CHECK(lastmile::format_duration(0) == "0 s");
  CHECK(lastmile::format_duration(41.2) == "42 s");
  CHECK(lastmile::format_duration(185) == "3 min 05 s");
  CHECK(lastmile::format_duration(7620) == "2 h 07 min");
}
