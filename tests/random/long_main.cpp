// SPDX-License-Identifier: Apache-2.0
// The long tests of the perturbation generator: sample sizes near those of TestU01's Crush, on the
// orders of stream.hpp. `make random-long`; minutes to an hour of CPU time, by --scale. Ends with
// `N passed, N failed`.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <exception>
#include <functional>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <fmt/core.h>
#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "sw/base/io.hpp"
#include "tests/random/statistics.hpp"
#include "tests/random/stream.hpp"

namespace {

using namespace lastmile::test;

struct Test {
  std::string name;
  std::function<std::vector<PValue>(const Source&, double scale)> run;
};

// Factor on a number of samples, never below a floor that keeps the test meaningful.
std::size_t samples(double full, double scale, double least) {
  return static_cast<std::size_t>(std::max(least, full * scale));
}

std::vector<Test> tests() {
  std::vector<Test> t;
  const auto add = [&](std::string name, auto f) {
    t.push_back({name, [=](const Source& s, double scale) {
                   if constexpr (std::is_same_v<decltype(f(s, scale)), double>)
                     return std::vector<PValue>{{name, f(s, scale)}};
                   else
                     return f(s, scale);
                 }});
  };
  add("monobit",
      [](const Source& s, double k) { return monobit(s, samples(1 << 28, k, 1 << 16)); });
  add("runs", [](const Source& s, double k) { return runs(s, samples(1 << 28, k, 1 << 16)); });
  add("bytes", [](const Source& s, double k) { return bytes(s, samples(1 << 27, k, 1 << 16)); });
  add("serial bits",
      [](const Source& s, double k) { return serial_bits(s, samples(1 << 26, k, 1 << 16)); });
  add("rank 64",
      [](const Source& s, double k) { return matrix_rank(s, 64, samples(1e6, k, 1000)); });
  add("rank 320",
      [](const Source& s, double k) { return matrix_rank(s, 320, samples(3e4, k, 200)); });
  add("rank 1216",
      [](const Source& s, double k) { return matrix_rank(s, 1216, samples(1000, k, 100)); });
  add("linear complexity 5000",
      [](const Source& s, double k) { return linear_complexity(s, 5000, samples(5000, k, 1000)); });
  add("linear complexity 120000",
      [](const Source& s, double k) { return linear_complexity(s, 120000, samples(8, k, 1)); });
  add("birthdays 62 bits", [](const Source& s, double k) {
    return birthday_spacings(s, 1 << 22, 62, samples(20, k, 3));
  });
  add("birthdays 44 bits", [](const Source& s, double k) {
    return birthday_spacings(s, 1 << 16, 44, samples(500, k, 8));
  });
  add("birthdays 32 bits", [](const Source& s, double k) {
    return birthday_spacings(s, 1 << 12, 32, samples(10000, k, 100));
  });
  for (int dimension : {1, 2, 5, 10, 30})
    add("collisions " + std::to_string(dimension), [=](const Source& s, double k) {
      return collisions(s, samples(1 << 24, k, 1 << 18), 30, dimension);
    });
  for (std::size_t words : {1U, 4U, 16U})
    add("hamming " + std::to_string(words), [=](const Source& s, double k) {
      return hamming_independence(s, words, samples(3e7 / static_cast<double>(words), k, 10000));
    });
  for (std::size_t steps : {90U, 1000U, 10000U})
    add("walk " + std::to_string(steps), [=](const Source& s, double k) {
      auto p = random_walk(s, steps, samples(1e9 / static_cast<double>(steps), k, 10000));
      for (PValue& v : p) v.name += " " + std::to_string(steps);
      return p;
    });
  add("gaps 5", [](const Source& s, double k) { return gaps(s, 5, samples(5e6, k, 10000)); });
  add("gaps 9", [](const Source& s, double k) { return gaps(s, 9, samples(5e5, k, 1000)); });
  add("permutations 8",
      [](const Source& s, double k) { return permutations(s, 8, samples(1e7, k, 500000)); });
  return t;
}

struct Result {
  std::string order;
  PValue value;
  double repeated =
      -1;  // p-value on four times the samples of another section, if the first was extreme
  double seconds = 0;

  [[nodiscard]] bool failed() const {
    return extremeness(value.p) < 1e-10 || (repeated >= 0 && extremeness(repeated) < 1e-3);
  }
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<std::string> orders;
  double scale = 1;
  int rounds = lastmile::spec::kHashRounds;
  std::uint64_t seed = 1;
  unsigned threads = 1;
  std::string json;
  CLI::App app("Long statistical tests of the perturbation generator");
  app.add_option("orders", orders, "walk/domain/take, e.g. seeds/sign/word")->required();
  app.add_option("--scale", scale, "factor on the number of samples")->capture_default_str();
  app.add_option("--rounds", rounds, "rounds of the hash, to see its margin")
      ->capture_default_str();
  app.add_option("--seed", seed, "first seed")->capture_default_str();
  app.add_option("--threads", threads, "tests side by side")->capture_default_str();
  app.add_option("--json", json, "write all p-values to this file");
  CLI11_PARSE(app, argc, argv);
  try {
    const std::vector<Test> all = tests();
    for (const std::string& o : orders) static_cast<void>(Order::parse(o));
    std::vector<Result> results;
    std::mutex lock;
    std::atomic<std::size_t> next = 0;
    std::string error;
    const auto work = [&] {
      for (std::size_t k = next++; k < all.size() * orders.size(); k = next++) {
        const std::size_t which = k / orders.size();
        const std::string& order = orders[k % orders.size()];
        const Order o = Order::parse(order);
        // A single bit costs 64 words.
        const double factor = o.take == Take::bit_ ? scale / 16 : scale;
        const auto begin = std::chrono::steady_clock::now();
        const auto section = [&](std::uint64_t n, double f) {
          Stream stream(o, seed, (which * 2 + n) << 36, rounds);
          return all[which].run([&](std::span<std::uint64_t> out) { stream.fill(out); }, f);
        };
        try {
          const auto first = section(0, factor);
          std::vector<PValue> again;
          for (const PValue& p : first)
            if (extremeness(p.p) < 1e-4 && extremeness(p.p) >= 1e-10 && again.empty())
              again = section(1, factor * 4);
          const double seconds =
              std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
          const std::lock_guard guard(lock);
          for (std::size_t i = 0; i < first.size(); ++i) {
            Result r{order, first[i], -1, seconds};
            if (!again.empty() && extremeness(first[i].p) < 1e-4) r.repeated = again[i].p;
            fmt::print("{:24} {:26} p = {:<12.6g}{}{}\n", order, r.value.name, r.value.p,
                       r.repeated >= 0 ? fmt::format(" repeated: {:.6g}", r.repeated) : "",
                       r.failed() ? " FAILED" : "");
            results.push_back(std::move(r));
          }
          std::fflush(stdout);
        } catch (const std::exception& e) {
          const std::lock_guard guard(lock);
          error = e.what();
          next = all.size() * orders.size();
        }
      }
    };
    {
      std::vector<std::jthread> pool;
      for (unsigned i = 0; i < std::max(1U, threads); ++i) pool.emplace_back(work);
    }
    if (!error.empty()) throw std::runtime_error(error);
    const auto failed = std::ranges::count_if(results, &Result::failed);
    if (!json.empty()) {
      nlohmann::json list = nlohmann::json::array();
      for (const Result& r : results)
        list.push_back({{"order", r.order},
                        {"test", r.value.name},
                        {"p", r.value.p},
                        {"repeated", r.repeated},
                        {"failed", r.failed()},
                        {"seconds", r.seconds}});
      lastmile::write_file_atomic(
          json,
          nlohmann::json{{"scale", scale}, {"rounds", rounds}, {"seed", seed}, {"results", list}}
                  .dump(1) +
              "\n");
    }
    fmt::print("{} passed, {} failed\n", results.size() - static_cast<std::size_t>(failed), failed);
    return failed == 0 ? 0 : 1;
  } catch (const std::exception& e) {
    fmt::print(stderr, "random-long: {}\n", e.what());
    return 2;
  }
}
