// SPDX-License-Identifier: Apache-2.0
// Single bit flips in the Verilated NPU during a training step, and what becomes of the step.
//
// usage: inject NPU_SO ARRAY list        the state of the NPU: a line of JSON per register or
// memory
//        inject NPU_SO ARRAY run < FILE  FILE: lines "VARIABLE ELEMENT BIT CYCLE", VARIABLE an
//        index of the list;
//                                        one line of JSON per outcome
// NPU_SO is a build for injection (sim.mk, INJECT=1): everything in it can be written. CYCLE counts
// from reset; a cycle in a register access is moved to the next one in which a queue runs.
#define DOCTEST_CONFIG_IMPLEMENT  // the helpers of other tests use its messages
#include <dlfcn.h>
#include <doctest/doctest.h>
#include <fmt/format.h>

#include <cstring>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "sim/verilator/simulation.hpp"
#include "sw/app/adapt.hpp"
#include "sw/trainer/fixed_training.hpp"
#include "tests/sim/array.hpp"
#include "tests/validate/cases.hpp"

namespace {

using namespace lastmile;
namespace reg = spec::reg;

// A queue of this step takes a few thousand cycles.
constexpr std::uint32_t kWatchdog = 5000;
constexpr std::uint64_t kMostCycles = 20000;  // of one queue: no watchdog ended it

struct Flip {
  std::size_t variable = 0;
  std::uint32_t element = 0, bit = 0;
  std::uint64_t cycle = 0;
};

// The NPU as a device, with at most one flip.
class InjectedDevice final : public Device {
 public:
  InjectedDevice(sim::OpenSimulation open, const DeviceOptions& options, std::optional<Flip> flip)
      : flip_(flip) {
    sim::SimulationOptions o;
    o.hardware = options.hardware;
    o.memory_bytes = (options.memory_bytes + 63) / 64 * 64;
    o.memory.latency = 10;
    simulation_.reset(open(o));
    simulation_->write_register(reg::kWatchdog, kWatchdog);
  }

  std::uint32_t read_register(std::uint32_t offset) override {
    return simulation_->read_register(offset);
  }
  void write_register(std::uint32_t offset, std::uint32_t value) override {
    if (offset == reg::kWatchdog) return;
    simulation_->write_register(offset, value);
  }
  void read_memory(std::uint32_t address, std::span<std::byte> to) override {
    std::memcpy(to.data(), simulation_->memory().subspan(address, to.size()).data(), to.size());
  }
  void write_memory(std::uint32_t address, std::span<const std::byte> from) override {
    std::memcpy(simulation_->memory().subspan(address, from.size()).data(), from.data(),
                from.size());
  }
  std::uint64_t memory_size() const override { return simulation_->memory().size(); }

  bool wait_interrupt() override {
    const std::uint64_t begin = simulation_->cycles();
    if (first_ == 0) first_ = begin;
    for (;;) {
      const std::uint64_t now = simulation_->cycles();
      if (now - begin > kMostCycles) return false;
      std::uint64_t limit = kMostCycles;
      if (flip_) {
        if (now >= flip_->cycle) {
          simulation_->flip(flip_->variable, flip_->element, flip_->bit);
          flip_.reset();
        } else {
          limit = flip_->cycle - now;
        }
      }
      const sim::Stop stop = simulation_->run(limit);
      if (stop == sim::Stop::interrupt) break;
      if (stop == sim::Stop::idle) return false;
    }
    last_ = simulation_->cycles();
    return true;
  }
  [[nodiscard]] sim::Simulation& simulation() { return *simulation_; }
  [[nodiscard]] std::uint64_t first() const { return first_; }
  [[nodiscard]] std::uint64_t last() const { return last_; }

 private:
  std::unique_ptr<sim::Simulation> simulation_;
  std::optional<Flip> flip_;
  std::uint64_t first_ = 0, last_ = 0;  // cycles in which queues ran
};

// What a step leaves.
struct Result {
  std::string error;  // what ended it
  std::vector<std::byte> memory;
  QuantizedNetwork network;
  JournalRecord record;
  std::uint64_t first = 0, last = 0;
};

class Workload {
 public:
  Workload(sim::OpenSimulation open, const spec::HardwareParams& hardware) : open_(open) {
    ValidateCase c = validate_case(two_convolutions(), 1);
    base_ = std::move(c.quantized);
    data_ = std::move(c.data);
    options_.unit = AmplitudeUnit::rms;
    options_.eps = 0.05;
    options_.step = 0.02;
    options_.forward.batch = 2;
    options_.forward.steps = 1;
    options_.forward.estimator = Estimator::sign;
    options_.fixed.hardware = hardware;
    config_ = run_config(base_, data_, options_, plan_training(base_, options_, data_, open_model));
  }

  [[nodiscard]] Result run(std::optional<Flip> flip) const {
    Result r;
    InjectedDevice* device = nullptr;
    const DeviceOpener opener = [&](const DeviceOptions& o) {
      auto opened = std::make_unique<InjectedDevice>(open_, o, flip);
      device = opened.get();
      return opened;
    };
    try {
      FixedTraining training(base_, config_, data_, opener, options_.fixed);
      r.record = training.run().step();
      r.network = training.target().network();
      const auto memory = device->simulation().memory();
      r.memory.assign(memory.begin(), memory.end());
      r.first = device->first(), r.last = device->last();
    } catch (const std::exception& e) {
      r.error = e.what();
    }
    return r;
  }

 private:
  sim::OpenSimulation open_;
  QuantizedNetwork base_;
  Dataset data_;
  AdaptOptions options_;
  RunConfig config_;
};

bool same_weights(const QuantizedNetwork& a, const QuantizedNetwork& b) {
  for (std::size_t i = 0; i < a.layers.size(); ++i)
    if (a.layers[i].weights != b.layers[i].weights || a.layers[i].bias != b.layers[i].bias)
      return false;
  return true;
}

// masked; detected (by an error code of the NPU, or by a check of its bus); hang; silent in what
// the passes compute, or in the weights.
nlohmann::json outcome(const Result& good, const Result& r) {
  if (!r.error.empty()) {
    const std::size_t at = r.error.find("error ");
    if (r.error.find("without an interrupt") != std::string::npos) return {{"outcome", "hang"}};
    if (r.error.find("AXI4 protocol") != std::string::npos)
      return {{"outcome", "detected"}, {"by", "bus protocol"}};
    if (at != std::string::npos)
      return {{"outcome", "detected"},
              {"by", r.error.substr(at + 6, r.error.find(' ', at + 6) - at - 6)}};
    return {{"outcome", "detected"}, {"by", "host"}, {"message", r.error}};
  }
  if (!same_weights(good.network, r.network)) return {{"outcome", "weights"}};
  if (good.record != r.record || good.memory != r.memory) return {{"outcome", "activations"}};
  return {{"outcome", "masked"}};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fmt::print(stderr, "usage: inject NPU_SO ARRAY list|run\n");
    return 2;
  }
  void* library = ::dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
  void* symbol = library == nullptr ? nullptr : ::dlsym(library, sim::kOpenSimulationSymbol);
  if (symbol == nullptr) {
    fmt::print(stderr, "inject: {}: {}\n", argv[1], ::dlerror());
    return 3;
  }
  const spec::HardwareParams hardware = checks::parse_array(argv[2]);
  const Workload workload(reinterpret_cast<sim::OpenSimulation>(symbol), hardware);
  const Result good = workload.run({});
  if (!good.error.empty()) {
    fmt::print(stderr, "inject: the step without a flip: {}\n", good.error);
    return 1;
  }
  if (std::string(argv[3]) == "list") {
    fmt::print("{}\n", nlohmann::json{{"first", good.first}, {"last", good.last}}.dump());
    sim::SimulationOptions o;
    o.hardware = hardware;
    o.memory_bytes = 4096;
    const std::unique_ptr<sim::Simulation> s(reinterpret_cast<sim::OpenSimulation>(symbol)(o));
    for (const sim::StateVariable& v : s->state())
      fmt::print(
          "{}\n",
          nlohmann::json{
              {"scope", v.scope}, {"name", v.name}, {"bits", v.bits}, {"elements", v.elements}}
              .dump());
    return 0;
  }
  Flip flip;
  while (std::cin >> flip.variable >> flip.element >> flip.bit >> flip.cycle) {
    fmt::print("{}\n", outcome(good, workload.run(flip)).dump());
    std::fflush(stdout);
  }
}
