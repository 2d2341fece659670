// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/training.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
#include <optional>
#include <utility>

#include "cmodel/device/model_device.hpp"
#include "sw/base/io.hpp"
#include "sw/quantizer/file.hpp"

namespace lastmile::sim {
namespace {

double wall_now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}
double cpu_now() {
  timespec t{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

struct Enough {};  // leaves the trainer's loop after a step

}  // namespace

Timer::Timer() : wall_(wall_now()), cpu_(cpu_now()) {}
double Timer::wall() const { return wall_now() - wall_; }
double Timer::cpu() const { return cpu_now() - cpu_; }

FixedOptions TrainingSetup::fixed() const {
  FixedOptions f = options.fixed;
  f.batch = options.forward.batch;
  return f;
}

JournalHeader TrainingSetup::header() const { return journal_header(base, data, options, plan); }

std::uint32_t TrainingSetup::steps() const { return std::min(options.forward.steps, stop_after); }

TrainingSetup load_setup(const std::filesystem::path& folder, Dataset data,
                         const AdaptOptions& options) {
  TrainingSetup s;
  s.base = load_quantized(folder / "quantized.lmq");
  s.data = std::move(data);
  s.options = options;
  s.options.forward.batch = std::min(s.options.forward.batch, static_cast<int>(s.data.size()));
  s.plan = plan_training(s.base, s.options, s.data, open_model);
  return s;
}

TrainingResult train_on(const TrainingSetup& s, const DeviceOpener& open,
                        const std::filesystem::path& path, bool resume, const OnStep& on_step) {
  FixedTarget target(s.base, s.plan, s.data, open, s.fixed());
  std::optional<JournalWriter> writer;
  TrainingPosition from;
  if (resume && std::filesystem::exists(path)) {
    const Journal journal = read_journal(path);
    from.step = static_cast<std::uint32_t>(journal.records.size());
    if (from.step != 0) from.scale = journal.records.back().scale;
    replay(target, journal, 0, from.step);
    writer = JournalWriter::resume(path, journal);
  } else {
    writer = JournalWriter::create(path, s.header());
  }
  TrainingResult result;
  const Timer timer;
  try {
    if (from.step < s.steps())
      train_forward_gradient(target, s.data.size(), s.options.forward, from, &*writer,
                             [&](const StepReport& r) {
                               if (on_step) on_step(r.step);
                               if (r.step + 1 >= s.stop_after) throw Enough{};
                             });
  } catch (const Enough&) {
    writer->sync();
  }
  result.seconds = timer.wall();
  result.cpu_seconds = timer.cpu();
  result.network = target.network();
  return result;
}

bool same_bytes(const std::filesystem::path& a, const std::filesystem::path& b) {
  return read_file(a) == read_file(b);
}

bool same_weights(const QuantizedNetwork& a, const QuantizedNetwork& b) {
  if (a.layers.size() != b.layers.size()) return false;
  for (std::size_t i = 0; i < a.layers.size(); ++i)
    if (a.layers[i].weights != b.layers[i].weights || a.layers[i].bias != b.layers[i].bias)
      return false;
  return true;
}

}  // namespace lastmile::sim
