// SPDX-License-Identifier: Apache-2.0
// The NPU: registers, a queue of commands in memory, and the engines that execute them.
// Bit-accurate; its time is predicted per command (cmodel/timing).
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

#include "cmodel/command/control.hpp"
#include "cmodel/command/counters.hpp"
#include "cmodel/npu/kernels/kernels.hpp"
#include "cmodel/spec/npu_spec.hpp"
#include "cmodel/timing/timing.hpp"

namespace lastmile::npu {

class Npu {
 public:
  // `memory` stays the caller's and must outlive this. std::invalid_argument for parameters outside
  // npu.toml. timing: of the memory that the counters of kind "cycle" are predicted for. kernels:
  // how it computes, never what. predictions: shared with other machines.
  Npu(const spec::HardwareParams& hw, std::span<std::byte> memory, int threads = 1,
      const timing::MemoryTiming& timing = {}, const Kernels& kernels = chosen_kernels(),
      std::shared_ptr<timing::Predictions> predictions = nullptr);
  ~Npu();

  // true: commands are checked, counted and timed, but compute nothing: memory and LOSS_* stay, and
  // counters that only data decide are zero. For networks too large to execute.
  void count_only(bool on);

  [[nodiscard]] const spec::HardwareParams& hardware() const;
  [[nodiscard]] std::uint32_t read_register(std::uint32_t offset) const;
  // A register as the running queue has it; without one, as the host has written it.
  [[nodiscard]] std::uint32_t parameter(std::uint32_t offset) const;
  // What the line rst_ni does: every register as npu.toml has it; memory stays.
  void reset();
  // Writing CTRL.START runs the whole queue before it returns.
  void write_register(std::uint32_t offset, std::uint32_t value);
  [[nodiscard]] bool interrupt() const;

  // The same queue command by command, for lockstep: start() does what CTRL.START does without
  // running; each step() executes one command and returns whether the queue goes on.
  void start();
  bool step();
  // A step in three parts, for a bus between them: prepare() fetches and validates (false: the
  // queue has ended with an error), execute() computes and counts, commit() returns whether the
  // queue goes on. fail() ends the running queue with an error that the bus met.
  bool prepare();
  void execute();
  bool commit();
  void fail(spec::Error code, std::uint32_t info);
  [[nodiscard]] bool running() const;
  // What the prepared command will add to the counters that data do not decide.
  [[nodiscard]] const Counters& expected() const;
  // Valid after prepare(), or a step that executed a command (and did not end in END or an error).
  [[nodiscard]] const spec::Descriptor& last_command() const;  // addresses resolved
  [[nodiscard]] const Counters& counters() const;              // since start()
  // The prediction of that command, the cycle since start() in which its engine started, and the
  // cycles from the commit before it to its own.
  [[nodiscard]] const timing::CommandTiming& last_timing() const;
  [[nodiscard]] std::uint64_t last_start() const;
  [[nodiscard]] std::uint64_t last_cycles() const;

 private:
  struct State;
  std::unique_ptr<State> s_;
};

}  // namespace lastmile::npu
