// SPDX-License-Identifier: Apache-2.0
// `make bench`: the model's speed beside what the machine, a float implementation, PyTorch and ONNX
// Runtime can do, the cost of a training step in forward passes, and the journal. Everything that
// is compared runs in one go, its repetitions in random order, so that other load on the machine
// hits both sides; medians are compared. Single-thread figures are CPU time, two-thread ones
// wall-clock time. Arguments: --out FILE, --onnx FOLDER and Google Benchmark's own.
// g++ 12 takes the undefined operands of the AVX-512 intrinsics in Eigen's matrix product for
// uninitialized variables (GCC bug 105593).
#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#pragma GCC diagnostic ignored "-Wuninitialized"
#endif
#include <benchmark/benchmark.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "cmodel/device/model_device.hpp"
#include "cmodel/npu/kernels/kernels.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/rng.hpp"
#include "sw/compiler/compile.hpp"
#include "sw/driver/session.hpp"
#include "sw/golden/golden.hpp"
#include "sw/graph/reader.hpp"
#include "sw/quantizer/quantize.hpp"
#include "sw/trainer/journal.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/bench/limits.hpp"
#include "tests/bench/peer.hpp"

namespace lastmile::bench {
namespace {

constexpr int kBatch = 64;
constexpr std::uint32_t kStep = 0x8000;  // register STEP: factor 1/2

// A network on its devices, with one batch loaded. Weights are random: speed does not depend on
// them.
class Subject {
 public:
  Subject(const std::string& network_file, const TaskShape& task, WeightType width)
      : network_(read_network("sw/share/networks/" + network_file + ".toml", task)),
        folded_(fold_network(network_)),
        golden_(folded_, 1) {
    const FloatParams<float> params = init_params<float>(network_, 1);
    folded_params_ = fold_params(network_, params);
    Rng rng(1);
    x_.resize(static_cast<std::size_t>(kBatch) * static_cast<std::size_t>(task.input.elements()));
    for (float& v : x_) v = static_cast<float>(rng.uniform());
    logits_.resize(static_cast<std::size_t>(kBatch) * static_cast<std::size_t>(task.classes));
    for (int i = 0; i < kBatch; ++i) labels_.push_back(i % task.classes);
    QuantizeOptions options;
    options.weight_type = width;
    quantized_ =
        quantize(network_, params, calibrate(Golden<float>(network_, 1), params, x_), options);
    quantized_x_.resize(x_.size());
    quantize_activations(x_, quantized_.input, quantized_x_);
    one_ = open(1, spec::Distribution::sign_);
    two_ = open(2, spec::Distribution::sign_);
    gaussian_ = open(1, spec::Distribution::gaussian_);
    // what machines choose that are less than this one
    for (const char* name : {"avx2", "portable"}) {
      if (npu::find_kernels(name) == nullptr) continue;
      ::setenv("LASTMILE_KERNELS", name, 1);
      others_.emplace(name, open(1, spec::Distribution::sign_));
      ::unsetenv("LASTMILE_KERNELS");
    }
  }

  [[nodiscard]] Driver& driver(int threads) { return *(threads == 1 ? one_ : two_).driver; }
  [[nodiscard]] Driver& gaussian() { return *gaussian_.driver; }
  [[nodiscard]] std::map<std::string, Session>& others() { return others_; }
  [[nodiscard]] double batch_macs() const { return static_cast<double>(macs(folded_)) * kBatch; }
  void golden_forward() { golden_.forward(folded_params_, x_, logits_); }
  void upload(Driver& driver) const { driver.load_batch(quantized_x_, labels_); }
  // Two passes and the update; steps back what the step before moved, so that weights stay.
  void step(Driver& driver) {
    const std::uint64_t seed = 1 + calls_ / 2;
    const auto plus = driver.forward(spec::Polarity::plus_, seed);
    const auto minus = driver.forward(spec::Polarity::minus_, seed);
    benchmark::DoNotOptimize(plus.loss_sum - minus.loss_sum);
    update(driver);
  }
  void update(Driver& driver) {
    const std::uint64_t seed = 1 + calls_ / 2;
    const std::int8_t coefficient = calls_++ % 2 == 0 ? 1 : -1;
    driver.update({&seed, 1}, {&coefficient, 1}, kStep);
  }

 private:
  Session open(int threads, spec::Distribution distribution) const {
    CompileOptions options;
    options.batch = kBatch;
    options.distribution = distribution;
    options.training = training_plan(quantized_, {});
    Session o = open_session(compile(quantized_, {}, options), open_model, threads);
    upload(*o.driver);
    return o;
  }

  Network network_, folded_;
  Golden<float> golden_;
  FloatParams<float> folded_params_;
  std::vector<float> x_, logits_;
  std::vector<int> labels_;
  QuantizedNetwork quantized_;
  std::vector<std::int8_t> quantized_x_;
  Session one_, two_, gaussian_;
  std::map<std::string, Session> others_;
  std::uint64_t calls_ = 0;
};

// Appends to a journal in a folder of its own.
class JournalBench {
 public:
  JournalBench()
      : writer_(JournalWriter::create(folder_ / "journal.lmj", {.forward = {.pairs = 4}})),
        record_{0, kStep, {1, -1, 1, -1}, 1 << 20, 0} {}
  void append() {
    writer_.append(record_);
    ++record_.step;
  }

 private:
  testing::TempDir folder_;
  JournalWriter writer_;
  JournalRecord record_;
};

// What was measured, by name: seconds per call of every repetition.
struct Measured {
  std::vector<double> cpu, real;
  double macs = 0;  // of one call
};
double median(std::vector<double> v) {
  std::sort(v.begin(), v.end());
  return v.empty() ? std::nan("") : v[v.size() / 2];
}
double best(const std::vector<double>& v) {
  return v.empty() ? std::nan("") : *std::min_element(v.begin(), v.end());
}

class Collector final : public benchmark::BenchmarkReporter {
 public:
  explicit Collector(std::map<std::string, Measured>& results) : results_(results) {}
  bool ReportContext(const Context&) override { return true; }
  void ReportRuns(const std::vector<Run>& runs) override {
    for (const Run& r : runs) {
      if (r.run_type != Run::RT_Iteration || r.error_occurred) continue;
      Measured& m = results_[r.run_name.function_name];
      const auto calls = static_cast<double>(r.iterations);
      // a peer's CPU time is what it said: the manual time
      const bool peer = r.run_name.time_type == "manual_time";
      m.cpu.push_back((peer ? r.real_accumulated_time : r.cpu_accumulated_time) / calls);
      m.real.push_back(r.real_accumulated_time / calls);
    }
  }

 private:
  std::map<std::string, Measured>& results_;
};

using Results = std::map<std::string, Measured>;

template <class Body>
void add(Results& results, const std::string& name, double macs, const Body& body) {
  results[name].macs = macs;
#ifdef __clang_analyzer__  // takes the list of benchmarks in the library for a leak
  static_cast<void>(body);
#else
  benchmark::RegisterBenchmark(name.c_str(), [body](benchmark::State& state) {
    for (auto _ : state) body();
  })->MeasureProcessCPUTime();
#endif
}

void add_subject(Results& results, const std::string& name, const std::shared_ptr<Subject>& s,
                 bool training) {
  const double macs = s->batch_macs();
  for (const int threads : {1, 2}) {
    add(results, fmt::format("{}/model/threads={}", name, threads), macs,
        [s, threads] { benchmark::DoNotOptimize(s->driver(threads).forward()); });
  }
  if (!training) return;
  add(results, name + "/float", macs, [s] { s->golden_forward(); });
  for (const auto& other : s->others()) {
    Driver* const driver = other.second.driver.get();
    add(results, name + "/model/" + other.first, macs,
        [s, driver] { benchmark::DoNotOptimize(driver->forward()); });
  }
  add(results, name + "/model/perturbed", macs,
      [s] { benchmark::DoNotOptimize(s->driver(1).forward(spec::Polarity::plus_, 7)); });
  add(results, name + "/update", 0, [s] { s->update(s->driver(1)); });
  add(results, name + "/step", 0, [s] { s->step(s->driver(1)); });
  add(results, name + "/step, Gaussian", 0, [s] { s->step(s->gaussian()); });
  add(results, name + "/upload", 0, [s] { s->upload(s->driver(1)); });
  add(results, name + "/step with upload", 0, [s] {
    s->upload(s->driver(1));
    s->step(s->driver(1));
  });
}

// A peer's forward pass: a process of its own says what it took.
void add_peer(Results& results, const std::string& name, double macs,
              const std::shared_ptr<Peer>& peer, const std::string& network) {
  results[name].macs = macs;
#ifndef __clang_analyzer__
  benchmark::RegisterBenchmark(name.c_str(), [peer, network](benchmark::State& state) {
    constexpr int kCalls = 4;  // at a time: the clock of a peer is coarse
    for (auto _ : state) state.SetIterationTime(peer->seconds(network, kCalls) / kCalls);
  })->UseManualTime();
#endif
}

struct Target {
  std::string what;
  double value, wanted;
  bool at_least;
  [[nodiscard]] bool holds() const { return at_least ? value >= wanted : value <= wanted; }
};

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0) return line.substr(line.find(':') + 2);
  }
  return "unknown CPU";
}

// The wanted figures out of the measurements; benchmarks that were filtered out are left out.
class Summary {
 public:
  explicit Summary(const Results& results) : results_(results) {}

  void print_and_save(const std::filesystem::path& file, const std::vector<std::string>& peers) {
    nlohmann::json all = nlohmann::json::object();
    fmt::print("{:<58}{:>12}{:>12}{:>10}\n", "median of one call", "CPU us", "wall us", "GMAC/s");
    for (const auto& [name, m] : results_) {
      if (m.cpu.empty()) continue;
      const double cpu = median(m.cpu), real = median(m.real), rate = gmacs(name);
      const bool wall = name.ends_with("threads=2");
      fmt::print("{:<58}{:>12.1f}{:>12.1f}{:>10}\n", name, cpu * 1e6, real * 1e6,
                 m.macs > 0 ? fmt::format("{:.1f}", rate) : "");
      all[name] = {{"cpu_us", cpu * 1e6},
                   {"wall_us", real * 1e6},
                   {"best_wall_us", best(m.real) * 1e6},
                   {"repetitions", m.cpu.size()}};
      if (m.macs > 0) all[name]["gmacs_per_second"] = rate, all[name]["by_wall_clock"] = wall;
    }
    for (const char* n : {"small-cnn", "ds-cnn", "resnet8"}) network(n);
    target("resnet8 w16: model / 16-bit VNNI limit",
           gmacs("resnet8 w16/model/threads=1") / gmacs("limit/vnni int16"), 0.40, true);
    if (const double t = cpu("journal/append"); t > 0)
      ratio("journal records per second", 1 / median(results_.at("journal/append").real));

    double load[3] = {0, 0, 0};
    const bool known = ::getloadavg(load, 3) == 3;
    fmt::print("\n{:<70}{:>12}\n", "ratio", "");
    for (const auto& [name, value] : ratios_) fmt::print("{:<70}{:>12.3f}\n", name, value);
    fmt::print("\n{:<58}{:>12}{:>12}{:>10}\n", "target", "measured", "wanted", "");
    nlohmann::json targets = nlohmann::json::array();
    for (const Target& t : targets_) {
      fmt::print("{:<58}{:>12.3f}{:>12}{:>10}\n", t.what, t.value,
                 fmt::format("{} {}", t.at_least ? ">=" : "<=", t.wanted),
                 t.holds() ? "holds" : "MISSED");
      targets.push_back({{"what", t.what},
                         {"measured", t.value},
                         {t.at_least ? "at_least" : "at_most", t.wanted},
                         {"holds", t.holds()}});
    }
    if (known) {
      fmt::print("load average of the last minute {:.1f} on {} processors{}\n", load[0],
                 ::sysconf(_SC_NPROCESSORS_ONLN),
                 load[0] > 1.5 ? ": two-thread figures need an idle machine" : "");
    }
    nlohmann::json ratios = nlohmann::json::object();
    for (const auto& [name, value] : ratios_) ratios[name] = value;
    const nlohmann::json report = {{"schema", 1},
                                   {"cpu", cpu_name()},
                                   {"peers", peers},
                                   {"batch", kBatch},
                                   {"load_average", load[0]},
                                   {"processors", ::sysconf(_SC_NPROCESSORS_ONLN)},
                                   {"benchmarks", all},
                                   {"ratios", ratios},
                                   {"targets", targets}};
    write_file_atomic(file, report.dump(2) + "\n");
    fmt::print("{}\n", file.string());
  }

 private:
  [[nodiscard]] double cpu(const std::string& name) const {
    const auto at = results_.find(name);
    return at == results_.end() ? std::nan("") : median(at->second.cpu);
  }
  // By CPU time, except of two threads.
  [[nodiscard]] double gmacs(const std::string& name) const {
    const auto at = results_.find(name);
    if (at == results_.end()) return std::nan("");
    const Measured& m = at->second;
    return m.macs / median(name.ends_with("threads=2") ? m.real : m.cpu) / 1e9;
  }
  void ratio(const std::string& name, double value) {
    if (std::isfinite(value)) ratios_.emplace_back(name, value);
  }
  void target(const std::string& what, double value, double wanted, bool at_least) {
    if (std::isfinite(value)) targets_.push_back({what, value, wanted, at_least});
  }
  void threads(const std::string& n, bool wanted) {
    const auto one = results_.find(n + "/model/threads=1");
    const auto two = results_.find(n + "/model/threads=2");
    if (one == results_.end() || two == results_.end()) return;
    // The best repetition of each: the others say more about what else ran.
    const double times = best(one->second.real) / best(two->second.real);
    if (wanted) {
      target(n + ": two threads / one", times, 1.85, true);
    } else {
      ratio(n + ": two threads / one", times);
    }
    ratio(n + ": two threads / one, medians", median(one->second.real) / median(two->second.real));
    ratio(n + ": CPU time of two threads / of one",
          median(two->second.cpu) / median(one->second.cpu));
  }
  void network(const std::string& n) {
    const std::string w16 = n + " w16", w8 = n + " w8", model = w16 + "/model/threads=1";
    const double rate = gmacs(model), rate8 = gmacs(w8 + "/model/threads=1"), forward = cpu(model);
    ratio(w16 + ": model / 16-bit VNNI limit", rate / gmacs("limit/vnni int16"));
    ratio(w8 + ": model / 8-bit VNNI limit", rate8 / gmacs("limit/vnni int8"));
    ratio(w16 + ": model / AVX2 kernels", rate / gmacs(w16 + "/model/avx2"));
    ratio(w16 + ": model / portable kernels", rate / gmacs(w16 + "/model/portable"));
    ratio(w16 + ": AVX2 kernels / 16-bit multiply-add limit",
          gmacs(w16 + "/model/avx2") / gmacs("limit/madd"));
    target(w16 + ": model / float forward", rate / gmacs(w16 + "/float"), 1, true);
    target(n + ": model w16 / ONNX Runtime float32", rate / gmacs(n + "/ONNX Runtime"),
           n == "ds-cnn" ? 0.9 : 1.2, true);
    ratio(n + ": model w8 / ONNX Runtime float32", rate8 / gmacs(n + "/ONNX Runtime"));
    ratio(n + ": model w16 / PyTorch float32", rate / gmacs(n + "/PyTorch"));
    if (n == "resnet8") {
      target(n + ": model w8 / w16", rate8 / rate, 1.4, true);
    } else {
      ratio(n + ": model w8 / w16", rate8 / rate);
    }
    threads(w16, true);
    threads(w8, false);
    target(w16 + ": training step, m = 1, in forwards", cpu(w16 + "/step") / forward, 2.1, false);
    target(w16 + ": the same with the batch's upload", cpu(w16 + "/step with upload") / forward,
           2.1, false);
    target(w16 + ": the same, Gaussian perturbations", cpu(w16 + "/step, Gaussian") / forward, 2.1,
           false);
    ratio(w16 + ": perturbed forward / forward", cpu(w16 + "/model/perturbed") / forward);
    ratio(w16 + ": update / forward", cpu(w16 + "/update") / forward);
    ratio(w16 + ": upload / forward", cpu(w16 + "/upload") / forward);
  }

  const Results& results_;
  std::vector<std::pair<std::string, double>> ratios_;
  std::vector<Target> targets_;
};

int run(int argc, char** argv) {
  std::filesystem::path out = "build/reports/bench.json", onnx = "build/bench-onnx";
  // Defaults first, so that the command line can override them.
  std::vector<std::string> words = {argv[0], "--benchmark_enable_random_interleaving=true",
                                    "--benchmark_repetitions=15", "--benchmark_min_time=0.03"};
  for (int i = 1; i < argc; ++i) {
    if (std::string(argv[i]) == "--out" && i + 1 < argc) {
      out = argv[++i];
    } else if (std::string(argv[i]) == "--onnx" && i + 1 < argc) {
      onnx = argv[++i];
    } else {
      words.emplace_back(argv[i]);
    }
  }
  std::vector<char*> args;
  for (std::string& w : words) args.push_back(w.data());
  int count = static_cast<int>(args.size());
  benchmark::Initialize(&count, args.data());
  if (benchmark::ReportUnrecognizedArguments(count, args.data())) return 2;

  Results results;
  add(results, "limit/madd", static_cast<double>(kMaddPerCall),
      [] { benchmark::DoNotOptimize(madd_rounds()); });
#if defined(LASTMILE_BENCH_VNNI)
  add(results, "limit/vnni int16", static_cast<double>(kVnniPerCall<false>),
      [] { benchmark::DoNotOptimize(vnni_rounds<false>()); });
  add(results, "limit/vnni int8", static_cast<double>(kVnniPerCall<true>),
      [] { benchmark::DoNotOptimize(vnni_rounds<true>()); });
#endif
  const auto gemm = std::make_shared<Gemm>(512);
  add(results, "limit/eigen", static_cast<double>(gemm->macs()),
      [gemm] { benchmark::DoNotOptimize(gemm->run()); });
  const std::string batch = std::to_string(kBatch);
  // the distribution's, whatever else there is
  const std::string python =
      std::filesystem::exists("/usr/bin/python3") ? "/usr/bin/python3" : "python3";
  std::vector<std::pair<std::string, std::shared_ptr<Peer>>> peers = {
      {"PyTorch", std::make_shared<Peer>(
                      std::vector<std::string>{python, "tests/bench/peer_torch.py", batch})},
      {"ONNX Runtime", std::make_shared<Peer>(std::vector<std::string>{
                           "node", "tests/bench/peer_onnxruntime.js", batch, onnx.string()})}};
  for (const auto& [name, peer] : peers) {
    fmt::print("{}\n", peer->present()
                           ? "peer: " + peer->says()
                           : "SKIPPED: no comparison with " + name + ": " + peer->says());
  }
  const std::vector<std::pair<std::string, TaskShape>> networks = {{"small-cnn", {{28, 28, 1}, 10}},
                                                                   {"ds-cnn", {{49, 10, 1}, 12}},
                                                                   {"resnet8", {{32, 32, 3}, 10}}};
  for (const auto& [name, shape] : networks) {
    const auto w16 = std::make_shared<Subject>(name, shape, WeightType::w16);
    add_subject(results, name + " w16", w16, true);
    add_subject(results, name + " w8", std::make_shared<Subject>(name, shape, WeightType::w8),
                false);
    for (const auto& [peer_name, peer] : peers) {
      if (peer->present()) add_peer(results, name + "/" + peer_name, w16->batch_macs(), peer, name);
    }
  }
  const auto journal = std::make_shared<JournalBench>();
  add(results, "journal/append", 0, [journal] { journal->append(); });

  Collector collector(results);
  benchmark::RunSpecifiedBenchmarks(&collector);
  std::filesystem::create_directories(out.parent_path());
  fmt::print("limit/madd: {}; limit/eigen: float32, 512 x 512 x 512; batch {}\n\n", kMaddName,
             kBatch);
  std::vector<std::string> present;
  for (const auto& peer : peers)
    if (peer.second->present()) present.push_back(peer.second->says());
  Summary(results).print_and_save(out, present);
  return 0;
}

}  // namespace
}  // namespace lastmile::bench

int main(int argc, char** argv) {
  try {
    return lastmile::bench::run(argc, argv);
  } catch (const std::exception& e) {
    fmt::print(stderr, "bench: {}\n", e.what());
    return 1;
  }
}
