// SPDX-License-Identifier: Apache-2.0
// What backends report of where time and traffic went: all counters by phase and command, in one
// JSON form, so that profiles of the model and of the RTL can be laid side by side.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "cmodel/spec/npu_spec.hpp"

namespace lastmile {

// One "step ..." annotation and the queues that ran since (Device::annotate).
class Position {
 public:
  // "step <k>" starts a step, anything else names the queue that comes next.
  void annotate(const std::string& what);
  void begin_queue() { ++queue_; }
  [[nodiscard]] const std::string& step() const { return step_; }
  [[nodiscard]] const std::string& phase() const { return phase_; }
  [[nodiscard]] std::string text() const;
  // Of the stalls of this queue: depends on the step and the queue's place in it, not on what ran
  // before, so that a step replayed alone meets the same ones.
  [[nodiscard]] std::uint64_t seed(std::uint64_t base) const;

 private:
  std::string step_, phase_;
  std::uint64_t queue_ = 0;
};

// Counters by phase and command.
class Profile {
 public:
  using Counters = std::array<std::uint64_t, spec::kCounters>;

  void begin_queue() { before_ = {}; }
  // At the commit of a command: counters since the start of the queue.
  // predicted: the cycle model's counters of this command, where something else measures.
  void commit(const std::string& phase, std::uint32_t command, std::uint32_t opcode,
              const Counters& now, const Counters* predicted = nullptr);
  [[nodiscard]] std::uint64_t total(spec::Counter which) const;
  [[nodiscard]] std::uint64_t predicted_cycles() const;
  // {phase: [{"command", "opcode", "runs", every counter by its name in lower case, "utilisation"
  // (macs / (cycles * multipliers)), and where there is a prediction "predicted_cycles",
  // "predicted_array_cycles" and so on for the counters of kind "cycle"}]}; sums over the runs
  [[nodiscard]] nlohmann::json json(const spec::HardwareParams& hw) const;

 private:
  struct Entry {
    std::uint32_t opcode = 0;
    std::uint64_t runs = 0;
    Counters sum{}, predicted{};
  };
  Counters before_{};
  std::map<std::pair<std::string, std::uint32_t>, Entry> entries_;
};

}  // namespace lastmile
