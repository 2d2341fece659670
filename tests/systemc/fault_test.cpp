// SPDX-License-Identifier: Apache-2.0
// Faults and stress on the SystemC platform: each is a platform of its own, all in one simulation.
// In every case the host reports what happened (or does not notice), goes on from the journal, and
// ends in the bits of the plain model. Ends with `N passed, N failed`.
//
// usage: fault_test [WORD]     only the cases whose name holds WORD
#define DOCTEST_CONFIG_IMPLEMENT  // the helpers of other tests use its messages
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "cmodel/device/model_device.hpp"
#include "sim/systemc/platform.hpp"
#include "sim/systemc/training.hpp"
#include "sim/verilator/backend.hpp"
#include "sw/base/error.hpp"
#include "sw/base/io.hpp"
#include "sw/embedded/native.hpp"
#include "sw/quantizer/readout.hpp"
#include "tests/base/temp_dir.hpp"
#include "tests/validate/cases.hpp"

namespace lastmile::sim {
namespace {

constexpr std::uint32_t kSteps = 5;
constexpr std::uint32_t kStepOfFault = 1;  // after its update
constexpr int kAttempts = 4;

TrainingSetup make_setup() {
  ValidateCase c = validate_case(two_convolutions(), test_seed());
  TrainingSetup s;
  s.base = std::move(c.quantized);
  s.data = std::move(c.data);
  AdaptOptions o;
  o.unit = AmplitudeUnit::rms;
  o.eps = 0.05;
  o.step = 0.02;
  o.forward.batch = 8;
  o.forward.steps = kSteps;
  o.forward.estimator = Estimator::sign;
  s.config = run_config(s.base, s.data, o, plan_training(s.base, o, s.data, open_model));
  return s;
}

// The same network's readouts, and what they end in on the plain model.
struct ReadoutSetup {
  ReadoutNetwork readout;
  ReadoutSplit split;
  ReadoutRunOptions options;
  FixedOptions how;
  double rate = 0;
  QuantizedNetwork expected;

  explicit ReadoutSetup(const TrainingSetup& s)
      : readout(make_readout_network(s.base)), split(split_records(s.data.y, 1)) {
    options.steps = 24;
    options.batch = how.batch = 8;
    options.snapshots = 3;
    rate = options.largest_rate * readout_rate_unit(readout.network, s.data, open_model, how);
    FixedReadout target = open(s, open_model);
    train_readout(target, split, options, nullptr);
    expected = target.network();
  }
  [[nodiscard]] FixedReadout open(const TrainingSetup& s, const DeviceOpener& opener) const {
    return {readout.network, s.data, split, rate, opener, how, kReadoutMemory};
  }
  static constexpr std::uint64_t kReadoutMemory = 1 << 19;
};

// Pulls the NPU's reset line some cycles after it is told to.
class Resetter : public sc_core::sc_module {
 public:
  Resetter(sc_core::sc_module_name name, Platform& platform, std::uint64_t cycles)
      : sc_module(name), platform_(platform), clock_(platform.options().clock_ps), cycles_(cycles) {
    SC_HAS_PROCESS(Resetter);
    SC_THREAD(run);
  }
  void trigger() { go_.notify(sc_core::SC_ZERO_TIME); }

 private:
  void run() {
    for (;;) {
      wait(go_);
      wait(clock_.cycles(cycles_));
      platform_.reset_line().write(true);
      wait(clock_.cycles(20));
      platform_.reset_line().write(false);
    }
  }
  Platform& platform_;
  Clock clock_;
  std::uint64_t cycles_;
  sc_core::sc_event go_;
};

struct Case {
  std::string name;
  std::function<void(PlatformOptions&)> configure = {};
  std::function<void(Platform&)> arm = {};  // after step kStepOfFault
  std::string report = {};                  // part of what the host reports; empty: nothing
  int reports = 1;                          // how often
  bool ends = true;                         // false: the simulation's limit stops it
  bool embedded = false;                    // the C host
  bool readouts = false;                    // the C host trains readouts
  std::uint64_t reset_after = 0;            // cycles; 0: no reset from outside
  // Checked at the end besides bits and rules.
  std::function<bool(Platform&)> also = {};
};

// One case at work.
struct Run {
  Case c;
  const TrainingSetup* setup;
  const ReadoutSetup* readout;
  std::filesystem::path journal;
  std::vector<std::string> reports;
  std::optional<QuantizedNetwork> network;
  std::unique_ptr<Platform> platform;
  std::unique_ptr<Resetter> resetter;

  Run(Case what, const TrainingSetup& s, const ReadoutSetup& r, const std::filesystem::path& folder,
      std::size_t index, PlatformOptions o)
      : c(std::move(what)), setup(&s), readout(&r), journal(folder / fmt::format("{}.lmj", index)) {
    if (c.configure) c.configure(o);
    platform = std::make_unique<Platform>(fmt::format("case{}", index).c_str(), o,
                                          [this](Host& host) { software(host); });
    resetter =
        std::make_unique<Resetter>(fmt::format("reset{}", index).c_str(), *platform, c.reset_after);
  }

  void fault(std::uint32_t step) {
    if (step != kStepOfFault || !reports.empty()) return;
    if (c.arm) c.arm(*platform);
    if (c.reset_after != 0) resetter->trigger();
  }

  void software(Host& host) {
    const DeviceOpener open = [&host](const DeviceOptions& d) {
      auto device = host.open(d);
      device->write_register(spec::reg::kWatchdog, 30000);
      return device;
    };
    for (int attempt = 0; attempt < kAttempts && !network; ++attempt) {
      try {
        if (c.readouts) {
          readouts_with_c_host(open, attempt > 0);
        } else if (c.embedded) {
          with_c_host(open, attempt > 0);
        } else {
          network = train_on(*setup, open, journal, attempt > 0, [this](const JournalRecord& r) {
                      fault(r.step);
                    }).network;
        }
      } catch (const Error& e) {
        reports.emplace_back(e.what());
        host.reset_npu();
      }
    }
  }

  void with_c_host(const DeviceOpener& open, bool resume) {
    Device* device = nullptr;
    FixedTarget target(
        setup->base, setup->config.tensors, setup->data,
        [&](const DeviceOptions& d) {
          auto opened = open(d);
          device = opened.get();
          return opened;
        },
        options_of(setup->config, setup->how));
    if (!resume && c.arm) c.arm(*platform);
    const EmbeddedResult r = run_embedded(
        *device, target, {setup->config, setup->data.size(), journal, resume, UINT32_MAX});
    require_ok(r.status, r.host);
    network = target.network();
  }

  // There is no journal: a run that failed begins again.
  void readouts_with_c_host(const DeviceOpener& open, bool again) {
    Device* device = nullptr;
    FixedReadout target = readout->open(*setup, [&](const DeviceOptions& d) {
      auto opened = open(d);
      device = opened.get();
      return opened;
    });
    if (!again && c.arm) c.arm(*platform);
    const EmbeddedReadoutResult r =
        run_embedded_readout(*device, target, setup->data, readout->split, readout->options);
    require_ok(r.status, r.host);
    network = target.network();
  }

  static void require_ok(int status, const lm_host& host) {
    if (status != LM_OK)
      throw Error(ErrorKind::device,
                  fmt::format("C host: status {}, error {}, command {}, info {}", status,
                              host.error_code, host.error_command, host.error_info));
  }
};

Fault npu_fault(Fault::Kind kind, bool reads, std::uint64_t n) {
  return {.kind = kind, .last = kRegisterBase, .reads = reads, .writes = !reads, .n = n};
}

using Kind = Fault::Kind;
using Arm = std::function<void(Platform&)>;

Arm on_npu(const Fault& f) {
  return [f](Platform& p) { p.faults(Port::npu).arm(f); };
}
Arm on_host(const Fault& f) {
  return [f](Platform& p) { p.faults(Port::host).arm(f); };
}
Arm on_line(const InterruptFault& f) {
  return [f](Platform& p) { p.line().arm(f); };
}
bool npu_hit(Platform& p) { return p.faults(Port::npu).hits() != 0; }
bool host_hit(Platform& p) { return p.faults(Port::host).hits() != 0; }
bool line_hit(Platform& p) { return p.line().hits() != 0; }
bool bytes_match(Platform& p) { return p.bytes_match(); }

// What the NPU gets from its bus: errors, late answers, none.
std::vector<Case> npu_bus_cases() {
  return {
      {.name = "no fault; bytes on the bus are the NPU's counters", .also = bytes_match},
      {.name = "descriptor fetch answered with an error",
       .arm = on_npu(npu_fault(Kind::error, true, 1)),
       .report = "BUS_READ in command 0",
       .also = npu_hit},
      {.name = "read answered with an error",
       .arm = on_npu(npu_fault(Kind::error, true, 4)),
       .report = "BUS_READ",
       .also = npu_hit},
      {.name = "write answered with an error",
       .arm = on_npu(npu_fault(Kind::error, false, 1)),
       .report = "BUS_WRITE",
       .also = npu_hit},
      {.name = "reads that are 3000 cycles late are only slower",
       .arm = on_npu({.kind = Kind::delay, .writes = false, .n = 2, .count = 5, .cycles = 3000}),
       .also = npu_hit},
      {.name = "read without an answer",
       .arm = on_npu(npu_fault(Kind::drop, true, 3)),
       .report = "WATCHDOG",
       .also = npu_hit},
  };
}

// reset_after: cycles until the reset, short enough to meet a step.
std::vector<Case> interrupt_and_reset_cases(std::uint64_t reset_after) {
  return {
      {.name = "interrupt 5000 cycles late",
       .arm = on_line({.n = 1, .count = 3, .cycles = 5000}),
       .also = line_hit},
      {.name = "interrupt lost",
       .arm = on_line({.n = 1}),
       .report = "without an interrupt",
       .also = line_hit},
      {.name = "reset in mid-step", .report = "without an interrupt", .reset_after = reset_after},
  };
}

// Slow memory and a busy bus are no faults.
std::vector<Case> stress_cases() {
  const auto busy = [](Platform& p) {
    return p.traffic().transactions() > 100 && p.traffic().wrong() == 0 &&
           p.bus().waited(static_cast<unsigned>(Port::npu)) > 0 && p.bytes_match();
  };
  const auto slow = [](Platform& p) {
    const MemoryCount& m = p.memory().count();
    return m.row_hits > 0 && m.row_conflicts > 0 && m.refreshes > 0 && p.bytes_match();
  };
  return {
      {.name = "competing bursts",
       .configure = [](PlatformOptions& o) { o.traffic = {.on = true, .bursts = 16, .pause = 50}; },
       .also = busy},
      {.name = "banks, refresh, narrow memory",
       .configure =
           [](PlatformOptions& o) {
             o.memory = {.bandwidth = 8, .banks = 4, .row_bytes = 1024, .refresh_interval = 2000};
           },
       .also = slow},
  };
}

// Of the cycle-accurate NPU alone.
std::vector<Case> four_phase_cases() {
  return {{.name = "memory that answers in four phases",
           .configure = [](PlatformOptions& o) { o.memory.four_phases = true; },
           .also = bytes_match}};
}

// Of the loosely timed NPU alone: what the host does is the same on both.
std::vector<Case> host_cases() {
  return {
      {.name = "registers written while a queue runs",
       .configure = [](PlatformOptions& o) { o.busy_writes = true; }},
      {.name = "interrupt later than the host waits",
       .arm = on_line({.n = 1, .cycles = 3000000}),
       .report = "without an interrupt",
       .also = line_hit},
      {.name = "register read answered with an error",
       .arm = on_host({.kind = Kind::error, .first = kRegisterBase, .writes = false, .n = 3}),
       .report = "was answered with",
       .also = host_hit},
      {.name = "register write without an answer",
       .arm = on_host({.kind = Kind::drop, .first = kRegisterBase, .reads = false, .n = 4}),
       .report = "no answer to a write",
       .also = host_hit},
      {.name = "batch written to memory answered with an error",
       .arm = on_host({.kind = Kind::error, .last = kRegisterBase, .reads = false}),
       .report = "was answered with",
       .also = host_hit},
      {.name = "memory that is broken for good: the host gives up",
       .arm = on_npu({.kind = Kind::error, .writes = false, .count = UINT64_MAX}),
       .report = "BUS_READ",
       .reports = kAttempts,
       .also = npu_hit},
      {.name = "no interrupt and a host without patience of its own: the simulation stops it",
       .configure = [](PlatformOptions& o) { o.irq_timeout = std::uint64_t{1} << 40; },
       .arm = on_line({.n = 1, .count = UINT64_MAX}),
       .ends = false},
  };
}

// The host in C, on the loosely timed NPU.
std::vector<Case> c_host_cases() {
  return {
      {.name = "C host", .embedded = true, .also = bytes_match},
      {.name = "C host, interrupt lost",
       .arm = on_line({.n = 6}),
       .report = "C host: status 2",
       .embedded = true,
       .also = line_hit},
      {.name = "C host, write answered with an error",
       .arm = on_npu(npu_fault(Kind::error, false, 20)),
       .report = "C host: status 3, error 10",
       .embedded = true,
       .also = npu_hit},
      {.name = "C host, readouts", .readouts = true, .also = bytes_match},
      {.name = "C host, readouts, interrupt lost",
       .arm = on_line({.n = 30}),
       .report = "C host: status 2",
       .readouts = true,
       .also = line_hit},
  };
}

std::vector<Case> all_cases(NpuKind kind) {
  const bool rtl = kind == NpuKind::rtl;
  std::vector<Case> cases;
  const auto add = [&](std::vector<Case> some) {
    for (Case& c : some) {
      c.name = (rtl ? "accurate: " : "loose: ") + c.name;
      cases.push_back(std::move(c));
    }
  };
  add(npu_bus_cases());
  add(interrupt_and_reset_cases(rtl ? 2000 : 700));
  add(stress_cases());
  if (rtl) {
    add(four_phase_cases());
  } else {
    add(host_cases());
    add(c_host_cases());
  }
  return cases;
}

std::string judge(Run& r, const QuantizedNetwork& expected, const std::filesystem::path& reference,
                  bool unfinished) {
  Platform& p = *r.platform;
  if (unfinished != !r.c.ends) return unfinished ? "did not end" : "ended";
  if (p.violations() != 0)
    return fmt::format("{} bus rules broken: {}", p.violations(),
                       fmt::join(p.monitor(Port::npu).messages(), "; "));
  if (unfinished) return {};
  if (!p.host().failure().empty()) return "the software ended with: " + p.host().failure();
  const std::size_t wanted = r.c.report.empty() ? 0 : static_cast<std::size_t>(r.c.reports);
  if (r.reports.size() != wanted)
    return fmt::format("{} reports instead of {}: {}", r.reports.size(), wanted,
                       fmt::join(r.reports, "; "));
  for (const std::string& text : r.reports)
    if (text.find(r.c.report) == std::string::npos)
      return fmt::format("reported \"{}\", expected \"{}\"", text, r.c.report);
  if (r.c.also && !r.c.also(p)) return "counters are not as expected";
  if (wanted == kAttempts) return r.network ? "trained" : "";
  const QuantizedNetwork& wanted_network = r.c.readouts ? r.readout->expected : expected;
  if (!r.network || !same_weights(*r.network, wanted_network)) return "other weights";
  if (r.c.readouts) return {};
  if (!same_bytes(r.journal, reference)) return "another journal";
  return {};
}

int main_of(const std::string& word) {
  doctest::Context context;
  context.setAsDefaultForAssertsOutOfTestCases();
  const testing::TempDir folder;
  const TrainingSetup setup = make_setup();
  const std::filesystem::path reference = folder / "reference.lmj";
  const QuantizedNetwork expected = train_on(setup, open_model, reference).network;
  const ReadoutSetup readout(setup);

  PlatformOptions options;
  options.memory_bytes = 1 << 20;
  options.irq_timeout = 2000000;
  std::vector<Case> cases = all_cases(NpuKind::model);
  const std::size_t loose = cases.size();
  try {
    static_cast<void>(open_pins(options.hardware));
    for (Case& c : all_cases(NpuKind::rtl)) cases.push_back(std::move(c));
  } catch (const Error& e) {
    fmt::print("SKIPPED: cycle-accurate cases: {}\n", e.what());
  }
  std::vector<std::unique_ptr<Run>> runs;
  std::vector<Platform*> platforms;
  for (std::size_t i = 0; i < cases.size(); ++i) {
    if (cases[i].name.find(word) == std::string::npos) continue;
    options.npu = i < loose ? NpuKind::model : NpuKind::rtl;
    runs.push_back(std::make_unique<Run>(cases[i], setup, readout, folder.path(), i, options));
    platforms.push_back(runs.back()->platform.get());
  }
  const std::vector<std::string> unfinished = run_platforms(platforms, 50000000);
  int passed = 0, failed = 0;
  for (const auto& r : runs) {
    const bool late = std::find(unfinished.begin(), unfinished.end(), r->platform->basename()) !=
                      unfinished.end();
    const std::string why = judge(*r, expected, reference, late);
    ++(why.empty() ? passed : failed);
    if (why.empty()) {
      fmt::print("  ok   {}{}\n", r->c.name,
                 r->reports.empty() ? "" : fmt::format(" [{}]", r->reports.front()));
    } else {
      fmt::print("  FAIL {}: {}\n", r->c.name, why);
    }
  }
  fmt::print("{} passed, {} failed\n", passed, failed);
  std::fflush(stdout);
  return failed == 0 ? 0 : 1;
}

}  // namespace
}  // namespace lastmile::sim

// SystemC's main() calls it; here the name keeps the file out of the common test runner.
int main(int argc, char** argv) { return sc_core::sc_elab_and_sim(argc, argv); }
int sc_main(int argc, char** argv) {
  sc_core::sc_report_handler::set_actions(sc_core::SC_INFO, sc_core::SC_DO_NOTHING);
  return lastmile::sim::main_of(argc > 1 ? argv[1] : "");
}
