// SPDX-License-Identifier: Apache-2.0
// What a profile starts from: the counters of whole training steps, by phase and command, and what
// is needed to read them. Saved as JSON; energy and every report are computed from it alone.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "cmodel/spec/counters.hpp"
#include "sw/driver/driver.hpp"

namespace lastmile::profile {

inline constexpr int kCountersSchema = 1;

using spec::Counters;

// "act_read_bytes"
[[nodiscard]] std::string counter_key(std::size_t index);

// One command of one phase, summed over its runs.
struct CommandCounters {
  std::string phase;  // "forward+", "forward-", "forward", "update"
  std::uint32_t command = 0;
  std::string opcode;  // "CONV2D"
  std::string name;    // "conv2b+add2", "loss", "update fc.bias"
  std::string layer;   // empty: of no layer
  std::uint64_t runs = 0;
  Counters counters;
};

// Counters of `steps` training steps (or passes of inference).
struct CounterFile {
  std::string network, variant;  // variant: "full", "head", "sparse", "inference", ...
  std::string backend;           // what counted
  std::string memory;            // its options: latency and bandwidth of the memory
  spec::HardwareParams hardware;
  int weight_bits = 16;
  int batch = 0, pairs = 0;
  std::uint64_t steps = 1;
  std::uint64_t seed = 0;
  std::uint64_t weight_bytes = 0;     // of all weights and biases, without padding of rows
  std::uint64_t trained_bytes = 0;    // of those that train (mask not applied)
  std::uint64_t trained_weights = 0;  // elements of them
  HostTraffic host;                   // of the steps: seeds, scalars, losses
  HostTraffic batch_traffic;          // examples and labels
  std::vector<CommandCounters> commands;

  [[nodiscard]] Counters total() const;
  [[nodiscard]] Counters total(const std::string& phase) const;
};

[[nodiscard]] nlohmann::json to_json(const CounterFile& file);
// Error(input) naming `origin`, the field, what was found and what was expected; unknown counters
// and opcodes are errors, so is another schema.
[[nodiscard]] CounterFile counters_from_json(const nlohmann::json& j, const std::string& origin);
[[nodiscard]] CounterFile read_counters(const std::filesystem::path& path);

// Device::report() of a backend as commands without names. Error if the backend reports no phases
// or lacks a counter.
[[nodiscard]] std::vector<CommandCounters> commands_of_report(const std::string& report);
// Names and layers of a program's commands; phase "update" is its update stream.
void name_commands(std::vector<CommandCounters>& commands, const Program& program,
                   const Network& network);

}  // namespace lastmile::profile
