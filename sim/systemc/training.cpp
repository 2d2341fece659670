// SPDX-License-Identifier: Apache-2.0
#include "sim/systemc/training.hpp"

#include <algorithm>
#include <chrono>
#include <ctime>
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

}  // namespace

Timer::Timer() : wall_(wall_now()), cpu_(cpu_now()) {}
double Timer::wall() const { return wall_now() - wall_; }
double Timer::cpu() const { return cpu_now() - cpu_; }

std::uint32_t TrainingSetup::steps() const { return std::min(config.steps(), stop_after); }

TrainingSetup load_setup(const std::filesystem::path& folder, Dataset data,
                         const AdaptOptions& options) {
  TrainingSetup s;
  s.base = load_quantized(folder / "quantized.lmq");
  s.data = std::move(data);
  AdaptOptions adapt = options;
  adapt.forward.batch = std::min(adapt.forward.batch, static_cast<int>(s.data.size()));
  s.config = run_config(s.base, s.data, adapt, plan_training(s.base, adapt, s.data, open_model));
  s.how = adapt.fixed;
  return s;
}

TrainingResult train_on(const TrainingSetup& s, const DeviceOpener& open,
                        const std::filesystem::path& path, bool resume,
                        const StepCallback& on_step) {
  FixedTraining training(s.base, s.config, s.data, open, s.how);
  if (resume) {
    static_cast<void>(training.run().continue_journal(path));
  } else {
    training.run().start_journal(path);
  }
  TrainingResult result;
  const Timer timer;
  static_cast<void>(training.run().run({.until = s.stop_after}, on_step));
  result.seconds = timer.wall();
  result.cpu_seconds = timer.cpu();
  result.network = training.target().network();
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
