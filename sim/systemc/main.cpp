// SPDX-License-Identifier: Apache-2.0
// lastmile-systemc: the run of `lastmile run` once more on the loosely timed platform, its first
// steps on the plain RTL and on the cycle-accurate platform; compares journals and weights,
// measures speed, writes build/reports/systemc.json (fields: README.md of this folder).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cmodel/device/model_device.hpp"
#include "sim/systemc/platform.hpp"
#include "sim/systemc/training.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/cli/options.hpp"
#include "sw/embedded/native.hpp"
#include "sw/quantizer/file.hpp"

namespace lastmile::sim {
namespace {

using nlohmann::json;
namespace fs = std::filesystem;

struct Options {
  CommonOptions common;
  RunOptions run;
  fs::path folder = "build/systemc", report = "build/reports/systemc.json";
  std::uint32_t rtl_steps = 5;
  std::uint32_t latency = 20;
  fs::path measured = "build/embedded/embedded.json";
  PlatformOptions platform;
};

// Memory that every program of this run fits into.
std::uint64_t memory_for(const TrainingSetup& s) {
  std::uint64_t most = 0;
  const DeviceOpener measure = [&most](const DeviceOptions& o) {
    most = std::max(most, o.memory_bytes);
    return open_model(o);
  };
  const FixedTarget target(s.base, s.config.tensors, s.data, measure, options_of(s.config, s.how));
  return most;
}

// What a platform adds to a training run.
struct PlatformRun {
  std::string name;
  TrainingSetup setup;
  fs::path journal;
  TrainingResult result;
  std::unique_ptr<Platform> platform;

  std::uint32_t marked_step = 0;  // the NPU's cycles up to here are kept
  std::uint64_t marked_cycles = 0;

  PlatformRun(std::string called, TrainingSetup what, const fs::path& folder,
              const PlatformOptions& options, bool c_host = false)
      : name(std::move(called)), setup(std::move(what)), journal(folder / (name + ".lmj")) {
    platform = std::make_unique<Platform>(name.c_str(), options, [this, c_host](Host& host) {
      if (c_host) {
        run_c_host(host);
        return;
      }
      result = train_on(
          setup, [&host](const DeviceOptions& o) { return host.open(o); }, journal, false,
          [this](const JournalRecord& r) {
            if (r.step + 1 == marked_step) marked_cycles = cycles();
          });
    });
  }
  void run_c_host(Host& host) {
    Device* device = nullptr;
    FixedTarget target(
        setup.base, setup.config.tensors, setup.data,
        [&](const DeviceOptions& o) {
          auto opened = host.open(o);
          device = opened.get();
          return opened;
        },
        options_of(setup.config, setup.how));
    const Timer timer;
    const EmbeddedResult r = run_embedded(
        *device, target, {setup.config, setup.data.size(), journal, false, setup.stop_after});
    result.seconds = timer.wall();
    result.cpu_seconds = timer.cpu();
    if (r.status != LM_OK)
      throw Error(ErrorKind::device, fmt::format("C host: status {}", r.status));
    result.network = target.network();
  }
  [[nodiscard]] std::uint64_t cycles() const {
    return platform->npu().total()[spec::Counter::cycles_];
  }
  [[nodiscard]] json report() const {
    Platform& p = *platform;
    json bus;
    for (const auto& [port, who] : {std::pair{Port::host, "host"}, std::pair{Port::npu, "npu"}}) {
      const BusCount c = p.monitor(port).count();
      bus[who] = {{"transactions", c.reads + c.writes},
                  {"read_bytes", c.read_bytes},
                  {"write_bytes", c.write_bytes},
                  {"errors", c.errors},
                  {"mean_latency", c.mean_latency()},
                  {"largest_latency", c.most},
                  {"waited", p.bus().waited(static_cast<unsigned>(port))}};
    }
    const std::uint64_t steps = setup.steps();
    return {{"steps", steps},
            {"seconds", result.seconds},
            {"cpu_seconds", result.cpu_seconds},
            {"steps_per_cpu_second", static_cast<double>(steps) / result.cpu_seconds},
            {"npu_cycles", cycles()},
            {"queues", p.npu().queues()},
            {"bus", bus},
            {"bytes_equal_counters", p.bytes_match()},
            {"rule_violations", p.violations()},
            {"interrupt_waits", p.host().waits()}};
  }
};

int check(bool good, const std::string& what) {
  fmt::print("{} {}\n", good ? "  ok  " : "  FAIL", what);
  return good ? 0 : 1;
}

int run(Options& o) {
  const Task task = load_task(o.run.task);
  TrainingSetup full = load_setup(o.folder, task.adapt, o.run.adapt);
  TrainingSetup few = full;
  few.stop_after = o.rtl_steps;
  const fs::path reference = o.folder / "journal.lmj";
  const Journal whole = read_journal(reference);
  require_same_run(reference.string(), whole.config, full.config);
  fs::create_directories(o.report.parent_path());

  PlatformOptions platform = o.platform;
  platform.hardware = full.how.hardware;
  platform.threads = o.common.thread_count();
  platform.memory_bytes = memory_for(full);
  platform.bus.bytes = static_cast<std::uint32_t>(platform.hardware.bus_bytes);
  platform.memory.latency = o.latency - platform.bus.latency;
  PlatformRun lt("loose", full, o.folder, platform);
  lt.marked_step = few.steps();
  PlatformRun embedded("embedded", full, o.folder, platform, true);
  std::unique_ptr<PlatformRun> ca;
  if (o.rtl_steps != 0) {
    platform.npu = NpuKind::rtl;
    ca = std::make_unique<PlatformRun>("accurate", few, o.folder, platform);
  }

  const TrainingResult model = train_on(full, open_model, o.folder / "model.lmj");
  json plain_rtl;
  std::uint64_t rtl_cycles = 0;
  TrainingResult rtl;
  if (ca) {
    CommonOptions c = o.common;
    c.backend = "rtl";
    c.backend_options = fmt::format("latency={}", o.latency);
    std::string measured;
    const DeviceOpener open = find_backend(c, open_model);
    Device* device = nullptr;
    rtl = train_on(
        few,
        [&](const DeviceOptions& d) {
          auto opened = open(d);
          device = opened.get();
          return opened;
        },
        o.folder / "rtl.lmj", false,
        [&](const JournalRecord& r) {
          if (r.step + 1 == few.steps()) measured = device->report();
        });
    plain_rtl = json::parse(measured);
    rtl_cycles = plain_rtl.at("cycles").get<std::uint64_t>();
  }

  std::vector<Platform*> platforms{lt.platform.get(), embedded.platform.get()};
  if (ca) platforms.push_back(ca->platform.get());
  const std::vector<std::string> unfinished = run_platforms(platforms, std::uint64_t{1} << 50);

  int failed = 0;
  for (const std::string& name : unfinished) failed += check(false, name + ": did not finish");
  for (PlatformRun* r : {&lt, &embedded, ca.get()}) {
    if (r == nullptr) continue;
    const std::string& why = r->platform->host().failure();
    if (!why.empty()) failed += check(false, fmt::format("{}: {}", r->name, why));
  }
  if (failed != 0) return 1;

  const double model_rate = full.steps() / model.cpu_seconds;
  const double lt_rate = full.steps() / lt.result.cpu_seconds;
  json report = {{"task", task.name},
                 {"network", full.base.network.name},
                 {"batch", full.config.forward.batch},
                 {"pairs", full.config.forward.pairs},
                 {"threads", o.common.thread_count()},
                 {"systemc", sc_core::sc_version()},
                 {"quantum", platform.quantum},
                 {"memory_latency", o.latency}};
  report["model"] = {{"steps", full.steps()},
                     {"seconds", model.seconds},
                     {"cpu_seconds", model.cpu_seconds},
                     {"steps_per_cpu_second", model_rate}};
  report["loose"] = lt.report();
  report["loose"]["speed_ratio"] = lt_rate / model_rate;
  const bool lt_journal = same_bytes(lt.journal, reference);
  const bool lt_weights = same_weights(lt.result.network, load_quantized(o.folder / "adapted.lmq"));
  report["loose"]["journal_equal"] = lt_journal;
  report["loose"]["weights_equal"] = lt_weights;
  failed += check(lt_journal && lt_weights,
                  fmt::format("loosely timed, {} steps: journal and weights are those of the run",
                              full.steps()));
  failed += check(lt.platform->bytes_match() && lt.platform->violations() == 0,
                  "loosely timed: the bus monitor's bytes are the NPU's counters, no rule broken");
  failed += check(lt_rate >= 0.7 * model_rate,
                  fmt::format("loosely timed: {:.0f} steps/s, model alone {:.0f}: {:.2f} (>= 0.7)",
                              lt_rate, model_rate, lt_rate / model_rate));
  for (const std::string& m : lt.platform->monitor(Port::npu).messages()) fmt::print("{}\n", m);
  const bool c_journal = same_bytes(embedded.journal, reference);
  const bool c_weights =
      same_weights(embedded.result.network, load_quantized(o.folder / "adapted.lmq"));
  report["embedded"] = embedded.report();
  report["embedded"]["journal_equal"] = c_journal;
  report["embedded"]["weights_equal"] = c_weights;
  report["embedded"]["rv32"] =
      fs::exists(o.measured) ? json::parse(read_text_file(o.measured)) : json();
  failed += check(c_journal && c_weights,
                  fmt::format("C host on the loosely timed platform, {} steps: journal and weights "
                              "are those of the run",
                              full.steps()));
  if (ca) {
    const auto rate = [](std::uint64_t cycles, const TrainingResult& r) {
      return static_cast<double>(cycles) / r.cpu_seconds;
    };
    const double difference =
        static_cast<double>(ca->cycles()) / static_cast<double>(rtl_cycles) - 1;
    const double rtl_rate = rate(rtl_cycles, rtl), ca_rate = rate(ca->cycles(), ca->result);
    report["rtl"] = {{"steps", few.steps()},
                     {"seconds", rtl.seconds},
                     {"cpu_seconds", rtl.cpu_seconds},
                     {"npu_cycles", rtl_cycles},
                     {"cycles_per_cpu_second", rtl_rate}};
    report["accurate"] = ca->report();
    report["accurate"]["cycles_per_cpu_second"] = ca_rate;
    report["accurate"]["speed_ratio"] = ca_rate / rtl_rate;
    report["accurate"]["cycles_difference"] = difference;
    report["loose"]["cycles_difference"] =
        static_cast<double>(lt.marked_cycles) / static_cast<double>(rtl_cycles) - 1;
    const Journal part = read_journal(ca->journal);
    const bool records =
        part.config == whole.config && part.records.size() == few.steps() &&
        std::equal(part.records.begin(), part.records.end(), whole.records.begin());
    const bool equal = records && same_bytes(ca->journal, o.folder / "rtl.lmj");
    const QuantizedNetwork replayed =
        replay_network(full.base, whole, reference.string(), few.steps(), open_model, full.how);
    const bool weights =
        same_weights(ca->result.network, replayed) && same_weights(ca->result.network, rtl.network);
    report["accurate"]["journal_equal"] = equal;
    report["accurate"]["weights_equal"] = weights;
    failed += check(equal && weights,
                    fmt::format("cycle-accurate, {} steps: journal and weights are those of the "
                                "run and of the plain RTL",
                                few.steps()));
    failed +=
        check(ca->platform->bytes_match() && ca->platform->violations() == 0,
              "cycle-accurate: the bus monitor's bytes are the NPU's counters, no rule broken");
    failed += check(std::abs(difference) <= 0.01,
                    fmt::format("cycle-accurate: {} cycles, plain RTL {}: {:+.3f} % (<= 1 %)",
                                ca->cycles(), rtl_cycles, 100 * difference));
    failed +=
        check(ca_rate >= 0.5 * rtl_rate,
              fmt::format("cycle-accurate: {:.0f} cycles/s, plain RTL {:.0f}: {:.2f} (>= 0.5)",
                          ca_rate, rtl_rate, ca_rate / rtl_rate));
    for (const std::string& m : ca->platform->monitor(Port::npu).messages()) fmt::print("{}\n", m);
  }
  report["failed"] = failed;
  write_file_atomic(o.report, report.dump(1) + "\n");
  fmt::print("report: {}\n", o.report.string());
  return failed == 0 ? 0 : 1;
}

int main_of(int argc, char** argv) {
  CLI::App app("the SystemC platform: trains on it and compares", "lastmile-systemc");
  Options o;
  o.common.threads = 1;
  add_common(app, o.common);
  add_task(app, o.run);
  add_adapt(app, o.run);
  app.add_option("--run", o.folder, "folder of a `lastmile run` with the same options")
      ->capture_default_str();
  app.add_option("--report", o.report, "report to write")->capture_default_str();
  app.add_option("--rtl-steps", o.rtl_steps, "first steps that also run on the RTL; 0: none")
      ->capture_default_str();
  app.add_option("--embedded", o.measured, "what `make embedded` measured")->capture_default_str();
  app.add_option("--latency", o.latency, "cycles of memory and bus, from request to first beat")
      ->check(CLI::Range(2U, 100000U))
      ->capture_default_str();
  app.add_option("--quantum", o.platform.quantum, "cycles that loosely timed parts may run ahead")
      ->capture_default_str();
  app.add_option("--npu-burst", o.platform.npu_burst, "bytes of a transaction of the loose NPU")
      ->check(CLI::Range(64U, 65536U))
      ->capture_default_str();
  app.add_option("--banks", o.platform.memory.banks, "banks of the memory; 0: flat timing")
      ->capture_default_str();
  app.add_option("--bandwidth", o.platform.memory.bandwidth, "bytes per cycle; 0: the bus")
      ->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  settle(o.run, o.common);
  return run(o);
}

}  // namespace
}  // namespace lastmile::sim

int sc_main(int argc, char** argv) {
  sc_core::sc_report_handler::set_actions(sc_core::SC_INFO, sc_core::SC_DO_NOTHING);
  try {
    return lastmile::sim::main_of(argc, argv);
  } catch (const lastmile::Error& e) {
    fmt::print(stderr, "lastmile-systemc: {}\n", e.what());
    return static_cast<int>(e.kind());
  }
}
