// SPDX-License-Identifier: Apache-2.0
// lastmile-systemc: the run of `lastmile run` once more on the loosely timed platform, its first
// steps on the plain RTL and on the cycle-accurate platform; compares journals and weights,
// measures speed, writes build/reports/systemc.json (fields: README.md of this folder).
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "cmodel/device/model_device.hpp"
#include "sim/systemc/platform.hpp"
#include "sim/systemc/training.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/base/json_text.hpp"
#include "sw/base/streams.hpp"
#include "sw/cli/backend.hpp"
#include "sw/cli/options.hpp"
#include "sw/embedded/native.hpp"
#include "sw/profile/dram.hpp"
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
  std::string dram;      // a memory of sw/share/memory or a file; empty: flat
  profile::Dram memory;  // the same, read
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

// Prints how a check ended; 1 if it failed.
int check(bool good, const std::string& what) {
  fmt::print("{} {}\n", good ? "  ok  " : "  FAIL", what);
  return good ? 0 : 1;
}

int check_bus(const PlatformRun& r, const std::string& who) {
  return check(r.platform->bytes_match() && r.platform->violations() == 0,
               who + ": the bus monitor's bytes are the NPU's counters, no rule broken");
}

// The `lastmile run` that is done once more: what every platform has to end with.
struct Reference {
  std::string task;
  TrainingSetup full, few;  // few: its first steps, those on the RTL
  fs::path journal, adapted;
  Journal records;
};

Reference load_reference(const Options& o) {
  const Task task = load_task(o.run.task);
  Reference r;
  r.task = task.name;
  r.full = load_setup(o.folder, task.adapt, o.run.adapt);
  r.few = r.full;
  r.few.stop_after = o.rtl_steps;
  r.journal = o.folder / "journal.lmj";
  r.adapted = o.folder / "adapted.lmq";
  r.records = read_journal(r.journal);
  require_same_run(r.journal.string(), r.records.config, r.full.config);
  return r;
}

PlatformOptions platform_of(const Options& o, const TrainingSetup& s) {
  PlatformOptions p = o.platform;
  p.hardware = s.how.hardware;
  p.threads = o.common.thread_count();
  p.memory_bytes = memory_for(s);
  p.bus.bytes = static_cast<std::uint32_t>(p.hardware.bus_bytes);
  p.memory.latency = o.latency - p.bus.latency;
  return p;
}

// The described memory in cycles of the platform's clock: banks, rows and refresh one by one.
void use_memory(Options& o) {
  const profile::Dram& d = o.memory;
  const auto cycles = [&](double ns) {
    return static_cast<std::uint32_t>(std::ceil(ns * 1000 / o.platform.clock_ps - 1e-9));
  };
  MemoryTiming& m = o.platform.memory;
  o.latency = std::max(cycles(d.interface_ns + d.latency_ns), o.platform.bus.latency);
  m.bandwidth = static_cast<std::uint32_t>(
      std::max(1.0, std::round(d.bandwidth_gbs * o.platform.clock_ps / 1000)));
  m.banks = static_cast<std::uint32_t>(d.banks);
  m.row_bytes = static_cast<std::uint32_t>(d.row_bytes);
  m.activate = cycles(d.activate_ns);
  m.precharge = cycles(d.precharge_ns);
  m.refresh_interval = cycles(d.refresh_interval_ns);
  m.refresh_cycles = cycles(d.refresh_ns);
}

// The Verilated RTL without SystemC.
struct PlainRtl {
  fs::path journal;
  TrainingResult result;
  std::uint64_t cycles = 0;

  [[nodiscard]] double cycles_per_cpu_second() const {
    return static_cast<double>(cycles) / result.cpu_seconds;
  }
};

PlainRtl train_on_plain_rtl(const Options& o, const TrainingSetup& few) {
  CommonOptions c = o.common;
  c.backend = "rtl";
  c.backend_options =
      o.memory.described()
          ? profile::backend_settings(o.memory, 1e6 / o.platform.clock_ps)
          : fmt::format("latency={},bandwidth={}", o.latency, o.platform.memory.bandwidth);
  const DeviceOpener open = find_backend(c, Backends(open_model));
  Device* device = nullptr;
  std::string measured;
  PlainRtl rtl;
  rtl.journal = o.folder / "rtl.lmj";
  rtl.result = train_on(
      few,
      [&](const DeviceOptions& d) {
        auto opened = open(d);
        device = opened.get();
        return opened;
      },
      rtl.journal, false,
      [&](const JournalRecord& r) {
        if (r.step + 1 == few.steps()) measured = device->report();
      });
  rtl.cycles = json::parse(measured).at("cycles").get<std::uint64_t>();
  return rtl;
}

// All platforms in one simulation; how many failures of simulation and software there were.
int simulate(const std::vector<PlatformRun*>& runs) {
  std::vector<Platform*> platforms;
  for (const PlatformRun* r : runs) platforms.push_back(r->platform.get());
  int failed = 0;
  for (const std::string& name : run_platforms(platforms, std::uint64_t{1} << 50))
    failed += check(false, name + ": did not finish");
  for (const PlatformRun* r : runs) {
    const std::string& why = r->platform->host().failure();
    if (!why.empty()) failed += check(false, fmt::format("{}: {}", r->name, why));
  }
  return failed;
}

json report_head(const Options& o, const Reference& reference, const TrainingResult& model) {
  const TrainingSetup& full = reference.full;
  return {{"task", reference.task},
          {"network", full.base.network.name},
          {"batch", full.config.forward.batch},
          {"pairs", full.config.forward.pairs},
          {"threads", o.common.thread_count()},
          {"systemc", sc_core::sc_version()},
          {"quantum", o.platform.quantum},
          {"memory", o.memory.name},
          {"memory_latency", o.latency},
          {"model",
           {{"steps", full.steps()},
            {"seconds", model.seconds},
            {"cpu_seconds", model.cpu_seconds},
            {"steps_per_cpu_second", full.steps() / model.cpu_seconds}}}};
}

// Journal and weights against those of the whole run; both into the part's report.
int check_whole_run(const PlatformRun& r, const Reference& reference, const std::string& who,
                    json& part) {
  const bool journal = same_bytes(r.journal, reference.journal);
  const bool weights = same_weights(r.result.network, load_quantized(reference.adapted));
  part["journal_equal"] = journal;
  part["weights_equal"] = weights;
  return check(journal && weights,
               fmt::format("{}, {} steps: journal and weights are those of the run", who,
                           reference.full.steps()));
}

void print_broken_rules(const PlatformRun& r) {
  for (const std::string& m : r.platform->monitor(Port::npu).messages()) fmt::print("{}\n", m);
}

int judge_loose(const PlatformRun& r, const Reference& reference, const TrainingResult& model,
                json& part) {
  const double steps = reference.full.steps();
  const double model_rate = steps / model.cpu_seconds, rate = steps / r.result.cpu_seconds;
  part = r.report();
  part["speed_ratio"] = rate / model_rate;
  int failed = check_whole_run(r, reference, "loosely timed", part);
  failed += check_bus(r, "loosely timed");
  failed += check(rate >= 0.7 * model_rate,
                  fmt::format("loosely timed: {:.0f} steps/s, model alone {:.0f}: {:.2f} (>= 0.7)",
                              rate, model_rate, rate / model_rate));
  print_broken_rules(r);
  return failed;
}

int judge_embedded(const PlatformRun& r, const Reference& reference, const fs::path& measured,
                   json& part) {
  part = r.report();
  part["rv32"] = fs::exists(measured) ? json::parse(read_text_file(measured)) : json();
  return check_whole_run(r, reference, "C host on the loosely timed platform", part);
}

// The first steps: journal and weights against those of the run, replayed up to there, and against
// those of the plain RTL.
int check_first_steps(const PlatformRun& r, const Reference& reference, const PlainRtl& rtl,
                      json& part) {
  const Journal& whole = reference.records;
  const std::uint32_t steps = reference.few.steps();
  const Journal first = read_journal(r.journal);
  const bool records =
      first.config == whole.config && first.records.size() == steps &&
      std::equal(first.records.begin(), first.records.end(), whole.records.begin());
  const bool journal = records && same_bytes(r.journal, rtl.journal);
  const QuantizedNetwork replayed =
      replay_network(reference.full.base, whole, reference.journal.string(), steps, open_model,
                     reference.full.how);
  const bool weights = same_weights(r.result.network, replayed) &&
                       same_weights(r.result.network, rtl.result.network);
  part["journal_equal"] = journal;
  part["weights_equal"] = weights;
  return check(journal && weights,
               fmt::format("cycle-accurate, {} steps: journal and weights are those of the run and "
                           "of the plain RTL",
                           steps));
}

json report_of(const PlainRtl& rtl, std::uint32_t steps) {
  return {{"steps", steps},
          {"seconds", rtl.result.seconds},
          {"cpu_seconds", rtl.result.cpu_seconds},
          {"npu_cycles", rtl.cycles},
          {"cycles_per_cpu_second", rtl.cycles_per_cpu_second()}};
}

// By how much of the RTL's cycles a platform's differ.
double difference(std::uint64_t cycles, const PlainRtl& rtl) {
  return static_cast<double>(cycles) / static_cast<double>(rtl.cycles) - 1;
}

int judge_accurate(const PlatformRun& r, const Reference& reference, const PlainRtl& rtl, bool flat,
                   json& part) {
  const double off = difference(r.cycles(), rtl);
  const double rate = static_cast<double>(r.cycles()) / r.result.cpu_seconds;
  const double rtl_rate = rtl.cycles_per_cpu_second();
  part = r.report();
  part["cycles_per_cpu_second"] = rate;
  part["speed_ratio"] = rate / rtl_rate;
  part["cycles_difference"] = off;
  int failed = check_first_steps(r, reference, rtl, part);
  failed += check_bus(r, "cycle-accurate");
  // The plain RTL's memory has neither banks nor rows: cycles are equal for a flat one only.
  const std::string cycles = fmt::format("cycle-accurate: {} cycles, plain RTL {}: {:+.3f} %",
                                         r.cycles(), rtl.cycles, 100 * off);
  if (flat) {
    failed += check(std::abs(off) <= 0.01, cycles + " (<= 1 %)");
  } else {
    fmt::print("       {}, its memory without banks\n", cycles);
  }
  failed += check(rate >= 0.5 * rtl_rate,
                  fmt::format("cycle-accurate: {:.0f} cycles/s, plain RTL {:.0f}: {:.2f} (>= 0.5)",
                              rate, rtl_rate, rate / rtl_rate));
  print_broken_rules(r);
  return failed;
}

int run(const Options& o) {
  const Reference reference = load_reference(o);
  make_folder(o.report.parent_path());

  PlatformOptions platform = platform_of(o, reference.full);
  PlatformRun loose("loose", reference.full, o.folder, platform);
  loose.marked_step = reference.few.steps();
  PlatformRun embedded("embedded", reference.full, o.folder, platform, true);
  std::vector<PlatformRun*> runs{&loose, &embedded};
  std::unique_ptr<PlatformRun> accurate;
  if (o.rtl_steps != 0) {
    platform.npu = NpuKind::rtl;
    accurate = std::make_unique<PlatformRun>("accurate", reference.few, o.folder, platform);
    runs.push_back(accurate.get());
  }
  const TrainingResult model = train_on(reference.full, open_model, o.folder / "model.lmj");
  PlainRtl rtl;
  if (accurate) rtl = train_on_plain_rtl(o, reference.few);
  if (simulate(runs) != 0) return 1;

  json report = report_head(o, reference, model);
  int failed = judge_loose(loose, reference, model, report["loose"]);
  failed += judge_embedded(embedded, reference, o.measured, report["embedded"]);
  if (accurate) {
    report["rtl"] = report_of(rtl, reference.few.steps());
    report["loose"]["cycles_difference"] = difference(loose.marked_cycles, rtl);
    failed +=
        judge_accurate(*accurate, reference, rtl, o.platform.memory.banks == 0, report["accurate"]);
  }
  report["failed"] = failed;
  write_file_atomic(o.report, json_text(report, 1) + "\n");
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
  app.add_option("--dram", o.dram,
                 "memory off chip, its latency, bandwidth, banks and refresh: flat, ddr3, lpddr4, "
                 "lpddr5, hbm2 or a .toml file");
  app.add_option("--latency", o.latency, "cycles of memory and bus, from request to first beat")
      ->check(CLI::Range(2U, 100000U))
      ->excludes("--dram")
      ->capture_default_str();
  app.add_option("--quantum", o.platform.quantum, "cycles that loosely timed parts may run ahead")
      ->capture_default_str();
  app.add_option("--npu-burst", o.platform.npu_burst, "bytes of a transaction of the loose NPU")
      ->check(CLI::Range(64U, 65536U))
      ->capture_default_str();
  app.add_option("--banks", o.platform.memory.banks, "banks of the memory; 0: flat timing")
      ->excludes("--dram")
      ->capture_default_str();
  app.add_option("--bandwidth", o.platform.memory.bandwidth, "bytes per cycle; 0: the bus")
      ->excludes("--dram")
      ->capture_default_str();
  strict_values(app);
  CLI11_PARSE(app, argc, argv);
  settle(o.run, o.common);
  o.memory = profile::find_dram(o.dram);
  if (o.memory.described()) use_memory(o);
  return run(o);
}

}  // namespace
}  // namespace lastmile::sim

int sc_main(int argc, char** argv) {
  lastmile::secure_standard_streams();
  sc_core::sc_report_handler::set_actions(sc_core::SC_INFO, sc_core::SC_DO_NOTHING);
  try {
    return lastmile::sim::main_of(argc, argv);
  } catch (const lastmile::Error& e) {
    lastmile::print_error(fmt::format("lastmile-systemc: {}\n", e.what()));
    return static_cast<int>(e.kind());
  }
}
