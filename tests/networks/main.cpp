// SPDX-License-Identifier: Apache-2.0
// Random networks through quantizer, compiler, driver and model against a simulation that shares
// nothing with them. Every case runs in a process of its own, so that a crash is a failure like any
// other. Ends with `N passed, N failed`.
#include <fmt/core.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "tests/networks/check.hpp"

namespace {

using namespace lastmile::networks;
using Clock = std::chrono::steady_clock;

constexpr unsigned kPatience = 120;  // seconds for one case: only a hang takes them
constexpr double kMostRefused = 0.15;

// What a process leaves for its parent.
struct Slot {
  bool done, failed, refused;
  std::uint64_t programs, values;
  char text[2000];      // what failed
  char refusals[4000];  // one a line
};

class Pool {
 public:
  explicit Pool(std::size_t jobs) : pids_(jobs, 0) {
    void* memory = mmap(nullptr, jobs * sizeof(Slot), PROT_READ | PROT_WRITE,
                        MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) throw std::runtime_error("no shared memory");
    slots_ = static_cast<Slot*>(memory);
  }

  void start(std::size_t k, const Case& c) {
    std::memset(&slots_[k], 0, sizeof(Slot));
    const pid_t pid = fork();
    if (pid < 0) throw std::runtime_error("no process to run a case");
    if (pid == 0) {
      alarm(kPatience);
      write(slots_[k], check_case(c));
      _exit(0);
    }
    pids_[k] = pid;
  }
  // Waits for one that ends, but not for those of another pool.
  std::size_t wait(Outcome& out) {
    int status = 0;
    const pid_t pid = waitpid(pids_.size() == 1 ? pids_[0] : -1, &status, 0);
    std::size_t k = 0;
    while (pids_[k] != pid) ++k;
    pids_[k] = 0;
    out = read(slots_[k]);
    if (!slots_[k].done) {
      out.failed = true;
      out.text = WIFSIGNALED(status)
                     ? fmt::format("the process ended by signal {} ({})", WTERMSIG(status),
                                   WTERMSIG(status) == SIGALRM ? "it did not end by itself"
                                                               : strsignal(WTERMSIG(status)))
                     : fmt::format("the process ended with {}", WEXITSTATUS(status));
    }
    return k;
  }

 private:
  static void copy(char* to, std::size_t room, const std::string& text) {
    text.copy(to, room - 1);  // the rest is zero
  }
  static void write(Slot& s, const Outcome& out) {
    s.failed = out.failed, s.refused = out.refused;
    s.programs = out.programs, s.values = out.values;
    std::string refusals;
    for (const std::string& r : out.refusals) refusals += r + "\n";
    copy(s.text, sizeof s.text, out.text);
    copy(s.refusals, sizeof s.refusals, refusals);
    s.done = true;
  }
  static Outcome read(const Slot& s) {
    Outcome out{s.failed, s.refused, s.text, {}, s.programs, s.values};
    std::string line;
    for (const char* p = s.refusals; *p != 0; ++p) {
      if (*p != '\n') {
        line += *p;
        continue;
      }
      out.refusals.push_back(std::exchange(line, {}));
    }
    return out;
  }

  std::vector<pid_t> pids_;
  Slot* slots_ = nullptr;
};

Outcome alone(const Case& c) {
  static Pool pool(1);
  Outcome out;
  pool.start(0, c);
  pool.wait(out);
  return out;
}

void report(const Case& c, const Outcome& out, int tries) {
  fmt::print("FAILED: {}\n  {}\n", out.text, to_text(c));
  std::fflush(stdout);
  if (tries == 0) return;
  const Case small = shrink(
      c, [](const Case& k) { return alone(k).failed; }, tries);
  const Outcome again = alone(small);
  fmt::print("shrunk: {}\nrepeat: make fuzz-networks CASE='{}'\n",
             again.failed ? again.text : "(it does not fail again)", to_text(small));
  std::fflush(stdout);
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 40;
  std::uint64_t rounds = UINT64_MAX, seed = 0, first = 0;
  int tries = 1500, most = 3;
  std::size_t jobs = 1;
  std::string text;
  CLI::App app("Random networks against an independent simulation");
  app.add_option("--seconds", seconds, "for how long")->capture_default_str();
  app.add_option("--rounds", rounds, "at most so many cases");
  app.add_option("--first", first, "number of the first case")->capture_default_str();
  app.add_option("--jobs", jobs, "cases side by side")->capture_default_str();
  app.add_option("--tries", tries, "of shrinking; 0: none")->capture_default_str();
  app.add_option("--failures", most, "stop after so many")->capture_default_str();
  app.add_option("--case", text, "one case: its text, or a file that holds it");
  CLI11_PARSE(app, argc, argv);
  try {
    if (!text.empty()) {
      if (std::filesystem::exists(text)) text = lastmile::read_text_file(text);
      const Case c = parse_case(text);
      const Outcome out = alone(c);
      for (const std::string& r : out.refusals) fmt::print("refused: {}\n", r);
      if (out.failed) report(c, out, tries);
      fmt::print("{} passed, {} failed\n", out.failed ? 0 : 1, out.failed ? 1 : 0);
      return out.failed ? 1 : 0;
    }
    const char* given = std::getenv("LASTMILE_SEED");
    seed = given != nullptr && *given != 0 ? std::strtoull(given, nullptr, 10)
                                           : std::random_device{}();
    fmt::print("LASTMILE_SEED={}\n", seed);
    std::fflush(stdout);
    Pool pool(jobs);
    struct Running {
      std::uint64_t number = 0;
      Case c;
      double since = 0;
    };
    std::vector<Running> running(jobs);
    std::vector<std::size_t> idle;
    for (std::size_t k = 0; k < jobs; ++k) idle.push_back(k);
    std::map<std::string, std::uint64_t> reasons;
    std::uint64_t next = first, passed = 0, failed = 0, refused = 0, programs = 0, values = 0;
    std::size_t busy = 0;
    double slowest = 0;
    std::uint64_t slowest_case = 0;
    const Clock::time_point begin = Clock::now();
    const auto elapsed = [&] {
      return std::chrono::duration<double>(Clock::now() - begin).count();
    };
    while (true) {
      while (!idle.empty() && next - first < rounds && elapsed() < seconds &&
             failed < static_cast<std::uint64_t>(most)) {
        const std::size_t k = idle.back();
        idle.pop_back();
        running[k] = {next, random_case(lastmile::sub_seed(seed, next)), elapsed()};
        pool.start(k, running[k].c);
        ++next, ++busy;
      }
      if (busy == 0) break;
      Outcome out;
      const std::size_t k = pool.wait(out);
      if (elapsed() - running[k].since > slowest) {
        slowest = elapsed() - running[k].since;
        slowest_case = running[k].number;
      }
      --busy;
      idle.push_back(k);
      for (const std::string& r : out.refusals) ++reasons[r];
      programs += out.programs, values += out.values;
      refused += out.refused ? 1 : 0;
      passed += out.failed ? 0 : 1;
      if (!out.failed) continue;
      ++failed;
      fmt::print("case {} ({:.1f} s)\n", running[k].number, elapsed());
      report(running[k].c, out, tries);
    }
    const std::uint64_t all = passed + failed;
    fmt::print("{} networks, {} programs, {} values compared in {:.0f} s; {} refused ({:.1f} %)\n",
               all, programs, values, elapsed(), refused,
               100.0 * static_cast<double>(refused) /
                   static_cast<double>(std::max<std::uint64_t>(all, 1)));
    fmt::print("the slowest took {:.1f} s: --first {}\n", slowest, slowest_case);
    for (const auto& [reason, count] : reasons) fmt::print("{:6} refused: {}\n", count, reason);
    if (all > 100 && static_cast<double>(refused) > kMostRefused * static_cast<double>(all)) {
      fmt::print("more than {:.0f} % of the networks were refused\n", 100 * kMostRefused);
      ++failed;
    }
    fmt::print("{} passed, {} failed\n", passed, failed);
    return failed == 0 ? 0 : 1;
  } catch (const std::exception& e) {
    fmt::print(stderr, "fuzz-networks: {}\n", e.what());
    return 2;
  }
}
